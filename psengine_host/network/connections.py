"""How connections are made, kept and ended, and how names are resolved for them; beneath ``client``."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection

__all__ = ["Connector", "DaemonThreadResolver", "Lookup"]

Lookup = Callable[..., list[tuple[Any, ...]]]
"""A function with the parameters and the result of ``socket.getaddrinfo``."""

_NAME_LOOKUPS: Final = 128
"""Name resolutions at once; each occupies a thread until the system's resolver gives up. More than there are exchanges
of a pool, so that there is room also while the look-ups of exchanges that were given up still go on."""


class _Protocol(ResponseHandler):
    """Ends connections at once: nothing that is still to be sent is worth waiting for when one is given up.

    Otherwise a TLS connection would wait 30 s for the other end to agree, and one whose buffer is full for ever.
    """

    def close(self) -> None:
        self.abort()


def _protocol(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Protocol(loop)


class Connector(aiohttp.TCPConnector):
    """Uses a connection again only if nothing has come over it meanwhile, and keeps no more than it is told to.

    What came unasked would be taken for the answer to the next request: another artifact, or the receipt of an answer
    that nobody received. The end of the connection shows itself the same way.

    Args:
        most_kept: Idle connections, to all hosts together. Each new host would else leave one more behind, until the
            process has no descriptors left.
        options: Those of ``aiohttp.TCPConnector``.
    """

    def __init__(self, *, most_kept: int, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**options)
        self._factory = partial(_protocol, self._loop)
        self._most_kept = most_kept

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        kept = sum(map(len, self._conns.values()))
        super()._release(key, protocol, should_close=should_close or kept >= self._most_kept)

    async def _get(self, key: ConnectionKey, traces: list[Any]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if not _has_news(connection):
                return connection
            connection.close()
        return None


def _has_news(connection: Connection) -> bool:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or protocol.should_close:
        return True
    connected = transport.get_extra_info("socket")
    poll = select.poll()
    poll.register(connected.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class DaemonThreadResolver(AbstractResolver):
    """Resolves names in daemon threads of its own, for a ``Connector``.

    The event loop's executor is no place for this: six names whose servers never answer would fill it for everybody,
    and ``asyncio.run`` waits for its threads however long past the deadline they take.

    Args:
        lookup: Does the work, in a thread each.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._slots = asyncio.Semaphore(_NAME_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: It has none, or is no name that could have one.
        """
        loop = asyncio.get_running_loop()
        await self._slots.acquire()
        done: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def finish(rows: list[tuple[Any, ...]] | None, error: Exception | None) -> None:
            self._slots.release()
            if done.done():  # nobody waits any more
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(rows or [])

        def look_up() -> None:
            rows, fault = None, None
            try:
                rows = self._lookup(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except OSError as error:
                fault = error
            except ValueError as error:  # the idna codec, a NUL: no name that could be looked up
                fault = OSError(f"not a host name ({error})")
            with contextlib.suppress(RuntimeError):  # the loop may have ended before the lookup did
                loop.call_soon_threadsafe(finish, rows, fault)

        threading.Thread(target=look_up, name="psengine-lookup", daemon=True).start()
        return [_resolved(host, port, row) for row in await done if row[0] in (socket.AF_INET, socket.AF_INET6)]

    async def close(self) -> None:
        """Nothing to do: a thread ends with its look-up."""


def _resolved(host: str, port: int, row: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, endpoint = row
    address = endpoint[0]
    if family == socket.AF_INET6 and endpoint[3] and "%" not in address:
        address = f"{address}%{endpoint[3]}"  # the connector passes on the text alone
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=protocol,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
