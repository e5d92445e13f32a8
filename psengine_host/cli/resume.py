"""``--resume``: what an earlier, interrupted JSON Lines output already has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Any

import msgspec

from psengine_host.cli.inputs import Input, StreamInput
from psengine_host.errors import UsageError

__all__ = ["Done", "finish_broken_line", "still_to_do"]


class Done:
    """The artifacts and engines that an earlier output has a row for.

    Args:
        path: The output, JSON Lines. A line that was cut off by the interruption is left out: its row is made again.

    Attributes:
        rows: How many rows it has.
        taken: How many of them stood for an artifact of this run.
        malicious: Whether one of those says malicious.
        failed: Whether one of those has an error.

    Raises:
        UsageError: The file cannot be read, or holds something else.
    """

    def __init__(self, path: str) -> None:
        self._seen: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
        self.rows = 0
        self.taken = 0
        self.malicious = False
        self.failed = False
        lines = 0
        try:
            with open(path, "rb") as file:
                for line in file:
                    lines += 1
                    self._read(line)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"--resume {path}: {reason}; name the JSON Lines output of the earlier run") from error

        if lines > 1 and not self.rows:
            raise UsageError(f"--resume {path}: holds no row of 'psengine analyze'; name its JSON Lines output")

    def take(self, artifact: str, engine: str) -> bool:
        """Whether there is a row already. Each row stands for one artifact: named twice, it needs two.

        Args:
            artifact: Its name.
            engine: The engine's name.
        """
        rows = self._seen.get((artifact, engine))
        if not rows:
            return False
        malicious, failed = rows.pop()
        self.taken += 1
        self.malicious |= malicious
        self.failed |= failed
        return True

    def _read(self, line: bytes) -> None:
        row = _row(line)
        if row is None:
            return
        self.rows += 1
        # The row of a check says nothing of the user's artifacts.
        malicious = row["analysis"].get("verdict") == "malicious" and not row["artifact"].startswith("--check-")
        self._seen.setdefault((row["artifact"], row["engine"]), []).append((malicious, row.get("error") is not None))


def still_to_do(item: Input, engines: Sequence[str], done: Done | None) -> Sequence[str]:
    """The engines that have not judged an input yet.

    Args:
        item: The input.
        engines: The names of all engines.
        done: What an earlier output has, or None.
    """
    # What a stream held the last time tells nothing of what it holds now.
    # Nor does it of a second "-", which is an error of its own.
    if done is None or isinstance(item, StreamInput) or item.name == "-":
        return engines
    return tuple(engine for engine in engines if not done.take(item.name, engine))


def finish_broken_line(path: str, out: IO[str]) -> None:
    """Where the output is appended to the very file that is resumed, end its cut-off last line first."""
    try:
        there, here = os.stat(path), os.fstat(out.fileno())
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or not there.st_size:
            return
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            cut_off = file.read(1) != b"\n"
    except (OSError, ValueError):  # not a file: nothing to mend
        return
    if cut_off:
        out.write("\n")


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        import json

        try:  # a name that is not UTF-8 is written with lone surrogates, which only this decoder takes
            row = json.loads(line)
        except (ValueError, RecursionError):
            return None
    if not isinstance(row, dict) or not isinstance(row.get("artifact"), str) or not isinstance(row.get("engine"), str):
        return None
    return row if isinstance(row.get("analysis"), dict) else None
