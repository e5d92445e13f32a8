"""What an engine starts and leaves behind is gone when its worker is gone, or at most a second later."""

import os
import select
import time

import pytest

from psengine_host.outcome import FailureKind

KINDS = ("same_group", "session", "daemon", "stopped", "tree", "keeps_channel", "restless")
LATEST = 1.0
"""Seconds after its worker that a stray lives at most: the promise that is tested."""
PATIENCE = 60


def death_of_worker(journal, until):
    """The moment at which the worker that has left something behind ends, on the clock of ``time.monotonic``."""
    (process, _) = until(lambda: journal.of("left"))[0]
    try:
        pidfd = os.pidfd_open(int(process))
    except ProcessLookupError:
        return time.monotonic()
    try:
        assert select.select([pidfd], [], [], PATIENCE)[0]
        return time.monotonic()
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("end", "kept"), [("hang", FailureKind.TIMEOUT), ("die", FailureKind.WORKER_LOST), ("return", None)]
)
def test_what_is_left_behind_goes_with_the_worker(
    faulty, process_host, journal, until, processes, alive, kind, end, kept
):
    faulty("children")
    host = process_host(count=1, timeout=0.3 if end == "hang" else PATIENCE, tries=1, max_tasks_per_worker=1)

    future = host.submit(f"{kind} {end}".encode(), "children")
    dead = death_of_worker(journal, until)
    until(lambda: processes(host) == [])
    gone = time.monotonic()

    failure = future.result(PATIENCE).failure
    assert (failure and failure.kind) == kept
    assert gone - dead <= LATEST
    assert not any(alive(int(process)) for (process,) in journal.of("child"))


def test_the_end_of_the_host_is_the_end_of_what_is_left_behind(faulty, process_host, processes):
    faulty("children")
    host = process_host(count=2)
    for future in [host.submit(kind.encode(), "children") for kind in KINDS]:
        assert future.result(PATIENCE).failure is None
    family = processes(host)
    assert len(family) > len(KINDS)

    began = time.monotonic()
    host.close()

    # The fixture looks whether anything is left.
    assert time.monotonic() - began < PATIENCE
    assert processes(host) == []


def test_an_engine_that_forks_without_end_is_stopped_before_it_is_too_much(faulty, process_host, until, processes):
    faulty("children")
    host = process_host(count=1, tries=1, max_memory=0)

    outcome = host.analyze(b"bomb hang", "children")

    assert outcome.failure.kind is FailureKind.WORKER_LOST
    assert outcome.failure.message == "the worker had more than 1000 child processes and was killed"
    until(lambda: processes(host) == [])


def test_a_worker_that_lives_on_keeps_what_it_started(faulty, process_host, journal, alive):
    faulty("children")
    host = process_host(count=1)

    assert [host.analyze(b"same_group", "children").failure for _ in range(3)] == [None] * 3

    children = [int(process) for (process,) in journal.of("child")]
    assert len(children) == 3
    assert all(map(alive, children))
