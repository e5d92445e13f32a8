"""One engine in the host: what was submitted for it, who does it, and what becomes of that when workers die.

All of it runs in the loop's thread. Whatever an engine's processes do, each bounty that was submitted ends.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Final

from psengine_host import job
from psengine_host.backends import WorkerStatus
from psengine_host.backends.process.answers import answered
from psengine_host.backends.process.backlog import Backlog
from psengine_host.backends.process.child import Child
from psengine_host.backends.process.crew import Crew
from psengine_host.backends.process.endings import Endings
from psengine_host.backends.process.frames import framed
from psengine_host.backends.process.home import EngineHome
from psengine_host.backends.process.member import Worker
from psengine_host.backends.process.messages import (
    FromChild,
    Loaded,
    Misplaced,
    NotStarted,
    Open,
    Ready,
    Result,
    Retiring,
    Withdraw,
    Withdrawn,
    encode,
)
from psengine_host.backends.process.pending import Pending
from psengine_host.backends.process.standing import Standing
from psengine_host.backends.process.surroundings import Surroundings, confines
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import reason
from psengine_host.engines.found import BrokenEngine, FoundEngine
from psengine_host.errors import ArtifactError, PsengineError
from psengine_host.outcome import Failure, FailureKind, FileOutcome, Outcome
from psengine_host.pipeline import EngineProfile, prepare

__all__ = ["Fleet"]

_SWEEP: Final = 0.25
"""Seconds between two looks at what waits in vain."""
_STALL: Final = 0.02
"""Seconds until it is looked again whether something waits behind a slow bounty."""
_LARGE: Final = 1 << 20
"""Bytes of messages after which a worker is given nothing more ahead."""
_EVER: Final = 1e9
"""Seconds that no bounty takes."""

logger = logging.getLogger(__name__)


class Fleet:
    """The processes of one engine, and what they have to do.

    Attributes:
        name: The engine's name.
        timeout: Seconds that a bounty may take, the fetch included.

    Args:
        engine: The engine.
        surroundings: What all engines share.
    """

    def __init__(self, engine: FoundEngine | BrokenEngine, surroundings: Surroundings) -> None:
        settings = surroundings.settings
        self.name = engine.name
        self._engine = engine
        self._about = surroundings
        self._loop = surroundings.loop
        self._settings = settings.workers.of(engine.name)
        self.timeout = settings.host.timeout if self._settings.timeout is None else self._settings.timeout
        self._policy = settings.bids.policy
        self._discard_expired = settings.host.discard_expired_bounties
        self._most = self._settings.processes
        self._number = 0
        self._backlog = Backlog()
        self._standing = Standing(engine.name)
        self._crew = Crew(engine.name, self._loop, self._settings)
        self._home = EngineHome(engine.name, self, self._loop, self._settings.setup_timeout)
        self._ends = Endings(
            EngineProfile.unknown(engine.name, engine.version),
            surroundings,
            self._policy,
            self._home.tell,
        )
        self._knows_engine = False
        self._version = engine.version
        self._next_sweep = 0.0
        self._closing = False
        self._closed: Callable[[], object] | None = None

    # --- what the backend asks --------------------------------------------------------------------------------------

    @property
    def is_working(self) -> bool:
        """Whether anything that was submitted has not ended."""
        return bool(self._ends.unfinished)

    def is_hurried(self) -> bool:
        """Whether somebody waits for this thread: a worker that will soon have nothing to do, or one who submits."""
        return bool(self._ends.unfinished) and self._crew.is_hurried

    def submit(self, pending: Pending) -> None:
        """Have something judged."""
        self._number += 1
        pending.number = self._number
        self._ends.unfinished[pending.number] = pending
        try:
            self._take(pending)
        except Exception as error:
            logger.exception("engine %s: what was submitted could not be taken in", self.name)
            self._ends.fail(pending, error)

    def _take(self, pending: Pending) -> None:
        if isinstance(self._engine, BrokenEngine):
            engine = self._engine
            broken = f"engine {engine.name} ({engine.origin}) is broken: {engine.reason}"
            self._standing.is_broken(broken, self._loop.now)
            self._ends.unavailable(pending, self._standing)
        elif not self._knows_engine:
            self._backlog.unprepared.append(pending)
        else:
            self._prepare(pending)

    def status(self) -> list[WorkerStatus]:
        """What its workers do; from any thread, and true for a moment."""
        now = self._loop.now
        down_since = self._standing.down_since
        if down_since is not None and not self._crew.serves:
            seconds = max(0.0, now - down_since)
            return [WorkerStatus(self.name, 0, "unavailable", self._standing.reason, seconds)]
        found = self._crew.status()
        if not found and self._home.child is not None and not self._home.is_up:
            found.append(WorkerStatus(self.name, 0, "starting", "", max(0.0, now - self._home.since)))
        return found

    def close(self, closed: Callable[[], object]) -> None:
        """Let what was submitted come to its end, then end the sessions, then the home.

        Args:
            closed: Called when all is over.
        """
        self._closing = True
        self._closed = closed

    def cancel(self) -> None:
        """Drop all that was submitted; whoever is at work on it is killed."""
        self._ends.cancel_all()
        self._backlog.clear()
        for worker in self._crew:
            if worker.in_hand:
                worker.in_hand.clear()
                self._crew.dismiss(worker, "cancelled")

    def kill(self) -> None:
        """Kill all its processes."""
        for child in self._children():
            child.kill("the host ended")

    def abandon(self) -> None:
        """Close all descriptors, in a fork of the host."""
        for child in self._children():
            child.abandon()

    def tick(self, now: float) -> float:
        """Do what is due.

        Returns:
            When there is something to do again, on the clock of ``time.monotonic``.
        """
        next_time = self._check_workers(now)
        if self._ends.unfinished:
            if now >= self._next_sweep:
                self._sweep(now)
                # However many wait, looking at them takes a small part of the time.
                self._next_sweep = now + max(_SWEEP, 50 * (time.monotonic() - now))
            next_time = min(next_time, self._ensure(now), self._next_sweep)
            self._dispatch(now)
            for worker in self._crew:
                next_time = min(next_time, worker.kill_at())
        elif self._home.has_something_to_hear and not self._closing:
            next_time = min(next_time, self._ensure(now))
        if self._closing and not self._ends.unfinished:
            self._step_to_the_end()
        return next_time

    def _children(self) -> list[Child]:
        return [*self._crew.children, *([] if self._home.child is None else [self._home.child])]

    # --- preparing --------------------------------------------------------------------------------------------------

    def _prepare(self, pending: Pending) -> None:
        bounty = pending.bounty
        if bounty is None:
            self._backlog.queue.append(pending)
            return
        profile = self._ends.profile
        artifact = pending.artifact
        at_hand = artifact is not None and artifact.is_at_hand(identified=profile.by_type)
        if at_hand or self._loop.now >= pending.expires:
            self._prepare_now(pending, bounty, profile)
            self._prepared(pending)
        else:
            work = functools.partial(self._prepare_now, pending, bounty, profile)
            self._about.in_background(work, lambda: self._prepared(pending))

    def _prepare_now(self, pending: Pending, bounty: Bounty, profile: EngineProfile) -> None:
        token = job.begin(profile.name, bounty.id)
        try:
            pending.prepared = prepare(
                bounty,
                profile,
                self._about.obtain,
                artifact=pending.artifact,
                timeout=self.timeout,
                discard_expired=self._discard_expired,
            )
        finally:
            job.end(token)

    def _prepared(self, pending: Pending) -> None:
        prepared = pending.prepared
        if prepared is None:  # the work itself failed, which the pipeline lets nothing do
            failure = Failure(FailureKind.FETCH, "the artifact could not be prepared")
            self._ends.without_worker(pending, failure)
        elif prepared.answer is not None:
            self._ends.answered(pending, prepared)
        elif pending.done:
            self._ends.drop(pending)
        else:
            pending.artifact = prepared.artifact
            pending.limit = min(self.timeout, max(0.001, self.timeout - (self._loop.now - prepared.began)))
            self._backlog.queue.append(pending)

    # --- giving out -------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        backlog = self._backlog
        if not backlog.queue and not backlog.retries:
            return
        takers = self._crew.takers()
        if backlog.retries and takers:
            takers = self._try_again(takers, now)
        queue = backlog.queue
        for place, worker in enumerate(takers):
            if not queue:
                return
            most = self._settings.max_tasks_per_worker
            room = worker.room(most - worker.done if most else len(queue) + len(worker.in_hand))
            share = -(-len(queue) // (len(takers) - place))
            count = min(room, share, len(queue))
            if count > 0 and (worker.child is None or not worker.child.queued):
                self._give(worker, [queue.popleft() for _ in range(count)], now)

    def _try_again(self, takers: list[Worker], now: float) -> list[Worker]:
        """Give out what workers died over.

        It is alone there, so that it harms nobody again, and in a process that has done nothing before, so that nothing
        that an earlier bounty left behind harms it.

        Args:
            takers: The workers that take something, the least busy first.
            now: The time.

        Returns:
            Those that may have other work.
        """
        retries = self._backlog.retries
        fails = self._standing.failures > 0
        # Better one that has worked already than none, where no new one starts.
        free = [worker for worker in takers if worker.is_fresh or (fails and not worker.in_hand)]
        while retries and free:
            if self._give(free[0], [retries.popleft()], now):
                free.pop(0).alone = True
            elif free[0].deaf:  # it has just died, and what it was to do is among the retries again
                free.pop(0)
        takers = [worker for worker in takers if not worker.alone]
        if retries and takers and not fails and not self._crew.fresh:
            spare = takers.pop(0)
            if not spare.in_hand:
                self._crew.release(spare)
        return takers

    def _give(self, worker: Worker, chosen: list[Pending], now: float) -> bool:
        frames = []
        size = 0
        was_idle = not worker.in_hand
        for place, pending in enumerate(chosen):
            if size > _LARGE:  # it is kept here until the worker reads it
                self._backlog.put_back(chosen[place:])
                break
            if pending.done:  # cancelled
                self._ends.drop(pending)
            elif now >= pending.expires:
                self._ends.expired(pending, now)
            else:
                try:
                    frames.append(framed(encode(pending.message())))
                except Exception as error:
                    if not isinstance(error, ArtifactError):
                        logger.exception("engine %s: %s cannot be handed to a worker", self.name, pending.name)
                    self._ends.without_worker(pending, Failure(FailureKind.FETCH, reason(error)))
                    continue
                size += len(frames[-1])
                pending.holder = worker
                worker.in_hand[pending.number] = pending
        if frames and worker.child is not None:
            if was_idle:
                worker.head_since = now
            if not worker.child.send_framed(b"".join(frames)):
                # It has just died: it began nothing of this, and is not to be mourned over it.
                worker.deaf = True
                given = [pending for pending in chosen if worker.in_hand.pop(pending.number, None) is not None]
                self._backlog.put_back(given)
                return False
        return bool(frames)

    # --- looking after ----------------------------------------------------------------------------------------------

    def _check_workers(self, now: float) -> float:
        next_time = math.inf
        someone_free = False
        for worker in self._crew:
            if now >= worker.kill_at() and worker.head is not None:
                self._overdue(worker, worker.head, now)
            someone_free = someone_free or (worker.ready and not worker.in_hand and not worker.leaving)
        if someone_free and not self._backlog.queue:
            for worker in self._crew:
                if worker.is_stalled(now) and worker.child is not None:
                    waiting = list(worker.in_hand.values())[1:]
                    worker.withdrawing = True
                    worker.child.send(Withdraw(tuple(pending.number for pending in waiting)))
                    self._backlog.put_back(pending for pending in waiting if pending.holder is worker)
                elif len(worker.in_hand) > 1:
                    next_time = now + _STALL
        return next_time

    def _overdue(self, worker: Worker, pending: Pending, now: float) -> None:
        """Kill a worker that takes too long; the bounty is answered at once, whether it dies or not."""
        seconds = now - worker.head_since
        if now >= pending.expires:
            what = f"was killed after {seconds:.1f} s, when its bounty expired"
        else:
            what = f"took longer than {pending.limit:g} s and was killed"
        del worker.in_hand[pending.number]
        others = worker.lay_down()
        logger.warning("engine %s: worker %d %s over %s", self.name, worker.number, what, pending.called)
        self._crew.dismiss(worker, f"was killed: it {what}")
        self._backlog.put_back(others)
        if pending.done:
            self._ends.drop(pending)
        elif pending.holder is worker:
            pending.holder = None
            pending.spent += seconds
            self._ends.without_worker(pending, Failure(FailureKind.TIMEOUT, what))

    def _sweep(self, now: float) -> None:
        """End what waits in vain: cancelled, expired, or for an engine that does not start."""
        down = None if self._crew.serves else self._standing.down_since
        patience = self._settings.patience
        hopeless = down is not None and (
            self._closing or (patience is not None and now - down >= patience) or isinstance(self._engine, BrokenEngine)
        )

        def in_vain(pending: Pending) -> bool:
            return (
                pending.done or hopeless or (down is not None and now >= pending.waits_until) or now >= pending.expires
            )

        for pending in self._backlog.take(in_vain):
            if pending.done:
                self._ends.drop(pending)
            elif hopeless or (down is not None and now >= pending.waits_until):
                self._ends.unavailable(pending, self._standing)
            else:
                self._ends.expired(pending, now)

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, child: Child, message: FromChild) -> None:
        """One of its processes has sent a message."""
        worker = self._crew.of(child)
        if type(message) is Result:
            if worker is not None:
                self._result(worker, message)
        elif child is self._home.child:
            self._home.message(child, message)
        elif worker is not None:
            self._message_of(worker, message)

    def _message_of(self, worker: Worker, message: FromChild) -> None:
        if isinstance(message, Ready):
            self._is_ready(worker, message)
        elif isinstance(message, NotStarted):
            worker.reason, worker.traceback = message.reason, message.traceback
        elif isinstance(message, Withdrawn):
            worker.withdrawing = False
            for number in message.numbers:
                pending = worker.in_hand.get(number)
                if pending is not None and pending.holder is not worker:
                    del worker.in_hand[number]
                elif not worker.leaving:  # else all that it had may have been taken from it
                    raise Misplaced("it gave back what nobody wanted back")
            self._rests(worker)
        elif isinstance(message, Retiring):
            if not worker.done:
                raise Misplaced("it wanted to be replaced and had done nothing")
            logger.info("engine %s: worker %d is replaced: %s", self.name, worker.number, message.reason)
            self._backlog.put_back(worker.lay_down())
            self._crew.limit_end(worker)

    def _is_ready(self, worker: Worker, message: Ready) -> None:
        if worker.ready:
            raise Misplaced("it said twice that it is ready")
        worker.forget_limit()
        worker.ready = True
        worker.since = worker.head_since = self._loop.now
        self._ends.profile = EngineProfile(self.name, self._version, message.info)
        self._knows_engine = True
        self._standing.serves()
        for pending in self._backlog.take_unprepared():
            self._prepare(pending)

    def _result(self, worker: Worker, result: Result) -> None:
        pending = worker.head
        if pending is None or pending.number != result.number:
            if worker.leaving:  # all that it had was taken from it
                return
            raise Misplaced("it answered what it was not at work on")
        outcome = self._outcome(worker, pending, result)
        del worker.in_hand[pending.number]
        worker.done += 1
        worker.took(result.seconds + result.prepare)
        worker.head_since = self._loop.now
        self._rests(worker)
        if pending.done or pending.number not in self._ends.unfinished:
            self._ends.drop(pending)  # cancelled meanwhile, or ended with another worker
            return
        if pending.holder is not worker:  # it was to be done by another, and perhaps waits for one
            self._backlog.remove(pending)
        pending.holder = None
        if outcome is not None:
            self._ends.resolve(pending, outcome)
        elif result.unreadable is not None:
            self._ends.fail(pending, ArtifactError(result.unreadable))
        else:
            failure = result.failure or Failure(FailureKind.ENGINE, "answered without a word on the file")
            self._ends.without_worker(pending, failure)

    def _rests(self, worker: Worker) -> None:
        """Let a worker go that has nothing left to do, where it is to go."""
        if worker.in_hand:
            return
        worker.alone = False
        most = self._settings.max_tasks_per_worker
        if worker.leaving or (most and worker.done >= most):
            self._crew.release(worker)

    def _outcome(self, worker: Worker, pending: Pending, result: Result) -> Outcome | FileOutcome | None:
        """What a result says, or None where it says nothing of the file.

        Raises:
            Misplaced: It cannot be true; the engine may have written it.
        """
        if not (0.0 <= result.seconds < _EVER and 0.0 <= result.prepare < _EVER):
            raise Misplaced("it answered in no time that there is")
        if pending.done or result.unreadable is not None or (pending.bounty is None and result.file is None):
            return None
        try:
            return answered(pending, result, worker.head_since, self._ends.profile, self._policy)
        except Exception as error:
            raise Misplaced(f"it answered what cannot be ({reason(error)})") from error

    # --- starting ---------------------------------------------------------------------------------------------------

    def _ensure(self, now: float) -> float:
        """Have as many processes as there is work for.

        Returns:
            When to try again.
        """
        if isinstance(self._engine, BrokenEngine):
            return math.inf
        next_time = self._home.ensure(now, self._standing.next_start)
        if self._home.is_awaited:
            return next_time
        here = self._crew.staying
        retries = len(self._backlog.retries)
        lacking = retries - self._crew.fresh if retries else 0
        missing = min(self._most, max(len(self._ends.unfinished), here + lacking)) - here
        if self._standing.failures:
            # One is enough to find out whether it starts now.
            missing = min(missing, 1 - self._crew.starting)
        if missing <= 0:
            return next_time
        if now < self._standing.next_start:
            return min(next_time, self._standing.next_start)
        for _ in range(missing):
            child = self._start(f"worker {self._crew.free_number()}", now)
            if child is None:
                return min(next_time, self._standing.next_start)
            self._crew.enlist(child, now)
            child.send(Open(self._home.shared))
        return next_time

    def _start(self, where: str, now: float) -> Child | None:
        """Start a process, and tell it what to load; None where it cannot be started."""
        try:
            child = self._about.child(self, self.name, where, self._settings)
        except (OSError, PsengineError) as error:
            self._failed(f"no process can be started: {reason(error)}", "", now)
            return None
        child.send(self._about.load(self._engine, self._settings))
        return child

    def _failed(self, why: str, traceback: str, began: float, *, told: bool = True) -> None:
        """A process that was begun at a moment did not start."""
        now = self._loop.now
        told = told and not self._closing
        self._standing.failed(why, traceback, began=began, now=now, serves=self._crew.serves, told=told)
        self._next_sweep = now

    # --- the home tells ---------------------------------------------------------------------------------------------

    def start_home(self, *, known: bool) -> Child | None:
        """Start a process for the home; see :class:`~.home.HomeOwner`."""
        # An engine that has nothing to do at home has no process that is not confined as its workers are to be.
        where = "worker 1" if not known and confines(self._settings) else "home"
        return self._start(where, self._loop.now)

    def loaded(self, message: Loaded) -> None:
        """The engine is loaded."""
        self._version = message.version
        if not self._knows_engine:
            self._ends.profile = EngineProfile.unknown(self.name, message.version)

    def no_home(self, child: Child) -> None:
        """The process is the first worker."""
        worker = self._crew.enlist(child, self._loop.now)
        child.where = f"worker {worker.number}"
        child.send(Open(b""))

    def home_failed(self, why: str, traceback: str, began: float) -> None:
        """The home did not start."""
        self._failed(why, traceback, began)

    def home_lost(self, why: str, began: float) -> None:
        """What the workers share was made by it: they go too."""
        self._crew.release_all()
        self._failed(why, "", began, told=False)

    # --- ending -----------------------------------------------------------------------------------------------------

    def gone(self, child: Child) -> None:
        """One of its processes has ended."""
        if child is self._home.child:
            self._home.gone(child)
            return
        worker = self._crew.gone(child)
        if worker is None:
            return
        head = worker.head
        for pending in worker.in_hand.values():
            if pending.done:
                self._ends.drop(pending)
        waiting = worker.lay_down()
        if not worker.ready:
            if not worker.leaving and not self._home.is_stopped:
                fate = f"a worker {child.fate} before its session was open"
                self._failed(worker.reason or fate, worker.traceback, worker.since)
        elif head is not None and waiting and waiting[0] is head:
            self._backlog.put_back(waiting[1:])
            head.spent += self._loop.now - worker.head_since
            self._bereft(head, child.fate, child.crash)
        else:
            self._backlog.put_back(waiting)
            if not worker.leaving:
                logger.warning("engine %s: worker %d %s while it was idle", self.name, worker.number, child.fate)

    def _bereft(self, pending: Pending, fate: str, crash: str) -> None:
        """The worker died over this one.

        Args:
            pending: What it was at work on.
            fate: How it died.
            crash: Where it was in Python, if it has said so.
        """
        pending.tries += 1
        pending.deaths = (*pending.deaths, fate)
        pending.holder = None
        tries = self._settings.tries
        told = (self.name, fate, pending.called, pending.tries, tries)
        logger.warning("engine %s: the worker %s over %s (%d of %d)", *told)
        if pending.tries < tries:
            self._backlog.retries.append(pending)
            return
        fates = list(dict.fromkeys(pending.deaths))
        times = "" if tries == 1 else f" in {'each of ' if len(fates) == 1 else ''}{tries} tries"
        failure = Failure(FailureKind.WORKER_LOST, f"the worker {', '.join(fates)}{times}", crash)
        self._ends.without_worker(pending, failure)

    def _step_to_the_end(self) -> None:
        """First the workers, then the home."""
        self._crew.release_all()
        if len(self._crew) or not self._home.stop():
            return
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
