"""One engine around a test: ``setup`` and ``open_session`` before it, their ends after it, nothing hidden.

Where the host turns an engine's fault into an outcome, a test wants the exception. Everything here raises
:class:`~psengine_host.errors.EngineFault` with what the engine raised as its cause.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from psengine_host.analysis import Analysis, EngineInfo
from psengine_host.artifacts import Artifact
from psengine_host.bids import BidPolicy
from psengine_host.bounty import LOCAL_LIFETIME, URL_MIMETYPE, Bounty
from psengine_host.engines.blame import reason
from psengine_host.engines.found import ENGINES_GROUP, WRAPPERS_GROUP, FoundEngine, Registration, find_engines
from psengine_host.engines.loaded import Wrapper, as_wrapper, load_engine, require_engine
from psengine_host.engines.running import Home, Session, context_for
from psengine_host.environment import DIRECTORIES, environment_prefix
from psengine_host.errors import ArtifactError, EngineFault, UsageError, shown
from psengine_host.hookspecs import Context
from psengine_host.job import Job, working_on
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import Outcome
from psengine_host.pipeline import EngineProfile, Judged, checked, conclude, prepare, process
from psengine_host.settings import LONGEST_TIMEOUT, HostSettings, Settings
from psengine_host.spool import Spool

__all__ = ["RunningEngine", "session"]


class RunningEngine:
    """An engine whose ``setup`` and ``open_session`` have run. Made by :func:`session`."""

    def __init__(self, home: Home, session: Session, settings: Settings, spool: Spool, obtainer: Obtainer) -> None:
        self._home = home
        self._session = session
        self._settings = settings
        self._spool = spool
        self._obtain = obtainer.obtain
        self._profile = EngineProfile(session.engine.name, session.engine.version, session.info)

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._session.engine.name

    @property
    def context(self) -> Context:
        """The context as ``open_session`` got it, with ``shared`` filled in."""
        return self._session.context

    @property
    def session(self) -> Any:  # noqa: ANN401 - whatever the engine's author makes it
        """What ``open_session`` returned or yielded; None without that hook."""
        return self._session.session

    @property
    def info(self) -> EngineInfo:
        """What ``info`` returned; the defaults without that hook."""
        return self._session.info

    def commands(self) -> Sequence[Callable[..., Any]]:
        """What ``commands`` returned; empty without that hook.

        Raises:
            EngineFault: It raised, or returned something else than functions.
        """
        return self._session.commands()

    def analyze(self, artifact: Artifact | str | os.PathLike[str] | bytes, bounty: Bounty | None = None) -> Analysis:
        """Have one artifact judged, as the host does it: type and size, ``analyze``, checks, bid and enrichment.

        Args:
            artifact: An artifact, a path or bytes.
            bounty: The job; by default a local one for the artifact.

        Returns:
            The analysis that would be sent.

        Raises:
            ArtifactError: The artifact cannot be read.
            EngineFault: ``analyze`` raised (the cause is chained), or returned what is no analysis.
        """
        artifact, bounty = self._job(artifact, bounty)
        prepared = prepare(bounty, self._profile, self._obtain, artifact=artifact, timeout=self._timeout)
        if prepared.failure is not None:
            raise ArtifactError(prepared.failure.message)
        if prepared.answer is not None:
            judged = Judged(prepared.answer)
        else:
            judged = Judged(self._ask(artifact, bounty, prepared.deadline))
        return conclude(prepared, judged, self._profile, self._policy).analysis

    def process(self, artifact: Artifact | str | os.PathLike[str] | bytes, bounty: Bounty | None = None) -> Outcome:
        """Have one artifact judged and the engine's ``on_success`` or ``on_error`` called, faults included.

        Args:
            artifact: An artifact, a path or bytes.
            bounty: The job; by default a local one for the artifact.

        Returns:
            The outcome; what the engine raised is in its ``failure``, as anywhere in the host.
        """
        artifact, bounty = self._job(artifact, bounty)
        outcome = process(
            bounty,
            self._session,
            self._profile,
            self._obtain,
            policy=self._policy,
            artifact=artifact,
            timeout=self._timeout,
        )
        self._home.hear(outcome)
        return outcome

    def _ask(self, artifact: Artifact, bounty: Bounty, deadline: float) -> Analysis:
        try:
            with working_on(Job(self.name, bounty.id, deadline=deadline)):
                answer = self._session.analyze(artifact, bounty, deadline)
            return checked(answer, bounty)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise EngineFault(self.name, "analyze", reason(error)) from error

    def _job(
        self, artifact: Artifact | str | os.PathLike[str] | bytes, bounty: Bounty | None
    ) -> tuple[Artifact, Bounty]:
        if isinstance(artifact, bytes):
            artifact = Artifact.from_bytes(artifact, spool=self._spool)
        elif not isinstance(artifact, Artifact):
            artifact = Artifact.from_path(artifact)
        if bounty is None:
            mimetype = URL_MIMETYPE if artifact.url is not None else None
            bounty = Bounty.forge(
                artifact.artifact_type,
                artifact.uri,
                artifact.sha256,
                mimetype=mimetype,
                lifetime=max(LOCAL_LIFETIME, timedelta(seconds=self._timeout)),
            )
        return artifact, bounty

    @property
    def _policy(self) -> BidPolicy:
        return self._settings.bids.policy

    @property
    def _timeout(self) -> float:
        return self._settings.host.timeout


@contextmanager
def session(
    engine: object,
    *,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    wrappers: Sequence[object] = (),
    timeout: float = 60.0,
) -> Iterator[RunningEngine]:
    """Run an engine's ``setup`` and ``open_session`` around a test, and their ends after it.

    ::

        with session(psengine_eicar) as engine:
            assert engine.analyze(b"hello").verdict is Verdict.BENIGN

    The engine's directories are made in a temporary folder, so that nothing of the user's is touched, but where a
    variable of the engine (``NANOAV_SDK_HOME``) is set.

    Args:
        engine: A module or an object with the hooks, which need not be installed; or the name of an installed engine.
        config: The engine's table of the settings, ``context.config``.
        name: The engine's name; by default that of the module (``psengine_nano_av`` is ``nano-av``) or of the type.
        environ: Variables beside those of the process, which they override.
        directory: Where to make the engine's directories; by default a temporary folder, removed afterwards.
        wrappers: Modules or objects that wrap ``analyze``, the outermost first. Installed ones are not used.
        timeout: Seconds that one artifact may take, as ``[host] timeout`` says it for the host: ``context.deadline``
            and the toolkit's functions go by it. Nothing interrupts code of the engine that goes by neither.

    Yields:
        The running engine.

    Raises:
        UsageError: ``timeout`` is not more than 0, or longer than a day.
        UnknownEngine: No engine of that name is installed.
        EngineBroken: The engine breaks the contract; the message says how.
        ContractBroken: A wrapper does.
        EngineFault: ``setup``, ``open_session``, ``info`` or the end of one of them failed. An error of the test itself
            comes first: then a failure at the end is logged.
    """
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise UsageError(f"timeout: must be more than 0 and at most {LONGEST_TIMEOUT} seconds, got {shown(timeout)}")
    found = find_engines()[engine] if isinstance(engine, str) else _Given(engine, name or _name_of(engine))
    loaded = require_engine(load_engine(found, [_wrapper(number, plugin) for number, plugin in enumerate(wrappers)]))
    settings = Settings(host=HostSettings(timeout=timeout), engines={loaded.name: dict(config or {})})
    with (
        Fetcher(settings.network) as fetcher,
        Spool() as spool,
        Obtainer(settings, spool, fetcher) as obtainer,
        tempfile.TemporaryDirectory(prefix="psengine-test-") as temporary,
    ):
        variables = _variables(loaded.name, Path(directory or temporary), environ or {})
        home = Home(loaded, context_for(loaded.name, settings, spool, variables))
        running = Session(loaded, home.start())
        try:
            running.open()
            yield RunningEngine(home, running, settings, spool, obtainer)
        except BaseException:
            running.close()
            home.stop()
            raise
        try:
            running.close(strict=True)
        finally:
            home.stop(strict=True)


class _Given(FoundEngine):
    """An engine that somebody holds in the hand, installed or not."""

    __slots__ = ("_plugin",)

    def __init__(self, plugin: object, name: str) -> None:
        super().__init__(name, name, ENGINES_GROUP, "not installed", "")
        self._plugin = plugin

    def load(self) -> object:
        return self._plugin


def _wrapper(number: int, plugin: object) -> Wrapper:
    return as_wrapper(Registration(f"{number} {_name_of(plugin)}", "", WRAPPERS_GROUP, "not installed", ""), plugin)


def _name_of(plugin: object) -> str:
    name = getattr(plugin, "__name__", None)
    text = name.rpartition(".")[2] if isinstance(name, str) else type(plugin).__name__
    text = re.sub(r"[^a-z0-9]+", "-", text.lower().removeprefix("psengine_")).strip("-")
    return text[:32] if text[:1].isalpha() else "engine"


def _variables(engine: str, directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with a folder of its own for each of the engine's directories that nobody has set."""
    variables = {**os.environ, **environ}
    for folder in DIRECTORIES:
        variable = f"{environment_prefix(engine)}_{folder}"
        if not variables.get(variable):
            path = directory / folder.lower()
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            variables[variable] = str(path)
    return variables
