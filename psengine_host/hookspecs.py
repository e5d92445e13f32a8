# mypy: disable-error-code="empty-body"
"""The contract between the host and its engines: the hooks, and what they are handed.

The docstring of a hook says when it is called, in which process, what it returns and what it may raise. An engine
implements any subset that has ``analyze``, and each of its functions takes any subset of the arguments, by name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

from psengine_host.environment import EngineEnvironment

if TYPE_CHECKING:
    from psengine_host.analysis import Analysis, EngineInfo
    from psengine_host.artifacts import Artifact
    from psengine_host.bounty import Bounty
    from psengine_host.outcome import Failure

__all__ = ["HOOKS", "OBSERVER_HOOKS", "WRAPPER_HOOKS", "Context", "EngineHooks", "hookimpl"]

PROJECT: Final = "psengine"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of an engine, an observer or a wrapper as the implementation of a hook."""


class Context:
    """What a hook may know of its surroundings; read-only.

    Attributes:
        engine: The engine's name.
        config: The engine's table ``[engines.NAME]`` of the settings, deeply read-only.
        environment: The engine's directories and programs.
        shared: What ``setup`` returned or yielded, deeply read-only; empty before and without it.
        logger: The engine's logger, ``psengine.engines.NAME``.
        deadline: When an answer is too late, on the clock of ``time.monotonic``; infinite where there is none.
    """

    __slots__ = ("_scratch", "config", "deadline", "engine", "environment", "logger", "shared")

    engine: str
    config: Mapping[str, Any]
    environment: EngineEnvironment
    shared: Mapping[str, Any]
    logger: logging.Logger
    deadline: float

    def __init__(
        self,
        engine: str,
        *,
        config: Mapping[str, Any],
        environment: EngineEnvironment,
        shared: Mapping[str, Any],
        logger: logging.Logger,
        scratch: Callable[[], Path],
        deadline: float = math.inf,
    ) -> None:
        put = object.__setattr__
        put(self, "engine", engine)
        put(self, "config", config)
        put(self, "environment", environment)
        put(self, "shared", shared)
        put(self, "logger", logger)
        put(self, "deadline", deadline)
        put(self, "_scratch", scratch)

    @property
    def scratch(self) -> Path:
        """A private folder for temporary files, made on first use; it goes when the host, or the worker, ends."""
        scratch: Callable[[], Path] = self._scratch  # type: ignore[attr-defined]  # set in __init__, not declared
        return scratch()

    def replace(self, *, deadline: float | None = None, shared: Mapping[str, Any] | None = None) -> Context:
        """The same context with another deadline, or other shared data."""
        return Context(
            self.engine,
            config=self.config,
            environment=self.environment,
            shared=self.shared if shared is None else shared,
            logger=self.logger,
            scratch=self._scratch,  # type: ignore[attr-defined]
            deadline=self.deadline if deadline is None else deadline,
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a context is read-only: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a context is read-only: {name} cannot be deleted")

    def __repr__(self) -> str:
        return f"Context({self.engine!r})"


class EngineHooks:
    """The eight hooks. ``analyze`` is the only one that an engine must have."""

    @hookspec(firstresult=True)
    def setup(self, context: Context) -> Mapping[str, Any] | Generator[Mapping[str, Any], None, None] | None:
        """Make ready what all workers share.

        Runs once per host, before any worker, in the engine's home process. Start a vendor's daemon here, or compile
        rules into ``context.environment.state_home``.

        Returns:
            A mapping of plain data (at most 1 MiB), which becomes ``context.shared``, deeply read-only and the same in
            every worker; or nothing. A generator yields it once: what follows the ``yield`` is the teardown, which runs
            in the same process, also after a failed start.

        Raises:
            EngineError: The engine cannot be used; it is shown as unavailable with the message.
        """

    @hookspec(firstresult=True)
    def open_session(self, context: Context) -> object:
        """Make what one worker needs: loaded rules, a socket.

        Runs once per worker process, after ``setup``. Shares nothing with other workers.

        Returns:
            Anything; it is handed to the other hooks as ``session``. A generator yields it once: what follows the
            ``yield`` closes the session.

        Raises:
            EngineError: The worker cannot start.
        """

    @hookspec(firstresult=True)
    def analyze(
        self, artifact: Artifact, bounty: Bounty, context: Context, session: Any
    ) -> Analysis | Mapping[str, Any]:
        """Judge the artifact of one bounty.

        Runs in a worker process after ``open_session``, one bounty at a time. Should be pure: the same artifact, the
        same answer.

        Returns:
            The analysis, or a mapping in wire form, which is checked. Decline with ``Analysis.unsupported()``,
            ``.encrypted()``, ``.unsafe_decompression()`` or ``.skipped()``.

        Raises:
            EngineError: The scanner is at fault; answered ``unknown`` with the message as the reason.
        """

    @hookspec(firstresult=True)
    def info(self, context: Context, session: Any) -> EngineInfo:
        """Say what the engine is and what it takes.

        Runs once per worker, after ``open_session``. Without it the engine takes files of any type and size.

        Returns:
            Product, vendor, versions, and the artifact types, mimetypes, categories and sizes taken.
        """

    @hookspec
    def on_success(self, bounty: Bounty, analysis: Analysis, context: Context) -> None:
        """Hear of a bounty that was judged or declined.

        Runs after the outcome is certain: the engine's own in its home process, observers in the host. What it returns
        is ignored; what it raises is logged and changes nothing.
        """

    @hookspec
    def on_error(self, bounty: Bounty, failure: Failure, analysis: Analysis, context: Context) -> None:
        """Hear of a bounty that failed: the engine raised, answered garbage, took too long, or died.

        Runs as ``on_success`` does. ``failure`` says why, ``analysis`` is the ``unknown`` that is answered.
        """

    @hookspec(firstresult=True)
    def update(self, context: Context) -> None:
        """Fetch new signatures.

        Runs in the engine's home process, on ``psengine update``. Afterwards ``setup`` runs anew.

        Raises:
            EngineError: The signatures could not be updated; the old ones stay.
        """

    @hookspec(firstresult=True)
    def commands(self, context: Context, session: Any) -> Sequence[Callable[..., Any]]:
        """Offer functions of the engine on the command line, as ``psengine commands NAME``.

        Runs after ``setup`` and ``open_session``.

        Returns:
            Functions; each becomes a command made from its name, signature, annotations and docstring.
        """


HOOKS: Final = (
    "setup",
    "open_session",
    "analyze",
    "info",
    "on_success",
    "on_error",
    "update",
    "commands",
)
"""All hooks."""
OBSERVER_HOOKS: Final = ("on_success", "on_error")
"""The hooks of an observer."""
WRAPPER_HOOKS: Final = ("analyze",)
"""The hooks of a wrapper."""
