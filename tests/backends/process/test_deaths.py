"""An engine that dies, in every way there is: three tries, ``unknown`` with the reason, and nobody else is harmed."""

import hashlib
import logging
import os
import signal

import pytest

from psengine_host.analysis import Verdict
from psengine_host.errors import ArtifactError
from psengine_host.hookspecs import hookimpl
from psengine_host.outcome import FailureKind

PATIENCE = 60


@pytest.fixture
def host(faulty, process_host):
    faulty("deaths")
    return process_host(count=2)


def is_right(outcome, text):
    return (
        outcome.failure is None and outcome.analysis.verdict is Verdict.BENIGN and outcome.analysis.comments[0] == text
    )


@pytest.mark.parametrize(
    ("way", "fate"),
    [
        ("segfault", "died of SIGSEGV"),
        ("real_segfault", "died of SIGSEGV"),
        ("kill", "died of SIGKILL"),
        ("terminate", "died of SIGTERM"),
        ("exit_0", "exited with code 0"),
        ("exit_7", "exited with code 7"),
        ("c_exit", "exited with code 0"),
        ("abort", "died of SIGABRT"),
        ("divide", "died of SIGFPE"),
        ("real_time", "died of signal 37"),
        ("kill_from_thread", "died of SIGKILL"),
        ("exit_from_thread", "exited with code 0"),
    ],
)
def test_a_death_over_a_bounty_is_three_tries_and_then_an_answer(host, journal, way, fate):
    outcome = host.analyze(way.encode(), "deaths")

    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.bid == 0
    assert outcome.failure.kind is FailureKind.WORKER_LOST
    assert outcome.failure.message == f"the worker {fate} in each of 3 tries"
    assert outcome.analysis.comments == ("ERROR:WORKER-LOST", outcome.failure.message)
    assert journal.of("analyze") == [[way]] * 3
    assert is_right(host.analyze(b"innocent", "deaths"), "innocent")


def test_sys_exit_is_a_failure_and_no_death(host, journal):
    outcome = host.analyze(b"sys_exit", "deaths")

    assert outcome.failure.kind is FailureKind.ENGINE
    assert outcome.failure.message == "called sys.exit(3)"
    assert outcome.analysis.comments[0] == "ERROR:ENGINE"
    assert journal.of("analyze") == [["sys_exit"]]


def test_the_traceback_of_a_crash_says_where_it_was_in_python(host):
    failure = host.analyze(b"segfault", "deaths").failure

    assert failure.traceback.startswith("Fatal Python error: Segmentation fault\n")
    assert "in analyze" in failure.traceback
    assert host.analyze(b"kill", "deaths").failure.traceback == ""


def test_the_time_that_workers_were_at_work_is_told_although_none_answered(engine_site, process_host, caplog):
    engine_site.add(
        "slow",
        """
        import os, time
        from psengine_host import hookimpl
        @hookimpl
        def analyze(artifact):
            time.sleep(float(artifact.read_bytes()))
            os._exit(1)
        """,
    )
    host = process_host(count=1, timeout=0.5)

    assert host.analyze(b"0.1", "slow").timings.judge >= 0.3  # in three tries
    assert host.analyze(b"600", "slow").timings.judge >= 0.5
    assert "engine slow: worker 1 took longer than 0.5 s and was killed over bytes" in caplog.messages


@pytest.mark.parametrize("way", ["segfault", "kill", "exit_0", "abort"])
def test_who_dies_once_is_answered_on_the_second_try(host, journal, way):
    text = f"once {way}"

    outcome = host.analyze(text.encode(), "deaths")

    assert is_right(outcome, text)
    assert journal.of("analyze") == [text.split()] * 2


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_the_number_of_tries_is_a_setting(faulty, process_host, journal, tries):
    faulty("deaths")

    outcome = process_host(count=1, tries=tries).analyze(b"exit_7", "deaths")

    times = "" if tries == 1 else f" in each of {tries} tries"
    assert outcome.failure.message == f"the worker exited with code 7{times}"
    assert len(journal.of("analyze")) == tries


def test_others_are_neither_harmed_nor_blamed_nor_judged_twice(host, journal, caplog):
    texts = [f"innocent-{number}" for number in range(300)]
    for place, way in enumerate(["segfault", "kill", "exit_0", "abort", "exit_from_thread"]):
        texts.insert(50 * (place + 1), way)

    futures = [host.submit(text.encode(), "deaths") for text in texts]

    for text, future in zip(texts, futures, strict=True):
        outcome = future.result(PATIENCE)
        if text.startswith("innocent"):
            assert is_right(outcome, text)
        else:
            assert outcome.failure.kind is FailureKind.WORKER_LOST
    judged = [text for (text,) in journal.of("analyze")]
    assert sorted(judged) == sorted(text for text in texts for _ in range(1 if text.startswith("innocent") else 3))
    deaths = [record.getMessage() for record in caplog.records if " (3 of 3)" in record.getMessage()]
    assert len(deaths) == 5


def test_a_hang_on_the_second_try_is_a_timeout_and_the_last(faulty, process_host, journal):
    faulty("deaths")
    host = process_host(count=2, timeout=0.4)

    outcome = host.analyze(b"die-then-hang", "deaths")

    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert journal.of("analyze") == [["die-then-hang"]] * 2


def test_observers_hear_of_a_lost_worker_once(faulty, process_host):
    faulty("deaths")
    heard = []

    class Observer:
        @hookimpl
        def on_error(self, bounty, failure, analysis):
            heard.append((bounty.sha256, failure.kind, analysis.comments[0]))

        @hookimpl
        def on_success(self, analysis):
            heard.append(analysis.comments[0])

    host = process_host(count=2, observers=[Observer()])
    for text in (b"kill", b"innocent"):
        host.analyze(text, "deaths")
    host.close()

    assert heard == [(hashlib.sha256(b"kill").hexdigest(), FailureKind.WORKER_LOST, "ERROR:WORKER-LOST"), "innocent"]


def test_each_try_is_the_first_thing_that_a_worker_does(host, journal):
    # Whatever an earlier bounty left in a worker is not to be the end of one that has lost a worker already.
    warm = set()
    while len(warm) < 2:
        futures = [host.submit(b"warm", "deaths") for _ in range(200)]
        warm |= {future.result(PATIENCE).analysis.comments[1] for future in futures}

    outcome = host.analyze(b"once kill", "deaths")

    assert is_right(outcome, "once kill")
    assert outcome.analysis.comments[1] not in warm
    assert journal.of("analyze")[-2:] == [["once", "kill"]] * 2


def test_retries_go_before_what_waits_and_keep_the_order_of_the_rest(faulty, process_host, journal):
    faulty("deaths")
    host = process_host(count=1)
    host.analyze(b"ready", "deaths")
    texts = ["a", "b", "kill", "c", "d", "once exit_0", "e"]

    for future in [host.submit(text.encode(), "deaths") for text in texts]:
        future.result(PATIENCE)

    judged = [" ".join(words) for words in journal.of("analyze")]
    assert judged == ["ready", "a", "b", "kill", "kill", "kill", "c", "d", "once exit_0", "once exit_0", "e"]


def test_different_deaths_over_one_bounty_are_all_told(faulty, process_host, journal, caplog):
    faulty("deaths")
    host = process_host(count=1)

    outcome = host.analyze(b"varied", "deaths")

    assert outcome.failure.message == "the worker died of SIGSEGV, exited with code 7, died of SIGABRT in 3 tries"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "engine deaths: the worker died of SIGSEGV over bytes (1 of 3)",
        "engine deaths: the worker exited with code 7 over bytes (2 of 3)",
        "engine deaths: the worker died of SIGABRT over bytes (3 of 3)",
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_idle_worker_that_is_killed_is_replaced_and_nobody_is_blamed(
    host, journal, processes, until, caplog, number
):
    assert is_right(host.analyze(b"first", "deaths"), "first")
    (worker,) = processes(host)

    os.kill(worker, number)
    until(lambda: worker not in processes(host))

    assert is_right(host.analyze(b"second", "deaths"), "second")
    assert journal.of("analyze") == [["first"], ["second"]]
    until(lambda: "while it was idle" in caplog.text)
    assert f"engine deaths: worker 1 died of {signal.Signals(number).name} while it was idle" in caplog.text


def test_a_file_that_kills_its_workers_is_answered_with_what_it_is(host, tmp_path):
    deadly, innocent = tmp_path / "deadly", tmp_path / "innocent"
    deadly.write_text("kill")
    innocent.write_text("innocent")

    lost = host.judge_file(str(deadly), "deaths")
    judged = host.judge_file(str(innocent), "deaths")

    outcome, size = lost.result(PATIENCE)
    assert outcome.failure.kind is FailureKind.WORKER_LOST
    assert size == 4
    assert outcome.bounty.sha256 == hashlib.sha256(b"kill").hexdigest()
    outcome, size = judged.result(PATIENCE)
    assert is_right(outcome, "innocent")
    assert size == 8


def test_a_deadly_file_that_is_gone_meanwhile_is_an_error_and_no_silence(host, tmp_path):
    deadly = tmp_path / "deadly"
    deadly.write_text("remove")

    with pytest.raises(ArtifactError, match="deadly"):
        host.judge_file(str(deadly), "deaths").result(PATIENCE)
