"""The host's side of the keeper: it is started when the first process is, and anew where somebody killed it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import subprocess
import sys
import tempfile
from typing import Final, Protocol

from psengine_host.backends.process import linux
from psengine_host.backends.process.keeper import (
    LONGEST_MESSAGE,
    Begin,
    Gone,
    Kill,
    Spawn,
    Spawned,
    SpawnFailed,
    decode_from_keeper,
)
from psengine_host.backends.process.limits import Limits
from psengine_host.backends.process.loop import Loop
from psengine_host.backends.process.messages import encode
from psengine_host.errors import UsageError, one_line
from psengine_host.toolkit.command_environment import command_environment
from psengine_host.toolkit.completed_command import signal_name
from psengine_host.toolkit.process_groups import MARK_VARIABLE, ProcessGroup, put_mark

__all__ = ["Keeping", "Kept", "python_command"]

_KEEPER: Final = "psengine_host.backends.process.keeper"
_COMPLAINT: Final = 2_000
"""Bytes of what a keeper says on its standard error that are told, from its end."""
_END: Final = 2.0
"""Seconds that a keeper has to kill everything and end."""

logger = logging.getLogger(__name__)


class Kept(Protocol):
    """A process that the keeper has."""

    def spawned(self, process: int, pidfd: int | None) -> None:
        """It runs; the descriptor is the callee's, and None where this process can have no more."""

    def not_spawned(self, reason: str) -> None:
        """It does not run, and will not."""

    def gone(self, code: int | None) -> None:
        """It has ended: with an exit code, by a signal (its negative number), or with its keeper (None)."""


def python_command(module: str, function: str, descriptor: str, *, folder: str = "") -> list[str]:
    """This interpreter, with this ``sys.path``, calling a function of ours with a descriptor.

    Args:
        module: Where the function is.
        function: Its name.
        descriptor: What it is called with, in digits.
        folder: What relative entries of the path are relative to; the working directory by default.

    Raises:
        UsageError: It is not known where the interpreter is.
    """
    if not sys.executable:
        raise UsageError("this Python does not know its own program (sys.executable), which the process backend starts")
    # Relative entries mean another folder elsewhere.
    path = [os.path.abspath(os.path.join(folder, place)) for place in sys.path]
    code = f"import sys; sys.path[:] = sys.argv[2:]; from {module} import {function}; {function}(int(sys.argv[1]))"
    return [sys.executable, "-P", "-c", code, descriptor, *path]


class Keeping:
    """Starts and ends processes by way of a keeper. Lives in the loop's thread.

    Attributes:
        folder: What relative entries of ``sys.path`` are relative to: the working directory when this was made.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        # The engines have been found from here; the program may be elsewhere when the first of them starts.
        self.folder = ""
        with contextlib.suppress(OSError):  # it has been removed
            self.folder = os.getcwd()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._complaint: int | None = None
        self._given_up = False
        self._mark = b""
        self._kept: dict[int, Kept] = {}
        self._number = 0

    @property
    def process(self) -> int | None:
        """The keeper's process id; None where there is none."""
        guard = self._process  # the program that was started
        if guard is None:
            return None
        for child in linux.children_of(guard.pid):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(child) == guard.pid:  # else it is what a keeper that was killed has left to its guard
                    return child
        return None

    def spawn(
        self, kept: Kept, command: list[str], folder: str, limits: Limits, channel: socket.socket, output: int
    ) -> int:
        """Start a process.

        Args:
            kept: Who is told of it.
            command: The program, or empty for a fork of the keeper.
            folder: Where it starts.
            limits: Limits of its resources.
            channel: The socket that it talks over; the caller closes its copy.
            output: Where its output goes; the caller closes its copy.

        Returns:
            Its number, for :meth:`kill`.

        Raises:
            OSError: The keeper cannot be started, or has just ended.
            UsageError: There is no interpreter to start it with.
        """
        if self._socket is None:
            self._start()
        self._number += 1
        message = Spawn(self._number, [os.fsencode(word) for word in command], os.fsencode(folder), limits)
        self._send(message, channel.fileno(), output)
        self._kept[self._number] = kept
        return self._number

    def kill(self, number: int) -> None:
        """Kill a process with its group; one that is gone is no error."""
        if number in self._kept:
            # Where the keeper is dead, all of them die anyway; where its socket is full, the pidfd was enough.
            with contextlib.suppress(OSError):
                self._send(Kill(number))

    def give_up(self) -> None:
        """Kill a keeper that does not do its work, because somebody stopped it, say; another is started."""
        guard = self._process
        if guard is not None and not self._given_up:
            self._given_up = True
            logger.error("the keeper of the engines' processes does not answer, and is killed")
            guard.kill()  # the kernel kills the keeper with it, and all processes with that

    def close(self) -> None:
        """Have the keeper kill what is left, and wait for its end."""
        keeper, process = self._socket, self._process
        if keeper is None or process is None:
            return
        self._loop.forget(keeper.fileno())
        keeper.close()
        self._socket = self._process = None
        self._kept.clear()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:  # what it kills waits for a broken disk, say
            process.kill()
            process.wait()
        self._close_complaint()

    def abandon(self) -> None:
        """Close the descriptors, in a fork of the host: the keeper is the parent's."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.returncode = 0  # not a child of this process
            self._process = None
        self._close_complaint()
        self._kept.clear()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            complaint = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        except BaseException:
            ours.close()
            theirs.close()
            raise
        try:
            self._complaint = os.dup(complaint.fileno())
            environment = command_environment()
            self._mark = put_mark(environment, os.environ.get(MARK_VARIABLE))
            self._process = subprocess.Popen(  # noqa: S603 - a list of words
                python_command(_KEEPER, "main", str(theirs.fileno()), folder=self.folder),
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaint,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            self._close_complaint()
            raise
        finally:
            theirs.close()
            complaint.close()
        self._socket = ours
        self._given_up = False
        ours.setblocking(False)
        self._loop.watch(ours.fileno(), lambda _: self._receive())
        self._send(Begin(os.getpid()))

    def _send(self, message: Begin | Spawn | Kill, *descriptors: int) -> None:
        if self._socket is None:
            raise ConnectionResetError("the keeper has ended")
        try:
            socket.send_fds(self._socket, [encode(message)], descriptors)
        except (BrokenPipeError, ConnectionResetError) as error:  # what it said is told when its end is noticed
            raise ConnectionResetError("the keeper has just ended") from error

    def _receive(self) -> None:
        while self._socket is not None:
            try:
                data, descriptors, *_ = socket.recv_fds(self._socket, LONGEST_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:  # the other end is gone: any of several errors
                data, descriptors = b"", []
            if not data:
                self._lose()
                return
            self._told(data, descriptors)

    def _told(self, data: bytes, descriptors: list[int]) -> None:
        message = decode_from_keeper(data)
        if isinstance(message, Spawned):
            if (kept := self._kept.get(message.number)) is not None:
                kept.spawned(message.process, descriptors[0] if descriptors else None)
            else:
                for descriptor in descriptors:
                    os.close(descriptor)
        elif (kept := self._kept.pop(message.number, None)) is not None:
            if isinstance(message, SpawnFailed):
                kept.not_spawned(message.reason)
            elif isinstance(message, Gone):
                kept.gone(message.code)

    def _lose(self) -> None:
        """The keeper is dead, and the kernel has killed its processes; if its guard is too, what is left is here."""
        keeper, process = self._socket, self._process
        self._socket = self._process = None
        if keeper is not None:
            self._loop.forget(keeper.fileno())
            keeper.close()
        if process is not None:
            try:
                # Its guard kills what the keeper's processes had started, and ends as it did.
                code = process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            said = self._said()
            how = f"was ended by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
            logger.error("the keeper of the engines' processes %s; another is started%s", how, said and f": {said}")
        self._close_complaint()
        try:
            ProcessGroup(None, self._mark).end(0.0, lambda: None)
        except OSError as error:
            logger.error("what the engines' processes left behind cannot be ended: %s", one_line(error))
        kept, self._kept = self._kept, {}
        for each in kept.values():
            self._loop.call(functools.partial(each.gone, None))

    def _said(self) -> str:
        if self._complaint is None:
            return ""
        size = os.fstat(self._complaint).st_size
        text = os.pread(self._complaint, _COMPLAINT, max(0, size - _COMPLAINT)).decode(errors="backslashreplace")
        return text.strip().rpartition("\n")[2]

    def _close_complaint(self) -> None:
        if self._complaint is not None:
            os.close(self._complaint)
            self._complaint = None
