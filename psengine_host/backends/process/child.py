"""A process of an engine as the host sees it: messages to and from it, its output, its end."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import pickle
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from psengine_host.backends.process.frames import FrameReader, FrameTooLong, framed
from psengine_host.backends.process.keeping import Keeping, python_command
from psengine_host.backends.process.limits import Limits
from psengine_host.backends.process.loop import Loop, Timer
from psengine_host.backends.process.messages import (
    FromChild,
    Logged,
    Misplaced,
    ToChild,
    decode_from_child,
    encode,
)
from psengine_host.backends.process.output import OutputLog
from psengine_host.backends.process.sandbox import signal_of
from psengine_host.engines.blame import limited, printable, reason
from psengine_host.errors import PsengineError
from psengine_host.job import Job, working_on
from psengine_host.toolkit.completed_command import signal_name

__all__ = ["Child", "Owner", "death", "packed"]

_WORKER: Final = "psengine_host.backends.process.worker"
_CHANNEL: Final = "3"
_RECEIVE: Final = 1 << 18
_ROOM: Final = 1 << 16
"""Bytes that a message may have beyond a result: the other messages are short, or bounded by their own rules."""
_LONGEST_OTHER: Final = 2 << 20
"""Bytes of a message that is no result at most: what ``setup`` returned has up to 1 MiB."""
_SILENT: Final = 0.5
"""Seconds that a process may go on with its channel closed: mostly it is about to end."""
_FATAL: Final = b"Fatal Python error: "
"""With what ``faulthandler`` begins."""
_CRASH: Final = 8_000
"""Bytes of what it says that are kept."""
_DRAINED: Final = 1 << 20
"""Bytes of output that are still read when a process has ended: a stray that writes without end may hold the pipe."""
_LAST_LOOKS: Final = 64
"""Times that the channel is read when a process has ended: a stray that writes without end may hold that too."""
_UNHEARD: Final = 15.0
"""Seconds that the keeper has to tell the end of a process that was killed."""
_LONGEST_NAME: Final = 200
"""Characters of a logger's name that are looked at."""

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """Whose process it is."""

    def message(self, child: Child, message: FromChild) -> None:
        """It has sent a message."""

    def gone(self, child: Child) -> None:
        """It has ended; ``child.fate`` says how."""


class Child:
    """One process of an engine. Lives in the loop's thread.

    Attributes:
        process: Its process id; None before it runs and after its end.
        fate: How it ended, in words; empty until then.
        why: Why it was killed, where the host did it.
        confined: Whether it runs under the limits or in the sandbox of the settings.
        exit_code: Its exit code or the negative number of a signal, or None where that is not known.
    """

    def __init__(
        self,
        loop: Loop,
        keeping: Keeping,
        owner: Owner,
        *,
        engine: str,
        where: str,
        folder: str,
        command: list[str],
        limits: Limits,
        longest: int,
        sandboxed: bool,
        confined: bool,
        discard: Callable[[str], object],
    ) -> None:
        self.process: int | None = None
        self.fate = ""
        self.why = ""
        self.exit_code: int | None = None
        self.folder = folder
        self.confined = confined
        self._loop = loop
        self._keeping = keeping
        self._owner = owner
        self._engine = engine
        self._discard = discard
        self._sandboxed = sandboxed
        self._reader = FrameReader(max(longest + _ROOM, _LONGEST_OTHER))
        self._waiting: collections.deque[memoryview] = collections.deque()
        self._closed = False
        self._pidfd: int | None = None
        self._killed = False
        self._crash = b""
        self._asking: Timer | None = None
        self._output = OutputLog(engine, where)
        ours, theirs = socket.socketpair()
        try:
            reader, writer = os.pipe()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        try:
            self._number = keeping.spawn(self, command, folder, limits, theirs, writer)
        except BaseException:
            ours.close()
            os.close(reader)
            raise
        finally:
            theirs.close()
            os.close(writer)
        self._channel = ours
        self._pipe: int | None = reader
        ours.setblocking(False)
        os.set_blocking(reader, False)
        loop.watch(ours.fileno(), self._ready)
        loop.watch(reader, self._printed)

    @property
    def where(self) -> str:
        """What it is: ``home``, or ``worker 2``."""
        return self._output.where

    @where.setter
    def where(self, where: str) -> None:
        self._output.where = where

    @property
    def last_words(self) -> str:
        """What it printed last, where it ended by itself with an exit code that means a failure."""
        if not self.exit_code or self.exit_code < 0 or self.why:
            return ""
        return limited(self._output.last.decode(errors="backslashreplace"))

    @property
    def crash(self) -> str:
        """Where it was in Python when a signal ended it, as Python itself told on standard error; empty otherwise."""
        return printable(self._crash.decode(errors="backslashreplace"))

    @property
    def queued(self) -> int:
        """Messages that wait until it reads."""
        return len(self._waiting)

    def send(self, message: ToChild) -> None:
        """Send a message; it is kept until there is room for it."""
        self.send_framed(framed(encode(message)))

    def send_framed(self, data: bytes) -> bool:
        """Send frames.

        Returns:
            False where it is known that nobody will read them: it has ended, or closed its end of the channel.
        """
        if self._closed:
            return False
        if self._waiting:
            self._waiting.append(memoryview(data))
            return True
        try:
            sent = self._channel.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # any of several errors; what it has sent before is still read
            return False
        if sent < len(data):
            self._waiting.append(memoryview(data)[sent:])
            self._loop.also_writable(self._channel.fileno(), True)
        return True

    def kill(self, why: str) -> None:
        """Kill it with its group; what it left behind goes when it is gone."""
        if self._killed or self.fate:
            return
        self._killed = True
        self.why = self.why or why
        self._end_it()
        self._asking = self._loop.at(self._loop.now + _UNHEARD, self._ask_for_its_end)

    def _ask_for_its_end(self) -> None:
        if self.fate:
            return
        if self._pidfd is not None:
            end = select.poll()
            end.register(self._pidfd, select.POLLIN)
            if not end.poll(0):
                return  # it waits in the kernel, and the keeper for it
        self._keeping.give_up()

    def _end_it(self) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._keeping.kill(self._number)

    # --- the keeper tells -------------------------------------------------------------------------------------------

    def spawned(self, process: int, pidfd: int | None) -> None:
        """It runs."""
        self.process = process
        self._pidfd = pidfd
        if self._killed:
            self._end_it()

    def not_spawned(self, reason: str) -> None:
        """It does not run."""
        self.fate = f"could not be started ({reason})"
        self._end()

    def gone(self, code: int | None) -> None:
        """It has ended."""
        if self._sandboxed and code is not None and (number := signal_of(code)) is not None:
            code = -number  # bwrap itself ends with an exit code
        self.exit_code = code
        try:
            for _ in range(_LAST_LOOKS):
                if self._closed or not self._receive():
                    break
            self._drain()
        finally:
            self.fate = self.why or death(code)
            self._end()

    def _end(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self.abandon()
        self.process = None
        try:
            self._output.close()
            self._discard(self.folder)
        finally:  # whatever a handler of the log does, who waits for its end is told
            self._owner.gone(self)

    def abandon(self) -> None:
        """Close all descriptors."""
        self._close_channel()
        if self._pipe is not None:
            self._loop.forget(self._pipe)
            os.close(self._pipe)
            self._pipe = None
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    # --- the channel ------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if events & ~select.EPOLLOUT:
            self._receive()

    def _flush(self) -> None:
        while self._waiting:
            data = self._waiting[0]
            try:
                sent = self._channel.send(data)
            except BlockingIOError:
                return
            except OSError:  # as above
                self._waiting.clear()
                break
            if sent < len(data):
                self._waiting[0] = data[sent:]
                return
            self._waiting.popleft()
        self._loop.also_writable(self._channel.fileno(), False)

    def _receive(self) -> bool:
        """Take in what has come.

        Returns:
            Whether there may be more.
        """
        try:
            data = self._channel.recv(_RECEIVE)
        except BlockingIOError:
            return False
        except OSError:  # the other end is gone: any of several errors
            data = b""
        if not data:
            self._close_channel()
            self._loop.at(self._loop.now + _SILENT, lambda: self.kill("was killed: it closed its channel"))
            return False
        message = self._owner.message
        try:
            for payload in self._reader.feed(data):
                decoded = decode_from_child(payload)
                if type(decoded) is Logged:
                    self._log(decoded)
                else:
                    message(self, decoded)
        except (msgspec.MsgspecError, PsengineError, UnicodeError, ValueError, RecursionError) as error:
            known = isinstance(error, (FrameTooLong, Misplaced))
            what = reason(error) if known else f"it sent what is no message ({reason(error)})"
            self._close_channel()
            self.kill(f"was killed: {what}")
        except BaseException:
            # Half of what came has been dealt with: this one cannot go on, and what it had in hand can.
            logger.exception("a message of engine %s could not be dealt with", self._engine)
            self._close_channel()
            self.kill("was killed: a message of it could not be dealt with")
        return not self._closed

    def _close_channel(self) -> None:
        if not self._closed:
            self._closed = True
            self._waiting.clear()
            self._loop.forget(self._channel.fileno())
            self._channel.close()

    def _log(self, message: Logged) -> None:
        target = _logger_for(message.logger)
        with working_on(Job(self._engine, message.bounty, message.delivery)):
            if message.left_out:
                target.warning("%d log records were left out here: there were too many", message.left_out)
            if message.level != logging.NOTSET and target.isEnabledFor(message.level):
                record = target.makeRecord(
                    message.logger, message.level, "", 0, "%s", (message.message,), None, None, None
                )
                record.exc_text = message.traceback or None
                if message.added:
                    for name, value in msgspec.json.decode(message.added, type=dict[str, Any]).items():
                        record.__dict__.setdefault(name, value)
                target.handle(record)

    # --- the output -------------------------------------------------------------------------------------------------

    def _printed(self, _events: int) -> None:
        if self._pipe is None:
            return
        try:
            chunk = os.read(self._pipe, _RECEIVE)
        except BlockingIOError:
            return
        if chunk:
            self._take_output(chunk)
        else:  # it closed its output
            self._loop.forget(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _take_output(self, chunk: bytes) -> None:
        self._output.feed(chunk)
        if self._crash:
            self._crash += chunk[: _CRASH - len(self._crash)]
        elif (begin := chunk.find(_FATAL)) >= 0:
            self._crash = chunk[begin : begin + _CRASH]

    def _drain(self) -> None:
        drained = 0
        while self._pipe is not None and drained < _DRAINED:
            try:
                chunk = os.read(self._pipe, _RECEIVE)
            except BlockingIOError:
                return
            if not chunk:
                return
            drained += len(chunk)
            self._take_output(chunk)


def packed(config: object) -> bytes:
    """An engine's table of the settings, as :class:`~.messages.Load` has it."""
    return pickle.dumps(config)


def _logger_for(name: str) -> logging.Logger:
    """The logger that handles what is logged under a name.

    It is the one of that name, or the nearest above it that there is: a logger that is made stays for ever, and an
    engine may have a new name for each bounty.
    """
    known = logging.root.manager.loggerDict
    while name:
        found = known.get(name)
        if isinstance(found, logging.Logger):
            return found
        name = name[:_LONGEST_NAME].rpartition(".")[0]
    return logging.root


def death(code: int | None) -> str:
    """How a process ended, in words.

    Args:
        code: Its exit code, the negative number of a signal, or None: with its keeper.
    """
    if code is None:
        return "died with its keeper"
    if code >= 0:
        return f"exited with code {code}"
    return f"died of {signal_name(-code)}"


def program(python: str | None, folder: str) -> list[str]:
    """The command of a process that is no fork of the keeper.

    Args:
        python: Another interpreter, or None for this one.
        folder: What relative entries of ``sys.path`` are relative to.

    Raises:
        UsageError: It is not known where this one is.
    """
    if python is not None:
        return [python, "-P", "-m", _WORKER, _CHANNEL]
    return python_command(_WORKER, "serve", _CHANNEL, folder=folder)
