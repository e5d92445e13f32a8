"""Which answers of a server are worth another try, for fetching and delivering alike."""

from __future__ import annotations

from typing import Final

__all__ = ["is_transient"]

_TRANSIENT: Final = (408, 425, 429)


def is_transient(status: int) -> bool:
    """Whether the same request may be answered better later.

    Args:
        status: An HTTP status that is no success.

    Returns:
        True for 408 (timeout), 425 (too early), 429 (too many requests) and everything from 500 on.
    """
    return status in _TRANSIENT or status >= 500
