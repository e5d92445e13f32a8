"""What this backend needs of Linux and Python does not offer: ``prctl``, and the children of a process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

from psengine_host.errors import UsageError

__all__ = ["adopt_orphans", "buffer_lines_of_c", "children_of", "die_with_parent", "require_linux"]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_IOLBF: Final = 1
_BUFFER: Final = 4_096


def require_linux() -> None:
    """Make sure that this system has what the backend is made of.

    Raises:
        UsageError: It has not: no Linux, or one before 5.3.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise UsageError("the process backend needs Linux 5.3 or later: choose --backend local")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"the process backend needs Linux 5.3 or later ({reason}): choose --backend local") from error


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; ends at once where it has ended already.

    Args:
        parent: The parent's process id, taken before the fork. Its thread that forked must be its main one: the kernel
            means that thread (prctl(2), ``PR_SET_PDEATHSIG``).
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Have orphaned descendants become children of this process (prctl(2), ``PR_SET_CHILD_SUBREAPER``)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children_of(process: int) -> list[int]:
    """The children of a process, those included that it adopted; empty where it is gone.

    Args:
        process: Its process id.
    """
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:  # gone, or a kernel that has no such file
        if not os.path.exists(f"/proc/{process}/task/{process}/children"):
            return _children_by_search(process)
    return found


def buffer_lines_of_c() -> None:
    """Have what C code prints leave at the end of each line: a process that is killed flushes nothing."""
    library = ctypes.CDLL(None)
    try:
        stdout = ctypes.c_void_p.in_dll(library, "stdout")
    except ValueError:  # a C library that calls it otherwise
        return
    library.setvbuf(stdout, None, _IOLBF, ctypes.c_size_t(_BUFFER))


def _prctl(option: int, argument: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def _children_by_search(parent: int) -> list[int]:
    """The same off ``/proc/PID/stat`` of every process."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name of the program, in parentheses, may hold anything.
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # gone meanwhile
            if int(fields[1]) == parent:
                found.append(int(name))
    return found
