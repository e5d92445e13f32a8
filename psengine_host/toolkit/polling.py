"""Asking again until the answer is right, with a pause in between and an end to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from psengine_host.errors import EngineError, one_line, shown
from psengine_host.job import seconds_left
from psengine_host.quantities import parse_duration

if TYPE_CHECKING:  # it takes as long to import as this whole package
    from tenacity import Future, RetryCallState

__all__ = ["PollTimeout", "poll"]

T = TypeVar("T")


class PollTimeout(EngineError):
    """What was waited for did not come.

    Args:
        what: What was waited for.
        seconds: How long.
        tries: How many times it was asked for.
        ended: What ended it: ``timeout``, ``deadline``, ``deadline of the bounty`` or ``tries``.
        value: What the last call returned; None where it raised.
        error: What the last call raised; None where it returned.
    """

    def __init__(
        self,
        what: str,
        seconds: float,
        tries: int,
        ended: str,
        value: object = None,
        error: BaseException | None = None,
    ) -> None:
        self.what = what
        self.seconds = seconds
        self.tries = tries
        self.ended = ended
        self.value = value
        self.error = error
        last = f"returned {shown(value)}" if error is None else f"raised {one_line(error)}"
        times = "1 try" if tries == 1 else f"{tries} tries"
        reason = "the most allowed" if ended == "tries" else f"until the {ended}"
        super().__init__(f"waited {seconds:.3g} s for {what} in vain ({times}, {reason}); the last {last}")

    def __reduce__(self) -> tuple[type[PollTimeout], tuple[str, float, int, str, object, BaseException | None]]:
        return type(self), (self.what, self.seconds, self.tries, self.ended, self.value, self.error)


def poll(
    function: Callable[[], T],
    *,
    until: Callable[[T], object] = bool,
    step: float | str = 0.1,
    backoff: float = 1.0,
    max_step: float | str | None = None,
    timeout: float | str | None = 30,
    deadline: float | None = None,
    tries: int | None = None,
    retry_on: type[Exception] | tuple[type[Exception], ...] = (),
    what: str | None = None,
) -> T:
    """Call a function until what it returns is right.

    It is called once at least, at once, and a last time when the time is up: no pause goes beyond that. A call that is
    under way is not interrupted; give the function a limit of its own. The time also ends with the deadline of the
    bounty in hand, wherever ``poll`` is called.

    Args:
        function: What to call, without arguments.
        until: Says whether a value is right; by default any that is true.
        step: The first pause: seconds, or text such as ``"100ms"``.
        backoff: By what each further pause is longer; 1 for pauses of one length.
        max_step: The longest pause.
        timeout: How long to go on; None for no limit but the others.
        deadline: When to end, on the clock of ``time.monotonic``, as ``context.deadline`` is.
        tries: How many calls at most.
        retry_on: Exceptions of the function that only mean "not yet". Others pass at once.
        what: What is waited for, for the error; by default the function's name.

    Returns:
        The first value that is right.

    Raises:
        PollTimeout: None was; it says how long and how often, and holds the last value or exception.
        ValueError: There is no limit at all, or a number that cannot be.
    """
    import tenacity

    pause = _duration("step", step)
    longest = math.inf if max_step is None else _duration("max_step", max_step)
    for name, duration in (("step", pause), ("max_step", longest)):
        if duration <= 0:
            raise ValueError(f"{name}: it must be more than 0 seconds")
    if not 1 <= backoff < math.inf:
        raise ValueError(f"backoff: it must be 1 or more, and finite, got {shown(backoff)}")
    if tries is not None and tries < 1:
        raise ValueError(f"tries: it must be 1 or more, got {shown(tries)}")
    if deadline is not None and math.isnan(deadline):
        raise ValueError("deadline: it must be a number on the clock of time.monotonic, got nan")
    start = time.monotonic()
    end, ended = min(
        (math.inf if timeout is None else start + _duration("timeout", timeout), "timeout"),
        (math.inf if deadline is None else deadline, "deadline"),
        (start + seconds_left(), "deadline of the bounty"),
        key=lambda limit: limit[0],
    )
    if not end < math.inf and tries is None:
        raise ValueError("poll would go on for ever: give it a timeout, a finite deadline, or a number of tries")

    def again(state: RetryCallState) -> bool:
        outcome = _outcome(state)
        error = outcome.exception()
        return not until(outcome.result()) if error is None else isinstance(error, retry_on)

    def is_over(state: RetryCallState) -> bool:
        return time.monotonic() >= end or (tries is not None and state.attempt_number >= tries)

    def wait(_: RetryCallState) -> float:
        nonlocal pause
        now = min(pause, longest)
        pause *= backoff
        return max(0.0, min(now, end - time.monotonic()))

    def give_up(state: RetryCallState) -> T:
        outcome = _outcome(state)
        error = outcome.exception()
        value = outcome.result() if error is None else None
        why = ended if time.monotonic() >= end else "tries"
        waited = time.monotonic() - start
        name = what if what is not None else getattr(function, "__name__", None) or shown(function)
        raise PollTimeout(name, waited, state.attempt_number, why, value, error) from error

    return tenacity.Retrying(sleep=time.sleep, stop=is_over, wait=wait, retry=again, retry_error_callback=give_up)(
        function
    )


def _outcome(state: RetryCallState) -> Future:
    if state.outcome is None:
        raise RuntimeError("tenacity asked about a call that has not ended")
    return state.outcome


def _duration(name: str, value: float | str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
