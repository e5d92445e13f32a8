"""The variables of an engine: their names, and what may stand in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from psengine_host.errors import PsengineError, shown

__all__ = ["DIRECTORIES", "PROGRAMS", "VARIABLES", "environment_prefix", "path_in", "working_directory"]

DIRECTORIES: Final = (
    "PATH",
    "SDK_HOME",
    "SECRETS_HOME",
    "CONFIG_HOME",
    "CACHE_HOME",
    "DATA_HOME",
    "STATE_HOME",
    "RUNTIME_DIR",
)
"""The variables that name a directory, each behind the engine's prefix."""
PROGRAMS: Final = ("SCANNER", "UPDATER")
"""The variables that name a program, each behind the engine's prefix."""
VARIABLES: Final = (*DIRECTORIES, *PROGRAMS)
"""The variables that every engine has, each behind the engine's prefix."""


def environment_prefix(engine: str) -> str:
    """The prefix of an engine's variables: ``nano-av`` has ``NANO_AV``."""
    return engine.upper().replace("-", "_")


def path_in(variable: str, value: str) -> Path:
    """The path that a variable holds: a leading ``~`` or ``~user`` is that user's home; it may be relative.

    Args:
        variable: The variable's full name, for errors.
        value: What it holds.

    Raises:
        PsengineError: It cannot be a path: it has a line end or a NUL in it, or its user is not known.
    """
    if any(character in value for character in "\0\n\r"):
        raise PsengineError(f"{variable}: {shown(value)} is no path: it has a line end or a NUL in it")
    path = Path(value)
    if not value.startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:  # how pathlib says that there is no such user, or no home
        message = f"{variable}: no home directory is known for {path.parts[0]}; write an absolute path"
        raise PsengineError(message) from error


def working_directory() -> str | None:
    """The working directory; None where it has been removed, or cannot be told."""
    try:
        return os.getcwd()
    except OSError:
        return None
