"""Wall-clock time of short commands, as a user waits for them, beside what importing click alone takes."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

ROUNDS = 25
ENGINES = 50


def _run(environment: Mapping[str, str], *command: str) -> Callable[[], float]:
    def one_run() -> float:
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return one_run


@pytest.fixture
def engines_that_tell(engine_site, tmp_path) -> Path:
    """Fifty installed engines, each of which leaves a file in the returned folder when it is imported."""
    told = tmp_path / "imported"
    told.mkdir()
    for number in range(ENGINES):
        engine_site.add(
            f"engine{number:02}",
            f"""
            import pathlib
            from psengine_host import Analysis, EngineInfo, hookimpl

            pathlib.Path({str(told)!r}, __name__).touch()

            @hookimpl
            def analyze(artifact):
                return Analysis.benign()

            @hookimpl
            def info():
                return EngineInfo(product={f"Engine {number}"!r})
            """,
        )
    return told


def test_version_help_and_a_list_of_50_engines_start_fast(psengine, engine_site, engines_that_tell, in_turns, figure):
    environment = engine_site.env()
    listed = subprocess.run([psengine, "list-engines"], env=environment, check=True, capture_output=True, text=True)
    assert listed.stdout.count('"found"') == ENGINES
    rounds = in_turns(
        ROUNDS,
        click=_run(environment, sys.executable, "-c", "import click"),
        version=_run(environment, psengine, "--version"),
        help=_run(environment, psengine, "--help"),
        list=_run(environment, psengine, "list-engines"),
    )
    assert list(engines_that_tell.iterdir()) == [], "listing engines imported them"
    subprocess.run([psengine, "info", "engine07"], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert [path.name for path in engines_that_tell.iterdir()] == ["psengine_test_engine07"]

    click = f"`import click`: {rounds.median('click') * 1e3:.0f} ms"
    for name, command, bound in (
        ("version", "psengine --version", 2.0),
        ("help", "psengine --help", 2.0),
        ("list", f"psengine list-engines, {ENGINES} installed", 3.0),
    ):
        ratio = rounds.ratio(name, "click")
        figure(
            f"`{command.partition(',')[0]}`{command.partition(',')[1]}{command.partition(',')[2]}",
            f"{rounds.median(name) * 1e3:.0f} ms",
            click,
            f"{ratio:.2f} times that",
            f"at most {bound:.1f}",
        )
        assert ratio <= bound, command
