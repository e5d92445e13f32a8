"""``psengine create-bounty``."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

__all__ = ["command"]

YEAR = 365 * 86_400


@click.command("create-bounty")
@click.option(
    "-t",
    "--artifact-type",
    "kind",
    type=click.Choice(["file", "url"], case_sensitive=False),
    default="file",
    show_default=True,
    help="What ARTIFACT is.",
)
@click.option(
    "--expiration",
    type=click.IntRange(min=1, max=10 * YEAR),
    default=YEAR,
    show_default="a year",
    metavar="SECONDS",
    help="Seconds until the bounty expires.",
)
@click.option("--response-url", metavar="URL", help="Where the answer goes.")
@click.argument("artifact", type=click.Path())
def command(kind: str, expiration: int, response_url: str | None, artifact: str) -> None:
    """Make a bounty in JSON from a file, '-' (standard input) or a URL, for 'psengine analyze -t bounty'."""
    import json

    from psengine_host.artifacts import Artifact
    from psengine_host.bounty import Bounty
    from psengine_host.errors import InvalidBounty, UsageError

    try:
        if kind == "url":
            subject = Artifact.from_url(artifact)
        elif artifact == "-":
            subject = Artifact.from_bytes(sys.stdin.buffer.read(), name="-")
        else:
            subject = Artifact.from_path(artifact)
        with subject:
            bounty = Bounty.forge(
                subject.artifact_type,
                subject.uri,
                subject.sha256,
                mimetype=subject.mimetype,
                lifetime=timedelta(seconds=expiration),
                response_url=response_url,
            )
    except InvalidBounty as error:
        raise UsageError(str(error)) from error
    click.echo(json.dumps(bounty.to_wire(), indent=2))
