"""``psengine update``."""

from __future__ import annotations

import click

from psengine_host.cli.engine_names import EngineName
from psengine_host.cli.program import FAILED, OK, engine_prints_to_stderr
from psengine_host.cli.root import State

__all__ = ["command"]


@click.command("update")
@click.argument("engines", nargs=-1, metavar="[NAME]...", type=EngineName())
@click.pass_obj
def command(state: State, engines: tuple[str, ...]) -> int:
    """Fetch new signatures: run the update hook of the named engines, or of all that have one."""
    if state.engine is not None and set(engines) - {state.engine}:
        raise click.UsageError(f"this is the program of engine {state.engine}: use psengine for others")
    from psengine_host.cli.running_engine import open_home
    from psengine_host.errors import EngineBroken, EngineFault
    from psengine_host.host import usable_engines

    settings = state.settings()
    names = engines or ((state.engine,) if state.engine is not None else ("all",))
    failed = False
    with engine_prints_to_stderr() as out:
        for engine in usable_engines(settings).select(names):
            try:
                with open_home(engine.name, settings) as home:
                    if home.engine.has("update"):
                        home.update()
                        out.write(f"{engine.name}: updated\n")
                    else:
                        out.write(f"{engine.name}: has no update hook\n")
            except (EngineBroken, EngineFault) as error:
                failed = True
                click.echo(f"psengine: {error}", err=True)
            out.flush()
    return FAILED if failed else OK
