"""Durations as options take them."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["Duration"]


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """Seconds, as a number or as people write them (``30s``, ``2 min``): more than 0 and at most a day."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Seconds, or what a setting that cannot be is told."""
        from psengine_host.settings import kinds

        try:
            return kinds.Duration().parse(value, "")
        except ValueError as error:
            self.fail(str(error), param, ctx)
