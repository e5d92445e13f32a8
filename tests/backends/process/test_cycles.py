"""A thousand workers that die one after another, and the host is what it was before."""

import gc
import os
import threading

import pytest

from psengine_host.backends.process.child import Child
from psengine_host.backends.process.linux import children_of
from psengine_host.backends.process.member import Worker
from psengine_host.backends.process.pending import Pending
from psengine_host.outcome import FailureKind

PATIENCE = 60
CYCLES = 1_000


def descriptors():
    return sorted(os.listdir("/proc/self/fd"), key=int)


def entries(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def kept():
    gc.collect()
    return sum(isinstance(thing, (Child, Pending, Worker)) for thing in gc.get_objects())


@pytest.fixture
def state(processes):
    """What a host has of descriptors, threads, processes, files and objects."""

    others = kept()  # of tests before this one: what they raised may hold them

    def look(host):
        return {
            "descriptors": len(descriptors()),
            "tasks": len(os.listdir("/proc/self/task")),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "children": len(children_of(os.getpid())),
            "processes": len(processes(host)),
            "files": len(entries(host.spool.folder)),
            "kept": kept() - others <= 10,
        }

    return look


def test_a_thousand_dead_workers_leave_nothing_in_the_host(faulty, process_host, state, until):
    faulty("deaths")
    host = process_host(count=2, tries=1)
    for future in [host.submit(b"exit_7", "deaths") for _ in range(20)]:
        future.result(PATIENCE)
    until(lambda: state(host)["processes"] == 0 and state(host)["kept"])
    before = state(host)

    lost = 0
    for _ in range(10):
        futures = [host.submit(b"kill", "deaths") for _ in range(CYCLES // 10)]
        lost += sum(future.result(PATIENCE).failure.kind is FailureKind.WORKER_LOST for future in futures)
        del futures

    assert lost == CYCLES
    try:
        until(lambda: state(host) == before, 10)
    except AssertionError:
        assert state(host) == before  # so that the difference is shown


def test_hosts_that_are_closed_leave_nothing_in_the_program(faulty, engine_site, process_host, until):
    faulty("deaths")

    def run():
        host = process_host(count=1, tries=1)
        assert host.analyze(b"kill", "deaths").failure.kind is FailureKind.WORKER_LOST
        assert host.analyze(b"innocent", "deaths").failure is None
        host.close()

    for _ in range(2):
        run()
    before = len(descriptors()), len(os.listdir("/proc/self/task")), len(children_of(os.getpid()))

    for _ in range(5):
        run()

    assert (len(descriptors()), len(os.listdir("/proc/self/task")), len(children_of(os.getpid()))) == before
