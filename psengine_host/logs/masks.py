"""Masks: what no log line may show, whoever wrote it: secrets, signatures, and artifacts in ``data:`` URIs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["LONGEST_SECRET", "MASK", "SHORTEST_SECRET", "Masks"]

MASK: Final = "***"
SHORTEST_SECRET: Final = 4
"""Characters of a secret at least: hiding each ``a`` would destroy the log and tell what the secret is."""
LONGEST_SECRET: Final = 8192
"""Characters of a secret at most that is surely hidden where a text is cut."""

# None of them is slow on a line that is made to be slow: each repetition is bounded, or cannot hold its own beginning.
_DATA = re.compile(r"(?i)\b(data:[\w.+/;=%*~!#$&^-]{0,200},)(?!…)[^\r\n]+")
_URL = re.compile(r"""://[^\s"'<>]+""")
_USER = re.compile(
    r"""://(?:(?:[^/?#@]*@)+"""  # a user, or user:password
    r"""|[^/?#@:\[]{0,256}:(?!\d{0,5}(?:[/?#]|\Z))[^@]{0,512}@)"""  # a password with a slash in it
)
_REQUEST = re.compile(r"\?\S{1,8192}( HTTP/\d)")
_QUOTED = r"""(?:"(?:[^"\\\r\n]|\\.)*"?|'(?:[^'\\\r\n]|\\.)*'?|"""
_HEADER = re.compile(
    r"""(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-polyswarm-signature)"""
    r"""((?:['"]\s{0,4}[:=,]|\s{0,4}[:=])\s{0,4}(?:b(?=['"]))?)"""
    rf"""{_QUOTED}[^\s'"][^\r\n]*)"""  # to the line's end: cookies and digests have parts
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_SIGNATURE = re.compile(r"""(?i)((?:signature|hmac)[^\w\r\n]{0,8}(?:b['"])?(?:[\w-]{2,16}[=:] ?)?)[0-9a-f]{40,}""")
_NAMED = re.compile(
    r"""(?i)((?:passw(?:or)?d|passphrase|secret|token|(?:api|access|private|licen[cs]e)[_-]?key)(?:=|['"]\s{0,4}[:=,]\s{0,4})(?:b(?=['"]))?)"""
    rf"""{_QUOTED}[^\s'",;&)}}\]]+)"""
)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----)[^-]+(?:-(?!----END)[^-]*){0,256}")


class Masks:
    """Hides what must not be seen in a text.

    Without being told: the content of ``data:`` URIs, user and password of any URL, the queries of URLs and of
    requests, ``Authorization`` and cookie headers, bearer tokens, hexadecimal signatures that are called so,
    private keys in PEM, and what follows ``password=`` and the like. And the values it is told.

    Args:
        secrets: Values to hide wherever they stand.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these values too, as they are and as ``repr``, JSON, URLs and base64 write them.

        Args:
            secrets: Values; those shorter than :data:`SHORTEST_SECRET` characters are passed over.
        """
        added = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET} - self._secrets
        if not added:
            return
        self._secrets |= added
        spellings = {spelling for secret in self._secrets for spelling in _spellings(secret)}
        # The longest first: of two that begin alike, the shorter would leave the end of the longer one.
        self._known = re.compile("|".join(re.escape(one) for one in sorted(spellings, key=len, reverse=True)))

    def __call__(self, text: str) -> str:
        """The text with all that hidden.

        Args:
            text: Any text of bounded length.
        """
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if "-----BEGIN" in text:
            text = _PRIVATE_KEY.sub(rf"\1{MASK}", text)
        # One look for each: most lines hold none of these, and are to cost next to nothing.
        lower = text.lower()
        if "data:" in lower:
            text = _DATA.sub(r"\1…", text)
        if "://" in text:
            text = _URL.sub(_quiet_url, text)
        if " HTTP/" in text:
            text = _REQUEST.sub(r"?…\1", text)
        if "authorization" in lower or "cookie" in lower or "x-" in lower:
            text = _HEADER.sub(rf"\1\2{MASK}", text)
        if "bearer" in lower:
            text = _BEARER.sub(rf"\1{MASK}", text)
        if "signature" in lower or "hmac" in lower:
            text = _SIGNATURE.sub(rf"\1{MASK}", text)
        if "passw" in lower or "secret" in lower or "token" in lower or "passphrase" in lower or "key" in lower:
            text = _NAMED.sub(rf"\1{MASK}", text)
        return text

    def without_data(self, text: str) -> str:
        """The text without the content of ``data:`` URIs, however long it is; the rest is not looked at."""
        return _DATA.sub(r"\1…", text)


def _quiet_url(match: re.Match[str]) -> str:
    url = match[0]
    if "@" in url:
        url = _USER.sub(f"://{MASK}@", url)
    start, query, _ = url.partition("?")
    return f"{start}?…" if query else url


def _spellings(secret: str) -> set[str]:
    import base64
    import json
    from urllib.parse import quote

    raw = secret.encode("utf-8", "surrogateescape")
    return {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(raw, safe=""),
        quote(raw),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
    }
