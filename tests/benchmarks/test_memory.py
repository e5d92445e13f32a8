"""Peak resident memory of ``psengine analyze`` in one process, with the engine eicar, which streams."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

PEAK = Path(__file__).parent / "programs" / "peak_memory.py"
FILES = 10_000
SPARSE = 5_000_000_000
ALLOWED = 30 * 1024
"""KiB above the scan of one small file: 30 MiB."""


@pytest.fixture
def peak(tmp_path) -> Callable[..., int]:
    """``peak(format, rows, …)``: KiB that a scan took at most; it wrote so many rows."""

    def measure(output_format: str, rows: int, *arguments: str) -> int:
        told = tmp_path / "peak"
        analyze = ["analyze", "-e", "eicar", "--backend", "local", "--format", output_format, *arguments]
        with (tmp_path / "rows").open("w+b") as out:
            command = [sys.executable, str(PEAK), str(told), *analyze]
            ended = subprocess.run(command, stdout=out, check=False, env={**os.environ, "COLUMNS": "300"})
            out.seek(0)
            lines = out.read().count(b"\n")
        assert ended.returncode == 0
        assert lines >= rows
        return int(told.read_text())

    return measure


@pytest.mark.parametrize("output_format", ["jsonl", "table"])
def test_memory_stays_flat_over_many_files_and_in_a_giant_one(output_format, peak, system_files, tmp_path, figure):
    small = tmp_path / "small.txt"
    small.write_text("a small file\n")
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(SPARSE)
    listed = tmp_path / "files"
    files = system_files[:FILES]
    assert len(files) == FILES
    listed.write_bytes(b"\0".join(map(os.fsencode, files)))

    one = peak(output_format, 1, str(small))
    many = peak(output_format, FILES, "--files-from", str(listed))
    giant = peak(output_format, 1, "--timeout", "600", str(sparse))
    for what, kib in ((f"{FILES:,} files", many), ("one sparse file of 5 GB", giant)):
        figure(
            f"memory: {what}, {output_format}",
            f"{kib / 1024:.1f} MiB",
            f"one small file: {one / 1024:.1f} MiB",
            f"{(kib - one) / 1024:+.1f} MiB",
            "at most +30 MiB",
        )
        assert kib - one <= ALLOWED, what
