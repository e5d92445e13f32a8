"""``psengine create-bounty``."""

from __future__ import annotations

import click

from psengine_host.cli.root import State

__all__ = ["command"]

YEAR = 365 * 86_400
"""Seconds. A bounty that is kept in a file is to live longer than the 30 s of one that is judged at once."""


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
@click.argument("artifact", type=click.Path(readable=False))
@click.pass_obj
def command(state: State, kind: str, expiration: int, response_url: str | None, artifact: str) -> None:
    """Make a bounty in JSON from a file, '-' (standard input) or a URL, for 'psengine analyze -t bounty'.

    ARTIFACT is what analyze takes; what has no path on this machine is put into the bounty itself.
    """
    import msgspec

    from psengine_host.cli.bounty_making import make_bounty

    bounty = make_bounty(
        artifact,
        state.settings(),
        url=kind.lower() == "url",
        expiration=expiration,
        response_url=response_url,
    )
    click.echo(msgspec.json.format(bounty.encode(), indent=2))
