"""What an engine's process prints, C code and programs included, as lines of the log that name the engine."""

from __future__ import annotations

import codecs
import logging
import time
from collections.abc import Callable
from typing import Final

from psengine_host.escapes import printable

__all__ = ["BURST", "LONGEST_LINE", "RATE", "OutputLog"]

LONGEST_LINE: Final = 4_000
"""Bytes of a line that are told; of what follows, only how many there are."""
BURST: Final = 200
"""Lines told as fast as they come."""
RATE: Final = 50
"""Lines a second told when they keep coming."""
_PAUSE: Final = 1.0
"""Seconds' worth of lines that must be free before lines are told again: else each would have its notice."""
_LAST_WORD: Final = 256
"""Bytes back from where a line is cut that a space is looked for: half a password is not recognised as one."""


class OutputLog:
    """Takes the output of one process as it comes and logs its lines, at ``INFO``.

    The logger is ``psengine.engines.NAME.output``, so both formats of the log name the engine. Lines are told as
    printed, but what would steer a terminal and what is not UTF-8 is shown as escapes, and blank lines are not told.
    A line is cut at :data:`LONGEST_LINE` bytes; more than :data:`RATE` lines a second, after :data:`BURST`, are left
    out, and how many is told in a line of its own. Memory does not grow with a line that never ends, and 100 MB take
    well below a second, so that an engine that prints without end holds up nobody.

    Attributes:
        where: Which of the engine's processes it is.
        last: The beginning of the last line that was not left out.

    Args:
        engine: The engine's name.
        where: Which of its processes, such as ``worker 2``; each line begins with it.
        clock: Gives seconds that never go back.
    """

    def __init__(self, engine: str, where: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logging.getLogger(f"psengine.engines.{engine}.output")
        self.where = where
        self.last = b""
        self._clock = clock
        self._begun = bytearray()
        """The beginning of the line that has no end yet."""
        self._beyond = 0
        """Bytes of that line beyond its beginning."""
        self._free = float(BURST)
        """Lines that may be told now."""
        self._at = clock()
        self._pausing = False
        self._lines_left_out = 0
        self._bytes_left_out = 0

    def feed(self, chunk: bytes) -> None:
        """Take what was printed.

        Args:
            chunk: Bytes, divided anywhere. With none, what is due is told: call it now and then where nothing comes.
        """
        self._refill()
        position = 0
        while (end := chunk.find(b"\n", position)) >= 0:
            if self._pausing:
                position = self._leave_out(chunk, position)
                break
            if self._begun:
                self._keep(chunk, position, end)
                self._end_line()
            else:
                self._tell(chunk[position : min(end, position + LONGEST_LINE)], end - position)
            position = end + 1
        self._keep(chunk, position, len(chunk))

    def close(self) -> None:
        """Tell the last line, if it has no end, and how many were left out. May be called again."""
        self._refill()
        if self._begun:
            self._end_line()
        self._tell_left_out()

    def _refill(self) -> None:
        now = self._clock()
        self._free = min(self._free + (now - self._at) * RATE, float(BURST))
        self._at = now
        if self._pausing and self._free >= RATE * _PAUSE:
            self._pausing = False
            self._tell_left_out()

    def _keep(self, chunk: bytes, start: int, end: int) -> None:
        room = min(LONGEST_LINE - len(self._begun), end - start)
        self._begun += chunk[start : start + room]
        self._beyond += end - start - room

    def _end_line(self) -> None:
        line, length = bytes(self._begun), len(self._begun) + self._beyond
        self._begun.clear()
        self._beyond = 0
        self._tell(line, length)

    def _leave_out(self, chunk: bytes, position: int) -> int:
        """Count the lines that end in a chunk, without looking at each.

        Returns:
            Where the line begins that does not end in it.
        """
        after = chunk.rfind(b"\n") + 1
        lines = chunk.count(b"\n", position)
        self._lines_left_out += lines
        self._bytes_left_out += after - position - lines + len(self._begun) + self._beyond
        self._begun.clear()
        self._beyond = 0
        return after

    def _tell(self, line: bytes, length: int) -> None:
        """Tell a line, or count it.

        Args:
            line: Its first bytes, without its end.
            length: Bytes that it has.
        """
        if self._pausing:
            self._lines_left_out += 1
            self._bytes_left_out += length
            return
        self._free -= 1  # for a blank one as well: a million of them takes its time too
        self._pausing = self._free < 1
        self.last = line[:_LAST_WORD] if line.strip() else self.last
        if (line.strip() or length > len(line)) and self._logger.isEnabledFor(logging.INFO):
            self._logger.info("%s: %s", self.where, _shown(line, length))

    def _tell_left_out(self) -> None:
        if self._lines_left_out:
            self._logger.info(
                "%s: %s of output (%s bytes) left out: more than %d a second",
                self.where,
                "1 line" if self._lines_left_out == 1 else f"{self._lines_left_out:,} lines",
                f"{self._bytes_left_out:,}",
                RATE,
            )
        self._lines_left_out = self._bytes_left_out = 0


def _shown(line: bytes, length: int) -> str:
    if length == len(line):
        return printable(line.removesuffix(b"\r").decode("utf-8", "backslashreplace"), keep="\t")
    space = max(line.rfind(b" ", -_LAST_WORD), line.rfind(b"\t", -_LAST_WORD))
    # A character that the cut divides is left out.
    text, _ = codecs.utf_8_decode(line[:space] if space > 0 else line, "backslashreplace", False)
    return f"{printable(text, keep=chr(9))}… ({length:,} bytes)"
