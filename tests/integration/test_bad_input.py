"""Bad input and bad engines: each has its message, and none stops the others."""

import ctypes
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from psengine_host import samples

_cli = importlib.util.spec_from_file_location("cli_fixtures", Path(__file__).parents[1] / "cli" / "conftest.py")
_fixtures = importlib.util.module_from_spec(_cli)
_cli.loader.exec_module(_fixtures)
work, judge, psengine, Ended = _fixtures.work, _fixtures.judge, _fixtures.psengine, _fixtures.Ended

EICAR_ENGINE = Path(__file__).parents[2] / "plugins" / "psengine-eicar" / "psengine_eicar" / "__init__.py"
MEGABYTE = 1 << 20


def answered(psengine, *artifacts: str | bytes, options: tuple[str, ...] = ()) -> list[dict]:
    """The rows of artifacts, between two good ones that are judged all the same."""
    (psengine.work / "good1").write_text("fine")
    (psengine.work / "good2").write_text("MALICIOUS")
    ended = psengine("analyze", *options, "good1", *artifacts, "good2")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    first, *rows, last = ended.rows
    assert (first["artifact"], first["analysis"]["verdict"], first["error"]) == ("good1", "benign", None)
    assert (last["artifact"], last["analysis"]["verdict"], last["error"]) == ("good2", "malicious", None)
    return rows


def messages(rows: list[dict]) -> list[str]:
    for row in rows:
        assert row["error"]["kind"] == "fetch"
        assert row["analysis"]["verdict"] == "unknown"
        assert row["analysis"]["bid"] == 0
        assert row["analysis"]["metadata"]["comments"][0] == "SKIPPED:CANNOT-FETCH"
    return [row["error"]["message"] for row in rows]


class TestPaths:
    def test_what_cannot_be_read_is_said_and_the_others_are_judged(self, psengine, judge, work):
        (work / "folder").mkdir()
        (work / "loop1").symlink_to("loop2")
        (work / "loop2").symlink_to("loop1")
        (work / "dangling").symlink_to("nowhere")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.relpath(work / "socket"))
        listener.close()
        kinds = "only files, folders, FIFOs and - (standard input) are read"
        too_long = "the name is too long (a path has at most 4,095 bytes, each name 255)"
        rows = answered(
            psengine, "missing", "folder", "loop1", "dangling", "socket", "/dev/null", "/dev/zero", "x" * 256, "",
            "new\nline", "data:nonsense", "data:;base64,%%%", "gopher://x/", "file://elsewhere/x", "file:relative",
        )  # fmt: skip
        assert messages(rows) == [
            "missing: no such file",
            "folder: is a folder: use -r to scan it",
            "loop1: its symbolic links go in a circle",
            "dangling: is a symbolic link to 'nowhere', which is missing",
            f"socket: is a socket: {kinds}",
            f"/dev/null: is a device: {kinds}",
            f"/dev/zero: is a device: {kinds}",
            f"{'x' * 256}: {too_long}",
            "'': is empty: name a file, a folder or a URL",
            r"new\nline: no such file",
            "data:nonsense: is no data: URI: a comma must stand before the data",
            "data:;base64,%%%: malformed data: URI: a % without two hexadecimal digits",
            "gopher://x/: the scheme 'gopher' is not taken: use http, https, data or file",
            "file://elsewhere/x: is on another machine (elsewhere): only files of this one are read",
            "file:relative: has no absolute path: write file:///folder/name, or the path alone",
        ]

    def test_any_name_that_a_file_can_have(self, psengine, judge, work):
        names = [b"new\nline", b"caf\xe9", b"\x1b[2J", b"x" * 255, b"-dash", b" ", b"a:b", "ü€😀".encode()]
        for name in names:
            (work / os.fsdecode(name)).write_text("SUSPICIOUS")
        rows = answered(psengine, *(b"./" + name for name in names))
        assert [os.fsencode(row["artifact"]) for row in rows] == [b"./" + name for name in names]
        assert {row["analysis"]["verdict"] for row in rows} == {"suspicious"}
        assert rows[1]["bounty"]["artifact_uri"].endswith("/caf%E9")
        table = psengine("analyze", "--format", "table", "-v", *(b"./" + name for name in names))
        for output in (table.out, table.err):
            assert "\x1b" not in output
            assert r"./new\nline" in output
            assert r"./caf\xe9" in output

    def test_an_empty_file_is_a_file(self, psengine, judge, work):
        (work / "empty").touch()
        (row,) = answered(psengine, "empty")
        assert (row["analysis"]["verdict"], row["error"]) == ("benign", None)
        assert row["bounty"]["sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    def test_an_unreadable_file_and_folder_as_an_unprivileged_user(self, psengine, engine_site):
        # Root may read anything, so the engine gives that up; from then on the whole run is unprivileged: it is in the
        # host's own process.
        engine_site.add(
            "humble",
            """
            import os
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup():
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
            @hookimpl
            def analyze():
                return Analysis.benign()
            """,
        )
        with tempfile.TemporaryDirectory() as folder:  # tmp_path lies where an unprivileged user cannot go
            place = Path(folder)
            place.chmod(0o755)
            (place / "secret").write_text("x")
            (place / "secret").chmod(0)
            (place / "open").write_text("x")
            (place / "closed").mkdir()
            (place / "closed").chmod(0)
            names = [str(place / name) for name in ("secret", "closed", "open")]
            ended = psengine("analyze", "--backend", "local", "-r", "data:,first", *names)
            (place / "closed").chmod(0o700)
        assert (ended.code, ended.err) == (3, "")
        _, secret, closed, readable = ended.rows
        assert messages([secret, closed]) == [f"{names[0]}: permission denied", f"{names[1]}: permission denied"]
        assert readable["analysis"]["verdict"] == "benign"


def _without_the_powers_of_root():
    """Root may read anything: drop that (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) before the program starts."""
    prctl, drop_from_bounding_set = ctypes.CDLL(None).prctl, 24
    for capability in (1, 2):
        prctl(drop_from_bounding_set, capability, 0, 0, 0)  # fails for another user, who has no such powers


def test_unreadable_arguments_stop_no_other(engine_site, work):
    engine_site.add("calm")
    for name in ("secret", "open"):
        (work / name).write_text("x")
    (work / "secret").chmod(0)
    (work / "closed").mkdir(mode=0)
    run = subprocess.run(
        [sys.executable, "-m", "psengine_host", "analyze", "-e", "calm", "-r", "secret", "closed", "open"],
        cwd=work, env=engine_site.env(), capture_output=True, text=True, timeout=60,
        preexec_fn=_without_the_powers_of_root,
    )  # fmt: skip
    (work / "closed").chmod(0o700)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(row["artifact"], row["error"] and row["error"]["message"]) for row in rows] == [
        ("secret", "secret: permission denied"),
        ("closed", "closed: permission denied"),
        ("open", None),
    ]
    assert (run.returncode, run.stderr) == (3, "")


class TestFilesThatChange:
    @pytest.mark.parametrize("size", [100, 3 * MEGABYTE])
    @pytest.mark.parametrize(
        ("deed", "message"),
        [
            ("os.unlink(path)", "no such file or directory"),
            ("os.truncate(path, 10)", "changed while it was read; scan it again"),
            ("open(path, 'ab').write(b'more')", "changed while it was read; scan it again"),
        ],
    )
    def test_a_file_that_vanishes_or_changes_under_the_engine(self, psengine, engine_site, work, size, deed, message):
        engine_site.add(
            "vandal",
            f"""
            import os
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact):
                path = artifact.path
                if path.name == "victim":
                    {deed}
                    return Analysis.benign()
                return Analysis.malicious("Test") if path.name == "good2" else Analysis.benign()
            """,
        )
        (work / "victim").write_bytes(bytes(size))
        (row,) = answered(psengine, "victim")
        assert messages([row]) == [f"victim: {message}"]

    @pytest.mark.parametrize("options", [["--backend", "local"], ["-j", "1"]], ids=" ".join)
    def test_a_file_that_vanished_before_its_turn(self, psengine, engine_site, work, options):
        engine_site.add(
            "early",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact):
                if artifact.name == "tree/a":
                    artifact.path.with_name("b").unlink()
                return Analysis.benign()
            """,
        )
        (work / "tree").mkdir()
        for name in "abc":
            (work / "tree" / name).write_text(name)
        ended = psengine("analyze", *options, "-r", "tree")
        assert (ended.code, [row["error"] and row["error"]["message"] for row in ended.rows]) == (
            3,
            [None, "tree/b: no such file or directory", None],
        )


RUN_AND_MEASURE = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "psengine_host", *sys.argv[1:]], stdout=sys.stderr).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.timeout(300)
def test_a_sparse_file_of_5_gb_takes_at_most_30_mb_more_than_a_small_one(psengine, engine_site, work):
    engine_site.add("streams", EICAR_ENGINE.read_text())
    eicar = samples.eicar()
    (work / "small").write_bytes(eicar)
    with open(work / "large", "wb") as large:
        large.truncate(5 << 30)
        large.seek((5 << 30) - len(eicar))
        large.write(eicar)
    peaks = {}
    for name in ("small", "large"):
        process = psengine.start("analyze", name, command=[sys.executable, "-c", RUN_AND_MEASURE])
        out, err = process.communicate(timeout=280)
        code, kilobytes = map(int, out.split())
        row = json.loads(err)
        assert (code, row["analysis"]["verdict"], row["error"]) == (1, "malicious", None)
        peaks[name] = kilobytes
    assert peaks["large"] - peaks["small"] <= 30 * 1024


def engine_of(body: str) -> str:
    """An engine that is good to ``good1`` and ``good2``, and does what is asked to the others."""
    return f"""
from psengine_host import Analysis, hookimpl

@hookimpl
def analyze(artifact, bounty):
    if artifact.name == "good1":
        return Analysis.benign()
    if artifact.name == "good2":
        return Analysis.malicious("Test")
    {body}
"""


class TestBadEngines:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("raise ValueError('no such\\nluck')", "ValueError: no such luck"),
            ("return None", "analysis: must be an Analysis or a mapping in wire form (does analyze return?), got None"),
            ("return 'malicious'", "analysis: must be an Analysis or a mapping in wire form, got 'malicious'"),
            ("return Analysis.benign(confidence=float('nan'))", "confidence: "),
            ("return {'verdict': 'benign', 'confidence': float('nan')}", "confidence: "),
            ("return {'verdict': 'evil'}", "verdict: "),
            ("return {'verdict': 'benign', 'bid': True}", "bid: "),
            ("return {'verdict': 'malicious', 'bid': bounty.rules.max_allowed_bid + 1}",
             "bid: must be at most the bounty's maximum 999900000000000000, got 999900000000000001"),
            ("return {'verdict': 'malicious', 'bid': 1}",
             "bid: must be at least the bounty's minimum 62500000000000000, got 1"),
            ("raise SystemExit(0)", "called sys.exit(0)"),
            ("import sys; sys.exit('bye')", "called sys.exit('bye')"),
            ("raise BaseException('base')", "BaseException: base"),
            ("return (lambda f: f(f))(lambda f: f(f))", "RecursionError: maximum recursion depth exceeded"),
        ],
    )  # fmt: skip
    def test_whatever_it_does_it_answers_unknown_and_goes_on(self, psengine, engine_site, work, body, message):
        engine_site.add("bad", engine_of(body))
        (work / "x").write_text("x")
        (row,) = answered(psengine, "x")
        assert row["error"]["kind"] == "engine"
        assert row["error"]["message"].startswith(message)
        assert row["analysis"]["verdict"] == "unknown"
        assert row["analysis"]["bid"] == 0
        assert row["analysis"]["metadata"]["comments"] == ["ERROR:ENGINE", row["error"]["message"]]

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("raise SystemExit(3)", "called sys.exit(3) when it was imported"),
            ("import sys; sys.exit()", "called sys.exit() when it was imported"),
            ("import nothing_like_that", "ModuleNotFoundError: No module named 'nothing_like_that'"),
            ("def analyze(:", "SyntaxError: "),
            ("def analyze(artifact): return None", "analyze is not marked as a hook; put @hookimpl before it"),
        ],
    )
    def test_one_that_cannot_be_imported_disturbs_no_other(self, psengine, engine_site, judge, source, reason):
        engine_site.add("bad", source)
        ended = psengine("analyze", "-e", "bad", "-e", "judge", "data:,x")
        assert ended.code == 3
        bad, good = ended.rows
        assert bad["error"]["kind"] == "unavailable"
        assert bad["error"]["message"].startswith(f"engine bad (psengine-test-bad 1.0) is broken: {reason}")
        assert (good["analysis"]["verdict"], good["error"]) == ("benign", None)

    def test_one_whose_setup_fails_is_unavailable(self, psengine, engine_site, judge):
        engine_site.add(
            "ill",
            """
            from psengine_host import Analysis, EngineError, hookimpl
            @hookimpl
            def setup():
                raise EngineError("no licence")
            @hookimpl
            def analyze():
                return Analysis.benign()
            """,
        )
        ill, good = psengine("analyze", "-e", "ill", "-e", "judge", "data:,x").rows
        assert ill["error"] == {"kind": "unavailable", "message": "engine ill: setup: no licence"}
        assert good["error"] is None

    def test_whatever_it_prints_standard_output_is_rows_alone(self, psengine, engine_site, work):
        engine_site.add(
            "loud",
            """
            import atexit, ctypes, os, subprocess, sys, threading
            libc = ctypes.CDLL(None)
            def shout(when):
                print("print", when)
                sys.__stdout__.write(f"original {when}\\n")
                os.write(1, f"write {when}\\n".encode())
                libc.printf(f"printf {when}\\n".encode())
                subprocess.run(["echo", "child", when])
            shout("import")
            atexit.register(shout, "atexit")
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup():
                shout("setup")
                yield {}
                shout("teardown")
            @hookimpl
            def analyze():
                shout("analyze")
                return Analysis.malicious("Loud")
            """,
        )
        for form in ("jsonl", "json"):
            ended = psengine("analyze", "--format", form, "data:,x")
            rows = ended.rows if form == "jsonl" else json.loads(ended.out)
            assert len(rows) == 1
            for when in ("import", "setup", "analyze", "teardown", "atexit"):
                for way in ("print", "original", "write", "printf", "child"):
                    assert f"{way} {when}\n" in ended.err
        for command in (["info", "loud", "--format", "json"], ["list-engines", "--info"]):
            json.loads(psengine(*command).out)
