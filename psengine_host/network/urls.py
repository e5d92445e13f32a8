"""Which URLs are asked, and how their text is kept."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urljoin, urlsplit

from yarl import URL

from psengine_host.network.errors import BadAnswer, clean

__all__ = ["http_url", "redirect_target", "scheme_of"]

_CLEAN: Final = re.compile(r"[!-~]+\Z")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MAX_LENGTH: Final = 8192


def scheme_of(uri: str) -> str:
    """The text before the first colon, in lower case; empty without one.

    Nothing is stripped or unescaped: a scheme in an odd spelling is another scheme, and is refused.
    """
    scheme, colon, _ = uri[:64].partition(":")
    return scheme.lower() if colon else ""


def http_url(uri: str) -> URL:
    """An ``http`` or ``https`` URL, ready to be asked, without its fragment.

    Path and query stay as they were written, since they may carry a signature.

    Args:
        uri: The URL's text.

    Raises:
        BadAnswer: Another scheme, no host, a bad port, white space or control characters, or too long.
    """
    if scheme_of(uri) not in ("http", "https"):
        raise BadAnswer(f"the scheme '{clean(scheme_of(uri))}' is not taken; only http and https are")
    if len(uri) > _MAX_LENGTH:
        raise BadAnswer(f"a URL of {len(uri)} characters; at most {_MAX_LENGTH} are taken")
    if _CONTROL.search(uri):
        raise BadAnswer("a URL with white space or control characters in it")
    try:
        url = URL(uri)
        if not url.raw_host:
            raise BadAnswer("a URL without a host")
        if not url.port:
            raise BadAnswer("a URL with port 0")
        if not _CLEAN.match(uri):
            return url.with_fragment(None)
        parts = urlsplit(uri)
        return URL.build(
            scheme=url.scheme,
            user=url.raw_user,
            password=url.raw_password,
            host=url.host_subcomponent or "",
            port=url.explicit_port,
            path=parts.path or "/",
            query_string=parts.query,
            encoded=True,
        )
    except (ValueError, TypeError) as error:
        raise BadAnswer(f"not a URL: {clean(' '.join(str(error).split()))}") from error


def redirect_target(url: URL, location: str) -> URL:
    """Where a redirect leads; credentials are not carried over, nor taken from it.

    Args:
        url: The URL that answered.
        location: Its ``Location`` header.

    Raises:
        BadAnswer: As for ``http_url``.
    """
    text = location.strip()
    target = text if _ABSOLUTE.match(text) else urljoin(str(url.with_user(None)), text)
    return http_url(target).with_user(None)
