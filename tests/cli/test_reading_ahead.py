"""Files are read before their turn, within limits, and the rows are the same."""

import hashlib
import io
import itertools
import threading
from pathlib import Path

import pytest

from psengine_host.artifacts import Artifact
from psengine_host.cli.inputs import BadInput, FileInput, StreamInput, TextInput, gather
from psengine_host.cli.reading_ahead import (
    AT_FIRST,
    GROUP,
    GROUP_BYTES,
    GROUPS,
    Turn,
    _Group,
    _help,
    _Reader,
    read_ahead,
)
from psengine_host.cli.scan import Scan
from psengine_host.host import Host
from psengine_host.settings import Settings

MOST = AT_FIRST + GROUP * GROUPS + 1
"""Inputs that are taken at most before the first of those that are read ahead is given away."""


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("psengine-read")]


@pytest.fixture
def files(tmp_path: Path) -> list[FileInput]:
    """Two hundred files, each with its own number in it."""
    folder = tmp_path / "files"
    folder.mkdir()
    paths = [folder / f"{number:03}" for number in range(200)]
    for number, path in enumerate(paths):
        path.write_text(f"file {number}\n")
    return [FileInput(path.name, str(path)) for path in paths]


def turns(items) -> list[Turn]:
    return [Turn(item, ("any",)) for item in items]


def test_the_order_is_kept_and_files_are_there_before_their_turn(files):
    given = turns(files)
    for number, turn in enumerate(read_ahead(given)):
        assert turn is given[number]
        if number < AT_FIRST:
            assert turn.artifact is None
            continue
        Path(turn.item.path).unlink()  # what is known of it is known already
        assert turn.artifact.read_bytes() == f"file {number}\n".encode()
        assert turn.artifact.mimetype == "text/plain"
        assert turn.artifact.name == turn.item.name
        assert turn.seconds > 0
    assert number == len(files) - 1


def test_a_few_files_start_no_thread(files):
    before = readers()
    assert [turn.item for turn in read_ahead(turns(files[:AT_FIRST]))] == files[:AT_FIRST]
    assert readers() == before


def test_no_more_inputs_are_taken_than_the_limit_says(files):
    taken = itertools.count()
    last = -1

    def counted():
        nonlocal last
        for turn in turns(files):
            last = next(taken)
            yield turn

    ahead = read_ahead(counted())
    for number in range(AT_FIRST):
        next(ahead)
        assert last == number
    next(ahead)
    assert last + 1 <= MOST
    ahead.close()
    assert last + 1 <= MOST


def test_what_is_kept_is_bounded(tmp_path):
    paths = [tmp_path / str(number) for number in range(AT_FIRST + GROUP * GROUPS)]
    for path in paths:
        path.write_bytes(b"x" * (1 << 18))
    ahead = read_ahead(turns(FileInput(path.name, str(path)) for path in paths))
    for _ in range(AT_FIRST):
        next(ahead)
    group = [next(ahead) for _ in range(GROUP)]
    read = [turn for turn in group if turn.artifact is not None]
    assert read == group[: GROUP_BYTES >> 18]


def test_a_stream_is_not_opened_before_its_turn(files):
    opened = []

    def stream() -> io.BytesIO:
        opened.append(True)
        return io.BytesIO(b"streamed")

    items = [*files[:20], StreamInput("-", stream), *files[20:40]]
    for turn in read_ahead(turns(items)):
        assert not opened
        if isinstance(turn.item, StreamInput):
            assert turn.artifact is None


def test_a_file_that_cannot_be_read_disturbs_no_other(files, tmp_path):
    missing, folder = FileInput("missing", str(tmp_path / "missing")), FileInput("folder", str(tmp_path))
    strange = FileInput("strange", "a\0name")
    items = [*files[:10], missing, folder, strange, *files[10:20]]
    read = {turn.item.name: turn.artifact for turn in read_ahead(turns(items))}
    assert read["missing"] is read["folder"] is read["strange"] is None
    assert all(read[file.name] is not None for file in files[10:20])


def test_who_would_have_to_wait_reads_the_last_group_that_nobody_reads_yet(files):
    begun, first, last = (turns(files[start : start + 5]) for start in (0, 5, 10))
    groups = [_Group(begun), _Group(first), _Group(last)]
    assert groups[0].claim()
    reader = _Reader()
    reader.stop()  # it reads nothing here
    reader.stopped.clear()
    _help(groups, reader)
    assert [group.read.is_set() for group in groups] == [False, False, True]
    assert [turn.artifact is not None for turn in (*begun, *first, *last)] == [False] * 10 + [True] * 5


def test_stopping_waits_for_no_file_and_reads_none_after_it(files, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    read = []
    of_file = Artifact.from_path

    def slow(path, **options):
        read.append(path)
        begun.set()
        assert go_on.wait(60)
        return of_file(path, **options)

    monkeypatch.setattr(Artifact, "from_path", slow)
    before = readers()
    reader = _Reader()
    (thread,) = (thread for thread in readers() if thread not in before)
    assert thread.daemon  # so the end of the program does not wait for it
    reader.put(_Group(turns(files[:GROUP])))
    reader.put(_Group(turns(files[GROUP : 2 * GROUP])))
    assert begun.wait(30)
    reader.stop()  # returns although a file is being read
    go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    assert read == [files[0].path]


def test_a_list_that_fails_loses_nothing_that_it_named_before(engine_site, files, tmp_path):
    engine_site.add(
        "calm", "from psengine_host import Analysis, hookimpl\n@hookimpl\ndef analyze(): return Analysis.benign()"
    )
    names = tmp_path / "list"
    with names.open("w") as out:
        out.writelines(f"{file.path}\n" for file in files[:40])
        out.write("x" * (17 << 20))
    inputs = gather([], kind="file", recursive=False, include=[], exclude=[], files_from=names, stdin=io.BytesIO())
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        rows = list(Scan(host, ["calm"], ahead=True).rows(inputs))
    assert [row.error for row in rows[:-1]] == [None] * 40
    assert rows[-1].error == (
        "fetch",
        f"--files-from {names}: entry 41 has more than 16 MiB: is it a list of files?",
    )


@pytest.mark.parametrize("size", [100, 2 << 20])
def test_a_file_that_changes_before_its_turn_is_read_anew(engine_site, files, tmp_path, size):
    engine_site.add(
        "looking",
        """
        from psengine_host import Analysis, hookimpl

        @hookimpl
        def analyze(artifact, bounty):
            return Analysis.benign(comments=[artifact.path.read_bytes()[:4].hex(), bounty.mimetype])
        """,
    )
    victim = Path(files[30].path)
    victim.write_bytes(b"text" * (size // 4))
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        rows = Scan(host, ["looking"], ahead=True).rows(iter(files[:40]))
        found = [next(rows) for _ in range(AT_FIRST + 1)]  # by now the victim has been read, or is about to be
        for thread in readers():
            thread.join(0.5)
        victim.write_bytes(b"%PDF-1.7\n" + b"%" * size)
        found += list(rows)
    row = found[30]
    assert row.error is None
    assert row.analysis.comments == (b"%PDF".hex(), "application/pdf")
    assert row.bounty.sha256 == hashlib.sha256(victim.read_bytes()).hexdigest()


def test_closing_ends_the_threads(files):
    ahead = read_ahead(turns(files))
    for _ in range(AT_FIRST + 1):
        next(ahead)
    working = readers()
    assert working
    ahead.close()
    for thread in working:
        thread.join(30)
        assert not thread.is_alive()


def test_a_scan_that_reads_ahead_gives_the_same_rows(engine_site, files, tmp_path):
    engine_site.add(
        "by-content",
        """
        from psengine_host import Analysis, hookimpl

        @hookimpl
        def analyze(artifact, bounty):
            content = artifact.read_bytes()
            if b"7" in content:
                return Analysis.malicious(bounty.mimetype)
            return Analysis.benign(comments=[artifact.sha256])
        """,
    )
    large = tmp_path / "large"
    large.write_bytes(b"\x7fELF" + b"7" * (3 << 20))
    (tmp_path / "empty").touch()
    items = [
        *files[:30],
        FileInput("large", str(large)),
        FileInput("empty", str(tmp_path / "empty")),
        FileInput("missing", str(tmp_path / "missing")),
        BadInput("bad", "cannot be"),
        TextInput("data:,7", "data:,7"),
        *files[30:],
    ]

    def rows(*, ahead: bool) -> list[dict]:
        with Host(catalog=engine_site.catalog()) as host:
            told = [row.to_wire() for row in Scan(host, ["by-content"], ahead=ahead).rows(items)]
        for row in told:
            assert row.pop("seconds") >= 0
            if row["bounty"] is not None:
                del row["bounty"]["expiration"]
        return told

    expected = rows(ahead=False)
    assert [row["artifact"] for row in expected] == [item.name for item in items]
    assert {row["analysis"]["verdict"] for row in expected} == {"malicious", "benign", "unknown"}
    assert rows(ahead=True) == expected
