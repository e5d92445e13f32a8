"""Observers: the user's callbacks. They hear of outcomes and can change nothing.

Each runs on a thread and a bounded queue of its own, so that a slow or broken one delays neither a bounty nor another
observer.
"""

from __future__ import annotations

import collections
import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from psengine_host.engines.blame import reason
from psengine_host.engines.found import OBSERVERS_GROUP, Registration, find_registrations
from psengine_host.engines.loaded import ContractBroken, check_contract, plugin_manager
from psengine_host.errors import UsageError
from psengine_host.hookspecs import OBSERVER_HOOKS, Context
from psengine_host.outcome import Outcome

__all__ = ["QUEUE_LENGTH", "Observers", "load_observer"]

QUEUE_LENGTH: Final = 10_000
"""Outcomes that wait for one observer at most; beyond that they are counted as dropped."""

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
        raise UsageError(f"observer {spec}: {reason(error)}; give it as module:attribute") from error
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
        self._observers: list[_Observer] = []
        for registration in find_registrations(OBSERVERS_GROUP, path) if installed else ():
            name = f"{registration.name} ({registration.origin})"
            self._observers.append(_Observer(name, _load(registration, name), context, timeout))
        for plugin in objects:
            self._observers.append(_Observer(_name_of(plugin), plugin, context, timeout))

    def __len__(self) -> int:
        return len(self._observers)

    def notify(self, outcome: Outcome) -> None:
        """Hand an outcome to every observer; returns at once."""
        for observer in self._observers:
            observer.put(outcome)

    def close(self) -> None:
        """Wait until the observers have heard everything, each no longer than its time limit, and end their threads."""
        for observer in self._observers:
            observer.close()


class _Observer:
    """One observer, its queue and its thread."""

    def __init__(self, name: str, plugin: object, context: Callable[[str], Context], timeout: float) -> None:
        self.name = name
        try:
            if not check_contract(plugin, OBSERVER_HOOKS, wrapper=False):
                raise ContractBroken("has no hook: an observer has @hookimpl on_success, on_error or both")
            self._hooks = plugin_manager(plugin, name).hook
        except Exception as error:  # ContractBroken, or what an object raises when its attributes are looked at
            raise UsageError(f"observer {name}: {reason(error)}") from error
        self._context = context
        self._timeout = timeout
        self._queue: collections.deque[Outcome] = collections.deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._idle = True
        self._busy_since = 0.0
        self._given_up = False
        self._dropped = 0

    def put(self, outcome: Outcome) -> None:
        if not self._given_up and self._stuck():
            self._give_up()
        if self._given_up or len(self._queue) >= QUEUE_LENGTH:
            self._dropped += 1
            return
        self._queue.append(outcome)
        if self._idle:
            with self._wake:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name=f"observer {self.name}", daemon=True)
                    self._thread.start()
                self._wake.notify()

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        while self._thread is not None and self._thread.is_alive() and not self._given_up:
            self._thread.join(0.05)
            if self._stuck():
                self._give_up()
        if self._dropped:
            logger.error("observer %s missed %d outcomes", self.name, self._dropped)

    def _stuck(self) -> bool:
        return self._busy_since > 0 and time.monotonic() - self._busy_since > self._timeout

    def _give_up(self) -> None:
        self._given_up = True
        self._dropped += len(self._queue)
        self._queue.clear()
        logger.error("observer %s took longer than %g s over one outcome and is dropped", self.name, self._timeout)

    def _run(self) -> None:
        while True:
            while not self._given_up:
                try:
                    outcome = self._queue.popleft()
                except IndexError:  # empty, or emptied just now by whoever gave this observer up
                    break
                self._busy_since = time.monotonic()
                self._call(outcome)
                self._busy_since = 0.0
            with self._wake:
                if self._given_up or (self._closing and not self._queue):
                    return
                self._idle = True
                while not self._queue and not self._closing:
                    # The time limit covers an append that came between the test above and this wait.
                    self._wake.wait(0.2)
                self._idle = False

    def _call(self, outcome: Outcome) -> None:
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
