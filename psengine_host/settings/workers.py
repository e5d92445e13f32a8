"""The section ``[workers]``, and the tables in it of single engines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from psengine_host.errors import SettingsError, printable_name, shown
from psengine_host.settings.kinds import Choice, Duration, Integer, Kind, Size
from psengine_host.settings.section import Section
from psengine_host.settings.text_kinds import FilePath

__all__ = ["TIMEOUT_OF_ONE", "WorkerSettings", "unknown_of_engine"]

TIMEOUT_OF_ONE: Final = "is set for one engine, in its table [workers.NAME]; for all engines it is 'host.timeout'"
"""Why there is no ``workers.timeout``."""
_MOST_WORKERS: Final = 1_024
_MOST_TASKS: Final = 1_000_000_000
_MOST_OPEN_FILES: Final = 1 << 20
"""Linux's own ``fs.nr_open``, beyond which no limit can be set."""
_LEAST_RESULT: Final = 1_000
"""Bytes that a result takes which says anything."""
_LARGEST_RESULT: Final = 1 << 30
_ALIKE: Final = 0.75
"""How much alike names must be. More than elsewhere: what stands there may be meant for the engine itself (rules)."""


class WorkerSettings(Section, frozen=True, kw_only=True):
    """``[workers]``: the processes that engines work in.

    A process of an engine is held to ``address_space``, ``max_file_size``, ``open_files`` and ``cpu_time`` by the
    kernel (``setrlimit``), each process on its own account; of these and of ``max_tasks_per_worker`` and
    ``max_memory`` 0 is no limit.

    Args:
        count: Processes of one engine that judge at a time; 0 for one for each core (:attr:`processes`).
        max_tasks_per_worker: Bounties after which a process is replaced.
        max_memory: Bytes of memory that a process may occupy, with all that it started.
        tries: Tries of a bounty in all where the process that judges it dies.
        setup_timeout: Seconds for an engine to be set up.
        start_timeout: Seconds for a process to begin: to open a session and tell the engine's versions.
        max_result_size: Bytes of one result at most, as it comes from the process.
        address_space: Bytes of address space of a process.
        max_file_size: Bytes of a file that a process writes.
        open_files: Descriptors that a process has open at a time.
        cpu_time: Seconds of CPU time of a process in its whole life.
        sandbox: ``bwrap`` to have the processes in bubblewrap, ``none`` for no sandbox.
        python: Another interpreter for the processes, or None for the host's own.
        patience: Seconds that bounties wait for an engine that cannot start, or None: until their deadline.
        timeout: Seconds for one artifact, in place of ``host.timeout``; only :meth:`of` sets it, and None is the
            host's.
        engines: What single engines have otherwise: by engine's name any of these settings, ``timeout`` included.
    """

    PREFIX: ClassVar[str] = "workers."
    KINDS: ClassVar[Mapping[str, Kind]] = {
        "count": Integer(0, _MOST_WORKERS),
        "max_tasks_per_worker": Integer(0, _MOST_TASKS),
        "max_memory": Size(),
        "tries": Integer(1, 10),
        "setup_timeout": Duration(),
        "start_timeout": Duration(),
        "max_result_size": Size(_LEAST_RESULT, _LARGEST_RESULT),
        "address_space": Size(),
        "max_file_size": Size(),
        "open_files": Integer(0, _MOST_OPEN_FILES),
        "cpu_time": Duration(zero=True),
        "sandbox": Choice(("none", "bwrap")),
        "python": FilePath(),
        "patience": Duration(zero=True),
    }
    ENGINE_KINDS: ClassVar[Mapping[str, Kind]] = {**KINDS, "timeout": Duration()}
    """What each setting in the table of an engine takes."""

    count: int = 0
    max_tasks_per_worker: int = 10_000
    max_memory: int = 2_000_000_000
    tries: int = 3
    setup_timeout: float = 300.0
    start_timeout: float = 120.0
    max_result_size: int = 1_048_576
    address_space: int = 0
    max_file_size: int = 0
    open_files: int = 0
    cpu_time: float = 0.0
    sandbox: str = "none"
    python: str | None = None
    patience: float | None = None
    timeout: float | None = None
    engines: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timeout is not None:
            _check("timeout", self.timeout, "workers.timeout")
        if not isinstance(self.engines, dict):
            raise SettingsError(f"workers.engines: must be a table for each engine, got {shown(self.engines)}")
        for engine, table in self.engines.items():
            if not isinstance(engine, str) or not isinstance(table, dict):
                raise SettingsError(f"workers.engines: must be a table for each engine, got {shown({engine: table})}")
            for name, value in table.items():
                if name not in self.ENGINE_KINDS:
                    where = printable_name(f"workers.{engine}.{name}")
                    raise SettingsError(f"{where}: {unknown_of_engine(str(name), engine)}")
                _check(name, value, f"workers.{engine}.{name}")

    @property
    def is_confined(self) -> bool:
        """Whether any engine is to run in a sandbox."""
        return self.sandbox != "none" or any(self.of(name).sandbox != "none" for name in self.engines)

    def of(self, engine: str) -> WorkerSettings:
        """What holds for one engine: its own table laid over what all engines have.

        Args:
            engine: The engine's name.
        """
        table = self.engines.get(engine)
        if table:
            return msgspec.structs.replace(self, engines={}, **table)
        return msgspec.structs.replace(self, engines={}) if self.engines else self

    @property
    def processes(self) -> int:
        """How many processes judge at a time: ``count``, or the number of cores that this process may use."""
        return self.count or _cores()


def unknown_of_engine(name: str, engine: str) -> str:
    """Why there is no such setting in the table of an engine, with the one that was probably meant.

    Args:
        name: What stands there.
        engine: The engine's name.
    """
    import difflib

    known = WorkerSettings.ENGINE_KINDS
    meant = difflib.get_close_matches(name[:64], known, n=1, cutoff=_ALIKE)
    meant = meant or [setting for setting in known if len(name) > 2 and setting.startswith(f"{name}_")]
    if meant:
        return f"no such setting; did you mean {' or '.join(map(repr, meant))}?"
    return f"no such setting; what the engine itself reads stands in [engines.{printable_name(engine)}]"


def _check(name: str, value: object, key: str) -> None:
    try:
        WorkerSettings.ENGINE_KINDS[name].check(value)
    except ValueError as error:
        raise SettingsError(f"{printable_name(key)}: {error}") from None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # a container or taskset may leave fewer than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
