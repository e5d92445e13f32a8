"""Sizes and durations as people write them: ``"100 MB"``, ``"1.5 GiB"``, ``"30s"``, ``"1h 30m"``.

All arithmetic is of integers: what is written is what is meant, to the byte, whatever a thread's decimal context is.
"""

from __future__ import annotations

import math
import re
from typing import Final

from psengine_host.errors import shown

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

_LONGEST_TEXT: Final = 64
"""Characters of a quantity at most; a number of 5,000 digits is none."""
_PART: Final = re.compile(r"\s*(?:([0-9]+)(?:\.([0-9]+))?|\.([0-9]+))\s*([A-Za-z]*)\s*")
_SIZES: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    **{f"{prefix}{unit}": 1000**power for power, prefix in enumerate("kmgt", 1) for unit in ("", "b")},
    **{f"{prefix}{unit}": 1024**power for power, prefix in enumerate("kmgt", 1) for unit in ("i", "ib")},
}
"""Bytes of each unit, by IEC 80000-13: k, M, G, T are powers of 1,000; Ki, Mi, Gi, Ti powers of 1,024."""
_DURATIONS: Final = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1_000),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000),
}
"""Milliseconds of each unit."""

_SIZE_HINT: Final = "write a number of bytes, or such as '100 MB' or '1.5 GiB'"
_DURATION_HINT: Final = "write a number of seconds, or such as '250ms', '30s' or '1h 30m'"


def parse_size(value: object) -> int:
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
        unit = _SIZES.get(match[4].lower())
        if unit is not None:
            number, divisor = _number(match)
            size, rest = divmod(number * unit, divisor)
            if rest:
                raise ValueError(f"{shown(value)} is no size: it is not a whole number of bytes")
            return size
    raise ValueError(f"{shown(value)} is no size; {_SIZE_HINT}")


def parse_duration(value: object) -> float:
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
        total, divisor = 0, 1
        position, before = 0, 0
        while position < len(value) and (match := _PART.match(value, position)):
            unit = _DURATIONS.get(match[4].lower())
            if unit is None or (before and (unit >= before or not match[4])):
                break
            number, scale = _number(match)
            # A sum of fractions; each divisor is a power of ten, so that one of the two divides the other.
            common = max(divisor, scale)
            total = total * (common // divisor) + number * unit * (common // scale)
            divisor, position, before = common, match.end(), unit
        if position == len(value):
            return total / (divisor * 1000)  # of integers: rounded once, and rightly
    raise ValueError(f"{shown(value)} is no duration; {_DURATION_HINT}")


def _number(match: re.Match[str]) -> tuple[int, int]:
    """A number as a fraction whose divisor is a power of ten."""
    fraction = match[2] or match[3] or ""
    return int((match[1] or "") + fraction), int("1" + "0" * len(fraction))


def format_size(size: int) -> str:
    """A size as :func:`parse_size` reads it, exactly, and as short as that can be written.

    Args:
        size: Bytes, 0 or more.
    """
    spellings = [f"{size} B"]
    for name, unit in (
        *((f"{prefix}B", 1000**power) for power, prefix in enumerate("kMGT", 1)),
        *((f"{prefix}iB", 1024**power) for power, prefix in enumerate("KMGT", 1)),
    ):
        tenths, rest = divmod(size * 10, unit)
        if tenths >= 10 and not rest:
            whole, tenth = divmod(tenths, 10)
            spellings.append(f"{whole}.{tenth} {name}" if tenth else f"{whole} {name}")
    return min(spellings, key=lambda spelling: (len(spelling.rstrip("iBkKMGT")), spellings.index(spelling)))


def format_duration(seconds: float) -> str:
    """A duration as :func:`parse_duration` reads it, exactly.

    Args:
        seconds: Seconds, 0 or more and finite.
    """
    if seconds < 1 and (milliseconds := round(seconds * 1000)) and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    if not float(seconds).is_integer() or seconds > 1e15:
        return _decimal(seconds)
    left = int(seconds)
    parts = []
    for name, unit in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts) or "0s"


def _decimal(seconds: float) -> str:
    """Seconds without an exponent; a plain number where that is too long to be read again as text."""
    from decimal import Decimal  # only a fraction of a millisecond and what is longer than the earth is old need it

    text = f"{Decimal(repr(float(seconds))):f}s"
    return text if len(text) <= _LONGEST_TEXT else repr(float(seconds))
