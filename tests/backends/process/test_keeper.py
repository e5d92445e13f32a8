"""The keeper's end: the host notices, starts another, and answers what ran; nothing of the old one is left."""

import os
import signal
import subprocess
import sys
from concurrent.futures import wait
from textwrap import dedent

import pytest

from psengine_host.analysis import Verdict
from psengine_host.backends.process import child, standing
from psengine_host.backends.process.linux import children_of
from psengine_host.outcome import FailureKind

PATIENCE = 60

WAITING = """
    import os
    import signal
    import subprocess
    import sys
    from psengine_host import Analysis, hookimpl

    DAEMON = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(600)"

    def note(*words):
        with open(os.environ["JOURNAL"], "a") as journal:
            journal.write(" ".join(map(str, words)) + "\\n")

    @hookimpl
    def setup():
        daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
        note("home", os.getpid(), daemon.pid)
        return {}

    @hookimpl
    def analyze(artifact):
        word = artifact.read_bytes()
        if word.startswith(b"grow") and not os.path.exists(os.environ["JOURNAL"] + ".grown"):
            os.mkdir(os.environ["JOURNAL"] + ".grown")
            subprocess.Popen(["sleep", "600"])
            # Only its guard can tell whose this one is when the keeper is killed.
            if artifact.read_bytes() == b"grow and hide":
                subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
            else:
                subprocess.Popen(["sleep", "600"], start_new_session=True)
            subprocess.run([sys.executable, "-c", DAEMON], check=True)
            if os.fork() == 0:
                os.setsid()
                while True:
                    signal.pause()
            note("grown", os.getpid())
            signal.pause()
        if word == b"murder":
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        return Analysis.benign(comments=[str(os.getpid())])
"""


@pytest.fixture
def waiting(engine_site, journal):
    engine_site.add("waiting", WAITING)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """What failed is started again after 50 ms rather than a second."""
    monkeypatch.setattr(standing, "FIRST_BACKOFF", 0.05)


def keeper_of(host):
    return host.backend._about.keeping.process


def test_is_replaced_and_what_ran_is_answered(waiting, process_host, journal, processes, alive, until, caplog):
    host = process_host(count=1)
    grown = host.submit(b"grow and hide", "waiting")
    others = [host.submit(b"%d" % number, "waiting") for number in range(20)]
    until(lambda: journal.of("grown"))
    family = processes(host)
    keeper = keeper_of(host)
    # The keeper itself; home, its daemon; worker, two children, a daemon, a fork.
    assert len(family) == 2 + 5
    os.kill(keeper, signal.SIGKILL)

    assert grown.result(PATIENCE).failure is None
    assert [other.result(PATIENCE).failure for other in others] == [None] * 20
    until(lambda: not any(map(alive, [keeper, *family])))
    assert keeper_of(host) not in (None, keeper)
    assert "the keeper of the engines' processes was ended by SIGKILL; another is started" in caplog.text
    assert len(journal.of("home")) == 2


def test_what_ran_over_the_death_of_several_keepers_is_given_up_with_the_reason(waiting, process_host, journal, until):
    # An engine that kills its keeper is no better than one that kills itself.
    host = process_host(count=1, tries=2)
    assert host.analyze(b"x", "waiting").failure is None
    outcome = host.analyze(b"murder", "waiting")
    assert outcome.failure.kind is FailureKind.WORKER_LOST
    assert outcome.failure.message == "the worker died with its keeper in each of 2 tries"
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert host.analyze(b"y", "waiting").failure is None


def test_may_be_killed_again_and_again(waiting, process_host, processes, alive, until):
    host = process_host(count=2, tries=10)
    seen = []
    for round_number in range(6):
        outcomes = [host.submit(b"%d %d" % (round_number, number), "waiting") for number in range(10)]
        keeper = until(lambda: keeper_of(host))
        seen += [keeper, *processes(host)]
        os.kill(keeper, signal.SIGKILL)
        done, not_done = wait(outcomes, PATIENCE)
        assert not not_done
        assert {outcome.result().failure for outcome in done} == {None}
    until(lambda: not any(map(alive, seen)))


def test_its_guard_takes_it_along(waiting, process_host, journal, processes, alive, until, caplog):
    # What has kept its environment is found by the mark in it.
    host = process_host(count=1)
    grown = host.submit(b"grow", "waiting")
    until(lambda: journal.of("grown"))
    keeper = keeper_of(host)
    with open(f"/proc/{keeper}/stat", encoding="ascii") as file:
        guard = int(file.read().rpartition(")")[2].split()[1])
    assert children_of(guard) == [keeper]
    family = [guard, keeper, *processes(host)]
    os.kill(guard, signal.SIGKILL)

    assert grown.result(PATIENCE).failure is None
    until(lambda: not any(map(alive, family)))
    assert "the keeper of the engines' processes was ended by SIGKILL; another is started" in caplog.text


def test_is_not_missed_while_nothing_runs(waiting, process_host, until, alive):
    host = process_host(count=1)
    host.analyze(b"x", "waiting")
    keeper = keeper_of(host)
    os.kill(keeper, signal.SIGKILL)
    until(lambda: host.workers() == [])
    assert not alive(keeper)
    assert keeper_of(host) is None, "the next bounty starts one"
    assert host.analyze(b"y", "waiting").failure is None


def test_dies_with_all_at_the_close_while_something_runs(waiting, process_host, journal, processes, alive, until):
    host = process_host(count=1)
    grown = host.submit(b"grow", "waiting")
    until(lambda: journal.of("grown"))
    family = [keeper_of(host), *processes(host)]
    host.cancel()
    host.close()
    assert grown.cancelled()
    assert not any(map(alive, family))


def test_one_that_cannot_be_started_makes_engines_unavailable_and_says_why(engine_site, tmp_path):
    engine_site.add("plain")
    program = """
        import sys
        from psengine_host.host import Host
        from psengine_host.settings import Settings, WorkerSettings
        sys.executable = sys.argv[1]
        with Host(Settings(workers=WorkerSettings(patience=0.0)), backend="process") as host:
            print(host.analyze(b"x", "plain").failure.message)
    """

    def said(executable):
        done = subprocess.run(
            [sys.executable, "-c", dedent(program), executable],
            env=engine_site.env(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout, done.stderr

    out, _ = said(str(tmp_path / "nothing"))
    assert out.startswith("no process can be started: ")
    assert str(tmp_path / "nothing") in out
    out, _ = said("")
    assert out == (
        "no process can be started: this Python does not know its own program (sys.executable), which the process "
        "backend starts\n"
    )
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho of the keeper >&2\nexit 7\n")
    failing.chmod(0o755)
    out, err = said(str(failing))
    assert out in (
        "its process died with its keeper while it was loaded\n",
        "no process can be started: ConnectionResetError: the keeper has just ended\n",
    ), "whichever comes first"
    assert "the keeper of the engines' processes ended with exit code 7; another is started: of the keeper" in err


def test_has_no_descriptor_of_the_host_and_gives_none_to_engines(engine_site, process_host, tmp_path):
    engine_site.add(
        "listing",
        """
        import os
        from psengine_host import Analysis, hookimpl
        @hookimpl
        def analyze(artifact):
            found = {}
            for number in os.listdir("/proc/self/fd"):
                try:
                    found[number] = os.readlink(f"/proc/self/fd/{number}")
                except OSError:
                    pass
            return Analysis.benign(comments=[f"{number} {target}" for number, target in sorted(found.items())])
        """,
    )
    secret = tmp_path / "secret"
    secret.touch()
    inherited = os.open(secret, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        host = process_host(count=1)
        listed = host.analyze(b"x", "listing").analysis.comments
        keeper = keeper_of(host)
        of_keeper = [os.readlink(f"/proc/{keeper}/fd/{number}") for number in os.listdir(f"/proc/{keeper}/fd")]
    finally:
        os.close(inherited)
    kinds = [line.split(":")[0].partition(" ")[2] for line in listed]
    assert kinds == ["/dev/null", "pipe", "pipe", "socket", *kinds[4:]]
    assert not any("secret" in line for line in [*listed, *of_keeper])
    assert "/dev/null" in of_keeper


def test_reaps_what_engines_leave_behind(engine_site, process_host, until):
    engine_site.add(
        "leaving",
        """
        import os, subprocess, sys
        from psengine_host import Analysis, hookimpl
        @hookimpl
        def analyze(artifact):
            for _ in range(3):
                subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
            return Analysis.benign()
        """,
    )
    host = process_host(count=1, max_tasks_per_worker=1)
    for number in range(5):
        assert host.analyze(b"%d" % number, "leaving").failure is None
    until(lambda: host.workers() == [])
    until(lambda: children_of(keeper_of(host)) == [])


def test_one_that_was_stopped_is_replaced(waiting, process_host, monkeypatch, caplog, alive, until):
    monkeypatch.setattr(child, "_UNHEARD", 0.5)
    host = process_host(count=1, timeout=1.0)
    assert host.analyze(b"x", "waiting").failure is None
    keeper = keeper_of(host)
    os.kill(keeper, signal.SIGSTOP)

    # The worker is killed at its limit, and nobody tells its end.
    assert host.analyze(b"grow", "waiting").failure.kind is FailureKind.TIMEOUT
    assert host.analyze(b"y", "waiting").failure is None
    assert keeper_of(host) not in (None, keeper)
    assert not alive(keeper)
    assert "the keeper of the engines' processes does not answer, and is killed" in caplog.text


def test_one_that_is_stopped_before_it_starts_a_process_is_replaced(waiting, process_host, monkeypatch, until):
    monkeypatch.setattr(child, "_UNHEARD", 0.5)
    host = process_host(count=1, start_timeout=3.0)
    assert host.analyze(b"x", "waiting").failure is None
    worker = host.backend._fleets["waiting"]._crew.children[0]
    keeper = keeper_of(host)
    os.kill(worker.process, signal.SIGKILL)
    until(lambda: worker.fate)
    os.kill(keeper, signal.SIGSTOP)

    assert host.analyze(b"y", "waiting").failure is None
    assert keeper_of(host) not in (None, keeper)
