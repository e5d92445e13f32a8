"""Tables on standard output: as wide as the terminal, or as wide as they are where there is none."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console_for", "write_table"]

ENDLESS: Final = 100_000
"""Columns of a pipe or a file: no line of a table is folded there."""


def console_for(out: IO[str]) -> Console:
    """A console for an output, with colours on a terminal."""
    from rich.console import Console

    return Console(file=out, highlight=False, markup=False, width=None if out.isatty() else ENDLESS)


def write_table(console: Console, out: IO[str], table: Table) -> None:
    """Write a table, without the blanks at the end of its lines.

    Rendered first and written by the output itself: rich ends the program with 1 when a pipe is closed, and 1 means
    that something is malicious.

    Args:
        console: The output's console.
        out: The output.
        table: The table.
    """
    with console.capture() as captured:
        console.print(table)
    text = captured.get()
    if not console.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    out.write(text)
    out.flush()
