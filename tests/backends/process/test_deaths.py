"""An engine that dies, in every way there is: three tries, ``unknown`` with the reason, and nobody else is harmed."""

import pytest

from psengine_host.analysis import Verdict
from psengine_host.outcome import FailureKind


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
