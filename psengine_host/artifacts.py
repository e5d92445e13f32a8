"""Artifacts: what is judged. A local file, bytes or a URL, with everything about it found out only when asked for."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self, TypeAlias

import msgspec

from psengine_host.bounty import URL_MIMETYPE, ArtifactType
from psengine_host.errors import ArtifactError, ArtifactUnavailable, printable_name
from psengine_host.local_names import file_uri
from psengine_host.spool import Spool

__all__ = ["KEPT_IN_MEMORY", "Artifact", "Handover", "Lease"]

KEPT_IN_MEMORY: Final = 1 << 20
"""Bytes up to which a file is read once and kept, so that hash, type and engine see the very same bytes: 1 MiB."""
_CHUNK: Final = 1 << 18
_READS: Final = 3
"""Times that a file is read whose mode or number of links changes meanwhile, before it counts as changed."""
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


class Lease(Protocol):
    """A share in bytes that other artifacts hold as well.

    Attributes:
        content: The bytes, where they are in memory.
        sha256: Their SHA-256.
        size: How many there are.
        mimetype: Their type, once one of the holders has asked for it.
    """

    content: bytes | None
    sha256: str
    size: int
    mimetype: str | None

    def file(self) -> tuple[str, os.stat_result]:
        """A file that holds them, and what ``stat`` said of it when it was written.

        Raises:
            ArtifactError: It cannot be written.
        """

    def release(self) -> None:
        """Give the share back; doing it again changes nothing."""


class Handover(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What another process needs to have the same artifact, as long as it is open here.

    Args:
        name: What it is called in messages, in UTF-8; undecodable bytes stand as lone surrogates.
        url: The URL of a URL artifact.
        content: The bytes, where they are few.
        path: The file that holds them, where they are not.
        sha256: Their SHA-256, where it is known.
        size: How many there are.
        mimetype: Their type, where it is known.
        state: What tells that the file was written to since.
    """

    name: bytes
    url: str | None
    content: bytes | None
    path: bytes | None
    sha256: str | None
    size: int | None
    mimetype: str | None
    state: tuple[int, int, int, int, int] | None


def _absolute(path: str) -> str:
    """A path from the root: an engine may go elsewhere, and to a scanner a name such as ``--version`` is an option."""
    if path.startswith("/") or not path:
        return path
    try:
        return os.path.join(os.getcwd(), path)
    except OSError:  # the working directory has been removed, and with it what a relative path means
        return path


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
        "_closed",
        "_content",
        "_lease",
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
        self._lease: Lease | None = None
        self._closed = False
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
        absolute = _absolute(text)
        artifact = cls(name=name or text, path=absolute, content=None, url=None, spool=None)
        try:
            artifact._check_kind(os.stat(absolute))
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
    def leased(cls, lease: Lease, *, name: str) -> Self:
        """An artifact whose bytes others hold as well; :meth:`close` gives its share back.

        Args:
            lease: The share.
            name: What to call it in messages.
        """
        artifact = cls(name=name, path=None, content=lease.content, url=None, spool=None)
        artifact._lease = lease
        artifact._sha256 = lease.sha256
        artifact._size = lease.size
        artifact._mimetype = lease.mimetype
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
        if self._lease is None and self._path is not None and (not self._owned or self.size > KEPT_IN_MEMORY):
            return file_uri(self._path)
        if self._lease is not None and self.size > KEPT_IN_MEMORY:
            return file_uri(self.path)
        from psengine_host.network.data_uris import encode_data_uri

        # The type is named where it is known; nobody has asked for it otherwise.
        return encode_data_uri(self.read_bytes(), self._mimetype or "application/octet-stream")

    @property
    def path(self) -> Path:
        """A file that holds the artifact, for scanners that want a name; absolute, so that none looks like an option.

        Raises:
            ArtifactError: The artifact is in memory and the file cannot be written.
        """
        self._check_open()
        if self._path is None:
            self._make_file()
        self._see_on_disk()
        return Path(self._path or "")

    def as_nt_path(self) -> str:
        """The name of :attr:`path` as a Windows program under Wine knows it; see ``toolkit.wine.as_nt_path``.

        Raises:
            ArtifactError: The artifact is in memory and the file cannot be written.
            WineError: No NT path can say that name.
        """
        from psengine_host.toolkit.wine import as_nt_path

        return as_nt_path(self.path)

    @property
    def size(self) -> int:
        """Bytes of the artifact.

        Raises:
            ArtifactError: The file cannot be read.
        """
        if self._size is None:
            self._check_open()
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

            self._check_open()
            if self._content is None and self._sha256 is None and self.size <= KEPT_IN_MEMORY:
                self._load()
            if self._content is not None:
                self._mimetype = filetypes.identify_bytes(self._content)
            else:
                if self._path is None:
                    self._make_file()
                try:
                    self._state = self._state or _state(os.stat(self._path or ""))
                    self._mimetype = filetypes.identify_path(self._path or "")
                except OSError as error:
                    raise self._unreadable(error) from error
            if self._lease is not None:
                self._lease.mimetype = self._mimetype
        return self._mimetype

    def read_bytes(self) -> bytes:
        """All bytes. A large file is read anew each time.

        Raises:
            ArtifactError: The file cannot be read, or is not what was hashed.
        """
        self._check_open()
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
        self._check_open()
        if self._content is None and self._sha256 is None and self.size <= KEPT_IN_MEMORY:
            self._load()
        if self._content is not None:
            return io.BytesIO(self._content)
        return self._stream()

    # --- for the host -----------------------------------------------------------------------------------------------

    def is_at_hand(self, *, identified: bool) -> bool:
        """Whether nothing has to be read from a disk to know its hash.

        Args:
            identified: Whether its type has to be known as well.
        """
        known = self._content is not None or self._sha256 is not None
        return known and (not identified or self._mimetype is not None)

    def handover(self, most: int) -> Handover:
        """What another process needs to have this artifact.

        Args:
            most: Bytes that are handed over as they are; more are in a file.

        Raises:
            ArtifactError: The file cannot be written, or the artifact is closed.
        """
        self._check_open()
        name = self.name.encode("utf-8", "surrogatepass")
        content = self._content
        if content is not None and len(content) <= most:
            return Handover(name, self.url, content, None, self._sha256, len(content), self._mimetype, None)
        path = os.fsencode(self.path)
        return Handover(name, self.url, None, path, self._sha256, self._size, self._mimetype, self._state)

    @classmethod
    def from_handover(cls, handover: Handover, spool: Spool) -> Self:
        """The artifact that another process has.

        Args:
            handover: What it says of it.
            spool: Where a file goes that is made of its bytes.

        Raises:
            ArtifactError: It is in a file, which is not there any more or is another one.
        """
        name = handover.name.decode("utf-8", "surrogatepass")
        path = None if handover.path is None else os.fsdecode(handover.path)
        artifact = cls(name=name, path=path, content=handover.content, url=handover.url, spool=spool)
        artifact._sha256 = handover.sha256
        artifact._mimetype = handover.mimetype
        if path is not None:
            artifact._size = handover.size
            artifact._state = handover.state
            artifact._seen_on_disk = True
            artifact.check_unchanged()
        return artifact

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
        """Whether the file is still what has been found out about it; it may have been read long before its turn.

        False as well where only a link was made to it or its mode was changed: that cannot be told from a change whose
        time was set back, and reading it again costs little.
        """
        if self._path is None or self._state is None:
            return True
        try:
            return _state(os.stat(self._path)) == self._state
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
            failure = self._unreadable(error)
            self._distrust_file()
            raise failure from error
        if _state(now) == self._state:
            return
        # A link or another mode changes the times as well; then the bytes decide.
        hashed = self.sha256 if self._content is not None else self._sha256
        same_file = _state(now)[:_SAME_FILE] == self._state[:_SAME_FILE]
        if not same_file or hashed is None or self._hash_on_disk() != hashed:
            self._distrust_file()
            raise self._changed()
        self._state = _state(now)

    def close(self) -> None:
        """Let go of the bytes: remove its file in the spool, or give back its share in one.

        Name, URL and what has been found out stay; the bytes cannot be had any more. A user's own file is left alone.
        """
        self._closed = True
        if self._owned and self._spool is not None and self._path is not None:
            self._spool.discard(Path(self._path))
            self._owned = False
        if self._own_spool and self._spool is not None:
            self._spool.close()
        self._content = None
        if self._lease is not None:
            self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Artifact({self.name!r})"

    # --- reading ----------------------------------------------------------------------------------------------------

    def _descriptor(self) -> int:
        """The file, open for reading, if it is still a file."""
        # O_NONBLOCK: a FIFO that took the file's place must not block the host for ever. A link is the user's to make,
        # but in the spool there are none.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        if self._owned or self._lease is not None:
            flags |= os.O_NOFOLLOW
        descriptor = os.open(self._path or "", flags)
        try:
            self._check_kind(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make_file(self) -> None:
        """Have a file for what is in memory, or for what is shared."""
        if self._lease is not None:
            self._path, status = self._lease.file()
            self._state = _state(status)
            return
        if self._spool is None:
            self._spool = Spool()
            self._own_spool = True
        self._path = os.fspath(self._spool.write(self._content or b""))
        self._owned = True

    def _check_open(self) -> None:
        if self._closed:
            raise ArtifactError(f"{self._shown_name}: is closed; its bytes can be had until close() only")

    def _stream(self) -> BinaryIO:
        if self._path is None:
            self._make_file()
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
        self._check_open()
        try:
            descriptor = self._descriptor()
            try:
                for _ in range(_READS):
                    before = os.fstat(descriptor)
                    content, size, sha256 = self._read(descriptor, before.st_size)
                    after = os.fstat(descriptor)
                    if _state(after)[:_WRITTEN] != _state(before)[:_WRITTEN]:
                        raise self._changed()
                    if after.st_ctime_ns == before.st_ctime_ns:
                        break
                    # A link, another mode, or a change whose time was set back: read once more.
                    os.lseek(descriptor, 0, os.SEEK_SET)
                else:
                    raise self._changed()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unreadable(error) from error
        state = _state(after)
        if self._state is not None and self._state != state:
            # What was found out or handed out before was of this file, but maybe not of these bytes.
            if self._state[:_WRITTEN] != state[:_WRITTEN]:
                raise self._changed()
            self._mimetype = None
        self._content, self._size, self._sha256, self._state = content, size, sha256, state

    def _read(self, descriptor: int, expected: int) -> tuple[bytes | None, int, str]:
        """All of an open file: its bytes if it is small, its size and its SHA-256."""
        if expected <= KEPT_IN_MEMORY:
            # One byte more than expected tells a file that grew from one that did not.
            content = os.read(descriptor, expected + 1)
            if len(content) != expected:
                content = self._whole(descriptor, content)
            return content, len(content), hashlib.sha256(content).hexdigest()
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_CHUNK))
        size = 0
        while count := os.readv(descriptor, [buffer]):
            digest.update(buffer[:count])
            size += count
        if size != expected:
            raise self._changed()
        return None, size, digest.hexdigest()

    def _distrust_file(self) -> None:
        """Where the bytes are in memory too, whoever asks next gets another file: one engine spoilt this for itself."""
        if self._content is None or not (self._owned or self._lease is not None):
            return
        if self._owned and self._spool is not None and self._path is not None:
            self._spool.discard(Path(self._path))
            self._owned = False
        self._path = self._state = None
        self._seen_on_disk = False

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
