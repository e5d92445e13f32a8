"""The command groups, and their commands, which are imported only when they run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from psengine_host import __version__
from psengine_host.cli.streams import telling_closed_pipes
from psengine_host.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psengine_host.logs import Log
    from psengine_host.settings import Settings

__all__ = ["COMMANDS", "LazyGroup", "State", "program_of", "psengine"]

COMMANDS: Final = {
    "analyze": ("analyze", "Judge files, folders, streams, URLs or bounties."),
    "categories": ("categories", "List the categories of file types."),
    "commands": ("commands", "Run an engine's own functions."),
    "config": ("config", "Show and check the settings."),
    "create-bounty": ("create_bounty", "Make a bounty from a file or URL."),
    "debug": ("debug", "Run one artifact through all hooks of an engine, with its traceback."),
    "info": ("info", "Show what an engine is, takes and uses."),
    "list-engines": ("list_engines", "List the installed engines."),
    "samples": ("samples", "Write a folder of harmless samples."),
    "update": ("update", "Fetch new signatures for engines."),
    "wine": ("wine", "Start, kill or look for the server of Windows programs."),
}
"""Command -> module in ``psengine_host.cli`` (which holds a ``command``) and the line of its help."""

ENGINE_COMMANDS: Final = ("analyze", "commands", "create-bounty", "debug", "info", "update")
"""The commands of an engine's own program."""


class State:
    """What the options before the command say, and what follows from them.

    Attributes:
        config: The settings file named, or None.
        engine: The engine whose own program this is, or None.
        debug: Whether tracebacks are shown.
        log: The log, once a command runs.
    """

    __slots__ = ("_settings", "config", "debug", "engine", "log")

    def __init__(self, config: str | None = None, engine: str | None = None, *, debug: bool = False) -> None:
        self.config = config
        self.engine = engine
        self.debug = debug
        self.log: Log | None = None
        self._settings: Settings | None = None

    def settings(
        self, options: Mapping[str, object] | None = None, *, otherwise: Mapping[str, object] | None = None
    ) -> Settings:
        """The settings, read at the first call; from then on the log is as ``[log]`` says, and hides their secrets.

        Args:
            options: What the command's own options say, by setting; None as a value says nothing.
            otherwise: What holds for this command where nobody says anything, by setting of a section.

        Raises:
            SettingsError: They cannot be read.
        """
        if self._settings is None:
            from psengine_host.settings import Settings

            settings, origins = Settings.read_with_origins(self.config, options=options)
            for key, value in (otherwise or {}).items():
                if origins[key].layer == "default":
                    settings = _replaced(settings, key, value)
            self._settings = settings
            if self.log is not None:
                self.log.follow(self._settings)
        return self._settings


def _replaced(settings: Settings, key: str, value: object) -> Settings:
    from msgspec.structs import replace

    section, _, name = key.partition(".")
    return replace(settings, **{section: replace(getattr(settings, section), **{name: value})})


class LazyGroup(click.Group):
    """A group that imports a command's module when the command runs or is asked for its help."""

    def __init__(self, *args: Any, offered: tuple[str, ...], engine: str | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(*args, **kwargs)
        self.offered = offered
        self.engine = engine

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401 - click's
        """As click does; this is where it writes a help page."""
        with telling_closed_pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """As click does, with the :class:`State` filled in first: importing the command may fail already."""
        state = ctx.ensure_object(State)
        state.config, state.engine, state.debug = ctx.params["config"], self.engine, ctx.params["debug"]
        with telling_closed_pipes():
            try:
                return super().invoke(ctx)
            except click.NoSuchOption as error:
                raise (self._misplaced(error, ctx) or error) from None

    def _misplaced(self, error: click.NoSuchOption, ctx: click.Context) -> click.UsageError | None:
        """What to say where the command has no such option, and the group has."""
        option = next((one for one in self.params if error.option_name in one.opts), None)
        if option is None or error.ctx is None:
            return None
        value = "" if not isinstance(option, click.Option) or option.is_flag or option.count else f" {option.metavar}"
        command = error.ctx.command_path.removeprefix(f"{ctx.command_path} ")
        right = f"{ctx.command_path} {error.option_name}{value} {command} …"
        return click.UsageError(f"option {error.option_name} goes before the command: {right}", error.ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of the commands."""
        return list(self.offered)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        if cmd_name not in self.offered:
            return None
        command: click.Command = import_module(f"psengine_host.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in self.offered:
            ctx.fail(f"no command is called {args[0]!r}{nearest(args[0], self.offered)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.offered])


def _group(name: str, offered: tuple[str, ...], help_text: str, engine: str | None = None) -> click.Group:
    @click.group(
        name,
        cls=LazyGroup,
        offered=offered,
        engine=engine,
        help=help_text,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    @click.version_option(__version__, message="%(prog)s %(version)s")
    @click.option(
        "--config",
        metavar="FILE",
        type=click.Path(),
        help="Settings file; otherwise PSENGINE_CONFIG, or psengine.toml in the configuration folder.",
    )
    @click.option("--debug", is_flag=True, envvar="PSENGINE_DEBUG", help="Show tracebacks and debug messages.")
    @click.option("-v", "--verbose", count=True, help="Log more: -v info, -vv debug, -vvv what libraries do as well.")
    @click.option("-q", "--quiet", count=True, help="Log less: -q errors only, -qq nothing but what is critical.")
    @click.pass_obj
    def group(state: State, config: str | None, debug: bool, verbose: int, quiet: int) -> None:  # noqa: ARG001 - the state has it
        if verbose and quiet:
            raise click.UsageError("-v and -q: choose one")
        from psengine_host.logs import set_up_logs

        state.log = set_up_logs(verbosity=verbose - quiet, debug=debug)

    result: click.Group = group
    return result


psengine = _group(
    "psengine",
    tuple(COMMANDS),
    "Discover malware-scanning engines and route bounties through them.",
)


def program_of(engine: str) -> click.Group:
    """The program of one engine.

    Args:
        engine: The engine's name.
    """
    return _group(f"psengine-{engine}", ENGINE_COMMANDS, f"The {engine} engine on psengine_host.", engine)
