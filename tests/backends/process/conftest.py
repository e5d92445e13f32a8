"""Hosts with the process backend, engines that do wrong for real, and looks at what processes there are."""

import contextlib
import ctypes
import logging
import os
import select
import signal
import time
from pathlib import Path

import pytest

from psengine_host.backends.process.linux import children_of
from psengine_host.backends.process.sandbox import require_bubblewrap
from psengine_host.errors import UsageError
from psengine_host.host import Host
from psengine_host.settings import Settings, WorkerSettings

PATIENCE = 60.0
"""Seconds that a test waits for what takes a moment on an idle machine."""
PR_SET_CHILD_SUBREAPER = 36
FAULTY = Path(__file__).parent / "faulty"


def until_true(condition, seconds=PATIENCE):
    """Wait until a condition holds.

    Args:
        condition: Is called again and again; what it returns is true in the end.
        seconds: How long at most.

    Returns:
        What it returned.
    """
    limit = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < limit, f"it did not come to pass in {seconds:g} s"
        select.select([], [], [], 0.002)
    return result


def is_alive(process):
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def below(process):
    """All processes below a process that are alive, itself not among them; the nearest first."""
    found = []
    waiting = [process]
    while waiting:
        for child in children_of(waiting.pop(0)):
            waiting.append(child)
            if is_alive(child):
                found.append(child)
    return found


def keeper_of(host):
    """The process id of a host's keeper; None before its first engine starts."""
    return host.backend._about.keeping.process


def _adopt_orphans(yes):
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(yes), 0, 0, 0) == 0


def _told(process):
    with contextlib.suppress(OSError):
        return f"{process}: {Path(f'/proc/{process}/cmdline').read_bytes()!r}"
    return str(process)


@pytest.fixture
def until():
    """:func:`until_true`."""
    return until_true


@pytest.fixture
def processes():
    """All processes that are alive below a host's keeper: a function of the host."""

    def found(host):
        keeper = keeper_of(host)
        return [] if keeper is None else below(keeper)

    return found


@pytest.fixture
def alive():
    """:func:`is_alive`."""
    return is_alive


@pytest.fixture
def no_process_left():
    """After the test, nothing that it started is alive: what was orphaned comes to this process, and is found."""
    before = set(children_of(os.getpid()))
    _adopt_orphans(1)
    try:
        yield
        after = [process for process in children_of(os.getpid()) if process not in before]
        left = [_told(process) for process in after if is_alive(process)]
        for process in after:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    finally:
        _adopt_orphans(0)
    assert left == []


class _Failures(logging.Handler):
    """What the backend logs where it fails itself, whatever the engines do."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def backend_failures():
    """Records of errors in the backend's own code; there is to be none."""
    heard = _Failures()
    loop = logging.getLogger("psengine_host.backends.process.loop")
    loop.addHandler(heard)
    yield heard.records
    loop.removeHandler(heard)


@pytest.fixture
def process_host(engine_site, no_process_left, backend_failures):
    """Makes hosts with the process backend and the engines of the site, and closes them after the test.

    The function takes ``timeout`` (seconds), ``engines`` (the tables ``[engines.NAME]``), ``engine_limits`` (the tables
    ``[workers.NAME]``) and any setting of ``[workers]``. After the test no process that a host had is alive, its spool
    is gone, and nothing failed in the backend itself.
    """
    hosts = []

    def start(*, timeout=PATIENCE, engines=None, engine_limits=None, observers=(), **workers):
        settings = Settings(engines=engines or {}, workers=WorkerSettings(engines=engine_limits or {}, **workers))
        host = Host(settings, backend="process", timeout=timeout, catalog=engine_site.catalog(), observers=observers)
        hosts.append((host, host.spool.folder))
        return host

    yield start
    for host, spool in hosts:
        keeper = keeper_of(host)
        family = [] if keeper is None else [keeper, *below(keeper)]
        host.close()
        assert [_told(process) for process in family if is_alive(process)] == []
        assert not spool.exists()
    assert [record.getMessage() + str(record.exc_info) for record in backend_failures] == []


class Journal:
    """A file that engines append lines to: what happened in which process, however that ended."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def lines(self):
        """The lines so far, each as a list of its words."""
        return [line.split() for line in self.path.read_text().splitlines()]

    def of(self, word):
        """The lines that begin with a word, without it."""
        return [rest for first, *rest in self.lines() if first == word]


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """An empty :class:`Journal`, which the engines of ``faulty`` find in the environment."""
    kept = Journal(tmp_path / "journal")
    monkeypatch.setenv("JOURNAL", str(kept.path))
    return kept


@pytest.fixture
def faulty(engine_site, journal):
    """Installs engines of the folder ``faulty``: a function of their names."""

    def add(*names):
        for name in names:
            engine_site.add(name, (FAULTY / f"{name}.py").read_text())

    return add


@pytest.fixture
def bwrap():
    """Skips where there is no bubblewrap, or none that works."""
    try:
        require_bubblewrap()
    except UsageError as error:
        pytest.skip(str(error))
