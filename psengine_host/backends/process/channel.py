"""An engine's process's end of its channel to the host."""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import threading
import time
from typing import Final

from psengine_host.backends.process.frames import FrameReader, framed
from psengine_host.backends.process.messages import FromChild, Stop, ToChild, decode_to_child, encode

__all__ = ["Channel"]

_RECEIVE: Final = 1 << 18
_LONGEST: Final = (1 << 32) - 1


class Channel:
    """Messages to and from the host.

    Args:
        descriptor: The socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._reader = FrameReader(_LONGEST)
        self._sending = threading.Lock()
        self._process = os.getpid()
        self.messages: collections.deque[ToChild] = collections.deque()
        self.looked = 0.0

    def send(self, message: FromChild) -> None:
        """Send a message; from any thread."""
        self.send_encoded(encode(message))

    def send_encoded(self, payload: bytes) -> None:
        """Send an encoded message; from any thread."""
        with self._sending:
            self._socket.sendall(framed(payload))

    def try_send(self, message: FromChild) -> bool:
        """Send a message, unless this very thread is in the middle of another or this is a fork of the process."""
        if os.getpid() != self._process or not self._sending.acquire(timeout=1.0):
            return False
        try:
            self._socket.sendall(framed(encode(message)))
        except OSError:  # closed, by the host or by the engine
            return False
        finally:
            self._sending.release()
        return True

    def end(self) -> None:
        """Say that nothing more comes: what an engine left behind to be done at the end gets a moment, and no more."""
        with contextlib.suppress(OSError):  # the engine closed it, or the host is gone
            self._socket.shutdown(socket.SHUT_WR)

    def next(self) -> ToChild:
        """The next message; waits for it. An end of the channel is :class:`Stop`."""
        while not self.messages:
            if not self._receive(0):
                return Stop()
        return self.messages.popleft()

    def look(self) -> None:
        """Take in what has come, and wait for nothing."""
        with contextlib.suppress(BlockingIOError):
            while self._receive(socket.MSG_DONTWAIT):
                continue

    def _receive(self, flags: int) -> bool:
        try:
            data = self._socket.recv(_RECEIVE, flags)
        except BlockingIOError:
            self.looked = time.monotonic()
            raise
        except OSError:  # the other end is gone: any of several errors
            return False
        self.looked = time.monotonic()
        self.messages.extend(map(decode_to_child, self._reader.feed(data)))
        return bool(data)
