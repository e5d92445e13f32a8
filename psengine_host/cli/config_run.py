"""What ``psengine config`` shows and checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from psengine_host.cli.program import OK, USAGE
from psengine_host.errors import SettingsError, printable_name
from psengine_host.settings import Settings
from psengine_host.settings.reading import examine, file_of, settle

__all__ = ["Report", "checked_settings", "settings_path", "shown_settings"]


class Report(NamedTuple):
    """What a check found.

    Attributes:
        lines: One line a mistake or doubt, and ``ok`` where nothing is wrong.
        exit_code: 0, or 2 where something is wrong.
    """

    lines: list[str]
    exit_code: int


def shown_settings(config: str | None, output_format: str, *, origin: bool) -> Iterator[str]:
    """The lines that show the settings.

    Args:
        config: The settings file named, or None.
        output_format: ``text``, ``json`` or ``toml``.
        origin: Whether to tell where each value comes from.

    Raises:
        SettingsError: They cannot be read.
    """
    settings, origins = Settings.read_with_origins(config)
    told = origins if origin else None
    if output_format == "json":
        import json

        from psengine_host.settings.writing import as_plain

        values = as_plain(settings)
        if origin:
            values = {key: {"value": value, "origin": str(origins[key])} for key, value in values.items()}
        yield json.dumps(values, indent=2)
    elif output_format == "toml":
        from psengine_host.settings.writing import as_toml

        yield from as_toml(settings, told)
    else:
        from psengine_host.settings.writing import as_lines

        yield from as_lines(settings, told)


def checked_settings(config: str | None) -> Report:
    """Check the settings.

    Args:
        config: The settings file named, or None.
    """
    from psengine_host.engines.found import find_engines
    from psengine_host.settings.doubts import doubts

    examined = examine(config)
    lines = [f"error: {problem}" for problem in examined.problems]
    lines += [f"warning: {doubt}" for doubt in doubts(examined, find_engines(), os.environ)]
    if examined.problems:
        return Report(lines, USAGE)
    try:
        settle(Settings, examined)
    except SettingsError as error:  # only all layers together
        return Report([f"error: {error}", *lines], USAGE)
    missing = "" if examined.found else " (no such file: defaults and variables)"
    return Report([*lines, f"ok: {printable_name(examined.path)}{missing}"], OK)


def settings_path(config: str | None) -> str:
    """The settings file that is used, whether it is there or not.

    Args:
        config: The settings file named, or None.
    """
    return printable_name(file_of(config, os.environ)[0])
