"""``psengine samples``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("samples")
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Write a folder of harmless samples: the EICAR test file, plain and wrapped, and benign look-alikes."""
    from psengine_host.samples import write_samples

    for sample in write_samples(folder):
        click.echo(f"{sample.path.name:28} {sample.description}")
