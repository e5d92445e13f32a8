"""Compressed bodies that are made to take long: of nothing but beginnings, or of members without content."""

import asyncio
import gzip
import io
import time
import tracemalloc
import zlib

import pytest

from psengine_host.network import FetchError
from psengine_host.network.client import HttpClient
from psengine_host.network.content_coding import BLOCK, decoder_for
from psengine_host.network.errors import UndecodableBody
from psengine_host.network.fetching import FetchLimits, fetch

EMPTY = gzip.compress(b"", mtime=0)
PIECE = 1 << 14
MANY = 65_536
ENDLESS_NAME = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (1 << 20)
"""A gzip head whose file name does not end."""


@pytest.mark.parametrize("data", [EMPTY * 26_000, ENDLESS_NAME])
def test_whoever_takes_the_blocks_gets_a_turn_after_16_kilobytes_from_which_nothing_comes(data):
    blocks = list(decoder_for("gzip").decode(data))
    assert set(blocks) == {b""}
    assert len(blocks) == -(-len(data) // PIECE)


def seconds_for(*chunks: bytes) -> float:
    def once() -> float:
        decoder = decoder_for("gzip")
        started = time.perf_counter()
        for chunk in chunks:
            assert not any(decoder.decode(chunk))
        return time.perf_counter() - started

    return min(once() for _ in range(3))


def test_a_large_chunk_of_empty_members_takes_no_longer_than_many_small_ones():
    members = PIECE // len(EMPTY)
    small = EMPTY * members
    assert seconds_for(small * (MANY // members)) < 4 * seconds_for(*[small] * (MANY // members))


def test_members_are_counted_over_the_whole_body():
    decoder = decoder_for("gzip")
    for _ in range(MANY // 256):
        assert not any(decoder.decode(EMPTY * 256))
    decoder.finish()
    with pytest.raises(UndecodableBody, match=r"^the gzip body has more than 65536 members$"):
        list(decoder.decode(EMPTY))


@pytest.mark.parametrize("cut", [PIECE - 1, PIECE, PIECE + 1, 10**9])
def test_members_larger_than_a_piece_come_whole(cut):
    parts = [bytes(range(256)) * 300, b"", zlib.compress(bytes(range(256)) * 9) * 700, b"end"]
    body = b"".join(gzip.compress(part, compresslevel=level) for level, part in enumerate(parts)) + bytes(40_000)
    decoder = decoder_for("gzip")
    blocks = [block for start in range(0, len(body), cut) for block in decoder.decode(body[start : start + cut])]
    decoder.finish()
    assert b"".join(blocks) == b"".join(parts)


@pytest.mark.parametrize("zeros", [1, 9, PIECE, 40_000])
def test_zeros_after_the_last_member_are_padding_and_the_end(zeros):
    decoder = decoder_for("gzip")
    assert b"".join(decoder.decode(gzip.compress(b"x") + bytes(zeros))) == b"x"
    decoder.finish()
    with pytest.raises(UndecodableBody, match=r"^the gzip body has bytes after its end$"):
        list(decoder.decode(EMPTY))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_comes_in_bounded_blocks_and_little_memory(encoding):
    bomb = gzip.compress(bytes(50_000_000)) if encoding == "gzip" else zlib.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        sizes = [len(block) for block in decoder_for(encoding).decode(bomb)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= BLOCK
    assert peak < 4 * BLOCK


def test_a_body_of_empty_members_ends_soon_and_the_loop_goes_on(serve, guard):
    body = EMPTY * 1_000_000
    server = serve(lambda c: c.answer(200, body, Content_Encoding="gzip"))
    gaps = []

    async def beat() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0)
            gaps.append(time.perf_counter() - started)

    async def attempt() -> None:
        beating = asyncio.create_task(beat())
        try:
            async with HttpClient(guard) as client:
                await fetch(client, server.url, io.BytesIO(), limits=FetchLimits(), deadline=time.monotonic() + 20)
        finally:
            beating.cancel()

    with pytest.raises(FetchError, match="the gzip body has more than 65536 members"):
        asyncio.run(attempt())
    # From piece to piece, not from chunk to chunk: the loop comes round at least once for each piece decoded.
    assert len(gaps) > MANY * len(EMPTY) // PIECE
    assert sorted(gaps)[-2] < 0.2
