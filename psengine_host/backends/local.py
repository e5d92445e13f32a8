"""The local backend: this process, one bounty after another, no isolation. For a debugger and for one file."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import Future

from psengine_host.artifacts import Artifact
from psengine_host.backends import BackendServices
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import traceback_of
from psengine_host.engines.found import BrokenEngine
from psengine_host.engines.listeners import Listener
from psengine_host.engines.loaded import load_engine
from psengine_host.engines.running import Home, Session, context_for
from psengine_host.errors import EngineFault
from psengine_host.outcome import Outcome
from psengine_host.pipeline import EngineProfile, process, unavailable

__all__ = ["LocalBackend"]

logger = logging.getLogger(__name__)


class LocalBackend:
    """Runs engines in this process. An engine is loaded and started when its first bounty comes.

    Args:
        services: What the host hands down.
    """

    def __init__(self, services: BackendServices) -> None:
        self._services = services
        self._lock = threading.RLock()
        self._running: dict[str, _RunningEngine | _UnavailableEngine] = {}

    def submit(self, bounty: Bounty, engine: str, *, artifact: Artifact | None = None) -> Future[Outcome]:
        """Judge a bounty now, in the calling thread; the future is done when this returns."""
        future: Future[Outcome] = Future()
        with self._lock, _SameWorkingDirectory(engine):
            outcome = self.running(engine).process(bounty, artifact)
        future.set_result(outcome)
        return future

    def running(self, engine: str) -> _RunningEngine | _UnavailableEngine:
        """The engine, loaded and started at the first call."""
        with self._lock:
            running = self._running.get(engine)
            if running is None:
                running = self._running[engine] = self._start(engine)
            return running

    def close(self) -> None:
        """End all sessions and homes, the last started first."""
        with self._lock:
            running, self._running = self._running, {}
            for engine in reversed(list(running.values())):
                engine.stop()

    def _start(self, name: str) -> _RunningEngine | _UnavailableEngine:
        services = self._services
        if services.settings.workers.of(name).sandbox != "none":
            logger.warning("engine %s is to run in a sandbox (workers.sandbox); the local backend has none", name)
        loaded = load_engine(services.catalog[name], services.wrappers(), services.trace)
        if isinstance(loaded, BrokenEngine):
            reason = f"engine {name} ({loaded.origin}) is broken: {loaded.reason}"
            return _UnavailableEngine(EngineProfile.unknown(name, loaded.version), reason, loaded.error)
        home = Home(loaded, context_for(name, services.settings, services.spool))
        try:
            context = home.start()
            session = Session(loaded, context)
            try:
                session.open()
            except BaseException:
                home.stop()
                raise
        except EngineFault as error:
            return _UnavailableEngine(EngineProfile.unknown(name, loaded.version), str(error), error)
        return _RunningEngine(home, session, services)


class _SameWorkingDirectory:
    """Come back to where the host was: an engine that goes elsewhere must not change what relative paths mean."""

    __slots__ = ("_engine", "_folder")

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        try:
            self._folder: str | None = os.getcwd()
        except OSError:  # it has been removed: there is nowhere to come back to
            self._folder = None

    def __exit__(self, *_: object) -> None:
        if self._folder is None:
            return
        try:
            moved = os.getcwd() != self._folder
        except OSError:
            moved = True
        if moved:
            logger.warning("engine %s changed the working directory; it is set back to %s", self._engine, self._folder)
            os.chdir(self._folder)


class _RunningEngine:
    def __init__(self, home: Home, session: Session, services: BackendServices) -> None:
        self.home = home
        self.session = session
        self.profile = EngineProfile(home.engine.name, home.engine.version, session.info)
        self._callbacks: Listener | None = None
        if home.hears:
            name = f"engine {home.engine.name}: on_success or on_error"
            self._callbacks = Listener(name, home.hear, services.settings.host.observer_timeout)
        self._close_timeout = services.settings.host.close_timeout
        self._obtain = services.obtainer.obtain
        self._policy = services.settings.bids.policy
        timeout = services.settings.workers.of(home.engine.name).timeout
        self._timeout = services.settings.host.timeout if timeout is None else timeout
        self._discard_expired = services.settings.host.discard_expired_bounties

    def process(self, bounty: Bounty, artifact: Artifact | None) -> Outcome:
        outcome = process(
            bounty,
            self.session,
            self.profile,
            self._obtain,
            policy=self._policy,
            artifact=artifact,
            timeout=self._timeout,
            discard_expired=self._discard_expired,
        )
        if self._callbacks is not None:
            self._callbacks.put(outcome)
        return outcome

    def stop(self) -> None:
        if self._callbacks is not None:
            self._callbacks.close(time.monotonic() + self._close_timeout)
        self.session.close()
        self.home.stop()


class _UnavailableEngine:
    def __init__(self, profile: EngineProfile, reason: str, error: BaseException | None) -> None:
        self.profile = profile
        self.reason = reason
        self.error = error

    def process(self, bounty: Bounty, artifact: Artifact | None) -> Outcome:  # noqa: ARG002 - as its running sibling
        text = traceback_of(self.error) if self.error is not None else ""
        return unavailable(bounty, self.profile, self.reason, text)

    def stop(self) -> None:
        """Nothing was started."""
