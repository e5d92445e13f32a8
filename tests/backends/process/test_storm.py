"""Thousands of bounties while workers die at random moments: every one ends, and no innocent one ends badly."""

import collections
import contextlib
import os
import random
import signal
import threading

import pytest

from psengine_host.analysis import Verdict
from psengine_host.artifacts import Artifact
from psengine_host.outcome import FailureKind

TASKS = 4_000
PATIENCE = 100


def right(outcome, number, size):
    analysis = outcome.analysis
    return (
        outcome.failure is None
        and analysis.verdict is Verdict.MALICIOUS
        and analysis.malware_family == f"Family-{number}"
        and analysis.comments == ((f"{number}," * size)[:size],)
    )


@pytest.mark.parametrize("size", [1_000, 200_000], ids=["1 KB", "200 KB"])
@pytest.mark.parametrize("every", [20, 200], ids=["1 in 20", "1 in 200"])
def test_every_bounty_is_accounted_for(faulty, process_host, every, size):
    faulty("storm")
    host = process_host(count=2)
    ended = collections.Counter()
    wrong = []
    waiting = threading.Semaphore(500)  # so that not all of the results are in memory at a time

    def look(number, future):
        outcome = future.result()
        if right(outcome, number, size):
            ended["right"] += 1
        elif number % every == 0 and outcome.failure.kind is FailureKind.WORKER_LOST:
            ended["lost"] += 1
        else:
            wrong.append((number, outcome.failure))
        waiting.release()

    for number in range(TASKS):
        assert waiting.acquire(timeout=PATIENCE)
        future = host.submit(f"{number} {every} {size}".encode(), "storm")
        future.add_done_callback(lambda future, number=number: look(number, future))
    for _ in range(500):
        assert waiting.acquire(timeout=PATIENCE)

    assert wrong == []
    assert ended["right"] + ended["lost"] == TASKS
    assert ended["right"] >= TASKS - TASKS // every


def test_workers_that_somebody_else_kills_lose_nothing(faulty, process_host, processes):
    # Idle, busy, at the end of their session: whatever they do at that moment.
    faulty("storm")
    host = process_host(count=2, tries=10, max_tasks_per_worker=50)
    over = threading.Event()
    chosen = random.Random(20)
    killed = []

    def kill():
        while not over.wait(chosen.uniform(0, 0.05)):
            found = processes(host)
            # One that dies before its session is open is waited for: that is another story.
            if found and all(worker.state != "starting" for worker in host.workers()):
                victim = chosen.choice(found)
                with contextlib.suppress(ProcessLookupError):  # it has ended since it was looked for
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        wrong = []
        number = 0
        while len(killed) < 30:
            numbers = range(number + 1, number + 101)
            number += 100
            futures = [host.submit(b"%d 1000000000 1000" % number, "storm") for number in numbers]
            wrong += [n for n, future in zip(numbers, futures, strict=True) if not right(future.result(100), n, 1_000)]
    finally:
        over.set()
        killer.join()

    assert wrong == []


def test_files_are_accounted_for_too(faulty, process_host, tmp_path):
    faulty("storm")
    host = process_host(count=2)
    paths = []
    for number in range(500):
        path = tmp_path / str(number)
        path.write_text(f"{number} 20 1000")
        paths.append(path)

    futures = [host.judge_file(str(path), "storm", identify=False) for path in paths]

    for number, future in enumerate(futures):
        outcome, size = future.result(PATIENCE)
        assert size == paths[number].stat().st_size
        assert outcome.bounty.sha256 == Artifact.from_path(paths[number]).sha256
        if number % 20 or outcome.failure is None:
            assert right(outcome, number, 1_000)
        else:
            assert outcome.failure.kind is FailureKind.WORKER_LOST


GOOD = ("good", "large", "slow", "stray")
BAD = {
    "kill": FailureKind.WORKER_LOST,
    "abort": FailureKind.WORKER_LOST,
    "exit": FailureKind.WORKER_LOST,
    "half": FailureKind.WORKER_LOST,
    "close": FailureKind.WORKER_LOST,
    "spoil": FailureKind.WORKER_LOST,
    "hang": FailureKind.TIMEOUT,
    "stop": FailureKind.TIMEOUT,
    "raise": FailureKind.ENGINE,
    "sys_exit": FailureKind.ENGINE,
    "none": FailureKind.ENGINE,
}


@pytest.mark.parametrize("seed", [1])
def test_a_storm_of_everything_at_once(faulty, process_host, tmp_path, seed):
    # Several engines, bounties and files, some of them cancelled, processes replaced all the while.
    faulty("mixed", "storm")
    chosen = random.Random(seed)
    host = process_host(count=3, timeout=2.0, max_tasks_per_worker=40, engine_limits={"storm": {"count": 1}})
    kinds = chosen.choices([*GOOD, "killer"], [60, 3, 3, 3, 2], k=1_500) + [*BAD] * 2
    chosen.shuffle(kinds)
    submitted = []
    for number, kind in enumerate(kinds):
        text = f"{kind} {number}"
        if number % 3:
            future = host.submit(text.encode(), "mixed")
        else:
            path = tmp_path / str(number)
            path.write_text(text)
            future = host.judge_file(str(path), "mixed", identify=False)
        submitted.append((kind, number, future, kind == "good" and number % 17 == 0 and future.cancel()))
        if number % 5 == 0:
            host.submit(b"%d 40 100" % number, "storm")

    for kind, number, future, cancelled in submitted:
        if cancelled:
            assert future.cancelled()
            continue
        outcome = future.result(PATIENCE)
        outcome = outcome if number % 3 else outcome.outcome
        if kind in BAD:
            assert outcome.failure.kind is BAD[kind], (kind, outcome.failure)
        elif kind in GOOD or outcome.failure is None:
            assert outcome.failure is None, (kind, number, outcome.failure)
            assert outcome.analysis.malware_family == f"Family-{number}"
            assert outcome.analysis.comments == (str(number) * (200_000 if kind == "large" else 100),)
        else:
            assert outcome.failure.kind is FailureKind.WORKER_LOST
