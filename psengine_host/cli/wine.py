"""``psengine wine``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from psengine_host.cli.output_format import format_option
from psengine_host.cli.program import OK
from psengine_host.errors import printable_name

__all__ = ["command"]

NOT_RUNNING: Final = 3
"""What ``status`` ends with where no server runs, as the status of a service does."""


@click.group("wine")
def command() -> None:
    """Start, kill or look for the wineserver that Windows programs share, of the prefix in WINEPREFIX."""


@command.command("start")
def start() -> None:
    """Start a wineserver that stays until it is killed; make the prefix where there is none."""
    from psengine_host.toolkit.wine import start_persistent_wineserver, wineserver_status

    with _misuse():
        started = start_persistent_wineserver()
        prefix = wineserver_status().prefix
    click.echo(f"{_of(prefix)}: {'started' if started else 'is running already'}")


@command.command("kill")
def kill() -> None:
    """End the wineserver, with all Windows programs in the prefix, and wait until it is gone."""
    from psengine_host.toolkit.wine import kill_wineserver, wineserver_status

    with _misuse():
        prefix = wineserver_status().prefix
        killed = kill_wineserver()
    click.echo(f"{_of(prefix)}: {'killed' if killed else 'is not running'}")


@command.command("status", epilog="Exit codes: 0 it runs; 3 it does not; 2 there is no telling.")
@format_option("How to write it.")
def status(output_format: str) -> int:
    """Show whether a wineserver runs; none is started by asking."""
    from psengine_host.errors import UsageError
    from psengine_host.toolkit.wine import WineError, wineserver_status

    try:
        found = wineserver_status()
    except WineError as error:  # whatever it is: 3 has another meaning here
        raise UsageError(str(error)) from error
    if output_format == "json":
        import json

        row = {"running": found.running, "prefix": str(found.prefix), "server": str(found.server)}
        click.echo(json.dumps(row))
    else:
        click.echo(f"{_of(found.prefix)}: is {'running' if found.running else 'not running'}")
    return OK if found.running else NOT_RUNNING


def _of(prefix: Path) -> str:
    return f"wineserver of {printable_name(str(prefix))}"


@contextmanager
def _misuse() -> Iterator[None]:
    from psengine_host.errors import UsageError
    from psengine_host.toolkit.wine import WineUnusable

    try:
        yield
    except WineUnusable as error:
        raise UsageError(str(error)) from error
