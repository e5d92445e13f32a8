"""One host's fetcher: many threads, one pool of connections, one end."""

import asyncio
import hashlib
import io
import os
import queue
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextvars import ContextVar
from pathlib import Path

import pytest

from psengine_host.network.delivery import DeliveryStatus
from psengine_host.network.errors import FetchError
from psengine_host.network.exchanges import DELIVERIES, FETCHES
from psengine_host.network.fetcher import Fetcher
from psengine_host.settings import NetworkSettings

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b"an artifact"
SHA256 = hashlib.sha256(BODY).hexdigest()


def network(**options) -> NetworkSettings:
    return NetworkSettings(**{"allow": ("127.0.0.1",), "tries": 1, **options})


@pytest.fixture
def fetcher():
    fetcher = Fetcher(network())
    yield fetcher
    fetcher.close()


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "psengine-network"]


def fetched(fetcher: Fetcher, uri: str, within: float = 20.0, **options) -> bytes:
    destination = io.BytesIO()
    result = fetcher.fetch(uri, destination, deadline=time.monotonic() + within, **options)
    content = destination.getvalue()
    assert (result.size, result.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return content


def refused(fetcher: Fetcher, uri: str, within: float = 20.0, **options) -> str:
    destination = io.BytesIO()
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(uri, destination, deadline=time.monotonic() + within, **options)
    assert destination.getvalue() == b""
    return caught.value.reason


def test_connections_are_kept_from_fetch_to_fetch_and_from_delivery_to_delivery(serve, fetcher, soon):
    server = serve(lambda c: c.answer(200, BODY))
    for number in range(5):
        assert fetched(fetcher, f"{server.url}/{number}", sha256=SHA256) == BODY
        assert fetcher.deliver(server.url, b"{}", idempotency_key="key", deadline=soon).delivered
    assert (server.connections, len(server.requests)) == (2, 10)  # artifacts and answers have one each


def test_many_threads_fetch_at_once(serve, fetcher):
    everybody = threading.Barrier(8, timeout=20)

    def script(c):
        everybody.wait()  # answers when all eight have asked
        c.answer(200, c.path.encode())

    server = serve(script)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda number: fetched(fetcher, f"{server.url}/{number}"), range(8)))
    assert contents == [f"/{number}".encode() for number in range(8)]
    assert len(loops()) == 1


def test_a_thread_that_runs_an_event_loop_may_fetch(serve, fetcher):
    server = serve(lambda c: c.answer(200, BODY))

    async def in_a_notebook() -> bytes:
        return fetched(fetcher, server.url)

    assert asyncio.run(in_a_notebook()) == BODY


def test_what_needs_no_connection_starts_no_loop(fetcher, soon):
    assert fetched(fetcher, "data:,an%20artifact", sha256=SHA256) == BODY
    assert refused(fetcher, "file:///etc/passwd") == "the scheme 'file' is not taken; only http, https and data are"
    delivery = fetcher.deliver("ftp://store/x", b"{}", idempotency_key="key", deadline=soon)
    assert (delivery.status, delivery.reason) == (
        DeliveryStatus.REFUSED,
        "the scheme 'ftp' is not taken; only http and https are",
    )
    assert loops() == []


def test_the_limits_are_those_of_the_settings(serve):
    def endless(c):
        if c.path == "/redirects":
            c.answer(302, Location="/redirects")
        elif c.path == "/busy":
            c.answer(503)
        elif c.path == "/silent":
            c.hold()
        else:
            c.answer(200, b"x" * 11)

    server = serve(endless)
    limited = Fetcher(network(max_artifact_size=10, max_redirects=2, tries=2, read_timeout=0.2))
    try:
        assert refused(limited, server.url) == "larger than the limit of 10 bytes: 11 are announced"
        assert refused(limited, f"{server.url}/redirects") == "more than 2 redirects"
        assert refused(limited, f"{server.url}/busy") == "answered 503 Because (tried 2 times)"
        assert "sent nothing for 0.2 s" in refused(limited, f"{server.url}/silent")
        assert refused(limited, "data:,12345678901").startswith("cannot fetch") is False
    finally:
        limited.close()


def test_nothing_private_is_connected_to_without_an_entry(serve, connects, soon):
    server = serve(lambda c: c.answer(200, BODY))
    strict = Fetcher(NetworkSettings())
    try:
        assert refused(strict, server.url).startswith("connecting to 127.0.0.1 is forbidden: a loopback address")
        delivery = strict.deliver(server.url, b"{}", idempotency_key="key", deadline=soon)
        assert delivery.status is DeliveryStatus.REFUSED
    finally:
        strict.close()
    assert (server.connections, connects) == (0, [])


def test_a_private_authority_is_trusted_for_artifacts_and_answers(serve, fetcher, soon):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    assert "is not trusted" in refused(fetcher, server.url)
    private = Fetcher(network(ca_file=str(CERTIFICATES / "ca.pem")))
    try:
        assert fetched(private, server.url) == BODY
        delivery = private.deliver(server.url, b"{}", idempotency_key="key", deadline=soon)
        assert delivery.status is DeliveryStatus.DELIVERED
    finally:
        private.close()
    assert server.connections == 3  # the refused one, and one of each kind


def test_certificates_that_cannot_be_read_are_told_by_their_setting(serve, tmp_path, soon):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    path = tmp_path / "ca.pem"
    broken = Fetcher(network(ca_file=str(path)))
    try:
        reason = f"the CA file '{path}' cannot be used: No such file or directory; see the setting network.ca_file"
        assert refused(broken, server.url) == reason
        delivery = broken.deliver(server.url, b"{}", idempotency_key="key", deadline=soon)
        assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, reason)
        path.write_bytes((CERTIFICATES / "ca.pem").read_bytes())  # and when it is there it is used
        assert fetched(broken, server.url) == BODY
    finally:
        broken.close()


def test_the_end_tells_what_is_delivered_that_it_was_not(serve):
    asked = threading.Event()
    server = serve(lambda c: (asked.set(), c.hold()))
    fetcher = Fetcher(network())
    with ThreadPoolExecutor(1) as pool:
        delivering = pool.submit(
            fetcher.deliver, server.url, b"{}", idempotency_key="key", deadline=time.monotonic() + 60
        )
        assert asked.wait(20)
        fetcher.close()
        delivery = delivering.result(20)
    assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, "the fetcher is closed")


def test_certificates_are_read_once(serve, tmp_path, soon):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    path = tmp_path / "ca.pem"
    path.write_bytes((CERTIFICATES / "ca.pem").read_bytes())
    with Fetcher(network(ca_file=str(path))) as private:
        assert fetched(private, server.url) == BODY
        path.unlink()
        server.script = lambda c: c.answer(200, BODY, Connection="close")  # so that each has a handshake of its own
        assert fetched(private, server.url) == BODY
        assert fetched(private, server.url) == BODY
        assert private.deliver(server.url, b"{}", idempotency_key="key", deadline=soon).delivered
    assert server.connections >= 3


def test_a_deadline_holds_whatever_the_server_does(serve, fetcher):
    server = serve(lambda c: c.drip(b"HTTP/1.1 200 OK\r\nX: "))
    began = time.monotonic()
    assert refused(fetcher, server.url, within=0.3) == "not done by the deadline"
    assert time.monotonic() - began < 10


def test_the_end_of_the_host_ends_what_is_under_way(serve):
    asked = threading.Event()

    def script(c):
        asked.set()
        c.hold()

    server = serve(script)
    fetcher = Fetcher(network())
    with ThreadPoolExecutor(1) as pool:
        reason = pool.submit(refused, fetcher, server.url)
        assert asked.wait(20)
        fetcher.close()
        assert reason.result(20) == "the fetcher is closed"
    assert loops() == []
    assert refused(fetcher, server.url) == "the fetcher is closed"
    fetcher.close()


def test_a_fetcher_that_nobody_closed_ends_with_its_last_reference(serve):
    server = serve(lambda c: c.answer(200, BODY))
    fetcher = Fetcher(network())
    assert fetched(fetcher, server.url) == BODY
    [thread] = loops()
    del fetcher
    thread.join(20)
    assert not thread.is_alive()


def test_a_fork_makes_connections_of_its_own(serve):
    server = serve(lambda c: c.answer(200, BODY))
    program = textwrap.dedent("""
        import io, os, sys, time
        from psengine_host.network.fetcher import Fetcher
        from psengine_host.settings import NetworkSettings

        def fetch():
            fetcher.fetch(sys.argv[1], io.BytesIO(), deadline=time.monotonic() + 20)

        fetcher = Fetcher(NetworkSettings(allow=("127.0.0.1",)))
        fetch()
        child = os.fork()
        if child == 0:
            fetch()
            fetcher.close()
            sys.exit(0)  # at which everything is let go of
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fetch()  # over the connection from before
        child = os.fork()
        if child == 0:
            fetcher.close()  # harmless
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fetch()
        fetcher.close()
    """)
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", program, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (server.connections, len(server.requests)) == (2, 4)


def test_a_fork_while_another_thread_begins_to_fetch_can_fetch(serve):
    """What the other thread has half imported is there for ever in the fork."""
    server = serve(lambda c: c.answer(200, BODY))
    program = textwrap.dedent("""
        import io, os, sys, threading, time
        from psengine_host.network.fetcher import Fetcher
        from psengine_host.settings import NetworkSettings

        def fetch():
            fetcher.fetch(sys.argv[1], io.BytesIO(), deadline=time.monotonic() + 20)

        fetcher = Fetcher(NetworkSettings(allow=("127.0.0.1",)))
        first = threading.Thread(target=fetch)
        first.start()
        while "aiohttp" not in sys.modules:
            time.sleep(0)
        child = os.fork()
        if child == 0:
            fetch()
            os._exit(0)
        first.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fetcher.close()
    """)
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", program, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(server.requests) == 2


def test_an_interrupt_abandons_the_fetch_before_it_comes_through(serve):
    asked = threading.Event()

    def script(c):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        asked.set()
        c.drip(b"x", 0.001)

    server = serve(script)
    program = textwrap.dedent("""
        import sys, time
        from psengine_host.network.fetcher import Fetcher
        from psengine_host.settings import NetworkSettings

        class Destination:
            size = 0
            def tell(self): return 0
            def seek(self, position): pass
            def truncate(self): self.size = 0
            def flush(self): pass
            def write(self, data):
                self.size += len(data)
                return len(data)

        destination = Destination()
        fetcher = Fetcher(NetworkSettings(allow=("127.0.0.1",)))
        try:
            fetcher.fetch(sys.argv[1], destination, deadline=time.monotonic() + 60)
        except KeyboardInterrupt:
            assert destination.size == 0, destination.size
            fetcher.close()  # after which nobody is left who could write
            assert destination.size == 0, destination.size
            print("abandoned", flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", program, server.url], stdout=subprocess.PIPE)
    try:
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, b"abandoned\n")


def test_a_connection_that_was_closed_meanwhile_loses_no_answer(serve, fetcher, soon):
    """A receiver that ends an idle connection just when the next answer is on its way."""
    server = serve(lambda c: False if c.number == 2 else c.answer(200))
    for number in range(2):
        delivery = fetcher.deliver(f"{server.url}/{number}", b"{}", idempotency_key="key", deadline=soon)
        assert delivery.status is DeliveryStatus.DELIVERED
    assert [request.split(b" ")[1] for request in server.requests] == [b"/0", b"/1", b"/1"]
    assert server.requests[1] == server.requests[2]
    assert server.connections == 2


def test_a_new_connection_that_is_closed_is_not_asked_again_at_once(serve, fetcher, soon):
    server = serve(lambda _: False)
    delivery = fetcher.deliver(server.url, b"{}", idempotency_key="key", deadline=soon)
    assert delivery.status is DeliveryStatus.RETRY
    assert delivery.reason == f"127.0.0.1:{server.port} closed the connection without an answer"
    assert (len(server.requests), server.connections) == (1, 1)


class Watched(io.BytesIO):
    """A destination that tells when it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, data: bytes) -> int:
        self.written.set()
        return super().write(data)


def drip_body(c):
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n")
    c.drip(b"x", 0.001)


def test_a_fetch_can_be_cancelled_and_its_destination_is_the_callers_again(serve, fetcher, soon):
    server = serve(drip_body)
    destination = Watched()
    future = fetcher.submit_fetch(server.url, destination, deadline=soon)
    assert destination.written.wait(20)
    assert future.cancel()
    wait([future], timeout=20)
    assert future.cancelled()
    assert destination.getvalue() == b""
    assert not future.cancel()


def test_a_fetch_that_was_cancelled_before_it_began_connects_nowhere(serve, fetcher, soon):
    server = serve(lambda c: c.answer(200, BODY))
    held, holding = threading.Event(), threading.Event()
    first = fetcher.submit_fetch(server.url, io.BytesIO(), deadline=soon)
    first.add_done_callback(lambda _: (holding.set(), held.wait(20)))  # the fetcher's thread is busy from here on
    assert holding.wait(20)
    second = fetcher.submit_fetch(server.url, io.BytesIO(), deadline=soon)
    assert second.cancel()
    held.set()
    with pytest.raises(CancelledError):
        second.result(20)
    assert len(server.requests) == 1


def test_a_callback_that_would_wait_for_itself_is_told(serve, fetcher, soon):
    server = serve(lambda c: c.answer(200, BODY))
    said = queue.SimpleQueue()

    def careless(_: object) -> None:
        for wait_for in (
            lambda: fetcher.fetch(server.url, io.BytesIO(), deadline=soon),
            lambda: fetcher.deliver(server.url, b"{}", idempotency_key="key", deadline=soon),
        ):
            try:
                wait_for()
            except RuntimeError as error:
                said.put(str(error))

    fetcher.submit_fetch(server.url, io.BytesIO(), deadline=soon).add_done_callback(careless)
    expected = "a callback of a fetch must not wait for another exchange of the same fetcher"
    assert [said.get(timeout=20) for _ in range(2)] == [expected] * 2


def test_context_variables_travel_with_each_fetch(serve, fetcher, soon):
    server = serve(lambda c: c.answer(200, BODY))
    name = ContextVar("name", default="none")
    seen = queue.SimpleQueue()

    class Telling(io.BytesIO):
        def write(self, data: bytes) -> int:
            seen.put(name.get())
            return super().write(data)

    for value in ("one", "two"):
        name.set(value)
        fetcher.submit_fetch(server.url, Telling(), deadline=soon)
    assert sorted(seen.get(timeout=20) for _ in range(2)) == ["one", "two"]


def test_fetches_that_get_nowhere_hold_up_no_answer(serve, fetcher):
    """More fetches than there are connections for."""
    full = threading.Event()
    slow = serve(lambda c: (full.set() if c.number == FETCHES else None, c.hold()))
    receiver = serve(lambda c: c.answer(200))
    deadline = time.monotonic() + 10
    stuck = [fetcher.submit_fetch(slow.url, io.BytesIO(), deadline=deadline) for _ in range(FETCHES + 40)]
    assert full.wait(20)
    assert refused(fetcher, slow.url, within=0.2) == "not done by the deadline"
    delivery = fetcher.deliver(receiver.url, b"{}", idempotency_key="key", deadline=time.monotonic() + 20)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert not any(future.done() for future in stuck)
    assert len(slow.requests) == FETCHES
    for future in stuck:
        future.cancel()
    wait(stuck, timeout=20)


def test_answers_that_get_nowhere_hold_up_no_fetch(serve, fetcher):
    full = threading.Event()
    slow = serve(lambda c: (full.set() if c.number == DELIVERIES else None, c.hold()))
    server = serve(lambda c: c.answer(200, BODY))
    deadline = time.monotonic() + 10
    stuck = [
        fetcher.submit_delivery(slow.url, b"{}", idempotency_key="key", deadline=deadline)
        for _ in range(DELIVERIES + 40)
    ]
    assert full.wait(20)
    late = fetcher.deliver(slow.url, b"{}", idempotency_key="key", deadline=time.monotonic() + 0.2)
    assert (late.status, late.reason) == (
        DeliveryStatus.RETRY,
        f"127.0.0.1:{slow.port} was not done by the deadline",
    )
    assert fetched(fetcher, server.url) == BODY
    assert not any(future.done() for future in stuck)
    assert len(slow.requests) == DELIVERIES
    for future in stuck:
        future.cancel()
    wait(stuck, timeout=20)


def test_fetches_that_wait_for_their_next_try_hold_up_no_other(serve):
    busy = threading.Event()

    def script(c):
        if c.path == "/busy":
            c.answer(503, Retry_After="60")
            if c.number == FETCHES:
                busy.set()
        else:
            c.answer(200, BODY)

    server = serve(script)
    with Fetcher(network(tries=2)) as fetcher:
        deadline = time.monotonic() + 120
        waiting = [fetcher.submit_fetch(f"{server.url}/busy", io.BytesIO(), deadline=deadline) for _ in range(FETCHES)]
        assert busy.wait(20)
        assert fetched(fetcher, server.url) == BODY
        assert not any(future.done() for future in waiting)


def test_names_that_never_resolve_hold_up_no_answer(serve):
    """Twice as many as are looked up at once, and more than are fetched from."""
    release = threading.Event()
    receiver = serve(lambda c: c.answer(200))

    def lookup(host, *arguments, **options):
        if host.endswith(".never.example"):
            release.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "gave up")
        return socket.getaddrinfo("127.0.0.1", *arguments, **options)

    before = threading.active_count()
    fetcher = Fetcher(network(), lookup=lookup)
    try:
        deadline = time.monotonic() + 60
        stuck = [
            fetcher.submit_fetch(f"http://{number}.never.example/", io.BytesIO(), deadline=deadline)
            for number in range(256)
        ]
        url = f"http://receiver.example:{receiver.port}/"
        assert fetcher.deliver(url, b"{}", idempotency_key="key", deadline=time.monotonic() + 20).delivered
        assert not any(future.done() for future in stuck)
        assert threading.active_count() - before < 200
    finally:
        release.set()
        fetcher.close()


def test_the_thousandth_host_leaves_no_more_connections_behind_than_the_hundredth(serve):
    """Each name has a pool of its own, and bounties may name as many as they like."""
    server = serve(lambda c: c.answer(200, BODY))

    def lookup(host, *arguments, **options):
        return socket.getaddrinfo("127.0.0.1", *arguments, **options)

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    with Fetcher(network(), lookup=lookup) as fetcher:
        for number in range(3 * FETCHES):
            assert fetched(fetcher, f"http://{number}.example:{server.port}/") == BODY
        # Each connection has another end, which is in this process too.
        assert descriptors() - before < 3 * FETCHES


def test_a_deadline_is_kept_by_a_name_that_never_resolves():
    release = threading.Event()

    def never(*arguments, **options):
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "gave up")

    fetcher = Fetcher(network(), lookup=never)
    try:
        assert refused(fetcher, "http://slow.example/", within=0.3) == "not done by the deadline"
        delivery = fetcher.deliver(
            "http://slow.example/", b"{}", idempotency_key="key", deadline=time.monotonic() + 0.3
        )
        assert (delivery.status, delivery.reason) == (
            DeliveryStatus.RETRY,
            "slow.example:80 was not done by the deadline",
        )
        began = time.monotonic()
        fetcher.close()  # which does not wait for the resolver
        assert time.monotonic() - began < 5
    finally:
        release.set()


def test_a_disk_that_is_slow_to_take_a_large_artifact_holds_up_nobody_else(serve, fetcher):
    server = serve(lambda c: c.answer(200, bytes(3_000_000) if c.path == "/large" else BODY))
    slow, released = threading.Event(), threading.Event()

    class SlowDisk(io.BytesIO):
        def write(self, data: bytes) -> int:
            if self.tell() + len(data) > 2_000_000:
                slow.set()
                released.wait(30)
            return super().write(data)

    destination = SlowDisk()
    large = fetcher.submit_fetch(f"{server.url}/large", destination, deadline=time.monotonic() + 60)
    assert slow.wait(20)
    assert fetched(fetcher, server.url) == BODY
    for _ in range(2):
        assert large.cancel()
        assert fetched(fetcher, server.url) == BODY
    assert not large.done()  # the destination is still being written to
    released.set()
    wait([large], timeout=20)
    assert large.cancelled()
    assert destination.getvalue() == b""


@pytest.mark.parametrize("tls", [False, True])
def test_what_comes_unasked_is_not_taken_for_the_next_answer(serve, tls):
    """The server sends a second answer to the first request, when the connection is idle already."""
    unasked = threading.Event()

    def script(c):
        c.answer(200, c.path.encode())
        if c.number == 1:
            c.answer(200, b"/fake")
            unasked.set()

    server = serve(script, tls=tls)
    with Fetcher(network(ca_file=str(CERTIFICATES / "ca.pem"))) as fetcher:
        assert fetched(fetcher, f"{server.url}/1") == b"/1"
        assert unasked.wait(20)
        assert fetched(fetcher, f"{server.url}/2") == b"/2"
        assert fetched(fetcher, f"{server.url}/3") == b"/3"
    assert server.connections == 2
    assert len(server.requests) == 3
