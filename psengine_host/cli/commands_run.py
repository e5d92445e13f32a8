"""One of an engine's own functions, run as a command."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import click

from psengine_host.cli.functions import group_from_functions
from psengine_host.cli.program import engine_prints_to_stderr
from psengine_host.cli.running_engine import open_session
from psengine_host.errors import UsageError
from psengine_host.settings import Settings

__all__ = ["run_function"]


def run_function(engine: str, arguments: Sequence[str], settings: Settings, program: str) -> int:
    """Start an engine and run one of its functions, whose output is standard output; the rest of its prints is not.

    Args:
        engine: The engine's name.
        arguments: The function's name and its arguments; none lists the functions.
        settings: The host's settings.
        program: What the usage line begins with.

    Returns:
        0, or 1 where the function failed.

    Raises:
        UsageError: There is no engine of that name, or it offers no commands.
        EngineBroken: It cannot be loaded.
        EngineFault: It cannot be started, or its ``commands`` hook failed.
        click.ClickException: The function raised, or its arguments are wrong.
    """
    with ExitStack() as running:
        with engine_prints_to_stderr():
            _, session = running.enter_context(open_session(engine, settings))
            functions = session.commands()
        try:
            if not functions:
                if arguments and arguments[0] not in ("-h", "--help"):
                    raise UsageError(f"engine {engine} offers no commands")
                click.echo(f"engine {engine} offers no commands", err=True)
                return 0
            group = group_from_functions(engine, functions, help=f"Commands of the {engine} engine.")
            result = group.main(
                list(arguments) or ["--help"],
                prog_name=program,
                standalone_mode=False,
                help_option_names=["-h", "--help"],
            )
            return result if isinstance(result, int) else 0
        finally:
            with engine_prints_to_stderr():
                running.close()
