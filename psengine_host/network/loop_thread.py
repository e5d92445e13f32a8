"""An event loop in a thread of its own, for code that is not asynchronous and goes on for longer than one exchange."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar

__all__ = ["LoopThread", "Pending"]

T = TypeVar("T")

_NAME: Final = "psengine-network"


class Pending(Future[T]):
    """The result of a coroutine that runs in another thread.

    Unlike other futures it can be cancelled while it runs, and it is done only when the coroutine has really ended:
    what the coroutine works on (a file) is then the caller's again.

    Args:
        loop: Where the coroutine runs.
        at_end: Returns or raises what this is done with where the loop ends before the coroutine does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, at_end: Callable[[], T]) -> None:
        super().__init__()
        self._loop = loop
        self._at_end = at_end
        self._task: asyncio.Task[T] | None = None
        self._unwanted = False

    def cancel(self) -> bool:
        """Ask the coroutine to end; ``done()`` tells when it has.

        Returns:
            False when it had ended already.
        """
        if self.done():
            return False
        self._unwanted = True
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and this with it
            self._loop.call_soon_threadsafe(self._cancel_task)
        return True

    def _begin(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """In the loop's thread: make the coroutine and run it."""
        if self._unwanted:
            self._give_up()
            return
        self._task = self._loop.create_task(start())
        self._task.add_done_callback(self._end)

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            if self._unwanted:
                self._give_up()
            else:
                self._end_early()
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

    def _end_early(self) -> None:
        try:
            self.set_result(self._at_end())
        except Exception as error:  # noqa: BLE001 - for whoever waits
            self.set_exception(error)

    def _give_up(self) -> None:
        super().cancel()
        self.set_running_or_notify_cancel()


class LoopThread:
    """One event loop in one daemon thread, which this starts."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._arrived: deque[tuple[Pending[Any], Callable[[], Coroutine[Any, Any, Any]], Context]] = deque()
        self._called = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the calling code runs in the loop's own thread."""
        return self._thread is threading.current_thread()

    def submit(self, start: Callable[[], Coroutine[Any, Any, T]], at_end: Callable[[], T]) -> Future[T]:
        """Run a coroutine in the loop, with the caller's context variables.

        Args:
            start: Makes the coroutine; called in the loop's thread.
            at_end: Returns or raises what the future is done with when the loop has ended, or ends before the coroutine
                does.

        Returns:
            A future that can be cancelled at any time (``Pending``). Its callbacks are called in the loop's thread and
            hold up everything in it.
        """
        pending: Pending[T] = Pending(self._loop, at_end)
        with self._lock:
            if self._closed:
                pending._end_early()
                return pending
            self._arrived.append((pending, start, copy_context()))
            if not self._called:
                # Once for all that arrive until the loop comes to it: each call is a system call, at which the two
                # threads would hand the interpreter to and fro.
                self._called = True
                self._loop.call_soon_threadsafe(self._begin_arrived)
        return pending

    def close(self, timeout: float) -> bool:
        """Cancel what still runs, end the loop and wait for its thread; in a fork of the process, do nothing.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether the thread has ended.
        """
        if self._process != os.getpid():  # before the lock, which another thread may have held at the fork
            return True
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.is_current:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _begin_arrived(self) -> None:
        self._called = False  # first, so that whoever arrives from here on is either seen or calls again
        while self._arrived:
            pending, start, context = self._arrived.popleft()
            context.run(pending._begin, start)

    async def wind_up(self) -> None:
        """The last that runs in the loop, after everything else has ended."""

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.wind_up()
