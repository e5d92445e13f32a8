"""The wineserver of a prefix: one process that all Windows programs in it share, and that is dear to start.

Where it listens is its own affair (Debian's in a folder of random name): only the program ``wineserver`` is asked.
``-k0`` sends signal 0 and so says whether one runs; ``-p`` starts one that stays, and answers 2 where one runs; ``-k``
ends it with all programs of the prefix; ``-w`` waits for its end (``server/request.c`` of Wine 8.0).
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from psengine_host.errors import printable_name
from psengine_host.job import seconds_left
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
_QUICK: Final = 10.0
"""Seconds for what a wineserver answers at once."""
_START: Final = 60.0
"""Seconds for a start, which may have to make the prefix."""
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


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program that Wine runs.

    ``WINEPREFIX`` is set to what holds; ``WINELOADER`` and ``WINESERVER``, if set, are made absolute. ``WINEDEBUG`` is
    ``-all`` unless set, so that Wine's own messages are not mixed into the program's errors; ``WINEDLLOVERRIDES`` takes
    .NET and the HTML engine away unless set, so that Wine does not ask, in a window that nobody sees, whether to fetch
    them. Where no locale is set at all, ``LC_CTYPE`` is ``C.UTF-8``, so that names of files arrive whole. All else
    (``LC_ALL``, ``TZ``, ``DISPLAY``) stays as it is.

    Where ``PERSISTENT_WINESERVER`` asks for it, a wineserver that stays is started first: see
    :func:`ensure_wineserver`.

    Args:
        env: The whole environment to begin with; ``os.environ`` by default.

    Returns:
        A new dictionary. On Windows it is ``env`` as it came.

    Raises:
        WineError: ``WINELOADER`` or ``WINESERVER`` names no program, ``WINEPREFIX`` is not absolute, or a server was
            asked for and cannot be started.
    """
    ensure_wineserver(env)
    return child_environment(env)


def ensure_wineserver(environ: Mapping[str, str] | None = None) -> None:
    """Start a wineserver that stays if ``PERSISTENT_WINESERVER`` asks for it: set, not empty and not ``0``.

    A process looks for it once in half a minute and prefix: somebody may have killed it, and one that was running
    already may have been a passing one. It takes no longer than is left for the bounty in hand.

    Args:
        environ: The variables; ``os.environ`` by default.

    Raises:
        WineError: It cannot be started.
    """
    environ = os.environ if environ is None else environ
    if loader.ON_WINDOWS or environ.get("PERSISTENT_WINESERVER", "") in ("", "0"):
        return
    key = loader.prefix(environ), str(loader.server(environ))
    left = min(seconds_left(), _START)
    if left <= 0:
        return  # the bounty in hand is over, and no program will be started for it
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
        raise WineError(f"wineserver cannot be started in {printable_name(str(home))}: {_complaint(environ, code)}")
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
    try:
        code = _call(environ, ["-k0"], time.monotonic() + _QUICK)
    except subprocess.TimeoutExpired as error:
        raise WineError(f"{printable_name(str(program))} did not answer within {_QUICK:g} s") from error
    return WineserverStatus(running=code == 0, prefix=home, server=program)


def _prefix(environ: Mapping[str, str] | None, *, make: bool) -> Path:
    """The prefix, if Wine would take it; its own message for what it refuses names no variable and no way out."""
    if loader.ON_WINDOWS:
        raise WineUnusable("there is no wineserver on Windows: it runs its programs by itself")
    loader.server(environ)  # without Wine all else is beside the point
    home = Path(loader.prefix(environ))
    where = f"the Wine prefix {printable_name(str(home))}"
    try:
        if make and not home.exists():
            home.mkdir(mode=0o700)
        status = home.stat()
    except FileNotFoundError:
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
    """Run ``wineserver`` with nothing of ours in its hands: what it starts stays for ever."""
    process = subprocess.Popen(  # noqa: S603 - a list of words
        [str(loader.server(environ)), *options],
        env=child_environment(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return _wait(process, until)


def _wait(process: subprocess.Popen[bytes], until: float) -> int:
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _complaint(environ: Mapping[str, str] | None, code: int) -> str:
    """Why a server did not start: ``-k0`` makes the same checks and says so, and leaves nothing that holds the pipe."""
    done = subprocess.run(  # noqa: S603 - a list of words
        [str(loader.server(environ)), "-k0"],
        env=child_environment(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_QUICK,
        check=False,
    )
    return " ".join(os.fsdecode(done.stderr).split()) or f"it ended with exit code {code}"


def _boot(environ: Mapping[str, str] | None, home: Path, until: float, timeout: float) -> None:
    """Start the services of Windows; the first program would do it, and they would hold its stderr."""
    process = subprocess.Popen(  # noqa: S603 - a list of words
        loader.command(["wineboot", "--init"], environ),
        env=child_environment(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    where = printable_name(str(home))
    try:
        code = _wait(process, until)
    except subprocess.TimeoutExpired as error:
        raise WineError(f"Wine did not start its services within {timeout:.1f} s in {where}") from error
    if code:
        raise WineError(f"Wine cannot start its services in {where}: wineboot ended with exit code {code}")
