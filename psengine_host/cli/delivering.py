"""``--deliver``: answers on their way to the ``response_url`` of their bounties."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

from psengine_host.errors import PsengineError, one_line
from psengine_host.host import Host
from psengine_host.outcome import Outcome

__all__ = ["AT_ONCE", "Couriers", "delivery_problem"]

AT_ONCE: Final = 8
"""Answers that are on their way at a time."""


def delivery_problem(host: Host, outcome: Outcome) -> str | None:
    """Deliver an answer, once, and wait for what comes of it.

    Args:
        host: The host that sends it.
        outcome: The outcome.

    Returns:
        Why it was not delivered, or None.
    """
    from psengine_host.network.delivery import DeliveryStatus

    try:
        delivery = host.deliver(outcome)
    except PsengineError as error:
        return one_line(error)
    return None if delivery.status is DeliveryStatus.DELIVERED else f"not delivered: {delivery.reason}"


class Couriers:
    """Threads that deliver answers beside the scan. Nobody waits for them at an interrupt.

    Args:
        host: The host that sends them.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._errands: queue.SimpleQueue[tuple[Outcome, Callable[[str | None], None]]] = queue.SimpleQueue()
        self._threads = 0
        self._under_way = 0
        self._lock = threading.Lock()

    def send(self, outcome: Outcome, told: Callable[[str | None], None]) -> None:
        """Deliver an answer soon.

        Args:
            outcome: The outcome.
            told: Called in another thread with why it was not delivered, or None.
        """
        with self._lock:
            self._under_way += 1
            hire = self._threads < min(self._under_way, AT_ONCE)
            self._threads += hire
        self._errands.put((outcome, told))
        if hire:
            threading.Thread(target=self._run, name="psengine-courier", daemon=True).start()

    def _run(self) -> None:
        while True:
            outcome, told = self._errands.get()
            try:
                problem = delivery_problem(self._host, outcome)
            except Exception as error:  # noqa: BLE001 - whoever waits for it must not wait for ever
                problem = f"not delivered: {one_line(error)}"
            with self._lock:
                self._under_way -= 1
            told(problem)
