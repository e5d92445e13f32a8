"""One host's fetcher: many threads, one pool of connections, one end."""

import asyncio
import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from psengine_host.network.delivery import DeliveryStatus
from psengine_host.network.errors import FetchError
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


def test_connections_are_kept_from_fetch_to_fetch_and_delivery(serve, fetcher, soon):
    server = serve(lambda c: c.answer(200, BODY))
    for number in range(5):
        assert fetched(fetcher, f"{server.url}/{number}", sha256=SHA256) == BODY
    delivery = fetcher.deliver(f"{server.url}/answer", b"{}", idempotency_key="key", deadline=soon)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert (server.connections, len(server.requests)) == (1, 6)


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
    assert server.connections == 2  # the refused one, and the one that was kept


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


def test_a_fork_makes_connections_of_its_own(serve, fetcher):
    server = serve(lambda c: c.answer(200, BODY))
    assert fetched(fetcher, server.url) == BODY
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if fetched(fetcher, server.url) == BODY else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert fetched(fetcher, server.url) == BODY
    assert server.connections == 2


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
            before = destination.size
            time.sleep(0.2)
            assert before == destination.size == 0, (before, destination.size)
            print("abandoned", flush=True)
        fetcher.close()
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
