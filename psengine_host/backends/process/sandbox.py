"""The sandbox of a worker: bubblewrap gives it a view of the machine with no network in which it can change nothing."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from typing import Final

from psengine_host.errors import UsageError
from psengine_host.escapes import printable

__all__ = ["bubblewrap", "require_bubblewrap", "signal_of"]

_SHARED_MEMORY: Final = 64_000_000
"""Bytes of the sandbox's own ``/dev/shm``, which is no process's memory and so is counted nowhere else."""
_PATIENCE: Final = 30.0
"""Seconds that the trial may take, on a machine that is busy."""
_ADVICE: Final = 'or set sandbox = "none" in [workers]'


def bubblewrap(command: list[str], *, scratch: str, readable: Iterable[str] = ()) -> list[str]:
    """The command that runs another in a sandbox.

    In it there is no network but a loopback interface of its own, and abstract Unix sockets outside are out of reach;
    all files are read-only, but for the scratch folder, which is the current folder and ``TMPDIR`` too; ``/proc``
    shows the sandbox's processes; ``/dev`` holds the harmless devices, with a ``/dev/shm`` of its own; and root has
    no privileges but to read any file. Descriptors that may be inherited are. No session is made: bubblewrap's process
    belongs to the caller's group, and when it ends, however it ends, the kernel kills whatever is in the sandbox. It
    ends with its parent. Its exit code is the command's; see :func:`signal_of`.

    Args:
        command: The program and its arguments.
        scratch: The folder that stays writable.
        readable: Folders to be read even where they are below ``/dev`` or ``/proc``, such as a spool in ``/dev/shm``.

    Raises:
        UsageError: There is no bubblewrap, or it does not work here.
    """
    program, ways = _tried()
    scratch = os.path.realpath(scratch)
    arguments = [program, *ways, *_VIEW]
    for folder in map(os.path.realpath, readable):
        arguments += ["--ro-bind", folder, folder]
    arguments += ["--bind", scratch, scratch, "--chdir", scratch, "--setenv", "TMPDIR", scratch]
    return [*arguments, "--", *command]


def require_bubblewrap() -> str:
    """Make sure that bubblewrap is installed and works on this machine; tried once, and remembered where it does.

    Returns:
        The path of the program.

    Raises:
        UsageError: There is none, or it does not work here: says why in bubblewrap's own words.
    """
    return _tried()[0]


def signal_of(status: int) -> int | None:
    """The signal that ended the command in a sandbox: bubblewrap exits with 128 and its number, as a shell does.

    A command that exits with such a code itself cannot be told apart. Where bubblewrap itself was killed, with all that
    was in it, the status is that of any process killed.

    Args:
        status: The exit code of bubblewrap's process, 0 to 255, or the negative number of the signal that killed it.

    Returns:
        The signal's number, or None where the command ended otherwise.
    """
    number = -status if status < 0 else status - 128
    return number if number in signal.valid_signals() else None


_VIEW: Final = (
    *("--unshare-net", "--unshare-ipc", "--unshare-pid", "--die-with-parent"),
    *("--ro-bind", "/", "/", "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
    *("--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
)


@functools.cache
def _tried() -> tuple[str, tuple[str, ...]]:
    """The program, and the options with which it works for this user; an error is not remembered."""
    program = shutil.which("bwrap")
    if program is None:
        raise UsageError(
            'sandbox = "bwrap" in [workers] needs bubblewrap, and there is no bwrap in PATH: '
            f"install it (Debian: apt-get install bubblewrap), {_ADVICE}"
        )
    # Root needs no user namespace, and where it has one loses the right to read others' files. In a container root may
    # lack the right to make the other namespaces without one.
    privileged = ("--cap-drop", "ALL", "--cap-add", "CAP_DAC_READ_SEARCH")
    reason = ""
    for ways in (privileged, ("--unshare-user", "--cap-drop", "ALL")) if os.geteuid() == 0 else ((),):
        failure = _failure([program, *ways, *_VIEW, "--", "true"])
        if failure is None:
            return program, ways
        reason = reason or failure
    raise UsageError(
        f'sandbox = "bwrap" in [workers] does not work on this machine ({reason}): '
        f"permit user namespaces to the service or the container, {_ADVICE}"
    )


def _failure(command: list[str]) -> str | None:
    """Why a command fails, in its own words; None where it works."""
    try:
        done = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return printable(str(error))
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
    return printable(lines[-1][:300]) if lines else f"it ends with exit code {done.returncode}"
