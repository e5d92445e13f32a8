"""Outcomes: how a bounty ended. Every bounty ends in one, and every one carries an analysis."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec

from psengine_host.analysis import Analysis
from psengine_host.bounty import Bounty

__all__ = ["Failure", "FailureKind", "FileOutcome", "Outcome", "Timings"]


class FailureKind(enum.StrEnum):
    """What failed."""

    FETCH = "fetch"
    """The artifact could not be had."""
    ENGINE = "engine"
    """The engine raised, or answered what is no answer."""
    TIMEOUT = "timeout"
    """The engine took longer than its limit."""
    WORKER_LOST = "worker-lost"
    """The engine's process died."""
    UNAVAILABLE = "unavailable"
    """The engine could not be loaded or started."""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a bounty was not judged; plain data, the same in every backend.

    Args:
        kind: What failed.
        message: What happened, in one line.
        traceback: The engine's traceback, or an empty string.
    """

    kind: FailureKind
    message: str
    traceback: str = ""


class Timings(msgspec.Struct, frozen=True, gc=False):
    """Where the time went, in seconds of the monotonic clock.

    Args:
        prepare: Deadline, type and size checks and the fetch.
        judge: The engine.
        conclude: Checks, bid and enrichment.
    """

    prepare: float = 0.0
    judge: float = 0.0
    conclude: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.prepare + self.judge + self.conclude


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How one bounty ended with one engine.

    Args:
        bounty: The bounty.
        engine: The engine's name.
        analysis: What is answered; ``unknown`` where something failed.
        failure: Why it was not judged, or None.
        timings: Where the time went.
    """

    bounty: Bounty
    engine: str
    analysis: Analysis
    failure: Failure | None = None
    timings: Timings = Timings()

    def answer(self) -> dict[str, Any]:
        """What goes to ``response_url``: the analysis in wire form; a vote carries no bid."""
        wire = self.analysis.to_wire()
        if self.bounty.is_vote:
            wire.pop("bid", None)
        return wire


class FileOutcome(NamedTuple):
    """How a local file ended with one engine.

    Attributes:
        outcome: The outcome; its bounty says what the file is.
        size: Bytes of the file.
    """

    outcome: Outcome
    size: int
