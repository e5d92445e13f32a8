"""The thread with the connections, and what is done over them there; importing it costs aiohttp's 130 ms."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, BinaryIO, Final

import psengine_host.network.urls  # noqa: F401 - needed by the first exchange, and imported in its thread otherwise
from psengine_host.network.client import HttpClient
from psengine_host.network.delivery import Delivery, DeliveryLimits, DeliveryStatus, deliver
from psengine_host.network.errors import FetchError, NetworkError
from psengine_host.network.fetching import Fetched, FetchLimits, fetch
from psengine_host.network.guard import NetworkGuard
from psengine_host.network.loop_thread import LoopThread
from psengine_host.network.proxies import Proxies

if TYPE_CHECKING:
    from psengine_host.network.connections import Lookup
    from psengine_host.settings import NetworkSettings

__all__ = ["DELIVERIES", "FETCHES", "Exchanges"]

FETCHES: Final = 96
DELIVERIES: Final = 96
"""Exchanges at once of either kind, each over connections of its own; the others wait within their deadlines."""


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
        )
        self._delivery_limits = DeliveryLimits(
            connect_timeout=network.connect_timeout, read_timeout=network.read_timeout
        )
        self._clients: tuple[HttpClient, HttpClient] | None = None
        super().__init__()

    async def fetch(self, uri: str, destination: BinaryIO, deadline: float, sha256: str | None) -> Fetched:
        """As ``fetching.fetch`` does it.

        Raises:
            FetchError: Whatever the reason.
        """
        try:
            client, _ = await self._connected()
        except NetworkError as error:
            raise FetchError(uri, str(error)) from error
        return await fetch(client, uri, destination, limits=self._fetch_limits, deadline=deadline, sha256=sha256)

    async def deliver(self, url: str, body: bytes, idempotency_key: str, deadline: float) -> Delivery:
        """As ``delivery.deliver`` does it."""
        began = time.monotonic()
        try:
            _, client = await self._connected()
        except NetworkError as error:  # an operator's mistake, who may mend it before the next attempt
            return Delivery(status=DeliveryStatus.RETRY, reason=str(error), seconds=time.monotonic() - began)
        return await deliver(
            client, url, body, idempotency_key=idempotency_key, deadline=deadline, limits=self._delivery_limits
        )

    async def wind_up(self) -> None:
        """Close the connections."""
        for client in self._clients or ():
            await client.__aexit__(None, None, None)

    async def _connected(self) -> tuple[HttpClient, HttpClient]:
        """The client for artifacts and that for answers, which so have nothing to wait for behind hostile servers.

        Made by the first exchange, and by the next one when that failed.

        Raises:
            NetworkError: The settings cannot be used.
        """
        if self._clients is None:
            fetching, delivering = self._client(FETCHES), self._client(DELIVERIES)
            self._clients = await fetching.__aenter__(), await delivering.__aenter__()
        return self._clients

    def _client(self, connections: int) -> HttpClient:
        return HttpClient(
            NetworkGuard(self._network.allow),
            ca_file=self._network.ca_file,
            connections=connections,
            lookup=self._lookup,
            proxies=Proxies.from_environment() if self._network.proxy_from_environment else None,
        )
