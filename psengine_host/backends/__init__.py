"""Backends: where a bounty is judged. Found by their entry points in group ``psengine.backends``, ours as anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import reason
from psengine_host.engines.found import Catalog, Registration, find_registrations
from psengine_host.engines.loaded import HookTrace, Wrapper
from psengine_host.errors import UsageError, nearest
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import Outcome
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["BACKENDS_GROUP", "Backend", "BackendServices", "WorkerStatus", "create_backend"]

BACKENDS_GROUP: Final = "psengine.backends"


class WorkerStatus(NamedTuple):
    """What one worker does.

    Attributes:
        engine: The engine's name.
        number: Its number among the engine's workers, from 1 on; 0 where the engine has none.
        state: ``starting``, ``idle``, ``busy`` or ``unavailable``.
        current: What it is at work on, or why the engine is unavailable, or an empty string.
        seconds: Since when.
    """

    engine: str
    number: int
    state: str
    current: str
    seconds: float


class Backend(Protocol):
    """Where a bounty is judged. Made by calling what the entry point names with a :class:`BackendServices`."""

    def submit(self, bounty: Bounty, engine: str, *, artifact: Artifact | None = None) -> Future[Outcome]:
        """Have a bounty judged.

        Args:
            bounty: The job.
            engine: The name of an engine in the services' catalog.
            artifact: The artifact, where the caller has it already; the caller closes it when the future is done.

        Returns:
            A future whose result is the outcome; it raises nothing for an engine's fault.
        """

    def close(self) -> None:
        """End all sessions and homes; what was submitted is done."""


class BackendServices:
    """What a host hands to its backend.

    Attributes:
        settings: The host's settings.
        catalog: The installed engines.
        wrappers: Loads the wrappers of ``analyze``.
        obtainer: Gets artifacts.
        spool: Where files go.
        trace: Called after each hook, or None.
    """

    __slots__ = ("catalog", "obtainer", "settings", "spool", "trace", "wrappers")

    def __init__(
        self,
        *,
        settings: Settings,
        catalog: Catalog,
        wrappers: Callable[[], Sequence[Wrapper]],
        obtainer: Obtainer,
        spool: Spool,
        trace: HookTrace | None = None,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.wrappers = wrappers
        self.obtainer = obtainer
        self.spool = spool
        self.trace = trace


def _registrations() -> dict[str, list[Registration]]:
    by_name: dict[str, list[Registration]] = {}
    for entry in find_registrations(BACKENDS_GROUP):
        by_name.setdefault(entry.name, []).append(entry)
    return by_name


def create_backend(name: str, services: BackendServices) -> Backend:
    """The backend of a name.

    Raises:
        UsageError: There is none of that name, two distributions register it, or it cannot be loaded.
    """
    registrations = _registrations()
    if name not in registrations:
        known = ", ".join(sorted(registrations))
        raise UsageError(f"no backend is called {name!r}{nearest(name, registrations)}; there are: {known}")
    registration, *others = registrations[name]
    if others:
        owners = " and ".join(sorted(entry.origin for entry in registrations[name]))
        raise UsageError(f"two distributions register the backend {name!r}: {owners}; uninstall one")
    try:
        factory: Any = registration.load()
        backend: Backend = factory(services)
        for method in ("submit", "close"):
            if not callable(getattr(backend, method, None)):
                raise TypeError(f"what {registration.value} makes has no method {method}")
    except (KeyboardInterrupt, UsageError):
        raise
    except BaseException as error:
        raise UsageError(f"backend {name} ({registration.origin}) cannot be used: {reason(error)}") from error
    return backend
