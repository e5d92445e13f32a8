"""Secrets that the log is to hide: found in the environment and in settings by their names, or by what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["SHORTEST_GUESSED", "secrets_in", "secrets_of"]

SHORTEST_GUESSED: Final = 6
"""Characters of a value that only its name makes a secret: hiding each ``true`` would hide what happened."""
_ENDINGS: Final = (
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "TOKEN",
    "CREDENTIALS",
    *(
        f"{kind}{hyphen}KEY"
        for kind in ("API", "ACCESS", "PRIVATE", "LICENCE", "LICENSE", "ACTIVATION")
        for hyphen in ("", "_")
    ),
)
"""How the names of secrets end: ``PSENGINE_WEBHOOK_SECRET``, ``NANO_AV_API_KEY``."""


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """The values of variables that are secrets by their names; short ones, such as ``true``, are none.

    Args:
        environ: The environment.
    """
    return {value for name, value in environ.items() if name.endswith(_ENDINGS) and len(value) >= SHORTEST_GUESSED}


def secrets_in(value: object) -> set[str]:
    """The secrets in settings: what hides itself in its ``str`` until it is revealed, and texts with telling keys.

    Args:
        value: Settings, a table of them, or anything else.
    """
    if isinstance(value, Mapping):
        found: set[str] = set()
        for name, item in value.items():
            if isinstance(item, str):
                found |= secrets_of({str(name).upper().replace("-", "_"): item})
            else:
                found |= secrets_in(item)
        return found
    if isinstance(value, (list, tuple)):
        return {secret for item in value for secret in secrets_in(item)}
    if callable(reveal := getattr(value, "reveal", None)):
        return {str(reveal())}
    names: tuple[str, ...] = getattr(value, "__struct_fields__", ())
    return {secret for name in names for secret in secrets_in(getattr(value, name))}
