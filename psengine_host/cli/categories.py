"""``psengine categories``."""

from __future__ import annotations

import click

from psengine_host.cli.output_format import format_option

__all__ = ["command"]


@click.command("categories")
@format_option("How to write them.")
def command(output_format: str) -> None:
    """List the categories of file types that an engine may say it takes, with their mimetypes."""
    from psengine_host.filetypes import CATEGORIES

    if output_format == "json":
        import json

        click.echo(json.dumps({name: sorted(mimetypes) for name, mimetypes in CATEGORIES.items()}, indent=2))
        return
    for name, mimetypes in CATEGORIES.items():
        click.secho(name, bold=True)
        for mimetype in sorted(mimetypes):
            click.echo(f"  {mimetype}")
