"""``psengine info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from psengine_host.cli.engine_argument import engine_argument
from psengine_host.cli.output_format import format_option
from psengine_host.cli.root import State

if TYPE_CHECKING:
    from psengine_host.settings import Settings

__all__ = ["command"]


@click.command("info")
@engine_argument
@format_option("How to write it.")
@click.pass_obj
def command(state: State, engine: str, output_format: str) -> None:
    """Load and start an engine; show its versions, what it takes, its hooks and its directories."""
    from psengine_host.cli.program import engine_prints_to_stderr

    with engine_prints_to_stderr() as out:
        described = _described(engine, state.settings())
        if output_format == "json":
            import json

            out.write(json.dumps(described, indent=2) + "\n")
            return
        for key, value in described.items():
            text = _environment(value) if key == "environment" else _text(value)
            out.write(f"{key.replace('_', ' ').capitalize()}: {text}\n")


def _described(engine: str, settings: Settings) -> dict[str, Any]:
    from psengine_host.cli.descriptions import describe_found, describe_info
    from psengine_host.cli.running_engine import open_session
    from psengine_host.hookspecs import HOOKS

    with open_session(engine, settings) as (home, session):
        found = {key: value for key, value in describe_found(home.engine.found).items() if value is not None}
        return {
            **found,
            "status": "ok",
            **describe_info(session.info),
            "hooks": [hook for hook in HOOKS if home.engine.has(hook)],
            "environment": {
                place.variable: {
                    "path": None if place.path is None else str(place.path),
                    "origin": place.origin,
                    "exists": place.exists,
                    "problems": list(place.problems),
                }
                for place in home.context.environment.places()
            },
        }


def _text(value: object) -> str:
    from psengine_host.escapes import printable

    return printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _environment(places: dict[str, dict[str, Any]]) -> str:
    return "".join(f"\n  {_place_line(variable, place)}" for variable, place in places.items())


def _place_line(variable: str, place: dict[str, Any]) -> str:
    from psengine_host.escapes import printable

    line = variable if place["path"] is None else f"{variable}={place['path']}"
    origin = place["origin"] if place["exists"] or place["origin"] != "default" else "default, not made yet"
    problems = f": {'; '.join(place['problems'])}" if place["problems"] else ""
    return printable(f"{line} ({origin}){problems}")
