"""The environment of a program that an engine starts: the host's, less what is the host's alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from psengine_host.errors import shown
from psengine_host.toolkit.masking import MASK

__all__ = ["HOST_PREFIX", "command_environment"]

HOST_PREFIX: Final = "PSENGINE_"
"""Variables of the host itself begin so. The secret of the webhook and the broker's URL with its password are among
them, and no scanner needs any, so that none is passed on."""


def command_environment(given: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The variables of this process but for the host's own, changed by what is given.

    Everything else is passed on as it is, ``LC_ALL`` and ``TZ`` too: nothing is set or forced.

    Args:
        given: Variables to set, or with None to remove. What is named here is passed on whatever it is called.

    Raises:
        ValueError: A name or value that no variable can have; the message does not show the value.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(HOST_PREFIX)}
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"env: must be a mapping, and is of type {type(given).__name__}")
    for name, value in (given or {}).items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"env: {_without_value(name)} is no name of a variable")
        if value is None:
            environ.pop(name, None)
        elif not isinstance(value, str):
            raise ValueError(f"env: {name} must be text, or None to remove it, and is of type {type(value).__name__}")
        elif "\0" in value:
            raise ValueError(f"env: {name} holds a null character")
        else:
            environ[name] = value
    return environ


def _without_value(name: object) -> str:
    """A name for an error; where an assignment was given for it, what is assigned may be a secret."""
    if isinstance(name, str) and "=" in name:
        name = f"{name.partition('=')[0]}={MASK}"
    return shown(name)
