"""The spool: a private folder for artifacts that came from somewhere else than a file."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import secrets
import tempfile
import threading
import weakref
from pathlib import Path
from typing import BinaryIO, Final, Self

from psengine_host.errors import ArtifactError, SpoolFull, printable_name
from psengine_host.spool_folders import OwnedFolder, remove_tree, sweep

__all__ = ["MAX_STREAM", "Deposit", "Spool"]

MAX_STREAM: Final = 2 << 30
"""Bytes at most that a pipe, a FIFO or a fetch may put into the spool: 2 GiB."""
_CHUNK: Final = 1 << 18
_TRIES: Final = 100
"""Folders that other starts may sweep away before they are locked, one after another."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

logger = logging.getLogger(__name__)


class Spool:
    """One private directory (mode 0700), made on first use and removed by :meth:`close`, at the latest at exit.

    It lies under ``TMPPREFIX``, else ``TMPDIR``, else the platform's folder for temporary files. Files have random
    names, are made with ``O_EXCL|O_NOFOLLOW|O_CLOEXEC`` and are read-only (0400) but for who made them. A process that
    is killed leaves its directory behind; :meth:`sweep` of a later one removes it.

    Args:
        parent: Where to make the directory; by default as above.
        max_size: Bytes of all its files together at most; by default there is no limit. What is in folders made by
            :meth:`new_folder` does not count.
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None, *, max_size: int | None = None) -> None:
        self.max_size = max_size
        self._parent = os.fspath(parent) if parent is not None else os.environ.get("TMPPREFIX") or None
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._finalizer: weakref.finalize[[], Spool] | None = None
        self._room_lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self._used = 0

    @property
    def folder(self) -> Path:
        """The directory; a new one where somebody removed it, as a cleaner of temporary files does after some days.

        Raises:
            ArtifactError: It cannot be made.
        """
        with self._lock:
            if self._folder is not None and self._finalizer is not None and not os.path.isdir(self._folder):
                logger.warning("the spool folder %s was removed by somebody; another is made", self._folder)
                self._finalizer()
                self._folder = self._finalizer = None
            if self._folder is None:
                where = self._parent or tempfile.gettempdir()
                try:
                    self._folder, self._finalizer = self._made(where)
                except OSError as error:
                    message = f"cannot make a spool directory in {where}: {error.strerror}; set TMPPREFIX or TMPDIR"
                    raise ArtifactError(message) from error
            return self._folder

    def _made(self, where: str) -> tuple[Path, weakref.finalize[[], Spool]]:
        for _ in range(_TRIES):
            folder = OwnedFolder(where)
            # Before it is made: a signal in between would leave a directory that nobody knows of.
            finalizer = weakref.finalize(self, folder.remove)
            try:
                if folder.make():
                    return folder.path, finalizer
            except OSError:
                finalizer.detach()
                raise
            finalizer.detach()
        raise FileNotFoundError(0, "each was removed by another start before it could be used")

    def sweep(self) -> int:
        """Remove the directories that dead processes of this user left where this spool lies.

        Returns:
            How many there were. Failures are logged, never raised.
        """
        try:
            return sweep(self._parent or tempfile.gettempdir())
        except FileNotFoundError:  # no folder for temporary files at all; whoever needs one is told
            return 0

    def new_folder(self, prefix: str) -> Path:
        """A fresh folder in the spool (mode 0700), for a scratch area; it goes with the spool."""
        folder = tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.folder)
        os.chmod(folder, 0o700)  # a umask may have taken from it
        return Path(folder)

    @property
    def used(self) -> int:
        """Bytes of all its files together."""
        return self._used

    def deposit(self, in_memory: int = 0) -> Deposit:
        """Begin to put bytes into the spool, piece by piece.

        Args:
            in_memory: Bytes up to which they stay in memory and cost no file.
        """
        return Deposit(self, in_memory)

    def write(self, data: bytes) -> Path:
        """Put bytes into a new, sealed file.

        Raises:
            ArtifactError: The file cannot be written.
            SpoolFull: There is no room for it.
        """
        with self.deposit() as deposit:
            try:
                deposit.write(data)
                return deposit.keep_file()[0]
            except OSError as error:
                raise ArtifactError(f"cannot write to the spool {self.folder}: {error.strerror or error}") from error

    def take(self, stream: BinaryIO, name: str, limit: int = MAX_STREAM) -> Path:
        """Read a stream to its end into a new, sealed file.

        Args:
            stream: Where the bytes come from.
            name: What to call it in an error.
            limit: Bytes at most.

        Raises:
            ArtifactError: The stream is longer than the limit, or cannot be read or written.
            SpoolFull: There is no room for it.
        """
        name = printable_name(name)
        size = 0
        with self.deposit() as deposit:
            try:
                deposit.write(b"")  # where there is no place for it, nothing is read
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    if size > limit:
                        raise ArtifactError(f"{name}: longer than {limit} bytes, the most that is taken from a stream")
                    deposit.write(chunk)
                if chunk is None:  # what a non-blocking stream says for "later": not its end
                    raise ArtifactError(f"{name}: has nothing to read at the moment; open it in blocking mode")
                return deposit.keep_file()[0]
            except OSError as error:
                raise ArtifactError(f"{name}: cannot be read into the spool: {error.strerror or error}") from error

    def discard(self, path: Path | None) -> None:
        """Remove a file of the spool; one that is gone already is no error. What resists is logged, never raised."""
        if path is None:
            return
        try:
            path.unlink(missing_ok=True)
        except IsADirectoryError:  # an engine was handed the path: whatever it left there goes
            remove_tree(path)
        except OSError as error:
            logger.warning("cannot remove %s from the spool: %s", path, error.strerror or error)
        with self._room_lock:
            self._used -= self._sizes.pop(path, 0)

    def close(self) -> None:
        """Remove the directory and all that is in it."""
        with self._lock:
            finalizer, self._finalizer, self._folder = self._finalizer, None, None
        if finalizer is not None:
            finalizer()
        with self._room_lock:
            self._sizes.clear()
            self._used = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create(self) -> tuple[int, Path]:
        """A new, empty file of the spool, open for writing, and its path."""
        path = self.folder / secrets.token_hex(16)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise _disk_full(path, error) from error
            raise
        with self._room_lock:
            self._sizes[path] = 0
        return descriptor, path

    def _resize(self, path: Path, size: int) -> None:
        """Count a file as being of this size, before it grows and after it has shrunk."""
        with self._room_lock:
            if path not in self._sizes:
                raise ArtifactError("the spool was closed while an artifact was written to it")
            more = size - self._sizes[path]
            if self.max_size is not None and more > 0 and self._used + more > self.max_size:
                if size > self.max_size:
                    limit = f"the spool holds {self.max_size} bytes, this artifact has {size} or more"
                    raise SpoolFull(f"{limit}; raise the setting spool.max_size")
                taken = f"{self._used} of {self.max_size} bytes are taken, {more} more do not fit"
                raise SpoolFull(f"the spool is full: {taken}; judge fewer at once, or raise the setting spool.max_size")
            self._used += more
            self._sizes[path] = size


class Deposit:
    """Bytes on their way into a spool: in memory up to a limit, beyond that in a file of the spool.

    It can be written to as a file: what fetches an artifact does so. Leaving its ``with`` block removes what was not
    kept.

    Args:
        spool: Where the file goes.
        in_memory: Bytes up to which there is none.
    """

    def __init__(self, spool: Spool, in_memory: int) -> None:
        self._spool = spool
        self._in_memory = in_memory
        self._content = io.BytesIO()
        self._position = 0
        self._size = 0
        self._file: _File | None = None
        self._ended = False

    def write(self, data: bytes) -> int:
        """Write at the present position.

        Raises:
            SpoolFull: There is no room, or none on the disk.
            OSError: It cannot be written.
            ValueError: The ``with`` block has been left.
        """
        if self._ended:  # by one who was interrupted, while another thread still writes
            raise ValueError("cannot write: nobody waits for the artifact any more")
        end = self._position + len(data)
        if self._file is None and 0 < self._in_memory >= end:
            self._content.write(data)
        else:
            file = self._in_file()
            self._spool._resize(file.path, max(end, self._size))
            file.write(data)
        self._position = end
        self._size = max(end, self._size)
        return len(data)

    def tell(self) -> int:
        """The present position."""
        return self._position

    def seek(self, position: int) -> int:
        """Go to a position that has been written to already."""
        if not 0 <= position <= self._size:
            raise ValueError(f"cannot seek to {position}: {self._size} bytes have been written")
        if self._file is None:
            self._content.seek(position)
        else:
            os.lseek(self._file.descriptor, position, os.SEEK_SET)
        self._position = position
        return position

    def truncate(self) -> int:
        """Forget all from the present position on; the room for it can be used again."""
        if self._position == 0:
            self._drop()
        elif self._file is None:
            self._content.truncate()
        else:
            os.ftruncate(self._file.descriptor, self._position)
            self._spool._resize(self._file.path, self._position)
        self._size = self._position
        return self._size

    def flush(self) -> None:
        """Nothing to do: no byte is held back."""

    def keep(self) -> bytes | tuple[Path, os.stat_result]:
        """All that was written: the bytes, or the sealed file with what ``fstat`` says of it. The file is the caller's.

        Raises:
            OSError: The file cannot be sealed.
        """
        return self._content.getvalue() if self._file is None else self.keep_file()

    def keep_file(self) -> tuple[Path, os.stat_result]:
        """As :meth:`keep`, but always a file.

        Raises:
            SpoolFull: There is no room for it.
            OSError: The file cannot be written or sealed.
        """
        file = self._in_file()
        os.fchmod(file.descriptor, 0o400)
        status = os.fstat(file.descriptor)
        file.close()  # some file systems tell of a full disk only now
        self._file = None
        return file.path, status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._drop()

    def _in_file(self) -> _File:
        """The file, made when it is needed, with all that was in memory."""
        if self._file is None:
            self._file = _File(*self._spool._create())
            self._spool._resize(self._file.path, self._size)
            self._file.write(self._content.getbuffer())
            os.lseek(self._file.descriptor, self._position, os.SEEK_SET)
            self._content = io.BytesIO()
        return self._file

    def _drop(self) -> None:
        file, self._file = self._file, None
        self._content = io.BytesIO()
        self._position = self._size = 0
        if file is not None:
            with contextlib.suppress(OSError):  # what could not be written is not wanted either
                file.close()
            self._spool.discard(file.path)


class _File:
    """A file that is being written."""

    __slots__ = ("_open", "descriptor", "path")

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path
        self._open = True

    def write(self, data: bytes | memoryview) -> None:
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                try:
                    written += os.write(self.descriptor, view[written:])
                except OSError as error:
                    if error.errno in _NO_ROOM:
                        raise _disk_full(self.path, error) from error
                    raise

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self.descriptor)


def _disk_full(path: Path, error: OSError) -> SpoolFull:
    advice = "judge fewer at once, free space, or name another folder in TMPPREFIX"
    return SpoolFull(f"the spool is full: {path.parent}: {error.strerror}; {advice}")
