"""The counts of a run, for its summary and exit code."""

from __future__ import annotations

import time
from collections import Counter

from psengine_host.analysis import Verdict
from psengine_host.cli.rows import Row

__all__ = ["Tally", "plural"]


class Tally:
    """Counts rows.

    Attributes:
        errors: Rows with an error.
        malicious: Whether something is malicious, checks aside.
        artifacts: Artifacts seen.
        bytes: Their sizes together.
    """

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.errors = 0
        self.malicious = False
        self.artifacts = 0
        self.bytes = 0
        self.engines: set[str] = set()
        self._began = time.perf_counter()

    def add(self, row: Row, *, expected: bool = False) -> None:
        """Count a row.

        Args:
            row: The row.
            expected: Whether its verdict is that of a check, which tells nothing of the user's artifacts.
        """
        verdict = row.verdict  # a string as well, and cheaper than its value
        self.verdicts[verdict] += 1
        self.malicious |= verdict is Verdict.MALICIOUS and not expected
        self.engines.add(row.engine)
        self.errors += row.error is not None
        if row.first:
            self.artifacts += 1
            self.bytes += row.size

    def summary(self) -> str:
        """One line: counts, files a second, megabytes a second."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        counts = ", ".join(
            f"{self.verdicts[verdict]:,} {verdict}" for verdict in ("malicious", "suspicious", "benign", "unknown")
        )
        counts += f", {plural(self.errors, 'error')}"
        rate = f"{self.artifacts / seconds:,.0f} files/s, {self.bytes / 1e6 / seconds:,.1f} MB/s"
        of = f"{plural(self.artifacts, 'artifact')}, {plural(len(self.engines), 'engine')}"
        if len(self.engines) > 1:  # else a count of answers would be taken for one of artifacts
            of += f", {plural(self.verdicts.total(), 'answer')}"
        return f"{of}: {counts} ({rate})"


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 answer``, ``1,000 answers``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
