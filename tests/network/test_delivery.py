"""One attempt to deliver, to receivers good and bad."""

import asyncio
import hashlib
import socket
import time
from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest

from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.bounty_fields import MAX_URL_LENGTH
from psengine_host.errors import InvalidBounty
from psengine_host.network.client import HttpClient
from psengine_host.network.delivery import Delivery, DeliveryLimits, DeliveryStatus, deliver
from psengine_host.network.guard import NetworkGuard

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b'{"verdict":"benign","bid":62500000000000000}'


def deliver_now(url: str, body: bytes, guard: NetworkGuard, ca_file: str | None = None, **more) -> Delivery:
    """One attempt, over a connection of its own."""

    async def once() -> Delivery:
        async with HttpClient(guard, ca_file=ca_file) as client:
            return await deliver(client, url, body, idempotency_key="5f0c", **more)

    return asyncio.run(once())


def attempt(url: str, guard: NetworkGuard, within: float = 10, **more) -> Delivery:
    delivery = deliver_now(url, BODY, guard, deadline=time.monotonic() + within, **more)
    assert delivery.reason.isprintable()
    assert delivery.seconds >= 0
    return delivery


def test_the_request_is_what_the_marketplace_takes(serve, guard):
    server = serve(lambda c: c.answer(202))
    delivery = attempt(f"{server.url}/bounty/1/assertions/?nonce=%2B%3d&x=~", guard)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert delivery.delivered
    assert (delivery.http_status, delivery.reason, delivery.retry_after) == (202, "answered 202 Because", None)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().lower().split("\r\n")
    assert line == "post /bounty/1/assertions/?nonce=%2b%3d&x=~ http/1.1"
    assert b"/?nonce=%2B%3d&x=~ " in head
    assert "content-type: application/json" in headers
    assert "idempotency-key: 5f0c" in headers
    assert f"content-length: {len(BODY)}" in headers
    assert not [header for header in headers if header.startswith(("authorization", "cookie", "transfer-encoding"))]
    assert body == BODY


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(serve, guard, status):
    server = serve(lambda c: c.send(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status))
    assert attempt(server.url, guard).status is DeliveryStatus.DELIVERED


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_transient_answers_are_worth_another_attempt(serve, guard, status):
    server = serve(lambda c: c.answer(status, b"later\nplease"))
    delivery = attempt(server.url, guard)
    assert delivery.status is DeliveryStatus.RETRY
    assert delivery.http_status == status
    assert delivery.reason == f"answered {status} Because: later please"
    assert not delivery.delivered
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 409, 410, 413, 422])
def test_other_answers_are_final_and_no_redirect_is_followed(serve, guard, status):
    server = serve(
        lambda c: c.send(
            b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nLocation: /elsewhere\r\nRetry-After: 9\r\n\r\n" % status
        )
    )
    delivery = attempt(server.url, guard)
    assert delivery.status is DeliveryStatus.REFUSED
    assert (delivery.http_status, delivery.retry_after) == (status, None)
    assert delivery.reason == f"answered {status} No"
    assert len(server.requests) == 1


def test_retry_after_in_both_forms(serve, guard):
    server = serve(lambda c: c.answer(429, Retry_After="120"))
    assert attempt(server.url, guard).retry_after == 120.0
    server.script = lambda c: c.answer(503, Retry_After=formatdate(time.time() + 60, usegmt=True))
    assert 55 < attempt(server.url, guard).retry_after <= 60
    server.script = lambda c: c.answer(503, Retry_After="soon")
    assert attempt(server.url, guard).retry_after is None


def test_a_refused_connection_is_worth_another_attempt(guard):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    delivery = attempt(f"http://127.0.0.1:{port}/", guard)
    assert delivery.status is DeliveryStatus.RETRY
    assert delivery.http_status is None
    assert delivery.reason == f"cannot connect to 127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"])
def test_a_receiver_that_does_not_speak_http_is_worth_another_attempt(serve, guard, said):
    server = serve(lambda c: c.send(said) and False)
    delivery = attempt(server.url, guard)
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.RETRY, None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///tmp/x", "the scheme 'file' is not taken; only http and https are"),
        ("data:,x", "the scheme 'data' is not taken; only http and https are"),
        ("", "the scheme '' is not taken; only http and https are"),
        (" http://127.0.0.1/", "the scheme ' http' is not taken; only http and https are"),
        ("http://", "a URL without a host"),
        ("http://a..b/", "a URL whose host cannot exist: 'a..b'"),
        ("http://127.0.0.1:99999/", "not a URL: Port out of range 0-65535"),
        ("http://127.0.0.1/\nx", "a URL with white space or control characters in it"),
    ],
)
def test_what_cannot_be_asked_is_refused_without_a_connection(url, reason, guard, connects):
    delivery = attempt(url, guard)
    assert (delivery.status, delivery.reason) == (DeliveryStatus.REFUSED, reason)
    assert connects == []


def test_the_longest_response_url_that_a_bounty_may_have_is_delivered_to(serve, guard):
    server = serve(lambda c: c.answer(200))
    url = f"{server.url}/?token=".ljust(MAX_URL_LENGTH, "x")
    forge = partial(Bounty.forge, ArtifactType.FILE, "data:,x", hashlib.sha256(b"x").hexdigest())
    response_url = forge(response_url=url).response_url
    assert attempt(response_url, guard).status is DeliveryStatus.DELIVERED
    assert server.requests[0].startswith(f"POST {url.removeprefix(server.url)} HTTP/1.1\r\n".encode())
    with pytest.raises(InvalidBounty, match="response_url"):
        forge(response_url=url + "x")
    refused = attempt(url + "x", guard)
    assert (refused.status, refused.reason) == (
        DeliveryStatus.REFUSED,
        f"a URL of {MAX_URL_LENGTH + 1} characters; at most {MAX_URL_LENGTH} are taken",
    )


def test_a_forbidden_address_is_refused(serve):
    server = serve(lambda c: c.answer(200))
    delivery = attempt(server.url, NetworkGuard())
    assert delivery.status is DeliveryStatus.REFUSED
    assert delivery.reason.startswith("connecting to 127.0.0.1 is forbidden: a loopback address")
    assert server.connections == 0


def drip_head(c):
    c.send(b"HTTP/1.1 200 OK\r\n")
    c.drip(b"X-Filler: more and more\r\n")


@pytest.mark.parametrize("script", [lambda c: c.hold(), drip_head, lambda c: c.drip(b"HTTP/1.1 103 Early\r\n\r\n")])
def test_a_receiver_that_never_answers_is_left_at_the_deadline(serve, guard, script):
    server = serve(script)
    started = time.monotonic()
    delivery = attempt(server.url, guard, within=0.4)
    assert 0.35 <= time.monotonic() - started < 10
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.RETRY, None)
    assert delivery.reason == f"127.0.0.1:{server.port} was not done by the deadline"
    assert 0.35 <= delivery.seconds < 10


def test_a_handshake_that_never_ends_is_left_at_the_deadline(serve, guard):
    server = serve(lambda c: c.hold())  # reads a ClientHello as if it were a request, and never answers it
    started = time.monotonic()
    delivery = attempt(server.url.replace("http", "https"), guard, within=0.4)
    assert time.monotonic() - started < 10
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.RETRY, None)


def test_a_receiver_that_does_not_read_is_left_at_the_deadline(guard):
    """It accepts, and its buffers are full before the answer is through."""
    with socket.create_server(("127.0.0.1", 0)) as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        started = time.monotonic()
        delivery = deliver_now(
            f"http://127.0.0.1:{full.getsockname()[1]}/",
            bytes(30_000_000),
            guard,
            deadline=started + 0.4,
        )
    assert time.monotonic() - started < 10
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.RETRY, None)


def test_a_deadline_that_is_over_opens_nothing(serve, guard, connects):
    delivery = attempt(serve(lambda c: c.answer(200)).url, guard, within=-1)
    assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, "no time left before the deadline")
    assert connects == []


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
)
def test_an_answer_whose_body_never_ends_is_an_answer(serve, guard, head, drip):
    def script(c):
        c.send(head)
        c.drip(drip)

    started = time.monotonic()
    delivery = attempt(serve(script).url, guard, limits=DeliveryLimits(answer_timeout=0.2))
    assert time.monotonic() - started < 10
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.DELIVERED, 200)
    delivery = attempt(serve(script).url, guard, within=0.3)
    assert (delivery.status, delivery.http_status) == (DeliveryStatus.DELIVERED, 200)


def test_only_the_start_of_an_answer_is_read(serve, guard):
    sent = 0

    def script(c):
        nonlocal sent
        c.send(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent < 1 << 30 and c.send(b"10000\r\n" + b"y" * 0x10000 + b"\r\n"):
            sent += 0x10000
        return False

    delivery = attempt(serve(script).url, guard)
    assert delivery.status is DeliveryStatus.REFUSED
    assert len(delivery.reason) < 300
    assert sent < 64 << 20


def test_a_body_that_breaks_off_changes_nothing(serve, guard):
    server = serve(lambda c: c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nsome") and False)
    assert attempt(server.url, guard).status is DeliveryStatus.DELIVERED


def test_credentials_in_the_url_are_not_sent(serve, guard):
    server = serve(lambda c: c.answer(200))
    assert attempt(server.url.replace("//", "//user:secret@") + "/?nonce=1", guard).delivered
    assert b"authorization" not in server.requests[0].lower()
    assert server.requests[0].startswith(b"POST /?nonce=1 ")


def test_slow_receivers_do_not_hold_up_others(serve, guard):
    slow = serve(lambda c: c.hold())
    good = serve(lambda c: c.answer(200))

    async def all_at_once() -> tuple[Delivery, list[Delivery]]:
        async with HttpClient(guard) as client:
            later = time.monotonic() + 1.0
            stuck = [
                asyncio.create_task(deliver(client, f"{slow.url}/{n}", BODY, idempotency_key="k", deadline=later))
                for n in range(30)
            ]
            while len(slow.requests) < 30:
                await asyncio.sleep(0.005)
            first = await deliver(client, good.url, BODY, idempotency_key="k", deadline=later)
            assert not any(task.done() for task in stuck)
            return first, await asyncio.gather(*stuck)

    first, stuck = asyncio.run(all_at_once())
    assert first.delivered
    assert {delivery.status for delivery in stuck} == {DeliveryStatus.RETRY}


def test_a_client_keeps_its_connections(serve, guard):
    server = serve(lambda c: c.answer(200, b"thanks"))

    async def many() -> list[Delivery]:
        deadline = time.monotonic() + 10
        async with HttpClient(guard) as client:
            return [await deliver(client, server.url, BODY, idempotency_key="k", deadline=deadline) for _ in range(9)]

    assert all(delivery.delivered for delivery in asyncio.run(many()))
    assert (len(server.requests), server.connections) == (9, 1)


def test_an_untrusted_certificate_is_worth_another_attempt_and_a_private_ca_can_be_trusted(serve, guard):
    server = serve(lambda c: c.answer(200), tls=True)
    delivery = attempt(server.url, guard)
    assert delivery.status is DeliveryStatus.RETRY
    assert "is not trusted" in delivery.reason
    assert server.requests == []
    assert attempt(server.url, guard, ca_file=str(CERTIFICATES / "ca.pem")).delivered


@pytest.mark.parametrize("key", ["", "a b", "a\r\nX: y", "ü", "x" * 256])
def test_a_key_that_is_no_header_is_the_callers_fault(guard, key):
    with pytest.raises(ValueError, match="idempotency_key must be 1 to 255 visible ASCII characters"):
        asyncio.run(deliver(HttpClient(guard), "http://127.0.0.1/", BODY, idempotency_key=key, deadline=0))


@pytest.mark.parametrize("limit", ["connect_timeout", "read_timeout", "answer_timeout"])
def test_limits_that_leave_nothing_are_refused(limit):
    with pytest.raises(ValueError, match=f"{limit} must be more than 0 seconds, got 0"):
        DeliveryLimits(**{limit: 0})
    with pytest.raises(ValueError, match="max_answer must be at least 0, got -1"):
        DeliveryLimits(max_answer=-1)
