"""The store: each artifact once, by its SHA-256, however many bounties and engines use it at the same time.

Every user has an :class:`~psengine_host.artifacts.Artifact` of its own with a share in the bytes. With the last share
the file goes. What is small stays in memory for a while: the next engine judges the same bytes a moment later.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from psengine_host.artifacts import KEPT_IN_MEMORY, Artifact
from psengine_host.errors import ArtifactError
from psengine_host.spool import Spool

__all__ = ["RETAINED", "RETAINED_BYTES", "ArtifactStore", "Holding"]

RETAINED: Final = 16
"""Artifacts that nobody uses and that stay in memory, at most; the last used ones."""
RETAINED_BYTES: Final = 4 << 20
"""Bytes of those together, at most: 4 MiB."""
_SOURCES: Final = 16
"""Bounties that are remembered of one artifact."""


class Holding:
    """Bytes that are held once. Made by the store; shares in it are counted there.

    Attributes:
        sha256: Their SHA-256.
        size: How many there are.
        content: The bytes, where they are in memory.
        mimetype: Their type, once somebody has asked for it.
    """

    __slots__ = ("_file", "_file_lock", "_spool", "content", "mimetype", "sha256", "shares", "size", "sources")

    def __init__(
        self, spool: Spool, sha256: str, size: int, content: bytes | None, file: tuple[Path, os.stat_result] | None
    ) -> None:
        self.sha256 = sha256
        self.size = size
        self.content = content
        self.mimetype: str | None = None
        self.shares = 0
        self.sources: list[object] = []
        self._spool = spool
        self._file = file
        self._file_lock = threading.Lock()

    def file(self) -> tuple[Path, os.stat_result]:
        """The file of these bytes, made at the first call where they are in memory; anew if somebody changed it.

        Raises:
            ArtifactError: It cannot be written, or it was the only place of the bytes and somebody changed it.
        """
        with self._file_lock:
            if self._file is not None and not self._is_whole():
                if self.content is None:
                    raise ArtifactError(f"the spooled file of the artifact {self.sha256} was changed or removed")
                self._remove_file()
            if self._file is None:
                path = self._spool.write(self.content or b"")
                self._file = path, path.stat(follow_symlinks=False)
            return self._file

    def is_whole(self) -> bool:
        """Whether the bytes can be handed out: they are in memory, or their file is still what was written to it."""
        with self._file_lock:
            return self.content is not None or self._is_whole()

    def remove_file(self) -> None:
        """Remove the file, if there is one."""
        with self._file_lock:
            self._remove_file()

    def _remove_file(self) -> None:
        if self._file is not None:
            self._spool.discard(self._file[0])
            self._file = None

    def _is_whole(self) -> bool:
        if self._file is None:
            return False
        path, written = self._file
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            now = os.fstat(descriptor)
            if _times(now) == _times(written):
                return True
            if not stat.S_ISREG(now.st_mode) or now.st_size != self.size:
                return False
            # A link or another mode changes the times as well; then the bytes decide.
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False
        finally:
            os.close(descriptor)
        if same:
            self._file = path, now
        return same


class ArtifactStore:
    """What this host holds of artifacts that came from the network, by SHA-256.

    Args:
        spool: Where the files are.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._used: dict[str, Holding] = {}
        self._retained: OrderedDict[str, Holding] = OrderedDict()
        self._retained_bytes = 0
        self._by_source: dict[int, str] = {}
        self._closed = False

    def find(self, sha256: str | None, source: object = None) -> Holding | None:
        """A share in bytes that are held, or None.

        Args:
            sha256: Their SHA-256, or None where it is not known.
            source: What they were fetched for, as :meth:`add` was told; asked where there is no hash. It must be the
                same object: others may be equal to it and mean other bytes.
        """
        with self._lock:
            if sha256 is None:
                sha256 = self._by_source.get(id(source))
            holding = None if sha256 is None else self._shared(sha256)
        if holding is not None and not holding.is_whole():
            self._forget(holding)
            return None
        return holding

    def add(self, kept: bytes | tuple[Path, os.stat_result], sha256: str, size: int, source: object = None) -> Holding:
        """Hold what was fetched, with one share in it; equal bytes that are held already are used instead.

        Args:
            kept: The bytes, or a sealed file of the spool; the store's from now on.
            sha256: Their SHA-256, computed from those very bytes.
            size: How many there are.
            source: What they were fetched for; for :meth:`find`.
        """
        content, file = (kept, None) if isinstance(kept, bytes) else (None, kept)
        fresh = Holding(self._spool, sha256, size, content, file)
        holding = self.find(sha256)
        with self._lock:
            holding = holding or self._shared(sha256)  # somebody may have been faster
            if holding is None:
                holding = self._used[sha256] = fresh
                holding.shares = 1
            if source is not None:
                self._by_source[id(source)] = sha256
                holding.sources.append(source)  # kept, so that its id stays its own
                if len(holding.sources) > _SOURCES:
                    self._by_source.pop(id(holding.sources.pop(0)), None)
        if holding is not fresh:
            fresh.remove_file()
        return holding

    def share(self, holding: Holding, shares: int) -> None:
        """Count further shares in what the caller has one in."""
        with self._lock:
            holding.shares += shares

    def release(self, holding: Holding) -> None:
        """Give one share back. With the last one the file goes, and the bytes if they are not small."""
        with self._lock:
            holding.shares -= 1
            if holding.shares:
                return
            gone = []
            if self._used.get(holding.sha256) is holding:
                del self._used[holding.sha256]
                if holding.content is not None and holding.size <= KEPT_IN_MEMORY and not self._closed:
                    self._retained[holding.sha256] = holding
                    self._retained_bytes += holding.size
                    while len(self._retained) > RETAINED or self._retained_bytes > RETAINED_BYTES:
                        gone.append(self._retained.popitem(last=False)[1])
                        self._retained_bytes -= gone[-1].size
                else:
                    gone.append(holding)
            for other in gone:
                self._forget_sources(other)
            # Under the lock: who shares it again has its file made again, after this.
            holding.remove_file()

    def artifact(self, holding: Holding, name: str) -> Artifact:
        """The artifact of one share; closing it gives the share back.

        Args:
            holding: What the caller has a share in; it is the artifact's from now on.
            name: What to call it in messages.
        """
        return Artifact.leased(_Lease(self, holding), name=name)

    def close(self) -> None:
        """Let go of what nobody uses. What is in use stays until its users have given it back."""
        with self._lock:
            self._closed = True
            for holding in self._retained.values():
                self._forget_sources(holding)
            self._retained.clear()
            self._retained_bytes = 0

    def _shared(self, sha256: str) -> Holding | None:
        holding = self._used.get(sha256)
        if holding is None:
            holding = self._retained.pop(sha256, None)
            if holding is None:
                return None
            self._retained_bytes -= holding.size
            self._used[sha256] = holding
        holding.shares += 1
        return holding

    def _forget(self, holding: Holding) -> None:
        """Hand it out no more: its file is not what was written. Give the caller's share back."""
        with self._lock:
            if self._used.get(holding.sha256) is holding:
                del self._used[holding.sha256]
                self._forget_sources(holding)
        self.release(holding)

    def _forget_sources(self, holding: Holding) -> None:
        for source in holding.sources:
            self._by_source.pop(id(source), None)
        holding.sources.clear()


class _Lease:
    """One share in a holding, given back once."""

    __slots__ = ("_holding", "_lock", "_store", "content", "sha256", "size")

    def __init__(self, store: ArtifactStore, holding: Holding) -> None:
        self._store = store
        self._holding: Holding | None = holding
        self._lock = threading.Lock()
        self.content = holding.content
        self.sha256 = holding.sha256
        self.size = holding.size

    @property
    def mimetype(self) -> str | None:
        """The type, once one of the holders has asked for it."""
        return None if self._holding is None else self._holding.mimetype

    @mimetype.setter
    def mimetype(self, value: str | None) -> None:
        if (holding := self._holding) is not None:
            holding.mimetype = value

    def file(self) -> tuple[str, os.stat_result]:
        """The shared file."""
        if (holding := self._holding) is None:
            raise ArtifactError(f"the artifact {self.sha256} is closed; its file is gone")
        path, status = holding.file()
        return os.fspath(path), status

    def release(self) -> None:
        """Give the share back; the bytes go with it."""
        with self._lock:
            holding, self._holding = self._holding, None
        self.content = None
        if holding is not None:
            self._store.release(holding)


def _times(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
