"""The loop of ``psengine analyze``: inputs in, rows out, one after another and in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.cli.fetching_ahead import fetch_ahead
from psengine_host.cli.inputs import FileInput, Input, RemoteInput, StreamInput
from psengine_host.cli.opening import Opener
from psengine_host.cli.reading_ahead import Turn, read_ahead
from psengine_host.cli.resume import Done
from psengine_host.cli.rows import Row, shown_name
from psengine_host.errors import ArtifactError, InvalidBounty, PsengineError, one_line
from psengine_host.host import Host
from psengine_host.outcome import FailureKind, Outcome

__all__ = ["Scan"]


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
    ) -> None:
        self._host = host
        self._opener = Opener(host.settings, host.spool, host.obtainer)
        self._engines = tuple(engines)
        self._bounties = bounties
        self._deliver = deliver
        self._done = done
        self._interrupted = interrupted
        self._ahead = ahead and not bounties
        self.current = ""

    def rows(self, inputs: Iterable[Input]) -> Iterator[Row]:
        """One row an input and engine, in order. What fails is a row too; only the user's interrupt is raised."""
        turns = self._turns(inputs)
        if self._ahead:
            turns = fetch_ahead(read_ahead(turns), self._opener.fetch, self._host.settings.host.timeout)
        for turn in turns:
            self.current = turn.item.name
            first = True
            for row in self._judged(turn):
                row.first = first
                first = False
                yield row

    def _turns(self, inputs: Iterable[Input]) -> Iterator[Turn]:
        """The inputs that are not done yet."""
        for item in inputs:
            engines = self._engines
            # What a stream held the last time tells nothing of what it holds now.
            # Nor does it of a second "-", which is an error of its own.
            if self._done is not None and not isinstance(item, StreamInput) and item.name != "-":
                engines = tuple(engine for engine in engines if not self._done.take(item.name, engine))
                if not engines:
                    continue
            yield Turn(item, engines)

    def _judged(self, turn: Turn) -> Iterator[Row]:
        item = turn.item
        began = time.perf_counter() - turn.seconds
        artifact: Artifact | None = None
        try:
            if self._bounties and isinstance(item, (FileInput, StreamInput)):
                bounty = self._opener.read_bounty(item)
                artifact = self._shared(bounty, turn.engines)
            elif turn.artifact is not None and turn.artifact.is_current():
                artifact, bounty = turn.artifact, self._host.bounty_for(turn.artifact, identify=True)
            elif turn.fetch is not None:
                artifact = turn.fetch.result(self._host.settings.host.timeout)
                bounty = self._opener.bounty_of(item, artifact)
            else:
                artifact, bounty = self._opener.open(item)
        except (ArtifactError, InvalidBounty) as error:
            kind, message = _refused(item, error)
            seconds = time.perf_counter() - began
            for engine in turn.engines:
                yield Row.of_error(item.name, engine, kind, message, seconds)
            return
        try:
            for engine in turn.engines:
                yield self.judge(item.name, bounty, engine, artifact, began)
                began = time.perf_counter()
        finally:
            if artifact is not None:
                artifact.close()

    def _shared(self, bounty: Bounty, engines: Sequence[str]) -> Artifact | None:
        """The file of a bounty that several engines judge: fetched once, and the same bytes for all of them.

        None where the engine may fetch it itself, or where it cannot be had: then each is told so in its turn.
        """
        if len(engines) < 2 or bounty.is_url or bounty.expired():
            return None
        try:
            return self._host.obtainer.obtain(bounty, time.monotonic() + self._host.settings.host.timeout)
        except ArtifactError:
            return None

    def judge(
        self,
        name: str,
        bounty: Bounty,
        engine: str,
        artifact: Artifact | None,
        began: float,
        *,
        deliver: bool | None = None,
    ) -> Row:
        """One row.

        Args:
            name: What to call the artifact.
            bounty: The job.
            engine: The engine's name.
            artifact: The artifact, or None where the host obtains it.
            began: When the work on it began, on the clock of ``time.perf_counter``.
            deliver: Whether to send the answer; by default as the scan was told.
        """
        try:
            outcome = self._host.judge(bounty, engine, artifact).result()
        except KeyboardInterrupt:
            if self._interrupted():
                raise
            return Row.of_error(name, engine, FailureKind.ENGINE, "raised KeyboardInterrupt by itself")
        row = Row.of_outcome(name, outcome, time.perf_counter() - began, 0 if artifact is None else artifact.size)
        if deliver is None:
            deliver = self._deliver
        if deliver and (problem := self._delivered(outcome)) is not None and row.error is None:
            row.error = ("delivery", problem)
        return row

    def _delivered(self, outcome: Outcome) -> str | None:
        """Why the answer was not delivered, or None."""
        from psengine_host.network.delivery import DeliveryStatus

        try:
            delivery = self._host.deliver(outcome)
        except PsengineError as error:
            return one_line(error)
        return None if delivery.status is DeliveryStatus.DELIVERED else f"not delivered: {delivery.reason}"


def _refused(item: Input, error: ArtifactError | InvalidBounty) -> tuple[str, str]:
    """Kind and message of the error of an input that became no bounty."""
    name = shown_name(item.name)
    if isinstance(error, InvalidBounty):
        if isinstance(item, (FileInput, StreamInput)):
            return "bounty", f"{name}: {one_line(error)}"
        # A URI that cannot be one is an artifact that cannot be had.
        return "fetch", f"{name}: {error.reason}"
    message = one_line(error)
    names = [name]
    if isinstance(item, RemoteInput):
        from psengine_host.network.errors import masked

        names.append(masked(item.uri))  # what a failed fetch calls it
    return "fetch", message if message.startswith(tuple(f"{each}: " for each in names)) else f"{name}: {message}"
