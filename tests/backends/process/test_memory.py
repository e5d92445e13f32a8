"""Resident memory of real processes with children, threads, and none at all."""

import os
import subprocess
import sys
import threading
import time

import pytest

from psengine_host.backends.process.memory import resident

MB = 1_000_000
HOLD = """
import os, sys, threading
def hold(megabytes):
    global held
    held = bytearray(b"x") * (megabytes * 1_000_000)
def say(word):
    os.write(1, word.encode() + b"\\n")
"""


@pytest.fixture
def process():
    """Starts a Python process that prints a line when it is ready; it ends when its standard input does."""
    started = []

    def start(script):
        command = [sys.executable, "-c", HOLD + script]
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate(timeout=60)


def statm(process):
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def vm_rss(process):
    """What the kernel tells in another place, which it counts exactly."""
    with open(f"/proc/{process}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))


def test_one_process(process):
    one = process("hold(50); say('ready'); sys.stdin.read()")
    assert one.stdout.readline() == "ready\n"
    assert resident(one.pid) == pytest.approx(vm_rss(one.pid), rel=0.05)
    assert resident(one.pid) > 50 * MB


def test_memory_that_is_given_back_counts_no_more(process):
    one = process("hold(80); say('full'); sys.stdin.readline(); held = None; say('empty'); sys.stdin.read()")
    assert one.stdout.readline() == "full\n"
    full = resident(one.pid)
    one.stdin.write("\n")
    one.stdin.flush()
    assert one.stdout.readline() == "empty\n"
    assert full - resident(one.pid) > 75 * MB


def test_children_and_grandchildren_of_any_thread(process):
    one = process(
        """
def family():
    if os.fork() == 0:
        os.setsid()
        hold(20)
        if os.fork() == 0:
            hold(30)
            say("ready")
            sys.stdin.read()
            os._exit(0)
        sys.stdin.read()
        os._exit(0)
thread = threading.Thread(target=family)
thread.start(); thread.join()
def family_of_a_thread_that_lives():
    family()
    sys.stdin.read()
threading.Thread(target=family_of_a_thread_that_lives).start()
sys.stdin.read()
"""
    )
    assert [one.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    assert resident(one.pid) - statm(one.pid) > 2 * (20 + 30) * MB


def test_a_child_that_has_ended_counts_no_more(process):
    one = process(
        """
child = os.fork()
if child == 0:
    hold(60)
    say("ready")
    sys.stdin.readline()
    os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # a zombie from here on
say("ended")
sys.stdin.read()
"""
    )
    assert one.stdout.readline() == "ready\n"
    assert resident(one.pid) - statm(one.pid) > 60 * MB
    one.stdin.write("\n")
    one.stdin.flush()
    assert one.stdout.readline() == "ended\n"
    assert resident(one.pid) == statm(one.pid)


def test_a_zombie_and_a_process_that_is_gone(process):
    one = process("pass")
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert resident(one.pid) == 0
    one.wait(timeout=60)
    assert resident(one.pid) == 0


def test_many_children(process):
    # Their ids take more than a page, which is what the kernel gives at once.
    one = process(
        """
for _ in range(700):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
say("ready")
sys.stdin.read()
"""
    )
    assert one.stdout.readline() == "ready\n"
    with open(f"/proc/{one.pid}/task/{one.pid}/children") as file:
        children = file.read().split()
    assert len(children) == 700
    exact = statm(one.pid) + sum(map(statm, map(int, children)))
    assert resident(one.pid) == pytest.approx(exact, rel=0.02)


def test_processes_that_come_and_go_while_it_reads(process):
    one = process(
        """
say("ready")
while True:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
"""
    )
    assert one.stdout.readline() == "ready\n"
    assert all(resident(one.pid) > 0 for _ in range(2_000))


def test_it_opens_nothing_for_good_and_looks_at_no_other_process(process, monkeypatch):
    one = process("threading.Thread(target=sys.stdin.read).start(); say('ready'); sys.stdin.read()")
    assert one.stdout.readline() == "ready\n"
    opened, listed = [], []
    real_open, real_listdir = os.open, os.listdir
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(path) or real_open(path, *rest))
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real_listdir(path))
    before = real_listdir("/proc/self/fd")
    resident(one.pid)
    assert len(real_listdir("/proc/self/fd")) == len(before)
    mine = f"/proc/{one.pid}/".encode()
    assert opened
    assert all(path.startswith(mine) for path in opened + listed)


def test_many_at_once_from_threads(process):
    one = process("say('ready'); sys.stdin.read()")
    assert one.stdout.readline() == "ready\n"
    right = resident(one.pid)
    results = []
    threads = [threading.Thread(target=lambda: results.extend(resident(one.pid) for _ in range(200))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == 800
    assert results == pytest.approx([right] * 800, rel=0.02)


def test_it_is_cheap(process):
    one = process("say('ready'); sys.stdin.read()")
    assert one.stdout.readline() == "ready\n"
    began = time.process_time()
    for _ in range(1_000):
        resident(one.pid)
    spent = time.process_time() - began
    assert spent < 0.5, "10 times a second for each of 100 workers would take half a core"
