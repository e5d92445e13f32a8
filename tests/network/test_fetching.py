"""Fetching from servers that behave, and from those that do not."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

import pytest

import psengine_host
from psengine_host.network import FetchError, NetworkError
from psengine_host.network.client import HttpClient
from psengine_host.network.data_uris import encode_data_uri
from psengine_host.network.errors import BadAnswer
from psengine_host.network.fetching import Fetched, FetchLimits, fetch
from psengine_host.network.guard import NetworkGuard
from psengine_host.network.urls import http_url

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b"an artifact"
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = FetchLimits(max_size=100_000, backoff=0.001, tries=3, connect_timeout=5, read_timeout=5)
OK = b"HTTP/1.1 200 OK\r\n"


def fetch_now(uri: str, destination: BinaryIO, *, guard: NetworkGuard, ca_file: str | None = None, **more) -> Fetched:
    """One fetch, over connections of its own."""

    async def once() -> Fetched:
        async with HttpClient(guard, ca_file=ca_file) as client:
            return await fetch(client, uri, destination, **more)

    return asyncio.run(once())


def failure(uri: str, guard: NetworkGuard, limits: FetchLimits = QUICK, within: float = 20, **more: object) -> str:
    """The message of the error that fetching ends with, which leaves nothing behind."""
    destination = io.BytesIO(b"before")
    destination.seek(6)
    with pytest.raises(FetchError) as caught:
        fetch_now(uri, destination, limits=limits, guard=guard, deadline=time.monotonic() + within, **more)
    assert isinstance(caught.value, NetworkError)
    assert caught.value.uri == uri
    assert destination.getvalue() == b"before"
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700
    assert message.startswith("cannot fetch ")
    return message.partition(": ")[2] if uri.startswith("data:") else caught.value.reason


def test_an_artifact_is_written_hashed_and_counted(serve, guard, soon):
    server = serve(lambda c: c.answer(200, BODY))
    destination = io.BytesIO()
    fetched = fetch_now(f"{server.url}/a?key=1", destination, limits=QUICK, guard=guard, deadline=soon, sha256=SHA256)
    assert fetched == Fetched(len(BODY), SHA256)
    assert destination.getvalue() == BODY
    request = server.requests[0].decode()
    assert request.startswith("GET /a?key=1 HTTP/1.1\r\n")
    assert "accept-encoding: identity\r\n" in request.lower()
    assert "cookie" not in request.lower()


def test_it_is_written_from_the_present_position_on(serve, guard, soon, tmp_path):
    server = serve(lambda c: c.answer(200, BODY))
    with (tmp_path / "x").open("wb") as destination:
        destination.write(b"before ")
        fetch_now(server.url, destination, limits=QUICK, guard=guard, deadline=soon)
        assert (tmp_path / "x").read_bytes() == b"before an artifact"


@pytest.mark.parametrize("framing", ["chunked", "until the end"])
def test_bodies_without_length_come_whole(serve, guard, soon, framing):
    def script(c):
        if framing == "chunked":
            c.send(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nan \r\n8\r\nartifact\r\n0\r\n\r\n")
        else:
            c.send(OK + b"\r\n" + BODY)
        return False

    destination = io.BytesIO()
    fetch_now(serve(script).url, destination, limits=QUICK, guard=guard, deadline=soon)
    assert destination.getvalue() == BODY


def test_the_url_goes_out_as_it_is_written(serve, guard, soon):
    server = serve(lambda c: c.answer(200))
    opaque = "/a%2Fb/../c?x=%7e+a;b&nonce=%2B%3d&&"
    fetch_now(server.url + opaque + "#fragment", io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    assert server.requests[0].split(b" ")[1].decode() == opaque


def test_data_uris_are_fetched_without_a_connection(guard, connects, soon):
    destination = io.BytesIO()
    uri = encode_data_uri(BODY, "text/plain")
    assert fetch_now(uri, destination, limits=QUICK, guard=guard, deadline=soon, sha256=SHA256).size == len(BODY)
    assert destination.getvalue() == BODY
    assert connects == []


def test_bad_data_uris_are_fetch_errors(guard):
    assert failure("data:;base64,$", guard).startswith("malformed data: URI: not base64")
    assert failure("data:," + "x" * 100_001, guard) == "data: URI too large: more than 100000 bytes decoded"
    assert failure("data:,x", guard, sha256=SHA256).startswith("its SHA-256 is 2d711642b7")


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        " file:///etc/passwd",
        "\tfile:///etc/passwd",
        "fi\nle:///etc/passwd",
        "/etc/passwd",
        "etc/passwd",
        "",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "unix:///run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/",
        "jar:http://127.0.0.1/x",
        "ws://127.0.0.1/",
        "tcp://127.0.0.1/",
        " http://127.0.0.1/",
        "view-source:http://127.0.0.1/",
        "http\x00://127.0.0.1/",
        "ｆile:///etc/passwd",
    ],
)
def test_other_schemes_are_refused_before_anything_is_opened(uri, guard, connects, monkeypatch):
    opened = []
    monkeypatch.setattr("builtins.open", lambda *arguments, **_: opened.append(arguments))
    reason = failure(uri, guard)
    assert reason.startswith("the scheme '")
    assert reason.endswith("' is not taken; only http, https and data are")
    assert (connects, opened) == ([], [])


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://", "a URL without a host"),
        ("http:///x", "a URL without a host"),
        ("http:x", "a URL without a host"),
        ("http://127.0.0.1:0/", "a URL with port 0"),
        ("http://127.0.0.1:99999/", "not a URL: Port out of range 0-65535"),
        ("http://127.0.0.1/a b", "a URL with white space or control characters in it"),
        ("http://127.0.0.1/\r\nX: y", "a URL with white space or control characters in it"),
        ("http://127.0.0.1/" + "x" * 17_000, "a URL of 17017 characters; at most 16384 are taken"),
        ("http://a..b/", "a URL whose host cannot exist: 'a..b'"),
        ("http://.a/", "a URL whose host cannot exist: '.a'"),
        ("http://a../", "a URL whose host cannot exist: 'a..'"),
        ("http://./", "a URL whose host cannot exist: '.'"),
        ("http://%00/", "a URL whose host cannot exist: '%00'"),
        ("http://%31%32%37.0.0.1/", "a URL whose host cannot exist: '%31%32%37.0.0.1'"),
        ("http://a$b/", "a URL whose host cannot exist: 'a$b'"),
        ("http://[::ffff:0x7f000001]/", "a URL whose host cannot exist: '::ffff:0x7f000001'"),
        ("http://[::g]/", "a URL whose host cannot exist: '::g'"),
        ("http://" + "x" * 64 + ".example/", f"a URL whose host cannot exist: '{'x' * 64}.example'"),
        ("http://" + "a." * 127 + "b/", "a URL whose host cannot exist: 'a.a.a."),
        ("http://xn--a/", "not a URL: "),
        ("http://[::1", "not a URL: "),
        ("http://[a]@/", "a URL without a host"),
        ("http://[é]@/", "a URL without a host"),
        ("http://a\\@127.0.0.1/", "not a URL: "),
    ],
)
def test_what_is_no_url_is_refused_before_a_connection_and_for_good(uri, reason, guard, connects):
    said = failure(uri, guard, FetchLimits(tries=4, backoff=60, max_backoff=60))
    assert said.startswith(reason)
    assert "tried" not in said
    assert "next try" not in said
    assert connects == []


@pytest.mark.parametrize("letter", ["é", "é.", "\u0300", "\ufdfa"])  # the last is 18 others
@pytest.mark.parametrize("start", ["http://", "HTTP://user@", "http://user:\u00e9@"])
def test_a_host_that_would_take_long_to_encode_is_refused_unseen(start, letter):
    with pytest.raises(BadAnswer, match="a URL whose host cannot exist: "):
        http_url(start + letter * (15_000 // len(letter)) + "/path")
    began = time.process_time()
    with pytest.raises(BadAnswer):
        http_url(start + letter * 250 + "/path")
    assert time.process_time() - began < 0.1


def test_a_long_path_with_other_characters_is_asked(serve, guard, soon):
    server = serve(lambda c: c.answer(200))
    fetch_now(f"{server.url}/{'é' * 900}", io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    assert server.requests[0].startswith(b"GET /%C3%A9%C3%A9")


@pytest.mark.parametrize("host", ["localhost.", "a_b.localhost", "-a.localhost", "A-.LOCALHOST", "127.0.0.1", "x" * 63])
def test_a_host_that_may_exist_is_asked(serve, guard, soon, host):
    server = serve(lambda c: c.answer(200, BODY))
    asked = []

    def lookup(name, *arguments, **options):
        asked.append(name)
        return socket.getaddrinfo("127.0.0.1", *arguments, **options)

    async def attempt() -> Fetched:
        async with HttpClient(guard, lookup=lookup) as client:
            url = f"http://{host}:{server.port}/"
            return await fetch(client, url, io.BytesIO(), limits=QUICK, deadline=soon)

    assert asyncio.run(attempt()).sha256 == SHA256
    assert asked == ([] if host == "127.0.0.1" else [host.lower()])


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        ("Content-Length: -5", b"hello", "does not answer in HTTP"),
        ("Content-Length: +5", b"hello", "does not answer in HTTP"),
        ("Content-Length: 5, 5", b"hello", "does not answer in HTTP"),
        ("Content-Length: 5\r\nContent-Length: 5", b"hello", "does not answer in HTTP: Duplicate Content-Length"),
        ("Content-Length: 5\r\nContent-Length: 6", b"hello!", "does not answer in HTTP: Duplicate Content-Length"),
        ("Content-Length: 99999999999999999999999", b"hello", "does not answer in HTTP: Content-Length overflow"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n", "does not answer in HTTP"),
        ("Content-Length: 50", b"hello", "received 5 of 50 bytes"),
        ("Content-Length: 5", b"hello and more", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"5\r\nhel", "did not send the whole body"),
        ("Transfer-Encoding: chunked", b"-5\r\nhello", "does not answer in HTTP: Invalid character in chunk size"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\nmore", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"0x5\r\nhello\r\n0\r\n\r\n", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b" 5\r\nhello\r\n0\r\n\r\n", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"\r\nhello\r\n0\r\n\r\n", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"5\nhello\n0\n\n", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"4\r\nhello\r\n0\r\n\r\n", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n", "does not answer in HTTP"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n", "did not send the whole body"),
        ("Transfer-Encoding: gzip", b"hello", "Transfer-Encoding 'gzip' is not taken; only chunked is"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"hello", "Transfer-Encoding 'chunked, x' is not taken"),
        ("Content-Length: 5\r\nContent-Length: -5", b"hello", "does not answer in HTTP"),
        ("Content-Length: 0x5", b"hello", "does not answer in HTTP"),
        ("Content-Length: 5.0", b"hello", "does not answer in HTTP"),
        ("Content-Length:", b"hello", "does not answer in HTTP"),
        ("X: " + "x" * 9000, b"", "Got more than 8190 bytes"),
    ],
)
def test_lies_about_the_length_are_errors(serve, guard, head, body, reason):
    def script(c):
        c.send(OK + head.encode() + b"\r\n\r\n" + body)
        return False

    assert reason in failure(serve(script).url, guard)


def test_a_surplus_at_the_end_of_a_long_body_is_an_error(serve, guard):
    def script(c):
        c.send(OK + b"Content-Length: 90000\r\n\r\n")
        c.server.stopping.wait(0.05)  # the head arrives alone
        c.send(bytes(90_000) + b"surplus")

    assert failure(serve(script).url, guard) == "more bytes came than were announced"


def test_a_wrong_sha256_is_an_error(serve, guard):
    server = serve(lambda c: c.answer(200, b"something else"))
    reason = failure(server.url, guard, sha256=SHA256)
    assert reason == f"its SHA-256 is {hashlib.sha256(b'something else').hexdigest()}, not {SHA256} as announced"
    assert len(server.requests) == 1


def test_a_sha256_in_capitals_is_the_same(serve, guard, soon):
    server = serve(lambda c: c.answer(200, BODY))
    fetch_now(server.url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon, sha256=SHA256.upper())


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_an_announced_size_over_the_limit_is_not_read(serve, guard):
    server = serve(lambda c: c.send(OK + b"Content-Length: 100001\r\n\r\n"))
    assert failure(server.url, guard) == "larger than the limit of 100000 bytes: 100001 are announced"


def test_the_limit_itself_is_within(serve, guard, soon):
    server = serve(lambda c: c.answer(200, bytes(100_000)))
    assert fetch_now(server.url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon).size == 100_000


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the same bytes, and so test names, in every process


def raw_deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzipped(BODY)),
        ("X-GZIP", gzipped(BODY)),
        ("gzip", gzipped(b"an ") + gzipped(b"artifact")),
        ("gzip", gzipped(BODY) + bytes(100)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflated(BODY)),
        ("identity", BODY),
    ],
)
def test_compressed_bodies_are_decoded_although_identity_was_asked_for(serve, guard, soon, encoding, body):
    destination = io.BytesIO()
    server = serve(lambda c: c.answer(200, body, Content_Encoding=encoding))
    fetch_now(server.url, destination, limits=QUICK, guard=guard, deadline=soon, sha256=SHA256)
    assert destination.getvalue() == BODY


@pytest.mark.parametrize("step", [1, 2, 7])
def test_compressed_bodies_are_decoded_wherever_they_are_cut(serve, guard, soon, step):
    body = gzipped(b"an ") + gzipped(b"artifact")

    def script(c):
        c.send(OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            c.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        c.send(b"0\r\n\r\n")

    destination = io.BytesIO()
    fetch_now(serve(script).url, destination, limits=QUICK, guard=guard, deadline=soon)
    assert destination.getvalue() == BODY


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", BODY, "Content-Encoding 'br' is not taken; identity was asked for"),
        ("gzip, gzip", gzipped(gzipped(BODY)), "Content-Encoding 'gzip, gzip' is not taken"),
        ("gzip", BODY, "the body is not gzip as its Content-Encoding says"),
        ("gzip", gzipped(BODY)[:-3], "the gzip body ends early"),
        ("gzip", b"", "the gzip body ends early"),
        ("gzip", gzipped(BODY) + b"junk", "the body is not gzip as its Content-Encoding says"),
        ("gzip", gzipped(BODY) + bytes(9) + b"junk", "the gzip body has bytes after its end"),
        ("deflate", zlib.compress(BODY)[:-3], "the deflate body ends early"),
        ("deflate", b"\xff" * 9, "the body is not deflate as its Content-Encoding says"),
        ("deflate", b"x", "the deflate body ends early"),
        ("deflate", zlib.compress(BODY) + b"junk", "the deflate body has bytes after its end"),
    ],
)
def test_encodings_that_are_unknown_or_lie_are_errors(serve, guard, encoding, body, reason):
    server = serve(lambda c: c.answer(200, body, Content_Encoding=encoding))
    assert failure(server.url, guard).startswith(reason)
    assert len(server.requests) == 1


@pytest.mark.parametrize("compress", [gzipped, zlib.compress, raw_deflated])
def test_a_bomb_stops_at_the_limit(serve, guard, compress):
    body = compress(bytes(5_000_000))
    encoding = "gzip" if compress is gzipped else "deflate"
    server = serve(lambda c: c.answer(200, body, Content_Encoding=encoding))
    assert failure(server.url, guard) == "larger than the limit of 100000 bytes once decoded; stopped there"


PEAK = """
import os, sys, time
from psengine_host.network import FetchError
from psengine_host.network.fetcher import Fetcher
from psengine_host.settings import NetworkSettings

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

def run(uri):
    with open(os.devnull, "r+b", buffering=0) as void:
        try:
            fetcher.fetch(uri, void, deadline=time.monotonic() + 30)
        except FetchError as error:
            return error.reason

fetcher = Fetcher(NetworkSettings(allow=("127.0.0.1",), max_artifact_size=100_000_000))
run(sys.argv[1] + "/warm")
before = peak()
print(run(sys.argv[1] + "/huge"))
print((peak() - before) // 1024)
"""


def peak_of_a_fetch(url: str) -> tuple[str, int]:
    """The reason of the failure, and the megabytes that the fetch added to a process's peak."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, url],
        env={"PYTHONPATH": str(Path(psengine_host.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    reason, added = done.stdout.splitlines()
    return reason, int(added)


def test_a_gigabyte_without_length_stops_at_the_limit_with_flat_memory(serve):
    sent = 0

    def script(c):
        nonlocal sent
        if c.path == "/warm":
            return c.answer(200, BODY)
        c.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"80000\r\n" + bytes(0x80000) + b"\r\n"
        while sent < 1 << 30 and c.send(piece):
            sent += 0x80000
        return False

    reason, added = peak_of_a_fetch(serve(script).url)
    assert reason == "larger than the limit of 100000000 bytes; stopped there"
    assert sent < 200_000_000
    assert added <= 20


def test_a_bomb_of_300_megabytes_stops_at_the_limit_with_flat_memory(serve):
    stream = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    first, more = (stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = first + more * 299  # a full flush makes every block of zeros the same
    assert len(bomb) < 320_000

    def script(c):
        if c.path == "/warm":
            c.answer(200, gzipped(BODY), Content_Encoding="gzip")
        else:
            c.answer(200, bomb, Content_Encoding="gzip")

    reason, added = peak_of_a_fetch(serve(script).url)
    assert reason == "larger than the limit of 100000000 bytes once decoded; stopped there"
    assert added <= 20


# --- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(serve, guard, soon, status):
    def script(c):
        if c.path == "/there?a=%2B":
            c.answer(200, BODY)
        else:
            c.answer(status, b"over there", Location="there?a=%2B")

    destination = io.BytesIO()
    fetch_now(serve(script).url + "/here", destination, limits=QUICK, guard=guard, deadline=soon)
    assert destination.getvalue() == BODY


def test_five_redirects_are_followed_and_not_six(serve, guard, soon):
    def script(c):
        left = int(c.path[1:])
        c.answer(302, Location=f"/{left - 1}") if left else c.answer(200, BODY)

    server = serve(script)
    fetch_now(f"{server.url}/5", io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    assert failure(f"{server.url}/6", guard) == "more than 5 redirects"
    assert len(server.requests) == 12


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "the scheme 'file' is not taken; only http and https are"),
        ("data:,x", "the scheme 'data' is not taken; only http and https are"),
        ("FTP://127.0.0.1/", "the scheme 'FTP' is not taken; only http and https are"),
        ("http://", "a URL without a host"),
        ("http://a b/", "a URL with white space or control characters in it"),
        ("http://a..b/", "a URL whose host cannot exist: 'a..b'"),
        ("//[x", "not a URL: Invalid IPv6 URL"),
        ("//a]b[/", "not a URL: "),
        ("?" + "x" * 8000, "a URL of "),
    ],
)
def test_a_redirect_leads_to_http_or_nowhere(serve, guard, location, reason):
    server = serve(lambda c: c.answer(302, Location=location))
    uri = f"{server.url}/{'x' * 9000}"
    assert failure(uri, guard).startswith(f"redirected to where nothing is fetched from: {reason}")
    assert len(server.requests) == 1


def test_a_redirect_without_location_is_an_error(serve, guard):
    assert failure(serve(lambda c: c.answer(302)).url, guard) == "answered 302 Because without a Location"


def test_credentials_are_sent_to_the_first_url_only_and_never_shown(serve, guard, soon):
    def script(c):
        if c.path == "/last":
            c.answer(404)
        else:
            c.answer(302, Location=c.server.url.replace("//", "//other:word@") + "/last", Set_Cookie="a=b")

    server = serve(script)
    uri = server.url.replace("//", "//user:secret@") + "/first?token=hidden"
    with pytest.raises(FetchError) as caught:
        fetch_now(uri, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    first, last = (request.lower() for request in server.requests)
    assert b"authorization: basic dxnlcjpzzwnyzxq=" in first
    assert b"authorization" not in last
    assert b"cookie" not in last
    assert b"referer" not in last
    message = str(caught.value)
    assert message == f"cannot fetch http://***@127.0.0.1:{server.port}/first?…: answered 404 Because"
    assert pickle.loads(pickle.dumps(caught.value)).uri == uri


# --- trying again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_transient_answers_are_asked_again(serve, guard, soon, status):
    server = serve(lambda c: c.answer(200, BODY) if c.number == 3 else c.answer(status))
    assert fetch_now(server.url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon).sha256 == SHA256
    assert len(server.requests) == 3


def test_tries_end(serve, guard):
    server = serve(lambda c: c.answer(503))
    assert failure(server.url, guard) == "answered 503 Because (tried 3 times)"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 404, 410, 451])
def test_other_answers_are_final(serve, guard, status):
    server = serve(lambda c: c.send(b"HTTP/1.1 %d Because\r\nContent-Length: 0\r\n\r\n" % status))
    assert failure(server.url, guard) == f"answered {status} Because"
    assert len(server.requests) == 1


def test_a_body_that_broke_off_is_fetched_again_from_its_start(serve, guard, soon):
    def script(c):
        if c.number < 3:
            c.send(OK + b"Content-Length: 11\r\n\r\nan art")
            return False
        return c.answer(200, BODY)

    destination = io.BytesIO()
    fetch_now(serve(script).url, destination, limits=QUICK, guard=guard, deadline=soon, sha256=SHA256)
    assert destination.getvalue() == BODY


def test_a_refused_connection_is_tried_again(guard):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}/", guard) == (
        f"cannot connect to 127.0.0.1:{port}: Connection refused (tried 3 times)"
    )


def test_retry_after_is_honoured(serve, guard, soon):
    times = []

    def script(c):
        times.append(time.monotonic())
        if c.number == 1:
            c.answer(429, Retry_After="1")
        else:
            c.answer(200, BODY)

    fetch_now(serve(script).url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    assert 0.95 <= times[1] - times[0] < 5


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wait_beyond_the_deadline_is_not_begun(serve, guard, form):
    value = "120" if form == "seconds" else formatdate(time.time() + 120, usegmt=True)
    server = serve(lambda c: c.answer(429, Retry_After=value))
    started = time.monotonic()
    reason = failure(server.url, guard)
    assert re.match(r"answered 429 Because; the next try would be in 1(20\.0|1\d\.\d) s, [\d.]+ s are left", reason)
    assert time.monotonic() - started < 10
    assert len(server.requests) == 1


def test_a_date_of_retry_after_is_waited_for(serve, guard, soon):
    asked = []

    def script(c):
        asked.append(time.time())
        if c.number == 1:
            c.answer(503, Retry_After=formatdate(int(time.time()) + 2, usegmt=True))
        else:
            c.answer(200, BODY)

    fetch_now(serve(script).url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    assert int(asked[0]) + 2 <= asked[1] + 0.05


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Tue, 99 Xyz 2026 00:00:00 GMT", "9" * 400])
def test_a_retry_after_that_says_nothing_delays_nothing(serve, guard, value):
    server = serve(lambda c: c.answer(429, Retry_After=value))
    assert failure(server.url, guard) == "answered 429 Because (tried 3 times)"


def test_an_endless_redirect_ends_and_its_cookies_are_left_behind(serve, guard):
    server = serve(lambda c: c.answer(302, Location=f"{c.path}x", Set_Cookie=f"a{c.number}={'b' * 3000}"))
    assert failure(server.url, guard) == "more than 5 redirects"
    assert len(server.requests) == 6
    assert not any(b"cookie" in request.lower() for request in server.requests)


# --- deadlines -------------------------------------------------------------------------------------------------------


def hold(c):
    c.hold()


def drip_head(c):
    c.send(OK)
    c.drip(b"X-Filler: more and more\r\n")


def drip_body(c):
    c.send(OK + b"Content-Length: 90000\r\n\r\n")
    c.drip(b"x")


def drip_chunks(c):
    c.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    c.drip(b"1\r\nx\r\n")


def drip_interim(c):
    c.drip(b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001)


def drip_redirect(c):
    c.send(b"HTTP/1.1 302 Found\r\nLocation: ")
    c.drip(b"/")


def redirect_slowly(c):
    c.server.stopping.wait(0.15)
    c.answer(302, Location="/again", Set_Cookie="a=b")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "script", [hold, drip_head, drip_body, drip_chunks, drip_interim, drip_redirect, redirect_slowly]
)
def test_nothing_goes_past_the_deadline(serve, guard, script, tls):
    server = serve(script, tls=tls)
    authority = str(CERTIFICATES / "ca.pem")
    started = time.monotonic()
    assert failure(server.url, guard, FetchLimits(), within=0.4, ca_file=authority) == "not done by the deadline"
    assert 0.35 <= time.monotonic() - started < 10


def test_a_deadline_that_is_over_opens_nothing(serve, guard, connects):
    server = serve(lambda c: c.answer(200))
    assert failure(server.url, guard, within=-1) == "not done by the deadline"
    assert connects == []


def test_a_silent_server_is_given_up_before_the_deadline(serve, guard):
    server = serve(hold)
    limits = FetchLimits(read_timeout=0.1, backoff=0.001, tries=2)
    started = time.monotonic()
    reason = failure(server.url, guard, limits)
    assert reason == f"127.0.0.1:{server.port} sent nothing for 0.1 s (tried 2 times)"
    assert time.monotonic() - started < 10


def test_a_handshake_that_never_ends_is_cut_off_at_the_deadline(serve, guard):
    server = serve(hold)  # reads a ClientHello as if it were a request, and never answers it
    started = time.monotonic()
    assert failure(server.url.replace("http", "https"), guard, within=0.4) == "not done by the deadline"
    assert time.monotonic() - started < 10


def test_a_slow_name_resolution_is_cut_off_at_the_deadline(guard):
    release = threading.Event()

    def slow(*arguments, **options):
        release.wait(20)
        return socket.getaddrinfo("127.0.0.1", 80)

    async def attempt() -> None:
        async with HttpClient(guard, lookup=slow) as client:
            await fetch(client, "http://slow.example/", io.BytesIO(), limits=QUICK, deadline=time.monotonic() + 0.3)

    started = time.monotonic()
    try:
        with pytest.raises(FetchError, match=r"^cannot fetch http://slow\.example/: not done by the deadline$"):
            asyncio.run(attempt())  # which waits for every thread of the loop's own executor
        assert time.monotonic() - started < 10
    finally:
        release.set()


def test_names_that_never_resolve_do_not_hold_up_others(serve):
    release = threading.Event()
    server = serve(lambda c: c.answer(200, BODY))

    def lookup(host, *arguments, **options):
        if host.startswith("slow"):
            release.wait(20)
        return socket.getaddrinfo("127.0.0.1", *arguments, **options)

    async def attempt() -> Fetched:
        deadline = time.monotonic() + 10
        async with HttpClient(NetworkGuard(["127.0.0.1"]), lookup=lookup) as client:
            slow = [
                asyncio.create_task(
                    fetch(client, f"http://slow{n}.example/", io.BytesIO(), limits=QUICK, deadline=deadline)
                )
                for n in range(40)
            ]
            await asyncio.sleep(0)
            good = await fetch(
                client, f"http://good.example:{server.port}/", io.BytesIO(), limits=QUICK, deadline=deadline
            )
            for task in slow:
                assert not task.done()
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return good

    try:
        assert asyncio.run(attempt()).sha256 == SHA256
    finally:
        release.set()


def test_a_name_that_does_not_resolve_is_one_line(guard):
    reason = failure("http://no-such-host.invalid/", guard, FetchLimits(tries=1))
    assert reason.startswith("the name no-such-host.invalid cannot be resolved: ")


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_certificates_are_verified(serve, guard):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    reason = failure(server.url, guard)
    assert reason.startswith(f"the TLS certificate of 127.0.0.1:{server.port} is not trusted: ")
    assert server.requests == []
    assert server.connections == 1


def test_a_private_ca_can_be_trusted(serve, guard, soon):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    authority = str(CERTIFICATES / "ca.pem")
    fetched = fetch_now(server.url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon, ca_file=authority)
    assert fetched.sha256 == SHA256


def test_a_certificate_for_another_host_is_not_trusted(serve, guard):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    url = server.url.replace("127.0.0.1", "ip6-localhost.example")
    lookups = []

    def lookup(host, *arguments, **options):
        lookups.append(host)
        return socket.getaddrinfo("127.0.0.1", *arguments, **options)

    async def attempt() -> None:
        async with HttpClient(guard, ca_file=str(CERTIFICATES / "ca.pem"), lookup=lookup) as client:
            await fetch(client, url, io.BytesIO(), limits=QUICK, deadline=time.monotonic() + 10)

    with pytest.raises(FetchError, match="is not trusted"):
        asyncio.run(attempt())
    assert lookups == ["ip6-localhost.example"]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(guard, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadAnswer) as caught:
        HttpClient(guard, ca_file=str(path))
    assert str(caught.value).startswith(f"the CA file '{path}' cannot be used: ")


def test_proxies_of_the_environment_are_not_used(serve, guard, soon, monkeypatch):
    proxy = serve(lambda c: c.answer(200, b"from the proxy"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    server = serve(lambda c: c.answer(200, BODY))
    fetch_now(server.url, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon, sha256=SHA256)
    assert proxy.connections == 0


# --- the destination, and the caller ---------------------------------------------------------------------------------


def test_a_full_disk_is_a_fetch_error_and_is_not_tried_again(serve, guard):
    server = serve(lambda c: c.answer(200, bytes(50_000)))
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(FetchError) as caught:
        fetch_now(server.url, full, limits=QUICK, guard=guard, deadline=time.monotonic() + 10)
    assert caught.value.reason == "cannot be stored: No space left on device"
    assert len(server.requests) == 1


def test_a_client_keeps_its_connections(serve, guard, soon):
    server = serve(lambda c: c.answer(200, BODY))

    async def many() -> None:
        async with HttpClient(guard) as client:
            for _ in range(10):
                await fetch(client, server.url, io.BytesIO(), limits=QUICK, deadline=soon)

    asyncio.run(many())
    assert (len(server.requests), server.connections) == (10, 1)


def test_a_server_that_writes_head_and_body_apart_is_not_kept_waiting(serve, guard, soon):
    def script(c):
        c.send(OK + b"Content-Length: 11\r\n\r\n")
        c.send(BODY)

    server = serve(script)

    async def many() -> float:
        async with HttpClient(guard) as client:
            started = time.monotonic()
            for _ in range(60):
                await fetch(client, server.url, io.BytesIO(), limits=QUICK, deadline=soon)
            return time.monotonic() - started

    assert asyncio.run(many()) < 60 * 0.04 / 2  # a delayed acknowledgement costs 40 ms each


def test_a_client_outside_its_block_says_so(guard, soon):
    with pytest.raises(RuntimeError, match="outside of its 'async with' block"):
        asyncio.run(fetch(HttpClient(guard), "http://127.0.0.1/", io.BytesIO(), limits=QUICK, deadline=soon))


def test_cancelling_leaves_the_destination_as_it_was(serve, guard, soon):
    arrived = threading.Event()

    def script(c):
        c.send(OK + b"Content-Length: 90000\r\n\r\nsome of it")
        arrived.set()
        c.hold()

    server = serve(script)
    destination = io.BytesIO()

    async def cancelled() -> None:
        async with HttpClient(guard) as client:
            task = asyncio.create_task(fetch(client, server.url, destination, limits=QUICK, deadline=soon))
            while destination.getvalue() != b"some of it":
                await asyncio.sleep(0.005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert arrived.is_set()
    assert destination.getvalue() == b""


def test_aiohttp_is_imported_by_those_who_connect_only():
    code = (
        "import sys, time, io; from psengine_host.network import delivery, fetcher, fetching, guard\n"
        "from psengine_host.settings import NetworkSettings\n"
        "fetching = fetcher.Fetcher(NetworkSettings())\n"
        "fetching.fetch('data:,x', io.BytesIO(), deadline=time.monotonic() + 1)\n"
        "print([name for name in ('aiohttp', 'yarl', 'ssl') if name in sys.modules])"
    )
    root = str(Path(psengine_host.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True, timeout=60
    )
    assert "aiohttp" not in done.stdout
    assert "yarl" not in done.stdout


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_size": -1}, "max_size must be at least 0, got -1"),
        ({"tries": 0}, "tries must be at least 1, got 0"),
        ({"max_redirects": -1}, "max_redirects must be at least 0, got -1"),
        ({"backoff": float("nan")}, "backoff must be at least 0, got nan"),
        ({"read_timeout": 0}, "read_timeout must be more than 0 seconds, got 0"),
        ({"connect_timeout": -1}, "connect_timeout must be more than 0 seconds, got -1"),
    ],
)
def test_limits_that_leave_nothing_are_refused(limit, message):
    with pytest.raises(ValueError, match=message):
        FetchLimits(**limit)


def test_redirects_and_tries_are_told_to_who_listens_without_what_is_secret(serve, guard, soon, caplog):
    def script(c):
        if c.number == 1:
            c.answer(302, Location="/there?nonce=hidden")
        elif c.number == 2:
            c.answer(503)
        else:
            c.answer(200, BODY)

    server = serve(script)
    uri = f"http://user:hidden@127.0.0.1:{server.port}/here?key=hidden"
    with caplog.at_level("INFO", logger="psengine_host.network.fetching"):
        fetch_now(uri, io.BytesIO(), limits=QUICK, guard=guard, deadline=soon)
    said = [record.getMessage() for record in caplog.records if record.name == "psengine_host.network.fetching"]
    here = f"http://***@127.0.0.1:{server.port}/here?…"
    assert said == [
        f"fetching {here}: redirected to {server.url}/there?…",
        f"fetching {here}: answered 503 Because; try 2 in 0.0 s",
    ]
    assert "hidden" not in caplog.text
