"""The guard: the keeper's parent, so that nothing outlives a keeper that is killed either.

The kernel kills the keeper's own children with it, but not what those have started and what has left their sessions.
All that becomes the guard's, which does nothing but wait for this.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NoReturn

from psengine_host.backends.process import linux

__all__ = ["put_under_guard"]


def put_under_guard() -> None:
    """Fork: returns in the child, which dies with this process; this process stays, and ends as the child does."""
    linux.adopt_orphans()
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        linux.die_with_parent(guard)
        return
    # Only the child is to hold what it was started with: its end must be seen at the other ends.
    linux.close_descriptors_above(2)
    _guard(child)


def _guard(child: int) -> NoReturn:
    fate = None
    while True:
        if fate is not None:
            for orphan in linux.children_of(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED)
        except ChildProcessError:
            break
        if ended is not None and ended.si_pid == child:
            fate = ended
    if fate is not None and fate.si_code == os.CLD_EXITED:
        os._exit(fate.si_status)
    if fate is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with contextlib.suppress(OSError):  # that of SIGKILL, which nobody can change
            signal.signal(fate.si_status, signal.SIG_DFL)
        os.kill(os.getpid(), fate.si_status)
    os._exit(1)
