"""The proxies of the environment: ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, for operators who ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from yarl import URL

from psengine_host.network.errors import BadAnswer, clean, masked

__all__ = ["Proxies"]

_SEE = "see the setting network.proxy_from_environment"


class Proxies:
    """Which proxy is asked for which URL.

    Args:
        variables: Scheme (``http``, ``https``, ``all``) -> proxy, and ``no`` -> host names, separated by commas, that
            are connected to directly, as ``urllib.request.getproxies_environment`` gives them.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    @classmethod
    def from_environment(cls) -> Self:
        """Those that the environment names now; variables in small letters go before those in capitals."""
        from urllib.request import getproxies_environment  # 20 ms, which aiohttp's users have paid already

        return cls(getproxies_environment())

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy that is asked for a URL, with user and password if it has any; None where there is none.

        Raises:
            BadAnswer: The environment names one that cannot be used.
        """
        if self._is_direct(url.raw_host or "", url.port):
            return None
        variable = f"{url.scheme.upper()}_PROXY"
        value = self._variables.get(url.scheme)
        if value is None:
            if "all" in self._variables:
                raise BadAnswer(f"ALL_PROXY is not supported: set {variable}, or NO_PROXY for what needs none; {_SEE}")
            return None
        return _proxy(variable, value)

    def _is_direct(self, host: str, port: int | None) -> bool:
        """Whether ``NO_PROXY`` has the host, a domain that it is in, or either with the port; ``*`` is everything."""
        host = host.lower().removesuffix(".")
        in_url = f"[{host}]" if ":" in host else host
        names = (host, in_url, f"{in_url}:{port}")
        for entry in self._variables.get("no", "").lower().split(","):
            suffix = entry.strip().lstrip(".")
            if suffix == "*" or (suffix and any(name == suffix or name.endswith(f".{suffix}") for name in names)):
                return True
        return False


def _proxy(variable: str, value: str) -> URL:
    if "://" not in value:  # curl takes it, and so does everybody since
        value = f"http://{value}"
    scheme = value.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise BadAnswer(f"{variable} names a proxy of the kind '{clean(scheme)}'; only http and https are; {_SEE}")
    try:
        proxy = URL(value)
        usable = bool(proxy.host and proxy.port) and urlsplit(value).hostname is not None
    except ValueError:
        usable = False
    if not usable:
        raise BadAnswer(f"{variable} is not the URL of a proxy: {masked(value)}; {_SEE}")
    return proxy.with_path("/").with_query(None).with_fragment(None)
