"""The trials on real folders; file systems that lack something are what their system calls answer."""

import errno
import fcntl
import mmap
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from psengine_host.environment.local_features import FEATURES, file_system, is_on_network, missing_features

MOUNTS = r"""
21 28 0:19 / /sys rw,nosuid shared:7 - sysfs sysfs rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
40 28 0:35 / /srv/nfs rw,relatime shared:20 - nfs4 store:/srv rw,vers=4.2
41 40 0:36 / /srv/nfs/fast rw shared:21 master:3 - tmpfs tmpfs rw
42 28 0:37 / /mnt/a\040b\134c rw - fuse.sshfs me@host:/ rw
43 28 0:38 / /twice rw - ext4 /dev/sdb1 rw
44 43 0:39 / /twice rw - cifs //host/share rw
a line that says nothing
45 28 0:40 / /odd rw
"""


def test_the_features_are_those_that_a_runtime_directory_must_have():
    assert list(FEATURES) == [
        "symbolic links",
        "permissions",
        "file locking",
        "sparse files",
        "memory mapping",
        "file change notifications",
    ]


def test_a_local_disk_lacks_nothing_and_keeps_nothing(tmp_path):
    assert missing_features(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_no_descriptor_is_left_open(tmp_path):
    missing_features(tmp_path)
    before = set(os.listdir("/proc/self/fd"))
    missing_features(tmp_path)
    assert set(os.listdir("/proc/self/fd")) == before


def test_twenty_processes_at_once_do_not_disturb_each_other(tmp_path):
    program = (
        "import sys, pathlib; from psengine_host.environment.local_features import missing_features\n"
        "sys.stdin.read(); print(missing_features(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        for _ in range(20)
    ]
    assert {process.communicate(timeout=60)[0] for process in started} == {"[]\n"}
    assert list(tmp_path.iterdir()) == []


def refused(*_: object, **__: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def ignored(*_: object, **__: object) -> None:
    """What a file system does that pretends."""


REAL_TRUNCATE = os.ftruncate


def filled(descriptor: int, length: int) -> None:
    """What a file system without holes does."""
    REAL_TRUNCATE(descriptor, length)
    os.pwrite(descriptor, b"\0" * length, 0)


class Private(mmap.mmap):
    """A mapping that never reaches the file."""

    def __new__(cls, descriptor, length, flags):  # noqa: ARG004 - as mmap.mmap is called
        return super().__new__(cls, descriptor, length, flags=mmap.MAP_PRIVATE)


@pytest.mark.parametrize(
    ("where", "call", "answer", "expected"),
    [
        (os, "symlink", refused, "symbolic links (Operation not supported)"),
        (os, "readlink", lambda _: "TARGET", "symbolic links (a link leads elsewhere)"),
        (os, "chmod", refused, "permissions (Operation not supported)"),
        (os, "chmod", ignored, "permissions (chmod changes nothing)"),
        (fcntl, "flock", refused, "file locking (Operation not supported)"),
        (fcntl, "flock", ignored, "file locking (a locked file can be locked again)"),
        (os, "ftruncate", filled, "sparse files (a hole takes up room)"),
        (mmap, "mmap", refused, "memory mapping (Operation not supported)"),
        (mmap, "mmap", Private, "memory mapping (the file does not show what is written to the memory)"),
    ],
)
def test_what_a_file_system_lacks_is_named_with_the_reason(tmp_path, monkeypatch, where, call, answer, expected):
    monkeypatch.setattr(where, call, answer)
    assert missing_features(tmp_path) == [expected]
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_changes_that_the_kernel_does_not_tell_of(tmp_path, monkeypatch):
    def silent(descriptor: int, size: int) -> bytes:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "read", silent)
    assert missing_features(tmp_path) == ["file change notifications (a new file is not noticed)"]


def in_child(code: str, folder: Path) -> str:
    """Run code in a process of its own, whose limits it may spoil."""
    program = (
        "import pathlib, resource, sys\n"
        "from psengine_host.environment.local_features import missing_features\n"
        f"{code}\n"
        "print(*missing_features(pathlib.Path(sys.argv[1])), sep='\\n')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    return ended.stdout


def test_a_limit_on_the_size_of_files_is_found(tmp_path):
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    assert in_child(ignore, tmp_path) == "\n"
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    assert (
        in_child(f"{ignore}\n{limit}", tmp_path) == "sparse files (File too large)\nmemory mapping (File too large)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_which_nothing_can_be_made():
    [lacking] = missing_features(Path("/proc/self"))
    assert lacking.startswith("new folders (")


def test_the_mode_of_the_trial_s_folder_is_private(tmp_path, monkeypatch):
    modes = []
    monkeypatch.setitem(FEATURES, "permissions", lambda trial: modes.append(stat.S_IMODE(trial.stat().st_mode)))
    missing_features(tmp_path)
    assert modes == [0o700]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/srv/nfs", "nfs4"),
        ("/srv/nfs/run", "nfs4"),
        ("/srv/nfsx", "ext4"),
        ("/srv/nfs/fast/run", "tmpfs"),
        ("/mnt/a b\\c/x", "fuse.sshfs"),
        ("/twice/x", "cifs"),
        ("/odd/x", "ext4"),
        ("/sys/kernel", "sysfs"),
    ],
)
def test_the_kind_of_file_system_is_that_of_the_nearest_mount(tmp_path, folder, kind):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert file_system(Path(folder), tmp_path / "mountinfo") == kind


def test_links_are_followed_to_the_mount(tmp_path):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    (tmp_path / "link").symlink_to("/srv/nfs/run")
    assert file_system(tmp_path / "link", tmp_path / "mountinfo") == "nfs4"


def test_without_a_table_of_mounts_nothing_is_known(tmp_path):
    assert file_system(tmp_path, tmp_path / "missing") == ""


def test_the_kernel_s_own_table_is_read():
    assert file_system(Path("/proc/self")) == "proc"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.s3fs"])
def test_a_network_file_system_is_unfit_whatever_it_can_do(tmp_path, monkeypatch, kind):
    assert is_on_network(kind)
    monkeypatch.setattr("psengine_host.environment.local_features.file_system", lambda _: kind)
    assert missing_features(tmp_path) == [f"local files (it is on {kind}, a network file system)"]


@pytest.mark.parametrize("kind", ["", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuse.fuse-overlayfs", "zfs"])
def test_a_local_file_system_is_not_on_the_network(kind):
    assert not is_on_network(kind)


def test_the_watches_that_are_used_up_are_told_from_a_file_system_that_cannot(tmp_path):
    soft = "import os; low = resource.getrlimit(resource.RLIMIT_NOFILE)[1]"
    fill = (
        "free = os.open('/dev/null', os.O_RDONLY); os.close(free)\n"
        "import ctypes, fcntl, mmap, shutil, tempfile\n"
        "from psengine_host.environment import local_features\n"
        "def only(trial):\n"
        "    import encodings.utf_8\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (free, low))\n"
        "    try:\n"
        "        notice(trial)\n"
        "    finally:\n"
        "        resource.setrlimit(resource.RLIMIT_NOFILE, (low, low))\n"
        "notice = local_features.FEATURES['file change notifications']\n"
        "local_features.FEATURES['file change notifications'] = only"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 10
    assert in_child(f"{soft}\n{fill}", tmp_path) == (
        "file change notifications (no more can be watched: see /proc/sys/fs/inotify)\n"
    )
