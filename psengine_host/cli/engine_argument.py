"""The NAME argument of commands about one engine; an engine's own program needs none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from psengine_host.cli.engine_names import EngineName
from psengine_host.cli.root import State

__all__ = ["EngineArgument", "engine_argument"]

Function = TypeVar("Function", bound=Callable[..., Any])


class EngineArgument(click.Argument):
    """The engine's name; taken from the program where that is an engine's own."""

    def consume_value(self, ctx: click.Context, opts: Any) -> Any:  # noqa: ANN401 - click's types
        """The program's engine, or the argument."""
        own = _own_engine(ctx)
        if own is None:
            return super().consume_value(ctx, opts)
        from click.core import ParameterSource

        return own, ParameterSource.DEFAULT

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:  # noqa: ANN401
        """An engine's own program takes no such argument."""
        if _own_engine(ctx) is None:
            super().add_to_parser(parser, ctx)

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Nor does its usage line show one."""
        return super().get_usage_pieces(ctx) if _own_engine(ctx) is None else []


def _own_engine(ctx: click.Context) -> str | None:
    state = ctx.find_object(State)
    return None if state is None else state.engine


def engine_argument(function: Function) -> Function:
    """Give a command the argument NAME, passed as ``engine``."""
    decorate = functools.partial(click.argument, cls=EngineArgument, metavar="NAME", type=EngineName(everything=False))
    decorated: Function = decorate("engine")(function)
    return decorated
