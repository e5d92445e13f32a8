"""One worker as its fleet sees it: what it has in hand, since when, and how much may be given to it ahead."""

from __future__ import annotations

import math
from typing import Final

from psengine_host.backends.process.child import Child
from psengine_host.backends.process.loop import Timer
from psengine_host.backends.process.pending import Pending

__all__ = ["Worker"]

_AHEAD: Final = 0.01
"""Seconds of work that a worker is given ahead, so that it need not wait for the host between two quick bounties."""
_MOST_AHEAD: Final = 256
"""Bounties that it is given ahead at most."""
_SLOW: Final = 0.02
"""Seconds from which on a bounty is none of the quick ones: nothing is to wait behind it."""
_PROVIDED: Final = 0.003
"""Seconds of work with which a worker does not wait for the host."""
_OVERHEAD: Final = 20e-6
"""Seconds that a bounty costs a worker beside the engine."""
_GRACE: Final = 0.25
"""Seconds beyond its limit that an engine is left alone: one that heeds the deadline itself gives the better reason."""
_WEIGHT: Final = 0.1
"""How much one bounty counts for the guess how long the next takes."""


class Worker:
    """One worker.

    Attributes:
        number: Its number among the engine's.
        child: Its process.
        ready: Whether its session is open.
        leaving: Whether it gets nothing more to do.
        deaf: Whether it has stopped reading: it has ended, and its end has not been told yet.
        in_hand: What it was given, in the order of its number; it is at work on the first.
        head_since: When it began with that, on the clock of ``time.monotonic``.
        done: Bounties that it has judged.
        alone: Whether what it has is to be alone with it, since a worker died over it already.
        withdrawing: Whether it was told not to begin what it has.
        since: When its state last changed.
        reason: Why it did not start.
        traceback: The traceback of that.
        limit: What ends it where its start takes too long.
    """

    __slots__ = (
        "alone",
        "child",
        "deaf",
        "done",
        "head_since",
        "in_hand",
        "leaving",
        "limit",
        "number",
        "pace",
        "ready",
        "reason",
        "since",
        "traceback",
        "withdrawing",
    )

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.child: Child | None = None
        self.ready = False
        self.leaving = False
        self.deaf = False
        self.in_hand: dict[int, Pending] = {}
        self.head_since = now
        self.done = 0
        self.pace = _SLOW
        self.alone = False
        self.withdrawing = False
        self.since = now
        self.reason = ""
        self.traceback = ""
        self.limit: Timer | None = None

    @property
    def head(self) -> Pending | None:
        """What it is at work on."""
        for pending in self.in_hand.values():
            return pending
        return None

    @property
    def is_fresh(self) -> bool:
        """Whether its process has been given nothing yet."""
        return not self.done and not self.in_hand

    def room(self, most: int) -> int:
        """How much may be given to it now.

        Args:
            most: Bounties that it may still judge before it is replaced.
        """
        if not self.ready or self.leaving or self.deaf or self.alone or self.withdrawing:
            return 0
        ahead = 1 if self.pace >= _SLOW else min(_MOST_AHEAD, 1 + int(_AHEAD / self.pace))
        return min(ahead, most) - len(self.in_hand)

    @property
    def is_provided(self) -> bool:
        """Whether it has enough to do for a few milliseconds."""
        count = len(self.in_hand)
        return count > 2 and count * self.pace > _PROVIDED

    def lay_down(self) -> list[Pending]:
        """Take all that it has from it; what of that is its own and wanted."""
        own = [pending for pending in self.in_hand.values() if pending.holder is self and not pending.done]
        self.in_hand.clear()
        return own

    def forget_limit(self) -> None:
        """Its start is over; what would have ended it is not kept until its time has come."""
        if self.limit is not None:
            self.limit.cancel()
            self.limit = None

    def took(self, seconds: float) -> None:
        """Note how long one bounty took."""
        # A slow one is believed at once, quick ones by and by.
        seconds += _OVERHEAD
        self.pace = seconds if seconds > 4 * self.pace else self.pace + _WEIGHT * (seconds - self.pace)

    def kill_at(self) -> float:
        """When it has taken too long over what it is at work on."""
        pending = self.head
        if pending is None:
            return math.inf
        return min(self.head_since + pending.limit + _GRACE, pending.expires)

    def is_stalled(self, now: float) -> bool:
        """Whether something waits behind a slow bounty."""
        return len(self.in_hand) > 1 and not self.withdrawing and now - self.head_since > _SLOW
