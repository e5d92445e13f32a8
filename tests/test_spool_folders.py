import logging
import os
import secrets
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent

import pytest

from psengine_host.spool import Spool
from psengine_host.spool_folders import OwnedFolder, sweep

NOBODY = 65534


class Child:
    """A Python process that says when it is ready and is killed by the test."""

    def __init__(self, script: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", dedent(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def end(self) -> None:
        self.kill()
        self.process.stdout.close()
        self.process.stdin.close()


@pytest.fixture
def child():
    children = []

    def start(script: str, *arguments: object) -> Child:
        children.append(Child(script, *arguments))
        return children[-1]

    yield start
    for one in children:
        one.end()


HOLD = """
    import sys
    from psengine_host.spool import Spool
    spool = Spool(sys.argv[1])
    path = spool.write(b"x" * 1000)
    (spool.new_folder("scratch") / "file").touch()
    print(path.parent, flush=True)
    sys.stdin.read()
"""


def left(parent: Path, name: str | None = None) -> Path:
    """What a killed process left behind."""
    folder = parent / (name or f"psengine-{secrets.token_hex(16)}")
    folder.mkdir(mode=0o700)
    (folder / "file").write_bytes(b"x")
    return folder


class TestWhoIsDead:
    def test_a_killed_process_is_swept_away_and_a_living_one_is_not(self, child, tmp_path):
        dead, alive = child(HOLD, tmp_path), child(HOLD, tmp_path)
        dead_folder, alive_folder = Path(dead.line()), Path(alive.line())
        assert sweep(tmp_path) == 0
        dead.kill()
        assert dead_folder.is_dir()
        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [alive_folder]
        assert len(list(alive_folder.iterdir())) == 2

    def test_a_stopped_process_is_not_dead(self, child, tmp_path):
        stopped = child(HOLD, tmp_path)
        folder = Path(stopped.line())
        stopped.process.send_signal(signal.SIGSTOP)
        assert sweep(tmp_path) == 0
        assert folder.is_dir()

    def test_a_program_that_it_started_does_not_keep_its_folder(self, child, tmp_path):
        script = """
            import subprocess, sys
            from psengine_host.spool import Spool
            spool = Spool(sys.argv[1])
            spool.write(b"x")
            other = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, close_fds=False)
            print(other.pid, flush=True)
            sys.stdin.read()
        """
        owner = child(script, tmp_path)
        orphan = int(owner.line())
        try:
            owner.kill()
            os.kill(orphan, 0)
            assert sweep(tmp_path) == 1
            assert list(tmp_path.iterdir()) == []
        finally:
            os.kill(orphan, signal.SIGKILL)

    def test_a_fork_that_outlives_it_does_not_keep_its_folder(self, child, tmp_path):
        script = """
            import os, sys
            from psengine_host.spool import Spool
            spool = Spool(sys.argv[1])
            spool.write(b"x")
            ready, tell = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(tell, b"!")  # the copy of the lock is closed by now
                os.close(1)
                os.read(0, 1)  # until the test closes its end
                os._exit(0)
            os.read(ready, 1)
            print(pid, flush=True)
            sys.stdin.read()
        """
        owner = child(script, tmp_path)
        fork = int(owner.line())
        owner.kill()
        os.kill(fork, 0)  # it lives
        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == []

    def test_a_fork_that_ends_leaves_the_lock_to_its_parent(self, child, tmp_path):
        script = """
            import os, sys
            from psengine_host.spool import Spool
            spool = Spool(sys.argv[1])
            spool.write(b"x")
            if os.fork() == 0:
                sys.exit(0)
            os.wait()
            print(spool.folder, flush=True)
            sys.stdin.read()
        """
        folder = Path(child(script, tmp_path).line())
        assert sweep(tmp_path) == 0
        assert folder.is_dir()

    def test_spools_of_the_same_process_are_alive(self, tmp_path):
        with Spool(tmp_path) as one, Spool(tmp_path) as two:
            path = one.write(b"x")
            assert two.sweep() == one.sweep() == 0
            assert path.exists()
            assert two.folder.is_dir()


class TestTwoAtOnce:
    def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(self, tmp_path, monkeypatch):
        swept = []
        mkdir = Path.mkdir

        def mkdir_and_be_swept(path, *arguments, **options):
            mkdir(path, *arguments, **options)
            if len(swept) < 3:
                swept.append(path)
                assert sweep(tmp_path) == 1

        monkeypatch.setattr(Path, "mkdir", mkdir_and_be_swept)
        with Spool(tmp_path) as spool:
            path = spool.write(b"x")
            assert path.read_bytes() == b"x"
            assert len(swept) == 3
            assert sweep(tmp_path) == 0
            assert list(tmp_path.iterdir()) == [spool.folder]

    def test_a_sweep_that_has_just_begun_keeps_its_hands_on_it(self, tmp_path, monkeypatch):
        """The sweep of another start has locked the folder and has not removed it yet."""
        folder = OwnedFolder(tmp_path)
        mkdir = Path.mkdir
        held = []

        def mkdir_and_be_locked(path, *arguments, **options):
            import fcntl

            mkdir(path, *arguments, **options)
            held.append(os.open(path, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)

        monkeypatch.setattr(Path, "mkdir", mkdir_and_be_locked)
        assert not folder.make()
        os.close(held[0])

    def test_many_starts_at_once_leave_each_other_alone(self, child, tmp_path):
        script = """
            import sys
            from psengine_host.spool import Spool
            for _ in range(200):
                with Spool(sys.argv[1]) as spool:
                    path = spool.write(b"x")
                    spool.sweep()
                    assert path.read_bytes() == b"x"
            print("done", flush=True)
        """
        starts = [child(script, tmp_path) for _ in range(4)]
        assert [start.line() for start in starts] == ["done"] * 4
        assert list(tmp_path.iterdir()) == []

    def test_two_sweeps_of_the_same_folders(self, child, tmp_path):
        script = """
            import sys
            from psengine_host.spool_folders import sweep
            print("ready", flush=True)
            sys.stdin.readline()
            print(sweep(sys.argv[1]), flush=True)
        """
        for _ in range(100):
            left(tmp_path)
        sweepers = [child(script, tmp_path) for _ in range(2)]
        for sweeper in sweepers:
            assert sweeper.line() == "ready"
        for sweeper in sweepers:
            sweeper.process.stdin.write("\n")
            sweeper.process.stdin.flush()
        assert sum(int(sweeper.line()) for sweeper in sweepers) == 100
        assert list(tmp_path.iterdir()) == []


class TestWhatIsLeftAlone:
    @pytest.mark.parametrize(
        "name",
        [
            "psengine-test-x",
            f"psengine-{'0' * 31}",
            f"psengine-{'0' * 33}",
            f"psengine-{'G' * 32}",
            f"Psengine-{'0' * 32}",
            f"psengine-{'0' * 32}\n",
            f"a-psengine-{'0' * 32}",
            f"polyswarm-{'0' * 32}",
        ],
    )
    def test_other_names(self, tmp_path, name):
        left(tmp_path, name)
        assert sweep(tmp_path) == 0
        assert (tmp_path / name / "file").exists()

    def test_a_link_and_what_it_leads_to(self, tmp_path):
        parent, outside = tmp_path / "parent", tmp_path / "outside"
        parent.mkdir()
        outside.mkdir(mode=0o700)
        (outside / "file").touch()
        (parent / f"psengine-{'0' * 32}").symlink_to(outside)
        real = left(parent)
        (real / "link").symlink_to(outside)
        (real / "file-link").symlink_to(outside / "file")
        assert sweep(parent) == 1
        assert (outside / "file").exists()
        assert (parent / f"psengine-{'0' * 32}").is_symlink()
        assert not real.exists()

    def test_files_fifos_and_folders_that_are_open_to_others(self, tmp_path):
        names = iter([f"psengine-{number:032x}" for number in range(3)])
        (tmp_path / next(names)).write_bytes(b"x")
        os.mkfifo(tmp_path / next(names))
        left(tmp_path, next(names)).chmod(0o755)
        assert sweep(tmp_path) == 0
        assert len(list(tmp_path.iterdir())) == 3

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
    def test_another_user_s_folder(self, tmp_path):
        folder = left(tmp_path)
        os.chown(folder, NOBODY, NOBODY)
        assert sweep(tmp_path) == 0
        assert (folder / "file").exists()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
    def test_root_s_folder_by_another_user(self, child):
        script = """
            import os, sys
            from psengine_host.spool_folders import sweep
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            print(sweep(sys.argv[1]), flush=True)
        """
        with tempfile.TemporaryDirectory() as parent:
            os.chmod(parent, 0o1777)
            folder = left(Path(parent))
            assert child(script, parent).line() == "0"
            assert (folder / "file").exists()


class TestWhatIsHardToRemove:
    def test_read_only_and_unreadable_folders_inside(self, child):
        script = """
            import os, sys
            from psengine_host.spool_folders import sweep
            if os.getuid() == 0:
                os.setgroups([]); os.setgid(65534); os.setuid(65534)
            folder = os.path.join(sys.argv[1], "psengine-" + "0" * 32)
            os.makedirs(folder + "/locked/inner/hidden")
            os.chmod(folder, 0o700)
            open(folder + "/locked/inner/file", "w").close()
            os.chmod(folder + "/locked/inner/hidden", 0)
            os.chmod(folder + "/locked/inner", 0o500)
            os.chmod(folder + "/locked", 0)
            print(sweep(sys.argv[1]), os.listdir(sys.argv[1]), flush=True)
        """
        with tempfile.TemporaryDirectory() as parent:
            os.chmod(parent, 0o1777)
            assert child(script, parent).line() == "1 []"

    def test_what_resists_is_logged_and_the_rest_goes(self, tmp_path, monkeypatch, caplog):
        folders = sorted(left(tmp_path) for _ in range(3))
        rmdir = os.rmdir

        def busy(path, *arguments, **options):
            if os.fspath(path) == os.fspath(folders[1]):
                raise OSError(16, "Device or resource busy")
            rmdir(path, *arguments, **options)

        monkeypatch.setattr(os, "rmdir", busy)  # as of a folder that something is mounted on
        assert sweep(tmp_path) == 2
        assert list(tmp_path.iterdir()) == [folders[1]]
        assert f"cannot remove the left spool folder {folders[1]}; remove it by hand" in caplog.messages

    def test_folders_nested_a_thousand_deep_stop_no_start(self, tmp_path, caplog):
        folder = left(tmp_path)
        here = os.open(folder, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        other = left(tmp_path)
        sweep(tmp_path)
        assert not other.exists()
        assert not folder.exists() or "cannot" in caplog.text
        subprocess.run(["rm", "-rf", folder], check=True)

    def test_a_parent_that_cannot_be_searched(self, tmp_path, caplog):
        (tmp_path / "file").touch()
        assert sweep(tmp_path / "file") == 0
        assert caplog.messages == [f"cannot look for left spool folders in {tmp_path}/file: Not a directory"]

    def test_a_parent_that_is_not_there_is_nobody_s_trouble_yet(self, tmp_path, caplog):
        assert sweep(tmp_path / "missing") == 0
        assert caplog.messages == []

    def test_a_parent_that_is_full_delays_no_start(self, tmp_path, caplog):
        for number in range(2000):
            (tmp_path / f"psengine-{number:032x}").write_bytes(b"")
        caplog.set_level(logging.INFO)
        left(tmp_path)
        began = time.monotonic()
        sweep(tmp_path, seconds=0.0)
        assert time.monotonic() - began < 5
        assert caplog.messages == [f"{tmp_path} is too full to be searched for left spool folders in 0 s"]
        assert sweep(tmp_path, seconds=20.0) == 1

    def test_it_is_found_among_many(self, tmp_path):
        for number in range(20_000):
            (tmp_path / f"x{number}").touch()
        folder = left(tmp_path)
        assert sweep(tmp_path, seconds=20.0) == 1
        assert not folder.exists()


def test_a_folder_is_private_whatever_the_parent_hands_down(tmp_path):
    tmp_path.chmod(0o2777)
    folder = OwnedFolder(tmp_path)
    assert folder.make()
    assert stat.S_IMODE(folder.path.stat().st_mode) & 0o777 == 0o700
    folder.remove()
    assert list(tmp_path.iterdir()) == []
