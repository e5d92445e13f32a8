"""Frames: messages of known length on a stream, read as far as they have come, never waited for.

A frame is the length of its payload in four bytes, the lowest first, and the payload. What arrives is kept until a
frame is whole, so that a process that dies in the middle of one leaves half a frame and no half message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from psengine_host.errors import PsengineError

__all__ = ["FrameReader", "FrameTooLong", "framed"]

_LENGTH: Final = struct.Struct("<I")
_HEADER: Final = _LENGTH.size


class FrameTooLong(PsengineError):
    """Whoever writes to the channel announces more than is taken."""


def framed(payload: bytes) -> bytes:
    """A payload with its length before it.

    Args:
        payload: Less than 4 GiB.
    """
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Takes what a stream delivers, in any pieces, and gives out whole payloads.

    Args:
        limit: Bytes of a payload at most.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are whole now.

        Args:
            data: The next bytes of the stream.

        Raises:
            FrameTooLong: A frame is announced that is longer than the limit; the stream is of no use any more.
        """
        buffer = self._buffer
        # Mostly whole frames come, and nothing is left over: then nothing is copied together first.
        source: bytes | bytearray = data
        if buffer:
            buffer += data
            source = buffer
        start, end = 0, len(source)
        while end - start >= _HEADER:
            (length,) = _LENGTH.unpack_from(source, start)
            if length > self._limit:
                raise FrameTooLong(f"it announced a message of {length} bytes, more than {self._limit}")
            stop = start + _HEADER + length
            if stop > end:
                break
            payload = bytes(source[start + _HEADER : stop])
            start = stop
            yield payload
        if source is buffer:
            del buffer[:start]
        elif start < end:
            buffer += source[start:]

    @property
    def held(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)
