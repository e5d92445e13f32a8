"""Decoding bodies that come compressed although ``identity`` was asked for.

Decoded in blocks of bounded size, so that a bomb shows itself to whoever counts them before it takes memory.
"""

from __future__ import annotations

import abc
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from psengine_host.network.errors import UndecodableBody, clean

__all__ = ["BLOCK", "Decoder", "decoder_for"]

BLOCK: Final = 1 << 18
"""The most bytes that one step of a decoder makes."""
_PIECE: Final = 1 << 14
"""Bytes that zlib is given at once. It copies what it leaves over, for each gzip member that ends in between."""
_MAX_MEMBERS: Final = 1 << 16
"""Members of one gzip body: 4 GB of the smallest that are in use (BGZF), and no more than a second's work."""


class Decoder(Protocol):
    """Turns the bytes of the wire into those of the artifact."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What these bytes decode to, in blocks of at most ``BLOCK`` bytes.

        Between two blocks lies bounded work, so that whoever takes them can stop in time: input from which nothing
        comes yields empty blocks.

        Raises:
            UndecodableBody: They are not what the encoding says.
        """

    def finish(self) -> None:
        """Say that no more bytes come.

        Raises:
            UndecodableBody: The encoded body is not complete.
        """


def decoder_for(content_encoding: str | None) -> Decoder:
    """The decoder of a ``Content-Encoding`` header.

    Args:
        content_encoding: The header's value, or None without one.

    Raises:
        UndecodableBody: An encoding other than ``identity``, ``gzip`` and ``deflate``, or several of them.
    """
    encoding = (content_encoding or "identity").strip().lower()
    if encoding in ("identity", ""):
        return _Identity()
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    if encoding == "deflate":
        return _Deflate()
    raise UndecodableBody(f"Content-Encoding '{clean(encoding)}' is not taken; identity was asked for")


class _Identity:
    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        return


class _Inflating(abc.ABC):
    """What gzip and deflate share: one zlib stream after another, fed in small pieces."""

    name: str
    _stream: zlib._Decompress | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            silent = True
            for block in self._decode_piece(view[start : start + _PIECE]):
                silent = False
                yield block
            if silent:
                yield b""

    @abc.abstractmethod
    def _decode_piece(self, piece: memoryview) -> Iterator[bytes]:
        """What one piece decodes to."""

    def _inflate(self, stream: zlib._Decompress, data: bytes | memoryview) -> Iterator[bytes]:
        while not stream.eof:
            try:
                block = stream.decompress(data, BLOCK)
            except zlib.error as error:
                raise UndecodableBody(f"the body is not {self.name} as its Content-Encoding says: {error}") from error
            data = stream.unconsumed_tail
            if block:
                yield block
            elif not data:  # nor does zlib hold back any output
                return

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise UndecodableBody(f"the {self.name} body ends early")


class _Gzip(_Inflating):
    name = "gzip"
    _members = 0
    _padded = False

    def _decode_piece(self, piece: memoryview) -> Iterator[bytes]:
        while piece:
            if self._stream is None or self._stream.eof:
                # RFC 1952: several members are one file; padding with zeros after the last is usual.
                if self._padded or (self._stream is not None and not piece[0]):
                    self._padded = True
                    if any(piece):
                        raise UndecodableBody("the gzip body has bytes after its end")
                    return
                self._stream = self._next_member()
            yield from self._inflate(self._stream, piece)
            piece = piece[len(piece) - len(self._stream.unused_data) :]

    def _next_member(self) -> zlib._Decompress:
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise UndecodableBody(f"the gzip body has more than {_MAX_MEMBERS} members")
        return zlib.decompressobj(zlib.MAX_WBITS | 16)


class _Deflate(_Inflating):
    """RFC 9110 means the zlib format; some servers send the bare stream. The first two bytes tell."""

    name = "deflate"
    _start = b""

    def _decode_piece(self, piece: memoryview) -> Iterator[bytes]:
        data: bytes | memoryview = piece
        if self._stream is None:
            self._start += piece
            if len(self._start) < 2:
                return
            data, self._start = self._start, b""
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        if self._stream.eof and data:
            raise UndecodableBody("the deflate body has bytes after its end")
        yield from self._inflate(self._stream, data)
        if self._stream.unused_data:
            raise UndecodableBody("the deflate body has bytes after its end")
