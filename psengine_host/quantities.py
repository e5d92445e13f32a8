"""Sizes and durations as people write them: ``"100 MB"``, ``"1.5 GiB"``, ``"30s"``, ``"1h 30m"``."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from psengine_host.errors import shown

__all__ = ["parse_duration", "parse_size"]

_LONGEST_TEXT: Final = 64
"""Characters of a quantity at most; a number of 5,000 digits is none."""
_PART: Final = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*")
_SIZES: Final = {
    "": 1,
    "b": 1,
    **{f"{prefix}{unit}": 1000**power for power, prefix in enumerate("kmgt", 1) for unit in ("", "b")},
    **{f"{prefix}{unit}": 1024**power for power, prefix in enumerate("kmgt", 1) for unit in ("i", "ib")},
}
"""Bytes of each unit, by IEC 80000-13: k, M, G, T are powers of 1,000; Ki, Mi, Gi, Ti powers of 1,024."""
_DURATIONS: Final = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), Decimal("0.001")),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), Decimal(1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Decimal(60)),
    **dict.fromkeys(("h", "hour", "hours"), Decimal(3_600)),
    **dict.fromkeys(("d", "day", "days"), Decimal(86_400)),
}
"""Seconds of each unit."""


def parse_size(value: int | str) -> int:
    """A size in bytes.

    Args:
        value: A whole number of bytes, or text: a number and one of B, kB, MB, GB, TB (powers of 1,000) or KiB, MiB,
            GiB, TiB (powers of 1,024), in any case, the ``B`` optional.

    Raises:
        ValueError: It is none, is negative, or makes no whole number of bytes; says what to write.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{shown(value)} is no size: it is negative")
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and (match := _PART.fullmatch(value)):
        unit = _SIZES.get(match[2].lower())
        if unit is not None:
            size = Decimal(match[1]) * unit
            if size != int(size):
                raise ValueError(f"{shown(value)} is no size: it is not a whole number of bytes")
            return int(size)
    raise ValueError(f"{shown(value)} is no size; write a number of bytes, or such as '100 MB' or '1.5 GiB'")


def parse_duration(value: float | str) -> float:
    """A duration in seconds.

    Args:
        value: A number of seconds, or text: numbers with the units ms, s, min (or m), h and d, the largest first.

    Raises:
        ValueError: It is none, is negative, or is not finite; says what to write.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        if not 0 <= seconds < math.inf:
            raise ValueError(f"{shown(value)} is no duration: it must be 0 seconds or more, and finite")
        return seconds
    if isinstance(value, str) and value.strip() and len(value) <= _LONGEST_TEXT:
        total = Decimal(0)
        position, before = 0, Decimal("Infinity")
        while position < len(value) and (match := _PART.match(value, position)):
            unit = _DURATIONS.get(match[2].lower())
            if unit is None or unit >= before or (not match[2] and before.is_finite()):
                break
            total += Decimal(match[1]) * unit
            position, before = match.end(), unit
        if position == len(value):
            return float(total)
    raise ValueError(f"{shown(value)} is no duration; write a number of seconds, or such as '250ms', '30s' or '1h 30m'")
