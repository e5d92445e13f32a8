"""Decoding bodies that come compressed although ``identity`` was asked for.

Decoded in blocks of bounded size, so that a bomb shows itself to whoever counts them before it takes memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from psengine_host.network.errors import UndecodableBody, clean

__all__ = ["BLOCK", "Decoder", "decoder_for"]

BLOCK: Final = 1 << 18
"""The most bytes that one step of a decoder makes."""


class Decoder(Protocol):
    """Turns the bytes of the wire into those of the artifact."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What these bytes decode to, in blocks of at most ``BLOCK`` bytes.

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


class _Inflating:
    """What gzip and deflate share: one zlib stream, and what follows it."""

    name: str
    _stream: zlib._Decompress | None = None

    def _inflate(self, stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        while data and not stream.eof:
            try:
                block = stream.decompress(data, BLOCK)
            except zlib.error as error:
                raise UndecodableBody(f"the body is not {self.name} as its Content-Encoding says: {error}") from error
            data = stream.unconsumed_tail
            if block:
                yield block
        while not stream.eof:
            # Output that zlib holds back although it has all the input.
            try:
                block = stream.decompress(b"", BLOCK)
            except zlib.error as error:
                raise UndecodableBody(f"the body is not {self.name} as its Content-Encoding says: {error}") from error
            if not block:
                return
            yield block

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise UndecodableBody(f"the {self.name} body ends early")


class _Gzip(_Inflating):
    name = "gzip"
    _padded = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None or self._stream.eof:
                # RFC 1952: several members are one file; padding with zeros after the last is usual.
                if self._stream is not None and (self._padded or not data.strip(b"\0")):
                    self._padded = True
                    if data.strip(b"\0"):
                        raise UndecodableBody("the gzip body has bytes after its end")
                    return
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            yield from self._inflate(self._stream, data)
            data = self._stream.unused_data


class _Deflate(_Inflating):
    """RFC 9110 means the zlib format; some servers send the bare stream. The first two bytes tell."""

    name = "deflate"
    _start = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._start += data
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
