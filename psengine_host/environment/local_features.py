"""What a folder for sockets and pipes must be able to do, tried out in it.

Network file systems and some simple ones lack a part of it, and the vendor's daemon then fails in odd ways much later.
Each trial is a few system calls in a folder of its own, which is removed; together they take less than a millisecond on
a local disk. Nothing is synced.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["FEATURES", "file_system", "is_on_network", "missing_features"]

_HOLE: Final = 1 << 20
"""Bytes of the sparse file that is tried."""
_IN_CREATE: Final = 0x100
"""From ``sys/inotify.h``: a file was made in the watched folder."""
_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.curlftpfs",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.juicefs",
        "fuse.mount-s3",
        "fuse.mountpoint-s3",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.sshfs",
    }
)
"""File systems whose files lie on another machine, or are shared with others, by the kernel's names for them."""
_MOUNTS: Final = Path("/proc/self/mountinfo")


class _Lacking(Exception):
    """A trial went through, and showed that the feature is not there."""


def missing_features(folder: Path) -> list[str]:
    """Try out what a folder for sockets and pipes must be able to do.

    Args:
        folder: A folder that may be written to.

    Returns:
        What it cannot do, each with the reason, in a few words; empty where it is fit.
    """
    missing = []
    kind = file_system(folder)
    if is_on_network(kind):
        missing.append(f"local files (it is on {kind}, a network file system)")
    try:
        trial = Path(tempfile.mkdtemp(prefix=".psengine-trial-", dir=folder))
    except OSError as error:
        return [*missing, f"new folders ({error.strerror})"]
    try:
        for feature, attempt in FEATURES.items():
            try:
                attempt(trial)
            except OSError as error:
                missing.append(f"{feature} ({error.strerror or error})")
            except _Lacking as lacking:
                missing.append(f"{feature} ({lacking})")
    finally:
        # What cannot be removed is an empty folder with a telling name: no reason to stop an engine.
        shutil.rmtree(trial, ignore_errors=True)
    return missing


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of file system that a folder is on, as the kernel calls it (``ext4``, ``nfs4``, ``fuse.sshfs``).

    Args:
        folder: The folder; links are followed.
        mounts: The table of mounts, in the format of ``/proc/self/mountinfo`` (proc(5)).

    Returns:
        The kind; an empty string where it cannot be told.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        place = os.path.realpath(folder)
    except OSError:  # no /proc: nothing is known, and the trials decide
        return ""
    kind, longest = "", -1
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 7 or "-" not in fields[6:-1]:
            continue
        point = _unescaped(fields[4])
        # Of two on one place the later hides the earlier.
        if len(point) >= longest and (place == point or place.startswith(f"{point.rstrip('/')}/")):
            kind, longest = fields[fields.index("-", 6) + 1], len(point)
    return kind


def is_on_network(kind: str) -> bool:
    """Whether a kind of file system keeps its files on another machine, or shares them with one.

    Args:
        kind: As the kernel calls it.
    """
    return kind in _NETWORK


def _unescaped(point: str) -> str:
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(escape, character)
    return point


@contextmanager
def _descriptor(path: Path, flags: int = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _symbolic_links(trial: Path) -> None:
    link = trial / "link"
    os.symlink("target", link)
    if os.readlink(link) != "target":
        raise _Lacking("a link leads elsewhere")


def _permissions(trial: Path) -> None:
    path = trial / "permissions"
    with _descriptor(path):
        for mode in (0o600, 0o640, 0o400):
            os.chmod(path, mode)
            if stat.S_IMODE(os.stat(path).st_mode) != mode:
                raise _Lacking("chmod changes nothing")


def _file_locking(trial: Path) -> None:
    path = trial / "lock"
    with _descriptor(path) as first, _descriptor(path) as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise _Lacking("a locked file can be locked again")


def _sparse_files(trial: Path) -> None:
    with _descriptor(trial / "sparse") as descriptor:
        os.ftruncate(descriptor, _HOLE)
        os.pwrite(descriptor, b"\1", _HOLE - 1)
        if (
            os.fstat(descriptor).st_blocks * 512 >= _HOLE
        ):  # st_blocks counts 512 bytes, whatever the block size: stat(2)
            raise _Lacking("a hole takes up room")


def _memory_mapping(trial: Path) -> None:
    with _descriptor(trial / "mapped") as descriptor:
        os.ftruncate(descriptor, mmap.PAGESIZE)
        with mmap.mmap(descriptor, mmap.PAGESIZE, flags=mmap.MAP_SHARED) as mapped:
            mapped[:4] = b"here"
            if os.pread(descriptor, 4, 0) != b"here":
                raise _Lacking("the file does not show what is written to the memory")


def _change_notifications(trial: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        init, watch = libc.inotify_init1, libc.inotify_add_watch
    except AttributeError:
        raise _Lacking("this system has no inotify") from None
    descriptor = init(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise _os_error()
    try:
        if watch(descriptor, os.fsencode(trial), _IN_CREATE) < 0:
            raise _os_error()
        with _descriptor(trial / "noticed"):
            pass
        try:
            os.read(descriptor, 4096)
        except BlockingIOError:
            raise _Lacking("a new file is not noticed") from None
    finally:
        os.close(descriptor)


def _os_error() -> OSError:
    number = ctypes.get_errno()
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOSPC):
        return OSError(number, "no more can be watched: see /proc/sys/fs/inotify")
    return OSError(number, os.strerror(number))


FEATURES: Final[dict[str, Callable[[Path], None]]] = {
    "symbolic links": _symbolic_links,
    "permissions": _permissions,
    "file locking": _file_locking,
    "sparse files": _sparse_files,
    "memory mapping": _memory_mapping,
    "file change notifications": _change_notifications,
}
"""What is tried, each by a function that gets a fresh folder; it raises where the feature is not there."""
