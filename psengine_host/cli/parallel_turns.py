"""What a scan that judges many at once keeps of each input on its way: there may be thousands, so they are light."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from psengine_host.bounty import Bounty
from psengine_host.cli.inputs import Input
from psengine_host.cli.reading_ahead import Turn
from psengine_host.cli.rows import Row

__all__ = ["EngineLine", "Judgement", "ParallelTurn"]


class ParallelTurn(Turn):
    """One input on its way, from the intake to its last row.

    Attributes:
        judgements: One an engine.
        bounty: Its bounty, where the host made or read it; None for a file that is opened where the engine is.
        refusal: Kind and message of the error, where it became no bounty.
        error: What opening it raised that nobody expected.
        outstanding: Engines that are not done with it.
        handed_out: Rows of it that have been handed out.
        opened: Whether it takes room among the artifacts that are open.
    """

    __slots__ = ("bounty", "error", "handed_out", "judgements", "opened", "outstanding", "refusal")

    def __init__(self, item: Input, engines: Sequence[str]) -> None:
        super().__init__(item, engines)
        self.bounty: Bounty | None = None
        self.refusal: tuple[str, str] | None = None
        self.error: Exception | None = None
        self.outstanding = len(engines)
        self.handed_out = 0
        self.opened = False
        self.judgements: list[Judgement] = []


class Judgement:
    """One input judged by one engine.

    Attributes:
        turn: The input.
        line: Where the engine's work waits.
        future: What the host makes of it, once that is done.
        row: Its row, once it has been judged.
        complete: Whether nothing is missing of the row.
    """

    __slots__ = ("_ended", "complete", "future", "line", "row", "turn")

    def __init__(self, turn: ParallelTurn, line: EngineLine, ended: Callable[[Judgement], None]) -> None:
        self.turn = turn
        self.line = line
        self.future: Future[Any] | None = None
        self.row: Row | None = None
        self.complete = False
        self._ended = ended

    def done(self, future: Future[Any]) -> None:
        """The future is done; called in any thread.

        Args:
            future: The future.
        """
        self.future = future
        self._ended(self)

    def delivered(self, problem: str | None) -> None:
        """Its answer has been delivered, or not; called in any thread.

        Args:
            problem: Why not, or None.
        """
        if problem is not None and self.row is not None and self.row.error is None:
            self.row.error = ("delivery", problem)
        self._ended(self)


class EngineLine:
    """What one engine has to do, so that none waits for another.

    Attributes:
        engine: Its name.
        waiting: What was not submitted yet, in order.
        submitted: How much was submitted and is not done.
    """

    __slots__ = ("engine", "submitted", "waiting")

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.waiting: deque[Judgement] = deque()
        self.submitted = 0
