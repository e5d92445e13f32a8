"""The loop of ``psengine analyze``: inputs in, rows out, one after another and in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.cli.delivering import delivery_problem
from psengine_host.cli.fetching_ahead import fetch_ahead
from psengine_host.cli.inputs import FileInput, Input, StreamInput
from psengine_host.cli.opening import Opener
from psengine_host.cli.reading_ahead import Turn, read_ahead
from psengine_host.cli.refusals import refused
from psengine_host.cli.resume import Done, still_to_do
from psengine_host.cli.rows import Row
from psengine_host.errors import ArtifactError, InvalidBounty
from psengine_host.host import Host
from psengine_host.outcome import FailureKind, Outcome

__all__ = ["Scan", "interrupted_row"]


class Scan:
    """Has each input judged by each engine.

    Attributes:
        current: The name of the input in work.

    Args:
        host: The host.
        engines: The engines' names, in order.
        bounties: Whether the inputs are files that hold a bounty in JSON.
        deliver: Whether to send each bounty's answer to its ``response_url``.
        done: What an earlier run has written already.
        interrupted: Tells whether the user wants to stop: an engine may raise ``KeyboardInterrupt`` by itself.
        ahead: Whether files are read and URLs fetched before their turn; only for inputs that wait for nobody.
        identify: Whether the bounties made here name the mimetype of their artifact.
    """

    def __init__(
        self,
        host: Host,
        engines: Sequence[str],
        *,
        bounties: bool = False,
        deliver: bool = False,
        done: Done | None = None,
        interrupted: Callable[[], bool] = lambda: True,
        ahead: bool = False,
        identify: bool = True,
    ) -> None:
        self._host = host
        self._opener = Opener(host.settings, host.spool, host.obtainer, identify=identify)
        self._engines = tuple(engines)
        self._bounties = bounties
        self._deliver = deliver
        self._done = done
        self._interrupted = interrupted
        self._ahead = ahead and not bounties
        self._identify = identify
        self.current = ""

    def rows(self, inputs: Iterable[Input]) -> Iterator[Row]:
        """One row an input and engine, in order. What fails is a row too; only the user's interrupt is raised."""
        turns = self._turns(inputs)
        if self._ahead:
            turns = fetch_ahead(
                read_ahead(turns, identify=self._identify), self._opener.fetch, self._host.settings.host.timeout
            )
        for turn in turns:
            self.current = turn.item.name
            first = True
            for row in self._judged(turn):
                row.first = first
                first = False
                yield row

    def interrupt(self) -> Iterator[Row]:
        """What is done and was not handed out: nothing, since each is handed out before the next begins."""
        return iter(())

    def close(self) -> None:
        """Nothing goes on beside the scan that would have to be ended."""

    def _turns(self, inputs: Iterable[Input]) -> Iterator[Turn]:
        """The inputs that are not done yet."""
        for item in inputs:
            engines = still_to_do(item, self._engines, self._done)
            if engines:
                yield Turn(item, engines)

    def _judged(self, turn: Turn) -> Iterator[Row]:
        item = turn.item
        began = time.perf_counter() - turn.seconds
        artifact: Artifact | None = None
        try:
            if self._bounties and isinstance(item, (FileInput, StreamInput)):
                bounty = self._opener.read_bounty(item)
                artifact = self._opener.shared(bounty, turn.engines)
            elif turn.artifact is not None and turn.artifact.is_current():
                artifact, bounty = turn.artifact, self._opener.bounty_of(item, turn.artifact)
            elif turn.fetch is not None:
                artifact = turn.fetch.result(self._host.settings.host.timeout)
                bounty = self._opener.bounty_of(item, artifact)
            else:
                artifact, bounty = self._opener.open(item)
        except (ArtifactError, InvalidBounty) as error:
            kind, message = refused(item, error)
            seconds = time.perf_counter() - began
            for engine in turn.engines:
                yield Row.of_error(item.name, engine, kind, message, seconds)
            return
        try:
            for engine in turn.engines:
                yield self._answered(item.name, bounty, engine, artifact, began)
                began = time.perf_counter()
        finally:
            if artifact is not None:
                artifact.close()

    def judge(self, name: str, bounty: Bounty, engine: str, artifact: Artifact | None, began: float) -> Row:
        """One row; its answer is not delivered.

        Args:
            name: What to call the artifact.
            bounty: The job.
            engine: The engine's name.
            artifact: The artifact, or None where the host obtains it.
            began: When the work on it began, on the clock of ``time.perf_counter``.
        """
        return self._row(name, bounty, engine, artifact, began)[0]

    def _answered(self, name: str, bounty: Bounty, engine: str, artifact: Artifact | None, began: float) -> Row:
        row, outcome = self._row(name, bounty, engine, artifact, began)
        if self._deliver and outcome is not None:
            problem = delivery_problem(self._host, outcome)
            if problem is not None and row.error is None:
                row.error = ("delivery", problem)
        return row

    def _row(
        self, name: str, bounty: Bounty, engine: str, artifact: Artifact | None, began: float
    ) -> tuple[Row, Outcome | None]:
        try:
            outcome = self._host.judge(bounty, engine, artifact).result()
        except KeyboardInterrupt:
            if self._interrupted():
                raise
            return interrupted_row(name, engine, bounty), None
        size = 0 if artifact is None else artifact.size
        return Row.of_outcome(name, outcome, time.perf_counter() - began, size), outcome


def interrupted_row(name: str, engine: str, bounty: Bounty | None) -> Row:
    """The row of an engine that raised what only the user's interrupt is.

    Args:
        name: What to call the artifact.
        engine: The engine's name.
        bounty: The job, where it is known.
    """
    return Row.of_error(name, engine, FailureKind.ENGINE, "raised KeyboardInterrupt by itself", bounty=bounty)
