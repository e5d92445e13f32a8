"""What was submitted and is not done: one bounty, or one local file, on its way through an engine's workers."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final

from psengine_host.artifacts import Artifact
from psengine_host.backends.process.crossing import CARRIED, sent_bounty, sent_name
from psengine_host.backends.process.loop import is_in_loop
from psengine_host.backends.process.messages import FileTask, Task
from psengine_host.bounty import Bounty
from psengine_host.errors import UsageError, printable_name
from psengine_host.job import current_job
from psengine_host.pipeline import Prepared

__all__ = ["Pending"]

FILE_LIFETIME: Final = 86_400.0
"""Seconds of life of a local file's bounty: it may wait long for its turn, and nobody else expects an answer."""

_cancelling: Final = threading.RLock()

logger = logging.getLogger(__name__)


class _Future(Future[Any]):
    """A future that can be asked without its lock whether it was cancelled: it is asked often."""

    unwanted = False

    def cancel(self) -> bool:
        """Cancel it, if it is not done."""
        cancelled = super().cancel()
        if cancelled:
            with _cancelling:
                first, self.unwanted = not self.unwanted, True
            if first:  # else wait() and as_completed() would never take it for done
                self.set_running_or_notify_cancel()
        return cancelled

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - an outcome of either kind
        """Its result; see ``concurrent.futures``.

        Raises:
            UsageError: This is a callback of another future, in the thread that this one's outcome has to come from.
        """
        self._refuse_to_wait()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Its exception; see :meth:`result`."""
        self._refuse_to_wait()
        return super().exception(timeout)

    def _refuse_to_wait(self) -> None:
        if is_in_loop() and not self.done():
            raise UsageError("a callback of a future cannot wait for another outcome: submit it and give it a callback")


def _tell(tell: Callable[..., object], *what: object) -> None:
    """Let nothing through that a future's callbacks raise: ``concurrent.futures`` does so with ``SystemExit``."""
    try:
        tell(*what)
    except InvalidStateError:  # cancelled
        return
    except BaseException:
        logger.exception("a callback of an outcome's future failed")


class Pending:
    """One bounty or file that is to be judged.

    Attributes:
        number: Its number, for messages.
        future: What is told of its end.
        bounty: The bounty; None for a file, whose bounty is made where it is read.
        artifact: The artifact; None for a file, and for a bounty before it is obtained.
        prepared: What the pipeline made of the bounty.
        path: The file, or None.
        name: What it is called.
        identify: Of a file: whether somebody in the host looks at its type.
        expires: When an answer is too late, on the clock of ``time.monotonic``.
        waits_until: How long it waits for an engine that cannot start.
        tries: Workers that died over it.
        spent: Seconds that workers were at work on it that did not answer.
        deaths: How they died.
        limit: Seconds that a worker has for it.
        holder: Who has it: a worker, or None.
        ended: Whether it has ended.
    """

    __slots__ = (
        "artifact",
        "began",
        "bounty",
        "deaths",
        "delivery",
        "ended",
        "expires",
        "future",
        "holder",
        "identify",
        "limit",
        "name",
        "number",
        "path",
        "prepared",
        "spent",
        "tries",
        "waits_until",
    )

    def __init__(
        self,
        *,
        limit: float,
        bounty: Bounty | None = None,
        artifact: Artifact | None = None,
        path: bytes | None = None,
        name: str = "",
        identify: bool = False,
        discard_expired: bool = True,
    ) -> None:
        self.number = 0
        self.future = _Future()
        self.ended = False
        self.bounty = bounty
        self.artifact = artifact
        self.prepared: Prepared | None = None
        self.path = path
        self.name = name
        self.identify = identify
        self.began = time.monotonic()
        self.limit = limit
        self.expires = math.inf
        if bounty is not None:
            job = current_job()
            self.delivery = None if job is None else job.delivery
            if discard_expired:
                self.expires = self.began + bounty.expiration.timestamp() - time.time()
        else:
            self.delivery = None
        self.waits_until = min(self.expires, self.began + limit)
        self.tries = 0
        self.spent = 0.0
        self.deaths: tuple[str, ...] = ()
        self.holder: object = None

    @property
    def done(self) -> bool:
        """Whether it has ended, or nobody wants to know."""
        return self.ended or self.future.unwanted

    @property
    def called(self) -> str:
        """What it is called in the log."""
        if self.name or self.bounty is None:
            return printable_name(self.name)
        return f"bounty {self.bounty.id}"

    def message(self) -> Task | FileTask:
        """What a worker is sent.

        Raises:
            ArtifactError: The artifact cannot be handed over.
        """
        bounty, artifact = self.bounty, self.artifact
        if bounty is None or artifact is None:
            return FileTask(
                self.number, self.limit, self.path or b"", sent_name(self.name), self.identify, FILE_LIFETIME
            )
        expires = None if self.expires == math.inf else self.expires
        return Task(self.number, self.limit, expires, sent_bounty(bounty), self.delivery, artifact.handover(CARRIED))

    def resolve(self, result: object) -> None:
        """End with a result."""
        self._let_go()
        _tell(self.future.set_result, result)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self._let_go()
        _tell(self.future.set_exception, error)

    def cancel(self) -> None:
        """End without a result."""
        self._let_go()
        _tell(self.future.cancel)

    def _let_go(self) -> None:
        self.ended = True
        prepared = self.prepared
        if prepared is not None and prepared.owned and prepared.artifact is not None:
            prepared.artifact.close()
