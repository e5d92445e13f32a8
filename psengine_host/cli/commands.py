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
)
@engine_argument
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARGS]...]")
@click.pass_context
def command(context: click.Context, engine: str, arguments: tuple[str, ...]) -> None:
    """Run one of an engine's own functions; without COMMAND, list them.

    Each function is a command made from its signature, annotations and docstring.
    """
    from psengine_host.cli.functions import group_from_functions
    from psengine_host.cli.running_engine import open_session
    from psengine_host.settings import Settings

    state: State = context.obj
    if engine in ("-h", "--help"):
        click.echo(context.get_help())
        return
    with open_session(engine, Settings.read(state.config)) as (_, session):
        functions = session.commands()
        if not functions:
            click.echo(f"the {engine} engine offers no commands", err=True)
            return
        group = group_from_functions(engine, functions, help=f"Commands of the {engine} engine.")
        path = f"{context.command_path} {engine}" if state.engine is None else context.command_path
        group.main(list(arguments) or ["--help"], prog_name=path, standalone_mode=False)
