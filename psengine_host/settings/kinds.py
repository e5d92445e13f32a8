"""What a setting takes: how it is read from a file or a variable, checked, and written.

Each setting has one kind. A kind's ``range`` is what its line in the reference says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from psengine_host.errors import shown

__all__ = ["LONGEST_TIMEOUT", "Boolean", "Choice", "Duration", "Integer", "Kind", "LogLevel", "Mistakes", "Size"]

LONGEST_TIMEOUT: Final = 86_400
"""Seconds that anything may be allowed: a day."""
LARGEST_SIZE: Final = 1 << 50
"""Bytes that anything may be allowed: 1 PiB, more than any disk here holds."""
_HIGHEST_LEVEL: Final = 999_999_999
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
_LEVELS: Final = ("debug", "info", "warning", "error", "critical", "notset", "warn", "fatal")
"""The names that ``logging`` knows; the last three are there for those who know them."""


class Mistakes(ValueError):
    """Why a list cannot be, where several of its entries may be wrong; as text it is the first reason.

    Args:
        reasons: What is wrong with each, and what it must be; at least one.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(self.reasons[0])


class Kind:
    """What one setting takes.

    Attributes:
        type: What it is, in a word or two.
        range: What it may be, as the reference says it.
        secret: Whether its value must never be shown.
    """

    type: str = "text"
    range: str = ""
    secret: bool = False

    def of_text(self, text: str) -> object:
        """The value that a variable's text means; what is none is left as it is, for :meth:`parse` to refuse."""
        return text.strip()

    def parse(self, value: object, folder: str) -> object:  # noqa: ARG002 - for paths
        """A value of a file or an option, checked.

        Args:
            value: As it came.
            folder: What relative paths count from.

        Raises:
            ValueError: It cannot be; says what it must be.
        """
        self.check(value)
        return value

    def check(self, value: object) -> None:
        """Check a value as :class:`~psengine_host.settings.Settings` holds it.

        Raises:
            ValueError: It cannot be; says what it must be.
        """
        raise NotImplementedError

    def plain(self, value: object) -> object:
        """The value as JSON has it."""
        return value

    def written(self, value: object) -> object:
        """The value as people write it into the file."""
        return value


class Duration(Kind):
    """Seconds, more than 0.

    Args:
        most: Seconds at most.
        zero: Whether 0 may be, too.
    """

    type = "duration"

    def __init__(self, most: int = LONGEST_TIMEOUT, *, zero: bool = False) -> None:
        self.most = most
        self.zero = zero
        self._least = "0 or more" if zero else "more than 0"
        self.range = f"{self._least}, at most {most} seconds"

    def parse(self, value: object, folder: str) -> float:  # noqa: ARG002 - as all kinds
        """From ``"1h 30m"`` or a number of seconds."""
        from psengine_host.quantities import parse_duration

        seconds = parse_duration(value)
        if not self._takes(seconds):
            raise self._refusal(value)
        return seconds

    def check(self, value: object) -> None:
        """A number in range; NaN is not."""
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not self._takes(value):
            raise self._refusal(value)

    def _takes(self, seconds: float) -> bool:
        return 0 < seconds <= self.most or (self.zero and seconds == 0)

    def _refusal(self, value: object) -> ValueError:
        return ValueError(f"must be {self._least} and at most {self.most} seconds, got {shown(value)}")

    def written(self, value: object) -> object:
        """As ``"1h 30m"``."""
        from psengine_host.quantities import format_duration

        text = format_duration(value) if isinstance(value, (int, float)) else ""
        return text if text and text[-1].isalpha() else value  # a number of seconds is a duration too


class Size(Kind):
    """Bytes.

    Args:
        least: Bytes at least.
        most: Bytes at most.
    """

    type = "size"

    def __init__(self, least: int = 0, most: int = LARGEST_SIZE) -> None:
        self.least = least
        self.most = most
        self._most = "1 PiB" if most == LARGEST_SIZE else f"{most} bytes"
        self.range = f"{least} or more, at most {self._most}"

    def parse(self, value: object, folder: str) -> int:  # noqa: ARG002
        """From ``"100 MB"`` or a number of bytes."""
        from psengine_host.quantities import parse_size

        size = parse_size(value)
        if not self.least <= size <= self.most:
            raise self._refusal(value)
        return size

    def check(self, value: object) -> None:
        """A whole number in range."""
        if type(value) is not int or not self.least <= value <= self.most:
            raise self._refusal(value)

    def _refusal(self, value: object) -> ValueError:
        return ValueError(
            f"must be a number of bytes, {self.least} or more and at most {self._most}, got {shown(value)}"
        )

    def written(self, value: object) -> object:
        """As ``"100 MB"``."""
        from psengine_host.quantities import format_size

        return format_size(value) if isinstance(value, int) else value


class Integer(Kind):
    """A whole number.

    Args:
        least: The least that it may be.
        most: The most that it may be.
    """

    type = "number"

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.range = f"{least} to {most}"

    def of_text(self, text: str) -> object:
        """Digits are a number."""
        text = text.strip()
        return int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else text

    def check(self, value: object) -> None:
        """A whole number in range."""
        if type(value) is not int or not self.least <= value <= self.most:
            raise ValueError(f"must be a whole number from {self.least} to {self.most}, got {shown(value)}")


class Boolean(Kind):
    """Yes or no."""

    type = "true or false"

    def of_text(self, text: str) -> object:
        """As variables usually say it."""
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else text

    def check(self, value: object) -> None:
        """``true`` or ``false``, no text and no number."""
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, got {shown(value)}")


class Choice(Kind):
    """One of some words.

    Args:
        words: The words.
        make: Makes a value of a word.
    """

    def __init__(self, words: Iterable[str], make: type[str] = str) -> None:
        self.words = tuple(str(word) for word in words)
        self.make = make
        self.range = ", ".join(f'`"{word}"`' for word in self.words)

    def of_text(self, text: str) -> object:
        """In any case."""
        return text.strip().lower()

    def parse(self, value: object, folder: str) -> str:  # noqa: ARG002
        """One of the words."""
        self.check(value)
        return self.make(value)

    def check(self, value: object) -> None:
        """One of the words."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}, got {shown(value)}")

    def written(self, value: object) -> object:
        """The word."""
        return str(value)

    plain = written


class LogLevel(Kind):
    """A level of the log: a name in any case, or a number."""

    type = "text or number"
    range = ", ".join(f'`"{level}"`' for level in _LEVELS[:5]) + f", or 0 to {_HIGHEST_LEVEL}"

    def of_text(self, text: str) -> object:
        """Digits are a number."""
        text = text.strip()
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text

    def parse(self, value: object, folder: str) -> object:  # noqa: ARG002
        """A name in small letters, or a number."""
        self.check(value)
        return value.lower() if isinstance(value, str) else value

    def check(self, value: object) -> None:
        """A name that ``logging`` knows, or a number in range."""
        known = isinstance(value, str) and value.lower() in _LEVELS
        if not known and not (type(value) is int and 0 <= value <= _HIGHEST_LEVEL):
            names = ", ".join(_LEVELS[:5])
            raise ValueError(f"must be one of {names}, or a number from 0 to {_HIGHEST_LEVEL}, got {shown(value)}")
