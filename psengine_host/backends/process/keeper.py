"""The keeper: one small process between the host and the processes of engines, so that nothing outlives the host.

It starts them, is the parent of all and the adoptive parent of what they leave behind, and kills everything when the
host's end of its socket closes or the host is gone. It has one thread and no engine's code: a process of an engine is a
fork of it, which takes milliseconds, or where it is to run in a sandbox or with another interpreter a program.

Nobody but :mod:`.keeping` starts it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Final, NoReturn

import msgspec

from psengine_host.backends.process import linux
from psengine_host.backends.process.frames import framed
from psengine_host.backends.process.guard import put_under_guard
from psengine_host.backends.process.limits import Limits
from psengine_host.backends.process.messages import NotStarted, encode
from psengine_host.toolkit.process_groups import serves_wine

__all__ = [
    "LONGEST_MESSAGE",
    "Begin",
    "FromKeeper",
    "Gone",
    "Kill",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "ToKeeper",
    "decode_from_keeper",
    "main",
]

LONGEST_MESSAGE: Final = 1 << 16
"""Bytes of a message on the keeper's socket at most; a datagram each."""
CHANNEL: Final = 3
"""The descriptor of its channel in a process of an engine."""
_MOST_EXPENDABLE: Final = "800"
"""What the kernel adds to the badness of a process when memory is short: an engine goes first, and never the host."""


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message.

    Args:
        host: The host's process id.
    """

    host: int


class Spawn(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Start a process; two descriptors come with it: its channel and where its output goes.

    Args:
        number: What to call it.
        command: The program, or empty for a fork of the keeper.
        folder: Where it starts, and what it may write to.
        limits: Limits of its resources.
    """

    number: int
    command: list[bytes]
    folder: bytes
    limits: Limits


class Kill(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Kill a process with its group.

    Args:
        number: What it is called.
    """

    number: int


ToKeeper = Begin | Spawn | Kill


class Spawned(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A process was started; its pidfd comes with this.

    Args:
        number: What it is called.
        process: Its process id.
    """

    number: int
    process: int


class SpawnFailed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A process could not be started.

    Args:
        number: What it was to be called.
        reason: Why.
    """

    number: int
    reason: str


class Gone(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A process has ended, and its group with it; what else it left behind is being killed.

    Args:
        number: What it was called.
        code: Its exit code, or the negative number of the signal that ended it.
    """

    number: int
    code: int


FromKeeper = Spawned | SpawnFailed | Gone
decode_from_keeper: Final = msgspec.msgpack.Decoder(FromKeeper).decode
_decode: Final = msgspec.msgpack.Decoder(ToKeeper).decode


class _Keeper:
    def __init__(self, control: socket.socket, parent: int, host: int) -> None:
        self._control = control
        self._parent = parent
        self._host = host
        self._process = os.getpid()
        self._numbers: dict[int, int] = {}
        """Process id -> number, of all that have not been reaped."""
        self._wake, self._woken = os.pipe()

    def serve(self) -> None:
        """Serve until the host is gone; returns in a new process of an engine, and never in the keeper."""
        self._prepare()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        poll.register(self._host, select.POLLIN)
        self._begin()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wake in ready:
                os.read(self._wake, 4_096)
                self._reap()
            if self._host in ready:
                self._end()
            if self._control.fileno() in ready and self._take():
                return

    def _prepare(self) -> None:
        linux.adopt_orphans()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)

    def _begin(self) -> None:
        message = _decode(self._control.recv(LONGEST_MESSAGE))
        if not isinstance(message, Begin):
            raise SystemExit("the first message must say where the host is")
        if self._parent != message.host:  # it had ended before it was looked for
            self._end()
        # All that a process of an engine needs is imported here once, and shared by the forks.
        importlib.import_module("psengine_host.backends.process.worker")
        gc.collect()
        gc.freeze()

    def _take(self) -> bool:
        """One message of the host.

        Returns:
            Whether this is a new process of an engine.
        """
        try:
            data, descriptors, *_ = socket.recv_fds(self._control, LONGEST_MESSAGE, 2)
        except OSError:  # the other end is gone: any of several errors
            data, descriptors = b"", []
        if not data:
            self._end()
        message = _decode(data)
        if isinstance(message, Spawn) and len(descriptors) == 2:
            return self._spawn(message, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(message, Spawn):
            self._tell(SpawnFailed(message.number, "the keeper can open no more files"))
        if isinstance(message, Kill):
            for process, number in self._numbers.items():
                if number == message.number:
                    _kill_group(process)
        return False

    def _spawn(self, message: Spawn, channel: int, output: int) -> bool:
        try:
            process = os.fork()
        except OSError as error:
            os.close(channel)
            os.close(output)
            self._tell(SpawnFailed(message.number, f"no process can be made: {error.strerror}"))
            return False
        if process == 0:
            self._become(message, channel, output)
            return True
        os.close(channel)
        os.close(output)
        self._numbers[process] = message.number
        try:
            pidfd = os.pidfd_open(process)  # it cannot have been reaped: only this thread does that
        except OSError:  # no more files can be opened: it goes without
            self._tell(Spawned(message.number, process))
            return False
        try:
            self._tell(Spawned(message.number, process), pidfd)
        finally:
            os.close(pidfd)
        return False

    def _become(self, message: Spawn, channel: int, output: int) -> None:
        """Turn the fork into a process of an engine."""
        self._control.detach()  # its number will soon be another's, and nobody may close that
        try:
            os.setsid()
            linux.die_with_parent(self._process)
            linux.adopt_orphans()
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
                with contextlib.suppress(OSError, ValueError):  # those that the C library keeps for itself
                    signal.signal(number, signal.SIG_DFL)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(channel, CHANNEL, inheritable=bool(message.command))
            linux.close_descriptors_above(CHANNEL)
            os.chdir(message.folder)
            message.limits.apply()
            if message.limits.max_file_size:
                # Python would leave a part of a module's bytecode where the whole is too long, and stumble over it.
                sys.dont_write_bytecode = True
                os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(_MOST_EXPENDABLE)
            if message.command:
                try:
                    os.execvp(message.command[0], message.command)  # noqa: S606 - a list of words
                except OSError as error:
                    raise OSError(f"{os.fsdecode(message.command[0])} cannot be run: {error.strerror}") from error
        except BaseException as error:  # noqa: BLE001 - nothing may go back into the keeper's code
            reason = f"the process cannot be made ready: {error}"
            with contextlib.suppress(OSError):
                os.write(CHANNEL, framed(encode(NotStarted(reason, ""))))
            os._exit(1)

    def _reap(self) -> None:
        """Take leave of the processes that have ended, and kill what they left behind."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                break
            number = self._numbers.pop(ended.si_pid, None)
            if number is not None:
                _kill_group(ended.si_pid)  # while its number, not reaped, can be nobody else's
            os.waitid(os.P_PID, ended.si_pid, os.WEXITED)
            if number is not None:
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                self._kill_strays()
                self._tell(Gone(number, code))
        self._kill_strays()

    def _kill_strays(self, *, of_wine: bool = False) -> None:
        """Kill the children that nobody asked for: each process adopts its own orphans, until it ends itself.

        Args:
            of_wine: Also Wine's server and its services. Whichever worker started them, the programs of others are
                their clients, and would end with them, with exit code 0.
        """
        for process in linux.children_of(self._process):
            if process not in self._numbers and (of_wine or not serves_wine(process)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def _tell(self, message: FromKeeper, *descriptors: int) -> None:
        try:
            socket.send_fds(self._control, [encode(message)], descriptors)
        except OSError:  # the host is gone
            self._end()

    def _end(self) -> NoReturn:
        """Kill everything, and end."""
        for process in self._numbers:
            _kill_group(process)
        self._numbers.clear()
        while True:
            self._kill_strays(of_wine=True)
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED)
            except ChildProcessError:
                os._exit(0)


def _kill_group(process: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not lead its group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(process, signal.SIGKILL)


def main(descriptor: int) -> None:
    """Be the keeper; in a fork of it, be a process of an engine.

    Args:
        descriptor: The socket to the host.
    """
    parent = os.getppid()
    host = os.pidfd_open(parent)
    put_under_guard()
    _Keeper(socket.socket(fileno=descriptor), parent, host).serve()
    from psengine_host.backends.process.worker import serve

    serve(CHANNEL)
