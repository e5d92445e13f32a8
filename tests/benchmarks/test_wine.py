"""Starting Windows programs with a wineserver that stays and without, and NT paths beside Wine's winepath."""

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from psengine_host.toolkit import wine

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

COMPILER = "x86_64-w64-mingw32-gcc"
SOURCE = Path(__file__).parents[1] / "toolkit/windows/exit_code.c"
STARTS = 15
CALLS = 20_000


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    if shutil.which("wine") is None:
        pytest.skip("Wine is not installed (Debian: apt-get install wine)")
    home = tmp_path / "prefix"
    monkeypatch.setenv("WINEPREFIX", str(home))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    wine.start_persistent_wineserver()
    yield home
    wine.kill_wineserver()
    shutil.rmtree(home)  # 700 MB


def seconds(command):
    began = time.perf_counter()
    done = subprocess.run(command, env=wine.environment(), stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 5
    return time.perf_counter() - began


def test_a_console_program_starts_faster_with_a_wineserver_that_stays(prefix, tmp_path, figure):
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed (Debian: apt-get install gcc-mingw-w64-x86-64-posix)")
    program = tmp_path / "exit_code.exe"
    subprocess.run([COMPILER, "-O1", "-s", "-o", program, SOURCE], check=True)
    command = wine.command([program, "5"])
    without, beside = [], []
    for _ in range(STARTS):
        wine.kill_wineserver()
        without.append(seconds(command))
        wine.kill_wineserver()
        wine.start_persistent_wineserver()
        beside += [seconds(command) for _ in range(3)]
    slow, fast = statistics.median(without), statistics.median(beside)
    figure(
        "start of a Windows console program, wineserver that stays",
        f"{fast * 1e3:.0f} ms",
        f"no server running: {slow * 1e3:.0f} ms",
        f"{slow / fast:.1f} times as fast",
        "at least 5",
    )
    assert slow / fast >= 5


def test_paths_are_converted_without_a_process(prefix, tmp_path, figure):
    paths = [f"{tmp_path}/artifact {number}/Grüße/file.exe" for number in range(CALLS)]
    asked = []
    for path in paths[:STARTS]:
        began = time.perf_counter()
        done = subprocess.run(wine.command(["winepath", "-w", path]), env=wine.environment(), stdout=subprocess.PIPE)
        asked.append(time.perf_counter() - began)
        assert done.stdout.decode().strip() == wine.as_nt_path(path)
    process = statistics.median(asked)
    began = time.perf_counter()
    converted = [wine.as_nt_path(path) for path in paths]
    there = (time.perf_counter() - began) / CALLS
    assert len(set(converted)) == CALLS
    spool = tmp_path / "artifact.exe"
    spool.touch()
    existing = wine.as_nt_path(spool)
    began = time.perf_counter()
    for _ in range(CALLS):
        wine.from_nt_path(existing)
    back = (time.perf_counter() - began) / CALLS
    for name, took in (("as_nt_path", there), ("from_nt_path", back)):
        beside = f"`winepath`, server running: {process * 1e3:.0f} ms"
        figure(f"`{name}`", f"{took * 1e6:.1f} µs", beside, f"1/{process / took:,.0f} of its time", "under 20 µs")
        assert took < 20e-6
    assert os.path.exists(wine.from_nt_path(existing))
