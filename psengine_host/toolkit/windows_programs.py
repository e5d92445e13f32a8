r"""Whether what Wine is to run is a Windows program that is there, and whether Wine has run it.

Wine hands what it cannot run to its own ``start.exe``, which may open a window and wait, or ends with exit code 1 (Wine
8.0); so does Wine itself where it refuses its prefix. That is what most scanners say when they have found something: it
must not be taken for that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["what_wine_says", "why_not_run", "wine_did_not_begin"]

_SCRIPTS: Final = (".bat", ".cmd")
"""What Windows' command interpreter runs; these need not begin as programs do."""
_MAGIC: Final = b"MZ"
_HEADER_OFFSET: Final = slice(0x3C, 0x40)
_SIGNATURE: Final = b"PE\0\0"
_I386: Final = b"\x4c\x01"
"""The format of programs: Microsoft's "PE Format", the sections "MS-DOS Stub", "Signature" and "Machine Types"."""
_WINE_FAILED: Final = 1
_WINE_STARTS_NONE: Final = "wine: failed to start "
_WINE_SPEAKS: Final = ("wine: ", "wineserver: ")
_WINE_TELLS: Final = ("wine: created the configuration directory ", "wine: configuration in ")
_NO_ROOM: Final = "err:virtual:virtual_alloc_first_teb wine: failed to map the shared user data"
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
            beginning = file.read(_HEADER_OFFSET.stop)
            file.seek(int.from_bytes(beginning[_HEADER_OFFSET], "little"))
            signature, machine = file.read(len(_SIGNATURE)), file.read(len(_I386))
    except OSError as error:
        return False, f"cannot be read: {error.strerror}"
    if not beginning.startswith(_MAGIC):
        return False, "is no Windows program: it does not begin with MZ"
    if signature != _SIGNATURE:
        return False, "is no Windows program: it has no PE header"
    if machine == _I386 and _runs_no_32_bits(environ):
        return False, "is a 32-bit program, and Wine for these is not installed (Debian: wine32 of architecture i386)"
    return None


def _runs_no_32_bits(environ: Mapping[str, str]) -> bool:
    """Whether a prefix of 64 bits was made by a Wine without the libraries of 32."""
    libraries = Path(environ.get("WINEPREFIX", "")) / "drive_c/windows/syswow64"
    return libraries.is_dir() and not (libraries / "ntdll.dll").exists()


def what_wine_says(returncode: int, stdout: str, stderr: str) -> str | None:
    """What Wine itself says of a program that it has not run; None if it has.

    Args:
        returncode: How the command ended.
        stdout: What was written to standard output.
        stderr: What was written to standard error, by the program or by Wine.
    """
    lines = stderr.splitlines()
    if returncode != _WINE_FAILED or not lines:
        return None
    failed = next((line for line in lines if line.startswith(_WINE_STARTS_NONE) or _NO_ROOM in line), None)
    if failed is None and not stdout and lines[-1].startswith(_WINE_SPEAKS) and not lines[-1].startswith(_WINE_TELLS):
        return lines[-1]
    return failed


def wine_did_not_begin(returncode: int, stderr: str) -> bool:
    """Whether Wine ended before it began, by chance: the program has not run, and may be started again.

    Wine 8.0 needs the address 0x7ffe0000; recent kernels (seen with Linux 6.18) put the heap there about once in a
    thousand starts (``virtual_alloc_first_teb`` in ``dlls/ntdll/unix/virtual.c``).

    Args:
        returncode: How the command ended.
        stderr: What was written to standard error.
    """
    return returncode == _WINE_FAILED and any(_NO_ROOM in line for line in stderr.splitlines())


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
