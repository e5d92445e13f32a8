"""Artifacts: what is judged. A local file, bytes or a URL, with everything about it found out only when asked for."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final, Self, TypeAlias

from psengine_host.bounty import URL_MIMETYPE, ArtifactType
from psengine_host.errors import ArtifactError, ArtifactUnavailable, printable_name
from psengine_host.local_names import file_uri
from psengine_host.spool import Spool

__all__ = ["KEPT_IN_MEMORY", "Artifact"]

KEPT_IN_MEMORY: Final = 1 << 20
"""Bytes up to which a file is read once and kept, so that hash, type and engine see the very same bytes: 1 MiB."""
_CHUNK: Final = 1 << 18
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a FIFO"),
)


_State: TypeAlias = tuple[int, int, int, int, int]
_SAME_FILE: Final = 3
"""Parts of a state that say which file it is, and how large."""
_WRITTEN: Final = 4
"""Parts of a state that change only when a file is written to or replaced."""


class Artifact:
    """What is judged. Make one with :meth:`from_path`, :meth:`from_bytes` or :meth:`from_url`.

    Nothing is read before it is asked for. A file of up to 1 MiB is read once; a larger one is streamed, and found out
    if it changes between the hash and the end of the scan.

    Attributes:
        name: What it is called in messages.
        url: The URL of a URL artifact, or None.
        obtained_in: Seconds that it took to fetch it; they count towards the time limit of its bounty.
    """

    __slots__ = (
        "__weakref__",
        "_content",
        "_mimetype",
        "_own_spool",
        "_owned",
        "_path",
        "_seen_on_disk",
        "_sha256",
        "_size",
        "_spool",
        "_state",
        "name",
        "obtained_in",
        "url",
    )

    def __init__(
        self, *, name: str, path: str | None, content: bytes | None, url: str | None, spool: Spool | None
    ) -> None:
        self.name = name
        self.url = url
        self.obtained_in = 0.0
        self._path = path
        self._content = content
        self._spool = spool
        self._owned = False
        self._own_spool = False
        self._mimetype: str | None = URL_MIMETYPE if url is not None else None
        self._sha256: str | None = None
        self._size: int | None = None if content is None else len(content)
        self._state: _State | None = None
        self._seen_on_disk = False

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], *, name: str | None = None) -> Self:
        """An artifact that is a file.

        Args:
            path: The file; a link is followed.
            name: What to call it in messages; the path by default.

        Raises:
            ArtifactError: There is no such file.
            ArtifactUnavailable: It is a folder, device, socket or FIFO.
        """
        text = os.fsdecode(path)
        artifact = cls(name=name or text, path=text, content=None, url=None, spool=None)
        try:
            artifact._check_kind(os.stat(text))
        except OSError as error:
            raise artifact._unreadable(error) from error
        except ValueError as error:  # a NUL in the name
            raise ArtifactError(f"{artifact._shown_name}: no file can be called that ({error})") from error
        return artifact

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "bytes", spool: Spool | None = None) -> Self:
        """An artifact that is bytes; a file is made of them only if its path is asked for.

        Args:
            data: The bytes.
            name: What to call it in messages.
            spool: Where that file goes; by default a spool of its own.
        """
        return cls(name=name, path=None, content=bytes(data), url=None, spool=spool)

    @classmethod
    def from_stream(cls, stream: BinaryIO, spool: Spool, *, name: str = "stream") -> Self:
        """An artifact read from a stream to its end, kept in the spool until :meth:`close`.

        Raises:
            ArtifactError: The stream cannot be read, or is longer than the spool takes.
        """
        artifact = cls(name=name, path=os.fspath(spool.take(stream, name)), content=None, url=None, spool=spool)
        artifact._owned = True
        return artifact

    @classmethod
    def from_spooled(cls, path: Path, spool: Spool, *, name: str) -> Self:
        """An artifact that is a sealed file of the spool; :meth:`close` removes it."""
        artifact = cls(name=name, path=os.fspath(path), content=None, url=None, spool=spool)
        artifact._owned = True
        return artifact

    @classmethod
    def from_url(cls, url: str, *, spool: Spool | None = None) -> Self:
        """An artifact that is a URL itself; its bytes are the URL's text in UTF-8.

        Raises:
            ArtifactError: It is no text that UTF-8 can hold.
        """
        try:
            content = url.encode()
        except UnicodeEncodeError:
            raise ArtifactError(f"{url!a}: is no URL: UTF-8 cannot hold it") from None
        return cls(name=url, path=None, content=content, url=url, spool=spool)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def artifact_type(self) -> ArtifactType:
        """File or URL."""
        return ArtifactType.FILE if self.url is None else ArtifactType.URL

    @property
    def uri(self) -> str:
        """Where it is: the URL, a ``file:`` URI, or, of what is in memory or small in the spool, a ``data:`` URI."""
        if self.url is not None:
            return self.url
        if self._path is not None and (not self._owned or self.size > KEPT_IN_MEMORY):
            return file_uri(self._path)
        from psengine_host.network.data_uris import encode_data_uri

        # The type is named where it is known; nobody has asked for it otherwise.
        return encode_data_uri(self.read_bytes(), self._mimetype or "application/octet-stream")

    @property
    def path(self) -> Path:
        """A file that holds the artifact, for scanners that want a name.

        Raises:
            ArtifactError: The artifact is in memory and the file cannot be written.
        """
        if self._path is None:
            if self._spool is None:
                self._spool = Spool()
                self._own_spool = True
            self._path = os.fspath(self._spool.write(self._content or b""))
            self._owned = True
        self._see_on_disk()
        return Path(self._path)

    @property
    def size(self) -> int:
        """Bytes of the artifact.

        Raises:
            ArtifactError: The file cannot be read.
        """
        if self._size is None:
            try:
                self._size = os.stat(self._path or "").st_size
            except OSError as error:
                raise self._unreadable(error) from error
        return self._size

    @property
    def sha256(self) -> str:
        """SHA-256, 64 lower-case hexadecimal digits; computed once.

        Raises:
            ArtifactError: The file cannot be read, or changed while it was read.
        """
        if self._sha256 is None:
            self._load()
        return self._sha256 or ""

    @property
    def mimetype(self) -> str:
        """The mimetype by content (see ``psengine_host.filetypes``); identified once, only when asked for.

        Raises:
            ArtifactError: The file cannot be read.
        """
        if self._mimetype is None:
            from psengine_host import filetypes

            if self._content is None and self._sha256 is None and self.size <= KEPT_IN_MEMORY:
                self._load()
            if self._content is not None:
                self._mimetype = filetypes.identify_bytes(self._content)
            else:
                try:
                    self._state = self._state or _state(os.stat(self._path or ""))
                    self._mimetype = filetypes.identify_path(self._path or "")
                except OSError as error:
                    raise self._unreadable(error) from error
        return self._mimetype

    def read_bytes(self) -> bytes:
        """All bytes. A large file is read anew each time.

        Raises:
            ArtifactError: The file cannot be read, or is not what was hashed.
        """
        if self._content is None and self._sha256 is None:
            self._load()
        if self._content is not None:
            return self._content
        size = self.size
        # One byte more than expected: a file that grows without end is found out before it fills the memory.
        with self._stream() as file:
            try:
                content = file.read(size + 1)
            except OSError as error:
                raise self._unreadable(error) from error
        if len(content) != size:
            raise self._changed()
        return content

    def open(self) -> BinaryIO:
        """The artifact as a binary stream, at its beginning; close it when done.

        Raises:
            ArtifactError: The file cannot be read.
        """
        if self._content is None and self._sha256 is None and self.size <= KEPT_IN_MEMORY:
            self._load()
        if self._content is not None:
            return io.BytesIO(self._content)
        return self._stream()

    # --- for the host -----------------------------------------------------------------------------------------------

    def check_sha256(self, announced: str | None, *others: str) -> None:
        """Make sure that the artifact is the one that a bounty speaks of.

        Args:
            announced: What the bounty says, or None where it does not say.
            others: Hashes that would be right as well.

        Raises:
            ArtifactError: It is another one, or cannot be read.
        """
        if announced is not None and announced != self.sha256 and announced not in others:
            raise ArtifactError(f"the artifact's SHA-256 is {self.sha256}, the bounty says {announced}")

    def is_current(self) -> bool:
        """Whether the file is still what has been found out about it; it may have been read long before its turn."""
        if self._path is None or self._state is None:
            return True
        try:
            return _state(os.stat(self._path))[:_WRITTEN] == self._state[:_WRITTEN]
        except OSError:
            return False

    def check_unchanged(self) -> None:
        """Make sure that the file an engine read from disk is still the one that was hashed.

        Raises:
            ArtifactError: It is gone, or was written to since.
        """
        if not self._seen_on_disk or self._state is None or self._path is None:
            return
        try:
            now = os.stat(self._path)
        except OSError as error:
            raise self._unreadable(error) from error
        if _state(now) == self._state:
            return
        # A link or another mode changes the times as well; then the bytes decide.
        hashed = self.sha256 if self._content is not None else self._sha256
        same_file = _state(now)[:_SAME_FILE] == self._state[:_SAME_FILE]
        if not same_file or hashed is None or self._hash_on_disk() != hashed:
            raise self._changed()
        self._state = _state(now)

    def close(self) -> None:
        """Remove the file if the spool holds one for this artifact, and let go of the bytes."""
        if self._owned and self._spool is not None and self._path is not None:
            self._spool.discard(Path(self._path))
            self._owned = False
        if self._own_spool and self._spool is not None:
            self._spool.close()
        self._content = None if self._path is not None else self._content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Artifact({self.name!r})"

    # --- reading ----------------------------------------------------------------------------------------------------

    def _descriptor(self) -> int:
        """The file, open for reading, if it is still a file."""
        # O_NONBLOCK: a FIFO that took the file's place must not block the host for ever.
        descriptor = os.open(self._path or "", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._check_kind(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _stream(self) -> BinaryIO:
        self._see_on_disk()
        try:
            return open(self._path or "", "rb", opener=lambda *_: self._descriptor())
        except OSError as error:
            raise self._unreadable(error) from error

    def _load(self) -> None:
        """Hash the artifact; keep its bytes if it is small."""
        if self._content is not None:
            self._sha256 = hashlib.sha256(self._content).hexdigest()
            return
        try:
            descriptor = self._descriptor()
            try:
                before = os.fstat(descriptor)
                if before.st_size <= KEPT_IN_MEMORY:
                    # One byte more than expected tells a file that grew from one that did not.
                    content = os.read(descriptor, before.st_size + 1)
                    if len(content) != before.st_size:
                        content = self._whole(descriptor, content)
                    self._content = content
                    self._size = len(content)
                    self._sha256 = hashlib.sha256(content).hexdigest()
                else:
                    digest = hashlib.sha256()
                    buffer = memoryview(bytearray(_CHUNK))
                    size = 0
                    while count := os.readv(descriptor, [buffer]):
                        digest.update(buffer[:count])
                        size += count
                    if size != before.st_size:
                        raise self._changed()
                    self._size = size
                    self._sha256 = digest.hexdigest()
                if _state(os.fstat(descriptor))[:_WRITTEN] != _state(before)[:_WRITTEN]:
                    raise self._changed()
                self._state = _state(before)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unreadable(error) from error

    def _see_on_disk(self) -> None:
        """Somebody reads the file itself from now on: remember what it was."""
        self._seen_on_disk = True
        if self._state is None and self._path is not None:
            try:
                self._state = _state(os.stat(self._path))
            except OSError as error:
                raise self._unreadable(error) from error

    def _hash_on_disk(self) -> str:
        try:
            with open(self._descriptor(), "rb", buffering=0) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error) from error

    def _whole(self, descriptor: int, content: bytes) -> bytes:
        """The rest of a file whose size was not what ``fstat`` said, as in ``/proc``; refused if it is no small one."""
        parts = [content]
        total = len(content)
        while chunk := os.read(descriptor, _CHUNK):
            parts.append(chunk)
            total += len(chunk)
            if total > KEPT_IN_MEMORY:
                reason = "grows, or does not say its size (as in /proc), and is larger than 1 MiB; scan a copy of it"
                raise ArtifactError(f"{self._shown_name}: {reason}")
        return b"".join(parts)

    def _check_kind(self, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            return
        kind = next((kind for test, kind in _KINDS if test(status.st_mode)), "no regular file")
        raise ArtifactUnavailable(f"{self._shown_name}: is {kind}, not a file")

    def _unreadable(self, error: OSError) -> ArtifactError:
        reason = (error.strerror or str(error)).lower()
        return ArtifactError(f"{self._shown_name}: {reason}")

    @property
    def _shown_name(self) -> str:
        """The name on one line: a file may be called anything, line ends and undecodable bytes included."""
        return printable_name(self.name)

    def _changed(self) -> ArtifactError:
        return ArtifactError(f"{self._shown_name}: changed while it was read; scan it again")


def _state(status: os.stat_result) -> _State:
    """What tells that a file was written to; the last of it also when its modification time was set back."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
