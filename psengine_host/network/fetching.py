"""From a URI to bytes in a file, within limits: ``http``, ``https`` and ``data``.

Nothing the other end does takes longer than the deadline, more memory than a few buffers, or more room than the
size limit, and nothing it says leads to a connection that the guard forbids.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from psengine_host.network.content_coding import decoder_for
from psengine_host.network.data_uris import decode_data_uri, is_data_uri
from psengine_host.network.errors import BadAnswer, FetchError, NetworkError, Unreachable, clean, masked
from psengine_host.network.retry_after import retry_after_seconds
from psengine_host.network.schemes import require_http
from psengine_host.network.transient import is_transient

if TYPE_CHECKING:
    from yarl import URL

    from psengine_host.network.client import Answer, HttpClient

__all__ = ["FetchLimits", "Fetched", "fetch", "fetch_data", "require_fetchable"]

_ASIDE: Final = 1 << 20
"""Bytes of an artifact that are written and hashed where they arrive; more are passed to another thread."""
logger = logging.getLogger(__name__)

_CONTENT: Final = (200, 203)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_TAKEN: Final = "http, https and data"


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a fetch may take.

    Attributes:
        max_size: Bytes, on the wire and decoded, each.
        connect_timeout: Seconds for one connection attempt.
        read_timeout: Seconds without a single byte.
        max_redirects: Redirects followed in one try.
        tries: Tries in all; only what another try may mend is tried again.
        backoff: Seconds before the second try; doubled for each one after, and spread by chance.
        max_backoff: The longest of these waits. ``Retry-After`` may ask for longer.

    Raises:
        ValueError: A limit that is negative or leaves no try.
    """

    max_size: int = 100_000_000
    connect_timeout: float = 10.0
    read_timeout: float = 15.0
    max_redirects: int = 5
    tries: int = 4
    backoff: float = 0.25
    max_backoff: float = 5.0

    def __post_init__(self) -> None:
        for name, least in (("max_size", 0), ("max_redirects", 0), ("tries", 1), ("backoff", 0), ("max_backoff", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("connect_timeout", "read_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0 seconds, got {getattr(self, name)}")


class Fetched(msgspec.Struct, frozen=True):
    """What was fetched.

    Attributes:
        size: Bytes, decoded.
        sha256: Their SHA-256, 64 lower-case hexadecimal digits.
    """

    size: int
    sha256: str


async def fetch(
    client: HttpClient,
    uri: str,
    destination: BinaryIO,
    *,
    limits: FetchLimits,
    deadline: float,
    sha256: str | None = None,
) -> Fetched:
    """Fetch one artifact.

    Args:
        client: Whose connections are used.
        uri: An ``http``, ``https`` or ``data`` URI.
        destination: Open for writing, seekable; written from its present position on. After an error it is as before.
        limits: What the fetch may take.
        deadline: When it must be over, on ``time.monotonic``; retries included.
        sha256: What the SHA-256 of the bytes must be, in hexadecimal digits.

    Returns:
        Size and SHA-256 of what was written.

    Raises:
        FetchError: Whatever the reason.
    """
    if is_data_uri(uri):
        return fetch_data(uri, destination, limits.max_size, sha256)
    sink = _Sink(destination, limits.max_size)
    try:
        require_http(uri, _TAKEN)
        async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
            await _try_and_retry(client, uri, sink, limits, deadline)
        return sink.finish(sha256)
    except TimeoutError as error:
        sink.discard()
        raise FetchError(uri, "not done by the deadline") from error
    except NetworkError as error:
        sink.discard()
        raise FetchError(uri, str(error)) from error
    except BaseException:
        sink.discard()
        raise


def require_fetchable(uri: str) -> None:
    """Pass a URI whose scheme is fetched over a connection, or raise.

    Raises:
        FetchError: Another scheme.
    """
    try:
        require_http(uri, _TAKEN)
    except NetworkError as error:
        raise FetchError(uri, str(error)) from error


def fetch_data(uri: str, destination: BinaryIO, max_size: int, sha256: str | None) -> Fetched:
    """``fetch`` for a ``data:`` URI, which carries its artifact: nothing is connected to, and nothing is waited for.

    Raises:
        FetchError: Whatever the reason.
    """
    sink = _Sink(destination, max_size)
    try:
        sink.write(decode_data_uri(uri, max_size).data)
        return sink.finish(sha256)
    except NetworkError as error:
        sink.discard()
        raise FetchError(uri, str(error)) from error


async def _try_and_retry(client: HttpClient, uri: str, sink: _Sink, limits: FetchLimits, deadline: float) -> None:
    for number in range(1, limits.tries + 1):
        if deadline <= time.monotonic():
            raise TimeoutError
        sink.restart()
        try:
            await _one_try(client, uri, sink, limits)
        except Unreachable as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError from error
            tried = "" if number == 1 else f" (tried {number} times)"
            if number == limits.tries:
                raise Unreachable(f"{error.reason}{tried}") from error
            wait = _wait(error, number, limits)
            if wait >= left:
                reason = f"{error.reason}{tried}; the next try would be in {wait:.1f} s, {left:.1f} s are left"
                raise Unreachable(reason) from error
            logger.info("fetching %s: %s; try %d in %.1f s", masked(uri), error.reason, number + 1, wait)
        else:
            return
        await asyncio.sleep(wait)


def _wait(error: Unreachable, number: int, limits: FetchLimits) -> float:
    """Seconds until the next try: what the other end asks for, else exponential, spread so that hosts do not align."""
    if error.retry_after is not None:
        return error.retry_after
    return min(limits.backoff * 2.0 ** (number - 1), limits.max_backoff) * random.uniform(0.5, 1.0)  # noqa: S311


async def _one_try(client: HttpClient, uri: str, sink: _Sink, limits: FetchLimits) -> None:
    """Follow the redirects and stream the body into the sink."""
    from psengine_host.network.urls import http_url, redirect_target

    url = http_url(uri)
    for _ in range(limits.max_redirects + 1):
        location = await _ask(client, url, sink, limits)
        if location is None:
            return
        try:
            target = redirect_target(url, location)
        except BadAnswer as error:
            raise BadAnswer(f"redirected to where nothing is fetched from: {error}") from error
        logger.info("fetching %s: redirected to %s", masked(str(url)), masked(str(target)))
        url = target
    raise BadAnswer(f"more than {limits.max_redirects} redirects")


async def _ask(client: HttpClient, url: URL, sink: _Sink, limits: FetchLimits) -> str | None:
    """Ask one URL; the location if it redirects, None when its body is in the sink."""
    async with client.exchange(
        "GET",
        url,
        connect_timeout=limits.connect_timeout,
        read_timeout=limits.read_timeout,
    ) as answer:
        if answer.status in _CONTENT:
            await _stream(answer, sink, limits)
            return None
        if answer.status in _REDIRECTS:
            location = answer.header("Location")
            if not location:
                raise BadAnswer(f"answered {answer.phrase} without a Location")
            return location
        if is_transient(answer.status):
            raise Unreachable(f"answered {answer.phrase}", retry_after_seconds(answer.header("Retry-After")))
        raise BadAnswer(f"answered {answer.phrase}")


async def _stream(answer: Answer, sink: _Sink, limits: FetchLimits) -> None:
    decoder = decoder_for(answer.header("Content-Encoding"))
    announced = answer.length
    if announced is not None and announced > limits.max_size:
        raise BadAnswer(f"larger than the limit of {limits.max_size} bytes: {announced} are announced")
    received = 0
    while chunk := await answer.read():
        received += len(chunk)
        if received > limits.max_size:
            raise BadAnswer(f"larger than the limit of {limits.max_size} bytes; stopped there")
        for number, block in enumerate(decoder.decode(chunk)):
            if number:
                await asyncio.sleep(0)  # a bomb takes long to decode, an empty one too: others get their turn
            if sink.size < _ASIDE:
                sink.write(block)
            else:
                await _aside(sink, block)
    if announced is not None and received != announced:
        raise Unreachable(f"{received} bytes came, {announced} were announced")
    decoder.finish()


async def _aside(sink: _Sink, block: bytes) -> None:
    """Write and hash in another thread: a disk that is slow to take a large artifact holds up nobody else."""
    writing = asyncio.get_running_loop().run_in_executor(None, sink.write, block)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        while not writing.done():  # until then the destination is not the caller's again, however often they ask
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([writing])
        writing.exception()  # nobody is interested any more
        raise


class _Sink:
    """Where the bytes go: hashed, counted and capped on the way."""

    def __init__(self, destination: BinaryIO, max_size: int) -> None:
        self._destination = destination
        self._start = destination.tell()
        self._max_size = max_size
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes so far."""

    def restart(self) -> None:
        """Forget what was written."""
        if not self.size:
            return
        try:
            self._destination.seek(self._start)
            self._destination.truncate()
        except OSError as error:
            raise _not_stored(error) from error
        self._digest = hashlib.sha256()
        self.size = 0

    def discard(self) -> None:
        """Leave the destination as it was; on the way out with an error, which is not to be hidden by another."""
        with contextlib.suppress(NetworkError):
            self.restart()

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self._max_size:
            raise BadAnswer(f"larger than the limit of {self._max_size} bytes once decoded; stopped there")
        self.size += len(data)
        try:
            written = self._destination.write(data)
        except OSError as error:
            raise _not_stored(error) from error
        if written != len(data):
            raise NetworkError(f"cannot be stored: {written} of {len(data)} bytes were written")
        self._digest.update(data)

    def finish(self, sha256: str | None) -> Fetched:
        try:
            self._destination.flush()
        except OSError as error:
            raise _not_stored(error) from error
        found = self._digest.hexdigest()
        if sha256 is not None and found != sha256.lower():
            raise BadAnswer(f"its SHA-256 is {found}, not {clean(sha256)} as announced")
        return Fetched(self.size, found)


def _not_stored(error: OSError) -> NetworkError:
    return NetworkError(f"cannot be stored: {error.strerror or error}")
