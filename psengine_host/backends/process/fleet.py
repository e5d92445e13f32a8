"""One engine in the host: its home and its workers, what waits for them, and what becomes of that when they die.

All of it runs in the loop's thread. Whatever an engine's processes do, each bounty that was submitted ends.
"""

from __future__ import annotations

import collections
import functools
import logging
import math
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from psengine_host import job
from psengine_host.analysis import Analysis
from psengine_host.artifacts import Artifact
from psengine_host.backends import WorkerStatus
from psengine_host.backends.process.answers import answered, heard, without_worker
from psengine_host.backends.process.child import Child
from psengine_host.backends.process.frames import framed
from psengine_host.backends.process.member import Worker
from psengine_host.backends.process.memory import children, resident
from psengine_host.backends.process.messages import (
    FromChild,
    Hearing,
    Loaded,
    Misplaced,
    NotStarted,
    Open,
    Ready,
    Result,
    Retiring,
    SetUp,
    SetUpDone,
    Stop,
    Withdraw,
    Withdrawn,
    encode,
)
from psengine_host.backends.process.pending import FILE_LIFETIME, Pending
from psengine_host.backends.process.surroundings import Surroundings, confines
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import reason
from psengine_host.engines.found import BrokenEngine, FoundEngine
from psengine_host.errors import ArtifactError, PsengineError
from psengine_host.local_bounties import bounty_for
from psengine_host.outcome import Failure, FailureKind, FileOutcome, Outcome
from psengine_host.pipeline import EngineProfile, Judged, Prepared, conclude, prepare, unavailable
from psengine_host.quantities import format_size

__all__ = ["Fleet"]

_FIRST_BACKOFF: Final = 1.0
_LONGEST_BACKOFF: Final = 60.0
"""Seconds between two starts of what does not start; doubled each time."""
_SWEEP: Final = 0.25
"""Seconds between two looks at what waits in vain."""
_WEIGH: Final = 0.1
"""Seconds between two looks at the memory of workers."""
_MOST_CHILDREN: Final = 1_000
"""Children of a worker at most, those included that have ended and that it has not waited for."""
_ENDING: Final = 10.0
"""Seconds that a worker has for the end of its session when it is replaced."""
_STALL: Final = 0.02
_EVER: Final = 1e9
"""Seconds that no bounty takes."""
_MOST_HEARD: Final = 10_000
"""Outcomes that wait for the author's callbacks at most; beyond that they are counted as missed."""

logger = logging.getLogger(__name__)


class Fleet:
    """The processes of one engine, and what they have to do.

    Args:
        engine: The engine.
        surroundings: What all engines share.
    """

    def __init__(self, engine: FoundEngine | BrokenEngine, surroundings: Surroundings) -> None:
        self.name = engine.name
        self._engine = engine
        self._about = surroundings
        self._loop = surroundings.loop
        settings = surroundings.settings
        self._settings = settings.workers.of(engine.name)
        self._timeout = settings.host.timeout if self._settings.timeout is None else self._settings.timeout
        self._policy = settings.bids.policy
        self._discard_expired = settings.host.discard_expired_bounties
        self._most = self._settings.processes
        self.profile: EngineProfile | None = None
        self._guess = EngineProfile.unknown(engine.name, engine.version)

        self._number = 0
        self._unfinished: dict[int, Pending] = {}
        self._unprepared: collections.deque[Pending] = collections.deque()
        self._queue: collections.deque[Pending] = collections.deque()
        self._retries: collections.deque[Pending] = collections.deque()
        self._next_sweep = 0.0

        self._home: Child | None = None
        self._home_since = 0.0
        self._home_loaded = False
        self._home_reason = ""
        self._home_traceback = ""
        self._needs_home: bool | None = None
        self._home_up = False
        self._sets_up = True
        self._hears = False
        self._unheard: collections.deque[Outcome] = collections.deque()
        """What the home is to hear when it is up."""
        self._sent_home: collections.deque[Outcome] = collections.deque()
        """What was sent to the home and its callbacks were not called with yet."""
        self._missed = 0
        self._next_home = 0.0
        """When a home that only hears may be started anew."""
        self._shared = b""

        self._workers: list[Worker] = []
        self._by_child: dict[Child, Worker] = {}
        self._weighing = False

        self._failures = 0
        self._failed_at = -math.inf
        self._next_start = 0.0
        self._down_since: float | None = None
        self._reason = ""
        self._traceback = ""

        self._closing = False
        self._stopped_home = False
        self._closed: Callable[[], object] | None = None

    # --- what the backend asks --------------------------------------------------------------------------------------

    @property
    def timeout(self) -> float:
        """Seconds that a bounty may take, the fetch included."""
        return self._timeout

    @property
    def is_working(self) -> bool:
        """Whether anything that was submitted has not ended."""
        return bool(self._unfinished)

    def is_hurried(self) -> bool:
        """Whether somebody waits for this thread: a worker that will soon have nothing to do, or one who submits."""
        if not self._unfinished:
            return False
        ready = False
        for worker in self._workers:
            if worker.ready and not worker.leaving:
                ready = True
                if not worker.is_provided:
                    return True
        return not ready

    def submit(self, pending: Pending) -> None:
        """Have something judged."""
        self._number += 1
        pending.number = self._number
        self._unfinished[pending.number] = pending
        if isinstance(self._engine, BrokenEngine):
            engine = self._engine
            self._reason = f"engine {engine.name} ({engine.origin}) is broken: {engine.reason}"
            self._down_since = self._loop.now if self._down_since is None else self._down_since
            self._answer_unavailable(pending)
        elif self.profile is None:
            self._unprepared.append(pending)
        else:
            self._prepare(pending)

    def status(self) -> list[WorkerStatus]:
        """What its workers do; from any thread, and true for a moment."""
        now = self._loop.now
        found = []
        for worker in list(self._workers):
            head = next(iter(list(worker.in_hand.values())), None)
            state = "busy" if head is not None else "idle" if worker.ready else "starting"
            since = worker.head_since if head is not None else worker.since
            name = "" if head is None else head.name
            found.append(WorkerStatus(self.name, worker.number, state, name, max(0.0, now - since)))
        down_since = self._down_since
        if down_since is not None and not any(worker.ready for worker in list(self._workers)):
            return [WorkerStatus(self.name, 0, "unavailable", self._reason, max(0.0, now - down_since))]
        if not found and self._home is not None and not self._home_up:
            found.append(WorkerStatus(self.name, 0, "starting", "", max(0.0, now - self._home_since)))
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
        for pending in list(self._unfinished.values()):
            pending.cancel()
        self._unfinished.clear()
        for waiting in (self._unprepared, self._queue, self._retries):
            waiting.clear()
        for worker in self._workers:
            if worker.in_hand:
                worker.in_hand.clear()
                self._dismiss(worker, "cancelled")

    def kill(self) -> None:
        """Kill all its processes."""
        for child in [*self._by_child, *([] if self._home is None else [self._home])]:
            child.kill("the host ended")

    def abandon(self) -> None:
        """Close all descriptors, in a fork of the host."""
        for child in [*self._by_child, *([] if self._home is None else [self._home])]:
            child.abandon()

    def tick(self, now: float) -> float:
        """Do what is due.

        Returns:
            When there is something to do again, on the clock of ``time.monotonic``.
        """
        next_time = self._check_workers(now)
        if self._unfinished:
            if now >= self._next_sweep:
                self._sweep(now)
                # However many wait, looking at them takes a small part of the time.
                self._next_sweep = now + max(_SWEEP, 50 * (time.monotonic() - now))
            next_time = min(next_time, self._ensure(now), self._next_sweep)
            self._dispatch(now)
            for worker in self._workers:
                next_time = min(next_time, worker.kill_at())
        elif self._unheard and not self._home_up and not self._closing:
            next_time = min(next_time, self._ensure(now))
        if self._closing and not self._unfinished:
            self._step_to_the_end()
        return next_time

    # --- preparing --------------------------------------------------------------------------------------------------

    def _prepare(self, pending: Pending) -> None:
        profile = self.profile
        bounty = pending.bounty
        if profile is None or bounty is None:
            self._queue.append(pending)
            return
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
                timeout=self._timeout,
                discard_expired=self._discard_expired,
            )
        finally:
            job.end(token)

    def _prepared(self, pending: Pending) -> None:
        prepared = pending.prepared
        if prepared is None:  # the work itself failed, which the pipeline lets nothing do
            failure = Failure(FailureKind.FETCH, "the artifact could not be prepared")
            self._end_without_worker(pending, failure)
        elif prepared.answer is not None:
            self._resolve(pending, conclude(prepared, prepared.answered(), self._known, self._policy))
        elif pending.done:
            self._drop(pending)
        else:
            pending.artifact = prepared.artifact
            pending.limit = min(self._timeout, max(0.001, self._timeout - (self._loop.now - prepared.began)))
            self._queue.append(pending)

    @property
    def _known(self) -> EngineProfile:
        return self._guess if self.profile is None else self.profile

    # --- giving out -------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        if not self._queue and not self._retries:
            return
        ready = [worker for worker in self._workers if worker.ready and not worker.leaving and not worker.deaf]
        if not ready:
            return
        ready.sort(key=lambda worker: len(worker.in_hand))
        if self._retries:
            ready = self._try_again(ready, now)
        queue = self._queue
        for place, worker in enumerate(ready):
            if not queue:
                return
            most = self._settings.max_tasks_per_worker
            room = worker.room(most - worker.done if most else len(queue) + len(worker.in_hand))
            share = -(-len(queue) // (len(ready) - place))
            count = min(room, share, len(queue))
            if count > 0:
                self._give(worker, [queue.popleft() for _ in range(count)], now)

    def _try_again(self, ready: list[Worker], now: float) -> list[Worker]:
        """Give out what workers died over.

        It is alone there, so that it harms nobody again, and in a process that has done nothing before, so that nothing
        that an earlier bounty left behind harms it.

        Args:
            ready: The workers that take something, the least busy first.
            now: The time.

        Returns:
            Those that may have other work.
        """
        # Better one that has worked already than none, where no new one starts.
        free = [worker for worker in ready if worker.is_fresh or (self._failures and not worker.in_hand)]
        while self._retries and free:
            if self._give(free[0], [self._retries.popleft()], now):
                free.pop(0).alone = True
        ready = [worker for worker in ready if not worker.alone]
        if self._retries and ready and not self._failures and not self._fresh:
            spare = ready.pop(0)
            if not spare.in_hand:
                self._release(spare)
        return ready

    @property
    def _fresh(self) -> int:
        """Workers that have done nothing yet, those that start included."""
        return sum(worker.is_fresh for worker in self._workers if not worker.leaving)

    def _give(self, worker: Worker, chosen: list[Pending], now: float) -> bool:
        frames = []
        was_idle = not worker.in_hand
        for pending in chosen:
            if pending.done:  # cancelled
                self._drop(pending)
            elif now >= pending.expires:
                self._expire(pending)
            else:
                try:
                    frames.append(framed(encode(pending.message())))
                except ArtifactError as error:
                    self._end_without_worker(pending, Failure(FailureKind.FETCH, reason(error)))
                    continue
                pending.holder = worker
                worker.in_hand[pending.number] = pending
        if frames and worker.child is not None:
            if was_idle:
                worker.head_since = now
            if not worker.child.send_framed(b"".join(frames)):
                # It has just died: it began nothing of this, and is not to be mourned over it.
                worker.deaf = True
                given = [pending for pending in chosen if worker.in_hand.pop(pending.number, None) is not None]
                self._requeue(given)
                return False
        return bool(frames)

    def _check_workers(self, now: float) -> float:
        next_time = math.inf
        someone_free = False
        for worker in list(self._workers):
            if now >= worker.kill_at() and worker.head is not None:
                self._overdue(worker, worker.head, now)
            someone_free = someone_free or (worker.ready and not worker.in_hand and not worker.leaving)
        if someone_free and not self._queue:
            for worker in self._workers:
                if worker.is_stalled(now) and worker.child is not None:
                    waiting = list(worker.in_hand.values())[1:]
                    worker.withdrawing = True
                    worker.child.send(Withdraw(tuple(pending.number for pending in waiting)))
                    self._requeue([pending for pending in waiting if pending.holder is worker])
                elif len(worker.in_hand) > 1:
                    next_time = now + _STALL
        return next_time

    def _requeue(self, pendings: list[Pending]) -> None:
        """Put back what was not begun, in its order, before all else."""
        for pending in reversed(pendings):
            pending.holder = None
            if pending.tries:
                self._retries.appendleft(pending)
            else:
                self._queue.appendleft(pending)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _resolve(self, pending: Pending, outcome: Outcome | FileOutcome) -> None:
        self._unfinished.pop(pending.number, None)
        pending.resolve(outcome)
        if self._hears:
            self._tell_home(outcome.outcome if isinstance(outcome, FileOutcome) else outcome)

    def _tell_home(self, outcome: Outcome) -> None:
        """Have the author's callbacks hear of an outcome, as soon as there is a home."""
        home = self._home if self._home_up else None
        if home is None and outcome.failure is not None and outcome.failure.kind is FailureKind.UNAVAILABLE:
            return  # the engine has not got so far that it could hear
        if len(self._sent_home) + len(self._unheard) >= _MOST_HEARD:
            self._missed += 1
        elif home is None:
            self._unheard.append(outcome)
        else:
            self._sent_home.append(outcome)
            home.send(heard(outcome))

    def _drop(self, pending: Pending) -> None:
        self._unfinished.pop(pending.number, None)
        pending.cancel()

    def _fail(self, pending: Pending, error: BaseException) -> None:
        self._unfinished.pop(pending.number, None)
        pending.fail(error)

    def _end_without_worker(self, pending: Pending, failure: Failure) -> None:
        """End what no worker answers."""
        judged = Judged(None, failure)
        if pending.bounty is not None:
            self._resolve(pending, without_worker(pending, pending.bounty, judged, self._known, self._policy))
            return
        self._with_bounty(
            pending,
            lambda bounty, size: FileOutcome(without_worker(pending, bounty, judged, self._known, self._policy), size),
        )

    def _answer_unavailable(self, pending: Pending) -> None:
        text, traceback = self._reason, self._traceback
        if pending.bounty is not None:
            self._resolve(pending, unavailable(pending.bounty, self._known, text, traceback))
            return
        self._with_bounty(
            pending, lambda bounty, size: FileOutcome(unavailable(bounty, self._known, text, traceback), size)
        )

    def _with_bounty(self, pending: Pending, end: Callable[..., FileOutcome]) -> None:
        """End a file's judgement without a worker: what it is has to be found out here."""
        made: list[FileOutcome] = []
        failed: list[BaseException] = []
        for waiting in (self._queue, self._retries, self._unprepared):
            if pending in waiting:
                waiting.remove(pending)

        def work() -> None:
            try:
                with Artifact.from_path(os.fsdecode(pending.path or b""), name=pending.name) as artifact:
                    bounty = bounty_for(artifact, identify=False, lifetime=timedelta(seconds=FILE_LIFETIME))
                    made.append(end(bounty, artifact.size))
            except BaseException as error:  # noqa: BLE001 - told to whoever waits
                failed.append(error)

        def then() -> None:
            if made:
                self._resolve(pending, made[0])
            else:
                error = failed[0] if failed else ArtifactError(f"{pending.name}: cannot be read")
                self._fail(pending, error)

        self._about.in_background(work, then)

    def _expire(self, pending: Pending) -> None:
        bounty = pending.bounty
        if bounty is None:
            raise AssertionError("a file does not expire")
        expired = Prepared(bounty, pending.began, self._loop.now)
        expired.refuse(Analysis.expired(f"expired at {bounty.expiration.isoformat()}"))
        self._resolve(pending, conclude(expired, expired.answered(), self._known, self._policy))

    def _sweep(self, now: float) -> None:
        """End what waits in vain: cancelled, expired, or for an engine that does not start."""
        down = self._down_since if not any(worker.ready for worker in self._workers) else None
        patience = self._settings.patience
        hopeless = down is not None and (
            self._closing or (patience is not None and now - down >= patience) or self._engine_is_gone
        )
        for waiting in (self._unprepared, self._queue, self._retries):
            for pending in list(waiting):
                if pending.done:
                    waiting.remove(pending)
                    self._drop(pending)
                elif hopeless or (down is not None and now >= pending.waits_until):
                    waiting.remove(pending)
                    self._answer_unavailable(pending)
                elif now >= pending.expires:
                    waiting.remove(pending)
                    self._expire(pending)

    @property
    def _engine_is_gone(self) -> bool:
        return isinstance(self._engine, BrokenEngine)

    def _overdue(self, worker: Worker, pending: Pending, now: float) -> None:
        """Kill a worker that takes too long; the bounty is answered at once, whether it dies or not."""
        seconds = now - worker.head_since
        if now >= pending.expires:
            what = f"was killed after {seconds:.1f} s, when its bounty expired"
        else:
            what = f"took longer than {pending.limit:g} s and was killed"
        del worker.in_hand[pending.number]
        others = [other for other in worker.in_hand.values() if other.holder is worker]
        worker.in_hand.clear()
        self._dismiss(worker, f"was killed: it {what}")
        self._requeue(others)
        if pending.holder is worker and not pending.done:
            pending.holder = None
            self._end_without_worker(pending, Failure(FailureKind.TIMEOUT, what))
        elif pending.done:
            self._drop(pending)

    def _dismiss(self, worker: Worker, why: str) -> None:
        worker.leaving = True
        if worker.child is not None:
            worker.child.kill(why)

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, child: Child, message: FromChild) -> None:
        """One of its processes has sent a message."""
        worker = self._by_child.get(child)
        if type(message) is Result:
            if worker is not None:
                self._result(worker, message)
        elif child is self._home:
            self._message_of_home(child, message)
        elif worker is not None:
            self._message_of_worker(worker, message)

    def _message_of_home(self, child: Child, message: FromChild) -> None:
        now = self._loop.now
        if isinstance(message, Hearing):
            if not self._sent_home:
                raise Misplaced("it heard what nobody told it")
            self._sent_home.popleft()
        elif isinstance(message, Loaded):
            self._guess = EngineProfile.unknown(self.name, message.version)
            self._home_loaded = True
            self._hears = message.hears
            self._sets_up = message.sets_up
            self._needs_home = message.sets_up or message.hears
            if not self._needs_home:
                # It has nothing to do at home, so this process is the first worker.
                self._home = None
                worker = self._enlist(child, now)
                child.where = f"worker {worker.number}"
                child.send(Open(b""))
                self._limit_start(worker)
            elif child.confined:
                # Limits and the sandbox are for workers: this process has only found out that there is a home.
                self._home = None
                child.send(Stop())
            else:
                child.send(SetUp())
        elif isinstance(message, SetUpDone):
            self._shared = message.shared
            self._home_up = True
            self._home_since = now
            waiting, self._unheard = self._unheard, collections.deque()
            for outcome in waiting:
                self._tell_home(outcome)
        elif isinstance(message, NotStarted):
            self._home_reason, self._home_traceback = message.reason, message.traceback

    def _message_of_worker(self, worker: Worker, message: FromChild) -> None:
        if isinstance(message, Ready):
            self._is_ready(worker, message)
        elif isinstance(message, NotStarted):
            worker.reason, worker.traceback = message.reason, message.traceback
        elif isinstance(message, Withdrawn):
            worker.withdrawing = False
            for number in message.numbers:
                pending = worker.in_hand.get(number)
                if pending is None or pending.holder is worker:
                    raise Misplaced("it gave back what nobody wanted back")
                del worker.in_hand[number]
        elif isinstance(message, Retiring):
            if not worker.done:
                raise Misplaced("it wanted to be replaced and had done nothing")
            logger.info("engine %s: worker %d is replaced: %s", self.name, worker.number, message.reason)
            worker.leaving = True
            waiting = [pending for pending in worker.in_hand.values() if pending.holder is worker]
            worker.in_hand.clear()
            self._requeue(waiting)
            self._limit_end(worker)

    def _is_ready(self, worker: Worker, message: Ready) -> None:
        if worker.ready:
            raise Misplaced("it said twice that it is ready")
        now = self._loop.now
        worker.forget_limit()
        worker.ready = True
        worker.since = worker.head_since = now
        self.profile = EngineProfile(self.name, self._guess.version, message.info)
        if self._down_since is not None:
            logger.warning("engine %s is available again", self.name)
        self._failures = 0
        self._down_since = None
        self._reason = self._traceback = ""
        waiting, self._unprepared = self._unprepared, collections.deque()
        for pending in waiting:
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
        if not worker.in_hand:
            worker.alone = False
            most = self._settings.max_tasks_per_worker
            if worker.leaving or (most and worker.done >= most):
                self._release(worker)
        if pending.done or pending.number not in self._unfinished:
            self._drop(pending)  # cancelled meanwhile, or ended with another worker
            return
        pending.holder = None
        if outcome is not None:
            self._resolve(pending, outcome)
        elif result.unreadable is not None:
            self._fail(pending, ArtifactError(result.unreadable))
        else:
            failure = result.failure or Failure(FailureKind.ENGINE, "answered without a word on the file")
            self._end_without_worker(pending, failure)

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
            return answered(pending, result, worker.head_since, self._known, self._policy)
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
        waits_for_home = self._needs_home is None or (self._needs_home and self._sets_up and not self._home_up)
        next_time = math.inf
        if self._home is None and self._needs_home is not False:
            next_time = self._next_start if waits_for_home else self._next_home
            if now >= next_time:
                next_time = math.inf
                self._start_home(now)
        if waits_for_home:
            return next_time
        here = sum(not worker.leaving for worker in self._workers)
        lacking = len(self._retries) - self._fresh if self._retries else 0
        missing = min(self._most, max(len(self._unfinished), here + lacking)) - here
        if self._failures:
            # One is enough to find out whether it starts now.
            missing = min(missing, 1 - sum(not worker.ready for worker in self._workers))
        if missing <= 0:
            return next_time
        if now < self._next_start:
            return min(next_time, self._next_start)
        for _ in range(missing):
            if not self._start_worker(now):
                return min(next_time, self._next_start)
        return next_time

    def _start_home(self, now: float) -> None:
        self._home_reason = self._home_traceback = ""
        self._home_loaded = self._home_up = False
        # An engine that has nothing to do at home has no process that is not confined as its workers are to be.
        where = "worker 1" if self._needs_home is None and confines(self._settings) else "home"
        try:
            child = self._about.child(self, self.name, where, self._settings)
        except (OSError, PsengineError) as error:
            self._failed(f"no process can be started: {reason(error)}", "", now)
            return
        self._home = child
        self._home_since = now
        child.send(self._about.load(self._engine, self._settings))
        limit = self._settings.setup_timeout

        def late() -> None:
            if self._home is child and not self._home_up:
                what = "setup" if self._home_loaded else "loading it"
                self._home_reason = f"{what} took longer than {limit:g} s; its process was killed"
                child.kill(f"was killed: {what} took longer than {limit:g} s")

        self._loop.at(now + limit, late)

    def _start_worker(self, now: float) -> bool:
        number = self._free_number()
        try:
            child = self._about.child(self, self.name, f"worker {number}", self._settings)
        except (OSError, PsengineError) as error:
            self._failed(f"no process can be started: {reason(error)}", "", now)
            return False
        worker = self._enlist(child, now)
        child.send(self._about.load(self._engine, self._settings))
        child.send(Open(self._shared))
        self._limit_start(worker)
        return True

    def _enlist(self, child: Child, now: float) -> Worker:
        worker = Worker(self._free_number(), now)
        worker.child = child
        self._workers.append(worker)
        self._by_child[child] = worker
        if not self._weighing:
            self._weighing = True
            self._loop.at(now + _WEIGH, self._weigh)
        return worker

    def _free_number(self) -> int:
        taken = {worker.number for worker in self._workers if not worker.leaving}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    def _limit_start(self, worker: Worker) -> None:
        limit = self._settings.start_timeout

        def late() -> None:
            if not worker.ready and worker.child is not None:
                worker.reason = f"open_session and info took longer than {limit:g} s; the worker was killed"
                worker.child.kill(f"was killed: open_session and info took longer than {limit:g} s")

        worker.limit = self._loop.at(self._loop.now + limit, late)

    def _failed(self, why: str, traceback: str, began: float) -> None:
        """A process that was begun at a moment did not start."""
        now = self._loop.now
        if began >= self._failed_at:  # those that were begun together fail together, which is one failure
            self._next_start = now + min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(self._failures, 10))
            self._failures += 1
            self._failed_at = now
        if self._down_since is None and not any(worker.ready for worker in self._workers):
            self._down_since = now
        if why != self._reason and not self._closing:
            logger.warning("engine %s is unavailable: %s; it is tried again", self.name, why)
        self._reason, self._traceback = why, traceback
        self._next_sweep = now

    # --- ending -----------------------------------------------------------------------------------------------------

    def gone(self, child: Child) -> None:
        """One of its processes has ended."""
        if child is self._home:
            self._home_is_gone(child)
            return
        worker = self._by_child.pop(child, None)
        if worker is None:
            return
        self._workers.remove(worker)
        worker.child = None
        worker.forget_limit()
        waiting = [pending for pending in worker.in_hand.values() if pending.holder is worker and not pending.done]
        head = worker.head
        for pending in worker.in_hand.values():
            if pending.done:
                self._drop(pending)
        worker.in_hand.clear()
        if not worker.ready:
            if not worker.leaving and not self._stopped_home:
                fate = f"a worker {child.fate} before its session was open"
                self._failed(worker.reason or fate, worker.traceback, worker.since)
        elif head is not None and waiting and waiting[0] is head:
            self._requeue(waiting[1:])
            self._bereft(head, child.fate)
        else:
            self._requeue(waiting)
            if not worker.leaving:
                logger.warning("engine %s: worker %d %s while it was idle", self.name, worker.number, child.fate)

    def _bereft(self, pending: Pending, fate: str) -> None:
        """The worker died over this one."""
        pending.tries += 1
        pending.deaths.append(fate)
        pending.holder = None
        what = pending.name or (f"bounty {pending.bounty.id}" if pending.bounty is not None else "")
        tries = self._settings.tries
        logger.warning("engine %s: the worker %s over %s (%d of %d)", self.name, fate, what, pending.tries, tries)
        if pending.tries < tries:
            self._retries.append(pending)
            return
        fates = list(dict.fromkeys(pending.deaths))
        times = "" if tries == 1 else f" in {'each of ' if len(fates) == 1 else ''}{tries} tries"
        self._end_without_worker(pending, Failure(FailureKind.WORKER_LOST, f"the worker {', '.join(fates)}{times}"))

    def _home_is_gone(self, child: Child) -> None:
        was_up, self._home_up = self._home_up, False
        self._home = None
        if self._stopped_home:
            return
        # What a callback died over is not tried again, and what had not come to its turn is.
        self._unheard.extendleft(reversed(self._sent_home))
        self._sent_home.clear()
        if self._needs_home and not self._sets_up:
            # It only hears: nobody's work depends on it.
            logger.warning("engine %s: its home %s; it is started anew", self.name, child.fate)
            self._next_home = self._loop.now + _FIRST_BACKOFF
            return
        if was_up:
            # What the workers share was made by it: they go too, each when it has done what it is at work on.
            why = self._reason = f"its home {child.fate}"
            logger.warning("engine %s: %s; it is started anew, and then its workers", self.name, why)
            for worker in self._workers:
                worker.leaving = True
                if not worker.in_hand:
                    self._release(worker)
        else:
            where = "home" if self._home_loaded else "process"
            when = "before setup was done" if self._home_loaded else "while it was loaded"
            # Before the engine is loaded these are the words of an interpreter, or of bubblewrap, that cannot do it.
            said = "" if self._home_loaded else child.last_words
            why = self._home_reason or f"its {where} {child.fate} {when}{said and f': {said}'}"
        self._failed(why, self._home_traceback, self._home_since)

    def _release(self, worker: Worker) -> None:
        """Have a worker end its session."""
        worker.leaving = True
        if worker.child is not None:
            worker.child.send(Stop())
            self._limit_end(worker)

    def _limit_end(self, worker: Worker) -> None:
        child = worker.child
        if child is not None:
            self._loop.at(self._loop.now + _ENDING, lambda: child.kill("the end of its session took too long"))

    def _step_to_the_end(self) -> None:
        """First the workers, then the home."""
        for worker in self._workers:
            if not worker.leaving:
                self._release(worker)
        if self._workers:
            return
        if self._home is not None:
            if self._unheard and not self._home_up:
                return
            if not self._stopped_home:
                self._stopped_home = True
                self._home.send(Stop())
            return
        closed, self._closed = self._closed, None
        if closed is not None:
            self._missed += len(self._unheard)
            self._unheard.clear()
            if self._missed:
                logger.error("engine %s: on_success or on_error missed %d outcomes", self.name, self._missed)
            closed()

    # --- memory -----------------------------------------------------------------------------------------------------

    def _weigh(self) -> None:
        busy = False
        for worker in list(self._workers):
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
                logger.info("engine %s: worker %d is replaced: it %s", self.name, worker.number, what)
                self._release(worker)
        self._weighing = bool(self._workers)
        if self._weighing:
            self._loop.at(self._loop.now + (_WEIGH if busy else 10 * _WEIGH), self._weigh)

    def _excess(self, worker: Worker, process: int) -> str:
        """What a worker has too much of, in the same words each time: so three deaths of it have one reason."""
        if children(process) > _MOST_CHILDREN:  # each is looked at ten times a second, and there are not many numbers
            return f"had more than {_MOST_CHILDREN} child processes"
        limit = self._settings.max_memory
        if not limit or (used := resident(process)) <= limit:
            return ""
        logger.info("engine %s: worker %d uses %.0f MB of memory", self.name, worker.number, used / 1e6)
        return f"used more than {format_size(limit)} of memory"
