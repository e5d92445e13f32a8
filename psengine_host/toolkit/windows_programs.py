r"""Whether what Wine is to run is a Windows program that is there.

Wine hands what it cannot run to its own ``start.exe``, which may open a window and wait, or ends with exit code 1 (Wine
8.0). That is what most scanners say when they have found something: it must not get so far.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["why_not_run"]

_SCRIPTS: Final = (".bat", ".cmd")
"""What Windows' command interpreter runs; these need not begin as programs do."""
_MAGIC: Final = b"MZ"
_SYSTEM: Final = ("drive_c/windows/system32", "drive_c/windows", "drive_c/windows/syswow64")


def why_not_run(program: str, cwd: str | None, environ: Mapping[str, str]) -> tuple[bool, str] | None:
    """Why Wine cannot run a program.

    Args:
        program: As it is given to Wine: a POSIX path, an NT path or a name.
        cwd: The working directory, if it is not this process's.
        environ: The environment of the program, with ``WINEPREFIX``.

    Returns:
        Whether it is missing, and what is wrong in words that follow its name; None if nothing is known against it.
    """
    path = _path_of(program, cwd, environ)
    if path is None:
        return None
    found = next((file for file in (path, path.with_name(f"{path.name}.exe")) if os.path.lexists(file)), None)
    if found is None:
        found = _alike(path)
    if found is None:
        return True, "is not there; name it with its whole path"
    if found.is_dir():
        return False, "is a folder"
    if found.suffix.lower() in _SCRIPTS:
        return None
    try:
        with found.open("rb") as file:
            begins = file.read(len(_MAGIC))
    except OSError as error:
        return False, f"cannot be read: {error.strerror}"
    return None if begins == _MAGIC else (False, "is no Windows program: it does not begin with MZ")


def _path_of(program: str, cwd: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file that a program's name stands for; None where it is Wine's to know."""
    if "\\" in program or program[1:2] == ":":
        from psengine_host.toolkit.wine import WineError, from_nt_path

        try:
            return from_nt_path(program, environ)
        except WineError:
            return None
    folder = Path(cwd or ".")
    if "/" in program:
        return folder / program
    system = [Path(environ.get("WINEPREFIX", "")) / name for name in _SYSTEM]
    if environ.get("WINEPATH") or not system[0].is_dir():
        return None  # more places, or a prefix that is yet to be made
    for place in (folder, *system):
        for name in (program, f"{program}.exe"):
            if (place / name).is_file() or _alike(place / name) is not None:
                return place / name
    return folder / program


def _alike(path: Path) -> Path | None:
    """The file of the same name in other capitals: to Windows it is the same."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return None
    wanted = path.name.lower()
    return next((path.with_name(name) for name in names if name.lower() in (wanted, f"{wanted}.exe")), None)
