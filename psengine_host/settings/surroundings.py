"""What else the environment says that is probably not what was meant: folders, and variables of engines."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from psengine_host.errors import printable_name
from psengine_host.settings.variables import VARIABLES

__all__ = ["folder_doubts", "misspelt_of_engines"]

_ALIKE: Final = 0.85
"""How much alike two names must be. Very much: an engine may read further variables with its prefix."""


def folder_doubts(environ: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the folders for temporary files: one line each.

    Tried out: rights alone do not tell whether a file system takes anything.

    Args:
        environ: The environment.
    """
    consequences = {
        "TMPPREFIX": "artifacts that need the spool fail",
        "TMPDIR": "the host takes another, and other programs may fail",
    }
    for variable, consequence in consequences.items():
        folder = environ.get(variable)
        if folder and (reason := _no_folder(folder)):
            yield f"{variable}: {printable_name(folder)}: {reason}; {consequence}"


def _no_folder(path: str) -> str:
    if not os.path.isdir(path):
        return "is no folder" if os.path.lexists(path) else "no such folder"
    import tempfile

    try:
        os.rmdir(tempfile.mkdtemp(prefix="psengine-check-", dir=path))
    except OSError as error:
        return f"nothing can be made in it ({(error.strerror or str(error)).lower()})"
    return ""


def misspelt_of_engines(environ: Mapping[str, str], installed: Collection[str]) -> Iterator[str]:
    """Variables that look like a misspelt one of those that every engine has: one line each.

    Args:
        environ: The environment.
        installed: The names of the engines that are installed.
    """
    from psengine_host.environment.variables import VARIABLES as ENDINGS
    from psengine_host.environment.variables import environment_prefix

    prefixes = {f"{environment_prefix(engine)}_": engine for engine in installed}
    if not prefixes:
        return
    known = {*VARIABLES.values(), *(f"{prefix}{ending}" for prefix in prefixes for ending in ENDINGS)}
    # The longest first: NANO_AV_PATHS is of nano-av, though there may be a nano.
    ours = re.compile("|".join(map(re.escape, sorted(prefixes, key=len, reverse=True))))
    for name in sorted(environ):
        found = ours.match(name)
        if found is None or name in known or not environ[name]:
            continue
        import difflib

        alike = difflib.get_close_matches(name[found.end() :][:64], ENDINGS, n=1, cutoff=_ALIKE)
        if alike:
            engine, meant = prefixes[found[0]], f"{found[0]}{alike[0]}"
            told = f"no such variable, unless engine {engine} has it of its own; did you mean {meant!r}?"
            yield f"{printable_name(name)}: {told}"
