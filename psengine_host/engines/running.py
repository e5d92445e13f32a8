"""Running one engine: its home (``setup``, the author's callbacks) and a session (``analyze`` and what goes with it).

With the local backend both live in one process; with the others each in its own. A hook that fails raises
:class:`~psengine_host.errors.EngineFault` with the cause chained.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generic, Self, TypeVar

import msgspec

from psengine_host.analysis import EngineInfo
from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import reason
from psengine_host.engines.loaded import Engine
from psengine_host.environment import EngineEnvironment
from psengine_host.errors import EngineFault, shown
from psengine_host.hookspecs import Context
from psengine_host.job import Job, current_job, working_on
from psengine_host.outcome import Outcome
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["MAX_SHARED", "Home", "Session", "context_for", "frozen"]

MAX_SHARED: Final = 1 << 20
"""Bytes of ``context.shared`` at most, as msgpack."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


def context_for(
    engine: str,
    settings: Settings,
    spool: Spool,
    environ: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> Context:
    """The context of an engine before its ``setup``.

    Args:
        engine: The engine's name.
        settings: Whose table ``[engines.NAME]`` becomes ``context.config``.
        spool: Where ``context.scratch`` is made.
        environ: Where the engine's variables are looked up; the process's by default.
        folder: Where relative paths in them start; the working directory by default.
    """
    made: list[Path] = []

    def scratch() -> Path:
        if not made:
            made.append(spool.new_folder("scratch"))
        return made[0]

    return Context(
        engine,
        config=frozen(settings.engines.get(engine, {})),
        environment=EngineEnvironment(engine, environ, folder),
        shared=MappingProxyType({}),
        logger=logging.getLogger(f"psengine.engines.{engine}"),
        scratch=scratch,
    )


def frozen(value: Any) -> Any:  # noqa: ANN401 - any plain data
    """Plain data made deeply read-only: mappings become mapping proxies, lists tuples, sets frozen sets."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(value)
    return value


class Home:
    """One engine's home: ``setup`` once per host, its teardown, the author's callbacks and ``update``.

    Args:
        engine: The loaded engine.
        context: Its context before ``setup``.
    """

    def __init__(self, engine: Engine, context: Context) -> None:
        self.engine = engine
        self.context = context
        self._bare = context
        self._setup = self._generation()
        self._hears_success = engine.has("on_success")
        self._hears_errors = engine.has("on_error")

    def start(self) -> Context:
        """Run ``setup``.

        Returns:
            The context with ``shared`` filled in; for the workers.

        Raises:
            EngineFault: ``setup`` failed, or what it returned is no mapping of plain data of at most 1 MiB. What it had
                begun has been torn down.
        """
        self.context = self._begin(self._setup)
        return self.context

    def stop(self, *, strict: bool = False) -> None:
        """Run the teardown, if there is one.

        Args:
            strict: Whether a failure in it is raised, as an ``EngineFault``; else it is logged.
        """
        self._setup.leave(strict=strict)

    def update(self) -> None:
        """Run ``update``, then ``setup`` as a new generation, then the teardown of the old one.

        Raises:
            EngineFault: ``update`` or the new ``setup`` failed; the old generation stays.
        """
        with _blaming(self.engine.name, "update"):
            self.engine.hooks.update(context=self.context)
        new = self._generation()
        self.context = self._begin(new)
        old, self._setup = self._setup, new
        old.leave(strict=False)

    @property
    def hears(self) -> bool:
        """Whether the engine has ``on_success`` or ``on_error``."""
        return self._hears_success or self._hears_errors

    def hear(self, outcome: Outcome) -> None:
        """Call the author's ``on_success`` or ``on_error``; a failure in it is logged and changes nothing."""
        if outcome.failure is None:
            if self._hears_success:
                with _logging(self.engine.name, "on_success"):
                    self.engine.hooks.on_success(bounty=outcome.bounty, analysis=outcome.analysis, context=self.context)
        elif self._hears_errors:
            with _logging(self.engine.name, "on_error"):
                self.engine.hooks.on_error(
                    bounty=outcome.bounty, failure=outcome.failure, analysis=outcome.analysis, context=self.context
                )

    def _generation(self) -> _Yielding[Mapping[str, Any] | None]:
        return _Yielding(self.engine.name, "setup")

    def _begin(self, generation: _Yielding[Mapping[str, Any] | None]) -> Context:
        returned = generation.enter(lambda: self.engine.hooks.setup(context=self._bare))
        try:
            return self._bare.replace(shared=self._plain(returned))
        except BaseException:
            generation.leave(strict=False)
            raise

    def _plain(self, returned: object) -> Mapping[str, Any]:
        """What ``setup`` returned, through msgpack and back: workers get the same, wherever they run."""
        if returned is None:
            return MappingProxyType({})
        if not isinstance(returned, Mapping):
            raise EngineFault(self.engine.name, "setup", f"must return a mapping or None, not {_kind(returned)}")
        with _blaming(self.engine.name, "setup"):
            mapping = dict(returned)
        try:
            _check_plain(mapping)
            packed = msgspec.msgpack.encode(mapping)
            plain = msgspec.msgpack.decode(packed, type=dict[str, Any])
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            message = f"must return plain data (text, bytes, numbers, lists, mappings): {reason(error)}"
            raise EngineFault(self.engine.name, "setup", message) from error
        if len(packed) > MAX_SHARED:
            message = f"returned {len(packed)} bytes of shared data, more than {MAX_SHARED}; keep it in a file"
            raise EngineFault(self.engine.name, "setup", message)
        shared: Mapping[str, Any] = frozen(plain)
        return shared


def _check_plain(value: object) -> None:
    """Refuse what would come back from the worker's channel as something else: a date as text, a set as a list."""
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"the key {key!r} is a {type(key).__name__}, not text")
            _check_plain(item)
    elif type(value) in (list, tuple):
        for item in value:  # type: ignore[attr-defined]  # its type was just compared
            _check_plain(item)
    elif value is not None and type(value) not in (str, bytes, bool, int, float):
        raise TypeError(f"{shown(value)} is {_kind(value)}")


class Session:
    """One engine's session: ``open_session`` and its end, ``info``, ``analyze`` and ``commands``.

    Args:
        engine: The loaded engine.
        context: Its context after ``setup``.
    """

    def __init__(self, engine: Engine, context: Context) -> None:
        self.engine = engine
        self.context = context
        self.session: object = None
        self.info = EngineInfo()
        self._open = _Yielding[object](engine.name, "open_session")
        self._wants_context = engine.takes("analyze", "context")

    def open(self) -> Self:
        """Run ``open_session`` and ``info``.

        Raises:
            EngineFault: Either failed; what had begun has been ended.
        """
        self.session = self._open.enter(lambda: self.engine.hooks.open_session(context=self.context))
        try:
            if self.engine.has("info"):
                with _blaming(self.engine.name, "info"):
                    info = self.engine.hooks.info(context=self.context, session=self.session)
                if not isinstance(info, EngineInfo):
                    raise EngineFault(self.engine.name, "info", f"must return an EngineInfo, not {_kind(info)}")
                self.info = info
        except BaseException:
            self.close()
            raise
        return self

    def analyze(self, artifact: Artifact, bounty: Bounty, deadline: float = math.inf) -> object:
        """Run ``analyze``, wrappers included.

        Args:
            artifact: What to judge.
            bounty: The job it belongs to.
            deadline: When an answer is too late, on the clock of ``time.monotonic``.

        Returns:
            Whatever the engine returned, unchecked.
        """
        context = self.context
        if self._wants_context and deadline != math.inf:
            context = context.replace(deadline=deadline)
        return self.engine.hooks.analyze(artifact=artifact, bounty=bounty, context=context, session=self.session)

    def commands(self) -> Sequence[Callable[..., Any]]:
        """The functions that the engine offers on the command line; empty without the hook.

        Raises:
            EngineFault: The hook failed, or did not return a sequence of callables.
        """
        if not self.engine.has("commands"):
            return ()
        with _blaming(self.engine.name, "commands"):
            functions = self.engine.hooks.commands(context=self.context, session=self.session)
            offered = tuple(functions or ())
        for function in offered:
            if not callable(function):
                raise EngineFault(self.engine.name, "commands", f"must return functions, not {_kind(function)}")
        return offered

    def close(self, *, strict: bool = False) -> None:
        """End the session.

        Args:
            strict: Whether a failure in that is raised, as an ``EngineFault``; else it is logged.
        """
        self._open.leave(strict=strict)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Yielding(Generic[T]):
    """A hook that returns its value, or yields it once and goes on after the ``yield`` when it is over."""

    def __init__(self, engine: str, hook: str) -> None:
        self._engine = engine
        self._hook = hook
        self._generator: Generator[Any, Any, Any] | None = None

    def enter(self, call: Callable[[], Any]) -> T:
        with _blaming(self._engine, self._hook):
            value: Any = call()
            if inspect.isgenerator(value):
                self._generator = value
                try:
                    value = next(value)
                except StopIteration:
                    self._generator = None
                    raise EngineFault(self._engine, self._hook, "ended without a yield") from None
                except BaseException:
                    self._generator = None
                    raise
            result: T = value
            return result

    def leave(self, *, strict: bool) -> None:
        generator, self._generator = self._generator, None
        if generator is None:
            return
        with nullcontext() if strict else _logging(self._engine, self._hook), _blaming(self._engine, self._hook):
            try:
                next(generator)
            except StopIteration:
                return
            try:
                generator.close()  # else the rest of it runs whenever the garbage collector comes by
            finally:
                raise EngineFault(self._engine, self._hook, "yielded twice")


@contextmanager
def _blaming(engine: str, hook: str) -> Iterator[None]:
    try:
        with working_on(current_job() or Job(engine)):
            yield
    except (KeyboardInterrupt, EngineFault):
        raise
    except BaseException as error:
        raise EngineFault(engine, hook, reason(error)) from error


@contextmanager
def _logging(engine: str, hook: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # An EngineFault names the engine and the hook itself.
        text = error.message if isinstance(error, EngineFault) else reason(error)
        logger.error("engine %s: %s failed: %s", engine, hook, text, exc_info=_wants_traceback(error))


def _wants_traceback(error: BaseException) -> BaseException | None:
    return error if logger.isEnabledFor(logging.DEBUG) else None


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
