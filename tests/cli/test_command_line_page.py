"""The page docs/reference/command-line.md says what click knows, and completion does what its page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from psengine_host.cli import program
from psengine_host.cli.root import COMMANDS, ENGINE_COMMANDS, psengine
from psengine_host.cli.rows import Row
from psengine_host.outcome import FailureKind

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
COMPLETION = (DOCS / "how-to" / "shell-completion.md").read_text(encoding="utf-8")


AS_PSENGINE = [
    sys.executable, "-c", "import sys; sys.argv[0] = 'psengine'; from psengine_host.__main__ import main; main()",
]  # fmt: skip


def section(title: str) -> str:
    return re.search(rf"^##+ {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def table(text: str, first: str) -> list[list[str]]:
    """The cells below the head whose first column is called so."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def command(name: str) -> click.Command:
    return psengine if name == "psengine" else psengine.get_command(click.Context(psengine), name)


def described(option: click.Option) -> str:
    """An option's meaning as the page has it, of what click knows."""
    text = option.help
    if isinstance(option.type, click.Choice):
        assert not option.type.case_sensitive
        text += f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}, in any case."
    if option.show_default and option.default not in (None, False):
        shown = option.show_default if isinstance(option.show_default, str) else f"`{option.default}`"
        text += f" Default: {shown}."
    if option.envvar:
        text += f" Also by `{option.envvar}`."
    return text


def test_every_command_has_its_section_in_order():
    assert re.findall(r"^## ([\w-]+)$", PAGE, re.MULTILINE) == ["psengine", *COMMANDS]
    own = section("An engine's own program")
    names = re.findall(r"`([a-z-]+)`", own[own.index("It has the commands") :])
    assert sorted(names) == sorted(ENGINE_COMMANDS)


@pytest.mark.parametrize("name", ["psengine", *COMMANDS])
def test_every_option_is_described_as_click_describes_it(name):
    options = [parameter for parameter in command(name).params if isinstance(parameter, click.Option)]
    if not options:
        assert "| option |" not in section(name)
        return
    assert table(section(name), "option") == [
        [", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts]), described(option)]
        for option in options
    ]


@pytest.mark.parametrize("name", ["psengine", *COMMANDS])
def test_the_usage_line_is_that_of_help(name):
    usage = command(name).collect_usage_pieces(click.Context(command(name)))
    line = " ".join(["psengine", *([] if name == "psengine" else [name]), *(piece for piece in usage if piece)])
    shown = re.search(r"^```\n(.*)\n```$", section(name), re.MULTILINE)[1]
    assert shown == line.replace("psengine samples [OPTIONS]", "psengine samples").replace("update [OPTIONS]", "update")


def test_keys_kinds_and_exit_codes_are_those_of_the_code():
    analyze = section("analyze")
    assert [key.strip("`") for key, _ in table(analyze, "key")] == list(Row.of_error("a", "e", "k", "m").to_wire())
    kinds = {name for cell, _ in table(analyze, "`error.kind`") for name in re.findall(r"`([\w-]+)`", cell)}
    assert kinds == {kind.value for kind in FailureKind} | {"bounty", "delivery"}
    codes = {int(code) for cell, _ in table(PAGE, "code") for code in re.findall(r"\d+", cell)}
    constants = {program.OK, program.MALICIOUS, program.USAGE, program.FAILED, program.INTERRUPTED, program.PIPE_CLOSED}
    assert codes == constants | {129, 143}


class TestCompletion:
    @pytest.fixture
    def offered(self, engine_site, work):
        engine_site.add("mild")
        engine_site.add("deadly", "import os; os._exit(77)")

        def offered(typed: str, **variables: str) -> list[str]:
            words = typed.split(" ")
            done = subprocess.run(
                AS_PSENGINE,
                cwd=work, capture_output=True, text=True,
                env=engine_site.env(
                    _PSENGINE_COMPLETE="bash_complete",
                    COMP_WORDS=" ".join(word for word in words if word),
                    COMP_CWORD=str(len(words) - 1),
                    **variables,
                ),
            )  # fmt: skip
            assert (done.returncode, done.stderr) == (0, "")
            return [line.partition(",")[2] for line in done.stdout.splitlines()]

        return offered

    def test_the_examples_of_the_page(self, offered):
        examples = re.findall(r"^\| `([^`]+)` Tab \| (.*) \|$", COMPLETION, re.MULTILINE)
        assert len(examples) == 5
        for typed, expected in examples:
            names = re.findall(r"`([\w-]+)`", expected.replace("the names of your engines", "`deadly`, `mild`"))
            assert offered(typed) == names, typed

    def test_engines_that_the_settings_exclude_are_not_offered(self, offered):
        assert offered("psengine info ", PSENGINE_DISABLED_ENGINES="mild") == ["deadly"]
        assert offered("psengine info m") == ["mild"]
        assert {"deadly", "mild", "all"} <= {*offered("psengine analyze -e ", PSENGINE_CONFIG="nowhere.toml")}

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_each_shell_gets_a_script(self, engine_site, work, shell):
        assert f"_PSENGINE_COMPLETE={shell}_source psengine > " in COMPLETION
        done = subprocess.run(
            AS_PSENGINE,
            cwd=work, capture_output=True, text=True, env=engine_site.env(_PSENGINE_COMPLETE=f"{shell}_source"),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert f"_PSENGINE_COMPLETE={shell}_complete" in done.stdout

    def test_bash_completes_for_real(self, engine_site, work):
        engine_site.add("mild")
        tool = work / "bin" / "psengine"
        tool.parent.mkdir()
        tool.write_text(f"#!{sys.executable}\nfrom psengine_host.__main__ import main\nmain()\n")
        tool.chmod(0o755)
        script = """
            eval "$(_PSENGINE_COMPLETE=bash_source psengine)"
            COMP_WORDS=(psengine analyze -e m) COMP_CWORD=3
            _psengine_completion psengine
            echo "${COMPREPLY[@]}"
        """
        path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=work, capture_output=True, text=True, env=engine_site.env(PATH=path)
        )
        assert (done.stdout, done.stderr) == ("mild\n", "")
