"""Observers: the user's callbacks. They hear of outcomes and can change nothing.

Each runs on a thread and a bounded queue of its own, so that a slow or broken one delays neither a bounty nor another
observer.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterable

from psengine_host.engines.blame import reason
from psengine_host.engines.found import OBSERVERS_GROUP, Registration, find_registrations
from psengine_host.engines.listeners import Listener
from psengine_host.engines.loaded import ContractBroken, check_contract, plugin_manager
from psengine_host.errors import UsageError
from psengine_host.hookspecs import OBSERVER_HOOKS, Context
from psengine_host.outcome import Outcome

__all__ = ["Observers", "load_observer"]

logger = logging.getLogger(__name__)


def load_observer(spec: str) -> object:
    """The object that ``module:attribute`` (or ``module``) names.

    Raises:
        UsageError: It cannot be imported.
    """
    module, _, attribute = spec.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        hint = "is its folder on PYTHONPATH?" if isinstance(error, ImportError) else "give it as module:attribute"
        raise UsageError(f"observer {spec}: {reason(error)}; {hint}") from error
    return found


class Observers:
    """All observers of a host: those installed in group ``psengine.observers``, and those that the user names.

    Args:
        objects: Objects or modules that implement ``on_success``, ``on_error`` or both.
        context: Gives the context of an engine by its name.
        timeout: Seconds that one call may take before its observer is dropped.
        installed: Whether to use the installed ones too.
        path: Where to look for them, as ``sys.path``; that by default.

    Raises:
        UsageError: An observer cannot be loaded, or has a hook that observers do not have.
    """

    def __init__(
        self,
        objects: Iterable[object],
        context: Callable[[str], Context],
        *,
        timeout: float,
        installed: bool = True,
        path: list[str] | None = None,
    ) -> None:
        observers: list[_Observer] = []
        for registration in find_registrations(OBSERVERS_GROUP, path) if installed else ():
            name = f"{registration.name} ({registration.origin})"
            observers.append(_Observer(name, _load(registration, name), context))
        named = [_Observer(_name_of(plugin), plugin, context) for plugin in objects]
        # One that is installed and named too still hears of each outcome once.
        observers += [each for each in named if all(each.plugin is not other.plugin for other in observers)]
        self._listeners = [Listener(f"observer {each.name}", each.hear, timeout) for each in observers]

    def __len__(self) -> int:
        return len(self._listeners)

    def notify(self, outcome: Outcome) -> None:
        """Hand an outcome to every observer; returns at once."""
        for listener in self._listeners:
            listener.put(outcome)

    def close(self, deadline: float = math.inf) -> None:
        """Wait until the observers have heard everything, each call within its time limit, and end their threads.

        Args:
            deadline: How long to wait at most, on the clock of ``time.monotonic``.
        """
        for listener in self._listeners:
            listener.close(deadline)


class _Observer:
    """One observer: an object that keeps the contract."""

    def __init__(self, name: str, plugin: object, context: Callable[[str], Context]) -> None:
        self.name = name
        self.plugin = plugin
        try:
            if not check_contract(plugin, OBSERVER_HOOKS, wrapper=False):
                raise ContractBroken("has no hook: an observer has @hookimpl on_success, on_error or both")
            self._hooks = plugin_manager(plugin, name).hook
        except Exception as error:  # ContractBroken, or what an object raises when its attributes are looked at
            raise UsageError(f"observer {name}: {reason(error)}") from error
        self._context = context

    def hear(self, outcome: Outcome) -> None:
        """Call the hook; a failure in it is logged and changes nothing."""
        failure = outcome.failure
        try:
            if failure is None:
                self._hooks.on_success(
                    bounty=outcome.bounty, analysis=outcome.analysis, context=self._context(outcome.engine)
                )
            else:
                self._hooks.on_error(
                    bounty=outcome.bounty,
                    failure=failure,
                    analysis=outcome.analysis,
                    context=self._context(outcome.engine),
                )
        except BaseException as error:  # noqa: BLE001 - an observer may raise anything and changes nothing
            hook = "on_success" if failure is None else "on_error"
            logger.error("observer %s: %s failed: %s", self.name, hook, reason(error))


def _load(registration: Registration, name: str) -> object:
    try:
        return registration.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UsageError(f"observer {name}: {reason(error)}; repair or uninstall it") from error


def _name_of(plugin: object) -> str:
    name = getattr(plugin, "__name__", None)
    return name if isinstance(name, str) else type(plugin).__name__
