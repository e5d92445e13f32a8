"""The process backend: each engine in processes of its own, so that what one does costs nobody else anything."""

from __future__ import annotations

import atexit
import functools
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from psengine_host.artifacts import Artifact
from psengine_host.backends import BackendServices, WorkerStatus
from psengine_host.backends.process.fleet import Fleet
from psengine_host.backends.process.linux import require_linux
from psengine_host.backends.process.loop import Loop, is_in_loop
from psengine_host.backends.process.pending import Pending
from psengine_host.backends.process.surroundings import Surroundings
from psengine_host.bounty import Bounty
from psengine_host.errors import UsageError
from psengine_host.outcome import FileOutcome, Outcome

__all__ = ["ProcessBackend"]

_HASTE: Final = 1.0
"""Seconds that sessions and homes have for their end when all was cancelled."""

_AGAIN: Final = 0.1
"""Seconds until an engine has its turn again where that failed."""

logger = logging.getLogger(__name__)


class ProcessBackend:
    """Runs engines in workers: processes that are killed at their limit and replaced when they die.

    An engine's processes start when its first bounty comes. From any thread; a fork of the process cannot use it.

    Args:
        services: What the host hands down.

    Raises:
        UsageError: This is no Linux of 5.3 or later.
    """

    always_answers: Final = True
    """Its futures have an outcome whatever happens, or are cancelled: nobody needs to look after them."""

    def __init__(self, services: BackendServices) -> None:
        require_linux()
        if services.trace is not None:
            raise UsageError("hooks that run in other processes cannot be traced: choose the backend local")
        self._services = services
        self._process = os.getpid()
        self._fleets: dict[str, Fleet] = {}
        self._lock = threading.RLock()  # a signal handler may close what its own thread is about to use
        self._closer: int | None = None
        self._over = threading.Event()
        self._started = False
        self._closed = False
        self._cancelled = False
        self._loop = Loop("psengine-processes", self._tick)
        self._about = Surroundings(services, self._loop)
        _forks.watch(self)

    def submit(self, bounty: Bounty, engine: str, *, artifact: Artifact | None = None) -> Future[Outcome]:
        """Have a bounty judged.

        Args:
            bounty: The job.
            engine: The engine's name.
            artifact: The artifact, where the caller has it already; the caller closes it when the future is done.

        Returns:
            A future of the outcome.

        Raises:
            UsageError: The backend is closed, or this is a fork of the process that made it.
        """
        fleet = self._fleet(engine)
        name = artifact.name if artifact is not None else ""
        discard_expired = self._services.settings.host.discard_expired_bounties
        pending = Pending(
            limit=fleet.timeout, bounty=bounty, artifact=artifact, name=name, discard_expired=discard_expired
        )
        self._loop.call(functools.partial(fleet.submit, pending))
        return pending.future

    def submit_file(self, path: str, engine: str, *, name: str, identify: bool = True) -> Future[FileOutcome]:
        """Have a local file judged; a worker opens, hashes and, if that is wanted, identifies it.

        Args:
            path: The file.
            engine: The engine's name.
            name: What to call it in messages.
            identify: Whether somebody else than the engine looks at its type.

        Returns:
            A future of the outcome; it raises ``ArtifactError`` where the file cannot be read.

        Raises:
            UsageError: As of :meth:`submit`.
        """
        fleet = self._fleet(engine)
        if not path.startswith("/"):
            path = os.path.join(os.getcwd(), path)
        pending = Pending(limit=fleet.timeout, path=os.fsencode(path), name=name, identify=identify)
        self._loop.call(functools.partial(fleet.submit, pending))
        return pending.future

    def workers(self) -> list[WorkerStatus]:
        """What all workers do."""
        return [status for fleet in list(self._fleets.values()) for status in fleet.status()]

    def cancel(self) -> None:
        """Drop all that was submitted and kill who is at work on it; the futures are cancelled when this returns."""
        self._cancelled = True
        if self._is_running():
            self._in_loop(self._cancel_fleets, _HASTE)

    def close(self) -> None:
        """Let what was submitted come to its end, and end all sessions and homes.

        After :meth:`cancel` they have a second for it, otherwise what the setting ``host.close_timeout`` says; then
        they are killed. What was submitted may take as long as it may. Who closes while another thread does waits for
        that. A close that is interrupted, by Ctrl-C say, kills what is left.

        Raises:
            UsageError: This is a callback of a future.
        """
        if is_in_loop():
            raise UsageError("a callback of a future cannot close the host: leave that to who made it")
        if os.getpid() != self._process:
            return
        with self._lock:
            first = not self._closed
            if first:
                self._closed = True
                self._closer = threading.get_ident()
        if not first:
            if self._closer != threading.get_ident():  # else this is a signal handler in the middle of it
                self._over.wait()
            return
        try:
            if self._is_running():
                self._end()
        finally:
            self._over.set()
            atexit.unregister(self._abort)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _fleet(self, engine: str) -> Fleet:
        fleet = self._fleets.get(engine)
        if fleet is not None and not self._closed:
            return fleet
        if os.getpid() != self._process:
            raise UsageError("this process is a fork of the one that made the host: make a host of its own")
        with self._lock:
            if self._closed:
                raise UsageError("the backend is closed: nothing can be judged any more")
            if not self._started:
                self._started = True
                atexit.register(self._abort)
                self._loop.start()
            fleet = self._fleets.get(engine)
            if fleet is None:
                fleet = self._fleets[engine] = Fleet(self._services.catalog[engine], self._about)
            if self._closed:  # by a signal handler, just now
                raise UsageError("the backend is closed: nothing can be judged any more")
            return fleet

    def _is_running(self) -> bool:
        return self._started and os.getpid() == self._process and self._loop.thread.is_alive()

    def _tick(self, now: float) -> float:
        soonest = math.inf
        hurried = False
        working = False
        for fleet in tuple(self._fleets.values()):
            try:
                soonest = min(soonest, fleet.tick(now))
            except Exception:  # the others have their turn all the same
                logger.exception("engine %s: the process backend failed, and goes on", fleet.name)
                soonest = min(soonest, now + _AGAIN)
            working = working or fleet.is_working
            hurried = hurried or fleet.is_hurried()
        self._loop.unhurried = working and not hurried
        return soonest

    def _end(self) -> None:
        fleets = list(self._fleets.values())
        open_fleets = set(fleets)
        over = threading.Event()

        def closed(fleet: Fleet) -> Callable[[], None]:
            def note() -> None:
                open_fleets.discard(fleet)
                if not open_fleets:
                    over.set()

            return note

        def begin() -> None:
            for fleet in fleets:
                fleet.close(closed(fleet))

        patience = _HASTE if self._cancelled else self._services.settings.host.close_timeout
        try:
            if fleets:
                self._loop.call(begin)
                until: float | None = None
                while not over.wait(0.05 if until is None else max(0.0, min(0.05, until - time.monotonic()))):
                    if until is None and not any(fleet.is_working for fleet in fleets):
                        until = time.monotonic() + patience
                    if until is not None and time.monotonic() >= until:
                        logger.error("the engines did not end within %g s, and are killed", patience)
                        break
        finally:
            self._in_loop(self._wind_up, None)
            self._loop.stop()
            self._loop.thread.join()

    def _cancel_fleets(self) -> None:
        for fleet in self._fleets.values():
            fleet.cancel()

    def _wind_up(self) -> None:
        """End what is left, in the loop's thread."""
        for fleet in self._fleets.values():
            fleet.cancel()
            fleet.kill()
        self._about.close()
        for fleet in self._fleets.values():
            fleet.abandon()

    def _in_loop(self, work: Callable[[], object], patience: float | None) -> None:
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        self._loop.call(run)
        if not is_in_loop():  # a callback of a future: it is done when that has returned
            done.wait(patience)

    def _abort(self) -> None:
        """The program ends without closing its host: everything is killed."""
        if self._is_running():
            self._in_loop(self._wind_up, _HASTE)

    def forked(self) -> None:
        """In a fork of the process: let go of what is the parent's."""
        self._closed = True
        self._loop.abandon()
        for fleet in self._fleets.values():
            fleet.abandon()
        self._about.keeping.abandon()


class _Forks:
    """Closes in a fork what belongs to its parent: the keeper would not notice the end of the host."""

    def __init__(self) -> None:
        self._backends: weakref.WeakSet[ProcessBackend] = weakref.WeakSet()
        self._watching = False

    def watch(self, backend: ProcessBackend) -> None:
        """From now on."""
        self._backends.add(backend)
        if not self._watching:
            self._watching = True
            os.register_at_fork(after_in_child=self._let_go)

    def _let_go(self) -> None:
        for backend in list(self._backends):
            backend.forked()


_forks: Final = _Forks()
