"""Rows: what ``psengine analyze`` says of one artifact and engine."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from psengine_host.analysis import Analysis, Verdict
from psengine_host.bounty import Bounty
from psengine_host.escapes import printable
from psengine_host.outcome import Failure, FailureKind, Outcome

__all__ = ["Row", "encode", "shown_name"]

_ANSWERS: Final = {"fetch": Analysis.cannot_fetch, FailureKind.ENGINE.value: Analysis.engine_error}
_SHOWN_URI: Final = 60
"""Characters of a ``data:`` URI that are shown where its artifact is named."""


class Row:
    """One artifact judged by one engine, or the reason why it was not.

    Attributes:
        artifact: The artifact's name as given or found.
        engine: The engine's name.
        bounty: The bounty, or None where none could be made.
        analysis: The analysis.
        error: ``(kind, message)``, or None.
        seconds: How long it took, reading included.
        size: Bytes of the artifact, for the rate.
        first: Whether this is the first row of its artifact, and not that of another engine.
        traceback: The engine's traceback, or an empty string.
    """

    __slots__ = ("analysis", "artifact", "bounty", "engine", "error", "first", "seconds", "size", "traceback")

    def __init__(
        self,
        artifact: str,
        engine: str,
        bounty: Bounty | None,
        analysis: Analysis,
        error: tuple[str, str] | None,
        seconds: float,
        size: int = 0,
        traceback: str = "",
    ) -> None:
        self.artifact = artifact
        self.engine = engine
        self.bounty = bounty
        self.analysis = analysis
        self.error = error
        self.seconds = seconds
        self.size = size
        self.traceback = traceback
        self.first = True

    @classmethod
    def of_outcome(cls, artifact: str, outcome: Outcome, seconds: float, size: int) -> Row:
        """The row of an outcome."""
        failure: Failure | None = outcome.failure
        error = None if failure is None else (failure.kind.value, failure.message)
        traceback = "" if failure is None else failure.traceback
        return cls(artifact, outcome.engine, outcome.bounty, outcome.analysis, error, seconds, size, traceback)

    @classmethod
    def of_error(
        cls, artifact: str, engine: str, kind: str, message: str, seconds: float = 0.0, bounty: Bounty | None = None
    ) -> Row:
        """The row of an artifact that never became a bounty, or whose answer the host never had."""
        message = printable(message)
        answer = _ANSWERS.get(kind, Analysis.skipped)(message)
        analysis = Analysis(verdict=Verdict.UNKNOWN, bid=0, metadata=answer.metadata)
        return cls(artifact, engine, bounty, analysis, (kind, message), seconds)

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.analysis.verdict

    @property
    def problem(self) -> str:
        """The error's message on one line, without the artifact's name before it; empty where there is no error."""
        if self.error is None:
            return ""
        return printable(self.error[1]).removeprefix(f"{shown_name(self.artifact)}: ")

    def to_wire(self) -> dict[str, Any]:
        """The row as ``--format json`` and ``jsonl`` write it."""
        return {
            "artifact": self.artifact,
            "engine": self.engine,
            "bounty": None if self.bounty is None else self.bounty.to_wire(),
            "analysis": self.analysis.to_wire(),
            "error": None if self.error is None else {"kind": self.error[0], "message": self.error[1]},
            "seconds": round(self.seconds, 6),
        }


def encode(wire: dict[str, Any]) -> str:
    """A row as one line of JSON, integers exact; what is not UTF-8 in a name stands as escaped lone surrogates."""
    try:
        return msgspec.json.encode(wire).decode()
    except (UnicodeEncodeError, OverflowError):  # what msgspec cannot write: such a name, an integer beyond 64 bits
        return json.dumps(wire, separators=(",", ":"))


def shown_name(name: str) -> str:
    """What an artifact is called in tables and messages: on one line, a long ``data:`` URI by its beginning.

    Args:
        name: The name as given or found.
    """
    if not name:
        return "''"
    if len(name) > _SHOWN_URI and name[:5].lower() == "data:":
        return f"{printable(name[:_SHOWN_URI])}… ({len(name):,} characters)"
    return printable(name)
