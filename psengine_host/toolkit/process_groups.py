"""All processes of one command: found and ended together, whatever they did to get away.

A command gets a session, and so a process group, of its own; what stays in it is reached by the group's number. What
leaves it, with ``setsid`` or as a daemon (Windows programs that a program under Wine starts do), is found in ``/proc``:
by a random mark in the environment of the command, which is inherited, and as a child of what was found.

The leader of the group is not reaped before all is over: until then neither its process id nor the number of its group
can belong to somebody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["MARK_VARIABLE", "ProcessGroup", "parent_of", "put_mark", "serves_wine"]

MARK_VARIABLE: Final = "PSENGINE_COMMAND"
"""The variable that the mark of a command stands in; a command within a command has the marks of both."""

_WINESERVER: Final = b"wineserver"
_WINE_SERVICES: Final = frozenset(
    {b"services.exe", b"winedevice.exe", b"plugplay.exe", b"svchost.exe", b"rpcss.exe", b"explorer.exe"}
)
"""Wine's own services. The first command in a prefix happens to start them and all use them; wineserver ends them."""
_WINE_FOLDER: Final = b"c:\\windows\\"
_NO_WRAP: Final = 1.0
"""Seconds within which process ids do not come around: there are 32,768 of them at least."""
_LOOK_AGAIN: Final = 0.005
"""Seconds between two looks at processes that are to end."""
_LAST_RESORT: Final = 2.0
"""Seconds after which what even SIGKILL does not end (it waits for a broken disk) is left alone."""


def put_mark(environ: dict[str, str], inherited: str | None) -> bytes:
    """Put a new mark into the environment of a command.

    Args:
        environ: The environment, which is changed.
        inherited: The marks of the commands that this process itself belongs to.

    Returns:
        The mark.
    """
    mark = os.urandom(12).hex()
    environ[MARK_VARIABLE] = f"{inherited}:{mark}" if inherited else mark
    return mark.encode()


class _Process(NamedTuple):
    """A line of ``/proc/PID/stat`` (proc_pid_stat(5)); ``started`` tells one bearer of a process id from the next."""

    name: bytes
    alive: bool
    parent: int
    group: int
    session: int
    started: int


class ProcessGroup:
    """The processes of one command.

    Args:
        leader: The process id of a child of this process that leads a session of its own and that nobody else reaps;
            None where it is not known, and its mark must do.
        mark: The mark in its environment.
    """

    __slots__ = ("_began", "_found", "_mark", "leader", "pidfd")

    def __init__(self, leader: int | None, mark: bytes) -> None:
        self.leader = leader
        self._mark = mark
        self._began = time.monotonic()
        self._found: dict[int, int] = {}
        self.pidfd = None if leader is None else _pidfd(leader)

    def close(self) -> None:
        """Give back what this object holds; no process is touched."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def ended(self) -> bool:
        """Whether the leader has ended, reaped or not."""
        if self.leader is None:
            return True
        try:
            return os.waitid(os.P_PID, self.leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def reap(self) -> int | None:
        """Take the exit code of the leader.

        Returns:
            The exit code, or the negative number of the signal that ended it; None if it has not ended.

        Raises:
            ChildProcessError: Somebody else has reaped it, or this process ignores SIGCHLD.
        """
        found = None if self.leader is None else os.waitid(os.P_PID, self.leader, os.WEXITED | os.WNOHANG)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def is_alone(self) -> bool:
        """Whether the leader has certainly started no process; False where that is not known.

        If the leader, which is not reaped, is what was made last, then nothing was made after it.
        """
        return self.leader is not None and _last_made() == self.leader

    def members(self) -> dict[int, int]:
        """The living processes of the command but for its leader, each with the time it was started at.

        Who was one when it was looked before is one still, though its parent, by which it was found, has ended since.
        Wine's server and services are left out: the first command starts them, and others may be using them.
        """
        processes = self._processes()
        found: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        for number, process in processes.items():
            children.setdefault(process.parent, []).append(number)
        roots = [
            number
            for number, process in processes.items()
            if self._found.get(number) == process.started or self._is_ours(number, process)
        ]
        pending = roots
        if self.leader is not None:
            pending += children.get(self.leader, [])
        while pending:
            number = pending.pop()
            process = processes[number]
            if number in found or number == self.leader or not process.alive or _is_shared(number, process):
                continue
            found[number] = process.started
            pending += children.get(number, [])
        self._found |= found
        return found

    def end(self, grace: float, meanwhile: Callable[[], object]) -> None:
        """End all processes of the command: ask them with SIGTERM, wait, and kill what is left.

        Returns when all are dead: after the grace at most, and what the system needs to end them.

        Args:
            grace: Seconds between SIGTERM and SIGKILL.
            meanwhile: What to do again and again while waiting: read what they write, or they could not end.
        """
        try:
            members = self.members()
            self._signal(members, signal.SIGTERM)
            self._signal(members, signal.SIGCONT)  # who is stopped cannot heed SIGTERM
            limit = time.monotonic() + grace
            while self._any_alive() and time.monotonic() < limit:
                meanwhile()
                time.sleep(_LOOK_AGAIN)
        finally:  # also when a second interrupt comes while waiting
            limit = time.monotonic() + _LAST_RESORT
            while self._any_alive() and time.monotonic() < limit:
                self._signal(self.members(), signal.SIGKILL)
                time.sleep(_LOOK_AGAIN)

    def _any_alive(self) -> bool:
        return not self.ended() or bool(self.members())

    def _signal(self, members: dict[int, int], number: signal.Signals) -> None:
        if self.leader is not None and self._is_ours_to_reap():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or all of it another user's
                os.killpg(self.leader, number)
        for member, started in members.items():
            _signal_one(member, started, number)

    def _is_ours_to_reap(self) -> bool:
        """Whether the leader's number is certainly still its own."""
        try:
            os.waitid(os.P_PID, self.leader or 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _processes(self) -> dict[int, _Process]:
        """The processes that may be ours; none where ``/proc`` is missing, or is another container's."""
        try:
            if os.readlink("/proc/self") != str(os.getpid()):
                return {}
            numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        except OSError:
            return {}
        first, last = self.leader, _last_made()
        if first is not None and last is not None and first <= last and time.monotonic() - self._began < _NO_WRAP:
            # What the leader has started came after it, and so did its number: the numbers have not come around.
            numbers = [number for number in numbers if first < number <= last]
        found = {number: _process(number) for number in numbers if number != os.getpid()}
        return {number: process for number, process in found.items() if process is not None}

    def _is_ours(self, number: int, process: _Process) -> bool:
        if self.leader is not None and self.leader in (process.group, process.session):
            return True
        try:
            return self._mark in _read(f"/proc/{number}/environ")
        except OSError:  # it is gone, or belongs to another user
            return False


def _last_made() -> int | None:
    """The number of the process, or thread, that the kernel made last (proc_loadavg(5)); None where it does not say."""
    try:
        if os.stat("/proc/loadavg").st_dev != os.stat("/proc").st_dev:
            return None  # a container's own (lxcfs), which is some seconds old
        return int(_read("/proc/loadavg").rsplit(b" ", 1)[1])
    except (OSError, ValueError, IndexError):
        return None


def _process(number: int) -> _Process | None:
    try:
        line = _read(f"/proc/{number}/stat")
    except OSError:
        return None
    # The name stands in parentheses and may hold some itself.
    name = line[line.find(b"(") + 1 : line.rfind(b")")]
    fields = line[line.rfind(b")") + 2 :].split()
    alive = fields[0] not in (b"Z", b"X", b"x")
    return _Process(name, alive, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def parent_of(number: int) -> int | None:
    """The process id of a process's parent; None where the process is gone.

    Args:
        number: Its process id.
    """
    process = _process(number)
    return None if process is None else process.parent


def serves_wine(number: int) -> bool:
    """Whether a process is Wine's server or one of its services: whoever started it, others may be using it.

    Args:
        number: Its process id.
    """
    process = _process(number)
    return process is not None and _is_shared(number, process)


def _is_shared(number: int, process: _Process) -> bool:
    if process.name.startswith(_WINESERVER):
        return True
    if process.name not in _WINE_SERVICES:
        return False
    try:
        return _read(f"/proc/{number}/cmdline").lower().startswith(_WINE_FOLDER)
    except OSError:
        return False


def _signal_one(number: int, started: int, wanted: signal.Signals) -> None:
    """Signal a process, unless its number has become another's since it was found."""
    held = _pidfd(number)
    try:
        process = _process(number)
        if process is None or process.started != started:
            return
        if held is None:
            os.kill(number, wanted)
        else:
            signal.pidfd_send_signal(held, wanted)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or another user's by now: nothing that this process could end
    finally:
        if held is not None:
            os.close(held)


def _pidfd(number: int) -> int | None:
    try:
        return os.pidfd_open(number)
    except (OSError, AttributeError):  # Linux before 5.3, a sandbox that forbids it, no file descriptor left
        return None


def _read(path: str) -> bytes:
    """A file of ``/proc``, in as few system calls as there can be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
            if len(part) < 1 << 12:
                break
        return b"".join(parts)
    finally:
        os.close(descriptor)
