"""The log of an engine's process: records go to the host, which has the handlers, the masks and the right lines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from psengine_host.backends.process.messages import Logged
from psengine_host.job import current_job
from psengine_host.logs.masks import Masks
from psengine_host.logs.records import bounty_of, exception_of, message_of

if TYPE_CHECKING:
    from psengine_host.logs.json_lines import JsonLines

__all__ = ["ChannelLog"]

BURST: Final = 1_000
"""Records that may come at once."""
A_SECOND: Final = 200
"""Records a second beyond that; an engine that logs without end would keep the host busy with nothing else."""
_PAUSE: Final = 1.0
"""Seconds' worth of records that must be free before any is sent again: else each would have its notice."""

_MOST_ADDED: Final = 1 << 16
"""Bytes of what the author of a record may add to it."""
_NAMED: Final = 10
"""Of more than that, the names of so many are told."""
_USUAL: Final = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
"""What every record has."""


class ChannelLog(logging.Handler):
    """Sends each record to the host.

    Args:
        send: Sends a message; False where it cannot at the moment.
        clock: Tells the time in seconds.
    """

    def __init__(self, send: Callable[[Logged], bool], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._send = send
        self._clock = clock
        self._room = float(BURST)
        self._counted = clock()
        self._pausing = False
        self._left_out = 0
        self._masks = Masks(())
        self._fields: JsonLines | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or count it as left out."""
        now = self._clock()
        self._room = min(BURST, self._room + (now - self._counted) * A_SECOND)
        self._counted = now
        if self._pausing and self._room < A_SECOND * _PAUSE:
            self._left_out += 1
            return
        self._room -= 1
        self._pausing = self._room < 1
        job = current_job()
        message = Logged(
            record.levelno,
            record.name,
            _encodable(message_of(record, self._masks)),
            _encodable(exception_of(record, self._masks)),
            None if job is None else bounty_of(job),
            None if job is None else job.delivery,
            self._left_out,
            self._added(record),
        )
        if self._send(message):
            self._left_out = 0
        elif sys.stderr is not None:
            # A fork of the engine's own, which must not write into the channel: it reaches the log as output.
            sys.stderr.write(f"{record.levelname}: {message.message}\n")

    def _added(self, record: logging.LogRecord) -> bytes:
        """What the record's author added to it, in JSON."""
        names = record.__dict__.keys() - _USUAL
        if not names:
            return b""
        if self._fields is None:
            from psengine_host.logs.json_lines import JsonLines

            self._fields = JsonLines(self._masks)
        added = dict(self._fields.added(name, record.__dict__[name]) for name in record.__dict__ if name in names)
        encoded = msgspec.json.encode(added)
        if len(encoded) > _MOST_ADDED:
            encoded = msgspec.json.encode(dict.fromkeys(list(added)[:_NAMED], f"left out: {len(encoded):,} bytes"))
        return encoded

    def tell_left_out(self, logger: str) -> None:
        """Tell how many records were left out and not told of yet, if any were.

        Args:
            logger: In whose name.
        """
        if self._left_out and self._send(Logged(logging.NOTSET, logger, "", left_out=self._left_out)):
            self._left_out = 0


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
