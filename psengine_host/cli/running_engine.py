"""One engine, loaded and started in this process, for the commands that look at one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psengine_host.engines.found import BrokenEngine
from psengine_host.engines.loaded import Engine, HookTrace, load_engine, load_wrappers, require_engine
from psengine_host.engines.running import Home, Session, context_for
from psengine_host.host import usable_engines
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["loaded_engine", "open_home", "open_session"]


def loaded_engine(name: str, settings: Settings, trace: HookTrace | None = None) -> Engine | BrokenEngine:
    """An engine by name, loaded.

    Raises:
        UnknownEngine: There is none of that name.
    """
    return load_engine(usable_engines(settings)[name], load_wrappers(), trace)


@contextmanager
def open_home(name: str, settings: Settings, *, start: bool = True, trace: HookTrace | None = None) -> Iterator[Home]:
    """An engine's home, after ``setup``; its teardown runs at the end.

    Args:
        name: The engine's name.
        settings: The host's settings.
        start: Whether to run ``setup``.
        trace: Called after each hook.

    Raises:
        UnknownEngine: There is none of that name.
        EngineBroken: It cannot be loaded.
        EngineFault: ``setup`` failed.
    """
    engine = require_engine(loaded_engine(name, settings, trace))
    with Spool() as spool:
        home = Home(engine, context_for(name, settings, spool))
        if start:
            home.start()
        try:
            yield home
        finally:
            home.stop()


@contextmanager
def open_session(name: str, settings: Settings, trace: HookTrace | None = None) -> Iterator[tuple[Home, Session]]:
    """An engine's home and an open session.

    Raises:
        UnknownEngine: There is none of that name.
        EngineBroken: It cannot be loaded.
        EngineFault: ``setup``, ``open_session`` or ``info`` failed.
    """
    with open_home(name, settings, trace=trace) as home, Session(home.engine, home.context) as session:
        yield home, session
