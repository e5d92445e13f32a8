"""The workers of an engine: how they are started, limited, weighed and replaced."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from psengine_host.backends import WorkerStatus
from psengine_host.backends.process.child import Child
from psengine_host.backends.process.linux import children_of
from psengine_host.backends.process.loop import Loop
from psengine_host.backends.process.member import Worker
from psengine_host.backends.process.memory import resident
from psengine_host.backends.process.messages import Stop
from psengine_host.quantities import format_size
from psengine_host.settings import WorkerSettings

__all__ = ["Crew"]

_WEIGH: Final = 0.1
"""Seconds between two looks at the memory of workers."""
_MOST_CHILDREN: Final = 1_000
"""Children of a worker at most, those included that have ended and that it has not waited for."""
_ENDING: Final = 10.0
"""Seconds that a worker has for the end of its session when it is replaced."""

logger = logging.getLogger(__name__)


class Crew:
    """The workers of one engine.

    Args:
        engine: The engine's name.
        loop: The loop.
        settings: The settings of the engine's processes.
    """

    def __init__(self, engine: str, loop: Loop, settings: WorkerSettings) -> None:
        self._engine = engine
        self._loop = loop
        self._settings = settings
        self._workers: list[Worker] = []
        self._by_child: dict[Child, Worker] = {}
        self._weighing = False

    def __iter__(self) -> Iterator[Worker]:
        """All of them; they may come and go meanwhile."""
        return iter(tuple(self._workers))

    def __len__(self) -> int:
        return len(self._workers)

    def of(self, child: Child) -> Worker | None:
        """The worker that a process is."""
        return self._by_child.get(child)

    @property
    def children(self) -> list[Child]:
        """Their processes."""
        return list(self._by_child)

    @property
    def serves(self) -> bool:
        """Whether any has its session open."""
        return any(worker.ready for worker in self._workers)

    @property
    def staying(self) -> int:
        """How many are not about to leave."""
        return sum(not worker.leaving for worker in self._workers)

    @property
    def starting(self) -> int:
        """How many are not ready."""
        return sum(not worker.ready for worker in self._workers)

    @property
    def fresh(self) -> int:
        """How many have done nothing yet, those that start included."""
        return sum(worker.is_fresh for worker in self._workers if not worker.leaving)

    @property
    def is_hurried(self) -> bool:
        """Whether one of them will soon have nothing to do, or none is ready."""
        ready = [worker for worker in self._workers if worker.ready and not worker.leaving]
        return not ready or not all(worker.is_provided for worker in ready)

    def takers(self) -> list[Worker]:
        """Those that take something, the least busy first."""
        takers = [worker for worker in self._workers if worker.ready and not worker.leaving and not worker.deaf]
        takers.sort(key=lambda worker: len(worker.in_hand))
        return takers

    def status(self) -> list[WorkerStatus]:
        """What they do; from any thread, and true for a moment."""
        now = self._loop.now
        found = []
        for worker in list(self._workers):
            if worker.leaving and not worker.in_hand:
                continue
            head = next(iter(list(worker.in_hand.values())), None)
            state = "busy" if head is not None else "idle" if worker.ready else "starting"
            since = worker.head_since if head is not None else worker.since
            name = "" if head is None else head.name
            found.append(WorkerStatus(self._engine, worker.number, state, name, max(0.0, now - since)))
        return found

    # --- coming -----------------------------------------------------------------------------------------------------

    def free_number(self) -> int:
        """The number of the next one."""
        taken = {worker.number for worker in self._workers if not worker.leaving}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    def enlist(self, child: Child, now: float) -> Worker:
        """A process that opens its session from now on as a worker."""
        worker = Worker(self.free_number(), now)
        worker.child = child
        self._workers.append(worker)
        self._by_child[child] = worker
        limit = self._settings.start_timeout

        def late() -> None:
            if not worker.ready and worker.child is not None:
                worker.reason = f"open_session and info took longer than {limit:g} s; the worker was killed"
                worker.child.kill(f"was killed: open_session and info took longer than {limit:g} s")

        worker.limit = self._loop.at(now + limit, late)
        if not self._weighing:
            self._weighing = True
            self._loop.at(now + _WEIGH, self._weigh)
        return worker

    # --- going ------------------------------------------------------------------------------------------------------

    def release(self, worker: Worker) -> None:
        """Have one end its session."""
        worker.leaving = True
        if worker.child is not None:
            worker.child.send(Stop())
            self.limit_end(worker)

    def limit_end(self, worker: Worker) -> None:
        """One ends its session: not for ever."""
        child = worker.child
        worker.leaving = True
        if child is not None:
            self._loop.at(self._loop.now + _ENDING, lambda: child.kill("the end of its session took too long"))

    def dismiss(self, worker: Worker, why: str) -> None:
        """Kill one."""
        worker.leaving = True
        if worker.child is not None:
            worker.child.kill(why)

    def release_all(self) -> None:
        """Have all end their sessions, each when it has done what it is at work on."""
        for worker in self:
            if not worker.leaving:
                worker.leaving = True
                if not worker.in_hand:
                    self.release(worker)

    def gone(self, child: Child) -> Worker | None:
        """A process has ended; the worker that it was, with what it had in hand."""
        worker = self._by_child.pop(child, None)
        if worker is not None:
            self._workers.remove(worker)
            worker.child = None
            worker.forget_limit()
        return worker

    # --- weighing ---------------------------------------------------------------------------------------------------

    def _weigh(self) -> None:
        busy = False
        for worker in self:
            child = worker.child
            if child is None or child.process is None:
                continue
            busy = busy or bool(worker.in_hand) or not worker.ready
            what = self._excess(worker, child.process)
            if not what:
                continue
            if worker.in_hand or not worker.ready:
                child.kill(f"{what} and was killed")
            elif not worker.leaving:
                logger.info("engine %s: worker %d is replaced: it %s", self._engine, worker.number, what)
                self.release(worker)
        self._weighing = bool(self._workers)
        if self._weighing:
            self._loop.at(self._loop.now + (_WEIGH if busy else 10 * _WEIGH), self._weigh)

    def _excess(self, worker: Worker, process: int) -> str:
        """What a worker has too much of, in the same words each time: so three deaths of it have one reason."""
        # Each is looked at ten times a second, and there are not many numbers.
        if len(children_of(process)) > _MOST_CHILDREN:
            return f"had more than {_MOST_CHILDREN} child processes"
        limit = self._settings.max_memory
        if not limit or (used := resident(process)) <= limit:
            return ""
        logger.info("engine %s: worker %d uses %.0f MB of memory", self._engine, worker.number, used / 1e6)
        return f"used more than {format_size(limit)} of memory"
