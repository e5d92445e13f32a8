"""The host as a library: three lines in a notebook, or the middle of a program of your own."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, wait
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from psengine_host.artifacts import Artifact
from psengine_host.backends import Backend, BackendServices, WorkerStatus, create_backend
from psengine_host.bounty import LOCAL_LIFETIME, Bounty
from psengine_host.engines.blame import reason
from psengine_host.engines.found import Catalog, find_engines
from psengine_host.engines.loaded import HookTrace, Wrapper, load_wrappers
from psengine_host.engines.observers import Observers
from psengine_host.engines.running import context_for
from psengine_host.errors import PsengineError, UsageError, nearest
from psengine_host.hookspecs import Context
from psengine_host.job import Job, working_on
from psengine_host.local_bounties import bounty_for
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import FileOutcome, Outcome
from psengine_host.pipeline import EngineProfile, unavailable
from psengine_host.settings import LONGEST_TIMEOUT, Settings
from psengine_host.spool import Spool

if TYPE_CHECKING:
    from psengine_host.network.delivery import Delivery

__all__ = ["Host", "Target"]

T = TypeVar("T")

Target = str | os.PathLike[str] | bytes | Artifact | Bounty
"""What can be judged: a path, bytes, an artifact or a bounty."""

DELIVERY_GRACE: Final = 10.0
"""Seconds that a delivery may take where the bounty has already expired or is about to."""
DELIVERY_LIMIT: Final = 60.0
"""Seconds that a delivery may take at most, so that a receiver that drips its answer cannot hold the host."""

logger = logging.getLogger(__name__)


class Host:
    """Discovers engines and routes bounties through them.

    ::

        with Host() as host:
            outcome = host.analyze("suspect.exe", engine="yara")
            print(outcome.analysis.verdict)

    Nothing of an engine is imported before its first bounty. Leaving the ``with`` block waits for deliveries and
    observers and ends the engines.

    Args:
        settings: The settings; by default read from ``psengine.toml`` and the environment.
        observers: Objects with ``on_success``, ``on_error`` or both, beside the installed ones.
        backend: Where bounties are judged.
        trace: Called after each hook that an engine runs in this process.
        timeout: Seconds for one artifact and engine, the fetch included; by default as the settings say.
        catalog: The engines; by default the installed ones that the settings do not exclude.

    Raises:
        UsageError: The settings, an observer, a wrapper or the backend cannot be used.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        observers: Iterable[object] = (),
        backend: str = "local",
        trace: HookTrace | None = None,
        timeout: float | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        settings = Settings.read() if settings is None else settings
        if timeout is not None:
            if not 0 < timeout <= LONGEST_TIMEOUT:
                raise UsageError(f"timeout: must be more than 0 and at most {LONGEST_TIMEOUT} seconds, got {timeout}")
            settings = msgspec.structs.replace(settings, host=msgspec.structs.replace(settings.host, timeout=timeout))
        self.settings = settings
        self.catalog = usable_engines(settings) if catalog is None else catalog
        self.spool = Spool(max_size=settings.spool.max_size)
        self.spool.sweep()
        self.fetcher = Fetcher(settings.network)
        self.obtainer = Obtainer(settings, self.spool, self.fetcher)
        self._contexts: dict[str, Context] = {}
        self._wrappers: list[Wrapper] | None = None
        self._closed = False
        self._cancelled = False
        self._closers: set[int] = set()
        self._deliveries: set[Future[Delivery]] = set()
        self.observers = Observers(observers, self._context, timeout=settings.host.observer_timeout)
        services = BackendServices(
            settings=settings,
            catalog=self.catalog,
            wrappers=self.wrappers,
            obtainer=self.obtainer,
            spool=self.spool,
            trace=trace,
        )
        self.backend: Backend = create_backend(backend, services)
        self._lifetime = max(LOCAL_LIFETIME, timedelta(seconds=settings.host.timeout))

    # --- judging ----------------------------------------------------------------------------------------------------

    def analyze(self, target: Target, engine: str | None = None) -> Outcome:
        """Have one thing judged, and wait for the outcome. Nothing is delivered.

        Args:
            target: A path, bytes, an artifact or a bounty.
            engine: The engine's name; may be left out when only one is installed.

        Returns:
            The outcome; an engine's fault is in it, never raised.

        Raises:
            UsageError: There is no such engine, or none was chosen of several.
            ArtifactError: A path that cannot be read (that of a bounty is in its outcome instead).
        """
        return self._judge(target, engine).result()

    def submit(self, target: Target, engine: str | None = None) -> Future[Outcome]:
        """Have one thing judged; a bounty's answer is delivered to its ``response_url``.

        The result may be ignored: the delivery does not depend on anybody waiting for it. It is tried once, in the
        background, and a failure of it is logged. A callback of the future has to be quick: with the process backend
        it runs in the thread that all workers depend on, their time limits included.

        Args:
            target: A path, bytes, an artifact or a bounty.
            engine: The engine's name; may be left out when only one is installed.

        Returns:
            A future of the outcome.

        Raises:
            UsageError: There is no such engine, or none was chosen of several.
            ArtifactError: A path that cannot be read.
        """
        future = self._judge(target, engine)
        future.add_done_callback(self._deliver_later)
        return future

    def judge(self, bounty: Bounty, engine: str, artifact: Artifact | None = None) -> Future[Outcome]:
        """Have a bounty judged whose artifact the caller may have already; nothing is delivered.

        Args:
            bounty: The job.
            engine: The engine's name.
            artifact: Its artifact, or None to obtain it; the caller closes it.

        Raises:
            UsageError: The host is closed.
        """
        if self._closed:
            raise UsageError("the host is closed: judge inside its 'with' block, or before close()")
        future = self._submitted(bounty, engine, artifact)
        if len(self.observers):
            future.add_done_callback(self._notify)
        return future

    def judge_file(
        self, path: str, engine: str, *, name: str | None = None, identify: bool = True
    ) -> Future[FileOutcome]:
        """Have a local file judged, opened and hashed where the engine is: in a worker, if the backend has any.

        Args:
            path: The file.
            engine: The engine's name.
            name: What to call it in messages; the path by default.
            identify: Whether to name its type in the bounty, which takes half a millisecond; it is named in any case
                where the engine asks for the bounty or chooses by type, or somebody observes.

        Returns:
            A future of the outcome; it raises ``ArtifactError`` where the file cannot be read.

        Raises:
            UsageError: The host is closed.
        """
        if self._closed:
            raise UsageError("the host is closed: judge inside its 'with' block, or before close()")
        name = path if name is None else name
        submit_file = getattr(self.backend, "submit_file", None)
        if submit_file is None:
            return self._judge_file_here(path, engine, name)
        observed = bool(len(self.observers))
        future: Future[FileOutcome] = submit_file(path, engine, name=name, identify=identify or observed)
        if observed:
            future.add_done_callback(self._notify_of_file)
        return future

    def workers(self) -> list[WorkerStatus]:
        """What the workers do; empty where the backend has none."""
        workers = getattr(self.backend, "workers", None)
        return [] if workers is None else list(workers())

    def cancel(self) -> None:
        """Drop all that was submitted and is not done, and end at once who is at work on it.

        Their futures are cancelled. With a backend that judges in this process there is nothing to do.
        """
        self._cancelled = True
        cancel = getattr(self.backend, "cancel", None)
        if cancel is not None:
            cancel()

    def bounty_for(self, artifact: Artifact, *, identify: bool = False) -> Bounty:
        """The local bounty of an artifact, valid for at least the host's time limit.

        Args:
            artifact: The artifact.
            identify: Whether to name its mimetype, which costs about half a millisecond for a file.

        Raises:
            ArtifactError: It cannot be read.
        """
        return bounty_for(artifact, identify=identify, lifetime=self._lifetime)

    # --- delivering -------------------------------------------------------------------------------------------------

    def deliver(self, outcome: Outcome) -> Delivery:
        """Send an outcome's answer to the bounty's ``response_url``: one attempt.

        Args:
            outcome: An outcome whose bounty has a ``response_url``.

        Returns:
            What became of it; a network's fault is in it, never raised.

        Raises:
            UsageError: The bounty has no ``response_url``.
        """
        return self._send(outcome, self.fetcher.deliver)

    @staticmethod
    def _send(outcome: Outcome, send: Callable[..., T]) -> T:
        """One attempt to deliver, by one of the fetcher's ways.

        Raises:
            UsageError: The bounty has no ``response_url``.
        """
        bounty = outcome.bounty
        if bounty.response_url is None:
            raise UsageError(f"bounty {bounty.id} has no response_url: there is nowhere to deliver to")
        left = (bounty.expiration - datetime.now(UTC)).total_seconds()
        return send(
            bounty.response_url,
            msgspec.json.encode(outcome.answer()),
            idempotency_key=idempotency_key(bounty, outcome.engine),
            deadline=time.monotonic() + min(max(left, DELIVERY_GRACE), DELIVERY_LIMIT),
        )

    def _deliver_later(self, future: Future[Outcome]) -> None:
        if future.cancelled():
            return
        outcome = future.result()
        if outcome.bounty.response_url is None:
            return
        try:
            delivery = self._send(outcome, self.fetcher.submit_delivery)
        except Exception:
            with working_on(Job(outcome.engine, outcome.bounty.id)):
                logger.exception("bounty %s: the answer of %s could not be sent", outcome.bounty.id, outcome.engine)
            return
        self._deliveries.add(delivery)
        delivery.add_done_callback(lambda delivery: self._delivered(delivery, outcome))

    def _delivered(self, future: Future[Delivery], outcome: Outcome) -> None:
        """Log what became of a delivery."""
        self._deliveries.discard(future)
        with working_on(Job(outcome.engine, outcome.bounty.id)):
            if (error := future.exception()) is not None:
                what = f"could not be sent: {reason(error)}"
            else:
                delivery = future.result()
                what = f"was {'' if delivery.delivered else 'not '}delivered: {delivery.reason}"
            logger.log(
                logging.INFO if error is None and delivery.delivered else logging.ERROR,
                "bounty %s: the answer of %s %s",
                outcome.bounty.id,
                outcome.engine,
                what,
                exc_info=error,
            )

    # --- inside -----------------------------------------------------------------------------------------------------

    def wrappers(self) -> list[Wrapper]:
        """The installed wrappers of ``analyze``, loaded at the first call.

        Raises:
            UsageError: One cannot be loaded.
        """
        if self._wrappers is None:
            self._wrappers = load_wrappers()
        return self._wrappers

    def close(self) -> None:
        """End the engines, wait for deliveries and observers, and remove the spool; nothing can be judged any more.

        The wait for deliveries and observers is limited by the setting ``host.close_timeout``, and where engines were
        at work longer, to ten seconds after them; what was not delivered or heard by then is counted in the log.

        Raises:
            UsageError: This is a callback of a future, which the backend would wait for; nothing is closed.
        """
        closer = threading.get_ident()
        if closer in self._closers:  # a signal handler in the middle of it
            return
        self._closers.add(closer)
        was_closed, self._closed = self._closed, True
        deadline = time.monotonic() + self.settings.host.close_timeout
        try:
            self.backend.close()
        except UsageError:  # it cannot be closed from here, and is of use as before
            self._closed = was_closed
            raise
        except BaseException:
            self._finish(deadline)
            raise
        else:
            if not self._cancelled:
                # The last answers may have come just now, after any time.
                deadline = max(deadline, time.monotonic() + min(self.settings.host.close_timeout, DELIVERY_GRACE))
            self._finish(deadline)
        finally:
            self._closers.discard(closer)

    def _finish(self, deadline: float) -> None:
        """What is left to be done at the end, when nothing is judged any more."""
        try:
            late = wait(self._deliveries, timeout=max(0.0, deadline - time.monotonic())).not_done
            if late:
                logger.error("%d answers were not delivered in the time there is at the end", len(late))
        finally:
            self.fetcher.close()
            self.observers.close(deadline)
            self.obtainer.close()
            self.spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _judge(self, target: Target, engine: str | None) -> Future[Outcome]:
        name = self.catalog.select([engine] if engine is not None else ())[0].name
        if isinstance(target, Bounty):
            return self.judge(target, name)
        if isinstance(target, Artifact):
            return self.judge(self.bounty_for(target), name, target)
        if isinstance(target, bytes):
            artifact = Artifact.from_bytes(target, spool=self.spool)
        else:
            artifact = Artifact.from_path(target)
        try:
            future = self.judge(self.bounty_for(artifact), name, artifact)
        except BaseException:
            artifact.close()
            raise
        future.add_done_callback(lambda _: artifact.close())
        return future

    def _submitted(self, bounty: Bounty, engine: str, artifact: Artifact | None) -> Future[Outcome]:
        """What the backend makes of a bounty; a backend that fails is an outcome too, never silence."""

        def failed(error: BaseException) -> Outcome:
            logger.error("bounty %s: the backend failed: %s", bounty.id, reason(error))
            return unavailable(bounty, EngineProfile.unknown(engine), f"the backend failed: {reason(error)}")

        if getattr(self.backend, "always_answers", False):
            return self.backend.submit(bounty, engine, artifact=artifact)
        ended: Future[Outcome] = Future()
        try:
            future = self.backend.submit(bounty, engine, artifact=artifact)
        except PsengineError:
            raise
        except Exception as error:  # noqa: BLE001 - a backend may be anybody's
            ended.set_result(failed(error))
            return ended
        if future.done() and not future.cancelled() and future.exception() is None:
            return future

        def end(future: Future[Outcome]) -> None:
            if ended.cancelled():
                return
            if self._cancelled and future.cancelled():
                ended.cancel()
                return
            error = CancelledError("cancelled") if future.cancelled() else future.exception()
            ended.set_result(future.result() if error is None else failed(error))

        future.add_done_callback(end)
        return ended

    def _judge_file_here(self, path: str, engine: str, name: str) -> Future[FileOutcome]:
        future: Future[FileOutcome] = Future()
        try:
            artifact = Artifact.from_path(path, name=name)
            bounty = self.bounty_for(artifact, identify=True)
            size = artifact.size
        except PsengineError as error:
            future.set_exception(error)
            return future

        def end(judged: Future[Outcome]) -> None:
            artifact.close()
            if judged.cancelled():
                future.cancel()
            else:
                future.set_result(FileOutcome(judged.result(), size))

        self.judge(bounty, engine, artifact).add_done_callback(end)
        return future

    def _notify(self, future: Future[Outcome]) -> None:
        if not future.cancelled():
            self.observers.notify(future.result())

    def _notify_of_file(self, future: Future[FileOutcome]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.observers.notify(future.result().outcome)

    def _context(self, engine: str) -> Context:
        context = self._contexts.get(engine)
        if context is None:
            context = self._contexts[engine] = context_for(engine, self.settings, self.spool)
        return context


def usable_engines(settings: Settings) -> Catalog:
    """The installed engines that the settings do not exclude."""
    found = find_engines()
    for named in (settings.enabled_engines or frozenset()) | settings.disabled_engines:
        if named not in found:
            logger.warning("the settings name an engine %r, and none is called that%s", named, nearest(named, found))
    used = [name for name in found if settings.uses(name)]
    return Catalog((found[name] for name in used), excluded=[name for name in found if name not in used])


def idempotency_key(bounty: Bounty, engine: str) -> str:
    """The same for every attempt to deliver one bounty's answer by one engine."""
    import hashlib

    material: Any = [bounty.id, bounty.artifact_uri, bounty.response_url, engine]
    return hashlib.sha256(msgspec.json.encode(material)).hexdigest()
