"""The wineserver of a prefix: one process that all Windows programs in it share, and that is dear to start.

Where it listens is its own affair (Debian's in a folder of random name): only the program ``wineserver`` is asked.
``-k0`` sends signal 0 and so says whether one runs; ``-p`` starts one that stays, and answers 2 where one runs; ``-k``
ends it with all programs of the prefix; ``-w`` waits for its end (``server/request.c`` of Wine 8.0).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from psengine_host.errors import printable_name
from psengine_host.job import seconds_left
from psengine_host.toolkit.command_environment import HOST_PREFIX
from psengine_host.toolkit.wine import loader
from psengine_host.toolkit.wine.child import child_environment
from psengine_host.toolkit.wine.errors import WineError, WineUnusable

__all__ = [
    "WineserverStatus",
    "ensure_wineserver",
    "environment",
    "kill_wineserver",
    "start_persistent_wineserver",
    "wineserver_status",
]

_ALREADY_RUNNING: Final = 2
_NONE_RUNS: Final = 1
_COMPLAINT: Final = 400
"""Bytes of what a wineserver complains of that an error shows."""
_QUICK: Final = 10.0
"""Seconds for what a wineserver answers at once."""
_START: Final = 60.0
"""Seconds for a start, which may have to make the prefix."""
_BOOTS: Final = 5
"""How often the services are started where Wine ends with ``_ENDED_BY_WINE``, which is chance."""
_ENDED_BY_WINE: Final = 1
"""How Wine 8.0 ends where the kernel has put the heap at 0x7ffe0000, which Wine needs: about once in a thousand starts
with recent kernels, as Linux 6.18 (``virtual_alloc_first_teb`` in ``dlls/ntdll/unix/virtual.c``)."""
_LOOK_AGAIN: Final = 30.0
"""Seconds after which a server is looked for again: it may have been a passing one, or somebody killed it."""

_ensuring = threading.Lock()
_ensured: dict[tuple[str, str], float] = {}
"""Prefix and server -> until when, on the monotonic clock, no look is needed."""


class WineserverStatus(NamedTuple):
    """Whether a wineserver runs.

    Attributes:
        running: Whether one does, a persistent one or a passing one.
        prefix: The prefix that it is, or would be, the server of.
        server: Its program.
    """

    running: bool
    prefix: Path
    server: Path


def environment(env: Mapping[str, str] | None = None, *, deadline: float | None = None) -> dict[str, str]:
    """The environment for a program that Wine runs.

    ``WINEPREFIX`` is set to what holds; ``WINELOADER`` and ``WINESERVER``, if set, are made absolute. ``WINEDEBUG`` is
    ``-all,err+virtual`` unless set: Wine's own messages are not mixed into the program's errors, but for the one by
    which it is known that Wine ended before it began, and is to be started again; ``WINEDLLOVERRIDES`` takes
    .NET and the HTML engine away unless set, so that Wine does not ask, in a window that nobody sees, whether to fetch
    them. Where no locale is set at all, ``LC_CTYPE`` is ``C.UTF-8``, so that names of files arrive whole. All else
    (``LC_ALL``, ``TZ``, ``DISPLAY``) stays as it is.

    Where ``PERSISTENT_WINESERVER`` asks for it, a wineserver that stays is started first: see
    :func:`ensure_wineserver`.

    Args:
        env: The whole environment to begin with; ``os.environ`` by default.
        deadline: When a server has to be there at the latest, on the clock of ``time.monotonic``.

    Returns:
        A new dictionary. On Windows it is ``env`` as it came.

    Raises:
        WineError: ``WINELOADER`` or ``WINESERVER`` names no program, ``WINEPREFIX`` is not absolute, or a server was
            asked for and cannot be started.
    """
    ensure_wineserver(env, deadline=deadline)
    return child_environment(env)


def ensure_wineserver(environ: Mapping[str, str] | None = None, *, deadline: float | None = None) -> None:
    """Start a wineserver that stays if ``PERSISTENT_WINESERVER`` asks for it: set, not empty and not ``0``.

    A process looks for it once in half a minute and prefix: somebody may have killed it, and one that was running
    already may have been a passing one. It takes no longer than is left for the bounty in hand, or until the deadline.

    Args:
        environ: The variables; ``os.environ`` by default.
        deadline: When it has to be there at the latest, on the clock of ``time.monotonic``.

    Raises:
        WineError: It cannot be started.
    """
    environ = os.environ if environ is None else environ
    if loader.ON_WINDOWS or environ.get("PERSISTENT_WINESERVER", "") in ("", "0"):
        return
    key = loader.prefix(environ), str(loader.server(environ))
    left = min(seconds_left(), _START)
    if deadline is not None:
        left = min(left, deadline - time.monotonic())
    if left <= 0:
        return  # the time is over, and no program will be started
    until = time.monotonic() + left
    if not _ensuring.acquire(timeout=left):
        raise WineError(
            f"the wineserver of {printable_name(key[0])}, started by another thread, took over {left:.1f} s"
        )
    try:
        if time.monotonic() >= _ensured.get(key, 0.0):
            start_persistent_wineserver(environ, timeout=max(0.0, until - time.monotonic()))
            _ensured[key] = time.monotonic() + _LOOK_AGAIN
    finally:
        _ensuring.release()


def start_persistent_wineserver(environ: Mapping[str, str] | None = None, *, timeout: float = _START) -> bool:
    """Start a wineserver that stays until it is killed, and what Windows runs in the background with it.

    The server and these services hold nothing of the caller's: no pipe, no folder, no terminal. (Where a program starts
    them, they hold its stderr, and who reads that to its end waits for them.) A prefix that is not there is made.

    Args:
        environ: The variables; ``os.environ`` by default.
        timeout: Seconds for all of it. Making a prefix takes several.

    Returns:
        Whether it was started; False where one was running already. Whether that one stays is not known: one that a
        program started ends with the last program.

    Raises:
        WineError: There is no Wine, the prefix cannot be used, or the server or its services did not start in time.
    """
    until = time.monotonic() + timeout
    home = _prefix(environ, make=True)
    try:
        code = _call(environ, ["-p"], until)
    except subprocess.TimeoutExpired as error:
        raise WineError(f"wineserver did not start within {timeout:.1f} s in {printable_name(str(home))}") from error
    if code not in (0, _ALREADY_RUNNING):
        # It makes the same checks when it is asked, and leaves nothing that would hold the pipe.
        why = _asked(environ, loader.server(environ))[1] or f"it ended with exit code {code}"
        raise WineError(f"wineserver cannot be started in {printable_name(str(home))}: {why}")
    try:
        _boot(environ, home, until, timeout)
    except WineError:
        if code == 0:
            kill_wineserver(environ)
        raise
    return code == 0


def kill_wineserver(environ: Mapping[str, str] | None = None, *, timeout: float = 10.0) -> bool:
    """End the wineserver of the prefix with all Windows programs in it, and wait until it is gone.

    Who started such a program may see it end with exit code 0.

    Args:
        environ: The variables; ``os.environ`` by default.
        timeout: Seconds.

    Returns:
        Whether one was running.

    Raises:
        WineError: There is no Wine, the prefix cannot be used, or the server is still there after ``timeout``.
    """
    until = time.monotonic() + timeout
    status = wineserver_status(environ)
    if not status.running:
        return False
    try:
        _call(environ, ["-k"], until)
        _call(environ, ["-w"], until)
    except subprocess.TimeoutExpired as error:
        where = printable_name(str(status.prefix))
        raise WineError(f"the wineserver of {where} was told to end, and runs on after {timeout:g} s") from error
    with _ensuring:  # who starts one meanwhile goes first, and remembers it
        _ensured.pop((loader.prefix(environ), str(status.server)), None)
    return True


def wineserver_status(environ: Mapping[str, str] | None = None) -> WineserverStatus:
    """Whether a wineserver runs in the prefix; none is started by asking.

    Args:
        environ: The variables; ``os.environ`` by default.

    Raises:
        WineError: There is no Wine, or the prefix cannot be used.
    """
    home = _prefix(environ, make=False)
    program = loader.server(environ)
    if not home.is_dir():
        return WineserverStatus(running=False, prefix=home, server=program)
    code, complaint = _asked(environ, program)
    if code != 0 and (code != _NONE_RUNS or complaint):
        why = complaint or f"it ended with exit code {code}"
        raise WineError(f"{printable_name(str(program))} does not say whether a wineserver runs: {why}")
    return WineserverStatus(running=code == 0, prefix=home, server=program)


def _prefix(environ: Mapping[str, str] | None, *, make: bool) -> Path:
    """The prefix, if Wine would take it; its own message for what it refuses names no variable and no way out."""
    if loader.ON_WINDOWS:
        raise WineUnusable("there is no wineserver on Windows: it runs its programs by itself")
    loader.server(environ)  # without Wine all else is beside the point
    home = Path(loader.prefix(environ))
    where = f"the Wine prefix {printable_name(str(home))}"
    try:
        if make and not os.path.lexists(home):
            home.mkdir(mode=0o700)
        status = home.stat()
    except FileNotFoundError:
        if home.is_symlink():
            raise WineUnusable(f"{where} is a link to nothing; make what it leads to, or set WINEPREFIX") from None
        if make:
            raise WineUnusable(
                f"{where} cannot be made: {home.parent} does not exist; make it, or set WINEPREFIX"
            ) from None
        return home
    except OSError as error:
        raise WineUnusable(
            f"{where} cannot be used: {error.strerror}; set WINEPREFIX to a folder of your own"
        ) from error
    if not home.is_dir():
        raise WineUnusable(f"{where} is not a folder; set WINEPREFIX to a folder of your own")
    if status.st_uid != os.geteuid():
        raise WineUnusable(
            f"{where} belongs to user {status.st_uid}, and Wine takes only one of user {os.geteuid()}, who runs this; "
            "set WINEPREFIX to a folder of your own"
        )
    return home


def _call(environ: Mapping[str, str] | None, options: list[str], until: float) -> int:
    """Run ``wineserver`` until its limit."""
    return _run([str(loader.server(environ)), *options], environ, until)


def _asked(environ: Mapping[str, str] | None, program: Path) -> tuple[int, str]:
    """What ``wineserver -k0`` ends with, and what it complains of in one line, if of anything."""
    try:
        with tempfile.TemporaryFile() as complaint:
            code = _run([str(program), "-k0"], environ, time.monotonic() + _QUICK, complaint.fileno())
            complaint.seek(0)
            return code, " ".join(complaint.read(_COMPLAINT).decode(errors="replace").split())
    except subprocess.TimeoutExpired as error:
        raise WineError(f"{printable_name(str(program))} did not answer within {_QUICK:g} s") from error
    except OSError as error:
        raise WineError(f"no temporary file for what wineserver says: {error.strerror}") from error


def _run(command: list[str], environ: Mapping[str, str] | None, until: float, stderr: int = subprocess.DEVNULL) -> int:
    """Run a program of Wine with nothing of ours in its hands: what it starts stays for ever.

    Raises:
        WineError: It is no program.
        subprocess.TimeoutExpired: It has been ended, since it took too long.
    """
    variables = child_environment(environ)
    try:
        process = subprocess.Popen(  # noqa: S603 - a list of words
            command,
            env={name: value for name, value in variables.items() if not name.startswith(HOST_PREFIX)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as error:
        raise WineUnusable(f"{printable_name(command[0])} cannot be run: {error.strerror}") from error
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    finally:
        if process.returncode is None:  # also at an interrupt
            process.kill()
            process.wait()


def _boot(environ: Mapping[str, str] | None, home: Path, until: float, timeout: float) -> None:
    """Start the services of Windows; the first program would do it, and they would hold its stderr."""
    where = printable_name(str(home))
    boot = loader.command(["wineboot", "--init"], environ)
    code = _ENDED_BY_WINE
    try:
        for _ in range(_BOOTS):
            code = _run(boot, environ, until)
            if code != _ENDED_BY_WINE:
                break
    except subprocess.TimeoutExpired as error:
        raise WineError(f"Wine did not start its services within {timeout:.1f} s in {where}") from error
    if code:
        raise WineError(f"Wine cannot start its services in {where}: wineboot ended with exit code {code}")
