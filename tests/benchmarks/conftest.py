"""Programs measured in turns, and the table of what was measured.

The benchmarks run only where they are asked for (``nox -s bench``, or ``pytest -m benchmark tests/benchmarks``). They
assert ratios, never times: what is compared runs in turns in the same minutes, so a busy machine slows both alike.
"""

import json
import os
import random
import shutil
import stat
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
SEED = 20_240_901
TREES = ("/bin", "/etc", "/lib", "/sbin", "/usr")
"""Where the files of the system are taken from."""
LARGEST = 64 << 20
"""Bytes of such a file at most: one giant would be most of the measurement."""

_rows: list[tuple[str, ...]] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "benchmark" in config.option.markexpr:
        return
    benchmarks = [item for item in items if item.get_closest_marker("benchmark")]
    if benchmarks:
        config.hook.pytest_deselected(items=benchmarks)
        items[:] = [item for item in items if item not in benchmarks]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _rows:
        terminalreporter.section("figures")
        for row in (("figure", "measured", "beside", "ratio", "bound"), ("---",) * 5, *_rows):
            terminalreporter.write_line(f"| {' | '.join(row)} |")


@pytest.fixture(scope="session")
def figure() -> Callable[..., None]:
    """``figure(what, measured, beside, ratio, bound)``: one row of the table."""

    def add(what: str, measured: str, beside: str, ratio: str, bound: str) -> None:
        _rows.append((what, measured, beside, ratio, bound))

    return add


class Program:
    """A script of ``programs/`` that runs one round whenever it is asked to.

    Args:
        script: Its name.
        arguments: Its arguments.
    """

    def __init__(self, script: str, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PSENGINE_TASK_ALWAYS_EAGER": "1", "PSENGINE_ENGINES": "eicar"},
        )
        self._script = script
        assert self._answer() == {"ready": True}

    def round(self) -> dict[str, Any]:
        """What one round took and did."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self._script} ended early, with exit code {self._process.wait()} (its message is above)"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """Starts programs, and ends them after the test."""
    started: list[Program] = []

    def start(script: str, *arguments: str | Path) -> Program:
        started.append(Program(script, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()


class Rounds:
    """The seconds of several things that ran in turns.

    Args:
        seconds: Name -> seconds, round by round.
    """

    def __init__(self, seconds: Mapping[str, Sequence[float]]) -> None:
        self.seconds = seconds

    def median(self, name: str) -> float:
        """Seconds of a typical round."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times as long as the other it took: the median of the rounds' ratios.

        Of each round, not of the medians: the two of one round ran one after the other on the same machine, as busy as
        it was.
        """
        return statistics.median(
            mine / theirs for mine, theirs in zip(self.seconds[name], self.seconds[other], strict=True)
        )


@pytest.fixture(scope="session")
def in_turns() -> Callable[..., Rounds]:
    """``in_turns(count, name=function, …)``: call each function in turns; it returns its seconds."""

    def measure(count: int, **things: Callable[[], float]) -> Rounds:
        seconds: dict[str, list[float]] = {name: [] for name in things}
        order = list(things)
        for _ in range(count):
            for name in order:
                seconds[name].append(things[name]())
            order.reverse()  # so that none always comes after the same other
        return Rounds(seconds)

    return measure


@pytest.fixture(scope="session")
def system_files() -> list[str]:
    """Every regular file of the system's trees that can be read and is not empty, in a fixed random order."""
    found = []
    for tree in TREES:
        if Path(tree).is_symlink():  # to a folder of /usr
            continue
        for folder, folders, names in os.walk(tree):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= LARGEST and os.access(path, os.R_OK):
                    found.append(path)
    random.Random(SEED).shuffle(found)
    return found


@pytest.fixture(scope="session")
def psengine() -> str:
    """The console script as pip installs it."""
    script = Path(sys.executable).with_name("psengine")
    assert script.is_file(), f"{script} is missing: install psengine-host into this environment"
    return str(script)


@pytest.fixture(scope="session")
def file_command() -> None:
    """The ancestor names types with the program ``file``; without it the ancestor would be faster and name none."""
    assert shutil.which("file"), "the ancestor needs the program file: apt-get install file"
