"""An engine that spoils its own process: what it answers is heard, and the next bounty fares as well."""

import logging
import time

import pytest

from psengine_host.analysis import Verdict
from psengine_host.outcome import FailureKind

PATIENCE = 60

HARMLESS = (
    "close_standard",
    "close_python_streams",
    "no_streams",
    "use_0_to_2",
    "chdir_root",
    "chdir_nowhere",
    "remove_own_folder",
    "handlers",
    "ignore_children",
    "block_signals",
    "threads",
    "busy_thread",
    "failing_thread",
    "umask",
    "few_files",
    "environment",
    "recursion",
    "default_timeout",
    "no_collector",
    "no_logging",
    "at_exit",
    "error_warnings",
    "nice",
    "trace",
    "hide_modules",
    "fork_that_comes_back",
    "fork_that_raises",
    "fork_that_exits",
    "fork_in_a_thread",
    "wait_for_anybody",
    "new_handler",
)
"""What ends nobody: not even the process that does it."""
FATAL = {
    "close_channel": "exited with code 1",
    "close_channel_and_wait": "was killed: it closed its channel",
    "close_everything": "exited with code 120",
    "replace_channel": "exited with code 1",
    "shut_channel": "exited with code 1",
    "alarm": "died of SIGALRM",
}
"""What ends its own process, and how that is told."""


def said(outcome):
    assert outcome.failure is None, outcome.failure
    assert outcome.analysis.verdict is Verdict.BENIGN
    return outcome.analysis.comments[0]


@pytest.fixture
def host(faulty, process_host):
    faulty("misbehaving")
    # One process for each: whatever one does is not to be blamed on another.
    return process_host(count=1, max_tasks_per_worker=3)


def test_what_an_engine_does_to_its_process_harms_no_bounty(host, journal, until, processes):
    futures = []
    for way in HARMLESS:
        # The one that does it, a small one after it in the same process, and one whose artifact is in a file.
        futures.append(host.submit(way.encode(), "misbehaving"))
        futures.append(host.submit(b"next 300000", "misbehaving"))
        futures.append(host.submit(b"large 0" + b" " * 200_000, "misbehaving"))
    outcomes = [future.result(PATIENCE) for future in futures]

    ways = [way for way in HARMLESS for _ in range(3)]
    assert [(way, outcome.failure) for way, outcome in zip(ways, outcomes, strict=True) if outcome.failure] == []
    assert [said(outcome) for outcome in outcomes] == [name for way in HARMLESS for name in (way, "next", "large")]
    workers = [outcome.analysis.comments[1] for outcome in outcomes]
    for place, way in enumerate(HARMLESS):
        assert len(set(workers[3 * place : 3 * place + 3])) == 1, way
    assert len(set(workers)) == len(HARMLESS)
    judged = [way for way, _ in journal.of("analyze")]
    assert judged == [name for way in HARMLESS for name in (way, "next", "large")]
    assert len(journal.of("fork")) == 4
    until(lambda: processes(host) == [])


def test_what_ends_its_own_process_is_told_and_ends_no_other(host, journal):
    outcomes = {}
    for way in FATAL:
        outcomes[way] = host.submit(way.encode(), "misbehaving")
        outcomes[f"after {way}"] = host.submit(b"next", "misbehaving")

    for way, fate in FATAL.items():
        failure = outcomes[way].result(PATIENCE).failure
        assert failure.kind is FailureKind.WORKER_LOST
        assert failure.message == f"the worker {fate} in each of 3 tries", way
        assert said(outcomes[f"after {way}"].result(PATIENCE)) == "next"
    judged = [way for way, _ in journal.of("analyze")]
    assert judged == [name for way in FATAL for name in (way, way, way, "next")]


def test_a_channel_that_was_made_non_blocking_costs_the_worker_at_most(host):
    outcome = host.analyze(b"blocking_channel 1000000", "misbehaving")

    assert outcome.failure is None or outcome.failure.kind is FailureKind.WORKER_LOST
    assert said(host.analyze(b"next", "misbehaving")) == "next"


@pytest.mark.parametrize("way", ["threads", "at_exit", "busy_thread", "handlers", "block_signals"])
def test_the_end_of_the_host_waits_for_nothing_that_a_worker_left_behind(faulty, process_host, way):
    faulty("misbehaving")
    host = process_host(count=1)
    assert said(host.analyze(way.encode(), "misbehaving")) == way

    began = time.monotonic()
    host.close()

    assert time.monotonic() - began < 10


def test_a_logger_for_each_bounty_is_heard_and_not_kept(host, caplog, until):
    named = logging.getLogger("misbehaving.7")
    named.setLevel(logging.ERROR)
    before = set(logging.root.manager.loggerDict)

    futures = [host.submit(b"log %d" % number, "misbehaving") for number in range(50)]
    assert [said(future.result(PATIENCE)) for future in futures] == ["log"] * 50

    heard = {record.name: record.getMessage() for record in caplog.records if record.name.startswith("misbehaving")}
    assert heard == {f"misbehaving.{number}": f"hello from {number}" for number in range(50) if number != 7}
    assert not [name for name in set(logging.root.manager.loggerDict) - before if name.startswith("misbehaving")]
