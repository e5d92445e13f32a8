"""The ``Retry-After`` header (RFC 9110, section 10.2.3), in both its forms."""

from __future__ import annotations

import re
import time
from datetime import UTC
from typing import Final

__all__ = ["MAX_RETRY_AFTER", "retry_after_seconds"]

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds; whoever asks for a longer wait is asked again after a day."""

_SECONDS: Final = re.compile(r"[0-9]{1,12}\Z")


def retry_after_seconds(value: str | None, now: float | None = None) -> float | None:
    """How long the other end asks to wait.

    Args:
        value: The header: seconds, or an HTTP date.
        now: The wall clock in seconds since the epoch, for dates; by default the present.

    Returns:
        Seconds from 0 to ``MAX_RETRY_AFTER``, or None when there is no header or it says nothing intelligible.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.match(text):
        return min(float(text), MAX_RETRY_AFTER)
    from email.utils import parsedate_to_datetime  # the rare form; costs an import

    try:
        parsed = parsedate_to_datetime(text)
        moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - (time.time() if now is None else now), 0.0), MAX_RETRY_AFTER)
