"""Folders that nobody else gets at: made so, and checked where they are there already.

What is wrong with a folder is said as the end of a sentence that begins with its path, and ends with what to do. Users
are compared by their effective id; as root, what belongs to root is the user's own.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePath
from typing import Final

from psengine_host.errors import PsengineError, printable_name, shown

__all__ = ["group_access", "make_own", "make_private", "read_secret", "runtime_problem", "secrets_problem"]

MAX_SECRET: Final = 16 << 20
"""Bytes of a secret at most: 16 MiB. A file that is larger is no licence."""
_OTHERS: Final = 0o007
_GROUP: Final = 0o070


def make_own(directory: Path) -> None:
    """Make sure of a folder that nobody else controls: without a login it lies, by a known name, among other users'.

    Raises:
        OSError: It cannot be made, or somebody else controls it.
    """
    make_private(directory)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, f"{directory} is a link, belongs to somebody else or is open to others")


def make_private(directory: Path) -> None:
    """Make a folder and all that is missing above it, each with mode 0700; ``parents=True`` would open those to all.

    Raises:
        OSError: It cannot be made, or something else is in its place.
    """
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(directory))


def runtime_problem(directory: Path) -> str:
    """Why a folder must not be used for sockets and pipes; empty where it may be.

    It must be there, belong to the user and have mode 0700, as the XDG base directory specification asks of
    ``XDG_RUNTIME_DIR``. A link to it must be the user's or root's.
    """
    status = _status(directory)
    if isinstance(status, str):
        in_the_way = os.path.lexists(directory)
        advice = "use a folder of mode 0700" if in_the_way else f"make it: mkdir -m 700 {_quoted(directory)}"
        return f"{status}; {advice}"
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        return f"belongs to user {status.st_uid}, not to user {os.geteuid()}, who runs this; use a folder of that user"
    if mode & 0o777 != 0o700:
        what, change = ("is open to others", "close") if mode & 0o077 else ("cannot be used by its owner", "open")
        return f"{what} (mode {mode:04o}); {change} it: chmod 700 {_quoted(directory)}"
    return ""


def secrets_problem(directory: Path) -> str:
    """Why no secret may be kept in a folder; empty where it may be, and where the folder is not there.

    It must belong to the user or to root, and be closed to all but its owner and group.
    """
    if not os.path.lexists(directory):
        return ""
    status = _status(directory)
    if isinstance(status, str):
        return f"{status}; use a folder of mode 0700"
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}, neither to user {os.geteuid()}, who runs this, nor to root"
    if status.st_mode & _OTHERS:
        return (
            f"is open to all users (mode {stat.S_IMODE(status.st_mode):04o}); close it: chmod 700 {_quoted(directory)}"
        )
    return ""


def group_access(directory: Path) -> str:
    """What to say of a folder of secrets that its group may get at; empty where it may not."""
    status = _status(directory)
    if isinstance(status, str) or not status.st_mode & _GROUP:
        return ""
    mode = stat.S_IMODE(status.st_mode)
    return f"is open to group {status.st_gid} (mode {mode:04o}); if that is not meant: chmod 700 {_quoted(directory)}"


def read_secret(directory: Path, name: str, variable: str) -> bytes:
    """Read a file of a folder of secrets, if it is as well kept as the folder.

    Args:
        directory: The folder.
        name: The file's name, or its path from the folder. Links are followed, but not out of the folder.
        variable: What the folder is set by, for the message where the file is missing.

    Returns:
        What is in it.

    Raises:
        PsengineError: There is no such file below the folder, or others may read or write it, or it belongs to another
            user, or it is larger than 16 MiB. Nothing of its content is in the message.
    """
    if "\0" in name or not name or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        raise PsengineError(f"{shown(name)} names no secret: write a path from {printable_name(str(directory))}")
    path = directory / name
    where = printable_name(str(path))
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(directory.resolve(strict=True)):
            raise PsengineError(f"{where} is a link out of the folder of secrets; put the file itself there")
        with open(real, "rb", opener=_open_at_once) as file:
            problem = _file_problem(os.fstat(file.fileno()), path)
            if problem:
                raise PsengineError(f"{where} {problem}")
            content = file.read(MAX_SECRET + 1)
    except FileNotFoundError as error:
        raise PsengineError(f"{variable}: {_missing(directory, name, variable)}") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = error.strerror if isinstance(error, OSError) else "Too many levels of symbolic links"
        raise PsengineError(f"cannot read the secret {where}: {reason}") from error
    if len(content) > MAX_SECRET:
        raise PsengineError(f"{where} is larger than {MAX_SECRET} bytes, the most that a secret may have")
    return content


def _missing(directory: Path, name: str, variable: str) -> str:
    """What is missing of a secret, the folder or the file in it, and what to do."""
    folder, file = printable_name(str(directory)), printable_name(name)
    if os.path.islink(directory / name):
        return f"{file} in {folder} is a link to what is not there; put the file itself there, with mode 0600"
    if not directory.exists():
        make = f"make it (mkdir -m 700 {_quoted(directory)}) with {file} in it"
        return f"{folder} does not exist; {make}, or set {variable} to the folder that has {file}"
    return f"{folder} has no {file}; put it there, with mode 0600, or set {variable} to the folder that has it"


def _open_at_once(path: str, flags: int) -> int:
    """Open no link, and without waiting: a pipe in the file's place would hold the engine up for ever."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _file_problem(status: os.stat_result, path: Path) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}, neither to user {os.geteuid()}, who runs this, nor to root"
    if status.st_mode & 0o006:
        mode = stat.S_IMODE(status.st_mode)
        return f"can be read or written by all users (mode {mode:04o}); close it: chmod 600 {_quoted(path)}"
    return ""


def _status(directory: Path) -> os.stat_result | str:
    """The status of a folder, links followed; or what is wrong with it."""
    try:
        link = directory.lstat()
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
            return f"is a link that belongs to user {link.st_uid}"
        status = directory.stat()
    except OSError as error:
        return "does not exist" if error.errno == errno.ENOENT else f"cannot be looked at: {error.strerror}"
    return status if stat.S_ISDIR(status.st_mode) else "is not a directory"


def _quoted(path: Path) -> str:
    import shlex  # only an error needs it

    return shlex.quote(printable_name(str(path)))
