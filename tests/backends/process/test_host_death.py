"""The host's end, however it comes: nothing of an engine's outlives it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from textwrap import dedent

import pytest

from psengine_host.backends.process.linux import children_of

PATIENCE = 60
"""Seconds that a test waits for what takes a moment on an idle machine."""

GROWING = """
    import os
    import signal
    import subprocess

    from psengine_host import Analysis, hookimpl

    DAEMON = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(600)"

    @hookimpl
    def setup(context):
        subprocess.Popen(["sleep", "600"], start_new_session=True)

    @hookimpl
    def analyze(artifact, context):
        import sys
        subprocess.Popen(["sleep", "600"])
        subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
        subprocess.run([sys.executable, "-c", DAEMON], check=True)
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        with open(context.config["told"], "ab") as told:
            told.write(b"grown\\n")
        while True:
            signal.pause()
"""
"""Each worker has four grandchildren: one in its group, one in a session of its own, a daemon, and a fork."""
OF_ONE_WORKER = 5
OF_THE_HOME = 2
KEEPER = 2
"""With its guard."""

BEGINNING = """
    import os, sys, threading
    from psengine_host.host import Host
    from psengine_host.settings import Settings, WorkerSettings

    told = sys.argv[1]
    settings = Settings(engines={"growing": {"told": told}}, workers=WorkerSettings(count=2, sandbox=sys.argv[2]))
    host = Host(settings, backend="process", timeout=600)
    futures = [host.submit(b"%d" % number, "growing") for number in range(2)]
"""


def descendants(process):
    found = []
    waiting = [process]
    while waiting:
        children = children_of(waiting.pop())
        found += filter(is_alive, children)
        waiting += children
    return found


def is_alive(process):
    with open(f"/proc/{process}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] != b"Z"


class Fifo:
    """A pipe with a name: who waits for lines of it needs not look again and again."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        # Open for writing as well, so that there is no end of file between two writers.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._lines = b""

    def line(self):
        limit = time.monotonic() + PATIENCE
        while b"\n" not in self._lines:
            assert select.select([self._descriptor], [], [], max(0.0, limit - time.monotonic()))[0], "nothing was told"
            self._lines += os.read(self._descriptor, 4096)
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def close(self):
        os.close(self._descriptor)


@pytest.fixture
def told(tmp_path):
    fifo = Fifo(tmp_path / "told")
    yield fifo
    fifo.close()


class RunningHost:
    """A program with a host in it, whose engine's processes have all begun."""

    def __init__(self, process):
        self.process = process
        self.family = descendants(process.pid)
        self.pidfds = [os.pidfd_open(member) for member in self.family]

    def wait_for_all(self):
        """Seconds until the host and all of its family were dead."""
        began = time.monotonic()
        self.process.wait(PATIENCE)
        poll = select.poll()
        for pidfd in self.pidfds:
            poll.register(pidfd, select.POLLIN)
        alive = set(self.pidfds)
        while alive:
            left = began + PATIENCE - time.monotonic()
            ended = [pidfd for pidfd, _ in poll.poll(max(0.0, left) * 1000)]
            assert ended, f"{len(alive)} of {len(self.pidfds)} processes outlived the host"
            for pidfd in ended:
                poll.unregister(pidfd)
                alive.discard(pidfd)
        return time.monotonic() - began

    def close(self):
        for pidfd in self.pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        self.process.wait()


@pytest.fixture
def running(engine_site, told, tmp_path):
    """Starts a program with a host and waits until its two workers have grown grandchildren."""
    engine_site.add("growing", GROWING)
    hosts = []

    def run(ending, sandbox="none"):
        script = tmp_path / "program.py"
        script.write_text(dedent(BEGINNING) + dedent(ending))
        process = subprocess.Popen(
            [sys.executable, str(script), str(told.path), sandbox],
            env=engine_site.env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert [told.line(), told.line()] == ["grown", "grown"]
        except BaseException:
            process.kill()
            print(process.communicate())
            raise
        hosts.append(RunningHost(process))
        return hosts[-1]

    yield run
    for host in hosts:
        host.close()


def test_kill_9_leaves_no_worker_no_home_and_no_grandchild(running):
    host = running("sys.stdin.read()")
    assert len(host.family) == KEEPER + OF_THE_HOME + 2 * OF_ONE_WORKER

    host.process.kill()

    host.wait_for_all()


def test_a_second_after_kill_9_nothing_is_alive(running):
    seconds = []
    while not seconds or (seconds[-1] >= 1.0 and len(seconds) < 5):  # what else runs on the machine may spoil one
        host = running("sys.stdin.read()")
        host.process.kill()
        seconds.append(host.wait_for_all())
    assert seconds[-1] < 1.0, seconds


@pytest.mark.system("bubblewrap")
def test_kill_9_leaves_nothing_of_sandboxes_either(bwrap, running):
    host = running("sys.stdin.read()", sandbox="bwrap")
    # Each worker is in a namespace of its own, below the two processes of bubblewrap.
    assert len(host.family) >= KEEPER + OF_THE_HOME + 2 * (OF_ONE_WORKER + 1)

    host.process.kill()

    host.wait_for_all()


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param("sys.stdin.readline(); sys.exit(3)", 3, id="sys.exit"),
        pytest.param("sys.stdin.readline(); raise LookupError('of the program')", 1, id="an exception"),
        pytest.param("sys.stdin.readline(); os._exit(4)", 4, id="os._exit"),
        pytest.param("sys.stdin.readline(); os.kill(os.getpid(), 15); os.read(0, 1)", -15, id="SIGTERM"),
        pytest.param("sys.stdin.readline()", 0, id="the last line"),
        pytest.param("sys.stdin.readline(); del host, futures; import gc; gc.collect()", 0, id="forgotten"),
    ],
)
def test_a_program_that_never_closes_its_host_ends_without_a_word_and_all_of_it_with_it(running, ending, code):
    host = running(ending)

    host.process.stdin.write("\n")
    host.process.stdin.flush()

    host.wait_for_all()
    said = host.process.stderr.read()
    assert host.process.returncode == code
    if code == 1:
        assert said.rstrip().endswith("LookupError: of the program")
        assert said.count("Traceback") == 1
    else:
        assert said == ""


def test_an_exception_in_the_with_block_waits_for_what_runs_and_leaves_nothing(engine_site, tmp_path):
    # Nothing may hang here: what was submitted ends by its own limit, and the exception comes through.
    engine_site.add(
        "waiting",
        """
        import signal
        import subprocess
        from psengine_host import hookimpl
        @hookimpl
        def analyze(artifact):
            subprocess.Popen(["sleep", "600"], start_new_session=True)
            signal.pause()
        """,
    )
    script = tmp_path / "program.py"
    script.write_text(
        dedent("""
        from psengine_host.host import Host
        with Host(backend="process", timeout=1) as host:
            host.submit(b"x", "waiting").add_done_callback(lambda future: print(future.result().failure.kind))
            raise LookupError("of the program")
        """)
    )

    done = subprocess.run(
        [sys.executable, script],
        env=engine_site.env(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.stdout == "timeout\n"
    assert done.stderr.rstrip().endswith("LookupError: of the program")
    assert done.returncode == 1


def test_a_fork_of_the_host_that_lives_on_keeps_nothing_alive(running):
    # The fork has copies of all the host's descriptors: the keeper must not take it for the host.
    host = running("""
        sys.stdin.readline()
        if os.fork() == 0:
            os.close(1)
            os.close(2)
            sys.stdin.read()
            os._exit(0)
        print("forked", flush=True)
        sys.stdin.read()
    """)
    host.process.stdin.write("\n")
    host.process.stdin.flush()
    assert host.process.stdout.readline() == "forked\n"
    (fork,) = set(children_of(host.process.pid)) - set(host.family)
    fork = os.pidfd_open(fork)

    host.process.kill()

    host.wait_for_all()
    assert select.select([fork], [], [], 0)[0] == [], "the fork lives"
    host.process.stdin.close()
    assert select.select([fork], [], [], PATIENCE)[0] == [fork]
    os.close(fork)


def test_a_host_that_is_stopped_for_a_while_goes_on(running):
    host = running("sys.stdin.readline(); print(len(host.workers()))")

    host.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, host.process.pid, os.WSTOPPED)
    host.process.send_signal(signal.SIGCONT)
    host.process.stdin.write("\n")
    host.process.stdin.flush()

    assert host.process.stdout.readline() == "2\n"
    host.wait_for_all()
