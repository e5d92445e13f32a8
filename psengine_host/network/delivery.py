"""One attempt to deliver an answer to its ``response_url``, and what came of it.

An attempt never raises for what the network or the receiver does; its outcome says whether another one makes sense.
When and how often to try again is the caller's business.
"""

from __future__ import annotations

import asyncio
import enum
import re
import time
from typing import TYPE_CHECKING, Final

import msgspec

from psengine_host.network.errors import BadAnswer, ForbiddenAddress, NetworkError, clean
from psengine_host.network.retry_after import retry_after_seconds
from psengine_host.network.schemes import require_http
from psengine_host.network.transient import is_transient

if TYPE_CHECKING:
    from yarl import URL

    from psengine_host.network.client import Answer, HttpClient

__all__ = ["Delivery", "DeliveryLimits", "DeliveryStatus", "deliver", "refused_at_once"]

_KEY: Final = re.compile(r"[!-~]{1,255}\Z")


class DeliveryStatus(enum.Enum):
    """What came of an attempt, and so what to do next."""

    DELIVERED = "delivered"
    """The receiver has it: any 2xx."""
    RETRY = "retry"
    """Another attempt may succeed: no connection, no answer in time, 408, 425, 429 or 5xx."""
    REFUSED = "refused"
    """No attempt will: any other answer, redirects included, a forbidden address, a URL that cannot be asked."""


class DeliveryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt may take.

    Attributes:
        connect_timeout: Seconds for one connection attempt.
        read_timeout: Seconds without a single byte.
        max_answer: Bytes of the receiver's body that are read; the rest is abandoned with the connection.
        answer_timeout: Seconds for reading that body, once the status is known.

    Raises:
        ValueError: A limit that is negative or leaves no time.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 15.0
    max_answer: int = 16_384
    answer_timeout: float = 2.0

    def __post_init__(self) -> None:
        if self.max_answer < 0:
            raise ValueError(f"max_answer must be at least 0, got {self.max_answer}")
        for name in ("connect_timeout", "read_timeout", "answer_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0 seconds, got {getattr(self, name)}")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt.

    Attributes:
        status: What came of it.
        http_status: The receiver's status, or None if there was no answer.
        retry_after: Seconds that the receiver asked to wait, if it did.
        reason: In one line, for logs and people.
        seconds: How long the attempt took.
    """

    status: DeliveryStatus
    http_status: int | None = None
    retry_after: float | None = None
    reason: str
    seconds: float

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.status is DeliveryStatus.DELIVERED


async def deliver(
    client: HttpClient,
    url: str,
    body: bytes,
    *,
    idempotency_key: str,
    deadline: float,
    limits: DeliveryLimits | None = None,
) -> Delivery:
    """Try once to deliver an answer.

    Args:
        client: Whose connections are used.
        url: The ``response_url``; opaque, sent as it is written. Credentials in it are not sent.
        body: The answer, JSON.
        idempotency_key: Sent as ``Idempotency-Key``: the same for every attempt with the same body.
        deadline: When the attempt must be over, on ``time.monotonic``.
        limits: What the attempt may take.

    Returns:
        What came of it.

    Raises:
        ValueError: ``idempotency_key`` cannot be a header (1 to 255 visible ASCII characters).
    """
    limits = limits or DeliveryLimits()
    started = time.monotonic()
    if (refused := refused_at_once(url, idempotency_key)) is not None:
        return refused

    def ended(status: DeliveryStatus, reason: str) -> Delivery:
        return Delivery(status=status, reason=reason, seconds=time.monotonic() - started)

    if deadline <= started:
        return ended(DeliveryStatus.RETRY, "no time left before the deadline")
    from psengine_host.network.urls import http_url

    try:
        target = http_url(url).with_user(None)
    except BadAnswer as error:
        return ended(DeliveryStatus.REFUSED, str(error))
    try:
        return await _post(client, target, body, idempotency_key, deadline, limits, started)
    except ForbiddenAddress as error:
        return ended(DeliveryStatus.REFUSED, str(error))
    except NetworkError as error:
        return ended(DeliveryStatus.RETRY, str(error))
    except TimeoutError:
        return ended(DeliveryStatus.RETRY, f"{target.host}:{target.port} was not done by the deadline")


def refused_at_once(url: str, idempotency_key: str) -> Delivery | None:
    """The attempt's outcome where no connection is needed to see it; None where one is.

    Raises:
        ValueError: ``idempotency_key`` cannot be a header.
    """
    if not _KEY.match(idempotency_key):
        raise ValueError(f"idempotency_key must be 1 to 255 visible ASCII characters, got '{clean(idempotency_key)}'")
    try:
        require_http(url)
    except BadAnswer as error:
        return Delivery(status=DeliveryStatus.REFUSED, reason=str(error), seconds=0.0)
    return None


async def _post(
    client: HttpClient,
    url: URL,
    body: bytes,
    idempotency_key: str,
    deadline: float,
    limits: DeliveryLimits,
    started: float,
) -> Delivery:
    async with (
        asyncio.timeout(max(deadline - time.monotonic(), 0)) as until_the_status,
        client.exchange(
            "POST",
            url,
            connect_timeout=limits.connect_timeout,
            read_timeout=limits.read_timeout,
            headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
            body=body,
        ) as answer,
    ):
        until_the_status.reschedule(None)  # it is final, whatever becomes of the body
        status = _classified(answer.status)
        said = await _said(answer, limits, deadline)
        retry_after = None
        if status is DeliveryStatus.RETRY:
            retry_after = retry_after_seconds(answer.header("Retry-After"))
        reason = f"answered {answer.phrase}"
        if status is not DeliveryStatus.DELIVERED and said:
            reason += f": {said}"
        return Delivery(
            status=status,
            http_status=answer.status,
            retry_after=retry_after,
            reason=reason,
            seconds=time.monotonic() - started,
        )


def _classified(status: int) -> DeliveryStatus:
    if 200 <= status < 300:
        return DeliveryStatus.DELIVERED
    if is_transient(status):
        return DeliveryStatus.RETRY
    return DeliveryStatus.REFUSED


async def _said(answer: Answer, limits: DeliveryLimits, deadline: float) -> str:
    """The start of the receiver's body, fit for a message.

    Read so that the connection can be used again. The status is known and final: a body that drips, breaks off or
    never ends changes nothing.
    """
    said = bytearray()
    try:
        async with asyncio.timeout(max(min(limits.answer_timeout, deadline - time.monotonic()), 0)):
            while len(said) < limits.max_answer and (chunk := await answer.read()):
                said += chunk[: limits.max_answer - len(said)]
    except (TimeoutError, NetworkError):
        return _excerpt(said)
    return _excerpt(said)


def _excerpt(said: bytearray) -> str:
    return clean(" ".join(said[:1024].decode("utf-8", "replace").split()))
