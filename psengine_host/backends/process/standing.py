"""Whether an engine can be used, why not, and when it is tried again."""

from __future__ import annotations

import logging
import math
from typing import Final

__all__ = ["FIRST_BACKOFF", "Standing"]

FIRST_BACKOFF: Final = 1.0
"""Seconds until what did not start is tried again; doubled each time."""
_LONGEST_BACKOFF: Final = 60.0

logger = logging.getLogger(__name__)


class Standing:
    """The engine's standing with the host.

    Attributes:
        failures: Starts that failed in a row.
        next_start: When the next one may be tried, on the clock of ``time.monotonic``.
        down_since: Since when it cannot be used; None where it can.
        reason: Why not, in one line.
        traceback: The traceback of that.

    Args:
        engine: The engine's name.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._failed_at = -math.inf
        self.failures = 0
        self.next_start = 0.0
        self.down_since: float | None = None
        self.reason = ""
        self.traceback = ""

    def is_broken(self, reason: str, now: float) -> None:
        """It can never be used."""
        self.reason = reason
        self.down_since = now if self.down_since is None else self.down_since

    def failed(self, why: str, traceback: str, *, began: float, now: float, serves: bool, told: bool) -> None:
        """A process did not start.

        Args:
            why: Why not, in one line.
            traceback: The traceback.
            began: When it was begun.
            now: The time.
            serves: Whether there are workers all the same.
            told: Whether that is told in the log, where it is news.
        """
        if began >= self._failed_at:  # those that were begun together fail together, which is one failure
            self.next_start = now + min(_LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self.failures, 10))
            self.failures += 1
            self._failed_at = now
        if self.down_since is None and not serves:
            self.down_since = now
        if why != self.reason and told:
            logger.warning("engine %s is unavailable: %s; it is tried again", self._engine, why)
        self.reason, self.traceback = why, traceback

    def serves(self) -> None:
        """A worker is ready."""
        if self.down_since is not None:
            logger.warning("engine %s is available again", self._engine)
        self.failures = 0
        self.down_since = None
        self.reason = self.traceback = ""
