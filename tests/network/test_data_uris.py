"""``data:`` URIs: what decodes, what is refused, and what it costs."""

import base64
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import psengine_host
from psengine_host.network import InvalidDataUri
from psengine_host.network.data_uris import DataUri, decode_data_uri, encode_data_uri

LIMIT = 1000


@pytest.mark.parametrize(
    ("uri", "mimetype", "data"),
    [
        ("data:,", "text/plain", b""),
        ("data:,A%20brief%20note", "text/plain", b"A brief note"),
        ("data:text/plain;charset=iso-8859-7,%be%fg".replace("fg", "ff"), "text/plain", b"\xbe\xff"),
        ("data:;charset=utf-8,a;b,c", "text/plain", b"a;b,c"),
        ("data:;base64,aGk=", "text/plain", b"hi"),
        ("DATA:Text/HTML;BASE64,aGk=", "text/html", b"hi"),
        ("data:image/svg+xml;charset=utf-8;base64,aGk=", "image/svg+xml", b"hi"),
        ("data:application/octet-stream;base64,aGk", "application/octet-stream", b"hi"),
        ("data:application/octet-stream;base64,a Gk\r\n=\t", "application/octet-stream", b"hi"),
        ("data:text/plain;base64,aGk%3D", "text/plain", b"hi"),
        ("data:text/plain;base64,aGk%3d%0D%0a", "text/plain", b"hi"),
        ("data:text/plain;base64,%2b%2F%2B/", "text/plain", b"\xfb\xff\xbf"),
        ("data:text/plain;name=x.txt,100%25", "text/plain", b"100%"),
        ("data:text/uri-list,http%3A%2F%2Fexample.com%2F", "text/uri-list", b"http://example.com/"),
    ],
)
def test_both_encodings_decode(uri, mimetype, data):
    assert decode_data_uri(uri, LIMIT) == DataUri(mimetype, data)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://x/", "not a data: URI: it starts with 'http://x/'"),
        (" data:,x", "not a data: URI: it starts with ' data:,x'"),
        ("data:text/plain", "malformed data: URI: no comma in its first 1024 characters"),
        ("data:" + "x" * 2000 + ",", "malformed data: URI: no comma in its first 1024 characters"),
        ("data:text,x", "malformed data: URI: 'text' is no mimetype"),
        ("data:text/pl\nain,x", r"malformed data: URI: 'text/pl\nain' is no mimetype"),
        ("data:,%zz", "malformed data: URI: '%zz' is no escape"),
        ("data:,abc%2", "malformed data: URI: '%2' is no escape"),
        ("data:,ü", "malformed data: URI: a character that is not ASCII and not percent-encoded"),
        ("data:;base64,a", "malformed data: URI: not base64 ("),
        ("data:;base64,aGk=aGk=", "malformed data: URI: not base64 ("),
        ("data:;base64,a$k=", "malformed data: URI: not base64 ("),
        ("data:;base64,aGkü", "malformed data: URI: not base64 ("),
        ("data:;base64,a%4k=", "malformed data: URI: a % without two hexadecimal digits"),
        ("data:;base64,a%47k=", "malformed data: URI: not base64 (an escaped character outside its alphabet)"),
        ("data:," + "x" * 1001, "data: URI too large: more than 1000 bytes decoded"),
        ("data:;base64," + "A" * 1340, "data: URI too large: more than 1000 bytes decoded"),
        ("data:;base64," + "AAAA" * 333 + "AAA=", "data: URI too large: more than 1000 bytes decoded"),
        ("data:;base64," + " " * 100_000, "data: URI too large: more than 1000 bytes decoded"),
    ],
)
def test_malformed_and_huge_ones_are_refused_in_one_line(uri, message):
    with pytest.raises(InvalidDataUri) as caught:
        decode_data_uri(uri, LIMIT)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_limit_is_exact():
    for size in (998, 999, 1000):
        data = bytes(size)
        assert decode_data_uri(encode_data_uri(data, "a/b"), LIMIT).data == data
        assert decode_data_uri("data:," + "%00" * size, LIMIT).data == data
    for uri in (encode_data_uri(bytes(1001), "a/b"), "data:," + "%00" * 1001):
        with pytest.raises(InvalidDataUri, match="too large"):
            decode_data_uri(uri, LIMIT)
    assert decode_data_uri("data:;base64,", 0).data == b""


def test_lines_of_base64_count_without_their_ends():
    lines = base64.encodebytes(bytes(1000)).decode()
    assert decode_data_uri(f"data:a/b;base64,{lines}", LIMIT).data == bytes(1000)
    escaped = lines.replace("\n", "%0D%0A")
    assert decode_data_uri(f"data:a/b;base64,{escaped}", LIMIT).data == bytes(1000)


@given(st.binary(max_size=2000))
def test_encode_then_decode_is_the_identity(data):
    assert decode_data_uri(encode_data_uri(data, "application/x-dosexec"), 2000) == DataUri(
        "application/x-dosexec", data
    )


@given(st.binary(max_size=300), st.integers(0, 70_000))
def test_escapes_at_the_seams_of_slices_decode(data, before):
    uri = "data:," + "x" * before + "".join(f"%{byte:02x}" for byte in data)
    assert decode_data_uri(uri, 100_000).data == b"x" * before + data


def test_a_mimetype_with_anything_else_in_it_is_not_encoded():
    with pytest.raises(InvalidDataUri, match="'text/plain;charset=utf-8' is no mimetype; write type/subtype"):
        encode_data_uri(b"", "text/plain;charset=utf-8")


def test_small_ones_take_microseconds():
    uri = encode_data_uri(b"x" * 68, "text/plain")

    def once() -> float:
        started = time.perf_counter()
        for _ in range(1000):
            decode_data_uri(uri, LIMIT)
        return (time.perf_counter() - started) / 1000

    assert min(once() for _ in range(20)) < 10e-6


PEAK = """
import sys
from psengine_host.network import InvalidDataUri
from psengine_host.network.data_uris import decode_data_uri

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

uri = "data:" + sys.argv[1] + sys.argv[2] * int(sys.argv[3])
before = peak()
try:
    decode_data_uri(uri, int(sys.argv[4]))
except InvalidDataUri as error:
    print(error, file=sys.stderr)
print((peak() - before) // 1024)
"""


def megabytes(*arguments: object) -> int:
    root = str(Path(psengine_host.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


def test_a_huge_one_is_refused_without_taking_memory():
    assert megabytes(";base64,", "AAAA", 25_000_000, 10_000_000) <= 4
    assert megabytes(",", "%00", 25_000_000, 10_000_000) <= 4


def test_millions_of_escapes_take_no_more_than_what_they_decode_to():
    assert megabytes(",", "%00", 3_000_000, 3_000_000) <= 12
