"""The option ``--format`` of commands that write text unless they are asked for something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["format_option"]


def format_option(explanation: str, *others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--format``, which a command gets as ``output_format``: ``text``, ``json``, or one of the others.

    Args:
        explanation: The line of its help.
        others: What else it may be.
    """
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(["text", "json", *others], case_sensitive=False),
        default="text",
        show_default=True,
        help=explanation,
    )
