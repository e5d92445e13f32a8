"""What is asked of the kernel: children, adopted ones too, and death with the parent."""

import os
import subprocess
import sys
import time

import pytest

from psengine_host.backends.process import linux
from psengine_host.errors import UsageError

PATIENCE = 30


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def run(source, **more):
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, **more)


def test_the_children_of_a_process():
    child = run("import time; print(1, flush=True); time.sleep(600)")
    try:
        assert child.stdout.readline() == b"1\n"
        assert child.pid in linux.children_of(os.getpid())
        assert linux.children_of(child.pid) == []
        assert set(linux._children_by_search(os.getpid())) == set(linux.children_of(os.getpid()))
    finally:
        child.kill()
        child.communicate()
    assert child.pid not in linux.children_of(os.getpid())
    assert linux.children_of(child.pid) == []


def test_orphans_are_adopted():
    source = """
import os, sys, time
from psengine_host.backends.process import linux
linux.adopt_orphans()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    os._exit(0)
os.wait()
print(*linux.children_of(os.getpid()), flush=True)
sys.stdin.read()
"""
    process = run(source, stdin=subprocess.PIPE)
    (orphan,) = map(int, process.stdout.readline().split())
    with open(f"/proc/{orphan}/stat") as file:
        assert file.read().rpartition(")")[2].split()[1] == str(process.pid)
    os.kill(orphan, 9)
    process.communicate(b"")


def test_death_with_the_parent():
    source = """
import os, sys, time
from psengine_host.backends.process import linux
parent = os.getpid()
if os.fork() == 0:
    linux.die_with_parent(parent)
    print(os.getpid(), flush=True)
    time.sleep(600)
sys.stdin.read()
os._exit(0)
"""
    process = run(source, stdin=subprocess.PIPE)
    child = int(process.stdout.readline())
    process.kill()
    process.communicate()
    until(lambda: not os.path.exists(f"/proc/{child}") or state_of(child) == "Z")


def state_of(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_who_has_lost_its_parent_already_ends_at_once():
    source = "from psengine_host.backends.process import linux; linux.die_with_parent(1 << 22); print('lives')"
    process = run(source)
    assert process.communicate()[0] == b""
    assert process.returncode == 1


def test_lines_of_c_leave_at_their_end():
    source = """
import ctypes, os
from psengine_host.backends.process import linux
linux.buffer_lines_of_c()
ctypes.CDLL(None).printf(b"a line of C\\nand a part")
os._exit(0)
"""
    assert run(source).communicate()[0].startswith(b"a line of C\n")


def test_another_system_is_refused_in_one_line(monkeypatch):
    linux.require_linux()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError) as caught:
        linux.require_linux()
    assert str(caught.value) == "the process backend needs Linux 5.3 or later: choose --backend local"
