"""Loopback servers that can misbehave as servers on the internet do, and a count of the connections really made."""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from psengine_host.network.guard import NetworkGuard

CERTIFICATES = Path(__file__).parent / "certificates"


class Conversation:
    """One request to a server, and the means to answer it."""

    def __init__(self, server: "LoopbackServer", connection: socket.socket, number: int, request: bytes) -> None:
        self.server = server
        self.number = number
        self.request = request
        self.connection = connection

    @property
    def path(self) -> str:
        return self.request.split(b" ", 2)[1].decode()

    def send(self, data: bytes) -> bool:
        """Send, and say whether the other end is still there."""
        try:
            self.connection.sendall(data)
        except OSError:
            return False
        return True

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def drip(self, data: bytes, pause: float = 0.02) -> None:
        """A byte at a time, over and over, until the other end or the test has enough."""
        while not self.server.stopping.is_set():
            for number in range(len(data)):
                if not self.send(data[number : number + 1]) or self.server.stopping.wait(pause):
                    return

    def hold(self) -> None:
        """Say nothing until the test is over."""
        self.server.stopping.wait(30)


Script = Callable[[Conversation], object]


class LoopbackServer:
    """A real listener on loopback; every request is answered by ``script``, connections stay open between requests."""

    def __init__(self, script: Script, host: str = "127.0.0.1", tls: bool = False) -> None:
        self.script = script
        self.stopping = threading.Event()
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATES / "loopback.pem")
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                while (request := self._read(connection)) is not None:
                    self.requests.append(request)
                    if self.script(Conversation(self, connection, len(self.requests), request)) is False:
                        return

    @staticmethod
    def _read(connection: socket.socket) -> bytes | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def stop(self) -> None:
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., LoopbackServer]]:
    """Start servers that end with the test."""
    servers: list[LoopbackServer] = []

    def start(script: Script, **options: object) -> LoopbackServer:
        servers.append(LoopbackServer(script, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class LoopbackProxy(LoopbackServer):
    """A real HTTP proxy on loopback: ``CONNECT`` and absolute URIs.

    Names lead to 127.0.0.1, whatever they are, as a proxy's own resolver has its own answers.
    """

    def __init__(self, tls: bool = False) -> None:
        self.refusal: bytes | None = None
        """What ``CONNECT`` is answered with instead of a tunnel."""
        super().__init__(self._pass_on, tls=tls)

    def _pass_on(self, c: Conversation) -> bool:
        line, *headers = c.request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        method, target, _ = line.split(" ")
        if method == "CONNECT":
            if self.refusal is not None:
                c.send(self.refusal)
                return False
            port = int(target.rpartition(":")[2])
            opening = b""
        else:
            url = urlsplit(target)
            port = url.port or 80
            path = urlunsplit(("", "", url.path or "/", url.query, ""))
            kept = [header for header in headers if not header.lower().startswith("proxy-")]
            body = c.request.partition(b"\r\n\r\n")[2]
            opening = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode() + body
        with socket.create_connection(("127.0.0.1", port)) as onward:
            if opening:
                onward.sendall(opening)
                onward.shutdown(socket.SHUT_WR)  # the server closes after its answer, which so has an end
            else:
                c.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._open.append(onward)
            back = threading.Thread(target=self._relay, args=(onward, c.connection))
            back.start()
            if not opening:
                self._relay(c.connection, onward)
            back.join()
        return False

    @staticmethod
    def _relay(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch, request) -> Iterator[LoopbackProxy]:
    """A proxy, which the environment names for http and https; with the parameter ``"tls"``, asked over TLS."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    proxy = LoopbackProxy(tls=getattr(request, "param", "") == "tls")
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    yield proxy
    proxy.stop()


@pytest.fixture
def guard() -> NetworkGuard:
    """A guard that lets the tests reach their own servers, and nothing else that is private."""
    return NetworkGuard(["127.0.0.1"])


@pytest.fixture
def soon() -> float:
    """A deadline that no healthy exchange on loopback needs."""
    return time.monotonic() + 20


_connects: list[tuple[object, ...]] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _connects is not None:
        _connects.append(arguments[1])


_audited = False


@pytest.fixture
def connects() -> Iterator[list[tuple[object, ...]]]:
    """The address of every connect() that this process makes while the test runs, as the interpreter audits it."""
    global _connects, _audited
    if not _audited:
        sys.addaudithook(_audit)
        _audited = True
    _connects = []
    yield _connects
    _connects = None
