"""``psengine analyze`` with several artifacts: in worker processes, as its users run it."""

import json
import os
import re
import select
import signal
import subprocess
import time

import pytest

WHERE = """
    import os
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact):
        return Analysis.unknown(f"pid {os.getpid()}")
"""
"""An engine that says in which process it judges."""

MEETING = """
    import os, pathlib, time
    from psengine_host import Analysis, hookimpl

    WORK = pathlib.Path(os.environ["WORK"])

    def wait_for(happened):
        limit = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < limit
            time.sleep(0.01)

    @hookimpl
    def analyze(artifact):
        name = os.path.basename(artifact.name)
        (WORK / f"{name}.begun").touch()
        needed = artifact.read_bytes().decode().split()
        wait_for(lambda: all((WORK / one).exists() for one in needed))
        (WORK / f"{name}.done").touch()
        return Analysis.benign()
"""
"""An engine that waits until the files exist that the artifact names, and makes NAME.begun and NAME.done."""

STUBBORN = """
    import os, pathlib, signal, subprocess, time
    from psengine_host import Analysis, hookimpl

    WORK = pathlib.Path(os.environ["WORK"])

    @hookimpl
    def setup(context):
        yield {}
        (WORK / "torn-down").touch()

    @hookimpl
    def analyze(artifact):
        if b"stubborn" in artifact.read_bytes():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            child = subprocess.Popen(["sleep", "300"], start_new_session=True)
            (WORK / "pids").write_text(f"{os.getpid()} {child.pid}")
            (WORK / "ready").touch()
            while True:
                try:
                    time.sleep(300)
                except BaseException:
                    pass
        return Analysis.benign()
"""
"""An engine that lets nobody end it, over some files, once it has said so by a file."""


@pytest.fixture
def started(psengine, work):
    """Starts ``psengine`` with an engine that knows the folder that it was started in."""

    def start(*arguments, **options):
        env = {"WORK": str(work), **options.pop("env", {})}
        return psengine.start(*arguments, env=env, **options)

    return start


@pytest.fixture
def ran(psengine, started):
    """Runs ``psengine`` to its end."""

    def run(*arguments, **options):
        process = started(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return psengine.ended(process.returncode, out, err)

    return run


def write(work, **contents):
    for name, content in contents.items():
        (work / name).write_text(content)


class TestWhere:
    @pytest.mark.parametrize(
        ("arguments", "here"),
        [
            (["a"], True),
            (["a", "b"], False),
            (["-r", "folder"], False),
            (["-r", "a"], True),
            (["--files-from", "list"], False),
            (["-j", "1", "a"], False),
            (["--jobs", "2", "a"], False),
            (["--backend", "process", "a"], False),
            (["--backend", "local", "a", "b"], True),
            (["--trace-hooks", "a", "b"], True),
            (["data:,x"], True),
            (["data:,x", "data:,y"], False),
        ],
        ids=lambda given: " ".join(given) if isinstance(given, list) else "",
    )
    def test_several_are_judged_in_processes_and_one_is_not(self, psengine, engine_site, work, arguments, here):
        engine_site.add("where", WHERE)
        write(work, a="", b="", list="a\n")
        (work / "folder").mkdir()
        write(work / "folder", c="")
        process = psengine.start("analyze", *arguments)
        ended = psengine.ended(*_communicated(process))
        comments = {row["analysis"]["metadata"]["comments"][0] for row in ended.rows}
        assert ended.rows
        assert (comments == {f"pid {process.pid}"}) == here

    def test_so_many_judge_at_once_as_are_asked_for(self, ran, engine_site, work):
        engine_site.add("meeting", MEETING)
        names = ["a", "b", "c"]
        write(work, **{name: " ".join(f"{other}.begun" for other in names) for name in names})
        ended = ran("analyze", "-j", "3", *names)
        assert (ended.code, ended.verdicts, ended.err) == (0, dict.fromkeys(names, "benign"), "")

    def test_one_at_a_time(self, ran, engine_site, work):
        engine_site.add("where", WHERE)
        names = [f"n{number}" for number in range(20)]
        write(work, **dict.fromkeys(names, ""))
        rows = ran("analyze", "--jobs", "1", *names).rows
        assert [row["artifact"] for row in rows] == names
        assert len({row["analysis"]["metadata"]["comments"][0] for row in rows}) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            *(
                (["-j", jobs],
                 f"Error: Invalid value for '-j' / '--jobs': must be a whole number from 1 to 1,024, got '{jobs}'")
                for jobs in ("0", "-1", "x", "1025", "1.5")
            ),
            (["-j", "2", "--backend", "local"], "Error: --backend local judges in one process: leave out --jobs"),
            (["-j", "2", "--trace-hooks"], "Error: --trace-hooks shows the hooks of this process: leave out --jobs"),
            (["--backend", "process", "--trace-hooks"],
             "Error: --trace-hooks shows the hooks of this process: leave out --backend process"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_told_in_one_line(self, within, engine_site, arguments, message):
        engine_site.add("where", WHERE)
        assert within("analyze", *arguments, "data:,x").usage_error == message


class TestOrder:
    @pytest.fixture
    def first_last(self, engine_site, work):
        """The first of three files is judged when the others have been."""
        engine_site.add("meeting", MEETING)
        write(work, a="b.done c.done", b="", c="b.done")

    def test_rows_come_in_the_order_of_the_inputs(self, ran, first_last):
        assert list(ran("analyze", "-j", "2", "a", "b", "c").verdicts) == ["a", "b", "c"]

    def test_unordered_as_they_are_done(self, ran, first_last):
        assert list(ran("analyze", "-j", "2", "--unordered", "a", "b", "c").verdicts) == ["b", "c", "a"]

    def test_an_engine_waits_for_no_other(self, ran, engine_site, work):
        engine_site.add("meeting", MEETING)
        engine_site.add("quick", MEETING.replace('"{name}.', '"quick-{name}.').replace("needed = ", "needed = [] and "))
        names = [f"n{number:03}" for number in range(100)]
        write(work, **dict.fromkeys(names, "quick-n099.done"))
        ended = ran("analyze", "-j", "1", "-e", "meeting", "-e", "quick", *names)
        assert [(row["artifact"], row["engine"]) for row in ended.rows] == [
            (name, engine) for name in names for engine in ("meeting", "quick")
        ]
        assert ended.code == 0

    @pytest.mark.parametrize("list_in", ["-", "fifo"])
    def test_the_row_of_a_name_waits_for_no_other_name(self, psengine, started, judge, work, list_in):
        write(work, a="MALICIOUS", b="")
        os.mkfifo(work / "fifo")
        process = started("analyze", "--files-from", list_in, stdin=subprocess.PIPE)
        # The first NUL is looked for in 64 KiB; what is longer tells at once.
        with process.stdin if list_in == "-" else open(work / "fifo", "wb") as names:
            names.write(b"a\0" + b"\0" * 70_000)
            names.flush()
            assert json.loads(process.stdout.readline())["artifact"] == "a"
            names.write(b"b\0")
            names.flush()
            assert json.loads(process.stdout.readline())["artifact"] == "b"
        code, out, err = _communicated(process)
        assert psengine.ended(code, out, err) == (1, "", "")


class TestRows:
    def test_types_are_named_only_where_somebody_asks(self, psengine, judge, work):
        write(work, a="text", b="text")
        types = {
            arguments: [row["bounty"].get("mimetype") for row in psengine("analyze", *arguments).rows]
            for arguments in [
                ("a",), ("--no-identify", "a"), ("a", "b"), ("--identify", "a", "b"),
                ("--backend", "local", "a", "b"), ("--backend", "local", "--no-identify", "a", "b"),
            ]
        }  # fmt: skip
        assert list(types.values()) == [
            ["text/plain"], [None], [None, None], ["text/plain"] * 2, ["text/plain"] * 2, [None, None],
        ]  # fmt: skip

    def test_they_are_those_of_one_process_but_for_the_type_and_the_lifetime(self, psengine, judge, work, site):
        write(work, a="MALICIOUS", b="FAULT", c="ENCRYPTED")
        site.pages["/x"] = (200, b"SUSPICIOUS")
        arguments = ["a", "b", "c", "gone", "data:,text", f"{site.url}/x", f"{site.url}/gone", "data:nonsense"]
        env = {"PSENGINE_NETWORK_ALLOW": "127.0.0.1"}
        both = [psengine("analyze", *options, *arguments, env=env) for options in (["--backend", "local"], ["-j", "2"])]
        here, there = [[_comparable(row) for row in ended.rows] for ended in both]
        assert here == there
        assert [ended.code for ended in both] == [1, 1]
        assert len(here) == len(arguments)

    def test_a_crash_costs_one_artifact(self, psengine, engine_site, work):
        engine_site.add(
            "fragile",
            """
            import os, signal
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact):
                if artifact.size:
                    os.kill(os.getpid(), signal.SIGSEGV)
                return Analysis.benign()
            """,
        )
        write(work, a="", b="x", c="")
        ended = psengine("analyze", "a", "b", "c")
        assert ended.code == 3
        assert list(ended.verdicts.items()) == [("a", "benign"), ("b", "unknown"), ("c", "benign")]
        assert ended.rows[1]["error"]["kind"] == "worker-lost"
        assert "SIGSEGV" in ended.rows[1]["error"]["message"]

    @pytest.mark.parametrize("options", [["--timeout", "0.5s"], ["-j", "1", "--timeout", "0.5s"]])
    def test_a_limit_holds_for_a_single_artifact_too(self, psengine, engine_site, work, options):
        engine_site.add(
            "hanging",
            """
            import signal
            from psengine_host import hookimpl
            @hookimpl
            def analyze():
                signal.pause()
            """,
        )
        write(work, a="x")
        ended = psengine("analyze", *options, "a")
        assert (ended.code, ended.row["error"]["kind"]) == (3, "timeout")
        assert ended.row["analysis"]["metadata"]["comments"][0] == "ERROR:TIMEOUT"

    @pytest.mark.parametrize("hook", ["setup", "open_session"])
    def test_an_engine_that_cannot_start_says_so_in_its_rows_as_in_one_process(self, psengine, engine_site, work, hook):
        engine_site.add(
            "lame",
            f"""
            from psengine_host import Analysis, EngineError, hookimpl
            @hookimpl
            def {hook}():
                raise EngineError("no licence")
            @hookimpl
            def analyze():
                return Analysis.benign()
            """,
        )
        engine_site.add("sound")
        write(work, a="", b="")
        here = psengine("analyze", "-e", "all", "--backend", "local", "a", "b")
        began = time.monotonic()
        there = psengine("analyze", "-e", "all", "a", "b")
        assert time.monotonic() - began > 4.5  # it is tried again for 5 s
        patient = psengine("analyze", "-e", "all", "a", "b", env={"PSENGINE_WORKERS_PATIENCE": "100ms"})
        assert (here.code, there.code, patient.code) == (3, 3, 3)
        for ended in (here, there, patient):
            assert [row["error"] and row["error"]["kind"] for row in ended.rows] == ["unavailable", None] * 2
            assert ended.rows[0]["error"]["message"] == here.rows[0]["error"]["message"]

    def test_resume_goes_on(self, psengine, judge, work):
        names = [f"n{number:02}" for number in range(30)]
        write(work, **dict.fromkeys(names, ""))
        whole = psengine("analyze", *names).out
        (work / "out").write_text("".join(whole.splitlines(keepends=True)[:17]) + "{")
        with open(work / "out", "ab") as out:
            ended = psengine("analyze", *names, "--resume", "out", stdout=out)
        assert (ended.code, ended.err) == (0, "already in out: 17 answers\n")
        rows = [json.loads(line) for line in (work / "out").read_text().splitlines() if line != "{"]
        assert [row["artifact"] for row in rows] == names


class TestInterrupts:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_all_ends_in_two_seconds_with_what_was_done_and_nobody_is_left(
        self, psengine, started, engine_site, work, number, code
    ):
        engine_site.add("stubborn", STUBBORN)
        write(work, a="", b="", c="stubborn", d="")
        process = started("analyze", "-j", "2", "a", "b", "c", "d")
        first = process.stdout.readline() + process.stdout.readline()
        _wait_for((work / "ready").exists)
        began = time.monotonic()
        process.send_signal(number)
        code_of, out, err = _communicated(process)
        assert time.monotonic() - began < 2 + 1  # and a second for a machine that is busy
        ended = psengine.ended(code_of, first + out, err)
        assert (ended.code, ended.verdicts, ended.err) == (code, {"a": "benign", "b": "benign"}, "interrupted\n")
        for pid in (work / "pids").read_text().split():
            _wait_for(lambda pid=pid: _is_gone(int(pid)))
        assert (work / "torn-down").exists()

    @pytest.mark.parametrize(("form", "last"), [("json", "]"), ("table", "1 artifact, 1 engine: 0 malicious")])
    def test_json_and_tables_are_whole(self, psengine, started, engine_site, work, form, last):
        engine_site.add("stubborn", STUBBORN)
        write(work, a="", c="stubborn")
        process = started("analyze", "-j", "1", "--format", form, "a", "c")
        ended = psengine.interrupted(process, work / "ready", signal.SIGINT)
        assert (ended.code, ended.err) == (130, "interrupted\n")
        assert ended.out.splitlines()[-1].startswith(last)
        if form == "json":
            assert [row["artifact"] for row in json.loads(ended.out)] == ["a"]

    def test_what_is_done_after_one_that_is_not_is_shown_only_unordered(self, psengine, started, engine_site, work):
        engine_site.add("meeting", MEETING)
        write(work, a="never", b="", c="b.done")
        for options, shown in ((["--unordered"], ["b"]), ([], [])):
            process = started("analyze", "-j", "2", *options, "a", "b")
            if shown:
                assert json.loads(process.stdout.readline())["artifact"] == "b"
            ended = psengine.interrupted(process, work / "b.done", signal.SIGINT)
            assert (ended.code, ended.out, ended.err) == (130, "", "interrupted\n")
            (work / "b.done").unlink()

    def test_also_while_a_stream_is_read_that_nobody_writes(self, psengine, started, engine_site, work):
        engine_site.add("meeting", MEETING)
        write(work, a="")
        os.mkfifo(work / "fifo")
        process = started("analyze", "-j", "1", "a", "-", "fifo", stdin=subprocess.PIPE)
        assert json.loads(process.stdout.readline())["artifact"] == "a"
        process.send_signal(signal.SIGINT)
        process.wait(20)  # before its standard input ends
        code, out, err = _communicated(process)
        assert psengine.ended(code, out, err) == (130, "", "interrupted\n")

    @pytest.mark.parametrize("list_in", ["-", "fifo"])
    def test_also_while_a_list_is_read_that_nobody_goes_on_writing(self, psengine, started, judge, work, list_in):
        os.mkfifo(work / "fifo")
        write(work, a="")
        process = started("analyze", "a", "--files-from", list_in, stdin=subprocess.PIPE)
        assert json.loads(process.stdout.readline())["artifact"] == "a"
        process.send_signal(signal.SIGTERM)
        process.wait(20)  # before its standard input ends
        code, out, err = _communicated(process)
        assert psengine.ended(code, out, err) == (143, "", "interrupted\n")

    def test_a_reader_that_goes_away_ends_the_scan_and_its_workers(self, psengine, started, engine_site, work):
        engine_site.add("stubborn", STUBBORN)
        write(work, a="", c="stubborn")
        (work / "list").write_text("\n".join(["c", *["a"] * 6_000]))  # more than a pipe holds
        process = started("analyze", "-j", "2", "--unordered", "--files-from", "list")
        process.stdout.readline()
        _wait_for((work / "ready").exists)
        process.stdout.close()
        assert process.wait(20) == 141
        for pid in (work / "pids").read_text().split():
            _wait_for(lambda pid=pid: _is_gone(int(pid)))


class TestTerminal:
    def test_what_each_worker_does_is_shown_below_the_bar(self, psengine, engine_site, work, terminal):
        engine_site.add("meeting", MEETING)
        write(work, **{"first\x1b[2J": "go", "second": "go"})
        screen = terminal(100)
        process = psengine.start(
            "analyze", "-v", "-j", "2", "first\x1b[2J", "second",
            stdin=screen.slave, stdout=screen.slave, stderr=screen.slave,
            env={"TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": "", "LINES": "", "WORK": str(work)},
        )  # fmt: skip
        line = r"  meeting {}: busy \d+\.\d s {}\s"
        lines = [line.format(r"[12]", name) for name in (r"first\\x1b\[2J", "second")]
        _wait_for(lambda: all(re.search(line, screen.text) for line in lines))
        (work / "go").touch()
        assert process.wait(60) == 0
        screen.close()
        assert "0/2" in screen.text
        assert not any("busy" in line for line in screen.screen)  # the bar and what is below it leave no trace


def _communicated(process):
    if process.stdin is not None and process.stdin.closed:
        process.stdin = None  # which communicate would flush
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def _comparable(row):
    row = json.loads(json.dumps(row))
    row.pop("seconds")
    if row["bounty"] is not None:
        for key in ("expiration", "duration", "mimetype", "artifact_uri"):  # of a data: URI, which names the type
            row["bounty"].pop(key, None)
    return row


def _is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return True


def _wait_for(happened):
    limit = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < limit
        select.select([], [], [], 0.01)
