"""The loop of ``psengine analyze`` for a backend that judges many at once: inputs in, rows out.

One thread does all that is counted here: it takes inputs in, hands them to the engines, waits for what is done and
hands the rows out. Others only put something into the queue that it waits on: the backend a judgement that is done, the
opener an artifact, the intake the news of an input, a courier what became of an answer.

Memory is bounded, however many inputs there are and however slow one engine is: so many inputs may be between intake
and output, and so many of them at an engine.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from typing import Any, Final, TypeAlias, cast

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.cli.delivering import Couriers
from psengine_host.cli.inputs import BadInput, FileInput, Input, UrlInput
from psengine_host.cli.intake import Intake, IntakeBeside, IntakeOnDemand
from psengine_host.cli.interrupts import Interrupted
from psengine_host.cli.opening import Opener
from psengine_host.cli.opening_ahead import OpeningAhead
from psengine_host.cli.parallel_turns import EngineLine, Judgement, ParallelTurn
from psengine_host.cli.refusals import refused
from psengine_host.cli.resume import Done, still_to_do
from psengine_host.cli.rows import Row
from psengine_host.cli.scan import interrupted_row
from psengine_host.errors import ArtifactError, InvalidBounty
from psengine_host.host import Host
from psengine_host.outcome import FailureKind, Outcome

__all__ = ["IN_ORDER", "SUBMITTED", "UNORDERED", "ParallelScan"]

IN_ORDER: Final = 4_000
"""Inputs between intake and output at most, where rows come in the order of the inputs."""
UNORDERED: Final = 16_000
"""The same where rows come as they are done: one slow engine holds up the others only beyond this."""
SUBMITTED: Final = 512
"""Judgements of one engine that the backend has at most: enough that no worker waits for this thread."""
_AT_A_TIME: Final = 64
"""Inputs that are taken in before the next look at what is done."""
_LIFETIME: Final = timedelta(days=1)
"""How long the bounties made here live: they wait for their turn, and for a slow engine that may be long."""

_Event: TypeAlias = Judgement | ParallelTurn | None
"""A judgement that is done, a turn that was opened, or None: there may be an input, or an interrupt."""


class ParallelScan:
    """Has each input judged by each engine, many at a time.

    Attributes:
        current: The name of the input whose row is awaited.

    Args:
        host: The host; its backend judges elsewhere.
        engines: The engines' names, in order.
        bounties: Whether the inputs are files that hold a bounty in JSON.
        deliver: Whether to send each bounty's answer to its ``response_url``.
        done: What an earlier run has written already.
        interrupted: Tells whether the user wants to stop: then ``Interrupted`` is raised, also where an engine raises
            ``KeyboardInterrupt``. Whoever makes it say so calls :meth:`wake`.
        ahead: Whether the inputs wait for nobody, as a list that somebody is still writing does.
        identify: Whether the bounties of files name the mimetype of their artifact.
        identify_opened: Whether those of what is opened here do: streams, URLs and ``data:`` URIs.
        in_order: Whether the rows come in the order of the inputs, and of the engines for each.
        waiting: Called before the scan waits for the next row.
    """

    def __init__(
        self,
        host: Host,
        engines: Sequence[str],
        *,
        bounties: bool = False,
        deliver: bool = False,
        done: Done | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        ahead: bool = False,
        identify: bool = False,
        identify_opened: bool = True,
        in_order: bool = True,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._engines = tuple(engines)
        self._lines = {engine: EngineLine(engine) for engine in self._engines}
        self._bounties = bounties
        self._done = done
        self._interrupted = interrupted
        self._ahead = ahead
        self._identify = identify
        self._waiting = waiting
        self._limit = IN_ORDER if in_order else UNORDERED
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._intake: Intake = IntakeOnDemand(())
        self._couriers = Couriers(host) if deliver else None
        self._opener = Opener(host.settings, host.spool, host.obtainer, _LIFETIME, identify=identify_opened)
        self._opening = OpeningAhead(
            self._opener, host.settings.host.timeout, bounties=bounties, opened=self._events.put
        )
        self._outstanding = 0
        self._turns: deque[ParallelTurn] | None = deque() if in_order else None
        self._complete: deque[Judgement] = deque()
        self._named = ""

    # --- what a scan does -------------------------------------------------------------------------------------------

    def rows(self, inputs: Iterable[Input]) -> Iterator[Row]:
        """One row an input and engine. What fails is a row too; only the user's interrupt is raised."""
        self._intake = IntakeOnDemand(inputs) if self._ahead else IntakeBeside(inputs, lambda: self._events.put(None))
        while True:
            self._stop_if_interrupted()
            took = self._take_in()
            yield from self._ready()
            if not took:
                if self._intake.ended and not self._outstanding:
                    break
                self._wait()
            for _ in range(self._events.qsize()):
                self._handle(self._events.get())
            yield from self._ready()

    def wake(self) -> None:
        """Have the scan look whether the user wants to stop; may be called by the handler of a signal."""
        self._events.put(None)

    def interrupt(self) -> Iterator[Row]:
        """End all that goes on.

        Returns:
            The rows that are complete and were not handed out; in order, as far as none is missing in between.
        """
        self._intake.stop()
        self._host.cancel()
        while not self._events.empty():
            self._handle(self._events.get(), ending=True)
        yield from self._ready()

    def close(self) -> None:
        """End the threads beside the scan, as far as they do not wait for somebody else."""
        self._intake.stop()
        self._opening.stop()

    @property
    def current(self) -> str:
        """The name of the input whose row is awaited: in order the first, else that of the last row."""
        try:
            return self._turns[0].item.name if self._turns is not None else self._named
        except IndexError:
            return ""

    def judge(self, name: str, bounty: Bounty, engine: str, artifact: Artifact | None, began: float) -> Row:
        """One row, waited for; its answer is not delivered.

        Args:
            name: What to call the artifact.
            bounty: The job.
            engine: The engine's name.
            artifact: The artifact, or None where the host obtains it.
            began: When the work on it began, on the clock of ``time.perf_counter``.
        """
        try:
            future = self._host.judge(bounty, engine, artifact)
        except KeyboardInterrupt:
            self._stop_if_interrupted()
            return interrupted_row(name, engine, bounty)
        future.add_done_callback(lambda _: self._events.put(None))
        while not future.done():
            self._wait()
            self._stop_if_interrupted()
        size = 0 if artifact is None else artifact.size
        return Row.of_outcome(name, future.result(), time.perf_counter() - began, size)

    def _wait(self) -> None:
        """Handle an event, and wait for one where there is none."""
        if self._events.empty():
            self._waiting()
        self._handle(self._events.get())

    def _stop_if_interrupted(self) -> None:
        if self._interrupted():
            raise Interrupted

    # --- inputs in --------------------------------------------------------------------------------------------------

    def _take_in(self) -> bool:
        """Take some inputs in, where an engine can do with more; whether there was any."""
        room = max(SUBMITTED - line.submitted - len(line.waiting) for line in self._lines.values())
        # In order, what is done waits for what comes before it.
        under_way = self._outstanding if self._turns is None else len(self._turns)
        room = min(room, self._limit - under_way, _AT_A_TIME)
        took = False
        while room > 0 and (item := self._intake.take()) is not None:
            room -= 1
            took = True
            engines = still_to_do(item, self._engines, self._done)
            if engines:
                self._begin(ParallelTurn(item, engines))
        return took

    def _begin(self, turn: ParallelTurn) -> None:
        item = turn.item
        self._outstanding += 1
        ended = self._events.put
        turn.judgements = [Judgement(turn, self._lines[engine], ended) for engine in turn.engines]
        if self._turns is not None:
            self._turns.append(turn)
        if isinstance(item, BadInput):
            turn.refusal = refused(item, ArtifactError(item.message))
            self._refuse(turn)
        elif isinstance(item, FileInput) and not self._bounties:
            self._queue(turn)
        elif isinstance(item, UrlInput):
            self._begin_url(turn)
        else:
            turn.opened = True
            self._opening.put(turn)

    def _begin_url(self, turn: ParallelTurn) -> None:
        try:
            turn.artifact, turn.bounty = self._opener.open(turn.item)
        except (ArtifactError, InvalidBounty) as error:
            turn.refusal = refused(turn.item, error)
            self._refuse(turn)
        else:
            self._queue(turn)

    def _refuse(self, turn: ParallelTurn) -> None:
        kind, message = turn.refusal or ("", "")
        for judgement in turn.judgements:
            judgement.row = Row.of_error(turn.item.name, judgement.line.engine, kind, message, turn.seconds)
            self._end(judgement)

    def _queue(self, turn: ParallelTurn) -> None:
        for judgement in turn.judgements:
            judgement.line.waiting.append(judgement)
            self._submit(judgement.line)

    # --- engines ----------------------------------------------------------------------------------------------------

    def _submit(self, line: EngineLine) -> None:
        while line.waiting and line.submitted < SUBMITTED:
            judgement = line.waiting.popleft()
            line.submitted += 1
            try:
                future = self._submitted(judgement)
            except KeyboardInterrupt:  # a backend may well judge in this thread
                self._stop_if_interrupted()
                line.submitted -= 1
                judgement.row = interrupted_row(judgement.turn.item.name, line.engine, judgement.turn.bounty)
                self._end(judgement)
            else:
                future.add_done_callback(judgement.done)

    def _submitted(self, judgement: Judgement) -> Future[Any]:
        turn, engine = judgement.turn, judgement.line.engine
        if turn.bounty is not None:
            return self._host.judge(turn.bounty, engine, turn.artifact)
        item = cast("FileInput", turn.item)
        return self._host.judge_file(item.path, engine, name=item.name, identify=self._identify)

    # --- events -----------------------------------------------------------------------------------------------------

    def _handle(self, event: _Event, *, ending: bool = False) -> None:
        if isinstance(event, Judgement):
            if event.row is not None:  # its answer has been delivered, or not
                self._end(event)
            else:
                self._judged(event, ending=ending)
        elif event is not None and not ending:
            if event.error is not None:
                raise event.error
            if event.refusal is not None:
                self._refuse(event)
            else:
                self._queue(event)

    def _judged(self, judgement: Judgement, *, ending: bool) -> None:
        line, future = judgement.line, judgement.future
        judgement.future = None
        line.submitted -= 1
        if future is None or (ending and future.cancelled()):
            return
        outcome = self._made_row(judgement, future)
        if outcome is None or self._couriers is None:
            self._end(judgement)
        elif not ending:
            self._couriers.send(outcome, judgement.delivered)
        if not ending:
            self._submit(line)

    def _made_row(self, judgement: Judgement, future: Future[Any]) -> Outcome | None:
        """Make the row of what is done; its outcome, or None where it became no bounty."""
        turn = judgement.turn
        name, engine = turn.item.name, judgement.line.engine
        seconds = turn.seconds if judgement is turn.judgements[0] else 0.0
        outcome: Outcome
        try:
            if turn.bounty is None:
                outcome, size = future.result()
            else:
                outcome, size = future.result(), 0 if turn.artifact is None else turn.artifact.size
        except (ArtifactError, InvalidBounty) as error:
            judgement.row = Row.of_error(name, engine, *refused(turn.item, error), seconds)
            return None
        except CancelledError:
            judgement.row = Row.of_error(name, engine, FailureKind.ENGINE, "was cancelled by the backend", seconds)
            return None
        # Its own time, without that in the queue.
        judgement.row = Row.of_outcome(name, outcome, seconds + outcome.timings.total, size)
        return outcome

    def _end(self, judgement: Judgement) -> None:
        """Nothing is missing of a row any more."""
        turn = judgement.turn
        judgement.complete = True
        turn.outstanding -= 1
        if not turn.outstanding:
            self._outstanding -= 1
            if turn.artifact is not None:
                turn.artifact.close()
            if turn.opened:
                self._opening.release()
        if self._turns is None:
            self._complete.append(judgement)

    # --- rows out ---------------------------------------------------------------------------------------------------

    def _ready(self) -> Iterator[Row]:
        return self._as_they_come() if self._turns is None else self._next_in_order(self._turns)

    def _as_they_come(self) -> Iterator[Row]:
        while self._complete:
            judgement = self._complete.popleft()
            self._named = judgement.turn.item.name
            yield _handed_out(judgement)

    def _next_in_order(self, turns: deque[ParallelTurn]) -> Iterator[Row]:
        while turns:
            turn = turns[0]
            while turn.handed_out < len(turn.engines):
                judgement = turn.judgements[turn.handed_out]
                if not judgement.complete:
                    return
                yield _handed_out(judgement)
            turns.popleft()


def _handed_out(judgement: Judgement) -> Row:
    turn = judgement.turn
    row = cast("Row", judgement.row)  # what is complete has one
    row.first = not turn.handed_out
    turn.handed_out += 1
    if turn.handed_out == len(turn.engines):
        turn.judgements.clear()  # a ring of references, which would wait for the garbage collector
    return row
