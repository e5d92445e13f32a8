"""Writing rows: JSON Lines, a JSON array, or a table for people."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import IO, TYPE_CHECKING, Final, Protocol

from psengine_host.analysis import Comment
from psengine_host.cli.rows import Row, encode, shown_name
from psengine_host.cli.tables import console_for, write_table
from psengine_host.cli.tally import Tally
from psengine_host.escapes import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["JsonLinesWriter", "JsonWriter", "TableWriter", "Writer"]

VERDICT_STYLES: Final = {
    "malicious": "bold red",
    "suspicious": "yellow",
    "benign": "green",
    "unknown": "dim",
    "error": "magenta",
}


class Writer(Protocol):
    """Where rows go."""

    def write(self, row: Row) -> None:
        """Write a row, now or soon."""

    def flush(self) -> None:
        """The next row will take a while."""

    def finish(self, tally: Tally) -> None:
        """Write what is outstanding, and the end; also after an interrupt."""


class JsonLinesWriter:
    """One object a line, each written out at once, so that an interrupt loses none.

    Args:
        out: Where to.
        in_bursts: Whether rows come many at once, and :meth:`flush` is called after each burst.
    """

    def __init__(self, out: IO[str], *, in_bursts: bool = False) -> None:
        self._out = out
        self._in_bursts = in_bursts

    def write(self, row: Row) -> None:
        """Write a row now."""
        self._out.write(encode(row.to_wire()) + "\n")
        if not self._in_bursts:
            self._out.flush()

    def flush(self) -> None:
        """Write out what is outstanding."""
        self._out.flush()

    def finish(self, tally: Tally) -> None:  # noqa: ARG002 - as its siblings
        """Write out what is outstanding."""
        self._out.flush()


class JsonWriter:
    """One array; complete also after an interrupt."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._separator = "[\n"

    def write(self, row: Row) -> None:
        """Write a row now."""
        self._out.write(self._separator + encode(row.to_wire()))
        self._separator = ",\n"

    def flush(self) -> None:
        """An array is read when it is complete."""

    def finish(self, tally: Tally) -> None:  # noqa: ARG002 - as its siblings
        """End the array."""
        self._out.write("\n]\n" if self._separator != "[\n" else "[]\n")
        self._out.flush()


class TableWriter:
    """A table for people, printed as the rows come, and a summary.

    Args:
        out: Where to.
        clear: Makes room on the terminal while something is printed (a progress bar would be in the way).
    """

    PAGE = 200
    PATIENCE = 0.5
    VERDICT_WIDTH = 10
    FOUND_WIDTH = 24

    def __init__(
        self, out: IO[str], clear: Callable[[], AbstractContextManager[object]] = nullcontext, *, engine_width: int = 12
    ) -> None:
        self._out = out
        self._console: Console = console_for(out)
        self._clear = clear
        self._rows: list[Row] = []
        self._engine_width = engine_width
        self._header = True
        self._printed = time.monotonic()

    def write(self, row: Row) -> None:
        """Write a row soon."""
        self._rows.append(row)
        if len(self._rows) >= self.PAGE or time.monotonic() - self._printed > self.PATIENCE:
            self._print()

    def flush(self) -> None:
        """The rows are for people, who are not that quick."""

    def finish(self, tally: Tally) -> None:
        """Print what is outstanding and the summary."""
        self._print()
        summary = tally.summary()
        if self._console.is_terminal and self._console.color_system is not None:
            summary = f"\033[1m{summary}\033[0m"
        with self._clear():
            self._out.write(f"{summary}\n")
            self._out.flush()

    def _print(self) -> None:
        self._printed = time.monotonic()
        if not self._rows:
            return
        table = self._table()
        for row in self._rows:
            table.add_row(*self._cells(row))
        self._rows.clear()
        self._header = False
        with self._clear():
            write_table(self._console, self._out, table)

    def _table(self) -> Table:
        """A page of the table; on a terminal the columns have fixed widths, so that pages line up."""
        from rich.table import Table

        if not self._console.is_terminal:
            table = Table(box=None, pad_edge=False, show_header=self._header)
            table.add_column("Verdict", min_width=self.VERDICT_WIDTH)
            table.add_column("Engine", min_width=self._engine_width)
            table.add_column("Found", min_width=self.FOUND_WIDTH)
            table.add_column("Artifact")
            return table
        left = self._console.width - self.VERDICT_WIDTH - self._engine_width - 4
        found = max(8, min(44, left // 2))
        table = Table(box=None, pad_edge=False, show_header=self._header, header_style="bold", expand=True)
        table.add_column("Verdict", width=self.VERDICT_WIDTH, no_wrap=True)
        table.add_column("Engine", width=self._engine_width, no_wrap=True, overflow="ellipsis")
        table.add_column("Found", width=found, overflow="fold")
        table.add_column("Artifact", ratio=1, overflow="fold")
        return table

    def _cells(self, row: Row) -> list[Text]:
        from rich.text import Text

        verdict = "error" if row.error is not None else row.verdict.value
        return [
            Text(verdict, style=VERDICT_STYLES[verdict]),
            Text(row.engine),
            Text(printable(_found(row))),
            Text(shown_name(row.artifact)),
        ]


def _found(row: Row) -> str:
    """What there is to say of a row, in a few words."""
    if row.error is not None:
        return row.problem
    if row.analysis.malware_family:
        return row.analysis.malware_family
    if not row.analysis.declined:
        return ""
    # The others say by themselves why.
    return ": ".join(row.analysis.comments[: 2 if row.analysis.comments[0] == Comment.SKIPPED else 1])
