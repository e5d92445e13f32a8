"""What all engines of a host share in this backend, and how their processes are made."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from psengine_host.artifacts import Artifact
from psengine_host.backends import BackendServices
from psengine_host.backends.process.child import Child, Owner, packed, program
from psengine_host.backends.process.crossing import registered
from psengine_host.backends.process.keeping import Keeping
from psengine_host.backends.process.limits import Limits
from psengine_host.backends.process.loop import Loop
from psengine_host.backends.process.messages import PROTOCOL, Load
from psengine_host.bounty import Bounty
from psengine_host.engines.found import WRAPPERS_GROUP, Registration, find_registrations
from psengine_host.settings import WorkerSettings
from psengine_host.spool_folders import remove_tree

__all__ = ["Surroundings", "confines"]

_OBTAINING: Final = 16
"""Artifacts that are obtained or hashed at the same time."""


def confines(workers: WorkerSettings) -> bool:
    """Whether these settings put workers under limits of the kernel's or into a sandbox."""
    limits = (workers.address_space, workers.cpu_time, workers.max_file_size, workers.open_files)
    return workers.sandbox != "none" or any(limits)


class Surroundings:
    """What the fleets of a host share.

    Attributes:
        loop: The loop whose thread they live in.
        keeping: Starts their processes.
        settings: The host's settings.
        services: What the host hands down.
        obtaining: Threads for what may take long: obtaining artifacts, hashing files.

    Args:
        services: What the host hands down.
        loop: The loop.
    """

    def __init__(self, services: BackendServices, loop: Loop) -> None:
        self.services = services
        self.settings = services.settings
        self.loop = loop
        self.keeping = Keeping(loop)
        self.obtaining = ThreadPoolExecutor(_OBTAINING, "psengine-obtain")
        self._cleaning = ThreadPoolExecutor(1, "psengine-clean")
        self._wrappers: tuple[tuple[str, str, str, str, str], ...] | None = None

    def obtain(self, bounty: Bounty, deadline: float) -> Artifact:
        """The artifact of a bounty; see :class:`~psengine_host.obtaining.Obtainer`."""
        return self.services.obtainer.obtain(bounty, deadline)

    def load(self, engine: Registration, workers: WorkerSettings) -> Load:
        """What the processes of an engine are told first."""
        if self._wrappers is None:
            # Looked for once: it takes longer than all else that a worker's start takes.
            self._wrappers = tuple(registered(entry) for entry in find_registrations(WRAPPERS_GROUP))
        host = self.settings.host
        return Load(
            PROTOCOL,
            registered(engine),
            self._wrappers,
            packed(self.settings.engines.get(engine.name, {})),
            logging.getLogger(f"psengine.engines.{engine.name}").getEffectiveLevel(),
            workers.max_result_size,
            workers.max_memory,
            host.close_timeout,
            host.observer_timeout,
            os.fsencode(self.keeping.folder),
        )

    def child(self, owner: Owner, engine: str, where: str, workers: WorkerSettings) -> Child:
        """Start a process.

        Args:
            owner: Whose it is.
            engine: The engine's name.
            where: What it is: ``home``, or ``worker 2``.
            workers: The settings of the engine's processes.

        Raises:
            OSError: It cannot be started.
            ArtifactError: The spool has no place for its folder.
            UsageError: It is to run in a sandbox or with an interpreter that there is not.
        """
        sandboxed = workers.sandbox == "bwrap" and where != "home"
        folder = os.fspath(self.services.spool.new_folder(where.replace(" ", "-")))
        try:
            command: list[str] = []
            if workers.python is not None or sandboxed:
                command = program(workers.python, self.keeping.folder)
            if sandboxed:
                from psengine_host.backends.process.sandbox import bubblewrap, require_bubblewrap

                require_bubblewrap()
                command = bubblewrap(command, scratch=folder, readable=[os.fspath(self.services.spool.folder)])
            limits = Limits(workers.address_space, workers.cpu_time, workers.max_file_size, workers.open_files)
            return Child(
                self.loop,
                self.keeping,
                owner,
                engine=engine,
                where=where,
                folder=folder,
                command=command,
                limits=limits if where != "home" else Limits(),
                longest=workers.max_result_size,
                sandboxed=sandboxed,
                confined=where != "home" and confines(workers),
                discard=self.discard,
            )
        except BaseException:
            self.discard(folder)
            raise

    def discard(self, folder: str) -> None:
        """Remove the folder of a process, in a thread of its own: there may be much in it."""
        with contextlib.suppress(RuntimeError):  # the interpreter is ending: the spool goes as a whole
            self._cleaning.submit(_remove, folder)

    def in_background(self, work: Callable[[], object], then: Callable[[], object]) -> None:
        """Do something that may take long, and afterwards something in the loop's thread."""
        once = [work]

        def both() -> None:
            try:
                begin = once.pop()
            except IndexError:  # it was put into the pool although that said no
                return
            try:
                begin()
            finally:
                self.loop.call(then)

        try:
            self.obtaining.submit(both)
        except RuntimeError:  # the main thread has ended, and with it such pools; other threads still use the host
            try:
                threading.Thread(target=both, name="psengine-obtain", daemon=True).start()
            except RuntimeError:  # there can be no more threads: better late than never
                both()

    def close(self) -> None:
        """End the keeper and the threads."""
        self.keeping.close()
        self.obtaining.shutdown(wait=False, cancel_futures=True)
        self._cleaning.shutdown(wait=True)


def _remove(folder: str) -> None:
    """Remove the folder of a process that has ended; it may have put a link in its place."""
    if os.path.islink(folder):
        os.unlink(folder)
    else:
        remove_tree(folder)
