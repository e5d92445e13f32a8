"""Rows of worker processes are those of one process: the same inputs, engines of all sorts, both ways."""

import json
import os
import re
import shutil
import socket
import sys
import zipfile

import pytest

from psengine_host.samples import eicar

ANSWERS = '''
    import os
    from psengine_host import Analysis, EngineError, hookimpl

    class Odd:
        def __repr__(self):
            raise ValueError("odd")

    class Unspeakable(Exception):
        def __str__(self):
            raise ValueError("no words")

    class Down(EngineError):
        """One of the engine's own."""

    def deep():
        return deep()

    def raising(error):
        def fail():
            raise error
        return fail

    ANSWERS = [
        lambda: Analysis.malicious("Fam", confidence=1.0),
        lambda: Analysis.malicious("Fam\\n\\x1b[2J", confidence=0.3),
        lambda: Analysis.malicious("Fam\\udc80"),
        lambda: Analysis.malicious("x" * 5_000),
        lambda: Analysis.malicious(bid=5 * 10**17),
        lambda: Analysis.malicious(bid=10**30),
        lambda: Analysis.malicious(bid=0),
        lambda: Analysis.malicious(bid=-1),
        lambda: Analysis.benign(bid=1),
        lambda: Analysis.benign(confidence=2.0),
        lambda: Analysis.benign(confidence=float("nan")),
        lambda: Analysis.suspicious("F", comments=["a", "b"], heuristic=True),
        lambda: Analysis.unknown("why"),
        lambda: Analysis.skipped("s"),
        lambda: Analysis.unsupported("s"),
        lambda: Analysis.encrypted(),
        lambda: Analysis.unsafe_decompression("z"),
        lambda: Analysis.cannot_fetch("c"),
        lambda: Analysis.expired("c"),
        lambda: Analysis.engine_error("c"),
        lambda: Analysis.unknown(*["c"] * 3_000),
        lambda: {"verdict": "malicious"},
        lambda: {"verdict": "benign", "bid": 5},
        lambda: {"verdict": "nonsense"},
        lambda: {"verdict": Odd()},
        lambda: {"verdict": "malicious", "bid": 2**70},
        lambda: {"verdict": "malicious", "bid": "7" * 20},
        lambda: {"verdict": "malicious", "confidence": 10**400},
        lambda: {"verdict": "benign", "extra": {"a": b"bytes"}},
        lambda: {"verdict": "malicious", "metadata": {"malware_family": "W", "x": [1, {"y": None}], "comments": ["q"]}},
        lambda: {"verdict": "malicious", "metadata": {"product": "Mine", "scanner": {"version": "9"}}},
        lambda: {}, lambda: {1: 2}, lambda: None, lambda: 5, lambda: True, lambda: "malicious", lambda: [1],
        lambda: Odd(), lambda: Analysis, lambda: iter([]),
        deep, lambda: 1 / 0,
        *map(raising, [
            EngineError("down"), Down("down\\nsecond"), Unspeakable(), SystemExit(3), MemoryError(), GeneratorExit(),
            OSError(2, "nope", "file"), ExceptionGroup("g", [ValueError(1)]), ValueError("\\udc80 x" * 400),
            StopIteration(1), KeyError("k"),
        ]),
    ]

    @hookimpl
    def analyze(artifact):
        return ANSWERS[artifact.size % len(ANSWERS)]()
'''
"""An engine that answers all there is, by the size of the artifact."""

KEYBOARD = """
    from psengine_host import hookimpl

    @hookimpl
    def analyze(artifact):
        raise KeyboardInterrupt
"""
TYPES = """
    from psengine_host import Analysis, EngineInfo, hookimpl

    @hookimpl
    def info():
        return EngineInfo(mimetypes={"text/*", "application/zip"}, max_artifact_size=4_000)

    @hookimpl
    def analyze(artifact, bounty):
        return Analysis.unknown(artifact.mimetype, str(bounty.mimetype))
"""
LIMITED = """
    from psengine_host import Analysis, EngineInfo, hookimpl

    @hookimpl
    def info():
        return EngineInfo(
            product="Limited", vendor="V", engine_version="2", signatures_version="7", max_artifact_size=40,
            artifact_types=ARTIFACT_TYPES,
        )

    @hookimpl
    def analyze(artifact):
        return Analysis.malicious("L", confidence=0.7)
"""
CHANGING = """
    import os
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact):
        with open(artifact.path, "ab") as file:
            file.write(b"more")
        return Analysis.benign()
"""
NOT_INFO = """
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def info():
        return 5

    @hookimpl
    def analyze(artifact):
        return Analysis.benign()
"""


@pytest.fixture
def alike(psengine, engine_site):
    """Has the same judged both ways, and checks that the rows and the exit codes are the same; returns the rows."""

    def check(engine, source, *arguments, again=lambda: None, **options):
        engine_site.add(engine, source)
        options["env"] = {"PSENGINE_WORKERS_PATIENCE": "100ms"} | options.get("env", {})
        here = psengine("analyze", "--backend", "local", *arguments, **options)
        for jobs in (["-j", "2"], ["-j", "1", "--unordered", "--identify"]):
            again()
            there = psengine("analyze", *jobs, *arguments, **options)
            assert there.code == here.code
            rows = [[_comparable(row) for row in ended.rows] for ended in (here, there)]
            if "--unordered" in jobs:
                for each in rows:
                    each.sort(key=lambda row: row["artifact"])
            assert rows[1] == rows[0]
        return here.rows

    return check


@pytest.fixture
def of_all_kinds(work):
    """Files of many types, and what only looks like one."""
    for size in range(60):
        (work / f"size{size:02}").write_bytes(b"x" * size)
    (work / "text").write_text("hello\n" * 100)
    (work / "long").write_text("hello\n" * 1_000)
    (work / "eicar").write_bytes(eicar())
    (work / "bytes").write_bytes(bytes(range(256)))
    shutil.copy(sys.executable, work / "elf")
    with zipfile.ZipFile(work / "zip", "w") as archive:
        archive.writestr("a", "b")
    (work / "folder").mkdir()
    for name, target in (("dangling", "gone"), ("link", "text"), ("loop", "loop")):
        (work / name).symlink_to(target)
    for name in (b"\xff\nname", b"new\nline", b"quote'\x1b[31m"):
        with open(os.path.join(os.fsencode(work), name), "wb") as file:
            file.write(b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        there = os.getcwd()
        os.chdir(work)  # the address of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(there)
    return [*sorted(os.listdir(os.fsencode(work))), b"gone", b"", b"elf/x", b"n" * 300]


@pytest.mark.parametrize(
    ("engine", "source"),
    [
        ("answers", ANSWERS),
        ("keyboard", KEYBOARD),
        ("types", TYPES),
        ("limited", LIMITED.replace("ARTIFACT_TYPES", "{'file', 'url'}")),
        ("urls", LIMITED.replace("ARTIFACT_TYPES", "{'url'}")),
        ("not-info", NOT_INFO),
        ("no-hook", "x = 1\n"),
        ("broken", "import no_such_module\n"),
    ],
)  # fmt: skip
def test_files(alike, of_all_kinds, engine, source):
    rows = alike(engine, source, *of_all_kinds)
    assert len(rows) == len(of_all_kinds)


@pytest.mark.parametrize(("engine", "source"), [("answers", ANSWERS), ("types", TYPES)])
def test_uris_and_standard_input(alike, engine, source):
    uris = [
        "data:,text", "data:text/html;base64,PGh0bWw+", "data:;base64,!!", "ftp://x/y", "file:///etc/passwd",
        "file://other/x", "http://127.0.0.1:1/x", "http://", "-",
    ]  # fmt: skip
    assert [row["artifact"] for row in alike(engine, source, *uris, stdin=b"text\n")] == uris


def test_urls(alike):
    urls = ["http://example.test/x", "no url", "http://[::1", "data:,x", "-"]
    rows = alike("urls", LIMITED.replace("ARTIFACT_TYPES", "{'url'}"), "-t", "url", *urls)
    assert [row["artifact"] for row in rows] == urls
    assert rows[0]["analysis"]["verdict"] == "malicious"


@pytest.mark.parametrize("options", [[], ["--deliver"]], ids=" ".join)
def test_bounties(psengine, engine_site, alike, work, options):
    (work / "text").write_text("hello")
    engine_site.add("any")
    bounty = json.loads(psengine("create-bounty", "text").out)
    (work / "stream.json").write_text(psengine("create-bounty", "-", stdin=b"hi").out)
    engine_site.engines.remove("any")
    changes = {
        "same": {},
        "other-content": {"sha256": "0" * 64},
        "vote": {"phase": "vote"},
        "arbitration": {"phase": "arbitration"},
        "gone": {"artifact_uri": "file:///no-such-file"},
        "narrow": {"rules": {"min_allowed_bid": 7, "max_allowed_bid": 9}},
        "crossed": {"rules": {"min_allowed_bid": 9, "max_allowed_bid": 7}},
        "url": {"artifact_type": "url", "artifact_uri": "http://example.test/x"},
        "nowhere": {"response_url": "http://127.0.0.1:1/"},
    }
    for name, change in changes.items():
        (work / f"{name}.json").write_text(json.dumps(bounty | change))
    (work / "nonsense.json").write_text("nonsense")
    (work / "list.json").write_text("[]")
    (work / "bytes.json").write_bytes(b"\xff\xfe")
    names = [*sorted(path.name for path in work.glob("*.json")), "missing.json", "text"]
    source = LIMITED.replace("ARTIFACT_TYPES", "{'file'}")
    rows = alike("limited", source, "-t", "bounty", *options, *names, env={"PSENGINE_NETWORK_ALLOW": "127.0.0.1"})
    assert [row["artifact"] for row in rows] == names
    assert len({row["error"] and row["error"]["kind"] for row in rows}) > 2


def test_files_that_the_engine_changes(alike, work):
    def write():
        for name in "ab":
            (work / name).write_bytes(b"x")

    write()
    rows = alike("changing", CHANGING, "a", "b", again=write)
    assert {row["error"]["kind"] for row in rows} == {"fetch"}


def _comparable(row):
    text = re.sub(r"at 0x[0-9a-f]+", "at ADDRESS", json.dumps(row))
    row = json.loads(text)
    row.pop("seconds")
    if row["engine"] == "keyboard":  # in one process the row is made by whoever heard of it, who knows no versions
        row["analysis"]["metadata"] = {"comments": row["analysis"]["metadata"]["comments"]}
    if row["bounty"] is not None:
        for key in ("expiration", "duration", "mimetype"):
            row["bounty"].pop(key, None)
        if row["bounty"]["artifact_uri"].startswith("data:"):
            row["bounty"].pop("artifact_uri")  # it names the type
    return row
