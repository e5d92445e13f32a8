"""Files a second: the same search over the same 2,000 files of the system."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

FILES = 2_000
INFECTED = 5
"""Files with the EICAR test string that are put among them, so that both programs show that they search."""
BESIDE_BARE, BESIDE_ANCESTOR = 9, 3
"""Rounds. The ancestor starts a process a file, which takes long; its ratio is far from the bound."""


@pytest.fixture(scope="session")
def files(system_files: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from psengine_eicar import EICAR

    folder = tmp_path_factory.mktemp("infected")
    infected = [folder / f"{number}.com" for number in range(INFECTED)]
    for path in infected:
        path.write_bytes(EICAR)
    assert len(system_files) >= FILES
    return [*map(str, infected), *system_files[:FILES]]


@pytest.fixture(scope="session")
def list_of_files(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "files"
    path.write_bytes(b"\0".join(map(os.fsencode, files)))
    return path


def _seconds(program: Any, files: int) -> Callable[[], float]:
    def one_round() -> float:
        result = program.round()
        assert result["files"] == files
        return float(result["seconds"])

    return one_round


def test_a_scan_takes_at_most_1_3_times_what_reading_hashing_and_identifying_take(
    program, in_turns, list_of_files, files, figure
):
    host, bare = program("scan_host.py", list_of_files), program("scan_bare.py", list_of_files)
    warm = host.round()
    bare.round()
    assert warm["errors"] == 0
    assert warm["malicious"] == files[:INFECTED]
    rounds = in_turns(BESIDE_BARE, host=_seconds(host, len(files)), bare=_seconds(bare, len(files)))
    ratio = rounds.ratio("host", "bare")
    figure(
        f"scan of {len(files):,} files, {warm['bytes'] / 1e6:,.0f} MB",
        f"{len(files) / rounds.median('host'):,.0f} files/s",
        f"bare loop: {len(files) / rounds.median('bare'):,.0f} files/s",
        f"{ratio:.2f} of its time",
        "at most 1.3",
    )
    assert ratio <= 1.3


def test_a_scan_judges_at_least_8_times_the_files_of_the_ancestor(
    program, in_turns, list_of_files, files, figure, file_command
):
    host, ancestor = program("scan_host.py", list_of_files), program("scan_ancestor.py", list_of_files)
    assert host.round()["malicious"] == files[:INFECTED]
    rounds = in_turns(BESIDE_ANCESTOR, host=_seconds(host, len(files)), ancestor=_seconds(ancestor, len(files)))
    assert ancestor.round()["malicious"] == files[:INFECTED]
    ratio = rounds.ratio("ancestor", "host")
    figure(
        "the same scan",
        f"{len(files) / rounds.median('host'):,.0f} files/s",
        f"ancestor: {len(files) / rounds.median('ancestor'):,.0f} files/s",
        f"{ratio:.1f} times its files",
        "at least 8",
    )
    assert ratio >= 8


def test_the_whole_program_over_the_same_files(psengine, in_turns, list_of_files, files, figure, tmp_path):
    """From the shell to the last line written; no bound of its own beside that of the loop inside it."""
    written = tmp_path / "rows.jsonl"
    options = ["-e", "eicar", "--backend", "local", "--format", "jsonl", "--files-from", str(list_of_files)]

    def analyze() -> float:
        with written.open("wb") as out:
            began = time.perf_counter()
            ended = subprocess.run([psengine, "analyze", *options], stdout=out, check=False)
            seconds = time.perf_counter() - began
        assert ended.returncode == 1  # the EICAR files are malicious
        return seconds

    rounds = in_turns(3, analyze=analyze)
    assert written.read_bytes().count(b"\n") == len(files)
    assert written.read_bytes().count(b'"verdict":"malicious"') == INFECTED
    what = "`psengine analyze --backend local --files-from`, whole program"
    figure(what, f"{len(files) / rounds.median('analyze'):,.0f} files/s", "", "", "")
