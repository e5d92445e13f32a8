"""Loading: an entry point becomes an engine or a wrapper that keeps the contract, or the reason why not."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import pluggy

from psengine_host.engines.blame import reason as reason_of
from psengine_host.engines.found import WRAPPERS_GROUP, BrokenEngine, FoundEngine, Registration, find_registrations
from psengine_host.errors import EngineBroken, PsengineError, UsageError, nearest
from psengine_host.hookspecs import HOOKS, PROJECT, WRAPPER_HOOKS, EngineHooks

__all__ = [
    "ContractBroken",
    "Engine",
    "HookTrace",
    "Wrapper",
    "as_wrapper",
    "check_contract",
    "load_engine",
    "load_wrappers",
    "plugin_manager",
    "require_engine",
]

logger = logging.getLogger(__name__)

HookTrace = Callable[[str, str, dict[str, Any], object, float], None]
"""Called after each hook: who implements it, the hook, its arguments, its result or exception, the seconds taken."""

_ARGUMENTS: Final = {hook: tuple(inspect.signature(getattr(EngineHooks, hook)).parameters)[1:] for hook in HOOKS}


class ContractBroken(PsengineError):
    """A plugin whose hooks are not those of the contract; the message says which and what to do."""


class Wrapper:
    """A loaded wrapper of ``analyze``: its registration and the object that has the hook."""

    __slots__ = ("plugin", "registration")

    def __init__(self, registration: Registration, plugin: object) -> None:
        self.registration = registration
        self.plugin = plugin

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"wrapper {self.registration.name} ({self.registration.origin})"


class Engine:
    """A loaded engine, with a plugin manager of its own.

    Attributes:
        found: What was found of it before it was loaded.
        manager: Its plugin manager; the wrappers of ``analyze`` are registered there too.
        hooks: What to call.
    """

    __slots__ = ("found", "hooks", "manager", "plugin")

    def __init__(self, found: FoundEngine, plugin: object, manager: pluggy.PluginManager) -> None:
        self.found = found
        self.plugin = plugin
        self.manager = manager
        self.hooks = manager.hook

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.found.name

    @property
    def version(self) -> str:
        """The version of the engine's distribution."""
        return self.found.version

    def has(self, hook: str) -> bool:
        """Whether the engine implements a hook."""
        return bool(getattr(self.hooks, hook).get_hookimpls())

    def takes(self, hook: str, argument: str) -> bool:
        """Whether any implementation of a hook, wrappers included, asks for an argument."""
        return any(argument in implementation.argnames for implementation in getattr(self.hooks, hook).get_hookimpls())

    def __repr__(self) -> str:
        return f"Engine({self.name!r})"


def load_engine(
    found: FoundEngine | BrokenEngine, wrappers: Sequence[Wrapper] = (), trace: HookTrace | None = None
) -> Engine | BrokenEngine:
    """Import an engine and check that it keeps the contract.

    Whatever its import does, this returns: an ``ImportError``, ``SystemExit`` or ``SyntaxError`` is the reason of a
    :class:`BrokenEngine`. Only the user's own interrupt passes through.

    Args:
        found: The engine; a broken one is returned as it is.
        wrappers: Wrappers of ``analyze``, the outermost first.
        trace: Called after each hook.
    """
    if isinstance(found, BrokenEngine):
        return found
    try:
        plugin = found.load()
        implemented = check_contract(plugin, HOOKS, wrapper=False)
        if "analyze" not in implemented:
            raise ContractBroken(_no_analyze(plugin))
        _warn_of_unmarked(found.name, plugin, implemented)
        manager = plugin_manager(plugin, found.name)
        for wrapper in reversed(wrappers):  # pluggy calls the last registered first, so that it is the outermost
            manager.register(wrapper.plugin, name=wrapper.title)
        if trace is not None:
            _trace(manager, found.name, trace)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an engine may raise anything while it is imported
        return BrokenEngine(found, _reason(error), error)
    return Engine(found, plugin, manager)


def require_engine(loaded: Engine | BrokenEngine) -> Engine:
    """The engine, or an error that says why it cannot be used.

    Raises:
        EngineBroken: It is broken.
    """
    if isinstance(loaded, BrokenEngine):
        raise EngineBroken(loaded.name, loaded.origin, loaded.reason) from loaded.error
    return loaded


def load_wrappers(path: list[str] | None = None, registrations: Iterable[Registration] | None = None) -> list[Wrapper]:
    """The installed wrappers of ``analyze`` (group ``psengine.wrappers``), in order of name.

    A wrapper may be policy, so one that cannot be loaded is an error, not a warning.

    Args:
        path: Where to look, as ``sys.path``; that by default.
        registrations: What somebody else has found already; then nothing is looked for.

    Raises:
        UsageError: One cannot be loaded or breaks the contract, or two are one object; names the distribution.
    """
    wrappers: list[Wrapper] = []
    found = find_registrations(WRAPPERS_GROUP, path) if registrations is None else registrations
    for registration in sorted(found, key=lambda entry: entry.name):
        try:
            wrapper = as_wrapper(registration, registration.load())
            for other in wrappers:
                if other.plugin is wrapper.plugin:
                    raise ContractBroken(f"is the same object as {other.title}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            message = f"wrapper {registration.name} ({registration.origin}): {_reason(error)}; repair or uninstall it"
            raise UsageError(message) from error
        wrappers.append(wrapper)
    return wrappers


def as_wrapper(registration: Registration, plugin: object) -> Wrapper:
    """An object as a wrapper of ``analyze``.

    Args:
        registration: What names it.
        plugin: A module or an object.

    Raises:
        ContractBroken: It is no wrapper.
    """
    if not check_contract(plugin, WRAPPER_HOOKS, wrapper=True):
        raise ContractBroken("has no hook: a wrapper has @hookimpl(wrapper=True) analyze")
    plugin_manager(plugin, registration.name)  # pluggy refuses what does not yield; else every engine had that blame
    return Wrapper(registration, plugin)


def check_contract(plugin: object, allowed: Iterable[str], *, wrapper: bool) -> set[str]:
    """The hooks that an object implements.

    pluggy itself passes nothing for a parameter with a default and says nothing of an undecorated function, so the
    contract is checked before it sees the object.

    Args:
        plugin: A module or an object.
        allowed: The hooks it may implement.
        wrapper: Whether its hooks must be wrappers (else they must not).

    Raises:
        ContractBroken: A hook that there is not, or not here; a parameter that no hook has, or that has a default.
    """
    if inspect.isclass(plugin):
        raise ContractBroken(f"the entry point names the class {plugin.__name__}: let it name a module or an instance")
    manager = pluggy.PluginManager(PROJECT)
    allowed = tuple(allowed)
    implemented = set()
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is None:
            continue
        hook = options.get("specname") or name
        function = getattr(plugin, name)
        if hook not in HOOKS:
            raise ContractBroken(f"{hook}: no such hook{nearest(hook, allowed)}")
        if hook not in allowed:
            raise ContractBroken(f"{hook}: not a hook of an observer or wrapper; only {' and '.join(allowed)}")
        wraps = bool(options.get("wrapper") or options.get("hookwrapper"))
        if wrapper and not wraps:
            raise ContractBroken(f"{hook}: a wrapper must be marked @hookimpl(wrapper=True)")
        if wraps and not wrapper:
            raise ContractBroken(
                f"{hook}: an engine does not wrap its own hooks; register under group {WRAPPERS_GROUP}"
            )
        _check_parameters(hook, function)
        implemented.add(hook)
    return implemented


def plugin_manager(plugin: object, name: str) -> pluggy.PluginManager:
    """A plugin manager that knows the hooks and holds one plugin.

    Raises:
        ContractBroken: The plugin has a hook that there is not.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(EngineHooks)
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise ContractBroken(" ".join(str(error).split())) from error
    return manager


def _check_parameters(hook: str, function: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ContractBroken(f"{hook}: is a coroutine function; hooks are plain functions")
    known = _ARGUMENTS[hook]
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            kind = "keyword-only parameter" if parameter.kind is parameter.KEYWORD_ONLY else "parameter"
            name = str(parameter).partition(":")[0].partition("=")[0]
            raise ContractBroken(f"{hook}: {kind} {name} would never be passed; name what is wanted")
        if parameter.name not in known:
            offer = nearest(parameter.name, known) or f"; it may take {', '.join(known)}"
            raise ContractBroken(f"{hook}: no parameter is called {parameter.name!r}{offer}")
        if parameter.default is not parameter.empty:
            raise ContractBroken(
                f"{hook}: parameter {parameter.name!r} has a default and would never be passed; remove it"
            )


def _no_analyze(plugin: object) -> str:
    if callable(getattr(plugin, "analyze", None)):
        return "analyze is not marked as a hook; put @hookimpl before it"
    return "has no analyze hook; define one marked @hookimpl"


def _warn_of_unmarked(engine: str, plugin: object, implemented: set[str]) -> None:
    """What has a hook's name and is none is mostly a forgotten decorator, or a submodule that took the hook's place."""
    for hook in HOOKS:
        value = None if hook in implemented else getattr(plugin, hook, None)
        if inspect.ismodule(value):
            logger.warning(
                "engine %s: the module %s has the name of a hook and hides it; rename the module",
                engine,
                value.__name__,
            )
        elif inspect.isfunction(value) and value.__module__ == getattr(plugin, "__name__", None):
            logger.warning(
                "engine %s: %s is not marked as a hook and is never called; put @hookimpl before it", engine, hook
            )


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"{reason_of(error)} when it was imported"
    return reason_of(error)


def _trace(manager: pluggy.PluginManager, engine: str, trace: HookTrace) -> None:
    import time

    began: list[float] = []

    # pluggy hands over everything by position.
    def before(_hook: str, _implementations: object, _arguments: object) -> None:
        began.append(time.perf_counter())

    def after(
        outcome: pluggy.Result[Any], hook: str, implementations: Sequence[object], arguments: Mapping[str, object]
    ) -> None:
        seconds = time.perf_counter() - began.pop()
        if not implementations:  # asked for, but the engine has none
            return
        result = outcome.exception if outcome.exception is not None else outcome.get_result()
        trace(engine, hook, dict(arguments), result, seconds)

    manager.add_hookcall_monitoring(before, after)
