"""An engine's home in the host: the process of ``setup``, its teardown and the author's callbacks.

The first process of an engine finds out whether it has any of these hooks; where it has not, that process becomes the
first worker, and there is no home.
"""

from __future__ import annotations

import collections
import itertools
import logging
import math
from typing import Final, Protocol

from psengine_host.backends.process import standing
from psengine_host.backends.process.answers import heard
from psengine_host.backends.process.child import Child
from psengine_host.backends.process.loop import Loop
from psengine_host.backends.process.messages import (
    FromChild,
    Hearing,
    Loaded,
    Misplaced,
    NotStarted,
    SetUp,
    SetUpDone,
    Stop,
)
from psengine_host.outcome import FailureKind, Outcome

__all__ = ["EngineHome", "HomeOwner"]

_ENDING: Final = 10.0
"""Seconds that a process has for its end which was only to find out whether there is a home."""
_MOST_HEARD: Final = 10_000
"""Outcomes that wait for the author's callbacks at most; beyond that they are counted as missed."""
_LONG_URI: Final = 1 << 12
"""Characters of an artifact's URI that are not counted: with as many as may wait, they are no more than may be."""
_MOST_OF_URIS: Final = 1 << 26
"""Characters of the URIs of all that waits: a ``data:`` URI may have many megabytes."""

logger = logging.getLogger(__name__)


class HomeOwner(Protocol):
    """Whose home it is."""

    def start_home(self, *, known: bool) -> Child | None:
        """Start a process for it, which is told what to load.

        Args:
            known: Whether it is known that there has to be a home.

        Returns:
            The process, or None where it cannot be started; then that is known already.
        """

    def loaded(self, message: Loaded) -> None:
        """The engine is loaded in it."""

    def no_home(self, child: Child) -> None:
        """The engine needs none: the process is to be the first worker."""

    def home_failed(self, why: str, traceback: str, began: float) -> None:
        """It did not start."""

    def home_lost(self, why: str, began: float) -> None:
        """It has ended, and what the workers share was made by it."""


class EngineHome:
    """The home of one engine.

    Attributes:
        child: Its process, or None.
        since: When that was started, or was up.
        needed: Whether the engine needs one; None while that is not known.
        is_up: Whether ``setup`` has run.
        shared: What it returned, as msgpack.

    Args:
        engine: The engine's name.
        owner: Whose it is.
        loop: The loop.
        limit: Seconds that loading and ``setup`` may take together.
    """

    def __init__(self, engine: str, owner: HomeOwner, loop: Loop, limit: float) -> None:
        self.child: Child | None = None
        self.since = 0.0
        self.needed: bool | None = None
        self.is_up = False
        self.shared = b""
        self._engine = engine
        self._owner = owner
        self._loop = loop
        self._limit = limit
        self._sets_up = True
        self._hears = False
        self._loaded = False
        self._stopped = False
        self._reason = ""
        self._traceback = ""
        self._next_start = 0.0
        self._unheard: collections.deque[Outcome] = collections.deque()
        """What is to be heard when it is up."""
        self._sent: collections.deque[Outcome] = collections.deque()
        """What was sent and the callbacks were not called with yet."""
        self._missed = 0

    # --- starting ---------------------------------------------------------------------------------------------------

    @property
    def is_awaited(self) -> bool:
        """Whether no worker can start before it is up."""
        return self.needed is None or (self.needed and self._sets_up and not self.is_up)

    @property
    def has_something_to_hear(self) -> bool:
        """Whether outcomes wait until it is up."""
        return bool(self._unheard) and not self.is_up

    def ensure(self, now: float, next_start: float) -> float:
        """Start it, where it is needed and has to be.

        Args:
            now: The time.
            next_start: When a process of the engine may be started.

        Returns:
            When to try again.
        """
        if self.child is not None or self.needed is False:
            return math.inf
        next_start = next_start if self.is_awaited else self._next_start
        if now < next_start:
            return next_start
        self._reason = self._traceback = ""
        self._loaded = self.is_up = False
        child = self.child = self._owner.start_home(known=self.needed is not None)
        if child is None:
            self._next_start = now + standing.FIRST_BACKOFF
            return self._next_start
        self.since = now
        self._loop.at(now + self._limit, lambda: self._is_late(child))
        return math.inf

    def _is_late(self, child: Child) -> None:
        if self.child is child and not self.is_up:
            what = "setup" if self._loaded else "loading it"
            self._reason = f"{what} took longer than {self._limit:g} s; its process was killed"
            child.kill(f"was killed: {what} took longer than {self._limit:g} s")

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, child: Child, message: FromChild) -> None:
        """Its process has sent a message."""
        if isinstance(message, Hearing):
            if not self._sent:
                raise Misplaced("it heard what nobody told it")
            self._sent.popleft()
        elif isinstance(message, Loaded):
            self._is_loaded(child, message)
        elif isinstance(message, SetUpDone):
            self.shared = message.shared
            self.is_up = True
            self.since = self._loop.now
            waiting, self._unheard = self._unheard, collections.deque()
            for outcome in waiting:
                self.tell(outcome)
        elif isinstance(message, NotStarted):
            self._reason, self._traceback = message.reason, message.traceback

    def _is_loaded(self, child: Child, message: Loaded) -> None:
        self._loaded = True
        self._hears = message.hears
        self._sets_up = message.sets_up
        self.needed = message.sets_up or message.hears
        self._owner.loaded(message)
        if not self.needed:
            self.child = None
            self._owner.no_home(child)
        elif child.confined:
            # Limits and the sandbox are for workers: this process has only found out that there is a home.
            self.child = None
            child.send(Stop())
            self._loop.at(self._loop.now + _ENDING, lambda: child.kill("it did not end when it was told to"))
        else:
            child.send(SetUp())

    def tell(self, outcome: Outcome) -> None:
        """Have the author's callbacks hear of an outcome, as soon as there is a home, if there are any callbacks."""
        if not self._hears:
            return
        home = self.child if self.is_up else None
        if home is None and outcome.failure is not None and outcome.failure.kind is FailureKind.UNAVAILABLE:
            return  # the engine has not got so far that it could hear
        if len(self._sent) + len(self._unheard) >= _MOST_HEARD or self._is_too_much(outcome):
            self._missed += 1
        elif home is None:
            self._unheard.append(outcome)
        else:
            self._sent.append(outcome)
            home.send(heard(outcome))

    def _is_too_much(self, outcome: Outcome) -> bool:
        size = len(outcome.bounty.artifact_uri)
        if size <= _LONG_URI:
            return False
        waiting = itertools.chain(self._sent, self._unheard)
        return size + sum(len(other.bounty.artifact_uri) for other in waiting) > _MOST_OF_URIS

    # --- ending -----------------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stopped

    def gone(self, child: Child) -> None:
        """Its process has ended."""
        was_up, self.is_up = self.is_up, False
        self.child = None
        if self._stopped:
            if child.exit_code != 0:  # else it has told itself what it missed
                self._missed += len(self._sent)
            self._sent.clear()
            return
        # What a callback died over is not tried again, and what had not come to its turn is.
        self._unheard.extendleft(reversed(self._sent))
        self._sent.clear()
        if self.needed and not self._sets_up:
            # It only hears: nobody's work depends on it.
            logger.warning("engine %s: its home %s; it is started anew", self._engine, child.fate)
            self._next_start = self._loop.now + standing.FIRST_BACKOFF
        elif was_up:
            logger.warning("engine %s: its home %s; it is started anew, and then its workers", self._engine, child.fate)
            self._owner.home_lost(f"its home {child.fate}", self.since)
        else:
            where = "home" if self._loaded else "process"
            when = "before setup was done" if self._loaded else "while it was loaded"
            # Before the engine is loaded these are the words of an interpreter, or of bubblewrap, that cannot do it.
            said = "" if self._loaded else child.last_words
            why = self._reason or f"its {where} {child.fate} {when}{said and f': {said}'}"
            self._owner.home_failed(why, self._traceback, self.since)

    def stop(self) -> bool:
        """Have it hear what is left, tear down what ``setup`` made, and end.

        Returns:
            Whether it has ended; then what was missed is told.
        """
        if self.child is None:
            self._missed += len(self._unheard)
            self._unheard.clear()
            if self._missed:
                logger.error("engine %s: on_success or on_error missed %d outcomes", self._engine, self._missed)
                self._missed = 0
            return True
        if not self._stopped and not self.has_something_to_hear:
            self._stopped = True
            self.child.send(Stop())
        return False
