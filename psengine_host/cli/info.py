"""``psengine info``."""

from __future__ import annotations

from typing import Any

import click

from psengine_host.cli.engine_argument import engine_argument
from psengine_host.cli.root import State

__all__ = ["command"]


@click.command("info")
@engine_argument
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"], case_sensitive=False),
    default="text",
    show_default=True,
    help="How to write it.",
)
@click.pass_obj
def command(state: State, engine: str, output_format: str) -> None:
    """Load and start an engine; show its versions, what it takes, its hooks and its directories."""
    from psengine_host.cli.program import engine_prints_to_stderr

    with engine_prints_to_stderr() as out:
        described = _described(engine, state.config)
        if output_format == "json":
            import json

            out.write(json.dumps(described, indent=2) + "\n")
            return
        for key, value in described.items():
            out.write(f"{key.replace('_', ' ').capitalize()}: {_text(value)}\n")


def _described(engine: str, config: str | None) -> dict[str, Any]:
    from psengine_host.cli.descriptions import describe_found, describe_info
    from psengine_host.cli.running_engine import open_session
    from psengine_host.environment import VARIABLES
    from psengine_host.hookspecs import HOOKS
    from psengine_host.settings import Settings

    with open_session(engine, Settings.read(config)) as (home, session):
        environment = home.context.environment
        places = {}
        for variable in VARIABLES:
            if variable in ("SCANNER", "UPDATER"):
                place = environment.scanner if variable == "SCANNER" else environment.updater
            else:
                place = environment.locate(variable)
            if place is not None:
                places[environment.variable(variable)] = str(place)
        found = {key: value for key, value in describe_found(home.engine.found).items() if value is not None}
        return {
            **found,
            "status": "ok",
            **describe_info(session.info),
            "hooks": [hook for hook in HOOKS if home.engine.has(hook)],
            "environment": places,
        }


def _text(value: object) -> str:
    from psengine_host.cli.rows import printable

    if isinstance(value, dict):
        return "".join(f"\n  {key}={printable(str(item))}" for key, item in value.items())
    return printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))
