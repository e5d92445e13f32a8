"""The loop: descriptors, moments and calls of other threads, in one thread that nothing ends but its end."""

import logging
import math
import os
import threading
import time

import pytest

from psengine_host.backends.process.loop import Loop

PATIENCE = 30


@pytest.fixture
def loop():
    loop = Loop("a loop", lambda _now: math.inf)
    loop.start()
    yield loop
    loop.stop()
    loop.thread.join(PATIENCE)
    assert not loop.thread.is_alive()


def done_in(loop, work):
    done = threading.Event()
    found = []

    def run():
        found.append(work())
        done.set()

    loop.call(run)
    assert done.wait(PATIENCE)
    return found[0]


def test_calls_come_in_order_and_in_one_thread(loop):
    seen = []
    for number in range(1_000):
        loop.call(lambda number=number: seen.append((number, threading.get_ident())))
    done_in(loop, lambda: None)
    assert [number for number, _ in seen] == list(range(1_000))
    assert {thread for _, thread in seen} == {loop.thread.ident}


def test_calls_of_many_threads_all_come(loop):
    seen = []

    def ask():
        for _ in range(500):
            loop.call(lambda: seen.append(1))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    done_in(loop, lambda: None)
    assert len(seen) == 4_000


def test_what_fails_is_logged_and_ends_nothing(loop, caplog):
    with caplog.at_level(logging.ERROR):
        loop.call(lambda: 1 / 0)
        assert done_in(loop, lambda: 5) == 5
    assert "the process backend failed, and goes on" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_descriptor_calls_back_until_it_is_forgotten(loop):
    reader, writer = os.pipe()
    came = threading.Event()
    seen = []

    def ready(_events):
        seen.append(os.read(reader, 100))
        came.set()

    done_in(loop, lambda: loop.watch(reader, ready))
    os.write(writer, b"x")
    assert came.wait(PATIENCE)
    done_in(loop, lambda: loop.forget(reader))
    os.write(writer, b"y")
    done_in(loop, lambda: None)
    done_in(loop, lambda: loop.forget(reader))  # again: no error
    assert seen == [b"x"]
    os.close(reader)
    os.close(writer)


def test_timers_come_in_the_order_of_their_moments(loop):
    seen = []
    last = threading.Event()

    def plan():
        now = time.monotonic()
        loop.at(now + 0.02, lambda: seen.append("second"))
        loop.at(now + 0.01, lambda: seen.append("first"))
        loop.at(now + 0.015, lambda: seen.append("never")).cancel()
        loop.at(now + 0.03, last.set)

    done_in(loop, plan)
    assert last.wait(PATIENCE)
    assert seen == ["first", "second"]


def test_what_is_due_wakes_it_by_itself():
    rounds = []
    enough = threading.Event()

    def after(now):
        rounds.append(now)
        if len(rounds) >= 5:
            enough.set()
            return math.inf
        return now + 0.001

    loop = Loop("a loop", after)
    loop.start()
    assert enough.wait(PATIENCE)
    loop.stop()
    loop.thread.join(PATIENCE)
    assert rounds == sorted(rounds)


def test_nothing_stays_open_and_later_calls_do_no_harm():
    before = set(os.listdir("/proc/self/fd"))
    loop = Loop("a loop", lambda _now: math.inf)
    loop.start()
    loop.stop()
    loop.thread.join(PATIENCE)
    assert set(os.listdir("/proc/self/fd")) <= before
    reader, writer = os.pipe()  # these have its numbers now
    loop.call(lambda: None)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 8)
    os.close(reader)
    os.close(writer)


def test_a_fork_lets_go_of_it_without_harm_to_the_parent(loop):
    reader, writer = os.pipe()
    came = threading.Event()
    done_in(loop, lambda: loop.watch(reader, lambda _events: (os.read(reader, 100), came.set())))
    child = os.fork()
    if child == 0:
        loop.abandon()
        loop.forget(reader)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.write(writer, b"x")
    assert came.wait(PATIENCE)
    done_in(loop, lambda: loop.forget(reader))
    os.close(reader)
    os.close(writer)
