"""Frames: whole payloads out of any pieces, nothing of half a frame, and an end to what announces too much."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.backends.process.frames import FrameReader, FrameTooLong, framed


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(0, 6_000), max_size=20))
def test_any_pieces_of_a_stream_give_the_same_payloads(payloads, cuts):
    stream = b"".join(map(framed, payloads))
    reader = FrameReader(300)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert [payload for piece in pieces for payload in reader.feed(piece)] == payloads
    assert reader.held == 0


def test_byte_by_byte():
    reader = FrameReader(10)
    stream = framed(b"") + framed(b"0123456789")
    assert [payload for byte in stream for payload in reader.feed(bytes([byte]))] == [b"", b"0123456789"]


@pytest.mark.parametrize("missing", range(1, 9))
def test_half_a_frame_is_no_payload(missing):
    reader = FrameReader(10)
    whole = framed(b"whole") + framed(b"half")
    assert list(reader.feed(whole[:-missing])) == [b"whole"]
    assert reader.held == len(framed(b"half")) - missing


def test_a_frame_that_is_too_long_is_refused_before_it_comes():
    reader = FrameReader(10)
    payloads = reader.feed(framed(b"good") + struct.pack("<I", 11))
    assert next(payloads) == b"good"
    with pytest.raises(FrameTooLong, match="it announced a message of 11 bytes, more than 10"):
        next(payloads)


def test_four_gigabytes_announced_take_no_memory():
    reader = FrameReader(1 << 20)
    with pytest.raises(FrameTooLong):
        list(reader.feed(b"\xff\xff\xff\xff" + b"x" * 100))
    assert reader.held <= 104
