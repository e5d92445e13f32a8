"""Running a coroutine from code that is not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_now"]

T = TypeVar("T")


def run_now(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in an event loop of its own.

    In the calling thread, or, where that already runs a loop (a notebook), in a fresh one that is waited for.

    Args:
        start: Makes the coroutine; called in the thread that runs it.

    Returns:
        What the coroutine returns; what it raises is raised here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(start())
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(start()))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="psengine-network", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
