"""The thread with the connections, and what is done over them there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, BinaryIO, Final

from psengine_host.network.delivery import Delivery, DeliveryLimits, DeliveryStatus, deliver_over
from psengine_host.network.errors import FetchError, NetworkError
from psengine_host.network.fetching import Fetched, FetchLimits, fetch_over
from psengine_host.network.guard import NetworkGuard
from psengine_host.network.loop_thread import LoopThread

if TYPE_CHECKING:
    from psengine_host.network.client import HttpClient
    from psengine_host.network.connections import Lookup
    from psengine_host.settings import NetworkSettings

__all__ = ["FETCHES", "Closed", "Exchanges"]

_CONNECTIONS: Final = 128
FETCHES: Final = 96
"""Fetches at once; the others wait within their deadlines. Fewer than connections, so that answers always get one."""


class Closed(Exception):
    """The fetcher was closed before the exchange was done."""


class Exchanges(LoopThread):
    """The thread with the connections, which it starts. It does not hold the fetcher, which can so be let go of.

    Args:
        network: Limits, and what may be connected to.
        lookup: Resolves names.
    """

    def __init__(self, network: NetworkSettings, lookup: Lookup) -> None:
        self._network = network
        self._lookup = lookup
        self._fetch_limits = FetchLimits(
            max_size=network.max_artifact_size,
            connect_timeout=network.connect_timeout,
            read_timeout=network.read_timeout,
            max_redirects=network.max_redirects,
            tries=network.tries,
            ca_file=network.ca_file,
        )
        self._delivery_limits = DeliveryLimits(
            connect_timeout=network.connect_timeout, read_timeout=network.read_timeout, ca_file=network.ca_file
        )
        self._client: HttpClient | None = None
        self._slots = asyncio.Semaphore(FETCHES)
        super().__init__()

    async def fetch(self, uri: str, destination: BinaryIO, deadline: float, sha256: str | None) -> Fetched:
        """As ``fetch_over`` does it.

        Raises:
            FetchError: Whatever the reason.
        """
        try:
            client = await self._connected()
        except NetworkError as error:
            raise FetchError(uri, str(error)) from error
        if self._slots.locked():
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise FetchError(uri, "not done by the deadline: too many other fetches were under way") from error
        else:
            await self._slots.acquire()
        try:
            return await fetch_over(
                client, uri, destination, limits=self._fetch_limits, deadline=deadline, sha256=sha256
            )
        finally:
            self._slots.release()

    async def deliver(self, url: str, body: bytes, idempotency_key: str, deadline: float) -> Delivery:
        """As ``deliver_over`` does it."""
        began = time.monotonic()
        try:
            client = await self._connected()
        except NetworkError as error:  # an operator's mistake, who may mend it before the next attempt
            return Delivery(status=DeliveryStatus.RETRY, reason=str(error), seconds=time.monotonic() - began)
        return await deliver_over(
            client, url, body, idempotency_key=idempotency_key, deadline=deadline, limits=self._delivery_limits
        )

    async def wind_up(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.__aexit__(None, None, None)

    async def _connected(self) -> HttpClient:
        """The client; made by the first exchange, and by the next one when that failed.

        Raises:
            NetworkError: The settings cannot be used.
        """
        if self._client is None:
            from psengine_host.network.client import HttpClient  # 130 ms of aiohttp, for those who connect
            from psengine_host.network.proxies import Proxies

            client = HttpClient(
                NetworkGuard(self._network.allow),
                ca_file=self._network.ca_file,
                connections=_CONNECTIONS,
                lookup=self._lookup,
                proxies=Proxies.from_environment() if self._network.proxy_from_environment else None,
            )
            self._client = await client.__aenter__()
        return self._client
