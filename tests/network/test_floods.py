"""Servers that send without end, at full speed, in every part of an answer: bounded in time, in memory, and alone."""

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import psengine_host
from psengine_host.network import FetchError
from psengine_host.network.delivery import DeliveryStatus
from psengine_host.network.fetcher import Fetcher
from psengine_host.settings import NetworkSettings

CERTIFICATES = Path(__file__).parent / "certificates"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LONG = "Got more than 8190 bytes when reading"
TOO_MANY = "Too many headers received"
LATE = "not done by the deadline"
MEMORY = 24
"""Megabytes that one of them may take at most: some of the buffers of 256 KB, and what is parsed of one at a time."""

FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", LATE),
    "large interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n" + b"Link: <x>\r\n" * 60 + b"\r\n", LATE),
    "empty lines": (b"", b"\r\n", LATE),
    "no HTTP": (b"", b"x", "does not answer in HTTP: Bad status line"),
    "a reason phrase": (b"HTTP/1.1 200 ", b"x", TOO_LONG),
    "headers": (OK, b"X-Filler: more and more\r\n", TOO_MANY),
    "cookies": (OK, b"Set-Cookie: a=b\r\n", TOO_MANY),
    "a header's name": (OK + b"X", b"x", TOO_LONG),
    "a header's value": (OK + b"X: ", b"x", TOO_LONG),
    "the digits of a chunk's size": (CHUNKED, b"0", LATE),
    "a chunk's extension": (CHUNKED + b"5;a=", b"x", LATE),
    "tiny chunks": (CHUNKED, b"1\r\nx\r\n", LATE),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-Filler: more and more\r\n", TOO_MANY),
    # Too long where it comes in one piece with the head; read over, and thrown away, where it comes later.
    "a trailer's value": (CHUNKED + b"5\r\nhello\r\n0\r\nX: ", b"x", f"{TOO_LONG}|{LATE}"),
}


def flood(first: bytes, unit: bytes):
    block = unit * (65_536 // len(unit) + 1)

    def script(c):
        if c.path == "/warm":
            c.answer(200, b"x")
            return True
        c.send(first)
        while c.send(block):
            pass
        return False

    return script


@pytest.mark.parametrize(
    ("what", "tls"),
    [*((what, False) for what in FLOODS), ("interim answers", True), ("headers", True), ("tiny chunks", True)],
)
def test_a_flood_ends_by_the_deadline_and_holds_up_nobody_else(serve, what, tls):
    first, unit, reason = FLOODS[what]
    server = serve(flood(first, unit), tls=tls)
    good = serve(lambda c: c.answer(200, b"fine"))
    settings = NetworkSettings(allow=("127.0.0.1",), tries=1, ca_file=str(CERTIFICATES / "ca.pem"))
    with Fetcher(settings) as fetcher:
        began = time.monotonic()
        flooded = fetcher.submit_fetch(server.url, io.BytesIO(), deadline=began + (0.3 if LATE in reason else 20))
        fetcher.fetch(good.url, io.BytesIO(), deadline=began + 20)
        with pytest.raises(FetchError) as caught:
            flooded.result(20)
        assert re.search(reason, caught.value.reason)
        delivery = fetcher.deliver(
            server.url, b"{}", idempotency_key="key", deadline=time.monotonic() + (0.3 if LATE in reason else 20)
        )
        if first.startswith(CHUNKED) and delivery.http_status == 200:  # the head came alone: it is known, and final
            assert delivery.status is DeliveryStatus.DELIVERED
        else:
            assert (delivery.status, delivery.http_status) == (DeliveryStatus.RETRY, None)
        assert fetcher.deliver(good.url, b"{}", idempotency_key="key", deadline=time.monotonic() + 20).delivered


PEAK = """
import io, re, sys, time
from psengine_host.network import FetchError
from psengine_host.network.fetcher import Fetcher
from psengine_host.settings import NetworkSettings

def megabytes(name):
    with open("/proc/self/status") as file:
        return int(re.search(name + r":\\s*(\\d+) kB", file.read())[1]) // 1024

with Fetcher(NetworkSettings(allow=("127.0.0.1",), tries=1)) as fetcher:
    fetcher.fetch(sys.argv[1] + "/warm", io.BytesIO(), deadline=time.monotonic() + 20)
    before = megabytes("VmRSS")
    for url in sys.argv[1:]:
        try:
            fetcher.fetch(url, io.BytesIO(), deadline=time.monotonic() + 0.5)
        except FetchError:
            print(megabytes("VmHWM") - before)
"""


def test_no_flood_takes_memory(serve):
    urls = [serve(flood(first, unit)).url for first, unit, _ in FLOODS.values()]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *urls],
        env={"PYTHONPATH": str(Path(psengine_host.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    )
    taken = dict(zip(FLOODS, map(int, done.stdout.split()), strict=True))  # each with those before it
    assert max(taken.values()) <= MEMORY, taken
