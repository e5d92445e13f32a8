"""``psengine commands``."""

from __future__ import annotations

import click

from psengine_host.cli.engine_argument import engine_argument
from psengine_host.cli.root import State

__all__ = ["command"]


@click.command(
    "commands",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
    options_metavar="",
)
@engine_argument
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARGS]...]")
@click.pass_context
def command(context: click.Context, engine: str, arguments: tuple[str, ...]) -> int:
    """Run one of an engine's own functions; without COMMAND, list them.

    Each function is a command made from its signature, annotations and docstring: 'psengine commands NAME COMMAND
    --help' shows its arguments. It fails with exit code 1.
    """
    state: State = context.obj
    if engine in ("-h", "--help"):
        click.echo(context.get_help())
        return 0
    if engine.startswith("-"):
        raise click.NoSuchOption(engine.partition("=")[0], ctx=context)
    from psengine_host.cli.commands_run import run_function

    path = f"{context.command_path} {engine}" if state.engine is None else context.command_path
    return run_function(engine, arguments, state.settings(), path)
