"""The job in hand: which engine works on which bounty, and until when, for whoever needs to know and is not told.

A log record names the bounty it belongs to although the engine's author logged a plain line, and a program that the
toolkit runs ends with the bounty although nobody passed it a deadline. A context variable carries it: into coroutines
and tasks by itself, into a thread only with ``contextvars.copy_context``.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token
from typing import Final

import msgspec

__all__ = ["Job", "begin", "current_job", "end", "seconds_left", "working_on"]


class Job(
    msgspec.Struct, frozen=True, gc=False
):  # made three times a bounty, in a quarter of the time of a named tuple
    """What is being worked on.

    Attributes:
        engine: The engine's name.
        bounty: The bounty's id, or None where there is none (a command, ``setup``).
        delivery: The id of the webhook's delivery, or None.
        deadline: When it is too late, on the clock of ``time.monotonic``; infinite where there is no deadline.
    """

    engine: str
    bounty: int | str | None = None
    delivery: str | None = None
    deadline: float = math.inf


_current: ContextVar[Job | None] = ContextVar("psengine_job", default=None)


def current_job() -> Job | None:
    """The job that the calling code works on, or None outside of any."""
    return _current.get()


def seconds_left() -> float:
    """Seconds until the deadline of the job in hand: negative when it has passed, infinite without one."""
    job = _current.get()
    return math.inf if job is None else job.deadline - time.monotonic()


def begin(engine: str, bounty: int | str, deadline: float = math.inf) -> Token[Job | None]:
    """Make a bounty the job in hand, of the same delivery as before; for the pipeline, which does it for each bounty.

    Args:
        engine: The engine's name.
        bounty: The bounty's id.
        deadline: When it is too late, on the clock of ``time.monotonic``.

    Returns:
        What :func:`end` takes to put things back.
    """
    outer = _current.get()
    return _current.set(Job(engine, bounty, None if outer is None else outer.delivery, deadline))


end: Final = _current.reset
"""Puts back the job that was in hand before :func:`begin`."""


class working_on:  # noqa: N801 - reads as a statement
    """A ``with`` block in which a job is the one in hand.

    Args:
        job: The job.
    """

    __slots__ = ("_job", "_token")

    def __init__(self, job: Job) -> None:
        self._job = job

    def __enter__(self) -> Job:
        self._token: Token[Job | None] = _current.set(self._job)
        return self._job

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
