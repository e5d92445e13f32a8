"""What engines print and log in their processes, as it stands in the host's log."""

import json
import logging
import re
import subprocess
import sys
import time
from textwrap import dedent

import pytest

from psengine_host.analysis import Verdict
from psengine_host.backends.process.output import BURST, RATE
from psengine_host.job import current_job
from psengine_host.outcome import FailureKind

PATIENCE = 60


class Kept(logging.Handler):
    """Keeps records with the job that was in hand."""

    def __init__(self):
        super().__init__()
        self.kept = []
        self.jobs = []

    def emit(self, record):
        self.kept.append(record)
        self.jobs.append(current_job())

    def lines(self, logger):
        return [record.getMessage() for record in self.kept if record.name == logger]

    def of(self, message):
        """The record that says this, and the job it belongs to."""
        ((record, job),) = [
            (record, job) for record, job in zip(self.kept, self.jobs, strict=True) if record.getMessage() == message
        ]
        return record, job


@pytest.fixture
def log():
    """The host's log from DEBUG on."""
    root = logging.getLogger()
    level = root.level
    kept = Kept()
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    root.removeHandler(kept)


@pytest.fixture
def printed(engine_site, process_host, log):
    """Runs an ``analyze`` with this body, and gives what its engine printed."""

    def printed(body, *, head="", **options):
        source = "import ctypes, os, signal, subprocess, sys\nfrom psengine_host import Analysis, hookimpl\n"
        source += dedent(head) + "\n@hookimpl\ndef analyze(artifact):\n"
        source += "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
        engine_site.add("printing", source + "    return Analysis.benign()\n")
        host = process_host(count=1, **options)
        outcome = host.analyze(b"x", "printing")
        host.close()  # all is read by then
        lines = log.lines("psengine.engines.printing.output")
        return outcome, lines

    return printed


class TestOutput:
    @pytest.mark.parametrize(
        "statement",
        [
            pytest.param("print('of the engine')", id="print"),
            pytest.param("print('of the engine', end='')", id="print without an end"),
            pytest.param("sys.stderr.write('of the engine')", id="stderr"),
            pytest.param("sys.__stdout__.write('of the engine')", id="the original stdout"),
            pytest.param("os.write(1, b'of the engine')", id="os.write"),
            pytest.param("ctypes.CDLL(None).printf(b'of the engine')", id="printf without an end"),
            pytest.param("ctypes.CDLL(None).puts(b'of the engine')", id="puts"),
            pytest.param("ctypes.CDLL(None).perror(None)\nprint('of the engine')", id="perror"),
            pytest.param("subprocess.run(['echo', 'of the engine'], check=True)", id="a program"),
            pytest.param("os.system('echo of the engine >&2')", id="a shell"),
        ],
    )
    def test_reaches_the_log_with_the_engines_name_and_the_workers_number(self, printed, statement):
        outcome, lines = printed(statement)
        assert outcome.failure is None
        assert lines[-1] == "worker 1: of the engine"
        assert len(lines) == (2 if "perror" in statement else 1)

    def test_what_was_printed_before_a_crash_is_told(self, printed):
        body = """
            ctypes.CDLL(None).printf(b"from C\\n")
            print("from Python")
            os.abort()
        """
        outcome, lines = printed(body, tries=1)
        assert outcome.failure.kind is FailureKind.WORKER_LOST
        assert lines[:2] == ["worker 1: from C", "worker 1: from Python"]
        # Where it crashed: Python's own fault handler says so.
        assert lines[2] == "worker 1: Fatal Python error: Aborted"
        assert any("in analyze" in line for line in lines)

    def test_what_is_printed_at_the_import_and_in_the_hooks_is_told(self, printed):
        head = """
            print("imported")
            @hookimpl
            def open_session():
                print("session")
                yield 1
                print("end of the session")
        """
        _, lines = printed("print('analyze')", head=head)
        # The process did not know yet that it would be a worker.
        assert [line.partition(": ")[2] for line in lines] == ["imported", "session", "analyze", "end of the session"]
        assert [line.partition(": ")[0] for line in lines][1:] == ["worker 1"] * 3

    def test_homes_are_told_from_workers(self, printed):
        head = """
            @hookimpl
            def setup():
                print("setup")
                yield {}
                print("teardown")
            @hookimpl
            def on_success():
                print("on_success")
        """
        _, lines = printed("print('analyze')", head=head)
        assert sorted(lines) == ["home: on_success", "home: setup", "home: teardown", "worker 1: analyze"]

    def test_what_no_terminal_should_see_is_shown_as_escapes(self, printed):
        _, lines = printed(r"""
            os.write(1, b"\x1b[2J\x00\xff\xfe \xc3\xa4\r\n")
            print("\udc80 \u202e")
            print("\x9b2J")
        """)
        assert all(line.isprintable() for line in lines)
        assert lines[0] == r"worker 1: \x1b[2J\x00\xff\xfe ä"
        assert lines[1] == r"worker 1: \udc80 \u202e"

    def test_standard_input_is_empty(self, printed):
        _, lines = printed("print(repr(sys.stdin.read()), os.read(0, 10), os.readlink('/proc/self/fd/0'))")
        assert lines == ["worker 1: '' b'' /dev/null"]

    def test_an_engine_that_closes_its_output_judges_on(self, printed):
        outcome, lines = printed("print('before', flush=True)\nos.close(1)\nos.close(2)")
        assert outcome.analysis.verdict is Verdict.BENIGN
        assert lines[0] == "worker 1: before"

    def test_100_megabytes_are_told_in_few_lines_and_hold_up_nobody(self, engine_site, process_host, log, journal):
        engine_site.add(
            "printing",
            """
            import os
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact):
                with open(os.environ["JOURNAL"], "a") as journal:
                    journal.write("begun\\n")
                text = ("x" * 99 + "\\n") * 10_000
                for _ in range(100):
                    print(text, end="")
                return Analysis.benign()
            """,
        )
        engine_site.add("quiet")
        host = process_host(count=1)
        host.analyze(b"x", "quiet")
        began = time.monotonic()
        printing = host.submit(b"x", "printing")
        answered = 0
        while not printing.done():
            assert host.analyze(b"%d" % answered, "quiet").failure is None
            answered += 1
        assert printing.result().failure is None
        host.close()
        seconds = time.monotonic() - began

        lines = log.lines("psengine.engines.printing.output")
        assert len(lines) <= 2 * (BURST + RATE * seconds)
        left_out = [re.search(r"([\d,]+) lines of output .* left out: more than 50 a second", line) for line in lines]
        counted = sum(int(match[1].replace(",", "")) for match in left_out if match)
        assert counted + sum(match is None for match in left_out) == 1_000_000
        assert answered > 20, "the other engine was answered meanwhile"

    def test_a_line_without_an_end_takes_no_memory(self, printed):
        outcome, lines = printed("for _ in range(200): os.write(1, b'x' * 100_000)")
        assert outcome.failure is None
        assert len(lines) == 1
        assert lines[0].endswith("(20,000,000 bytes)")
        assert len(lines[0]) < 4_100


LOGGING = """
    import logging
    import os
    import threading
    from psengine_host import Analysis, hookimpl

    class Unshowable:
        def __str__(self):
            raise LookupError("not to be shown")

    @hookimpl
    def open_session(context):
        context.logger.info("opened")

    @hookimpl
    def analyze(artifact, context):
        context.logger.info("by %s of %d bytes", "the engine", artifact.size)
        logging.getLogger("a.library").warning("by a library")
        logging.debug("by the root")
        try:
            1 / 0
        except ZeroDivisionError:
            context.logger.exception("it failed")
        context.logger.error("%s", Unshowable())
        context.logger.error("of the wrong %s %s", "number")
        context.logger.error("lone surrogate \\udcff")
        context.logger.info("secret is s3cr3t-value")
        context.logger.info("with fields", extra={
            "seconds": 1.5, "level": "deep", "password": "hunter22", "at": {1: b"x"}
        })
        context.logger.info("with too much", extra={"much": [["x" * 4_000] * 100] * 100})
        process = os.fork()
        if process == 0:
            context.logger.error("by a fork")
            os._exit(0)
        os.waitpid(process, 0)
        thread = threading.Thread(target=context.logger.warning, args=("by a thread",))
        thread.start()
        thread.join()
        return Analysis.benign()
"""


class TestRecords:
    def test_reach_the_log_as_they_were_with_the_bounty_in_hand(self, engine_site, process_host, log):
        engine_site.add("logging", LOGGING)
        host = process_host(count=1)
        outcome = host.analyze(b"12345", "logging")
        assert outcome.failure is None
        host.close()

        record, job = log.of("by the engine of 5 bytes")
        assert (record.name, record.levelno) == ("psengine.engines.logging", logging.INFO)
        assert (job.engine, str(job.bounty)) == ("logging", str(outcome.bounty.id))
        record, job = log.of("by a library")
        assert (record.name, record.levelno) == ("a.library", logging.WARNING)
        assert (job.engine, str(job.bounty)) == ("logging", str(outcome.bounty.id))
        record, _ = log.of("by the root")
        assert (record.name, record.levelno) == ("root", logging.DEBUG)
        record, _ = log.of("it failed")
        assert record.levelno == logging.ERROR
        assert "ZeroDivisionError: division by zero" in record.exc_text
        assert "in analyze" in record.exc_text
        record, job = log.of("opened")
        assert (job.engine, job.bounty) == ("logging", None)
        log.of(r"lone surrogate \udcff")
        log.of("by a thread")
        messages = log.lines("psengine.engines.logging")
        assert any("not to be shown" in message for message in messages)
        assert any("of the wrong %s %s" in message for message in messages)
        # A fork must not write into the worker's channel: what it logs is told as its output.
        assert log.lines("psengine.engines.logging.output") == ["worker 1: ERROR: by a fork"]

    def test_records_say_where_they_come_from(self, engine_site, process_host, log):
        engine_site.add("logging", LOGGING)
        host = process_host(count=1)
        host.analyze(b"1", "logging")
        host.close()
        record, _ = log.of("by a library")
        formatted = logging.Formatter("%(levelname)s %(name)s %(message)s %(threadName)s").format(record)
        assert formatted.startswith("WARNING a.library by a library")

    @pytest.mark.parametrize(
        ("level", "seen"),
        [(logging.DEBUG, ["d", "i", "w"]), (logging.INFO, ["i", "w"]), (logging.WARNING, ["w"]), (logging.ERROR, [])],
    )
    def test_only_those_that_the_host_wants_cross(self, level, seen, engine_site, process_host, log):
        engine_site.add(
            "levels",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact, context):
                context.logger.debug("d")
                context.logger.info("i")
                context.logger.warning("w")
                return Analysis.benign(comments=[str(context.logger.getEffectiveLevel())])
            """,
        )
        logging.getLogger().setLevel(level)
        host = process_host(count=1)
        outcome = host.analyze(b"x", "levels")
        host.close()
        assert log.lines("psengine.engines.levels") == seen
        assert outcome.analysis.comments == (str(level),)

    def test_what_raises_in_a_thread_of_the_engines_is_told(self, printed):
        head = "import threading\ndef fail(): raise LookupError('of a thread')"
        _, lines = printed("thread = threading.Thread(target=fail); thread.start(); thread.join()", head=head)
        assert lines[-1] == "worker 1: LookupError: of a thread"

    def test_too_many_are_counted_and_the_host_lives(self, engine_site, process_host, log):
        engine_site.add(
            "chatty",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact, context):
                if artifact.read_bytes() == b"much":
                    for number in range(20_000):
                        context.logger.warning("number %d", number)
                return Analysis.benign()
            """,
        )
        host = process_host(count=1)
        assert host.analyze(b"much", "chatty").failure is None
        told = len([line for line in log.lines("psengine.engines.chatty") if line.startswith("number")])
        assert 1_000 <= told < 5_000
        host.close()
        left_out = [
            re.match(r"(\d+) log records were left out here", line) for line in log.lines("psengine.engines.chatty")
        ]
        assert told + sum(int(match[1]) for match in left_out if match) == 20_000

    def test_secrets_are_hidden_and_lines_name_engine_and_bounty(self, engine_site, tmp_path):
        engine_site.add("logging", LOGGING)
        program = """
            from psengine_host.host import Host
            from psengine_host.logs import set_up_logs
            from psengine_host.settings import Settings

            settings = Settings(engines={"logging": {"api_key": "s3cr3t-value"}})
            with set_up_logs(verbosity=1) as log:
                log.follow(settings)
                with Host(settings, backend="process") as host:
                    print(host.analyze(b"x", "logging").bounty.id)
        """
        done = subprocess.run(
            [sys.executable, "-c", dedent(program)],
            env=engine_site.env(LOG_FORMAT="json"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert "s3cr3t-value" not in done.stderr
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        (line,) = [line for line in lines if line["message"].startswith("secret is")]
        assert (line["engine"], line["bounty"]) == ("logging", done.stdout.strip())
        (line,) = [line for line in lines if line["message"] == "with fields"]
        assert (line["seconds"], line["level_"], line["level"], line["at"]) == (1.5, "deep", "info", {"1": "1 bytes"})
        assert line["password"] == "***"
        (line,) = [line for line in lines if line["message"] == "with too much"]
        assert line["much"].startswith("left out: ")
        (line,) = [line for line in lines if line["message"] == "it failed"]
        assert "ZeroDivisionError" in line["exception"]


def test_a_thread_that_logs_while_a_result_is_sent_divides_no_message(engine_site, process_host, log):
    engine_site.add(
        "busy",
        """
        import threading
        from psengine_host import Analysis, hookimpl
        @hookimpl
        def open_session(context):
            def talk():
                number = 0
                while True:
                    context.logger.info("line %d", number)
                    number += 1
            threading.Thread(target=talk, daemon=True).start()
        @hookimpl
        def analyze(artifact):
            return Analysis.benign(comments=["x" * 10_000])
        """,
    )
    host = process_host(count=2)
    outcomes = [host.submit(b"%d" % number, "busy") for number in range(200)]
    assert {outcome.result(PATIENCE).failure for outcome in outcomes} == {None}
    assert log.lines("psengine.engines.busy")
