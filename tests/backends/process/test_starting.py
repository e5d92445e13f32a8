"""Engines that do not start, once or always: they are unavailable and say why, and the others serve."""

import itertools
import os
import sys
import time

import pytest

from psengine_host.analysis import Verdict
from psengine_host.backends.process import standing
from psengine_host.bounty import Bounty
from psengine_host.outcome import FailureKind

PATIENCE = 60

FAILING = """
    import os
    import signal
    import time
    from psengine_host import Analysis, EngineError, EngineInfo, hookimpl

    WHERE = {where!r}
    HOW = {how!r}
    TIMES = {times}

    def begin(place):
        with open(os.environ["JOURNAL"], "a") as journal:
            journal.write(f"{{place}} {{time.monotonic()}}\\n")
        if place != WHERE:
            return
        with open(os.environ["JOURNAL"]) as journal:
            if sum(line.startswith(place) for line in journal) > TIMES:
                return
        if HOW == "raises":
            raise EngineError("no licence")
        if HOW == "raises by mistake":
            {{}}["key"]
        if HOW == "hangs":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        if HOW == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if HOW == "exits":
            os._exit(0)
        if HOW == "calls sys.exit":
            raise SystemExit(3)

    begin("import")

    @hookimpl
    def setup():
        begin("setup")

    @hookimpl
    def open_session():
        begin("open_session")

    @hookimpl
    def info():
        begin("info")
        return EngineInfo(product="Of the test")

    @hookimpl
    def analyze(artifact):
        return Analysis.benign(comments=[str(os.getpid())])
"""

ALWAYS = 1_000_000
SLOW = "open_session and info took longer than 1 s; the worker was killed"
REASONS = {
    ("import", "raises"): "engine failing (psengine-test-failing 1.0) is broken: no licence",
    ("import", "hangs"): "loading it took longer than 1 s; its process was killed",
    ("import", "dies"): "its process died of SIGSEGV while it was loaded",
    ("import", "exits"): "its process exited with code 0 while it was loaded",
    (
        "import",
        "calls sys.exit",
    ): "engine failing (psengine-test-failing 1.0) is broken: called sys.exit(3) when it was imported",
    ("setup", "raises"): "engine failing: setup: no licence",
    ("setup", "raises by mistake"): "engine failing: setup: KeyError: 'key'",
    ("setup", "hangs"): "setup took longer than 1 s; its process was killed",
    ("setup", "dies"): "its home died of SIGSEGV before setup was done",
    ("setup", "exits"): "its home exited with code 0 before setup was done",
    ("setup", "calls sys.exit"): "engine failing: setup: called sys.exit(3)",
    ("open_session", "raises"): "engine failing: open_session: no licence",
    ("open_session", "hangs"): SLOW,
    ("open_session", "dies"): "a worker died of SIGSEGV before its session was open",
    ("open_session", "exits"): "a worker exited with code 0 before its session was open",
    ("open_session", "calls sys.exit"): "engine failing: open_session: called sys.exit(3)",
    ("info", "raises"): "engine failing: info: no licence",
    ("info", "hangs"): SLOW,
    ("info", "dies"): "a worker died of SIGSEGV before its session was open",
}
"""Where an engine fails, how, and what is said of it."""


@pytest.fixture
def failing(engine_site, journal):
    """Installs an engine that fails at a place, in a way, some times or always."""

    def install(where, how, times=ALWAYS, name="failing"):
        engine_site.add(name, FAILING.format(where=where, how=how, times=times))

    return install


@pytest.fixture
def quick_retries(monkeypatch):
    """The first retry comes after 50 ms rather than a second."""
    monkeypatch.setattr(standing, "FIRST_BACKOFF", 0.05)


def limits(where, how):
    """A short limit for the step that is to take too long, and none that a busy machine reaches for the others."""
    if how != "hangs":
        return {}
    return {"setup_timeout" if where in ("import", "setup") else "start_timeout": 1.0}


def is_told(message, where, how):
    """Whether it says what it should; on a machine that is too busy even to load the engine it may say that."""
    also = REASONS["import", "hangs"] if (where, how) == ("setup", "hangs") else None
    return message in (REASONS[where, how], also)


@pytest.mark.parametrize(("where", "how"), REASONS)
def test_an_engine_that_never_starts_is_unavailable_and_says_why(where, how, failing, process_host):
    failing(where, how)
    host = process_host(count=2, patience=0.0, **limits(where, how))

    outcome = host.analyze(b"x", "failing")

    assert outcome.failure.kind is FailureKind.UNAVAILABLE
    assert is_told(outcome.failure.message, where, how)
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    (status,) = host.workers()
    assert status[:4] == ("failing", 0, "unavailable", outcome.failure.message)
    if how.startswith("raises"):
        assert "Traceback" in outcome.failure.traceback


@pytest.mark.parametrize(("where", "how"), [case for case in REASONS if case[1] != "raises by mistake"])
def test_an_engine_that_fails_to_start_once_serves_afterwards(
    where, how, failing, process_host, quick_retries, journal, caplog
):
    failing(where, how, times=1)
    host = process_host(count=1, **limits(where, how))

    outcomes = [host.submit(b"%d" % number, "failing") for number in range(3)]

    assert [outcome.result(PATIENCE).failure for outcome in outcomes] == [None] * 3
    assert outcomes[0].result().analysis.metadata.product == "Of the test"
    assert len(journal.of(where)) >= 2
    assert [status.state for status in host.workers()] == ["idle"]
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    reason = messages[0].removeprefix("engine failing is unavailable: ").removesuffix("; it is tried again")
    assert is_told(reason, where, how)
    assert messages[-1] == "engine failing is available again"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            "import no_such_module_of_the_test",
            "is broken: ModuleNotFoundError: No module named 'no_such_module_of_the_test'",
            id="import error",
        ),
        pytest.param("def broken(:", "is broken: SyntaxError", id="syntax error"),
        pytest.param("ANSWER = 42", "analyze", id="without analyze"),
        pytest.param(
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact): return Analysis.benign()
            @hookimpl
            def analyse(artifact): return Analysis.benign()
            """,
            "analyse",
            id="a misspelt hook",
        ),
        pytest.param(
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact, filename="x"): return Analysis.benign()
            """,
            "filename",
            id="an argument that no hook has",
        ),
        pytest.param(
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def info(): return {"product": "X"}
            @hookimpl
            def analyze(artifact): return Analysis.benign()
            """,
            "engine wrong: info: must return an EngineInfo, not a dict",
            id="info of another type",
        ),
        pytest.param(
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup(): return 5
            @hookimpl
            def analyze(artifact): return Analysis.benign()
            """,
            "engine wrong: setup: must return a mapping or None, not a int",
            id="setup of another type",
        ),
    ],
)
def test_an_engine_against_the_contract_is_unavailable_as_with_the_local_backend(
    source, message, engine_site, process_host
):
    engine_site.add("wrong", source)
    outcome = process_host(count=1, patience=0.0).analyze(b"x", "wrong")
    assert outcome.failure.kind is FailureKind.UNAVAILABLE
    assert message in outcome.failure.message
    assert "\n" not in outcome.failure.message

    from psengine_host.host import Host

    with Host(catalog=engine_site.catalog()) as local:
        assert local.analyze(b"x", "wrong").failure.message == outcome.failure.message


def test_two_distributions_with_one_name_are_broken_and_both_named(engine_site, process_host):
    engine_site.add("twice", distribution="first-of-two")
    engine_site.add("twice", distribution="second-of-two")
    engine_site.add("once")
    host = process_host()
    outcome = host.judge(Bounty.local(data=b"x"), "twice").result(PATIENCE)
    assert outcome.failure.kind is FailureKind.UNAVAILABLE
    assert "first-of-two" in outcome.failure.message
    assert "second-of-two" in outcome.failure.message
    (status,) = [status for status in host.workers() if status.engine == "twice"]
    assert status.state == "unavailable"
    assert host.analyze(b"x", "once").failure is None


def test_other_engines_serve_meanwhile(failing, engine_site, process_host):
    failing("setup", "hangs", name="hanging")
    failing("open_session", "dies", name="dying")
    engine_site.add("good")
    host = process_host(count=2)
    waiting = [host.submit(b"%d" % number, engine) for number in range(5) for engine in ("hanging", "dying")]
    for number in range(50):
        assert host.analyze(b"%d" % number, "good").failure is None
    assert not any(bounty.done() for bounty in waiting)
    host.cancel()


def test_bounties_wait_until_their_deadline(failing, process_host):
    failing("open_session", "raises")
    host = process_host(count=1, timeout=2.0)
    began = time.monotonic()
    first = host.submit(b"1", "failing")
    second = host.judge_file(__file__, "failing")
    assert first.result(PATIENCE).failure.kind is FailureKind.UNAVAILABLE
    assert second.result(PATIENCE).outcome.failure.kind is FailureKind.UNAVAILABLE
    assert second.result().outcome.failure.message == "engine failing: open_session: no licence"
    assert second.result().size == os.path.getsize(__file__)
    assert time.monotonic() - began >= 2.0


def test_bounties_wait_for_as_long_as_the_settings_say(failing, process_host):
    failing("open_session", "raises")
    host = process_host(count=1, patience=0.3)
    began = time.monotonic()
    assert host.analyze(b"1", "failing").failure.kind is FailureKind.UNAVAILABLE
    assert 0.3 <= time.monotonic() - began < PATIENCE / 2


def test_the_close_of_the_host_does_not_wait_for_an_engine_that_does_not_start(failing, process_host, until):
    failing("open_session", "raises")
    host = process_host(count=1)
    bounty = host.submit(b"1", "failing")
    until(lambda: [status.state for status in host.workers()] == ["unavailable"])
    host.close()
    assert bounty.result(0).failure.kind is FailureKind.UNAVAILABLE


def test_the_time_between_two_starts_doubles_up_to_a_minute(failing, process_host, journal, monkeypatch, until):
    # With a first pause of 20 ms rather than a second; the clock is the real one.
    monkeypatch.setattr(standing, "FIRST_BACKOFF", 0.02)
    monkeypatch.setattr(standing, "_LONGEST_BACKOFF", 0.3)
    failing("open_session", "raises")
    host = process_host(count=4)
    bounties = [host.submit(b"%d" % number, "failing") for number in range(8)]
    until(lambda: len(journal.of("open_session")) >= 10)
    host.cancel()
    moments = sorted(float(moment) for (moment,) in journal.of("open_session"))
    # Four workers fail together at first; then there is one try at a time.
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments[4:10])]
    assert all(pause >= least for pause, least in zip(pauses, [0.04, 0.08, 0.16, 0.3, 0.3], strict=True))
    assert all(bounty.cancelled() for bounty in bounties)


def test_the_pauses_are_from_one_second_to_one_minute():
    assert (standing.FIRST_BACKOFF, standing._LONGEST_BACKOFF) == (1.0, 60.0)


def test_what_a_failed_start_began_is_ended(engine_site, process_host, journal):
    engine_site.add(
        "failing",
        """
        import os
        from psengine_host import Analysis, hookimpl
        def note(word):
            with open(os.environ["JOURNAL"], "a") as journal:
                journal.write(f"{word} {os.getpid()}\\n")
        @hookimpl
        def open_session():
            note("opened")
            yield 1
            note("closed")
        @hookimpl
        def info():
            raise LookupError("no version")
        @hookimpl
        def analyze(artifact): return Analysis.benign()
        """,
    )
    host = process_host(count=1, patience=0.0)
    assert host.analyze(b"x", "failing").failure.message == "engine failing: info: LookupError: no version"
    host.close()
    assert journal.of("opened") == journal.of("closed") != []


def test_one_worker_of_two_that_does_not_start_holds_up_nobody(engine_site, process_host, journal, until):
    # The first to open its session is well; every other one fails.
    engine_site.add(
        "odd",
        """
        import os
        from psengine_host import Analysis, hookimpl
        @hookimpl
        def open_session():
            try:
                os.close(os.open(os.environ["JOURNAL"] + ".first", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                raise LookupError("only one at a time") from None
        @hookimpl
        def analyze(artifact): return Analysis.benign()
        """,
    )
    host = process_host(count=2, patience=0.0)
    outcomes = [host.submit(b"%d" % number, "odd") for number in range(50)]
    assert {outcome.result(PATIENCE).failure for outcome in outcomes} == {None}
    until(lambda: [status.state for status in host.workers()] == ["idle"])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "the process cannot be made ready: {python} cannot be run: No such file or directory"),
        ("no program", "the process cannot be made ready: {python} cannot be run: Exec format error"),
        (
            "#!/bin/sh\necho 'No module of that name' >&2\nexit 1\n",
            "its process exited with code 1 while it was loaded: No module of that name",
        ),
    ],
)
def test_another_interpreter_that_cannot_do_it_is_told_in_its_own_words(
    script, message, engine_site, process_host, tmp_path
):
    engine_site.add("plain")
    python = tmp_path / "python"
    if script is not None:
        python.write_text(script)
        python.chmod(0o755)
    host = process_host(count=1, patience=0.0, python=str(python))
    assert host.analyze(b"x", "plain").failure.message == message.format(python=python)


def test_another_interpreter_that_has_all_it_needs_serves(engine_site, process_host, monkeypatch):
    engine_site.add(
        "asking",
        """
        import sys
        from psengine_host import Analysis, hookimpl
        @hookimpl
        def analyze(artifact): return Analysis.benign(comments=[repr(sys.orig_argv)])
        """,
    )
    # What it imports it finds by itself, as an interpreter of another installation does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    host = process_host(count=2, max_tasks_per_worker=2, python=sys.executable)
    outcomes = [host.submit(b"%d" % number, "asking") for number in range(10)]
    assert [outcome.result(PATIENCE).failure for outcome in outcomes] == [None] * 10
    assert all("psengine_host.backends.process.worker" in outcome.result().analysis.comments[0] for outcome in outcomes)
