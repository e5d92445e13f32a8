"""Engine names on the command line, completed by the shell."""

from __future__ import annotations

import contextlib

import click
from click.shell_completion import CompletionItem

__all__ = ["EngineName"]


class EngineName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """The name of an engine.

    Args:
        everything: Whether ``all`` is offered too.
    """

    name = "name"

    def __init__(self, *, everything: bool = True) -> None:
        self._everything = everything

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's
        """The installed engines that begin so; nothing of them is imported."""
        from psengine_host.engines.found import find_engines
        from psengine_host.errors import SettingsError
        from psengine_host.settings import Settings
        from psengine_host.settings.reading import examine, settle

        names = list(find_engines())
        # Nobody reads a message while a shell completes: with settings that cannot be read all engines are offered.
        with contextlib.suppress(SettingsError):
            settings = settle(Settings, examine(ctx.find_root().params.get("config")))
            names = [name for name in names if settings.uses(name)]
        if self._everything:
            names.append("all")
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
