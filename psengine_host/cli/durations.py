"""Durations as options take them."""

from __future__ import annotations

from typing import Any

import click

from psengine_host.quantities import format_duration, parse_duration

__all__ = ["Duration"]


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """Seconds, as a number or as people write them (``30s``, ``2 min``): more than 0 and at most a day."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Seconds."""
        from psengine_host.settings import LONGEST_TIMEOUT

        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 < seconds <= LONGEST_TIMEOUT:
            self.fail(f"{value} is not more than 0 and at most {format_duration(LONGEST_TIMEOUT)}", param, ctx)
        return seconds
