"""The one place that opens connections: a guarded, pooled HTTP client for one event loop.

It knows neither artifacts nor answers to bounties. Every failure of the network comes out as one of four errors
(``ForbiddenAddress``, ``Unreachable``, ``BadAnswer``, ``UndecodableBody``). Importing it costs aiohttp's 130 ms, so
it is imported by whoever is about to connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from io import BytesIO
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from psengine_host.network.connections import Connector, DaemonThreadResolver, Lookup
from psengine_host.network.errors import BadAnswer, NetworkError, Unreachable, clean
from psengine_host.network.guard import Attempt, Attempting, NetworkGuard
from psengine_host.network.proxies import Proxies
from psengine_host.network.transient import is_transient

__all__ = ["Answer", "HttpClient"]

_BUFFER: Final = 1 << 18
_CARET: Final = re.compile(r" \^( b'')?$")
_PROXY_AUTHENTICATION: Final = 407
"""Where a proxy passes on the answers of others, this one is its own."""
_STALE_CONNECTIONS: Final = 3
"""Connections from the pool that may turn out to be closed, one after the other, before a request gives up."""


class Answer:
    """The head of a response, and its body as a stream."""

    def __init__(self, response: aiohttp.ClientResponse, attempt: Attempt, read_timeout: float) -> None:
        self._response = response
        self._attempt = attempt
        self._read_timeout = read_timeout
        self._protocol = None
        if response.connection is not None:  # the body is not here yet
            self._protocol = response.connection.protocol
            _acknowledge_now(response.connection.transport)
        self.status = response.status
        """The HTTP status."""

    @property
    def phrase(self) -> str:
        """Status and reason phrase, fit for a message."""
        return clean(f"{self.status} {self._response.reason or ''}".strip())

    def header(self, name: str) -> str | None:
        """A header's value; of several, joined by commas; None without one."""
        values = self._response.headers.getall(name, None)
        return None if values is None else ", ".join(values)

    @property
    def length(self) -> int | None:
        """The size of the body in bytes as ``Content-Length`` says, or None without that header.

        Raises:
            BadAnswer: It is doubled, no decimal number, or beside a ``Transfer-Encoding``; or that is another than
                ``chunked``, which the parser undoes.
        """
        encoding = self.header("Transfer-Encoding")
        if encoding is not None and encoding.strip().lower() != "chunked":
            raise BadAnswer(f"Transfer-Encoding '{clean(encoding)}' is not taken; only chunked is")
        values = self._response.headers.getall("Content-Length", [])
        if not values:
            return None
        text = values[0].strip()
        if len(values) > 1 or not (text.isascii() and text.isdecimal()) or len(text) > 18:
            raise BadAnswer(f"Content-Length '{clean(', '.join(values))}' is not one decimal number")
        if encoding is not None:
            raise BadAnswer("both Content-Length and Transfer-Encoding")
        return int(text)

    async def read(self) -> bytes:
        """The bytes of the body that came since the last call, not decoded; empty at its end.

        Raises:
            Unreachable: The body ended before its announced end, or nothing came in time.
            BadAnswer: More came with the body's end than was announced.
        """
        try:
            data = await self._response.content.readany()
        except _FAULTS as error:
            raise _as_ours(error, self._response.url, self._attempt, self._read_timeout) from error
        if not data and self._protocol is not None:
            surplus = self._protocol.exception()
            if isinstance(surplus, HttpProcessingError):  # what followed the body was parsed as another response
                raise BadAnswer("more bytes came than were announced") from surplus
        return data


class HttpClient:
    """A guarded HTTP client with a pool of connections.

    Use it in one event loop, as ``async with HttpClient(guard) as client``. Unless told so, proxies are not used;
    ``.netrc`` and cookies never are. TLS certificates are verified.

    Args:
        guard: Asked about every address before it is connected to.
        ca_file: A file of certificates (PEM) to trust beside the system's, for a private CA.
        connections: Exchanges at once, with all hosts together; further ones wait, in their order.
        proxies: Those to ask instead of connecting; by default none. They resolve the names in URLs themselves, so
            that of those URLs the guard sees what is an address already, and no more.
        lookup: Resolves names; a replacement for ``socket.getaddrinfo``.

    Raises:
        BadAnswer: ``ca_file`` cannot be read or holds no certificate.
    """

    def __init__(
        self,
        guard: NetworkGuard,
        *,
        ca_file: str | None = None,
        connections: int = 100,
        proxies: Proxies | None = None,
        lookup: Lookup = socket.getaddrinfo,
    ) -> None:
        self.guard = guard
        self._tls = _tls_context(ca_file)
        self._room = asyncio.Semaphore(connections)
        self._most_kept = connections
        self._proxies = proxies
        self._lookup = lookup
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=Connector(
                socket_factory=self.guard.socket_factory,
                resolver=DaemonThreadResolver(self._lookup),
                # Each new connection asks anew: a name that moved is found, and connections are pooled anyway.
                use_dns_cache=False,
                ssl=self._tls,
                limit=0,  # exchanges are counted here: aiohttp may wake a waiter that is gone, and then nobody
                most_kept=self._most_kept,
                timeout_ceil_threshold=math.inf,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_BUFFER,
            headers={"User-Agent": "psengine-host", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        connect_timeout: float,
        read_timeout: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[Answer]:
        """Send one request and follow no redirect. How long all of it may take is the caller's to limit.

        Args:
            method: The HTTP method.
            url: An ``http`` or ``https`` URL.
            connect_timeout: Seconds for one connection attempt.
            read_timeout: Seconds without a single byte.
            headers: Further headers.
            body: The request's body.

        Yields:
            The answer; its body can be read inside the block and is abandoned when the block ends.

        Raises:
            ForbiddenAddress: All addresses of the host are refused by the guard.
            Unreachable: No connection, no answer, or none in time.
            BadAnswer: Not a URL that can be asked, an untrusted certificate, or not HTTP.
        """
        if self._session is None:
            raise RuntimeError("HttpClient is used outside of its 'async with' block")
        proxy = None if self._proxies is None else self._proxies.proxy_for(url)

        send = partial(
            self._session.request,
            method,
            url,
            headers=headers,
            proxy=proxy,
            allow_redirects=False,
            # aiohttp rounds longer timeouts up to whole seconds, unless it is told where to begin with that.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=connect_timeout, sock_read=read_timeout, ceil_threshold=math.inf
            ),
        )
        async with self._room:
            with self._attempting(url, proxy) as attempt:
                try:
                    response = await _sent(attempt, lambda: send(data=_sendable(body)))
                except _FAULTS as error:
                    raise _as_ours(error, url, attempt, read_timeout) from error
            try:
                if proxy is not None and url.scheme == "http" and response.status == _PROXY_AUTHENTICATION:
                    raise BadAnswer(f"the proxy wants user and password before it asks {url.host}:{url.port}")
                yield Answer(response, attempt, read_timeout)
            finally:
                # Back to the pool if the body was read to its end; otherwise this closes the connection.
                response.release()

    def _attempting(self, url: URL, proxy: URL | None) -> Attempting:
        if proxy is None:
            return self.guard.attempting(url.raw_host or "")
        # The proxy resolves the name, out of the guard's sight: what can be judged is judged before it hears of it.
        self.guard.check_unresolved(url.raw_host or "", url.port)
        return self.guard.attempting(proxy.raw_host or "", proxy_port=proxy.port)


def _sendable(body: bytes | None) -> bytes | BytesIO | None:
    """A body in the form in which it is sent piece by piece if it is large."""
    return body if body is None or len(body) <= _BUFFER else BytesIO(body)


async def _sent(attempt: Attempt, send: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> aiohttp.ClientResponse:
    """Send a request, and again where it went over an old connection that the other end had just closed."""
    stale = 0
    while True:
        try:
            return await send()
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            stale += 1
            if attempt.opened or stale > _STALE_CONNECTIONS:
                raise


def _acknowledge_now(transport: asyncio.Transport | None) -> None:
    """Acknowledge the head at once.

    A server that writes head and body apart waits with the body for that (Nagle), and on a connection in use the
    kernel waits 40 ms with it, hoping for something to send along: 23 small artifacts a second instead of 2,800.
    """
    connected = None if transport is None else transport.get_extra_info("socket")
    if connected is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):  # the other end may have gone; reading will tell
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _tls_context(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True  # aiohttp's own verifying context, made once
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        reason = f"{error.strerror or error}; see the setting network.ca_file"
        raise BadAnswer(f"the CA file {ca_file!r} cannot be used: {reason}") from error
    return context


_FAULTS: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What aiohttp raises."""


def _as_ours(error: Exception, url: URL, attempt: Attempt, read_timeout: float) -> NetworkError:
    """What aiohttp raises, as one of this package's errors."""
    where = f"{url.host}:{url.port}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return BadAnswer(
                f"the TLS certificate of {error.host}:{error.port} is not trusted: {_detail(error.certificate_error)}; "
                "for a private authority set network.ca_file"
            )
        case aiohttp.ClientHttpProxyError():
            answered = f"the proxy refuses to connect to {where}: {error.status} {_detail(error.message)}"
            return Unreachable(answered) if is_transient(error.status) else BadAnswer(answered)
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"the name {error.host} cannot be resolved: {_detail(error.os_error)}")
        case aiohttp.ClientConnectorError() if attempt.refused and not attempt.opened:
            return attempt.refused[0]
        case aiohttp.ClientConnectorSSLError():
            return Unreachable(f"the TLS handshake with {error.host}:{error.port} failed: {_detail(error.os_error)}")
        case aiohttp.ClientConnectorError() if attempt.refused:
            forbidden = attempt.refused[0].address
            return Unreachable(f"cannot connect to {where}: no permitted address answers ({forbidden} is forbidden)")
        case aiohttp.ClientProxyConnectionError():
            return Unreachable(
                f"cannot connect to the proxy {error.host}:{error.port}: {_connect_detail(error.os_error)}"
            )
        case aiohttp.ClientConnectorError():
            return Unreachable(f"cannot connect to {where}: {_connect_detail(error.os_error)}")
        case aiohttp.ConnectionTimeoutError():
            return Unreachable(f"no connection to {where} in time")
        case aiohttp.SocketTimeoutError():
            return Unreachable(f"{where} sent nothing for {read_timeout:g} s")
        case aiohttp.ClientResponseError():
            return BadAnswer(f"{where} does not answer in HTTP: {_detail(error.message)}")
        case aiohttp.InvalidURL():
            return BadAnswer(f"not a URL that can be asked: {_detail(error)}")
        case aiohttp.ClientPayloadError():
            cause = getattr(error.__cause__, "message", error)
            return Unreachable(f"{where} did not send the whole body: {_detail(cause)}")
        case aiohttp.ServerDisconnectedError():
            return Unreachable(f"{where} closed the connection without an answer")
        case TimeoutError():
            return Unreachable(f"{where} was not done by the deadline")
        case aiohttp.ClientError() | OSError():
            return Unreachable(f"the connection to {where} failed: {_detail(error)}")
        case _:
            return BadAnswer(f"cannot ask {where}: {_detail(error)}")


def _connect_detail(error: OSError) -> str:
    """The system's words; asyncio's would repeat the address."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return _detail(error)


def _detail(error: object) -> str:
    """What an error says, in one line and without the caret that the parser draws below its quotation."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return clean(_CARET.sub("", " ".join(text.split())))
