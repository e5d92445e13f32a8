"""Limits, each on a real process that runs into it."""

import errno
import resource
import signal
import subprocess
import sys

import msgspec
import pytest

from psengine_host.backends.process.limits import Limits

BEGIN = """
import resource, signal, sys
import msgspec
from psengine_host.backends.process.limits import Limits
limits = msgspec.json.decode(sys.argv[1], type=Limits)
"""


def run(limits, script, **options):
    """A script in a process with limits, given as JSON: they cross to it as they do to a worker."""
    command = [sys.executable, "-c", f"{BEGIN}limits.apply()\n{script}", msgspec.json.encode(limits).decode()]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **options)


def test_open_files():
    done = run(
        Limits(open_files=20),
        """
files = []
try:
    while True:
        files.append(open("/dev/null"))
except OSError as error:
    highest = files[-1].fileno()
    files.clear()
    print(highest, error.errno)
""",
    )
    assert done.stdout.split() == ["19", str(errno.EMFILE)], done.stderr


def test_file_size(tmp_path):
    done = run(
        Limits(max_file_size=10_000),
        f"""
with open({str(tmp_path / "file")!r}, "wb", buffering=0) as file:
    file.write(bytes(10_000))
    try:
        file.write(b"x")
    except OSError as error:
        print(error.errno)
""",
    )
    assert done.stdout.split() == [str(errno.EFBIG)], done.stderr
    assert (tmp_path / "file").stat().st_size == 10_000


def test_address_space():
    done = run(
        Limits(address_space=500_000_000),
        """
held = bytearray(50_000_000)
try:
    bytearray(500_000_000)
except MemoryError:
    print("no memory")
""",
    )
    assert done.stdout == "no memory\n", done.stderr


def test_cpu_time_ends_with_the_signal_that_says_so():
    done = run(Limits(cpu_time=0.5), "while True: pass")
    assert -done.returncode == signal.SIGXCPU


def test_cpu_time_of_who_ignores_the_signal_ends_with_kill():
    done = run(Limits(cpu_time=1), "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass")
    assert -done.returncode == signal.SIGKILL


def test_cpu_time_counts_all_threads():
    # No thread uses a second of its own.
    script = """
import hashlib, threading, time
def burn():
    while time.thread_time() < 0.8:
        hashlib.sha256(bytes(1_000_000))
threads = [threading.Thread(target=burn) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    assert run(Limits(cpu_time=8), script).returncode == 0
    assert -run(Limits(cpu_time=1), script).returncode == signal.SIGXCPU


def test_no_core_even_where_there_is_no_other_limit(tmp_path):
    # The soft limit is what the kernel looks at; the hard one keeps an engine from raising it.
    resource_limit = "print(*resource.getrlimit(resource.RLIMIT_CORE), flush=True)\n"
    done = run(Limits(), resource_limit + "import os; os.abort()", cwd=tmp_path)
    assert done.stdout.split() == ["0", "0"], done.stderr
    assert -done.returncode == signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_without_limits_nothing_but_the_core_changes():
    script = """
print(*[resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name.startswith("RLIMIT_")
        and name != "RLIMIT_CORE"])
"""
    command = [sys.executable, "-c", BEGIN + script, "[]"]
    before = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    assert run(Limits(), script).stdout == before


@pytest.mark.parametrize("lower_than_asked", [100, 200])
def test_a_limit_that_is_lower_already_stays(lower_than_asked):
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, lower_than_asked))

    done = run(Limits(open_files=1_000), "print(*resource.getrlimit(resource.RLIMIT_NOFILE))", preexec_fn=lower)
    assert done.stdout.split() == ["100", str(lower_than_asked)], done.stderr


@pytest.mark.parametrize(
    "limits", [Limits(cpu_time=float("inf")), Limits(cpu_time=1e300, address_space=1 << 100, max_file_size=1 << 64)]
)
def test_more_than_there_can_be_is_no_limit(limits):
    limits_of = (
        "[resource.getrlimit(kind) for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)]"
    )
    script = f"{BEGIN}from math import inf\nbefore = {limits_of}\n{limits!r}.apply()\nprint(before == {limits_of})"
    done = subprocess.run(
        [sys.executable, "-c", script, "[]"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "True\n", done.stderr


def test_children_inherit_them():
    done = run(Limits(open_files=20), "import os; os.execvp('sh', ['sh', '-c', 'ulimit -n; ulimit -Hn; ulimit -c'])")
    assert done.stdout.split() == ["20", "20", "0"], done.stderr


def test_hard_limits_cannot_be_raised_again():
    done = run(
        Limits(open_files=20),
        """
import os
if os.getuid() == 0:
    os.setuid(65534)  # root may
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (21, 21))
except ValueError as error:
    print("refused")
""",
    )
    assert done.stdout == "refused\n", done.stderr
