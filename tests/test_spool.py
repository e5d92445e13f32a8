import gzip
import io
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from textwrap import dedent

import pytest

from psengine_host.errors import ArtifactError, SpoolFull
from psengine_host.spool import Spool

NOBODY = 65534


def child(script: str, *arguments: object, **environment: str) -> str:
    """Run Python in a process of its own; what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path) as spool:
        yield spool


class TestTheDirectory:
    def test_it_is_made_on_first_use_private_and_removed_at_the_end(self, tmp_path):
        with Spool(tmp_path) as spool:
            assert list(tmp_path.iterdir()) == []
            assert spool.folder.parent == tmp_path
            assert mode(spool.folder) == 0o700
            assert spool.folder == spool.folder
            spool.write(b"x")
            spool.new_folder("scratch")
            folder = spool.folder
        assert not folder.exists()

    PRINT_FOLDER = """
        from psengine_host.spool import Spool
        with Spool() as spool:
            print(spool.folder.parent)
    """

    @pytest.mark.parametrize(
        ("variables", "chosen"),
        [
            ({"TMPPREFIX": "a", "TMPDIR": "b"}, "a"),
            ({"TMPPREFIX": "", "TMPDIR": "b"}, "b"),
            ({"TMPDIR": "b"}, "b"),
        ],
    )
    def test_it_lies_under_tmpprefix_else_under_tmpdir(self, tmp_path, monkeypatch, variables, chosen):
        monkeypatch.delenv("TMPPREFIX", raising=False)
        for name in "ab":
            (tmp_path / name).mkdir()
        environment = {name: value and str(tmp_path / value) for name, value in variables.items()}
        assert child(self.PRINT_FOLDER, **environment).strip() == str(tmp_path / chosen)

    def test_the_umask_opens_nothing(self, tmp_path):
        script = """
            import os, sys
            from psengine_host.spool import Spool
            os.umask(0)
            with Spool(sys.argv[1]) as spool:
                path, scratch = spool.write(b"x"), spool.new_folder("scratch")
                print(*(oct(os.stat(it).st_mode & 0o7777) for it in (spool.folder, path, scratch)))
        """
        assert child(script, tmp_path).split() == ["0o700", "0o400", "0o700"]

    def test_the_umask_takes_nothing_from_its_owner(self, tmp_path):
        script = """
            import os, sys
            from psengine_host.spool import Spool
            os.umask(0o377)
            with Spool(sys.argv[1]) as spool:
                for path in (spool.folder, spool.new_folder("scratch"), spool.write(b"x")):
                    print(oct(path.stat().st_mode & 0o777))
        """
        assert child(script, tmp_path).split() == ["0o700", "0o700", "0o400"]
        assert list(tmp_path.iterdir()) == []

    def test_one_that_somebody_removed_is_made_anew(self, tmp_path, caplog):
        descriptors = len(os.listdir("/proc/self/fd"))
        with Spool(tmp_path, max_size=1000) as spool:
            old, lost = spool.folder, spool.write(b"x" * 600)
            shutil.rmtree(old)
            assert spool.new_folder("scratch").parent == spool.folder != old
            spool.discard(lost)
            path = spool.write(b"y" * 1000)
            assert (path.parent, path.read_bytes(), mode(path.parent)) == (spool.folder, b"y" * 1000, 0o700)
            assert caplog.messages == [f"the spool folder {old} was removed by somebody; another is made"]
        assert list(tmp_path.iterdir()) == []
        assert len(os.listdir("/proc/self/fd")) == descriptors

    def test_one_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ArtifactError) as caught:
            Spool(tmp_path / "file").write(b"")
        assert str(caught.value) == (
            f"cannot make a spool directory in {tmp_path}/file: Not a directory; set TMPPREFIX or TMPDIR"
        )

    def test_a_read_only_folder_of_an_engine_goes_too(self):
        script = """
            import os, sys
            from psengine_host.spool import Spool
            if os.getuid() == 0:
                os.setgroups([]); os.setgid(65534); os.setuid(65534)
            with Spool(sys.argv[1]) as spool:
                scratch = spool.new_folder("scratch")
                (scratch / "locked" / "inner").mkdir(parents=True)
                (scratch / "locked" / "inner" / "file").touch()
                (scratch / "locked" / "inner").chmod(0o500)
                (scratch / "locked").chmod(0o500)
            print(os.listdir(sys.argv[1]))
        """
        with tempfile.TemporaryDirectory() as folder:  # tmp_path lies where an unprivileged user cannot go
            os.chmod(folder, 0o777)
            assert child(script, folder) == "[]\n"

    def test_closing_follows_no_link(self, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir(mode=0o500)
        (outside / "file").touch()
        with Spool(tmp_path) as spool:
            (spool.new_folder("scratch") / "link").symlink_to(outside)
            (spool.folder / "link").symlink_to(outside / "file")
        assert (outside / "file").exists()
        assert mode(outside) == 0o500

    def test_it_goes_with_the_process_that_forgot_to_close_it(self, tmp_path):
        script = """
            import sys
            from psengine_host.spool import Spool
            spool = Spool(sys.argv[1])
            print(spool.write(b"x").exists())
        """
        assert child(script, tmp_path) == "True\n"
        assert list(tmp_path.iterdir()) == []

    def test_a_fork_does_not_take_it_along_when_it_ends(self, tmp_path):
        script = """
            import os, sys
            from psengine_host.spool import Spool
            spool = Spool(sys.argv[1])
            path = spool.write(b"x")
            if os.fork() == 0:
                spool.close()
                sys.exit(0)
            os.wait()
            print(path.exists())
        """
        assert child(script, tmp_path) == "True\n"


class TestFiles:
    def test_they_are_private_from_the_first_byte_on(self, spool):
        with spool.deposit() as deposit:
            deposit.write(b"x")
            (path,) = spool.folder.iterdir()
            assert mode(path) == 0o400
            assert deposit.keep_file()[0] == path
        assert (mode(path), path.read_bytes()) == (0o400, b"x")

    def test_no_two_have_one_name(self, spool):
        paths = {spool.write(b"the same") for _ in range(100)}
        assert len(paths) == 100
        assert {path.parent for path in paths} == {spool.folder}

    @pytest.mark.parametrize("target", ["victim", "missing"])
    def test_a_planted_link_is_not_followed(self, spool, tmp_path, monkeypatch, target):
        (tmp_path / "victim").write_bytes(b"untouched")
        monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
        (spool.folder / "guessed").symlink_to(tmp_path / target)
        with pytest.raises(ArtifactError) as caught:
            spool.write(b"evil")
        assert str(caught.value) == f"cannot write to the spool {spool.folder}: File exists"
        assert (tmp_path / "victim").read_bytes() == b"untouched"
        assert not (tmp_path / "missing").exists()

    def test_a_link_in_a_written_file_s_place_is_not_sealed(self, spool, tmp_path):
        (tmp_path / "victim").write_bytes(b"untouched")
        (tmp_path / "victim").chmod(0o644)
        with spool.deposit() as deposit:
            deposit.write(b"x")
            (path,) = spool.folder.iterdir()
            path.unlink()
            path.symlink_to(tmp_path / "victim")
            deposit.write(b"y")
            deposit.keep_file()
        spool.discard(path)
        assert mode(tmp_path / "victim") == 0o644
        assert (tmp_path / "victim").read_bytes() == b"untouched"

    def test_what_is_discarded_is_gone_and_may_be_gone_already(self, spool):
        path = spool.write(b"x")
        for _ in range(2):
            spool.discard(path)
            assert not path.exists()
        spool.discard(None)

    def test_a_folder_in_a_file_s_place_goes_as_well(self, spool):
        path = spool.write(b"x")
        path.unlink()
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "file").touch()
        spool.discard(path)
        assert list(spool.folder.iterdir()) == []
        assert spool.used == 0

    def test_what_resists_is_logged_and_ends_nothing(self):
        script = f"""
            import logging, os, sys
            from psengine_host.spool import Spool
            if os.geteuid() == 0:
                os.setuid({NOBODY})
            logging.basicConfig(format="%(message)s", stream=sys.stdout)
            with Spool(sys.argv[1]) as spool:
                path = spool.write(b"x")
                spool.folder.chmod(0o500)
                spool.discard(path)
                spool.folder.chmod(0o700)
            print(path.name)
        """
        with tempfile.TemporaryDirectory() as folder:  # tmp_path lies where an unprivileged user cannot go
            os.chmod(folder, 0o777)
            logged, name = child(script, folder).splitlines()
            assert logged.startswith("cannot remove ")
            assert logged.endswith(f"{name} from the spool: Permission denied")

    def test_a_full_disk_leaves_no_part_of_a_file_behind(self, tmp_path):
        script = """
            import os, resource, signal, sys
            from io import BytesIO
            from psengine_host.errors import ArtifactError, SpoolFull
            from psengine_host.spool import Spool
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            with Spool(sys.argv[1]) as spool:
                data = b"x" * 200_000
                for write in (lambda: spool.write(data), lambda: spool.take(BytesIO(data), "stdin")):
                    try:
                        write()
                    except ArtifactError as error:
                        print(str(error).replace(str(spool.folder), "FOLDER"))
                print(os.listdir(spool.folder))
        """
        assert child(script, tmp_path).splitlines() == [
            "cannot write to the spool FOLDER: File too large",
            "stdin: cannot be read into the spool: File too large",
            "[]",
        ]


class FullDisk(Spool):
    """A spool whose files have no room: the kernel's own full device stands for them."""

    def _create(self):
        descriptor, path = super()._create()
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, descriptor)
        os.close(full)
        return descriptor, path


def deposited(spool: Spool, data: bytes) -> None:
    with spool.deposit() as deposit:
        deposit.write(data)


@pytest.mark.parametrize("write", [Spool.write, lambda spool, data: spool.take(io.BytesIO(data), "stdin"), deposited])
def test_a_disk_without_room_is_a_full_spool(tmp_path, write):
    with FullDisk(tmp_path) as spool:
        with pytest.raises(SpoolFull) as caught:
            write(spool, b"x")
        advice = "judge fewer at once, free space, or name another folder in TMPPREFIX"
        assert str(caught.value) == f"the spool is full: {spool.folder}: No space left on device; {advice}"
        assert os.listdir(spool.folder) == []
        assert spool.used == 0


class Later(io.RawIOBase):
    """A non-blocking stream that has one piece now and the rest later."""

    def __init__(self):
        self.pieces = [b"now"]

    def read(self, size=-1):
        return self.pieces.pop() if self.pieces else None


class TestStreams:
    @pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 20) + 1])
    def test_one_is_read_to_its_end(self, spool, size):
        data = os.urandom(size)
        path = spool.take(io.BytesIO(data), "stdin")
        assert path.read_bytes() == data
        assert mode(path) == 0o400

    def test_one_of_exactly_the_limit(self, spool):
        assert spool.take(io.BytesIO(b"x" * 1000), "stdin", limit=1000).stat().st_size == 1000

    def test_one_that_never_ends_is_stopped_at_the_limit(self, spool):
        with open("/dev/zero", "rb") as stream, pytest.raises(ArtifactError) as caught:
            spool.take(stream, "/dev/zero", limit=1_000_000)
        assert str(caught.value) == "/dev/zero: longer than 1000000 bytes, the most that is taken from a stream"
        assert list(spool.folder.iterdir()) == []

    @pytest.mark.parametrize(
        ("stream", "message"),
        [
            (
                lambda: gzip.GzipFile(fileobj=io.BytesIO(b"not gzip")),
                "x: cannot be read into the spool: Not a gzipped file (b'no')",
            ),
            (Later, "x: has nothing to read at the moment; open it in blocking mode"),
        ],
        ids=["broken", "non-blocking"],
    )
    def test_one_that_cannot_be_read(self, spool, stream, message):
        with pytest.raises(ArtifactError) as caught:
            spool.take(stream(), "x")
        assert str(caught.value) == message
        assert list(spool.folder.iterdir()) == []

    def test_a_name_is_shown_on_one_line(self, spool):
        with pytest.raises(ArtifactError, match=r"^'line\\nend': longer than 0 bytes"):
            spool.take(io.BytesIO(b"x"), "line\nend", limit=0)

    def test_whatever_a_stream_raises_leaves_nothing_behind(self, spool):
        stream = io.BytesIO(b"x")
        stream.close()
        with pytest.raises(ValueError, match="closed file"):
            spool.take(stream, "x")
        assert list(spool.folder.iterdir()) == []


def full(used: int, most: int, more: int) -> str:
    taken = f"{used} of {most} bytes are taken, {more} more do not fit"
    return f"the spool is full: {taken}; judge fewer at once, or raise the setting spool.max_size"


class TestItsSize:
    @pytest.fixture
    def small(self, tmp_path):
        with Spool(tmp_path, max_size=1000) as spool:
            yield spool

    def test_all_files_count_together_and_a_file_that_goes_gives_its_room_back(self, small):
        one = small.write(b"x" * 400)
        two = small.take(io.BytesIO(b"x" * 600), "stdin")
        assert small.used == 1000
        with pytest.raises(SpoolFull) as caught:
            small.write(b"x")
        assert str(caught.value) == full(1000, 1000, 1)
        small.discard(one)
        small.discard(one)
        assert small.used == 600
        with pytest.raises(SpoolFull, match="600 of 1000 bytes are taken, 401 more do not fit"):
            small.write(b"x" * 401)
        small.write(b"x" * 400)
        small.discard(two)
        assert small.used == 400

    def test_what_does_not_fit_leaves_nothing_and_takes_no_room(self, small):
        for write in (
            lambda: small.write(b"x" * 1001),
            lambda: small.take(io.BytesIO(b"x" * 1001), "stdin"),
        ):
            with pytest.raises(SpoolFull):
                write()
            assert small.used == 0
            assert list(small.folder.iterdir()) == []

    def test_it_is_refused_before_it_is_written(self, small):
        with small.deposit() as deposit:
            deposit.write(b"x" * 900)
            with pytest.raises(SpoolFull):
                deposit.write(b"y" * 200)
            (path,) = small.folder.iterdir()
            assert path.read_bytes() == b"x" * 900
            assert small.used == 900
            deposit.write(b"y" * 100)
            assert small.used == 1000
        assert small.used == 0

    def test_an_endless_stream_is_stopped_there(self, small):
        with open("/dev/zero", "rb") as stream, pytest.raises(SpoolFull):
            small.take(stream, "/dev/zero")
        assert small.used == 0

    def test_a_write_that_fails_gives_its_room_back(self, small):
        stream = io.BufferedReader(Failing())
        with pytest.raises(ArtifactError, match="Input/output error"):
            small.take(stream, "x")
        assert small.used == 0

    def test_threads_never_get_more_than_there_is(self, tmp_path):
        with Spool(tmp_path, max_size=100_000) as spool:
            refused: list[int] = []
            most: list[int] = []
            written = threading.Barrier(10, lambda: most.append(bytes_in(spool.folder)), timeout=60)
            looked = threading.Barrier(10, timeout=60)

            def work(number: int) -> None:
                for _ in range(50):
                    path = None
                    try:
                        path = spool.write(bytes([number]) * 15_000)
                    except SpoolFull:
                        refused.append(number)
                    written.wait()
                    spool.discard(path)
                    looked.wait()

            threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert most == [90_000] * 50
            assert len(refused) == 4 * 50
            assert spool.used == 0
            assert list(spool.folder.iterdir()) == []

    def test_a_scratch_folder_does_not_count(self, small):
        (small.new_folder("scratch") / "file").write_bytes(b"x" * 5000)
        assert small.used == 0
        small.write(b"x" * 1000)

    def test_a_spool_of_no_size_takes_nothing(self, tmp_path):
        with Spool(tmp_path, max_size=0) as spool:
            spool.write(b"")
            with pytest.raises(SpoolFull):
                spool.write(b"x")

    def test_a_spool_that_is_closed_meanwhile(self, spool):
        with spool.deposit() as deposit:
            deposit.write(b"x")
            spool.close()
            with pytest.raises(ArtifactError) as caught:
                deposit.write(b"x")
            assert str(caught.value) == "the spool was closed while an artifact was written to it"
        assert spool.used == 0


def bytes_in(folder) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


class Failing(io.RawIOBase):
    """A disk that fails after a first good piece."""

    def __init__(self):
        self.read = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.read += 1
        if self.read > 1:
            raise OSError(5, "Input/output error")
        buffer[:100] = b"x" * 100
        return 100


class TestDeposits:
    def test_what_is_small_costs_no_file(self, spool):
        with spool.deposit(in_memory=10) as deposit:
            assert (deposit.write(b"hello"), deposit.tell()) == (5, 5)
            deposit.write(b"world")
            assert deposit.keep() == b"helloworld"
            assert list(spool.folder.iterdir()) == []
            assert spool.used == 0

    @pytest.mark.parametrize("pieces", [[b"hello", b"world!"], [b"helloworld!"], [b"", b"h", b"elloworld", b"!"]])
    def test_beyond_its_limit_it_goes_into_a_file(self, spool, pieces):
        with spool.deposit(in_memory=10) as deposit:
            for piece in pieces:
                deposit.write(piece)
            path, status = deposit.keep()
        assert path.read_bytes() == b"helloworld!"
        assert (mode(path), status.st_size, spool.used) == (0o400, 11, 11)
        assert status == os.stat(path)

    @pytest.mark.parametrize("in_memory", [0, 100])
    def test_it_can_be_begun_anew_as_a_fetch_that_is_tried_again_does(self, spool, in_memory):
        with spool.deposit(in_memory) as deposit:
            start = deposit.tell()
            deposit.write(b"x" * 1000)
            deposit.seek(start)
            assert deposit.truncate() == 0
            assert spool.used == 0
            assert list(spool.folder.iterdir()) == []
            deposit.write(b"again")
            kept = deposit.keep()
        assert (kept if in_memory else kept[0].read_bytes()) == b"again"

    @pytest.mark.parametrize("in_memory", [0, 100])
    def test_a_part_of_it_can_be_taken_back_and_overwritten(self, spool, in_memory):
        with spool.deposit(in_memory) as deposit:
            deposit.write(b"hello world")
            deposit.seek(5)
            deposit.truncate()
            deposit.write(b", you")
            deposit.seek(0)
            deposit.write(b"H")
            with pytest.raises(ValueError, match="cannot seek to 11: 10 bytes have been written"):
                deposit.seek(11)
            path, _ = deposit.keep_file()
        assert path.read_bytes() == b"Hello, you"
        assert spool.used == 10

    def test_nothing_is_written_once_its_block_has_been_left(self, spool):
        with spool.deposit() as deposit:
            deposit.write(b"x")
        with pytest.raises(ValueError, match="nobody waits for the artifact any more"):
            deposit.write(b"x")
        assert list(spool.folder.iterdir()) == []

    def test_what_is_not_kept_is_gone(self, spool):
        with spool.deposit() as deposit:
            deposit.write(b"x")
            assert spool.used == 1
        assert list(spool.folder.iterdir()) == []
        assert spool.used == 0
