"""The network for code that is not asynchronous: one thread with the connections, usable from any other."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, TypeVar

if TYPE_CHECKING:
    from psengine_host.network.connections import Lookup
    from psengine_host.network.delivery import Delivery
    from psengine_host.network.exchanges import Exchanges
    from psengine_host.network.fetching import Fetched
    from psengine_host.settings import NetworkSettings

__all__ = ["Fetcher"]

T = TypeVar("T")

_END: Final = 5.0
"""Seconds that ending may take: nothing in the loop takes longer, but a disk that is written to may."""
_CLOSED: Final = "the fetcher is closed"

logger = logging.getLogger(__name__)


class Fetcher:
    """Fetches artifacts and delivers answers, over connections that are kept and used again.

    ::

        with Fetcher(settings.network) as fetcher, open("artifact", "wb") as file:
            fetched = fetcher.fetch("https://host/path", file, deadline=time.monotonic() + 30)

    One for a host, from any thread, any number of exchanges at once, also in a thread that runs an event loop. The
    connections live in one daemon thread, which is started by the first exchange that needs one. A fork of the
    process starts anew, with connections of its own.

    Args:
        network: Limits, and what may be connected to.
        lookup: Resolves names; a replacement for ``socket.getaddrinfo``.
    """

    def __init__(self, network: NetworkSettings, *, lookup: Lookup = socket.getaddrinfo) -> None:
        self._network = network
        self._lookup = lookup
        self._lock = threading.RLock()
        self._closed = False
        self._exchanges: Exchanges | None = None
        self._inherited: list[Exchanges] = []
        _mind_forks(weakref.ref(self))

    def fetch(self, uri: str, destination: BinaryIO, *, deadline: float, sha256: str | None = None) -> Fetched:
        """Fetch one artifact, and wait for it. Whatever interrupts the waiting (Ctrl-C) ends the fetch first.

        Args:
            uri: An ``http``, ``https`` or ``data`` URI.
            destination: Open for writing, seekable; written from its present position on, in another thread. After an
                error it is as before.
            deadline: When it must be over, on ``time.monotonic``; retries included.
            sha256: What the SHA-256 of the bytes must be, in hexadecimal digits.

        Returns:
            Size and SHA-256 of what was written.

        Raises:
            FetchError: Whatever the reason.
            RuntimeError: Called in a callback of ``submit_fetch``, where it would wait for itself.
        """
        self._refuse_waiting_for_itself()
        return _result(self.submit_fetch(uri, destination, deadline=deadline, sha256=sha256))

    def submit_fetch(
        self, uri: str, destination: BinaryIO, *, deadline: float, sha256: str | None = None
    ) -> Future[Fetched]:
        """Begin to fetch one artifact; the parameters are those of ``fetch``.

        Returns:
            The future of what ``fetch`` returns or raises. It can be cancelled at any time, and is done only when
            nothing is written to ``destination`` any more. Its callbacks are called in the fetcher's thread, hold up
            all other exchanges, and must not wait for one. (A ``data:`` URI is decoded at once, by the caller.)
        """
        from psengine_host.network.data_uris import is_data_uri
        from psengine_host.network.errors import FetchError
        from psengine_host.network.fetching import fetch_data, require_fetchable

        if is_data_uri(uri):
            return _done(lambda: fetch_data(uri, destination, self._network.max_artifact_size, sha256))

        def at_end() -> Fetched:
            raise FetchError(uri, _CLOSED)

        try:
            require_fetchable(uri)
        except FetchError as error:
            future: Future[Fetched] = Future()
            future.set_exception(error)
            return future
        return self._submitted(lambda exchanges: exchanges.fetch(uri, destination, deadline, sha256), at_end)

    def deliver(self, url: str, body: bytes, *, idempotency_key: str, deadline: float) -> Delivery:
        """Try once to deliver an answer, and wait for what comes of it.

        Args:
            url: The ``response_url``; opaque, sent as it is written. Credentials in it are not sent.
            body: The answer, JSON.
            idempotency_key: Sent as ``Idempotency-Key``: the same for every attempt with the same body.
            deadline: When the attempt must be over, on ``time.monotonic``.

        Returns:
            What came of it.

        Raises:
            ValueError: ``idempotency_key`` cannot be a header (1 to 255 visible ASCII characters).
            RuntimeError: Called in a callback of ``submit_fetch``, where it would wait for itself.
        """
        self._refuse_waiting_for_itself()
        return _result(self.submit_delivery(url, body, idempotency_key=idempotency_key, deadline=deadline))

    def submit_delivery(self, url: str, body: bytes, *, idempotency_key: str, deadline: float) -> Future[Delivery]:
        """Begin one attempt to deliver an answer; the parameters are those of ``deliver``.

        Returns:
            The future of what ``deliver`` returns. For its callbacks holds what holds for those of ``submit_fetch``.

        Raises:
            ValueError: ``idempotency_key`` cannot be a header (1 to 255 visible ASCII characters).
        """
        from psengine_host.network.delivery import Delivery, DeliveryStatus, refused_at_once

        if (refused := refused_at_once(url, idempotency_key)) is not None:
            return _done(lambda: refused)
        began = time.monotonic()
        return self._submitted(
            lambda exchanges: exchanges.deliver(url, body, idempotency_key, deadline),
            at_end=lambda: Delivery(status=DeliveryStatus.RETRY, reason=_CLOSED, seconds=time.monotonic() - began),
        )

    def close(self) -> None:
        """End what is under way, and close the connections; nothing can be fetched or delivered any more.

        A second time does nothing. It takes a few seconds at most.
        """
        with self._lock:
            self._closed = True
            exchanges = self._exchanges
        if exchanges is not None and not exchanges.close(_END):
            logger.warning("the network's thread has not ended within %g s and is left behind", _END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submitted(self, start: Callable[[Exchanges], Coroutine[Any, Any, T]], at_end: Callable[[], T]) -> Future[T]:
        """The future of an exchange; where this is closed before or meanwhile, it is ``at_end``'s."""
        with self._lock:
            if self._exchanges is None and not self._closed:
                # Here and not in the thread that connects: a fork waits for the lock, and finds nothing half imported.
                from psengine_host.network.exchanges import Exchanges

                self._exchanges = Exchanges(self._network, self._lookup)
                # For who forgets to close this. Whoever happens to let go last must not wait: it may hold any lock.
                weakref.finalize(self, self._exchanges.close, 0.0).atexit = False
            exchanges = self._exchanges
        return _done(at_end) if exchanges is None else exchanges.submit(lambda: start(exchanges), at_end)

    def _refuse_waiting_for_itself(self) -> None:
        if self._exchanges is not None and self._exchanges.is_current:
            raise RuntimeError("a callback of a fetch must not wait for another exchange of the same fetcher")

    def _forget(self) -> None:
        """In a fork of the process: the thread is not there, and its connections are the other process's."""
        self._lock = threading.RLock()
        if self._exchanges is not None:
            # Kept, and never touched: letting go would close what both processes share.
            self._inherited.append(self._exchanges)
            self._exchanges = None


def _done(make: Callable[[], T]) -> Future[T]:
    """A future that is done with what a function returns or raises."""
    future: Future[T] = Future()
    try:
        future.set_result(make())
    except Exception as error:  # noqa: BLE001 - for whoever waits
        future.set_exception(error)
    return future


def _result(future: Future[T]) -> T:
    """What becomes of a future; whatever interrupts the waiting (Ctrl-C) ends what it stands for."""
    try:
        return future.result()
    except BaseException:
        from psengine_host.network.loop_thread import Pending

        if isinstance(future, Pending) and future.cancel():
            wait([future], timeout=_END)  # until then it may still be writing
        raise


def _mind_forks(fetcher: weakref.ref[Fetcher]) -> None:
    def before() -> None:
        if (there := fetcher()) is not None:
            there._lock.acquire()

    def in_parent() -> None:
        if (there := fetcher()) is not None:
            there._lock.release()

    def in_child() -> None:
        if (there := fetcher()) is not None:
            there._forget()

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
