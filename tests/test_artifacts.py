import errno
import hashlib
import io
import os
import random
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import pytest

from psengine_host import samples
from psengine_host.artifacts import KEPT_IN_MEMORY, Artifact
from psengine_host.bounty import ArtifactType
from psengine_host.errors import ArtifactError, ArtifactUnavailable
from psengine_host.network.data_uris import decode_data_uri
from psengine_host.spool import Spool

LARGE = KEPT_IN_MEMORY + 1
CHANGED = "changed while it was read; scan it again"


def child(script: str, *arguments: object) -> str:
    """Run Python in a process of its own; what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", dedent(script), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def refusal(ask) -> str:
    with pytest.raises(ArtifactError) as caught:
        ask()
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small"
    path.write_bytes(b"#!/bin/sh\necho small\n")
    return path


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes(LARGE))  # the same each time: by chance, noise looks like some type
    return path


ASKS = [
    pytest.param(lambda artifact: artifact.sha256, id="sha256"),
    pytest.param(lambda artifact: artifact.mimetype, id="mimetype"),
    pytest.param(lambda artifact: artifact.read_bytes(), id="read_bytes"),
    pytest.param(lambda artifact: artifact.open(), id="open"),
]


class TestWhatItIs:
    def test_a_file(self, small):
        artifact = Artifact.from_path(small)
        content = small.read_bytes()
        assert artifact.artifact_type is ArtifactType.FILE
        assert artifact.url is None
        assert artifact.name == str(small)
        assert artifact.path == small
        assert artifact.uri == f"file://{small}"
        assert artifact.size == len(content)
        assert artifact.sha256 == hashlib.sha256(content).hexdigest()
        assert artifact.mimetype == "application/x-sh"
        assert artifact.read_bytes() == content
        with artifact.open() as stream:
            assert stream.read() == content
        assert repr(artifact) == f"Artifact('{small}')"

    def test_a_large_file(self, large):
        artifact = Artifact.from_path(os.fspath(large), name="it")
        content = large.read_bytes()
        assert artifact.name == "it"
        assert artifact.mimetype == "application/octet-stream"
        assert artifact.sha256 == hashlib.sha256(content).hexdigest()
        assert artifact.size == LARGE
        assert artifact.read_bytes() == content
        with artifact.open() as stream:
            assert stream.read() == content
        artifact.check_unchanged()

    @pytest.mark.parametrize("ask", ASKS)
    def test_the_first_question_may_be_any(self, small, large, ask):
        for path in (small, large):
            artifact = Artifact.from_path(path)
            answer = ask(artifact)
            if isinstance(answer, io.IOBase):
                answer.close()
            assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "empty").touch()
        artifact = Artifact.from_path(tmp_path / "empty")
        assert (artifact.size, artifact.read_bytes(), artifact.mimetype) == (0, b"", "application/x-empty")
        assert artifact.sha256 == hashlib.sha256(b"").hexdigest()

    def test_a_link_is_followed(self, small, tmp_path):
        (tmp_path / "link").symlink_to(small)
        assert Artifact.from_path(tmp_path / "link").read_bytes() == small.read_bytes()

    def test_a_file_of_proc_whose_size_is_said_to_be_0(self):
        artifact = Artifact.from_path("/proc/self/cmdline")
        content = artifact.read_bytes()
        with open("/proc/self/cmdline", "rb") as file:
            assert content == file.read()
        assert artifact.size == len(content)
        assert artifact.sha256 == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize("name", [b"with space", b"line\nend", b"100%", b"caf\xe9\xff", b"x" * 255])
    def test_a_file_of_any_name(self, tmp_path, name):
        path = os.fsencode(tmp_path) + b"/" + name
        with open(path, "wb") as file:
            file.write(b"content")
        for given in (path, os.fsdecode(path)):
            artifact = Artifact.from_path(given)
            assert artifact.read_bytes() == b"content"
            assert os.fsencode(artifact.path) == path
            assert artifact.uri.isascii()

    def test_bytes(self):
        artifact = Artifact.from_bytes(samples.eicar(), name="eicar.com")
        assert artifact.name == "eicar.com"
        assert artifact.artifact_type is ArtifactType.FILE
        assert artifact.size == 68
        assert artifact.sha256 == hashlib.sha256(samples.eicar()).hexdigest()
        assert artifact.open().read() == artifact.read_bytes() == samples.eicar()
        assert decode_data_uri(artifact.uri, 68).data == samples.eicar()

    def test_bytes_that_change_afterwards_are_not_the_artifact(self):
        data = bytearray(b"before")
        artifact = Artifact.from_bytes(data)
        data[:] = b"after!"
        assert artifact.read_bytes() == b"before"

    def test_a_url(self):
        artifact = Artifact.from_url("https://x.example/ä")
        assert artifact.artifact_type is ArtifactType.URL
        assert artifact.url == artifact.uri == artifact.name == "https://x.example/ä"
        assert artifact.mimetype == "text/uri-list"
        assert artifact.read_bytes() == "https://x.example/ä".encode()
        with artifact:
            assert artifact.path.read_bytes() == artifact.read_bytes()

    def test_a_url_that_is_no_text(self):
        message = refusal(lambda: Artifact.from_url("https://x.example/\udcff"))
        assert message == r"'https://x.example/\udcff': is no URL: UTF-8 cannot hold it"

    def test_a_stream(self, tmp_path):
        with Spool(tmp_path) as spool:
            artifact = Artifact.from_stream(io.BytesIO(b"from a pipe"), spool, name="stdin")
            assert (artifact.name, artifact.read_bytes()) == ("stdin", b"from a pipe")
            assert decode_data_uri(artifact.uri, 100).data == b"from a pipe"
            path = artifact.path
            assert path.parent == spool.folder
            artifact.close()
            assert not path.exists()

    def test_a_long_stream_stays_in_its_file(self, tmp_path):
        with Spool(tmp_path) as spool, Artifact.from_stream(io.BytesIO(b"x" * LARGE), spool) as artifact:
            assert artifact.uri == artifact.path.as_uri()
            assert artifact.size == LARGE


class TestUnderWine:
    @pytest.fixture(autouse=True)
    def prefix(self, tmp_path, monkeypatch):
        """One that is not made yet: it will have the drive Z:, as all have."""
        monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))

    def test_a_file_has_the_name_that_a_windows_program_knows(self, small):
        assert Artifact.from_path(small).as_nt_path() == "Z:" + str(small).replace("/", "\\")

    def test_bytes_get_a_file_for_it(self, tmp_path):
        with Spool(tmp_path) as spool, Artifact.from_bytes(b"content", spool=spool) as artifact:
            name = artifact.as_nt_path()
            assert name == "Z:" + str(artifact.path).replace("/", "\\")
            assert artifact.path.read_bytes() == b"content"
            assert spool.used == 7

    def test_a_closed_one_has_no_name(self, small):
        artifact = Artifact.from_path(small, name="x")
        artifact.close()
        assert refusal(artifact.as_nt_path) == "x: is closed; its bytes can be had until close() only"


class TestNothingIsReadBeforeItIsAskedFor:
    OPENED = """
        import os, sys
        from psengine_host.artifacts import Artifact
        import psengine_host.filetypes as filetypes
        filetypes.identify_bytes(b"warm")
        path = sys.argv[1]
        opened = []
        # os.open, that is, which names no mode; all of the package's own opening ends there
        sys.addaudithook(lambda event, args: event == "open" and args[:2] == (path, None) and opened.append(path))
        artifact = Artifact.from_path(path)
        artifact.name, artifact.path, artifact.uri, artifact.size, artifact.artifact_type, repr(artifact)
        print(len(opened))
        artifact.sha256
        print(len(opened))
        artifact.sha256
        print(len(opened))
        artifact.mimetype, artifact.read_bytes(), artifact.open().close()
        print(len(opened))
    """

    def test_a_small_file_is_opened_once_by_the_first_question(self, small):
        assert child(self.OPENED, small).split() == ["0", "1", "1", "1"]

    def test_a_large_file_is_opened_by_each_question_and_hashed_once(self, large):
        # type, bytes and stream are the three more
        assert child(self.OPENED, large).split() == ["0", "1", "1", "4"]

    def test_libmagic_is_not_even_loaded_for_a_hash(self, small):
        script = """
            import sys
            from psengine_host.artifacts import Artifact
            artifact = Artifact.from_path(sys.argv[1])
            artifact.sha256, artifact.read_bytes()
            print("psengine_host.filetypes" in sys.modules)
            artifact.mimetype
            print("psengine_host.filetypes" in sys.modules)
        """
        assert child(script, small).split() == ["False", "True"]

    def test_a_file_that_is_gone_before_the_first_question(self, small):
        artifact = Artifact.from_path(small)
        small.unlink()
        assert refusal(lambda: artifact.sha256) == f"{small}: no such file or directory"

    def test_hash_type_and_engine_see_the_same_bytes_of_a_small_file(self, small):
        artifact = Artifact.from_path(small)
        digest = artifact.sha256
        small.write_bytes(b"something else altogether")
        assert hashlib.sha256(artifact.read_bytes()).hexdigest() == digest
        assert artifact.open().read() == artifact.read_bytes()
        small.unlink()
        assert artifact.mimetype == "application/x-sh"


class TestMemory:
    def test_a_file_of_512_mib_is_streamed(self, tmp_path):
        path = tmp_path / "sparse"
        with open(path, "wb") as file:
            file.truncate(512 << 20)
        script = """
            import resource, sys
            from psengine_host.artifacts import Artifact
            def peak():
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            small = Artifact.from_path(sys.argv[2])
            small.sha256, small.mimetype, small.open().read()
            before = peak()
            artifact = Artifact.from_path(sys.argv[1])
            artifact.sha256, artifact.mimetype
            with artifact.open() as stream:
                while stream.read(1 << 18):
                    pass
            artifact.check_unchanged()
            print(artifact.size, peak() - before)
        """
        size, kibibytes = map(int, child(script, path, __file__).split())
        assert size == 512 << 20
        assert kibibytes < 30 * 1024


class TestRefused:
    def test_a_file_that_is_not_there(self, tmp_path):
        path = tmp_path / "missing"
        assert refusal(lambda: Artifact.from_path(path)) == f"{path}: no such file or directory"

    def test_a_name_on_one_line_whatever_the_file_is_called(self, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/line\nend\xff")
        message = refusal(lambda: Artifact.from_path(path))
        assert message == rf"'{tmp_path}/line\nend\udcff': no such file or directory"

    def test_a_name_that_no_file_can_have(self):
        message = refusal(lambda: Artifact.from_path("a\x00b"))
        assert message == r"'a\x00b': no file can be called that (embedded null byte)"

    def test_a_name_that_is_too_long(self, tmp_path):
        assert refusal(lambda: Artifact.from_path(tmp_path / ("x" * 256))).endswith(": file name too long")

    def test_a_loop_of_links(self, tmp_path):
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        message = refusal(lambda: Artifact.from_path(tmp_path / "a"))
        assert message == f"{tmp_path}/a: too many levels of symbolic links"

    def test_what_is_no_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # the name of a socket is at most 107 bytes long
        os.mkdir("folder")
        os.mkfifo("fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            for path, kind in {
                "folder": "a folder",
                "fifo": "a FIFO",
                "socket": "a socket",
                "/dev/null": "a device",
                "/dev/zero": "a device",
            }.items():
                with pytest.raises(ArtifactUnavailable) as caught:
                    Artifact.from_path(path)
                assert str(caught.value) == f"{path}: is {kind}, not a file"

    def test_what_may_not_be_read(self):
        script = """
            import os, sys
            from psengine_host.artifacts import Artifact
            from psengine_host.errors import ArtifactError
            if os.getuid() == 0:
                os.setgroups([]); os.setgid(65534); os.setuid(65534)
            os.chdir(sys.argv[1])
            artifact = Artifact.from_path("secret")
            for ask in (lambda: artifact.sha256, artifact.open, lambda: Artifact.from_path("closed/inside")):
                try:
                    ask()
                    print("was read")
                except ArtifactError as error:
                    print(error)
        """
        with tempfile.TemporaryDirectory() as folder:  # tmp_path lies where an unprivileged user cannot go
            os.chmod(folder, 0o755)
            (Path(folder) / "secret").touch(mode=0)
            (Path(folder) / "closed").mkdir(mode=0o700)
            (Path(folder) / "closed" / "inside").touch()
            (Path(folder) / "closed").chmod(0)
            try:
                printed = child(script, folder)
            finally:
                (Path(folder) / "closed").chmod(0o700)
        assert printed.splitlines() == [
            "secret: permission denied",
            "secret: permission denied",
            "closed/inside: permission denied",
        ]

    def test_a_disk_that_fails_while_it_is_read(self, small, monkeypatch):
        artifact = Artifact.from_path(small)

        def fail(*_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "read", fail)
        assert refusal(lambda: artifact.sha256) == f"{small}: input/output error"


class TestChanges:
    @pytest.mark.parametrize("ask", ASKS)
    @pytest.mark.parametrize("size", [100, LARGE])
    def test_a_fifo_in_the_file_s_place_is_not_waited_for(self, tmp_path, size, ask):
        path = tmp_path / "file"
        path.write_bytes(b"x" * size)
        artifact = Artifact.from_path(path)
        assert artifact.size == size
        path.unlink()
        os.mkfifo(path)
        if ask is ASKS[1].values[0] and size == LARGE:
            assert ask(artifact) == "inode/fifo"  # of a large file, libmagic asks the system itself
        else:
            assert refusal(lambda: ask(artifact)) == f"{path}: is a FIFO, not a file"

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda path: os.truncate(path, LARGE - 1), id="truncated"),
            pytest.param(lambda path: os.truncate(path, LARGE + 1), id="grown"),
            pytest.param(lambda path: os.truncate(path, 1 << 40), id="grown beyond the memory"),
        ],
    )
    def test_a_file_of_another_size_than_was_hashed(self, large, change):
        artifact = Artifact.from_path(large)
        assert artifact.sha256
        change(large)
        assert refusal(artifact.read_bytes) == f"{large}: {CHANGED}"
        assert refusal(artifact.check_unchanged) == f"{large}: {CHANGED}"

    @pytest.mark.parametrize("look", [lambda artifact: artifact.path, lambda artifact: artifact.open().close()])
    def test_what_an_engine_reads_from_disk_must_be_what_was_hashed(self, large, look):
        artifact = Artifact.from_path(large)
        assert artifact.sha256
        look(artifact)
        artifact.check_unchanged()
        with open(large, "r+b") as file:
            file.write(b"another beginning")
        os.utime(large, ns=(0, 0))
        assert refusal(artifact.check_unchanged) == f"{large}: {CHANGED}"

    def test_a_change_whose_time_is_set_back_is_found(self, large):
        artifact = Artifact.from_path(large)
        assert artifact.sha256
        assert artifact.path
        before = os.stat(large)
        with open(large, "r+b") as file:
            file.write(b"another beginning")
        os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert refusal(artifact.check_unchanged) == f"{large}: {CHANGED}"

    def test_a_link_or_another_mode_is_no_change(self, large, tmp_path):
        artifact = Artifact.from_path(large)
        assert artifact.sha256
        assert artifact.path
        os.link(large, tmp_path / "quarantined")
        large.chmod(0o400)
        artifact.check_unchanged()
        artifact.check_unchanged()

    def test_a_change_of_a_file_that_nobody_hashed(self, large):
        artifact = Artifact.from_path(large)
        assert artifact.path
        with open(large, "ab") as file:
            file.write(b"more")
        assert refusal(artifact.check_unchanged) == f"{large}: {CHANGED}"

    def test_a_change_of_the_file_that_was_made_of_bytes(self):
        with Artifact.from_bytes(b"evil", name="sample") as artifact:
            path = artifact.path
            path.chmod(0o600)
            path.write_bytes(b"cleaned")
            assert refusal(artifact.check_unchanged) == f"sample: {CHANGED}"
            assert artifact.read_bytes() == b"evil"

    def test_another_file_in_its_place(self, large, tmp_path):
        artifact = Artifact.from_path(large)
        assert artifact.sha256
        assert artifact.path
        (tmp_path / "other").write_bytes(large.read_bytes())
        os.replace(tmp_path / "other", large)
        assert refusal(artifact.check_unchanged) == f"{large}: {CHANGED}"

    def test_a_file_that_vanishes_after_it_was_hashed(self, large):
        artifact = Artifact.from_path(large)
        assert artifact.sha256
        assert artifact.path
        large.unlink()
        assert refusal(artifact.check_unchanged) == f"{large}: no such file or directory"
        assert refusal(artifact.read_bytes) == f"{large}: no such file or directory"

    def test_a_file_that_nobody_read_from_disk_may_change(self, small):
        artifact = Artifact.from_path(small)
        assert artifact.read_bytes()
        small.write_bytes(b"changed, but the engine has the bytes that were hashed")
        artifact.check_unchanged()

    @pytest.mark.parametrize("size", [100, LARGE])
    def test_one_that_was_rewritten_is_not_current_although_its_time_was_set_back(self, tmp_path, size):
        path = tmp_path / "file"
        path.write_bytes(b"x" * size)
        artifact = Artifact.from_path(path)
        assert artifact.is_current()
        assert artifact.sha256
        assert artifact.is_current()
        before = os.stat(path)
        path.write_bytes(b"y" * size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert not artifact.is_current()

    def test_one_with_a_new_link_is_read_again_to_be_sure(self, small, tmp_path):
        artifact = Artifact.from_path(small)
        assert artifact.sha256
        os.link(small, tmp_path / "link")
        assert not artifact.is_current()
        assert Artifact.from_path(small).sha256 == artifact.sha256

    @pytest.mark.parametrize("look", [lambda artifact: artifact.path, lambda artifact: artifact.mimetype])
    def test_what_was_looked_at_before_it_was_hashed_must_be_the_same(self, large, look):
        artifact = Artifact.from_path(large)
        look(artifact)
        with open(large, "ab") as file:
            file.write(b"more")
        assert refusal(lambda: artifact.sha256) == f"{large}: {CHANGED}"

    def test_a_type_that_was_found_before_a_change_whose_time_was_set_back_is_found_again(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"%PDF-1.4\n".ljust(LARGE))
        artifact = Artifact.from_path(path)
        assert artifact.mimetype == "application/pdf"
        before = os.stat(path)
        with open(path, "r+b") as file:
            file.write(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert artifact.mimetype == "image/png"
        artifact.check_unchanged()

    @pytest.mark.parametrize("size", [100, LARGE])
    def test_another_mode_while_it_is_read_is_no_change(self, tmp_path, monkeypatch, size):
        path = tmp_path / "file"
        path.write_bytes(b"x" * size)
        artifact = Artifact.from_path(path)
        modes = iter([0o600, 0o640])

        def changing(call):
            def read(*arguments):
                if (mode := next(modes, None)) is not None:
                    os.chmod(path, mode)
                return call(*arguments)

            return read

        monkeypatch.setattr(os, "read", changing(os.read))
        monkeypatch.setattr(os, "readv", changing(os.readv))
        assert artifact.sha256 == hashlib.sha256(b"x" * size).hexdigest()
        assert artifact.is_current()

    @pytest.mark.parametrize("size", [100, LARGE])
    def test_a_change_while_it_is_read_whose_time_is_set_back_is_not_half_read(self, tmp_path, monkeypatch, size):
        path = tmp_path / "file"
        path.write_bytes(b"x" * size)
        artifact = Artifact.from_path(path)
        before, changed = os.stat(path), []

        def changing(call):
            def read(*arguments):
                found = call(*arguments)
                if not changed:
                    path.write_bytes(b"y" * size)
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                    changed.append(True)
                return found

            return read

        monkeypatch.setattr(os, "read", changing(os.read))
        monkeypatch.setattr(os, "readv", changing(os.readv))
        assert artifact.sha256 == hashlib.sha256(b"y" * size).hexdigest()

    def test_one_that_never_comes_to_rest(self, small, monkeypatch):
        artifact = Artifact.from_path(small)
        mode = [0]
        read = os.read

        def changing(*arguments):
            mode[0] ^= 0o040
            small.chmod(0o600 | mode[0])
            return read(*arguments)

        monkeypatch.setattr(os, "read", changing)
        assert refusal(lambda: artifact.sha256) == f"{small}: {CHANGED}"

    @pytest.mark.parametrize(
        ("size", "to", "message"),
        [
            (1000, 900, CHANGED),
            (1000, 1100, CHANGED),
            (
                1000,
                4 << 20,
                "grows, or does not say its size (as in /proc), and is larger than 1 MiB; scan a copy of it",
            ),
            (2 << 20, 1 << 20, CHANGED),
            (2 << 20, 3 << 20, CHANGED),
        ],
    )
    def test_a_file_whose_size_changes_while_it_is_read(self, tmp_path, monkeypatch, size, to, message):
        path = tmp_path / "changing"
        path.write_bytes(b"x" * size)
        artifact = Artifact.from_path(path)

        def changing(call):
            def read(*arguments):
                os.truncate(path, to)
                return call(*arguments)

            return read

        monkeypatch.setattr(os, "read", changing(os.read))
        monkeypatch.setattr(os, "readv", changing(os.readv))
        assert refusal(lambda: artifact.sha256) == f"{path}: {message}"


class TestFilesOfBytes:
    def test_the_file_is_private_read_only_and_made_once(self):
        with Artifact.from_bytes(b"content") as artifact:
            path = artifact.path
            assert path.read_bytes() == b"content"
            assert stat.S_IMODE(path.stat().st_mode) == 0o400
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert artifact.path == path
            folder = path.parent
        assert not folder.exists()

    def test_no_file_is_made_if_nobody_asks_for_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TMPPREFIX", str(tmp_path))
        with Artifact.from_bytes(b"content") as artifact:
            assert artifact.sha256
            assert artifact.open().read() == b"content"
        assert list(tmp_path.iterdir()) == []

    def test_a_shared_spool_loses_only_its_own_file(self, tmp_path):
        with Spool(tmp_path) as spool:
            first, second = (Artifact.from_bytes(b"content", spool=spool) for _ in range(2))
            paths = first.path, second.path
            assert paths[0] != paths[1]
            first.close()
            assert [path.exists() for path in paths] == [False, True]
            assert spool.folder.is_dir()

    def test_closing_twice_is_no_error(self):
        artifact = Artifact.from_bytes(b"content")
        assert artifact.path.exists()
        artifact.close()
        artifact.close()

    def test_a_file_of_the_user_s_own_is_never_removed(self, small):
        with Artifact.from_path(small) as artifact:
            assert artifact.path == small
            assert artifact.sha256
        assert small.exists()

    def test_what_is_not_closed_is_gone_when_the_process_ends(self):
        script = """
            from psengine_host.artifacts import Artifact
            artifact = Artifact.from_bytes(b"content")
            print(artifact.path.parent, artifact.path.read_bytes() == b"content")
        """
        folder, written = child(script).split()
        assert written == "True"
        assert not os.path.lexists(folder)

    def test_a_spool_that_cannot_be_made(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TMPPREFIX", str(tmp_path / "missing"))
        message = refusal(lambda: Artifact.from_bytes(b"x").path)
        assert message == (
            f"cannot make a spool directory in {tmp_path}/missing: No such file or directory; set TMPPREFIX or TMPDIR"
        )


class TestClosing:
    @pytest.mark.parametrize(
        "make",
        [
            lambda path, _: Artifact.from_path(path, name="x"),
            lambda *_: Artifact.from_bytes(b"x", name="x"),
            lambda _, spool: Artifact.from_bytes(b"x", name="x", spool=spool),
            lambda _, spool: Artifact.from_stream(io.BytesIO(b"x"), spool, name="x"),
        ],
        ids=["path", "bytes", "bytes in a spool", "stream"],
    )
    @pytest.mark.parametrize("before", [lambda _: None, lambda artifact: artifact.path, Artifact.read_bytes])
    def test_a_closed_artifact_says_so(self, small, tmp_path, make, before):
        with Spool(tmp_path) as spool:
            artifact = make(small, spool)
            before(artifact)
            artifact.close()
            for ask in (Artifact.read_bytes, Artifact.open, lambda artifact: artifact.path):
                assert refusal(lambda ask=ask: ask(artifact)) == "x: is closed; its bytes can be had until close() only"
            assert artifact.name == "x"
            assert spool.used == 0

    def test_what_has_been_found_out_stays(self, small):
        with Artifact.from_path(small) as artifact:
            known = (artifact.size, artifact.sha256, artifact.mimetype)
        assert (artifact.size, artifact.sha256, artifact.mimetype) == known

    def test_a_link_in_the_place_of_a_spooled_file_is_not_followed(self, small, tmp_path):
        with Spool(tmp_path) as spool, Artifact.from_stream(io.BytesIO(b"x" * LARGE), spool, name="x") as artifact:
            artifact.path.unlink()
            artifact.path.symlink_to(small)
            assert refusal(artifact.read_bytes) == "x: too many levels of symbolic links"


@pytest.mark.parametrize("name", ["--version", "-x", "plain", "./dotted", "below/it"])
def test_the_path_is_absolute_whatever_name_was_given(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    Path(name).write_bytes(b"content")
    artifact = Artifact.from_path(name)
    assert artifact.name == name
    assert str(artifact.path).startswith(f"{tmp_path}/")
    monkeypatch.chdir("/")  # as an engine may
    assert artifact.path.read_bytes() == artifact.read_bytes() == b"content"


def test_in_a_working_directory_that_is_gone_a_relative_name_is_no_file(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ArtifactError, match=r"^x: no such file or directory$"):
        Artifact.from_path("x")
