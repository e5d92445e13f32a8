"""An engine that never comes back: its worker is dead at most a second after its limit, and the bounty answered."""

import os
import select
import signal
import time

import pytest

from psengine_host.analysis import Verdict
from psengine_host.outcome import FailureKind

LIMIT = 0.4
"""Seconds that a bounty may take here."""
LATEST = 1.0
"""Seconds after its limit at which a worker is dead at the latest: the promise that is tested."""
PATIENCE = 60


@pytest.fixture
def host(faulty, process_host):
    faulty("hangs")
    host = process_host(count=1, timeout=LIMIT)
    # What takes long before the first bounty is not what is measured.
    assert host.analyze(b"ready", "hangs").failure is None
    return host


@pytest.mark.parametrize(
    "way",
    [
        "sleep",
        "all_signals_blocked",
        "swallow",
        "regex",
        "c_loop_with_gil",
        "c_loop_without_gil",
        "pause_with_gil",
        "deadlock",
        "stop",
        "stop_group",
        "read_for_ever",
        "print_for_ever",
        "log_for_ever",
        "half_a_frame",
        "endless_answer",
    ],
)
def test_a_hang_is_killed_at_its_limit_and_answered_and_not_tried_again(host, journal, until, processes, way):
    future = host.submit(way.encode(), "hangs")
    (_, process, began) = until(lambda: [line for line in journal.of("began") if line[0] == way])[0]
    pidfd = os.pidfd_open(int(process))
    try:
        assert select.select([pidfd], [], [], PATIENCE)[0]
        took = time.monotonic() - float(began)
    finally:
        os.close(pidfd)
    outcome = future.result(PATIENCE)

    assert LIMIT <= took <= LIMIT + LATEST
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.bid == 0
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert outcome.failure.message == f"took longer than {LIMIT} s and was killed"
    assert outcome.analysis.comments == ("ERROR:TIMEOUT", outcome.failure.message)
    until(lambda: processes(host) == [])

    assert host.analyze(b"innocent", "hangs").analysis.comments == ("innocent",)
    assert [line[0] for line in journal.of("began")] == ["ready", way, "innocent"]


def test_what_waits_behind_a_hang_is_judged_by_the_next_worker(host, journal):
    futures = [host.submit(text, "hangs") for text in (b"one", b"sleep", b"two", b"c_loop_with_gil", b"three")]

    outcomes = [future.result(PATIENCE) for future in futures]

    assert [outcome.failure and outcome.failure.kind for outcome in outcomes] == [
        None,
        FailureKind.TIMEOUT,
        None,
        FailureKind.TIMEOUT,
        None,
    ]
    assert [line[0] for line in journal.of("began")] == ["ready", "one", "sleep", "two", "c_loop_with_gil", "three"]


def test_an_idle_worker_that_somebody_stops_costs_one_bounty_its_limit(host, journal, processes, until):
    (worker,) = processes(host)
    os.kill(worker, signal.SIGSTOP)

    outcome = host.analyze(b"unlucky", "hangs")

    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert host.analyze(b"next", "hangs").analysis.comments == ("next",)
    until(lambda: worker not in processes(host))
    assert [line[0] for line in journal.of("began")] == ["ready", "next"]


def test_a_hang_holds_up_no_other_worker(faulty, process_host, journal):
    faulty("hangs")
    host = process_host(count=2)
    hanging = host.submit(b"c_loop_without_gil", "hangs")

    outcomes = [host.submit(b"%d" % number, "hangs") for number in range(200)]

    assert [future.result(PATIENCE).analysis.comments for future in outcomes] == [(str(n),) for n in range(200)]
    assert len(journal.of("began")) == 201
    assert not hanging.done()
    host.cancel()
    assert hanging.cancelled()


def test_one_engine_can_have_a_limit_of_its_own(faulty, process_host, journal):
    faulty("hangs")
    host = process_host(engine_limits={"hangs": {"timeout": 0.2}})

    outcome = host.analyze(b"sleep", "hangs")

    assert outcome.failure.message == "took longer than 0.2 s and was killed"
    assert len(journal.of("began")) == 1
