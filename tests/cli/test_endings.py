"""How the program ends when something is against it: signals in any command, a standard error that is full, bugs."""

import array
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from psengine_host.samples import eicar

HANGING = """
    import pathlib, time
    from psengine_host import Analysis, EngineInfo, hookimpl

    def hang():
        pathlib.Path("ready").touch()
        time.sleep(60)

    @hookimpl
    def setup():
        yield {}
        pathlib.Path("torn-down").touch()
        if pathlib.Path("hang-in-teardown").exists():
            hang()

    @hookimpl
    def info():
        if pathlib.Path("hang-in-info").exists():
            hang()
        return EngineInfo(product="Hanging")

    @hookimpl
    def analyze(artifact):
        if artifact.size == 68:
            hang()
        return Analysis.benign()

    @hookimpl
    def update():
        hang()

    @hookimpl
    def commands():
        def wait() -> None:
            '''Wait.'''
            hang()
        return [wait]
"""
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture
def hanging(engine_site) -> str:
    engine_site.add("hanging", HANGING)
    return "hanging"


class TestSignals:
    @pytest.mark.parametrize(("number", "code"), SIGNALS)
    @pytest.mark.parametrize(
        "arguments", [["commands", "hanging", "wait"], ["update"], ["info", "hanging"]], ids=lambda given: given[0]
    )
    def test_a_command_ends_after_its_teardown(self, psengine, hanging, work, arguments, number, code):
        if arguments[0] == "info":
            (work / "hang-in-info").touch()
        ended = psengine.interrupted(psengine.start(*arguments), work / "ready", number)
        assert (ended.code, ended.out, ended.err.strip()) == (code, "", "interrupted")
        assert (work / "torn-down").exists()

    @pytest.mark.parametrize(("number", "code"), SIGNALS)
    def test_debug_leaves_no_artifact_behind(self, psengine, hanging, work, number, code):
        (work / "eicar.com").write_bytes(eicar())
        with open(work / "eicar.com", "rb") as stream:
            process = psengine.start("debug", "hanging", "-", stdin=stream)
            ended = psengine.interrupted(process, work / "ready", number)  # which looks for spools left behind
        assert (ended.code, ended.out) == (code, "")
        assert ended.err.endswith("interrupted\n")
        assert (work / "torn-down").exists()

    @pytest.mark.parametrize(("number", "code"), SIGNALS)
    def test_create_bounty_leaves_no_artifact_behind(self, psengine, number, code):
        process = psengine.start("create-bounty", "-", stdin=subprocess.PIPE)
        process.stdin.write(eicar())
        process.stdin.flush()
        limit = time.monotonic() + 30
        while not any(psengine.spools.iterdir()):  # it reads on, into its spool
            assert process.poll() is None
            assert time.monotonic() < limit
            select.select([], [], [], 0.01)
        process.send_signal(number)
        process.wait(60)  # before its standard input ends
        out, err = process.communicate()
        ended = psengine.ended(process.returncode, out, err)
        assert (ended.code, ended.out, ended.err.strip()) == (code, "", "interrupted")

    @pytest.mark.parametrize(("number", "code"), SIGNALS)
    def test_analyze_in_a_teardown(self, psengine, hanging, work, number, code):
        (work / "hang-in-teardown").touch()
        ended = psengine.interrupted(psengine.start("analyze", "data:,x"), work / "ready", number)
        assert (ended.code, ended.verdicts) == (code, {"data:,x": "benign"})

    def test_the_workers_of_an_engines_pool_end_quietly(self, psengine, engine_site):
        engine_site.add(
            "pooled",
            """
            import multiprocessing
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze():
                with multiprocessing.get_context("fork").Pool(2) as pool:  # which ends its workers with SIGTERM
                    assert pool.map(abs, [-1, -2]) == [1, 2]
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", *["data:,x"] * 5)
        assert (ended.code, len(ended.rows), ended.err) == (0, 5, "")


class TestFullStandardError:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["analyze", "-v", "data:,x"], 0),
            (["analyze", "-v", "data:,MALICIOUS"], 1),
            (["analyze", "-v", "--format", "table", "data:,x"], 0),
            (["analyze", "--trace-hooks", "--check-eicar", "data:,x"], 0),
            (["analyze", "-e", "nope", "data:,x"], 2),
            (["analyze", "--nope"], 2),
            (["--config", "gone.toml", "analyze", "data:,x"], 2),
            (["debug", "judge", "data:,x"], 0),
            (["debug", "judge", "gone"], 3),
            (["commands", "judge"], 0),
        ],
        ids=lambda given: " ".join(given) if isinstance(given, list) else str(given),
    )
    def test_the_exit_code_stays(self, psengine, judge, arguments, code):
        expected = psengine(*arguments)
        assert expected.code == code
        assert expected.err or arguments[:3] == ["analyze", "-v", "--format"]
        with open("/dev/full", "wb") as full:
            ended = psengine(*arguments, stderr=full)
        assert (ended.code, len(ended.out.splitlines())) == (code, len(expected.out.splitlines()))

    def test_what_an_engine_prints_is_lost_and_blames_nobody(self, psengine, engine_site):
        engine_site.add(
            "chatty",
            """
            import sys
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                print("to standard output", flush=True)
                print("to standard error", file=sys.stderr)
                context.logger.warning("to the log")
                return Analysis.benign()
            """,
        )
        with open("/dev/full", "wb") as full:
            ended = psengine("analyze", "data:,x", "data:,y", stderr=full)
        assert (ended.code, ended.verdicts) == (0, {"data:,x": "benign", "data:,y": "benign"})

    def test_an_interrupt_keeps_its_code(self, psengine, hanging, work):
        with open("/dev/full", "wb") as full:
            ended = psengine.interrupted(psengine.start("update", stderr=full), work / "ready", signal.SIGTERM)
        assert ended.code == 143


class TestTracebacks:
    @pytest.mark.parametrize(
        ("variable", "options", "shown"),
        [
            ("false", [], False), ("off", [], False), ("0", [], False), ("", [], False),
            ("true", [], True), ("1", [], True), ("", ["--debug"], True), ("false", ["--debug"], True),
        ],
    )  # fmt: skip
    def test_one_source_says_whether_they_are_shown(self, psengine, variable, options, shown):
        ended = psengine(*options, "create-bounty", "gone", env={"PSENGINE_DEBUG": variable})
        assert ended.code == 3
        assert ended.err.splitlines()[-1] == "psengine: gone: no such file"
        assert ("Traceback" in ended.err) == shown

    def test_a_flag_of_an_engines_function_is_not_ours(self, psengine, engine_site):
        engine_site.add(
            "flagged",
            """
            from psengine_host import EngineError, hookimpl
            @hookimpl
            def setup():
                raise EngineError("no licence")
            @hookimpl
            def analyze():
                pass
            @hookimpl
            def commands():
                def look(*, debug: bool = False) -> None:
                    '''Look.'''
                return [look]
            """,
        )
        ended = psengine("commands", "flagged", "look", "--debug")
        assert (ended.code, ended.err) == (3, "psengine: engine flagged: setup: no licence\n")


class TestHowItEndsAfterASignal:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_while_it_starts_it_dies_of_the_signal_and_prints_nothing(self, psengine, engine_site, work, number):
        engine_site.add("never")
        (work / "slow.py").write_text(
            "import os, sys, pathlib\n"
            "class Slow:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'click':\n"
            "            pathlib.Path('ready').touch()\n"
            "            open('fifo').read()\n"
            "sys.meta_path.insert(0, Slow())\n"
            "sys.argv = ['psengine', 'analyze', 'data:,x', 'data:,y']\n"
            "from psengine_host.__main__ import main\n"
            "main()\n"
        )
        os.mkfifo(work / "fifo")
        process = psengine.start(command=[sys.executable, "slow.py"])
        ended = psengine.interrupted(process, work / "ready", number)
        assert (ended.code, ended.out, ended.err) == (-number, "", "")  # which shells tell as 130 and 143

    @pytest.mark.parametrize("last", ["threading.Thread(target=wait).start()", "atexit.register(wait)"])
    def test_what_an_engine_left_for_the_end_does_not_hold_it_up(self, psengine, engine_site, work, last):
        engine_site.add(
            "lingering",
            f"""
            import atexit, pathlib, threading, time
            from psengine_host import Analysis, hookimpl

            def wait():
                time.sleep(300)

            @hookimpl
            def analyze(artifact):
                {last}
                pathlib.Path("ready").touch()
                time.sleep(300)
            """,
        )
        process = psengine.start("analyze", "data:,x")
        _wait_for((work / "ready").exists)
        began = time.monotonic()
        ended = psengine.interrupted(process, work / "ready", signal.SIGTERM, signal.SIGTERM)
        assert time.monotonic() - began < 2 + 3  # and some for a machine that is busy
        assert (ended.code, ended.out, ended.err) == (143, "", "interrupted\n")

    @pytest.mark.parametrize("options", [["--backend", "local"], ["-j", "2"]], ids=" ".join)
    def test_an_output_that_nobody_reads_does_not_hold_it_up(self, psengine, judge, options):
        process = psengine.start("analyze", *options, *["data:,x"] * 1_000)  # rows for several pipes
        _wait_for(lambda: _waiting(process.stdout.fileno()) > 50_000)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        assert time.monotonic() - began < 2 + 3
        assert process.stderr.read() == b"interrupted\n"
        lines = process.stdout.read().split(b"\n")
        assert all(json.loads(line)["artifact"] == "data:,x" for line in lines[:-1])

    def test_who_reads_slowly_gets_all(self, psengine, engine_site, work):
        engine_site.add(
            "waiting",
            f"""
            import pathlib, time
            from psengine_host import Analysis, hookimpl
            FOLDER = pathlib.Path({str(work)!r})
            @hookimpl
            def analyze(artifact):
                if artifact.size == 0:  # the first, which all rows wait for
                    while not (FOLDER / "go").exists():
                        time.sleep(0.01)
                elif artifact.size == 2:  # the last
                    (FOLDER / "go").touch()
                return Analysis.benign(comments=["x" * 900])
            """,
        )
        uris = ["data:,", *["data:,x"] * 500, "data:,xx"]
        process = psengine.start("analyze", "-j", "2", "--format", "json", *uris)
        _wait_for(lambda: _waiting(process.stdout.fileno()) > 50_000)
        process.send_signal(signal.SIGTERM)
        read = b""
        while chunk := os.read(process.stdout.fileno(), 20_000):
            read += chunk
            select.select([], [], [], 0.1)  # four seconds for all of it: a pipe that is full at every look
        assert process.wait(60) == 143
        assert len(json.loads(read)) >= 500

    @pytest.mark.parametrize("options", [["-v"], ["--only", "benign"]], ids=" ".join)
    def test_a_standard_error_that_nobody_reads_does_not_hold_it_up(self, psengine, engine_site, options):
        engine_site.add(  # bounties are shown by the main thread, dead workers by another
            "fragile",
            """
            import os
            from psengine_host import hookimpl
            @hookimpl
            def analyze(artifact):
                os.abort()
            """,
        )
        arguments = ["analyze", "-j", "2", *options, *["data:,x"] * 1_000]
        process = psengine.start(*arguments, stdout=subprocess.DEVNULL)
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4_096)
        _wait_for(lambda: _waiting(process.stderr.fileno()) > 3_500)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        assert time.monotonic() - began < 2 + 3

    @pytest.mark.parametrize("options", [["--backend", "local"], ["-j", "2"]], ids=" ".join)
    def test_several_signals_at_once_are_one(self, psengine, engine_site, work, options):
        engine_site.add("hanging", HANGING.replace('"ready"', repr(str(work / "ready"))).replace("== 68", ">= 0"))
        process = psengine.start("analyze", *options, "--format", "json", "data:,x", "data:,y")
        ended = psengine.interrupted(process, work / "ready", *[signal.SIGTERM] * 3)
        assert (ended.code, json.loads(ended.out), ended.err) == (143, [], "interrupted\n")

    def test_the_exit_code_is_certain_when_all_has_been_done(self):
        program = (
            "import atexit, os, signal\n"
            "from psengine_host.cli.interrupts import SIGNALS, end_soon\n"
            "end_soon(143)\n"
            "atexit.register(lambda: [os.kill(os.getpid(), number) for number in SIGNALS])\n"
            "raise SystemExit(143)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


class TestTooFewThreads:
    def test_it_is_told_in_one_line(self, within, engine_site, monkeypatch):
        engine_site.add("any")

        def start(_thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("threading.Thread.start", start)
        ended = within("analyze", "-j", "1", "data:,x")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err == "psengine: no more threads can be started: raise the limit of processes (ulimit -u)\n"


def _wait_for(happened):
    limit = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < limit
        select.select([], [], [], 0.01)


def _waiting(descriptor):
    """Bytes in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


class TestBugs:
    @pytest.mark.parametrize("output", ["json", "jsonl", "table"])
    def test_what_was_judged_before_is_whole(self, psengine, engine_site, output):
        engine_site.add(
            "meddling",
            """
            from psengine_host import Analysis, hookimpl
            from psengine_host.cli import scan
            @hookimpl
            def analyze(artifact):
                if artifact.read_bytes() == b"y":  # in the host's own process
                    scan.Row = None  # no longer callable: the host itself fails on the next row
                return Analysis.benign()
            """,
        )
        process = psengine.start("analyze", "--backend", "local", "--format", output, "data:,x", "data:,y", "data:,z")
        out, err = (text.decode() for text in process.communicate(timeout=60))
        assert process.returncode == 3
        [message] = err.splitlines()
        assert message.startswith("psengine: unexpected error, please report it")
        if output == "table":
            assert out.splitlines()[-1].startswith("1 artifact, 1 engine: ")
        else:
            rows = json.loads(out) if output == "json" else [json.loads(line) for line in out.splitlines()]
            assert [row["artifact"] for row in rows] == ["data:,x"]


class TestUsage:
    @pytest.mark.parametrize("option", ["--include", "--exclude"])
    @pytest.mark.parametrize("pattern", ["", "/", "./"])
    def test_an_empty_pattern_is_refused(self, psengine, judge, option, pattern):
        ended = psengine("analyze", "-r", ".", option, pattern)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.splitlines()[-1] == (
            f"Error: Invalid value for '{option}': {pattern!r} matches no file; name a pattern, such as '*.exe'"
        )


class TestAStandardErrorThatDoesNotBlock:
    @pytest.fixture
    def talker(self, engine_site):
        engine_site.add(
            "talker",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                for number in range(400):
                    context.logger.warning("%04d %s", number, "x" * 1_000)
                return Analysis.benign()
            """,
        )

    @pytest.fixture
    def started(self, psengine, talker):
        """The program with a standard error that is a pipe that does not block; once full, with its end."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with open(reader, "rb") as end:
            with open(writer, "wb"):
                process = psengine.start("analyze", "data:,x", stderr=writer)
                poll = select.poll()
                poll.register(writer, select.POLLOUT)
                deadline = time.monotonic() + 30
                while poll.poll(0):
                    assert time.monotonic() < deadline
                    select.select([], [], [], 0.01)
            yield process, end

    def test_what_is_read_in_time_is_whole(self, started):
        process, end = started
        lines = end.read().decode().splitlines()
        assert [line.split()[2] for line in lines] == [f"{number:04d}" for number in range(400)]
        assert process.wait(30) == 0

    def test_nobody_reads_and_the_program_ends_all_the_same(self, started):
        process, end = started
        assert process.wait(60) == 0
        assert end.read(9) == b"psengine:"
