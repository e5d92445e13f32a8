"""Name the type of a file with the libmagic that the wheel python-magic-standalone carries.

The library is bound here, with :mod:`ctypes`, instead of ``import magic``: python-magic and Debian's python3-magic are
other modules of that name, and python-magic replaces ``magic/__init__.py`` of the wheel by its own, which looks for a
library of the system. The library and its database lie in the wheel's files whichever of them was installed last.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import sys
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from psengine_host.errors import PsengineError
from psengine_host.filetypes.aliases import canonical
from psengine_host.filetypes.refinement import reader, refined

__all__ = ["READ_LIMIT", "FileTypeError", "identify_bytes", "identify_descriptor", "identify_path"]

READ_LIMIT = 1 << 20
"""Bytes of a file that libmagic reads from its start; ELF sections and OLE2 directories further on are read singly."""

_DISTRIBUTION = "python-magic-standalone"
_REPAIR = f"repair it with: pip install --force-reinstall {_DISTRIBUTION}"
_MAGIC_MIME_TYPE = 0x10  # magic.h
_MAGIC_PARAM_BYTES_MAX = 6
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_INODES = {
    stat.S_IFDIR: "inode/directory",
    stat.S_IFIFO: "inode/fifo",
    stat.S_IFSOCK: "inode/socket",
    stat.S_IFCHR: "inode/chardevice",
    stat.S_IFBLK: "inode/blockdevice",
}


class FileTypeError(PsengineError):
    """libmagic cannot be used; the message says how to repair the installation."""


def identify_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Name the type of a file.

    Args:
        path: Of the file; links are followed.

    Returns:
        A canonical mimetype: ``application/x-empty`` for no content, ``application/octet-stream`` for unknown content,
        ``inode/directory``, ``inode/fifo``, … for what is no regular file (which is not read).

    Raises:
        OSError: When the file cannot be opened or read.
        FileTypeError: When libmagic cannot be used.
    """
    fd = os.open(path, _OPEN_FLAGS)
    try:
        return _identify_open_file(fd)
    finally:
        os.close(fd)


def identify_descriptor(fd: int) -> str:
    """Name the type of an open file: of the whole, whatever the position, which is left as it was.

    Args:
        fd: A descriptor open for reading. Nobody else may read through it meanwhile.

    Returns:
        As :func:`identify_path`.

    Raises:
        OSError: When the file cannot be read.
        FileTypeError: When libmagic cannot be used.
    """
    # libmagic reads from the position and puts it back; a pipe has none, and is not read.
    try:
        position = os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            raise
        position = 0
    if position == 0:
        return _identify_open_file(fd)
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        return _identify_open_file(fd)
    finally:
        os.lseek(fd, position, os.SEEK_SET)


def identify_bytes(data: bytes | bytearray | memoryview) -> str:
    """Name the type of content in memory.

    Args:
        data: The whole content. libmagic looks at its first :data:`READ_LIMIT` bytes.

    Returns:
        As :func:`identify_path`.

    Raises:
        FileTypeError: When libmagic cannot be used.
    """
    view = memoryview(data)
    if not isinstance(data, bytes):
        view = view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
    head = data if isinstance(data, bytes) else bytes(view[:READ_LIMIT])
    library = _library()
    said = library.of_buffer(head, min(len(head), READ_LIMIT))
    return refined(said, lambda size, offset: bytes(view[offset : offset + size]), len(view))


def _identify_open_file(fd: int) -> str:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return _INODES.get(stat.S_IFMT(status.st_mode), "application/octet-stream")
    return refined(_library().of_descriptor(fd), reader(fd), status.st_size)


class _Functions(NamedTuple):
    """The functions of magic.h that are used here."""

    open: Callable[[int], int | None]
    close: Callable[[int], None]
    load_buffers: Callable[..., int]
    setparam: Callable[..., int]
    descriptor: Callable[[int, int], bytes | None]
    buffer: Callable[[int, bytes, int], bytes | None]
    error: Callable[[int], bytes | None]
    errno: Callable[[int], int]


def _bind(library: ctypes.CDLL) -> _Functions:
    """Give each function its types; a library without one of them is an AttributeError."""
    cookie, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    types: dict[str, tuple[type[ctypes._SimpleCData[Any]] | None, list[Any]]] = {
        "open": (cookie, [ctypes.c_int]),
        "close": (None, [cookie]),
        "load_buffers": (ctypes.c_int, [cookie, ctypes.POINTER(cookie), ctypes.POINTER(size), size]),
        "setparam": (ctypes.c_int, [cookie, ctypes.c_int, ctypes.POINTER(size)]),
        "descriptor": (text, [cookie, ctypes.c_int]),
        "buffer": (text, [cookie, text, size]),
        "error": (text, [cookie]),
        "errno": (ctypes.c_int, [cookie]),
    }
    bound = {}
    for name, (result, arguments) in types.items():
        function = bound[name] = library[f"magic_{name}"]
        function.restype, function.argtypes = result, arguments
    return _Functions(**bound)


class _Library:
    """libmagic and its database, and the cookies (its word for a session) that are free.

    A cookie serves one call at a time. Calls run without the interpreter's lock, so each takes a free cookie, or opens
    one (40 µs) when all are in use, and puts it back. Taking and putting are single operations of a deque: there is no
    lock to wait for, or to find held for ever after a fork, and a child that was forked in the middle of another
    thread's call simply does not have that thread's cookie.
    """

    def __init__(self, library: ctypes.CDLL, database: Path) -> None:
        self._database = database
        self._free: deque[int] = deque()
        self._functions = _bind(library)
        # Handed over as memory, not by name: libmagic splits a name at its colons, and one mapping serves all cookies.
        with database.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._pointer = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._map)))
        self._free.append(self._new_cookie())

    def _new_cookie(self) -> int:
        magic = self._functions
        cookie = magic.open(_MAGIC_MIME_TYPE)
        if cookie is None:
            raise FileTypeError("libmagic cannot start: out of memory; free some and try again")
        size, limit = ctypes.c_size_t(len(self._map)), ctypes.c_size_t(READ_LIMIT)
        if magic.load_buffers(cookie, ctypes.byref(self._pointer), ctypes.byref(size), 1) or magic.setparam(
            cookie, _MAGIC_PARAM_BYTES_MAX, ctypes.byref(limit)
        ):
            reason = (magic.error(cookie) or b"no reason given").decode(errors="replace")
            magic.close(cookie)
            raise FileTypeError(f"libmagic cannot use its database {self._database}: {reason}; {_REPAIR}")
        return cookie

    def of_descriptor(self, fd: int) -> str:
        """What libmagic says of an open regular file, canonical."""
        cookie = self._take()
        try:
            said = self._functions.descriptor(cookie, fd)
            return canonical(said.decode("ascii", "replace")) if said else self._without_answer(cookie)
        finally:
            self._free.append(cookie)

    def of_buffer(self, data: bytes, size: int) -> str:
        """What libmagic says of the first ``size`` bytes, canonical."""
        cookie = self._take()
        try:
            said = self._functions.buffer(cookie, data, size)
            return canonical(said.decode("ascii", "replace")) if said else "application/octet-stream"
        finally:
            self._free.append(cookie)

    def _take(self) -> int:
        try:
            return self._free.pop()
        except IndexError:
            return self._new_cookie()

    def _without_answer(self, cookie: int) -> str:
        """A failed read is the caller's to know; content that libmagic stumbles over is content of an unknown type."""
        error = self._functions.errno(cookie)
        if error:
            raise OSError(error, os.strerror(error))
        return "application/octet-stream"


@lru_cache(maxsize=1)  # two threads that come first together each make one, and one of the two is forgotten
def _library() -> _Library:
    folder = _installed_folder()
    path, database = folder / "libmagic.so.1", folder / "magic.mgc"
    for needed in (path, database):
        if not needed.is_file():
            raise FileTypeError(f"{_DISTRIBUTION} is installed without {needed}; {_REPAIR}")
    _leave_the_name_to_the_system()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise FileTypeError(f"libmagic cannot be loaded: {error}; {_REPAIR}") from error
    try:
        return _Library(library, database)
    except (AttributeError, OSError, ValueError) as error:
        raise FileTypeError(f"libmagic in {folder} cannot be used: {error}; {_REPAIR}") from error


def _installed_folder() -> Path:
    """Where the wheel put its files, found by its metadata."""
    import importlib.metadata  # costs 20 ms, and only the first identification needs it

    found = next(iter(importlib.metadata.distributions(name=_DISTRIBUTION, path=_trusted_path())), None)
    if found is None:
        raise FileTypeError(f"{_DISTRIBUTION} is not installed in {sys.prefix}; {_REPAIR}")
    return Path(str(found.locate_file("magic"))).absolute()


def _trusted_path() -> list[str]:
    """``sys.path`` without the current directory: that may be a folder of samples, and a library found there would run.

    The current directory counts when this package itself was imported from it, or it is where Python installs to.
    """
    import sysconfig

    try:
        here = Path.cwd()
    except OSError:  # it was removed, so nothing can be found in it
        return [entry for entry in sys.path if Path(entry).is_absolute()]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if here in installed | {Path(__file__).resolve().parents[2]}:
        return [str(here / entry) for entry in sys.path]
    return [entry for entry in sys.path if Path(entry).is_absolute() and Path(entry).resolve() != here]


def _leave_the_name_to_the_system() -> None:
    """Load the system's ``libmagic.so.1`` first, if there is one.

    The dynamic linker hands out the first loaded library of a name to whoever asks for that name later. Ours has the
    same name, so python-magic in an engine would get it, look for a database that is not there and fail.
    """
    # An empty or relative entry would look into the current directory.
    search = os.environ.get("LD_LIBRARY_PATH", "")
    if search and not all(entry.startswith("/") for entry in search.replace(";", ":").split(":")):
        return
    try:
        ctypes.CDLL("libmagic.so.1")
    except OSError:
        return  # the system has none, so nobody can ask for it
