"""``psengine debug``."""

from __future__ import annotations

import sys

import click

from psengine_host.cli.engine_argument import engine_argument
from psengine_host.cli.program import engine_prints_to_stderr
from psengine_host.cli.root import State

__all__ = ["command"]


@click.command("debug", epilog="Exit codes: as those of analyze.")
@engine_argument
@click.option("--pdb", is_flag=True, help="Enter the debugger where the engine raised.")
@click.option(
    "-t",
    "--artifact-type",
    "kind",
    type=click.Choice(["file", "url"], case_sensitive=False),
    default="file",
    show_default=True,
    help="What ARTIFACT is.",
)
@click.argument("artifact", type=click.Path(readable=False))
@click.pass_obj
def command(state: State, engine: str, pdb: bool, kind: str, artifact: str) -> int:
    """Run one artifact through all hooks of an engine, in this process, and show each call.

    ARTIFACT is what analyze takes. What the engine raises is shown with its full traceback.
    """
    from psengine_host.cli.debug_run import debug

    settings = state.settings()
    url = kind.lower() == "url"
    if pdb:  # the debugger talks to the user on both streams
        return debug(engine, artifact, settings, url=url, pdb=True, out=sys.stdout)
    with engine_prints_to_stderr() as out:
        return debug(engine, artifact, settings, url=url, pdb=False, out=out)
