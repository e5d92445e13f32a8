"""Which URLs are asked, and how their text is kept."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urljoin

from yarl import URL

from psengine_host.bounty_fields import MAX_URL_LENGTH
from psengine_host.network.errors import BadAnswer, clean
from psengine_host.network.schemes import require_http

__all__ = ["http_url", "redirect_target"]

_PARTS: Final = re.compile(r"(?i:(https?://[!-\"$-.0->@-~]*))(/[!-\"$->@-~]*)?(?:\?([!-\"$-~]*))?(?:#[!-~]*)?\Z")
"""Origin, path and query of a URL of visible ASCII characters."""
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AUTHORITY: Final = re.compile(r"[^/]*//([^/?#]*)")
_MAX_FOREIGN: Final = 512
"""Characters of an authority with others than ASCII; a name has 253 at most. Encoding 16,384 takes up to a second."""
_HOST_NAME: Final = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
"""RFC 1123, section 2.1, and the underscore; looser about hyphens, as resolvers are."""


def http_url(uri: str) -> URL:
    """An ``http`` or ``https`` URL, ready to be asked, without its fragment.

    Path and query stay as they were written, since they may carry a signature.

    Args:
        uri: The URL's text.

    Raises:
        BadAnswer: Another scheme, no host or one that cannot exist, a bad port, white space or control characters,
            or longer than a bounty's URL may be.
    """
    require_http(uri)
    if len(uri) > MAX_URL_LENGTH:
        raise BadAnswer(f"a URL of {len(uri)} characters; at most {MAX_URL_LENGTH} are taken")
    if _CONTROL.search(uri):
        raise BadAnswer("a URL with white space or control characters in it")
    try:
        parts = _PARTS.match(uri)
        if parts is None:  # characters that yarl has to encode, or nothing after the scheme
            authority = _AUTHORITY.match(uri)
            if authority is not None and len(authority[1]) > _MAX_FOREIGN and not authority[1].isascii():
                raise BadAnswer(f"a URL whose host cannot exist: '{clean(authority[1])}'")
            url = URL(uri)
            _require_possible(url)
            return url.with_fragment(None)
        origin, path, query = parts.groups()
        url = _possible(origin)
        return URL.build(
            scheme=url.scheme,
            user=url.raw_user,
            password=url.raw_password,
            host=url.host_subcomponent or "",
            port=url.explicit_port,
            path=path or "/",
            query_string=query or "",
            encoded=True,
        )
    except LookupError as error:  # yarl looks into a host that is not there: [a]@
        raise BadAnswer("a URL without a host") from error
    except (ValueError, TypeError) as error:
        raise _no_url(error) from error


@lru_cache(128)
def _possible(origin: str) -> URL:
    """A URL without path and query, checked; the next artifact is often from the same place."""
    url = URL(origin)
    _require_possible(url)
    return url


def _require_possible(url: URL) -> None:
    """Refuse a host that no resolver could know: asking would fail, and asking again too."""
    if url.explicit_port == 0:
        raise BadAnswer("a URL with port 0")
    host = url.raw_host
    if not host:
        raise BadAnswer("a URL without a host")
    if not (_is_ipv6(host) if ":" in host else _HOST_NAME.match(host)):
        raise BadAnswer(f"a URL whose host cannot exist: '{clean(host)}'")
    _ = url.host  # decodes IDNA labels, which the client's messages need; raises where they are none


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def redirect_target(url: URL, location: str) -> URL:
    """Where a redirect leads; credentials are not carried over, nor taken from it.

    Args:
        url: The URL that answered.
        location: Its ``Location`` header.

    Raises:
        BadAnswer: As for ``http_url``.
    """
    text = location.strip()
    if not _ABSOLUTE.match(text):
        try:
            text = urljoin(str(url.with_user(None)), text)
        except ValueError as error:  # what the standard library takes for no URL at all, such as //[x
            raise _no_url(error) from error
    return http_url(text).with_user(None)


def _no_url(error: Exception) -> BadAnswer:
    return BadAnswer(f"not a URL: {clean(' '.join(str(error).split()))}")
