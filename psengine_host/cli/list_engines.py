"""``psengine list-engines``."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, Final

import click

from psengine_host.cli.root import State

if TYPE_CHECKING:
    from psengine_host.engines.found import BrokenEngine, FoundEngine
    from psengine_host.settings import Settings

__all__ = ["command"]

COLUMNS: Final = ("name", "distribution", "version", "status", "artifact_types")
LOADED_COLUMNS: Final = ("product", "vendor", "engine_version", "signatures_version", "signatures_date")


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
    settings = state.settings()
    if load:
        from psengine_host.cli.program import engine_prints_to_stderr

        with engine_prints_to_stderr() as out:
            _write(_loaded(settings), output_format, out)
    else:
        from psengine_host.cli.descriptions import describe_found

        _write([describe_found(engine) for engine in _used(settings)], output_format, sys.stdout)


def _used(settings: Settings) -> list[FoundEngine | BrokenEngine]:
    # Not by way of the host: importing that would take as long as all the rest of this command.
    from psengine_host.engines.found import find_engines

    return [engine for engine in find_engines().values() if settings.uses(engine.name)]


def _loaded(settings: Settings) -> list[dict[str, Any]]:
    """All engines, each loaded and started; one that cannot be is described with its reason."""
    from psengine_host.cli.descriptions import describe_found, describe_info
    from psengine_host.cli.running_engine import open_session
    from psengine_host.errors import EngineBroken, EngineFault

    described = []
    for engine in _used(settings):
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
        import msgspec  # the settings have imported it already

        out.write(msgspec.json.format(msgspec.json.encode(engines), indent=2).decode() + "\n")
        out.flush()
        return
    from rich.table import Table

    from psengine_host.cli.tables import console_for, write_table

    if not engines:
        from psengine_host.engines.found import find_engines

        excluded = find_engines()
        because = f": {', '.join(excluded)} excluded by the settings" if excluded else ""
        out.write(f"no engine to list{because}; install one, for example: pip install psengine-eicar\n")
        return
    optional = (*LOADED_COLUMNS, "reason")
    columns = [*COLUMNS, *(column for column in optional if any(engine.get(column) for engine in engines))]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").capitalize(), overflow="fold")
    for engine in engines:
        table.add_row(*(_cell(engine.get(column)) for column in columns))
    write_table(console_for(out), out, table)


def _cell(value: object) -> str:
    from psengine_host.escapes import printable

    if value is None:
        return "-"
    return printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))
