import contextlib
import errno
import io
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path

import pytest

import psengine_host
from psengine_host.cli.folders import walk
from psengine_host.cli.inputs import (
    BadInput,
    FileInput,
    InputListError,
    RemoteInput,
    Skipped,
    StreamInput,
    TextInput,
    UrlInput,
    count,
    gather,
)
from psengine_host.errors import UsageError

ROOT = Path(psengine_host.__file__).parent.parent


def lazily(*arguments, kind="file", recursive=False, include=(), exclude=(), files_from=None, stdin=b"", skipped=None):
    return gather(
        [str(argument) for argument in arguments],
        kind=kind,
        recursive=recursive,
        include=include,
        exclude=exclude,
        files_from=files_from,
        stdin=io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin,
        skipped=skipped,
    )


def gathered(*arguments, **options):
    return list(lazily(*arguments, **options))


def counted(*arguments, kind="file", recursive=False, include=(), exclude=(), files_from=None, **options):
    return count(
        [str(argument) for argument in arguments],
        kind=kind,
        recursive=recursive,
        include=include,
        exclude=exclude,
        files_from=files_from,
        **options,
    )


def message(*arguments, **options) -> str:
    (bad,) = gathered(*arguments, **options)
    assert isinstance(bad, BadInput)
    assert bad.name == str(arguments[0])
    return bad.message


def found(folder, **options) -> list[str]:
    """Paths found below a folder, relative to it."""
    inputs = gathered(folder, recursive=True, **options)
    assert all(isinstance(item, FileInput) and item.name == item.path for item in inputs)
    return [os.path.relpath(item.path, folder) for item in inputs]


@pytest.fixture
def tree(tmp_path):
    for name in ("b.txt", "a.exe", ".hidden", "sub/c.txt", "sub/.git/config", "sub/deep/d.exe", "zeta/e.txt"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


class TestPaths:
    def test_a_file_is_a_file_by_its_name_as_given(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_text("x")
        monkeypatch.chdir(tmp_path)
        assert gathered("a", "./a", tmp_path / "a") == [
            FileInput("a", "a"),
            FileInput("./a", "./a"),
            FileInput(f"{tmp_path}/a", f"{tmp_path}/a"),
        ]

    def test_a_link_to_a_file_is_followed(self, tmp_path):
        (tmp_path / "a").write_text("x")
        (tmp_path / "link").symlink_to("a")
        assert gathered(tmp_path / "link") == [FileInput(f"{tmp_path}/link", f"{tmp_path}/link")]

    @pytest.mark.parametrize("name", [b"line\nbreak", b"\xff\xfe", b"n" * 255, b" ", b"*", b"\xc3\xa9", b"-"])
    def test_every_name_that_a_file_can_have_is_taken(self, tmp_path, name):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as stream:
            stream.write(b"content")
        text = os.fsdecode(path)
        assert gathered(text) == [FileInput(text, text)]
        assert gathered(tmp_path, recursive=True) == [FileInput(text, text)]
        with open(gathered(text)[0].path, "rb") as stream:
            assert stream.read() == b"content"

    def test_what_is_missing_says_so(self, tmp_path):
        (tmp_path / "file").write_text("x")
        assert message(tmp_path / "missing") == "no such file"
        assert message(tmp_path / "file" / "below") == "no such file"
        assert message("") == "is empty: name a file, a folder or a URL"

    def test_names_that_cannot_be_say_so(self, tmp_path):
        impossible = "cannot be the name of a file: it holds a NUL or invalid Unicode"
        assert message("a\0b") == impossible
        assert message("a\ud800b") == impossible
        too_long = "the name is too long (a path has at most 4,095 bytes, each name 255)"
        assert message(tmp_path / ("n" * 256)) == too_long
        assert message("n/" * 3000) == too_long

    def test_a_folder_needs_r(self, tree):
        assert message(tree) == "is a folder: use -r to scan it"

    def test_broken_links_and_loops_say_so(self, tmp_path):
        (tmp_path / "broken").symlink_to("nowhere")
        (tmp_path / "one").symlink_to("two")
        (tmp_path / "two").symlink_to("one")
        assert message(tmp_path / "broken") == "is a symbolic link to 'nowhere', which is missing"
        assert message(tmp_path / "one") == "its symbolic links go in a circle"

    def test_devices_and_sockets_are_refused(self, tmp_path):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "socket"))
            assert message(tmp_path / "socket") == (
                "is a socket: only files, folders, FIFOs and - (standard input) are read"
            )
        assert message("/dev/null") == "is a device: only files, folders, FIFOs and - (standard input) are read"

    def test_one_bad_argument_does_not_stop_the_others(self, tmp_path):
        (tmp_path / "a").write_text("x")
        assert [type(item) for item in gathered(tmp_path / "no", tmp_path / "a", "/dev/null")] == [
            BadInput,
            FileInput,
            BadInput,
        ]

    def test_nothing_is_looked_at_before_its_turn(self, tmp_path):
        inputs = lazily(tmp_path / "a", tmp_path / "b")
        (tmp_path / "a").write_text("x")
        assert isinstance(next(inputs), FileInput)
        (tmp_path / "b").write_text("x")
        assert isinstance(next(inputs), FileInput)

    def test_inputs_are_values(self):
        assert FileInput("a", "b") == FileInput("a", "b")
        assert not hasattr(FileInput("a", "b"), "__dict__")
        with pytest.raises(AttributeError):
            FileInput("a", "b").name = "c"


class TestStreams:
    def test_a_dash_is_standard_input_once(self):
        stream, again = gathered("-", "-", stdin=b"content")
        assert isinstance(stream, StreamInput)
        assert stream.name == "-"
        assert stream.open().read() == b"content"
        assert again == BadInput("-", "standard input is read only once, and it was already")

    def test_a_dash_is_refused_when_standard_input_is_the_list(self, tmp_path):
        assert gathered("-", files_from="-", stdin=b"") == [
            BadInput("-", "standard input is read only once, and it was already")
        ]

    def test_a_fifo_is_a_stream_and_opened_only_when_it_is_asked_for(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        (stream,) = gathered(tmp_path / "fifo")
        assert isinstance(stream, StreamInput)
        assert stream.name == f"{tmp_path}/fifo"
        writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"through the pipe",))
        writer.start()
        with stream.open() as opened:
            assert opened.read() == b"through the pipe"
        writer.join()

    def test_a_pipe_by_its_descriptor_is_a_stream(self):
        reading, writing = os.pipe()
        os.write(writing, b"substituted")
        os.close(writing)
        try:
            (stream,) = gathered(f"/dev/fd/{reading}")
            with stream.open() as opened:
                assert opened.read() == b"substituted"
        finally:
            os.close(reading)


class TestUris:
    def test_data_uris_and_urls_are_not_looked_for_on_disk(self):
        assert gathered("data:,x", "DATA:text/plain;base64,eA==", "http://h/p?q", "HTTPS://h") == [
            TextInput("data:,x", "data:,x"),
            TextInput("DATA:text/plain;base64,eA==", "DATA:text/plain;base64,eA=="),
            RemoteInput("http://h/p?q", "http://h/p?q"),
            RemoteInput("HTTPS://h", "HTTPS://h"),
        ]

    def test_a_file_with_such_a_name_is_given_with_its_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("data:,x").write_text("x")
        Path("http:x").write_text("x")
        assert gathered("./data:,x", "http:x") == [FileInput("./data:,x", "./data:,x"), FileInput("http:x", "http:x")]

    def test_file_uris_are_paths_of_this_machine(self, tmp_path):
        path = tmp_path / os.fsdecode(b"a b\xff#?")
        path.write_text("x")
        uri = path.as_uri()
        assert "%FF" in uri
        assert gathered(uri, f"FILE://localhost{tmp_path}/no", f"file:{tmp_path}/no") == [
            FileInput(uri, str(path)),
            BadInput(f"FILE://localhost{tmp_path}/no", "no such file"),
            BadInput(f"file:{tmp_path}/no", "no such file"),
        ]
        assert message("file://server/share") == "is on another machine (server): only files of this one are read"
        assert message("file:a") == "has no absolute path: write file:///folder/name, or the path alone"
        assert message("file:///a%00b") == "cannot be the name of a file: it holds a NUL or invalid Unicode"

    def test_a_file_uri_of_a_folder_is_that_folder(self, tree):
        assert message(tree.as_uri()) == "is a folder: use -r to scan it"
        assert gathered(tree.as_uri(), recursive=True) == gathered(tree, recursive=True)
        assert counted(tree.as_uri(), recursive=True) == 7

    def test_other_schemes_are_refused(self):
        assert message("ftp://h/x") == "the scheme 'ftp' is not taken: use http, https, data or file"

    def test_with_kind_url_every_argument_is_a_url(self, tree):
        arguments = ["http://h", "ftp://h", "example.com", "data:text/uri-list,http://h", str(tree)]
        assert gathered(*arguments, kind="url", recursive=True) == [UrlInput(text, text) for text in arguments]
        assert message("-", kind="url") == "is no URL: use --files-from - to read URLs from standard input"
        assert message("", kind="url") == "is empty: name a file, a folder or a URL"
        assert gathered(kind="url", files_from="-", stdin=b"http://a\nhttp://b\n") == [
            UrlInput("http://a", "http://a"),
            UrlInput("http://b", "http://b"),
        ]

    def test_with_kind_bounty_every_argument_is_a_path(self, tmp_path):
        (tmp_path / "bounty.json").write_text("{}")
        path = f"{tmp_path}/bounty.json"
        assert gathered(path, kind="bounty") == [FileInput(path, path)]
        assert message("http://h/bounty.json", kind="bounty") == "no such file"
        assert [type(item) for item in gathered("-", kind="bounty")] == [StreamInput]


class TestFolders:
    def test_files_come_first_and_sorted_then_the_folders_in_them(self, tree):
        assert found(tree) == [
            ".hidden",
            "a.exe",
            "b.txt",
            "sub/c.txt",
            "sub/.git/config",
            "sub/deep/d.exe",
            "zeta/e.txt",
        ]

    def test_names_are_those_of_find(self, tree, monkeypatch):
        monkeypatch.chdir(tree.parent)
        assert gathered("tree/zeta", recursive=True) == [FileInput("tree/zeta/e.txt", "tree/zeta/e.txt")]
        assert gathered("tree/zeta/", recursive=True) == [FileInput("tree/zeta/e.txt", "tree/zeta/e.txt")]
        monkeypatch.chdir(tree / "zeta")
        assert gathered(".", recursive=True) == [FileInput("./e.txt", "./e.txt")]

    def test_links_to_files_are_followed_the_rest_is_counted(self, tree):
        (tree / "link").symlink_to("a.exe")
        (tree / "up").symlink_to(tree)
        (tree / "zeta" / "sub").symlink_to("../sub")
        (tree / "broken").symlink_to("nowhere")
        (tree / "through-a-file").symlink_to("a.exe/below")
        (tree / "circle").symlink_to("circle")
        (tree / "null").symlink_to("/dev/null")
        os.mkfifo(tree / "fifo")
        skipped = Skipped()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tree / "socket"))
            names = found(tree, skipped=skipped)
        assert names[:4] == [".hidden", "a.exe", "b.txt", "link"]
        assert len(names) == 8
        assert skipped == Skipped(symlinked_folders=2, broken_symlinks=3, special_files=3)
        assert str(skipped) == "2 symbolic links to folders, 3 broken symbolic links, 3 special files"
        assert str(Skipped(symlinked_folders=1, excluded=1234)) == "1 symbolic link to a folder, 1,234 excluded"
        assert str(Skipped()) == ""

    def test_a_link_to_a_folder_is_followed_when_it_is_named(self, tree):
        (tree / "up").symlink_to("zeta")
        assert gathered(tree / "up", recursive=True) == [FileInput(f"{tree}/up/e.txt", f"{tree}/up/e.txt")]

    def test_an_empty_folder_is_no_input(self, tmp_path):
        assert gathered(tmp_path, recursive=True) == []
        assert counted(tmp_path, recursive=True) == 0

    def test_include_and_exclude_choose_among_what_is_found(self, tree):
        skipped = Skipped()
        assert found(tree, include=["*.exe"], skipped=skipped) == ["a.exe", "sub/deep/d.exe"]
        assert skipped == Skipped(excluded=5)
        assert found(tree, include=["*.exe", "sub/*"]) == ["a.exe", "sub/c.txt", "sub/deep/d.exe"]
        assert found(tree, exclude=["*.exe", ".*"]) == ["b.txt", "sub/c.txt", "zeta/e.txt"]
        assert found(tree, include=["*.exe"], exclude=["sub/**"]) == ["a.exe"]
        assert found(tree, include=["**/deep/*"]) == ["sub/deep/d.exe"]

    def test_an_excluded_folder_is_not_entered(self, tree):
        skipped = Skipped()
        assert found(tree, exclude=["sub"], skipped=skipped) == [".hidden", "a.exe", "b.txt", "zeta/e.txt"]
        assert skipped == Skipped(excluded=1)
        assert found(tree, exclude=["/deep", "/sub/.git"])[3:] == ["sub/c.txt", "sub/deep/d.exe", "zeta/e.txt"]

    def test_what_was_named_is_taken_whatever_the_patterns_say(self, tree):
        named = gathered(
            tree / "b.txt", tree / "zeta", recursive=True, include=["*.exe", "e.*"], exclude=["b*", "zeta"]
        )
        assert [item.name for item in named] == [f"{tree}/b.txt", f"{tree}/zeta/e.txt"]

    def test_a_folder_that_vanishes_is_reported_and_the_others_go_on(self, tree):
        inputs = lazily(tree, recursive=True)
        first = list(itertools.islice(inputs, 3))
        shutil.rmtree(tree / "sub")
        assert len(first) == 3
        assert list(inputs) == [
            BadInput(f"{tree}/sub", "no such file"),
            FileInput(f"{tree}/zeta/e.txt", f"{tree}/zeta/e.txt"),
        ]

    def test_one_folder_is_listed_at_a_time(self, tree):
        listings = walk(str(tree), include=None, exclude=None, skipped=Skipped())
        next(listings)
        (tree / "sub" / "late.txt").write_text("x")
        assert next(listings).files == ["c.txt", "late.txt"]

    def test_memory_is_that_of_one_folder(self, tmp_path):
        for folder in range(40):
            (tmp_path / f"folder{folder}").mkdir()
            for file in range(50):
                (tmp_path / f"folder{folder}" / f"file{file}").touch()
        tracemalloc.start()
        try:
            total = sum(1 for _ in lazily(tmp_path, recursive=True))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == 2000
        assert peak < 100_000  # all the paths together would take four times that


class TestDeepTrees:
    @pytest.fixture
    def deep(self):
        """A folder to build deep trees in, removed by a tool that copes with them."""
        folder = tempfile.mkdtemp(dir="/tmp")
        yield folder
        subprocess.run(["rm", "-rf", folder], check=True)

    @staticmethod
    def dig(folder: str, name: str, levels: int, content: str) -> None:
        """Make a chain of folders with a file in each, beyond what a path can say."""
        descriptor = os.open(folder, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=descriptor)
            below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
            os.close(os.open(content, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)

    def test_a_tree_deeper_than_python_can_recurse_is_walked(self, deep):
        self.dig(deep, "d", 1900, "f")
        assert sys.getrecursionlimit() < 1900
        inputs = gathered(deep, recursive=True)
        assert len(inputs) == 1900
        assert inputs[-1].path == deep + "/d" * 1900 + "/f"
        assert counted(deep, recursive=True) == 1900

    def test_what_is_too_deep_for_a_path_is_reported(self, deep):
        self.dig(deep, "n" * 200, 40, "f")
        *files, bad = gathered(deep, recursive=True)
        assert all(isinstance(item, FileInput) and os.path.exists(item.path) for item in files)
        assert len(files) == (4095 - len(deep)) // 201
        assert bad.message == "the name is too long (a path has at most 4,095 bytes, each name 255)"
        assert len(bad.name) > 4095 - 201
        assert counted(deep, recursive=True) == len(files) + 1

    def test_a_file_whose_path_is_too_long_is_reported_and_its_neighbours_are_taken(self, deep):
        levels = (4090 - len(deep)) // 201
        self.dig(deep, "n" * 200, levels, "f")
        descriptor = os.open(deep + ("/" + "n" * 200) * levels, os.O_RDONLY)
        os.close(os.open("l" * 255, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)
        *_, file, bad = gathered(deep, recursive=True)
        assert isinstance(file, FileInput)
        assert file.path.endswith("/f")
        assert isinstance(bad, BadInput)
        assert bad.name.endswith("/" + "l" * 255)
        with pytest.raises(OSError, match="File name too long") as caught:
            os.close(os.open(bad.name, os.O_RDONLY))
        assert caught.value.errno == errno.ENAMETOOLONG


class TestPermissions:
    @pytest.fixture
    def public(self):
        """A folder that another user can reach, which pytest's own cannot."""
        folder = Path(tempfile.mkdtemp(dir="/tmp"))
        folder.chmod(0o755)
        yield folder
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(folder)

    @staticmethod
    def as_nobody(folder: Path) -> list[list[str]]:
        """The names and messages that a user without rights gets; the interpreter itself is root's alone, perhaps."""
        script = (
            "import io, json, os, sys\n"
            "from psengine_host.cli.inputs import gather\n"
            "if os.geteuid() == 0:\n"
            "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "inputs = gather(sys.argv[1:], kind='file', recursive=True, include=(), exclude=(), files_from=None,\n"
            "                stdin=io.BytesIO())\n"
            "print(json.dumps([[type(i).__name__, i.name, getattr(i, 'message', '')] for i in inputs]))\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", script, str(folder), str(folder / "closed"), str(folder / "closed" / "file")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(run.stdout)

    def test_a_folder_that_may_not_be_read_is_reported_and_the_others_go_on(self, public):
        (public / "closed").mkdir()
        (public / "closed" / "file").write_text("x")
        (public / "link").symlink_to("closed/file")
        (public / "open").write_text("x")
        (public / "closed").chmod(0)
        denied = "permission denied"
        assert self.as_nobody(public) == [
            ["FileInput", f"{public}/open", ""],
            ["BadInput", f"{public}/link", denied],
            ["BadInput", f"{public}/closed", denied],
            ["BadInput", f"{public}/closed", denied],
            ["BadInput", f"{public}/closed/file", denied],
        ]


class TestLists:
    def listed(self, tmp_path, content: bytes, **options) -> list[str]:
        path = tmp_path / "list"
        path.write_bytes(content)
        names = [item.name for item in gathered(files_from=path, kind="url", **options)]
        assert [item.name for item in gathered(files_from="-", kind="url", stdin=content, **options)] == names
        with piped(content) as stream:
            assert [item.name for item in gathered(files_from="-", kind="url", stdin=stream, **options)] == names
        assert counted(files_from=path, kind="url", **options) == len(names)
        return names

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", []),
            (b"\n\r\n\n", []),
            (b"a\nb", ["a", "b"]),
            (b"a\r\n\r\nb\r\n", ["a", "b"]),
            (b" a b \n", [" a b "]),
            (b"a\0b\0", ["a", "b"]),
            (b"a\nb\0\0c\r\n\0d", ["a\nb", "c\r\n", "d"]),
            (b"a\n" * 1000 + b"b\0c", ["a\n" * 1000 + "b", "c"]),
            (b"\xff\n\xc3\xa9\n", ["\udcff", "é"]),
            (b"x" * 70_000 + b"\ny\n", ["x" * 70_000, "y"]),
        ],
    )
    def test_entries_are_separated_by_nul_or_newline(self, tmp_path, content, expected):
        assert self.listed(tmp_path, content) == expected

    def test_a_nul_anywhere_in_a_file_counts(self, tmp_path):
        path = tmp_path / "list"
        path.write_bytes(b"a\n" * 50_000 + b"\0z")
        assert [item.name for item in gathered(files_from=path, kind="url")] == ["a\n" * 50_000, "z"]

    def test_a_nul_that_comes_late_in_a_pipe_spoils_only_its_entry(self):
        with piped(b"/\n" * 50_000 + b"\0z\n/dev/null\n") as stream:
            *_, spoilt, last = gathered(files_from="-", stdin=stream)
        assert spoilt == BadInput("\0z", "cannot be the name of a file: it holds a NUL or invalid Unicode")
        assert last.name == "/dev/null"

    def test_entries_follow_the_arguments_and_are_treated_alike(self, tree):
        path = tree.parent / "list"
        path.write_bytes(os.fsencode(tree / "zeta") + b"\ndata:,x\nmissing\n-\n")
        inputs = gathered(tree / "a.exe", files_from=path, recursive=True, stdin=b"piped")
        assert inputs[:-1] == [
            FileInput(f"{tree}/a.exe", f"{tree}/a.exe"),
            FileInput(f"{tree}/zeta/e.txt", f"{tree}/zeta/e.txt"),
            TextInput("data:,x", "data:,x"),
            BadInput("missing", "no such file"),
        ]
        assert inputs[-1].open().read() == b"piped"
        assert counted(tree / "a.exe", files_from=path, recursive=True) == 5

    def test_a_list_of_a_pipe_is_used_while_it_is_written(self):
        reading, writing = os.pipe()
        first_seen = threading.Event()
        in_time = []

        def write():
            with os.fdopen(writing, "wb") as stream:
                stream.write(b"http://host/path\n" * 6000)
                stream.flush()
                in_time.append(first_seen.wait(60))
                stream.write(b"http://last\n")

        writer = threading.Thread(target=write)
        writer.start()
        with os.fdopen(reading, "rb") as stream:
            inputs = lazily(files_from="-", kind="url", stdin=stream)
            first = next(inputs)
            first_seen.set()
            *_, last = inputs
        writer.join()
        assert (first.name, last.name, in_time) == ("http://host/path", "http://last", [True])

    def test_a_long_list_is_not_held_in_memory(self, tmp_path):
        path = tmp_path / "list"
        path.write_bytes(b"http://host/some/path\n" * 300_000)
        tracemalloc.start()
        try:
            total = sum(1 for _ in lazily(files_from=path, kind="url"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == 300_000
        assert peak < 1_000_000

    def test_a_list_by_process_substitution_is_read_once(self):
        reading, writing = os.pipe()
        os.write(writing, b"http://a\nhttp://b\n")
        os.close(writing)
        try:
            path = Path(f"/dev/fd/{reading}")
            assert counted(files_from=path, kind="url") is None
            assert [item.name for item in gathered(files_from=path, kind="url")] == ["http://a", "http://b"]
        finally:
            os.close(reading)

    @pytest.mark.parametrize(("name", "why"), [("missing", "No such file or directory"), (".", "Is a directory")])
    def test_a_list_that_cannot_be_read_is_refused_at_once(self, tmp_path, name, why):
        path = tmp_path / name
        with pytest.raises(InputListError) as caught:
            lazily("a", files_from=path)
        assert str(caught.value) == f"--files-from {path}: cannot be read ({why}): name a file with one input a line"
        assert isinstance(caught.value, UsageError)

    def test_something_that_is_no_list_is_refused_before_it_fills_the_memory(self, tmp_path):
        path = tmp_path / "video"
        with path.open("wb") as stream:
            stream.write(b"x" * (17 << 20))
        bad = BadInput(f"--files-from {path}", "entry 1 has more than 16 MiB: is it a list of files?")
        assert gathered(files_from=path) == [bad]

    @pytest.mark.parametrize("separator", [b"\n", b"\0"])
    def test_a_list_that_fails_is_a_bad_input_after_all_that_it_named_before(self, tmp_path, separator):
        path = tmp_path / "list"
        with path.open("wb") as stream:
            stream.write(separator.join([b"http://a", b"", b"http://b", b"x" * (17 << 20), b"http://c"]))
        items = gathered("http://0", files_from=path, kind="url")
        assert [item.name for item in items] == ["http://0", "http://a", "http://b", f"--files-from {path}"]
        assert items[-1] == BadInput(f"--files-from {path}", "entry 4 has more than 16 MiB: is it a list of files?")
        assert counted("http://0", files_from=path, kind="url") == len(items)

    def test_a_list_that_cannot_be_read_to_its_end_says_from_where(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # A connection that is reset: the kernel gives what came before, then ECONNRESET.
            theirs.sendall(b"http://a\n" * 8000 + b"http://cut-o")
            ours.sendall(b"never read")
            theirs.close()
            with ours.makefile("rb", buffering=0) as stream:
                *named, last = gathered(files_from="-", kind="url", stdin=stream)
        assert named == [UrlInput("http://a", "http://a")] * 8000
        why = os.strerror(errno.ECONNRESET)
        assert last == BadInput(
            "--files-from -", f"cannot be read from entry 8,001 on ({why}): name a file with one input a line"
        )

    def test_a_list_that_opens_and_cannot_be_read_is_a_bad_input(self):
        path = Path("/proc/self/mem")  # nothing is mapped at its beginning
        why = os.strerror(errno.EIO)
        bad = BadInput(f"--files-from {path}", f"cannot be read ({why}): name a file with one input a line")
        assert gathered("http://a", files_from=path, kind="url") == [UrlInput("http://a", "http://a"), bad]
        assert counted("http://a", files_from=path, kind="url") == 2


class TestCount:
    @pytest.mark.parametrize("recursive", [False, True])
    @pytest.mark.parametrize("patterns", [{}, {"include": ["*.exe"]}, {"exclude": ["sub", "*.txt"]}])
    def test_it_counts_what_gather_yields(self, tree, recursive, patterns):
        (tree / "broken").symlink_to("nowhere")
        (tree / "link").symlink_to("a.exe")
        os.mkfifo(tree / "fifo")
        arguments = [
            tree,
            tree / "a.exe",
            tree / "missing",
            "-",
            "data:,x",
            "http://h",
            "/dev/null",
            "a\0",
            tree / "fifo",
        ]
        options = {"recursive": recursive, **patterns}
        assert counted(*arguments, **options) == len(gathered(*arguments, **options)) > 8

    def test_urls_are_counted_without_a_look_at_the_disk(self, tree):
        assert counted(tree, tree, kind="url", recursive=True) == 2

    def test_standard_input_cannot_be_counted(self):
        assert counted("a", files_from="-") is None

    def test_it_can_be_stopped(self, tree):
        asked = []

        def stopped():
            asked.append(None)
            return len(asked) > 3

        assert counted(tree, recursive=True, stopped=stopped) is None
        assert len(asked) == 4

    def test_it_runs_beside_the_scan(self, tree):
        results = []
        thread = threading.Thread(target=lambda: results.append(counted(tree, recursive=True)))
        thread.start()
        assert len(gathered(tree, recursive=True)) == 7
        thread.join()
        assert results == [7]


@contextlib.contextmanager
def piped(content: bytes):
    """The reading end of a real pipe that holds the content."""
    reading, writing = os.pipe()

    def write():
        with os.fdopen(writing, "wb") as stream:
            stream.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as stream:
        yield stream
        writer.join()


def test_a_link_that_nobody_wants_by_its_name_is_not_followed(tmp_path):
    (tmp_path / "real.txt").write_text("x")
    (tmp_path / "gone.bin").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.bin").symlink_to(tmp_path / "real.txt")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    skipped = Skipped()
    found = gather(
        [str(tmp_path)], kind="file", recursive=True, include=["*.txt"], exclude=[], files_from=None,
        stdin=io.BytesIO(), skipped=skipped,
    )  # fmt: skip
    assert [os.path.basename(item.name) for item in found] == ["link.txt", "real.txt"]
    assert (skipped.excluded, skipped.broken_symlinks) == (2, 0)
