"""An option of the program after the command is told where it goes, whatever the command."""

from __future__ import annotations

import sys

import click
import pytest

from psengine_host.cli.root import COMMANDS, psengine

OPTIONS = {
    name: option
    for option in psengine.params
    if isinstance(option, click.Option) and option.name != "version"
    for name in option.opts
}


@pytest.fixture(autouse=True)
def _called_psengine(monkeypatch):
    """The name of the program is that of the tests otherwise."""
    monkeypatch.setattr(sys, "argv", ["psengine"])
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None, raising=False)


def commands() -> list[tuple[str, ...]]:
    """Every command, those of groups too."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = psengine.get_command(click.Context(psengine), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.commands]
    return found


def own(path: tuple[str, ...]) -> set[str]:
    """The options that a command has itself."""
    command: click.Command = psengine
    for name in path:
        assert isinstance(command, click.Group)
        inner = command.get_command(click.Context(command), name)
        assert inner is not None
        command = inner
    return {name for option in command.params for name in option.opts}


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_tells_where_it_goes(within, judge, path):
    for name in OPTIONS.keys() - own(path):
        ended = within(*path, name)
        value = " FILE" if name == "--config" else ""
        expected = f"option {name} goes before the command: psengine {name}{value} {' '.join(path)} …"
        assert ended.usage_error == f"Error: {expected}"
        assert ended.err.startswith(f"Usage: psengine {' '.join(path)} ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["analyze", "--config=a", "x"], "option --config goes before the command: psengine --config FILE analyze …"),
        (["analyze", "-vq", "x"], "option -q goes before the command: psengine -q analyze …"),
        (["commands", "--config=a"], "option --config goes before the command: psengine --config FILE commands …"),
        (["commands", "--nothing"], "No such option '--nothing'."),
        (["info", "--nothing"], "No such option '--nothing'."),
    ],
)  # fmt: skip
def test_however_it_is_written(within, judge, arguments, expected):
    assert within(*arguments).usage_error == f"Error: {expected}"


def test_an_engine_s_own_functions_may_have_such_an_option_themselves(within, engine_site):
    engine_site.add(
        "talker",
        """
        from psengine_host import Analysis, hookimpl

        @hookimpl
        def analyze(artifact):
            return Analysis.benign()

        @hookimpl
        def commands():
            def say(*, config: str = "nothing") -> str:
                return config

            return [say]
        """,
    )
    assert within("commands", "talker", "say", "--config", "mine").out == "mine\n"
    said = within("commands", "talker", "say", "--debug").usage_error
    assert said == "Error: option --debug goes before the command: psengine --debug commands talker say …"


def test_in_the_right_place_and_after_two_dashes_it_is_taken(within, judge, work):
    (work / "empty.toml").touch()
    (work / "-q").write_bytes(b"x")
    assert within("--config", "empty.toml", "-q", "analyze", "--", "-q").row["analysis"]["verdict"] == "benign"


def test_an_engine_s_own_program_says_its_own_name(psengine, judge):
    program = (
        "import sys; sys.argv[0] = 'psengine-judge'; from psengine_host.cli import engine_cli; engine_cli('judge')()"
    )
    ended = psengine("analyze", "--debug", "x", command=[sys.executable, "-c", program])
    assert ended.usage_error == "Error: option --debug goes before the command: psengine-judge --debug analyze …"
