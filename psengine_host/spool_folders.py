"""Private folders that belong to one living process: locked as long as it lives, swept away once it is dead.

Who owns a folder is asked of the kernel, by ``flock`` on the folder itself: the lock ends with its process, however
that ends, and no other process can come by it, while the number of a process is soon another's. A file system that
cannot lock a folder (NFS) keeps what it holds until somebody removes it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Final

__all__ = ["OwnedFolder", "sweep"]

_PREFIX: Final = "psengine-"
_NAME: Final = re.compile(r"psengine-[0-9a-f]{32}\Z")
_SECONDS: Final = 0.25
"""How long a sweep may take before it leaves the rest to the next start: a full /tmp must not delay this one."""
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

logger = logging.getLogger(__name__)


class OwnedFolder:
    """A private folder (mode 0700) of this process, under a name that cannot be guessed; there after :meth:`make`.

    Args:
        parent: Where it lies.

    Attributes:
        path: Its absolute path.
    """

    def __init__(self, parent: str | os.PathLike[str]) -> None:
        self.path = Path(parent).absolute() / f"{_PREFIX}{secrets.token_hex(16)}"
        self._owner = os.getpid()
        self._descriptor: int | None = None

    def make(self) -> bool:
        """Make it and lock it.

        Returns:
            False where a sweep came in between and took it for a dead process's; then try another.

        Raises:
            OSError: It cannot be made.
        """
        self.path.mkdir(mode=0o700)
        try:
            descriptor = os.open(self.path, _FLAGS)
        except FileNotFoundError:
            return False
        except BaseException:
            self.path.rmdir()
            raise
        if not _locked(descriptor, unlockable=True) or not _is_at(self.path, descriptor):
            os.close(descriptor)
            return False
        _held.add(descriptor)
        self._descriptor = descriptor
        try:
            os.fchmod(descriptor, 0o700)  # a umask may have taken from it, and then no sweep would know it
        except BaseException:
            self.remove()
            raise
        return True

    def remove(self) -> None:
        """Remove it and all that is in it, if this is the process that made it and not a fork of that."""
        if os.getpid() != self._owner:
            return
        remove_tree(self.path)
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _held.remove(descriptor)
            os.close(descriptor)


def sweep(parent: str | os.PathLike[str], seconds: float = _SECONDS) -> int:
    """Remove the folders in ``parent`` whose process is dead: this user's, private, and locked by nobody.

    Links, files, other users' folders and other names are left alone. What cannot be removed is logged, never raised.

    Args:
        parent: Where such folders lie.
        seconds: How long it may take, but for the folder that it is about to remove.

    Returns:
        The number of folders that were removed.
    """
    swept = 0
    ends = time.monotonic() + seconds
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                if time.monotonic() > ends:
                    logger.info("%s is too full to be searched for left spool folders in %g s", parent, seconds)
                    break
                if _NAME.match(entry.name) and entry.is_dir(follow_symlinks=False):
                    swept += _sweep_one(entry.path)
    except FileNotFoundError as error:  # whoever needs it is told
        logger.info("no spool folder can be left in %s: %s", parent, error.strerror)
    except OSError as error:
        logger.warning("cannot look for left spool folders in %s: %s", parent, error.strerror or error)
    return swept


def remove_tree(folder: Path | str) -> None:
    """Remove a folder and all that is in it, read-only folders too; what resists is left."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        # An engine may have made a folder in its scratch area read-only, or unreadable.
        os.chmod(folder, 0o700)
        for place, names, _ in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
    except (OSError, RecursionError) as error:  # or folders nested a thousand deep
        logger.warning("cannot empty the folder %s: %s", folder, error)


def _sweep_one(path: str) -> bool:
    try:
        if os.stat(path, follow_symlinks=False).st_uid != os.geteuid():
            return False
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:  # another start was faster
        return False
    except OSError as error:
        logger.warning("cannot remove the left spool folder %s: %s", path, error.strerror or error)
        return False
    try:
        status = os.fstat(descriptor)
        private = status.st_uid == os.geteuid() and status.st_mode & 0o777 == 0o700
        # The lock is kept until it is gone: who is just making it finds that out, and makes another.
        if not private or not _locked(descriptor, unlockable=False) or not _is_at(path, descriptor):
            return False
        remove_tree(path)
        if gone := not os.path.lexists(path):
            logger.info("removed the spool folder %s of a process that is dead", path)
        else:
            logger.warning("cannot remove the left spool folder %s; remove it by hand", path)
        return gone
    except Exception as error:  # noqa: BLE001 - whatever is odd about it, the host starts
        logger.warning("cannot remove the left spool folder %s: %s", path, error)
        return False
    finally:
        os.close(descriptor)


def _locked(descriptor: int, *, unlockable: bool) -> bool:
    """Lock a folder; False if another process has it locked.

    Args:
        descriptor: The folder, open.
        unlockable: What to answer where the file system has no such locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return unlockable and error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_at(path: Path | str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class _Held:
    """The locks of this process. A fork closes its copies, since a lock lasts until the last copy is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptors: set[int] = set()
        self._hooked = False

    def add(self, descriptor: int) -> None:
        with self._lock:
            if not self._hooked:
                os.register_at_fork(after_in_child=self._forget)
                self._hooked = True
            self._descriptors.add(descriptor)

    def remove(self, descriptor: int) -> None:
        with self._lock:
            self._descriptors.discard(descriptor)

    def _forget(self) -> None:
        self._lock = threading.Lock()  # whoever held it does not exist here
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


_held = _Held()
