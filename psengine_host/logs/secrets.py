"""Secrets that the log is to hide: found in the environment and in settings by their names, or by what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from psengine_host.secret_names import looks_secret, surely_secret

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

_URL_PASSWORD: Final = re.compile(r"://[^\s/?#:@]*:([^\s;]*)@")


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """The values of variables that are secrets by their names; short ones, such as ``true``, are none.

    Args:
        environ: The environment.
    """
    return {value for name, value in environ.items() if name.endswith(_ENDINGS) and len(value) >= SHORTEST_GUESSED}


def secrets_in(value: object, name: str = "") -> set[str]:
    """The secrets in settings: what hides itself in its ``str`` until it is revealed, and texts under telling names.

    Args:
        value: Settings, a table of them, or anything else.
        name: What the value is called.
    """
    if isinstance(value, str):
        return {value} if _is_secret(name, value) else _passwords(value)
    if isinstance(value, Mapping):
        # Below a telling name all is secret, whatever it is called itself.
        return {
            secret
            for key, item in value.items()
            for secret in secrets_in(item, name if surely_secret(name) else str(key))
        }
    if isinstance(value, (list, tuple)):
        return {secret for item in value for secret in secrets_in(item, name)}
    if callable(reveal := getattr(value, "reveal", None)):
        secret = str(reveal())
        return {secret, *_passwords(secret)}
    names: tuple[str, ...] = getattr(value, "__struct_fields__", ())
    return {secret for name in names for secret in secrets_in(getattr(value, name))}


def _passwords(text: str) -> set[str]:
    """The passwords in URLs, as they are and as they were before they were quoted: a library tells them alone."""
    if "://" not in text:
        return set()
    from urllib.parse import unquote

    quoted = [one for one in _URL_PASSWORD.findall(text) if len(one) >= SHORTEST_GUESSED]
    return {*quoted, *map(unquote, quoted)}


def _is_secret(name: str, value: str) -> bool:
    if len(value) < SHORTEST_GUESSED:
        return False
    # auth = "kerberos" is a word that others write too; licence = "LIC-0815" is not.
    return surely_secret(name) or (looks_secret(name) and not re.fullmatch(r"[a-z_ -]+|[./~].*", value, re.DOTALL))
