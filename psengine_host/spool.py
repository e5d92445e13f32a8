"""The spool: a private folder for artifacts that came from somewhere else than a file."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import BinaryIO, Final, Self

from psengine_host.errors import ArtifactError, printable_name

__all__ = ["MAX_STREAM", "Spool"]

MAX_STREAM: Final = 2 << 30
"""Bytes at most that a pipe, a FIFO or a fetch may put into the spool: 2 GiB."""
_CHUNK: Final = 1 << 18


class Spool:
    """One private directory (mode 0700), made on first use and removed by :meth:`close`, at the latest at exit.

    It lies under ``TMPPREFIX``, else ``TMPDIR``, else the platform's folder for temporary files. Files have random
    names, are made with ``O_EXCL|O_NOFOLLOW|O_CLOEXEC`` and are read-only (0400) but for who made them.

    Args:
        parent: Where to make the directory; by default as above.
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        self._parent = os.fspath(parent) if parent is not None else os.environ.get("TMPPREFIX") or None
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._finalizer: weakref.finalize[[str, int], Spool] | None = None

    @property
    def folder(self) -> Path:
        """The directory.

        Raises:
            ArtifactError: It cannot be made.
        """
        with self._lock:
            if self._folder is None:
                where = self._parent or tempfile.gettempdir()
                folder = Path(where).absolute() / f"psengine-{secrets.token_hex(16)}"
                # Before it is made: a signal in between would leave a directory that nobody knows of.
                finalizer = weakref.finalize(self, _remove, os.fspath(folder), os.getpid())
                try:
                    folder.mkdir(mode=0o700)
                except OSError as error:
                    finalizer.detach()
                    message = f"cannot make a spool directory in {where}: {error.strerror}; set TMPPREFIX or TMPDIR"
                    raise ArtifactError(message) from error
                self._folder, self._finalizer = folder, finalizer
            return self._folder

    def new_folder(self, prefix: str) -> Path:
        """A fresh folder in the spool (mode 0700), for a scratch area; it goes with the spool."""
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.folder))

    def create(self) -> tuple[BinaryIO, Path]:
        """A new file open for writing, and its path; seal it with :meth:`seal`.

        Raises:
            OSError: It cannot be made.
            ArtifactError: The directory cannot be made.
        """
        path = self.folder / secrets.token_hex(16)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        return open(descriptor, "wb"), path

    def seal(self, path: Path) -> None:
        """Make sure that a written file is read-only; a link in its place is not followed.

        Raises:
            OSError: It cannot be.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.fchmod(descriptor, 0o400)
        finally:
            os.close(descriptor)

    def write(self, data: bytes) -> Path:
        """Put bytes into a new, sealed file.

        Raises:
            ArtifactError: The file cannot be written.
        """
        path = None
        try:
            file, path = self.create()
            with file:
                file.write(data)
            self.seal(path)
        except OSError as error:
            self.discard(path)
            raise ArtifactError(f"cannot write to the spool {self.folder}: {error.strerror or error}") from error
        return path

    def take(self, stream: BinaryIO, name: str, limit: int = MAX_STREAM) -> Path:
        """Read a stream to its end into a new, sealed file.

        Args:
            stream: Where the bytes come from.
            name: What to call it in an error.
            limit: Bytes at most.

        Raises:
            ArtifactError: The stream is longer than the limit, or cannot be read or written.
        """
        name = printable_name(name)
        path = None
        try:
            file, path = self.create()
            size = 0
            with file:
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    if size > limit:
                        raise ArtifactError(f"{name}: longer than {limit} bytes, the most that is taken from a stream")
                    file.write(chunk)
                if chunk is None:  # what a non-blocking stream says for "later": not its end
                    raise ArtifactError(f"{name}: has nothing to read at the moment; open it in blocking mode")
            self.seal(path)
        except OSError as error:
            self.discard(path)
            raise ArtifactError(f"{name}: cannot be read into the spool: {error.strerror or error}") from error
        except BaseException:
            self.discard(path)
            raise
        return path

    def discard(self, path: Path | None) -> None:
        """Remove a file of the spool; one that is gone already is no error."""
        if path is not None:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the directory and all that is in it."""
        with self._lock:
            finalizer, self._finalizer, self._folder = self._finalizer, None, None
        if finalizer is not None:
            finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _remove(folder: str, owner: int) -> None:
    """Remove a spool's directory, if this is the process that made it and not a fork of that."""
    if os.getpid() != owner:
        return
    shutil.rmtree(folder, ignore_errors=True)
    # An engine may have made a folder in its scratch area read-only.
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
