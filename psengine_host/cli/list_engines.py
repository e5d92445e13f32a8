"""``psengine list-engines``."""

from __future__ import annotations

import sys
from typing import IO, Any

import click

from psengine_host.cli.root import State

__all__ = ["command"]


@click.command("list-engines")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["auto", "table", "json"], case_sensitive=False),
    default="auto",
    show_default=True,
    help="auto: a table on a terminal, else JSON.",
)
@click.option("--info", "load", is_flag=True, help="Load and start each engine, and show what it says of itself.")
@click.pass_obj
def command(state: State, output_format: str, load: bool) -> None:
    """List the installed engines. Without --info nothing of them is imported."""
    if output_format == "auto":
        output_format = "table" if sys.stdout.isatty() else "json"
    if load:
        from psengine_host.cli.program import engine_prints_to_stderr

        with engine_prints_to_stderr() as out:
            _write(_loaded(state), output_format, out)
    else:
        from psengine_host.cli.descriptions import describe_found

        _write([describe_found(engine) for engine in _catalog(state).values()], output_format, sys.stdout)


def _catalog(state: State) -> Any:  # noqa: ANN401 - Catalog, which is imported late
    from psengine_host.host import usable_engines
    from psengine_host.settings import Settings

    return usable_engines(Settings.read(state.config))


def _loaded(state: State) -> list[dict[str, Any]]:
    """All engines, each loaded and started; one that cannot be is described with its reason."""
    from psengine_host.cli.descriptions import describe_found, describe_info
    from psengine_host.cli.running_engine import open_session
    from psengine_host.errors import EngineBroken, EngineFault
    from psengine_host.settings import Settings

    settings = Settings.read(state.config)
    described = []
    for engine in _catalog(state).values():
        entry = describe_found(engine)
        if entry["status"] == "found":
            try:
                with open_session(engine.name, settings) as (_, session):
                    entry |= {"status": "ok"} | describe_info(session.info)
            except EngineBroken as error:
                entry |= {"status": "broken", "reason": error.reason}
            except EngineFault as error:
                entry |= {"status": "unavailable", "reason": str(error)}
        described.append(entry)
    return described


def _write(engines: list[dict[str, Any]], output_format: str, out: IO[str]) -> None:
    if output_format == "json":
        import json

        out.write(json.dumps(engines, indent=2) + "\n")
        out.flush()
        return
    from rich.console import Console
    from rich.table import Table

    if not engines:
        out.write("no engine is installed; install one, for example: pip install psengine-eicar\n")
        return
    columns = ["name", "distribution", "version", "status"]
    columns += [
        column
        for column in ("artifact_types", "product", "vendor", "engine_version", "signatures_version", "reason")
        if any(column in engine for engine in engines)
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").capitalize(), overflow="fold")
    for engine in engines:
        table.add_row(*(_cell(engine.get(column, "")) for column in columns))
    Console(file=out, highlight=False, markup=False).print(table)


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
