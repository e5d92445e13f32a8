"""Intake: inputs one by one, without waiting for whoever still writes the list that names them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from psengine_host.cli.inputs import Input

__all__ = ["Intake", "IntakeBeside", "IntakeOnDemand"]

WAITING: Final = 1_000
"""Inputs that were read beside the scan and wait for it, at most."""


class Intake(Protocol):
    """Where a scan gets its inputs from.

    Attributes:
        ended: Whether there will be no more.
    """

    ended: bool

    def take(self) -> Input | None:
        """The next input, or None where there is none at the moment, or none any more."""

    def stop(self) -> None:
        """Nobody wants any more."""


class IntakeOnDemand:
    """Reads the next input when it is asked for. For what waits for nobody: arguments, folders, files with lists.

    Args:
        inputs: The inputs.
    """

    def __init__(self, inputs: Iterable[Input]) -> None:
        self.ended = False
        self._inputs = iter(inputs)

    def take(self) -> Input | None:
        """The next input, or None at the end."""
        for item in self._inputs:
            return item
        self.ended = True
        return None

    def stop(self) -> None:
        """Nobody wants any more."""
        self.ended = True


class IntakeBeside:
    """Reads inputs in a thread of its own, so that nobody else waits where they come slowly.

    Nobody waits for the thread at the end either: it may be waiting for a name that never comes.

    Args:
        inputs: The inputs; used in that thread only.
        arrived: Called in that thread whenever there is an input, and at the end.
    """

    def __init__(self, inputs: Iterable[Input], arrived: Callable[[], None]) -> None:
        self.ended = False
        self._arrived = arrived
        self._waiting: deque[Input] = deque()
        self._room = threading.Semaphore(WAITING)
        self._read_to_the_end = False
        self._stopped = False
        self._error: BaseException | None = None
        threading.Thread(target=self._read, args=(inputs,), name="psengine-intake", daemon=True).start()

    def take(self) -> Input | None:
        """The next input, or None where there is none at the moment, or none any more.

        Raises:
            Exception: What reading the inputs raised.
        """
        complete = self._read_to_the_end  # asked first: what arrives between the two questions is not missed
        if self._waiting:
            self._room.release()
            return self._waiting.popleft()
        if complete:
            self.ended = True
            if self._error is not None:
                raise self._error
        return None

    def stop(self) -> None:
        """Read no more than what is being read."""
        self._stopped = True
        self._room.release()

    def _read(self, inputs: Iterable[Input]) -> None:
        try:
            for item in inputs:
                self._room.acquire()
                if self._stopped:
                    return
                self._waiting.append(item)
                self._arrived()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that takes
            self._error = error
        finally:
            self._read_to_the_end = True
            self._arrived()
