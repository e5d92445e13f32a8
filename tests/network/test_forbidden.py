"""A URL from outside leads to public addresses only: directly, by redirect, by a name that moves."""

import asyncio
import io
import re
import socket
import struct
import threading
import time
from typing import BinaryIO
from urllib.parse import quote, unquote

import pytest

from psengine_host.network import FetchError
from psengine_host.network.client import HttpClient
from psengine_host.network.delivery import Delivery, DeliveryStatus, deliver
from psengine_host.network.fetcher import Fetcher
from psengine_host.network.fetching import FetchLimits, fetch
from psengine_host.network.guard import NetworkGuard
from psengine_host.settings import NetworkSettings

ONCE = FetchLimits(tries=1, connect_timeout=2, read_timeout=2)


def fetch_now(url: str, destination: BinaryIO, guard: NetworkGuard) -> None:
    async def once() -> None:
        async with HttpClient(guard) as client:
            await fetch(client, url, destination, limits=ONCE, deadline=time.monotonic() + 10)

    asyncio.run(once())


def deliver_now(url: str, guard: NetworkGuard) -> Delivery:
    async def once() -> Delivery:
        async with HttpClient(guard) as client:
            return await deliver(client, url, b"{}", idempotency_key="key", deadline=time.monotonic() + 10)

    return asyncio.run(once())


LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0X7F.1",
    "0177.0.0.1",
    "017700000001",
    "127.000.000.001",
    "0",
    "0.0.0.0",
    "00000",
    "127.127.127.127",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ｌｏｃａｌｈｏｓｔ",
    "%31%32%37.0.0.1",
    "user:password@127.0.0.1",
    "example.com@127.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0000:0000:0000:0000:0000:FFFF:7F00:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[::1%25lo]",
    "127.0.0.1..",
    "0x7F.0.0.1",
    "0177.0x0.0.01",
    "127.0x1",
    "0x7f.000001",
    "0x0000007f000001",
    "127.65535",
    "127.16777215",
    "127.0.0.1%00",
    "127.0.0.1%2F",
    "%6c%6f%63%61%6c%68%6f%73%74",
    "１２７．０．０．１",
    "127｡0｡0｡1",
    "١٢٧.٠.٠.١",
    "¹²⁷.⁰.⁰.¹",
    "𝟙𝟚𝟟.𝟘.𝟘.𝟙",
    "loc\u00adalhost",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "localhost。",
    "user:127.0.0.1@localhost",
    "user%40example.com@127.1",
    "@127.0.0.1",
    ":@[::1]",
    "[::0001]",
    "[0::1]",
    "[::1%1]",
    "[::1%lo]",
    "[::1%25]",
    "[::ffff:127.1.2.3]",
    "[::FFFF:7F00:1%251]",
    "[::ffff:0:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "[64:ff9b:1:ffff::127.0.0.1]",
    "[2002:7f00:1:1234::5678]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fe80::5efe:127.0.0.1]",
    "[2606:4700::5efe:7f00:1]",
    "[2606:4700::200:5efe:127.0.0.1]",
    "[0:0:0:0:0:ffff:0177.0.0.1]",
    "[::ffff:0x7f000001]",
]

OTHER_SPELLINGS = [
    "10.0.0.1",
    "0xa.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "172.16.0.1",
    "192.168.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "240.0.0.1",
    "[fe80::1]",
    "[fe80::1%251]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    "10.1",
    "167772161",
    "012.0.0.1",
    "192.168.257",
    "0251.0376.0251.0376",
    "169.254.43518",
    "１６９.２５４.１６９.２５４",
    "192.0.0.8",
    "192.88.99.1",
    "198.51.100.1",
    "203.0.113.1",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:168.63.129.16]",
    "[64:ff9b::10.0.0.1]",
    "[2002:a00:1::1]",
    "[2606:4700::5efe:a9fe:a9fe]",
    "[fd20:ce::254]",
    "[fe80::a9fe:a9fe%25eth0]",
    "[ff05::1:3]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[4000::1]",
    "[64:ff9b:1::10.0.0.1]",
]

TRICKS = [
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "http:/\\127.0.0.1:{port}/",
    "http://127.0.0.1\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.invalid/",
    "http://127.0.0.1:{port}?@example.invalid/",
    "http://127.0.0.1:{port};@example.invalid/",
    "http://127.0.0.1:{port}\\@example.invalid/",
    "http://127.0.0.1:80:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:+{port}/",
    "http:// 127.0.0.1:{port}/",
    "http://\t127.0.0.1:{port}/",
    "ht\ntp://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1]{port}/",
    "http://[[::1]]:{port}/",
    "http://[v1.127.0.0.1]:{port}/",
    "ws://127.0.0.1:{port}/",
]
"""URLs that some parser takes for one with another host, and others for one of loopback."""

SPELLINGS = LOOPBACK_SPELLINGS + OTHER_SPELLINGS


@pytest.fixture
def victim(serve):
    """What must not be reached: it listens where the spellings lead, and would be counted."""
    return serve(lambda c: c.answer(200, b"secret"))


def test_the_victim_would_be_reached_if_it_were_allowed(victim, connects):
    guard = NetworkGuard(["127.0.0.1", "localhost"])
    for host in ("127.0.0.1", "localhost"):
        fetched = io.BytesIO()
        url = f"http://{host}:{victim.port}/"
        fetch_now(url, fetched, guard)
        assert fetched.getvalue() == b"secret"
    assert victim.connections == 2
    assert len(connects) >= 2


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_is_fetched_from(host, victim, connects):
    with pytest.raises(FetchError) as caught:
        fetch_now(f"http://{host}:{victim.port}/", io.BytesIO(), NetworkGuard())
    assert victim.connections == 0
    assert [address for address in connects if address[-1] == victim.port or victim.port in address] == []
    assert any(
        words in caught.value.reason
        for words in (" is forbidden: ", "not a URL", "cannot be resolved", "host cannot exist")
    )


def test_no_spelling_is_redirected_to(serve, victim, connects):
    target = ""
    front = serve(lambda c: c.answer(302, Location=target))
    guard = NetworkGuard([f"127.0.0.1:{front.port}"])
    for host in SPELLINGS:
        if not host.isascii():
            continue  # a header is ASCII
        target = f"http://{host}:{victim.port}/"
        with pytest.raises(FetchError):
            fetch_now(front.url, io.BytesIO(), guard)
    assert victim.connections == 0
    assert len(front.requests) == sum(host.isascii() for host in SPELLINGS)
    assert {address[1] for address in connects if isinstance(address, tuple)} <= {front.port, 53}


def forbidden_urls(port: int) -> list[str]:
    """All spellings and tricks, as URLs."""
    urls = [f"http://{host}:{port}/" for host in SPELLINGS] + [trick.format(port=port) for trick in TRICKS]
    return [url for url in urls if not re.search(r"[\t\n]", url)]  # a header ends there


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_is_fetched_from_or_delivered_to(trick, victim, connects):
    with Fetcher(NetworkSettings(tries=1)) as fetcher:
        url, soon = trick.format(port=victim.port), time.monotonic() + 10
        with pytest.raises(FetchError):
            fetcher.fetch(url, io.BytesIO(), deadline=soon)
        delivery = fetcher.deliver(url, b"{}", idempotency_key="key", deadline=soon)
        assert delivery.http_status is None
    assert victim.connections == 0
    assert [address for address in connects if victim.port in address] == []


def test_no_spelling_leads_there_through_the_hosts_fetcher(serve, victim, connects):
    """All at once over one client: the host of one request never speaks for another's connection."""
    front = serve(lambda c: c.answer(302, Location=unquote(c.path[1:])))
    urls = forbidden_urls(victim.port)
    # One that is allowed and redirects to a forbidden one, beside each that is forbidden itself.
    every = [url for target in urls for url in (target, f"{front.url}/{quote(target, safe='')}")]
    deadline = time.monotonic() + 60
    with Fetcher(NetworkSettings(allow=(f"127.0.0.1:{front.port}",), tries=1)) as fetcher:
        futures = {url: fetcher.submit_fetch(url, io.BytesIO(), deadline=deadline) for url in every}
        for url, future in futures.items():
            assert isinstance(future.exception(60), FetchError), url
        for url in urls:
            delivery = fetcher.deliver(url, b"{}", idempotency_key="key", deadline=time.monotonic() + 10)
            assert delivery.http_status is None, url
    assert victim.connections == 0
    assert len(front.requests) == len(urls)
    assert [address for address in connects if victim.port in address] == []


def test_a_proxy_never_hears_of_any_spelling(victim, proxy):
    with Fetcher(NetworkSettings(proxy_from_environment=True, tries=1)) as fetcher:
        for url in forbidden_urls(victim.port):
            if "١" in url:
                continue  # a name to all who do not read it as we do: xn--9hbcp.xn--8hb.xn--8hb.xn--9hb
            with pytest.raises(FetchError):
                fetcher.fetch(url, io.BytesIO(), deadline=time.monotonic() + 10)
            delivery = fetcher.deliver(url, b"{}", idempotency_key="key", deadline=time.monotonic() + 10)
            assert delivery.http_status is None, url
    hosts = {request.decode().partition("Host: ")[2].partition("\r\n")[0] for request in proxy.requests}
    assert hosts == {"example.invalid"}  # in one trick the address is the user's name, to everybody
    assert victim.connections == 0


@pytest.mark.parametrize("location", ["//127.1:{port}/", "//[::1]:{port}/x", "http:\\\\127.0.0.1:{port}/"])
def test_no_relative_redirect_leads_there(serve, victim, location):
    front = serve(lambda c: c.answer(302, Location=location.format(port=victim.port)))
    guard = NetworkGuard([f"127.0.0.1:{front.port}"])
    with pytest.raises(FetchError):
        fetch_now(front.url, io.BytesIO(), guard)
    assert victim.connections == 0


def test_no_spelling_is_delivered_to(victim, connects):
    for host in SPELLINGS:
        delivery = deliver_now(f"http://{host}:{victim.port}/", NetworkGuard())
        assert delivery.status is not DeliveryStatus.DELIVERED
        assert delivery.http_status is None
    assert victim.connections == 0
    assert [address for address in connects if victim.port in address] == []


def test_a_forbidden_port_of_an_allowed_host_is_refused(serve, victim):
    front = serve(lambda c: c.answer(200, b"store"))
    guard = NetworkGuard([f"localhost:{front.port}"])
    fetch_now(f"http://localhost:{front.port}/", io.BytesIO(), guard)
    with pytest.raises(FetchError, match=r"connecting to \S+ \(localhost\) is forbidden: a loopback address"):
        fetch_now(f"http://localhost:{victim.port}/", io.BytesIO(), guard)
    assert victim.connections == 0


# --- names that move -------------------------------------------------------------------------------------------------


class NameServer:
    """A name server on loopback that gives each query for A records the next answer, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if not query:
                return
            addresses = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
            head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0)
            question = query[12:]
            records = b""
            for address in addresses:
                family, kind = (socket.AF_INET6, 28) if ":" in address else (socket.AF_INET, 1)
                data = socket.inet_pton(family, address)
                records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
            self._socket.sendto(head + question + records, client)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._thread.join(5)
        self._socket.close()

    def lookup(self, host: str, port: int, **_: object) -> list[tuple]:
        """Resolve by asking this server over UDP, as ``getaddrinfo`` asks the system's."""
        name = b"".join(bytes([len(label)]) + label.encode() for label in host.rstrip(".").split(".")) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5)
            asking.sendto(b"\x12\x34" + struct.pack(">HHHHH", 0x100, 1, 0, 0, 0) + name + b"\0\1\0\1", self.address)
            reply = asking.recv(2048)
        rows = []
        at = 12 + len(name) + 4
        for _number in range(struct.unpack(">H", reply[6:8])[0]):
            kind, _class, _ttl, length = struct.unpack(">HHIH", reply[at + 2 : at + 12])
            family = socket.AF_INET6 if kind == 28 else socket.AF_INET
            text = socket.inet_ntop(family, reply[at + 12 : at + 12 + length])
            endpoint = (text, port, 0, 0) if kind == 28 else (text, port)
            rows.append((family, socket.SOCK_STREAM, 6, "", endpoint))
            at += 12 + length
        return rows


@pytest.fixture
def names():
    server = NameServer()
    yield server
    server.stop()


MOVED = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2606:4700::5efe:7f00:1",
    "2001:db8::1",
    "3fff::1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
]


@pytest.mark.parametrize("address", MOVED)
def test_a_name_that_changes_its_answer_leads_nowhere(serve, victim, names, connects, address):
    """The first answer passes, the one at the second connection does not: as in DNS rebinding."""
    front = serve(lambda c: c.answer(503) and False, host="127.0.0.2")
    names.answers = [["127.0.0.2"], [address]]
    guard = NetworkGuard(["127.0.0.2"])

    async def attempt() -> None:
        async with HttpClient(guard, lookup=names.lookup) as client:
            with pytest.raises(FetchError, match="answered 503"):
                await fetch(
                    client,
                    f"http://moving.example:{front.port}/",
                    io.BytesIO(),
                    limits=ONCE,
                    deadline=time.monotonic() + 10,
                )
            await fetch(
                client,
                f"http://moving.example:{victim.port}/",
                io.BytesIO(),
                limits=ONCE,
                deadline=time.monotonic() + 10,
            )

    with pytest.raises(FetchError, match=r"\(moving\.example\) is forbidden: "):
        asyncio.run(attempt())
    assert names.asked == 2
    assert victim.connections == 0
    assert {endpoint[1] for endpoint in connects if isinstance(endpoint, tuple)} == {front.port}


@pytest.mark.parametrize("address", MOVED)
def test_a_name_that_moves_leads_nowhere_through_the_hosts_fetcher(serve, victim, names, connects, address):
    """Artifacts and answers, over connections that are kept, with a redirect to the name that has moved."""

    def script(c):
        if c.path == "/redirect":
            c.answer(302, Location=f"http://moving.example:{victim.port}/")
        else:
            c.answer(200, b"fine")

    front = serve(script, host="127.0.0.2")
    names.answers = [["127.0.0.2"], [address]]
    soon = time.monotonic() + 20
    with Fetcher(NetworkSettings(allow=("127.0.0.2",), tries=1), lookup=names.lookup) as fetcher:
        fetcher.fetch(f"http://moving.example:{front.port}/", io.BytesIO(), deadline=soon)
        for url in (f"http://moving.example:{victim.port}/", f"http://moving.example:{front.port}/redirect"):
            with pytest.raises(FetchError, match=r"\(moving\.example\) is forbidden: "):
                fetcher.fetch(url, io.BytesIO(), deadline=soon)
        delivery = fetcher.deliver(f"http://moving.example:{victim.port}/", b"{}", idempotency_key="key", deadline=soon)
        assert delivery.status is DeliveryStatus.REFUSED
        assert "(moving.example) is forbidden: " in delivery.reason
    assert victim.connections == 0
    assert {endpoint[1] for endpoint in connects if isinstance(endpoint, tuple)} == {front.port}


def test_of_several_addresses_only_the_permitted_are_tried(serve, victim, names):
    """Happy eyeballs: each attempt is judged by itself, and a forbidden one does not spoil the others."""
    front = serve(lambda c: c.answer(200, b"fine"), host="127.0.0.2")
    names.answers = [["127.0.0.1", "::1", "127.0.0.2", "10.0.0.1"]]
    destination = io.BytesIO()

    async def attempt() -> None:
        async with HttpClient(NetworkGuard(["127.0.0.2"]), lookup=names.lookup) as client:
            url = f"http://several.example:{front.port}/"
            await fetch(client, url, destination, limits=ONCE, deadline=time.monotonic() + 10)
            with pytest.raises(
                FetchError, match=r"no permitted address answers \((127\.0\.0\.1|::1|10\.0\.0\.1) is forbidden\)"
            ):
                await fetch(
                    client,
                    f"http://several.example:{victim.port}/",
                    io.BytesIO(),
                    limits=ONCE,
                    deadline=time.monotonic() + 10,
                )

    asyncio.run(attempt())
    assert destination.getvalue() == b"fine"
    assert victim.connections == 0


def test_an_allowed_host_opens_its_address_to_itself_alone(serve, names):
    """One client, both names at one address: only the URL with the allowed host gets there, in whatever order."""
    store = serve(lambda c: c.answer(200, b"store"))
    names.answers = [["127.0.0.1"]]
    guard = NetworkGuard(["store.internal"])

    async def fetched(client: HttpClient, host: str) -> bool:
        try:
            await fetch(
                client,
                f"http://{host}:{store.port}/",
                io.BytesIO(),
                limits=ONCE,
                deadline=time.monotonic() + 10,
            )
        except FetchError as error:
            assert "is forbidden: a loopback address" in error.reason  # noqa: PT017
            return False
        return True

    async def all_at_once() -> list[bool]:
        async with HttpClient(guard, lookup=names.lookup) as client:
            hosts = ["evil.example", "store.internal", "STORE.internal.", "127.0.0.1", "store.internal.evil.example"]
            return await asyncio.gather(*[fetched(client, host) for host in hosts * 5])

    assert asyncio.run(all_at_once()) == [False, True, True, False, False] * 5
    assert {request.split(b"Host: ")[1].split(b":")[0].lower() for request in store.requests} == {b"store.internal"}
