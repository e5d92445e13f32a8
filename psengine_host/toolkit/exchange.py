"""What a program is given to read and what it writes, through pipes, in bounded memory and in the calling thread."""

from __future__ import annotations

import array
import fcntl
import math
import os
import select
import termios
import time
from typing import Final

from psengine_host.toolkit.process_groups import ProcessGroup

__all__ = ["Exchange", "Output"]

_CHUNK: Final = 1 << 16
"""Bytes read or written at once: what a pipe of Linux holds."""
_LONGEST_WAIT: Final = 3600.0
_WITHOUT_PIDFD: Final = 0.01
"""Seconds between two looks whether the program has ended, where the kernel does not tell."""


class Output:
    """What was written to one pipe, up to a limit; what comes after it is read and dropped."""

    __slots__ = ("_left", "_parts", "descriptor", "truncated")

    def __init__(self, descriptor: int, limit: int) -> None:
        self.descriptor = descriptor
        self.truncated = False
        self._left = limit
        self._parts: list[bytes] = []

    def read(self) -> int:
        """Read once.

        Returns:
            How many bytes there were: 0 at the end, -1 where there is nothing at the moment.
        """
        try:
            part = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:
            return -1
        if len(part) > self._left:
            self.truncated = True
        if self._left and part:
            kept = part[: self._left]
            self._left -= len(kept)
            self._parts.append(kept)
        return len(part)

    def drain(self) -> None:
        """Read what is there now, and no more: whoever still holds the other end may write for ever."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self.descriptor, termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and (count := self.read()) > 0:
            left -= count

    def content(self) -> bytes:
        """What was kept."""
        return b"".join(self._parts)


class Exchange:
    """The pipes to and from one program.

    Args:
        data: What it is to read from standard input; None for nothing at all.
        limit: Bytes kept of each of its two outputs.

    Attributes:
        stdin: The program's end of its standard input, or None.
        stdout: Its end of standard output.
        stderr: Its end of standard error.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    __slots__ = ("_data", "_feed", "_open", "_poll", "_theirs", "err", "out", "stderr", "stdin", "stdout")

    def __init__(self, data: bytes | None, limit: int) -> None:
        self._open: set[int] = set()
        self._theirs: list[int] = []
        self._poll = select.poll()
        self._data = memoryview(data or b"")
        self._feed = -1
        self.stdin: int | None = None
        try:
            self.out, self.stdout = self._output(limit)
            self.err, self.stderr = self._output(limit)
            if data is not None:
                self.stdin, self._feed = self._pipe()
                os.set_blocking(self._feed, False)
                self._theirs.append(self.stdin)
                self._poll.register(self._feed, select.POLLOUT)
        except BaseException:
            self.close()
            raise

    def _output(self, limit: int) -> tuple[Output, int]:
        ours, theirs = self._pipe()
        os.set_blocking(ours, False)
        self._theirs.append(theirs)
        self._poll.register(ours, select.POLLIN)
        return Output(ours, limit), theirs

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._open.update(ends)
        return ends

    def started(self) -> None:
        """Close the program's ends: it has them now."""
        for descriptor in self._theirs:
            self._close(descriptor)
        self._theirs.clear()

    def close(self) -> None:
        """Close all that is open."""
        for descriptor in list(self._open):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.discard(descriptor)
            os.close(descriptor)

    def run(self, group: ProcessGroup, limit: float) -> bool:
        """Feed the program and read what it writes until it has ended.

        What processes that it leaves behind do with the pipes does not count.

        Args:
            group: The program.
            limit: When to stop, on the clock of ``time.monotonic``.

        Returns:
            Whether it has ended.
        """
        if group.pidfd is not None:
            self._poll.register(group.pidfd, select.POLLIN)
        while not self._step(group, limit - time.monotonic()):
            if time.monotonic() >= limit:
                return group.ended()
        return True

    def _step(self, group: ProcessGroup, wait: float) -> bool:
        """Wait for something to happen and do what is to do; whether the program has ended."""
        ended = False
        longest = _LONGEST_WAIT if group.pidfd is not None else _WITHOUT_PIDFD
        for descriptor, _ in self._poll.poll(math.ceil(1000 * max(0.0, min(wait, longest)))):
            if descriptor == group.pidfd:
                ended = True
            else:
                self._serve(descriptor)
        return ended or (group.pidfd is None and group.ended())

    def serve(self) -> None:
        """Do what can be done without waiting."""
        for descriptor, _ in self._poll.poll(0):
            self._serve(descriptor)

    def drain(self) -> None:
        """Read what is left in the pipes, whoever else holds them."""
        for output in (self.out, self.err):
            if output.descriptor in self._open:
                output.drain()

    def _serve(self, descriptor: int) -> None:
        if descriptor == self._feed:
            self._write()
            return
        for output in (self.out, self.err):
            if descriptor == output.descriptor and output.read() == 0:
                self._done(descriptor)

    def _write(self) -> None:
        try:
            written = os.write(self._feed, self._data[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended, or does not want to read more
            self._done(self._feed)
            return
        self._data = self._data[written:]
        if not self._data:
            self._done(self._feed)

    def _done(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        self._close(descriptor)
