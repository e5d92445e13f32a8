"""``-v`` on a terminal: what each worker does, in a line below the progress bar."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from psengine_host.cli.rows import shown_name

if TYPE_CHECKING:
    from psengine_host.backends import WorkerStatus
    from psengine_host.host import Host

__all__ = ["worker_lines"]

MOST: Final = 16
"""Workers that are shown; more would push the rows off a terminal."""


def worker_lines(host: Host) -> Sequence[str]:
    """One line a worker: its engine and number, its state, since when, and what it judges.

    Args:
        host: The host.

    Returns:
        The lines; none where the backend has no workers.
    """
    workers = host.workers()
    lines = [_line(worker) for worker in workers[:MOST]]
    if len(workers) > MOST:
        lines.append(f"  and {len(workers) - MOST} more")
    return lines


def _line(worker: WorkerStatus) -> str:
    name = f"{worker.engine} {worker.number}" if worker.number else worker.engine
    line = f"  {name}: {worker.state} {worker.seconds:,.1f} s"
    return f"{line} {shown_name(os.path.basename(worker.current) or worker.current)}" if worker.current else line
