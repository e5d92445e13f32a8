"""``psengine config``."""

from __future__ import annotations

import click

from psengine_host.cli.output_format import format_option
from psengine_host.cli.root import State

__all__ = ["command"]


@click.group("config")
def command() -> None:
    """Show and check the settings: of the file, the environment and the defaults."""


@command.command("show")
@click.option("--origin", is_flag=True, help="Show where each value comes from.")
@format_option("How to write them; toml can be saved as a settings file.", "toml")
@click.pass_obj
def show(state: State, origin: bool, output_format: str) -> None:
    """Show every setting, with secrets masked."""
    from psengine_host.cli.config_run import shown_settings

    for line in shown_settings(state.config, output_format, origin=origin):
        click.echo(line)


@command.command("check", short_help="Tell every mistake in a settings file and the environment.")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path())
@click.pass_obj
def check(state: State, file: str | None) -> int:
    """Check a settings file (by default the one that is used) and the environment; tell every mistake."""
    from psengine_host.cli.config_run import checked_settings

    report = checked_settings(state.config if file is None else file)
    for line in report.lines:
        click.echo(line)
    return report.exit_code


@command.command("path", short_help="Show which settings file is used.")
@click.pass_obj
def path(state: State) -> None:
    """Show which settings file is used, whether it is there or not."""
    from psengine_host.cli.config_run import settings_path

    click.echo(settings_path(state.config))
