"""Real Windows programs under a real Wine, in prefixes that nobody else uses.

Making a prefix takes seconds and 700 MB of disk, so one is made a session, whatever the number of pytest's
workers. A test gets a prefix of its own that shares the template's folder of Windows, which nothing writes to, and has
its own registry and server.

Wine 8.0 needs the address 0x7ffe0000 (what Windows' processes share), and its loader is linked to 0x7d000000. Recent
kernels (seen with Linux 6.18) put the heap somewhere in the gigabyte behind a program that is linked to an address;
where that is around 0x7ffe0000, about once in a thousand starts, Wine ends with exit code 1, and with
``WINEDEBUG=-all`` without a word.
"""

import ctypes
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from psengine_host.toolkit import wine

COMPILER = "x86_64-w64-mingw32-gcc"
SOURCES = Path(__file__).parent / "windows"
MINUTE = 60
STARTS = 5
"""How often a program is started that Wine itself ends: each time for itself it is one in a thousand."""
AS_IT_IS = 0xFFFFFFFF
ADDR_NO_RANDOMIZE = 0x0040000
"""The arguments of personality(2), from <linux/personality.h>."""


def _end_server(environment: dict[str, str]) -> None:
    """End what runs in a prefix: all its programs, and its server, before the folder goes."""
    subprocess.run(["wineserver", "-k"], env=environment, timeout=MINUTE, check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["wineserver", "-w"], env=environment, timeout=MINUTE, check=True)


@contextmanager
def _heap_behind_the_program() -> Iterator[None]:
    personality = ctypes.CDLL(None).personality
    personality.argtypes = [ctypes.c_ulong]
    before = personality(AS_IT_IS)
    personality(before | ADDR_NO_RANDOMIZE)
    try:
        yield
    finally:
        personality(before)


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all of pytest's workers see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def wine_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A complete prefix, made once for all workers; no server runs in it. The last worker that uses it removes it."""
    if shutil.which("wine") is None or shutil.which("wineserver") is None:
        pytest.skip("Wine is not installed (Debian: apt-get install wine)")
    shared = _shared(tmp_path_factory)
    template = shared / "wine-template"
    with (shared / "wine-template.changing").open("a") as changing, (shared / "wine-template.used").open("a") as used:
        fcntl.flock(changing, fcntl.LOCK_EX)
        if not (template / "complete").exists():
            shutil.rmtree(template, ignore_errors=True)
            template.mkdir()
            environment = wine.environment({**os.environ, "WINEPREFIX": str(template), "TMPDIR": str(template)})
            boot = wine.command(["wineboot", "-i"])
            nowhere = subprocess.DEVNULL
            with _heap_behind_the_program():
                subprocess.run(boot, env=environment, timeout=MINUTE, check=True, stdout=nowhere, stderr=nowhere)
            _end_server(environment)
            (template / "complete").touch()
        fcntl.flock(used, fcntl.LOCK_SH)
        fcntl.flock(changing, fcntl.LOCK_UN)
        yield template
        fcntl.flock(used, fcntl.LOCK_UN)
        fcntl.flock(changing, fcntl.LOCK_EX)
        try:
            fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another worker still uses it
        shutil.rmtree(template)


@pytest.fixture
def wine_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``TMPDIR`` in the test's own folder: Debian's wineserver makes a folder in it, and never removes it."""
    (tmp_path / "wine-sockets").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "wine-sockets"))


@pytest.fixture
def heap_where_wine_leaves_room() -> Iterator[None]:
    """What is started from here on has its heap right behind the program, out of Wine's way.

    A container may forbid it (Docker's does), and then there are the starts of :func:`wine_start`.
    """
    with _heap_behind_the_program():
        yield


@pytest.fixture
def wine_start(tmp_path: Path) -> Callable[..., tuple["subprocess.CompletedProcess[bytes]", float]]:
    """Runs a program under Wine that is to end with an exit code, and starts it again where Wine ended it.

    ``wine_start(command, environment, 5)`` is what ``subprocess.run`` returns, and the seconds of the start that
    succeeded. ``before`` is called before each start. Wine's own errors are kept in a file, since its services would
    hold a pipe, unless ``stderr`` is given; they are shown if no start succeeds.
    """

    def start(
        command: list[str],
        environment: dict[str, str],
        code: int,
        *,
        before: Callable[[], object] = lambda: None,
        stderr: int | None = None,
        stdout: int | None = None,
    ) -> tuple["subprocess.CompletedProcess[bytes]", float]:
        if stderr is None:  # "-all" first, for Debian's script gives advice without it, which takes time
            environment = {**environment, "WINEDEBUG": "-all,err+all"}
        failed = []
        for number in range(STARTS):
            before()
            words = tmp_path / f"wine-says-{number}"
            with words.open("wb") as file:
                begun = time.perf_counter()
                done = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=file if stderr is None else stderr,
                    timeout=MINUTE,
                    check=False,
                )
                seconds = time.perf_counter() - begun
            if done.returncode == code:
                return done, seconds
            said = (done.stderr or words.read_bytes()).decode(errors="replace").strip()
            failed.append(f"exit code {done.returncode}, {done.stdout!r}: {said}")
        pytest.fail("\n".join([f"not once in {STARTS} starts did {command} end with exit code {code}:", *failed]))

    return start


@pytest.fixture
def wine_prefix(
    wine_template: Path,
    wine_sockets: None,
    heap_where_wine_leaves_room: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """A complete prefix of the test's own, with ``WINEPREFIX`` set to it; what runs in it is ended afterwards."""
    prefix = tmp_path / "wine-prefix"
    prefix.mkdir()
    for file in wine_template.iterdir():
        if file.suffix == ".reg" or file.name == ".update-timestamp":
            shutil.copy2(file, prefix)
    shutil.copytree(wine_template / "dosdevices", prefix / "dosdevices", symlinks=True)
    shutil.copytree(
        wine_template / "drive_c", prefix / "drive_c", symlinks=True, ignore=shutil.ignore_patterns("windows")
    )
    (prefix / "drive_c/windows").symlink_to(wine_template / "drive_c/windows")
    for variable in ("WINELOADER", "WINESERVER", "PERSISTENT_WINESERVER", "WINEDEBUG", "WINEDLLOVERRIDES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WINEPREFIX", str(prefix))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")  # whatever the developer's locale is
    yield prefix
    _end_server({**os.environ, "WINEPREFIX": str(prefix)})
    shutil.rmtree(prefix, ignore_errors=True)  # pytest would keep some megabytes of each for three sessions


@pytest.fixture(scope="session")
def windows_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles ``tests/toolkit/windows/NAME.c`` for Windows, once a session: ``windows_program("exit_code")``."""

    def compiled(name: str) -> Path:
        if shutil.which(COMPILER) is None:
            pytest.skip(f"{COMPILER} is not installed (Debian: apt-get install gcc-mingw-w64-x86-64-posix)")
        folder = _shared(tmp_path_factory) / "windows-programs"
        folder.mkdir(exist_ok=True)
        program = folder / f"{name}.exe"
        with (folder / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                unfinished = folder / f"{name}.unfinished"
                compile_it = [COMPILER, "-Wall", "-Werror", "-O1", "-s"]
                subprocess.run([*compile_it, "-o", unfinished, SOURCES / f"{name}.c"], timeout=MINUTE, check=True)
                unfinished.rename(program)
        return program

    return compiled
