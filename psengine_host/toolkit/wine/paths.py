r"""POSIX paths as Windows programs write them, and back, without a process of Wine for each.

Where they end is what Wine 8.0's ``winepath`` says too, but for three things, in which that gives a path that opens
nothing or something else. Names that Windows' programs cannot say (``a?b``, ``end.``, ``nul.txt``) are written as
``\\?\unix\…``, which Wine opens. ``..`` behind a link goes where POSIX goes. A backslash in a name is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from psengine_host.errors import shown
from psengine_host.toolkit.wine import loader
from psengine_host.toolkit.wine.drives import Drives, drives_of
from psengine_host.toolkit.wine.errors import WineError

__all__ = ["as_nt_path", "from_nt_path"]

_UNTIDY: Final = re.compile(r"//|/\.{0,2}(?:/|$)")
"""Something to be normalised: empty components, ``.`` and ``..``, a slash at the end."""
_DEVICE: Final = r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]|conin\$|conout\$) *(?:[.:][^/\\]*)?$"
_UNSPEAKABLE: Final = re.compile(rf'[\x00-\x1f*?<>|"]|[. ](?:/|$)|/{_DEVICE}', re.IGNORECASE)
"""What a path with a drive cannot say: characters that are forbidden, ends that are cut off, names of devices."""
_UNENCODABLE: Final = re.compile("[\ud800-\udfff]")
_ABSOLUTE: Final = re.compile(r"(?:[\\/]{2}[?.][\\/]|\\\?\?\\)?([a-zA-Z]:)(?=[\\/]|$)(.*)", re.DOTALL)
r"""``C:\x``, also behind ``\\?\``, ``\\.\`` and ``\??\``."""
_UNIX: Final = re.compile(r"(?:[\\/]{2}\?[\\/]|\\\?\?\\)unix(?=[\\/])(.*)", re.DOTALL | re.IGNORECASE)
_RELATIVE: Final = re.compile(r"(?![\\/])[^:]+", re.DOTALL)
_DEVICE_NAME: Final = re.compile(rf"(?:.*[\\/])?{_DEVICE}", re.DOTALL | re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[\\/]+")
_WINEPATH_SECONDS: Final = 30


def as_nt_path(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> str:
    r"""A POSIX path as a Windows program writes it: ``/tmp/a b`` is ``Z:\tmp\a b``.

    The drive is the one whose folder is nearest. No process is started, and the file need not exist.

    Args:
        path: The path. A relative one counts from the working directory.
        environ: Where ``WINEPREFIX`` is looked up; ``os.environ`` by default. A prefix that is not made yet has the
            drives that Wine will make.

    Returns:
        The path with its drive. Where a name holds what no such path can say, or no drive leads to the file, it is
        ``\\?\unix\…``, which Wine opens too. On Windows: the absolute path.

    Raises:
        WineError: A name holds a backslash, or bytes that are not UTF-8, which no NT path can say; or ``WINEPREFIX``
            is not absolute.
    """
    text = os.fspath(path)
    if loader.ON_WINDOWS:
        return os.path.abspath(text)
    if not text or "\0" in text:
        raise WineError(f"{shown(text)} names no file")
    if not text.startswith("/"):
        text = f"{os.getcwd()}/{text}"
    if _UNTIDY.search(text):
        text = _tidied(text)
    if "\\" in text or _UNENCODABLE.search(text):
        what = "a backslash" if "\\" in text else "bytes that are not UTF-8"
        raise WineError(f"{shown(text)} has no NT path: it holds {what}; rename it, or scan a copy")
    if _UNSPEAKABLE.search(text) is None:
        for folder, drive in drives_of(loader.prefix(environ)).roots:
            if text.startswith(folder):
                rest = text[len(folder) :] if folder != "/" else text
                if not rest or rest[0] == "/":
                    return drive + (rest.replace("/", "\\") or "\\")
    return "\\\\?\\unix" + text.replace("/", "\\")


def from_nt_path(nt: str, environ: Mapping[str, str] | None = None) -> Path:
    r"""An NT path as a POSIX path: ``Z:\tmp\a b`` is ``/tmp/a b``.

    Slashes of both kinds, drive letters of both cases, ``..``, ``\\?\C:\…`` and ``\\?\unix\…`` are understood. Where a
    file is there in another case, it is taken, as Windows does; what does not exist stays as it is written. No process
    is started but for what depends on Wine's state: ``C:name`` and ``\name`` without a drive.

    Args:
        nt: The path. A relative one counts from the working directory.
        environ: Where ``WINEPREFIX`` is looked up; ``os.environ`` by default.

    Returns:
        The absolute path, through the drive's folder and not through Wine's link to it.

    Raises:
        WineError: It is empty, or the name of a device (``NUL``) or of a share (``\\server\share``), or there is no
            such drive.
    """
    if loader.ON_WINDOWS:
        return Path(nt).absolute()
    if not nt or "\0" in nt:
        raise WineError(f"{shown(nt)} names no file")
    if match := _UNIX.match(nt):
        return Path(match[1].replace("\\", "/"))
    if _DEVICE_NAME.fullmatch(nt):
        raise WineError(f"{shown(nt)} is the name of a device of Windows, not of a file")
    if match := _ABSOLUTE.fullmatch(nt):
        drives = drives_of(loader.prefix(environ))
        return _found(_folder(match[1].upper(), nt, drives), match[2])
    if nt[0] in "\\/" and nt[1:2] and nt[1] in "\\/":
        raise WineError(f"{shown(nt)} is a share or a device, not a file of a drive")
    if _RELATIVE.fullmatch(nt):
        return _found("/", nt, os.getcwd().split("/"))
    return _asked(nt, environ)


def _tidied(path: str) -> str:
    """A path without ``//``, ``.`` and ``..``; ``..`` needs the file system, since there may be a link before it."""
    if "/../" in f"{path}/":
        return os.path.realpath(path)
    return "/" + os.path.normpath(path).lstrip("/")


def _folder(drive: str, nt: str, drives: Drives) -> str:
    folder = drives.folders.get(drive)
    if folder is None:
        known = ", ".join(sorted(drives.folders)) or "none"
        raise WineError(f"{shown(nt)}: the prefix has no drive {drive}; it has {known}")
    return folder


def _found(folder: str, rest: str, start: Iterable[str] = ()) -> Path:
    """What the rest of an NT path leads to from a folder and names below it, in the case in which it is there."""
    names = [name for name in start if name]
    for name in _SEPARATORS.split(rest):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    path = os.path.join(folder, *names)
    if os.path.lexists(path):
        return Path(path)
    path = folder
    for position, name in enumerate(names):
        below = os.path.join(path, name)
        if not os.path.lexists(below):
            same = _in_other_case(path, name)
            if same is None:
                return Path(path, *names[position:])
            below = os.path.join(path, same)
        path = below
    return Path(path)


def _in_other_case(folder: str, name: str) -> str | None:
    wanted = _upper(name)
    try:
        return min((other for other in os.listdir(folder) if _upper(other) == wanted), default=None)
    except OSError:
        return None


def _upper(name: str) -> str:
    """A name as NT compares it, character by character: it does not take ``SS`` for ``ß``."""
    return "".join([large if len(large := character.upper()) == 1 else character for character in name])


def _asked(nt: str, environ: Mapping[str, str] | None) -> Path:
    """What ``winepath`` says, in a process."""
    import subprocess  # only here

    from psengine_host.toolkit.wine.child import child_environment

    command = loader.command(["winepath", "-u", "-0", nt], environ)
    try:
        done = subprocess.run(  # noqa: S603 - a list of words
            command,
            env=child_environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Wine's server would hold a pipe open
            timeout=_WINEPATH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WineError(f"winepath did not answer for {shown(nt)}: {error}") from error
    text = os.fsdecode(done.stdout.partition(b"\0")[0])
    if done.returncode or not text:
        raise WineError(f"{shown(nt)} names no file, says winepath")
    return Path(os.path.realpath(text))
