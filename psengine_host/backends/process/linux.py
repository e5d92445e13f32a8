"""What this backend needs of Linux and Python does not offer: ``prctl``, and the children of a process."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
from typing import Final

from psengine_host.errors import UsageError
from psengine_host.toolkit.process_groups import parent_of

__all__ = [
    "adopt_orphans",
    "buffer_lines_of_c",
    "children_of",
    "close_descriptors_above",
    "die_with_parent",
    "read_proc",
    "require_linux",
]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_IOLBF: Final = 1
_BUFFER: Final = 4_096
_LONGEST: Final = 1 << 16
"""Bytes read at a time."""


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
    if not _kernel_tells_children():
        return _children_by_search(process)
    tasks = b"/proc/%d/task" % process
    try:
        threads = os.listdir(tasks)
    except OSError:  # gone
        return []
    # Each child belongs to the thread that started it.
    return [int(child) for thread in threads for child in read_proc(b"%b/%b/children" % (tasks, thread)).split()]


def read_proc(path: bytes) -> bytes:
    """A file below ``/proc``; empty where its process is gone, which may show at any step."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(file, _LONGEST):  # the kernel may give a page at a time
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(file)


def close_descriptors_above(last: int) -> None:
    """Close the descriptors of this process with greater numbers.

    Not all numbers that there may be: in a container that can be a thousand million.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > last:
            with contextlib.suppress(OSError):  # that of the folder itself
                os.close(int(name))


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


@functools.cache
def _kernel_tells_children() -> bool:
    """Whether the kernel has a file with the children of each thread (built with ``CONFIG_PROC_CHILDREN``)."""
    return os.path.exists("/proc/thread-self/children")


def _children_by_search(parent: int) -> list[int]:
    """The same by a look at every process."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent_of(int(name)) == parent]
