"""``-v``: the bounty and the analysis of each row, on standard error, under a rule with the artifact's name."""

from __future__ import annotations

import json
from typing import Final

import click

from psengine_host.cli.rows import Row, shown_name

__all__ = ["show"]

WIDTH: Final = 80


def show(row: Row) -> None:
    """Show one row.

    Args:
        row: The row.
    """
    click.echo(f"{shown_name(row.artifact):-^{WIDTH}}", err=True)
    if row.bounty is not None:
        click.echo(f"Bounty: {_laid_out(row.bounty.to_wire())}", err=True)
    click.echo(f"Analysis: {_laid_out(row.analysis.to_wire())}", err=True)
    if row.error is not None:
        click.echo(f"Error: {row.error[0]}: {row.problem}", err=True)


def _laid_out(wire: dict[str, object]) -> str:
    return json.dumps(wire, indent=2)
