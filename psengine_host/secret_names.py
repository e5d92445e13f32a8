"""Names of secrets: whether what stands under a name is likely one."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["looks_secret", "surely_secret"]

_WORD: Final = re.compile(
    r"auth|authorization|bearer|cookies?|credentials?|hmac|jwts?|keys?|licen[cs]es?|otp|pass(?:phrase|code|wd|words?)?|pin"
    r"|pwd|pw|secrets?|serial|signature|tokens?|activation"
)
_INSIDE: Final = re.compile(r"(?:api|access|activation|licen[cs]e|private)key|password|passwd|passphrase")
"""What tells wherever it stands in a name, however that is spelt."""
_ENDING: Final = re.compile(r".*(?:credential|secret|token)s?")
"""What tells at the end of a word: ``clientsecret``, but not ``secretary``."""
_NO_VALUE: Final = frozenset(
    ("file", "path", "dir", "directory", "folder", "home", "length", "size", "limit", "timeout", "ttl", "count")
)
"""Last words of a name that tells where the secret is, or how long."""


def looks_secret(name: str) -> bool:
    """Whether what stands under a name is likely a secret: ``api_key``, ``licence``, ``DBPassword``.

    Made for what is shown once: what is hidden too much there hurts nobody.

    Args:
        name: The key of a table, or the name of a field, an option or a variable, in any spelling.
    """
    words = _words(name)
    return _has_value(words) and (any(map(_WORD.fullmatch, words)) or _is_sure(words))


def surely_secret(name: str) -> bool:
    """Whether what stands under a name is a secret with hardly a doubt: not ``key``, ``auth`` or ``serial`` alone.

    Args:
        name: As of :func:`looks_secret`.
    """
    words = _words(name)
    return _has_value(words) and _is_sure(words)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower())


def _has_value(words: list[str]) -> bool:
    return bool(words) and words[-1] not in _NO_VALUE


def _is_sure(words: list[str]) -> bool:
    return _INSIDE.search("".join(words)) is not None or any(map(_ENDING.fullmatch, words))
