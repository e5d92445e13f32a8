"""psengine config: what holds, where it comes from, and what is wrong with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from psengine_host.cli.config import command
from psengine_host.settings.sections import KINDS
from psengine_host.settings.variables import VARIABLES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
SECRET = "hunter2-hunter2"
FILE = f"""
disabled_engines = ["yara"]
[host]
timeout = "1h 30m"
[network]
allow = ["10.1.0.0/16"]
max_artifact_size = 33554432
ca_file = "ca.pem"
[celery]
broker_url = "amqp://user:{SECRET}@broker"
[webhook]
secret = "{SECRET}"
[engines.judge]
rules = ["a", "é"]
api_key = "{SECRET}"
[engines.judge.deep]
limit = 1.5
"""


@pytest.fixture
def written(work):
    """Writes the settings file that the program is to use; private, as one with secrets should be."""

    def write(text: str | bytes = FILE) -> Path:
        path = work / "psengine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def config(psengine, judge):
    """``psengine --config psengine.toml config …``."""
    return lambda *arguments, **options: psengine("--config", "psengine.toml", "config", *arguments, **options)


class TestShow:
    def test_every_setting_has_its_line_in_order(self, psengine, judge):
        ended = psengine("config", "show")
        assert (ended.code, ended.err) == (0, "")
        assert [line.partition(" = ")[0] for line in ended.out.splitlines()] == list(KINDS)

    def test_what_holds_and_where_it_comes_from(self, config, written):
        written()
        env = {"PSENGINE_HOST_TIMEOUT": "45s", "PSENGINE_NETWORK_TRIES": "2", "LOG_FORMAT": "json"}
        lines = config("show", "--origin", env=env).out.splitlines()
        assert lines[:4] == [
            'enabled_engines = ["judge"]  (PSENGINE_ENGINES)',
            'disabled_engines = ["yara"]  (psengine.toml)',
            'host.timeout = "45s"  (PSENGINE_HOST_TIMEOUT)',
            'host.observer_timeout = "5s"  (default)',
        ]
        assert 'network.max_artifact_size = "32 MiB"  (psengine.toml)' in lines
        assert "network.tries = 2  (PSENGINE_NETWORK_TRIES)" in lines
        assert 'log.format = "json"  (LOG_FORMAT)' in lines
        assert 'celery.broker_url = "amqp://user:***@broker"  (psengine.toml)' in lines
        assert 'webhook.secret = "***"  (psengine.toml)' in lines
        assert lines[-1] == (
            'engines.judge = { rules = ["a", "é"], api_key = "***", deep = { limit = 1.5 } }  (psengine.toml)'
        )
        assert [line.rpartition("  (")[0] for line in lines] == config("show", env=env).out.splitlines()

    def test_json_for_programs(self, config, written, work):
        written()
        plain = json.loads(config("show", "--format", "JSON").out)
        assert list(plain) == [*KINDS, "engines.judge"]
        assert plain["host.timeout"] == 5400
        assert plain["network.max_artifact_size"] == 32 << 20
        assert plain["network.ca_file"] == str(work / "ca.pem")
        assert plain["webhook.secret_file"] is None
        told = json.loads(config("show", "--format", "json", "--origin").out)
        assert {key: entry["value"] for key, entry in told.items()} == plain
        assert told["host.timeout"]["origin"] == "psengine.toml"
        assert told["host.close_timeout"]["origin"] == "default"

    @pytest.mark.parametrize("origin", [[], ["--origin"]])
    def test_toml_can_be_saved_and_says_the_same(self, psengine, config, written, work, origin):
        written(FILE.replace(SECRET, "").replace('broker_url = "amqp://user:@broker"', "").replace('secret = ""', ""))
        (work / "saved").write_text(config("show", "--format", "toml", *origin, env={"PSENGINE_ENGINES": "judge"}).out)
        saved = tomllib.loads((work / "saved").read_text())
        assert saved["host"]["timeout"] == "1h 30m"
        shown = config("show").out.replace(', api_key = "***"', "")
        assert psengine("--config", "saved", "config", "show").out == shown
        assert psengine("config", "check", "saved").code == 0

    @pytest.mark.parametrize(
        "arguments", [["show"], ["show", "--format", "json"], ["show", "--format", "toml"], ["check"]]
    )
    def test_no_secret_is_told(self, config, written, arguments):
        written()
        env = {"PSENGINE_WEBHOOK_SECRET": f"{SECRET}-2", "PSENGINE_BROKER_URL": f"redis://:{SECRET}@host"}
        for variables in ({}, env):
            ended = config(*arguments, env=variables)
            assert ended.code == 0
            assert "hunter2" not in ended.out + ended.err
        assert config("show", env=env).out.count("***") == 3

    def test_mistakes_end_it_with_one_line(self, psengine, config, written):
        written("[webhook]\nsecret = ['hunter2']\n[host]\ntimeuot = 1\n")
        expected = (
            "psengine: psengine.toml: webhook.secret: must be a text that is not empty"
            " (and 1 more; 'psengine config check' tells all)\n"
        )
        assert config("show") == (2, "", expected)
        debugged = psengine("--debug", "--config", "psengine.toml", "config", "show")
        assert "Traceback" in debugged.err
        assert "hunter2" not in debugged.err

    def test_a_misspelt_variable_is_warned_of(self, psengine, judge):
        ended = psengine("config", "show", env={"PSENGINE_NETWORK_ALOW": "::1"})
        assert ended.code == 0
        assert "PSENGINE_NETWORK_ALOW: no such variable; did you mean 'PSENGINE_NETWORK_ALLOW'?" in ended.err

    @pytest.mark.parametrize("output_format", ["text", "json", "toml"])
    def test_an_output_that_knows_only_ascii(self, config, written, output_format):
        written()
        ended = config("show", "--format", output_format, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
        assert (ended.code, ended.err) == (0, "")

    def test_no_engine_is_imported(self, psengine, engine_site):
        engine_site.add("deadly", "import os; os._exit(77)")
        assert psengine("config", "show").code == psengine("config", "check").code == 0


class TestCheck:
    def test_without_a_file(self, psengine, judge):
        ended = psengine("config", "check")
        assert ended.code == 0
        assert re.fullmatch(r"ok: /.*/psengine\.toml \(no such file: defaults and variables\)\n", ended.out)

    def test_a_file_without_a_mistake(self, psengine, judge, written, work):
        written("host.timeout = 5")
        assert psengine("config", "check", "psengine.toml") == (0, "ok: psengine.toml\n", "")
        (work / "other").write_text("host.timeout = 0")
        assert psengine("--config", "other", "config", "check", "psengine.toml").code == 0
        assert psengine("--config", "other", "config", "check").code == 2

    def test_every_mistake_is_told(self, config, written):
        concurrency = "celery.worker_concurrency: must be a whole number from 1 to 1024, got 'x'"
        written("[host]\ntimeuot = 5\nclose_timeout = 0\n[bids]\npolicy = 1\n[netwrok]\n[engines]\njudge = 1\n")
        ended = config("check", env={"PSENGINE_NETWORK_TRIES": "0", "PSENGINE_WORKER_CONCURRENCY": "x"})
        assert (ended.code, ended.err) == (2, "")
        assert ended.out.splitlines() == [
            "error: psengine.toml: host.timeuot: no such setting; did you mean 'timeout'?",
            "error: psengine.toml: host.close_timeout: must be more than 0 and at most 86400 seconds, got 0",
            "error: psengine.toml: bids.policy: must be one of confidence, minimum, median, maximum, got 1",
            "error: psengine.toml: netwrok: no such setting; did you mean 'network'?",
            "error: psengine.toml: engines.judge: must be a table, got a number",
            "error: PSENGINE_NETWORK_TRIES: network.tries: must be a whole number from 1 to 100, got 0",
            f"error: PSENGINE_WORKER_CONCURRENCY: {concurrency}",
        ]

    def test_what_is_probably_not_meant_is_told_and_harms_nothing(self, config, written, work):
        written(FILE + "[engines.juge]\n").chmod(0o644)
        env = {"PSENGINE_NETWORK_TRYS": "1", "LOG_LEVEL": "loud", "PSENGINE_DISABLED_ENGINES": "yarra"}
        ended = config("check", env=env)
        assert ended.code == 0
        *warnings, ok = ended.out.splitlines()
        assert ok == "ok: psengine.toml"
        levels = "debug, info, warning, error, critical, or a number from 0 to 999999999"
        readable = "others can read this file; chmod 600 it, or use the variable"
        readable_engine = "others can read this file, and a secret in it; chmod 600 it, or use its secrets folder"
        assert sorted(warnings) == sorted(
            [
                "warning: PSENGINE_NETWORK_TRYS: no such variable; did you mean 'PSENGINE_NETWORK_TRIES'?",
                f"warning: LOG_LEVEL: must be one of {levels}, got 'loud'; passed over",
                "warning: PSENGINE_DISABLED_ENGINES: disabled_engines: yarra: no such engine is installed"
                + ("; did you mean 'yara'?" if "yara" in installed() else ""),
                "warning: psengine.toml: engines.juge: no such engine is installed; did you mean 'judge'?",
                f"warning: psengine.toml: engines.judge: {readable_engine}",
                f"warning: psengine.toml: network.ca_file: {work}/ca.pem: no such file",
                "warning: psengine.toml: celery.broker_url: nothing in this version uses it",
                f"warning: psengine.toml: celery.broker_url: {readable}",
                "warning: psengine.toml: webhook.secret: nothing in this version uses it",
                f"warning: psengine.toml: webhook.secret: {readable}",
            ]
        )

    def test_a_secret_of_an_engine_in_a_file_that_others_can_read(self, config, written):
        path = written('[engines.judge]\ninner = [{ api_key = "abcdef" }]\n')
        path.chmod(0o640)
        told = "others can read this file, and a secret in it; chmod 600 it, or use its secrets folder"
        assert config("check").out == f"warning: psengine.toml: engines.judge: {told}\nok: psengine.toml\n"
        path.chmod(0o600)
        assert config("check").out == "ok: psengine.toml\n"
        written('[engines.judge]\nrules = "/etc/rules"\nuse_token = true\n').chmod(0o644)
        assert config("check").out == "ok: psengine.toml\n"

    def test_no_engine_at_all(self, config, written):
        written("enabled_engines = []\n")
        told = "psengine.toml: enabled_engines: is empty, so that no engine is used"
        assert config("check", env={"PSENGINE_ENGINES": ""}).out == f"warning: {told}\nok: psengine.toml\n"

    def test_a_folder_for_temporary_files_that_takes_nothing(self, psengine, judge, work):
        (work / "file").touch()
        ended = psengine("config", "check", env={"TMPPREFIX": "nowhere", "TMPDIR": "file"})
        assert ended.code == 0
        assert ended.out.splitlines()[:-1] == [
            "warning: TMPPREFIX: nowhere: no such folder; artifacts that need the spool fail",
            "warning: TMPDIR: file: is no folder; the host takes another, and other programs may fail",
        ]
        ended = psengine("config", "check", env={"TMPPREFIX": "/proc/self/fd"})  # where not even root can make anything
        assert re.search(r"^warning: TMPPREFIX: /proc/self/fd: nothing can be made in it \([a-z ]+\); ", ended.out)
        for good in ("", "."):
            assert psengine("config", "check", env={"TMPPREFIX": good, "TMPDIR": good}).out.startswith("ok: ")
        assert os.listdir(work) == ["file"]

    def test_the_warnings_of_temporary_folders_are_true(self, psengine, judge):
        failed = psengine("analyze", "-", stdin=b"x", env={"TMPPREFIX": "/nowhere/at/all"})
        assert failed.code == 3
        assert "cannot make a spool directory in /nowhere/at/all" in failed.row["error"]["message"]
        judged = psengine("analyze", "-", stdin=b"x", env={"TMPPREFIX": "", "TMPDIR": "/nowhere/at/all"})
        assert judged.row["analysis"]["verdict"] == "benign"

    def test_a_misspelt_variable_of_an_engine(self, psengine, engine_site):
        for name in ("nano", "nano-av"):
            engine_site.add(name, "import os; os._exit(77)")
        misspelt = {"NANO_RUNTIME_DIRS": "NANO_RUNTIME_DIR", "NANO_AV_SECRET_HOME": "NANO_AV_SECRETS_HOME"}
        misspelt |= {"NANO_AV_SCANER": "NANO_AV_SCANNER", "NANO_SDKHOME": "NANO_SDK_HOME"}
        rightly = ("NANO_AV_PATH", "NANO_STATE_HOME", "NANO_RULES", "NANO_AV_API_KEY", "NANO_DB_PATH", "NANO_DATA_DIR")
        others = ("ABSENT_RUNTIME_DIRS", "NANO_", "NANO", "nano_runtime_dirs", "RUNTIME_DIRS", "NANO_CONFIG_FILE")
        ended = psengine("config", "check", env=dict.fromkeys((*misspelt, *rightly, *others), "/x"))
        engines = {name: "nano-av" if name.startswith("NANO_AV_") else "nano" for name in misspelt}
        assert ended.code == 0
        assert ended.out.splitlines()[:-1] == [
            f"warning: {name}: no such variable, unless engine {engines[name]} has it of its own;"
            f" did you mean '{misspelt[name]}'?"
            for name in sorted(misspelt)
        ]
        assert psengine("config", "check", env=dict.fromkeys(misspelt, "")).out.startswith("ok: ")

    def test_every_entry_of_a_list(self, config, written):
        written('network.allow = ["http://127.0.0.1:8765/", "::1", "300.1.1.1"]')
        ended = config("check")
        assert ended.code == 2
        assert re.findall(
            r"^error: psengine\.toml: network\.allow: must be .*, got (.*)$", ended.out, re.MULTILINE
        ) == [
            "'http://127.0.0.1:8765/'",
            "'300.1.1.1'",
        ]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda path: path.mkdir(), "is a directory"),
            (os.mkfifo, "is a pipe that nobody writes into"),
            (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
            (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
            (lambda path: path.symlink_to("nowhere"), "no such file; name another with --config or PSENGINE_CONFIG"),
            (lambda path: path.write_bytes(b"\xff"), "is not UTF-8 (byte 0)"),
            (lambda path: path.write_bytes(b"a = " + b"[" * 100_000), "is nested too deeply"),
            (lambda path: path.write_bytes(b"a." * 200_000 + b"a = 1"), "a key has more than 100 parts"),
            (lambda path: path.write_bytes(b"#" * 5_000_000), "is longer than 1048576 bytes; is it the right file?"),
            (lambda path: path.write_bytes(b"a = " + b"9" * 5_000), "holds a number of thousands of digits"),
        ],
    )  # fmt: skip
    def test_whatever_stands_in_the_place_of_the_file(self, config, work, make, message):
        make(work / "psengine.toml")
        assert config("check") == (2, f"error: psengine.toml: {message}\n", "")
        assert config("show") == (2, "", f"psengine: psengine.toml: {message}\n")

    def test_names_with_control_characters_are_escaped(self, psengine, judge, work):
        name = "a\x1b[31m\n.toml"
        (work / name).write_text('"b\\u001b\\n" = 1\n[engines."c\\u001b\\n"]\n')
        ended = psengine("config", "check", name)
        assert ended.code == 2
        assert all(line.isprintable() for line in ended.out.splitlines())
        assert r"a\x1b[31m\n.toml: b\x1b\n: no such setting" in ended.out.replace("'", "")


def installed() -> list[str]:
    """The engines that a child process finds, beside those of the site."""
    from psengine_host.engines.found import find_engines

    return list(find_engines())


def test_a_file_through_a_pipe_as_shells_make_it(psengine, judge, work):
    text = "host.timeout = 7\nnetwork.ca_file = 'ca.pem'\n"
    script = 'exec "$0" -m psengine_host --config <(printf %s "$1") config show'
    ended = subprocess.run(
        ["bash", "-c", script, sys.executable, text],
        cwd=work,
        capture_output=True,
        text=True,
        env=psengine.env(),
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert 'host.timeout = "7s"\n' in ended.stdout
    assert f'network.ca_file = "{work}/ca.pem"\n' in ended.stdout


def test_completion_says_nothing_of_a_misspelt_variable(psengine, judge):
    completing = {"_PSENGINE_COMPLETE": "bash_complete", "COMP_WORDS": "psengine info ", "COMP_CWORD": "2"}
    program = "import sys; sys.argv[0] = 'psengine'; from psengine_host.__main__ import main; main()"
    ended = psengine(command=[sys.executable, "-c", program], env={**completing, "PSENGINE_NETWORK_ALOW": "::1"})
    assert ended == (0, "plain,judge\n", "")


def test_the_path_of_the_file(psengine, judge, work):
    homes = {"XDG_CONFIG_HOME": str(work)}
    assert psengine("config", "path", env=homes) == (0, f"{work}/psengine/psengine.toml\n", "")
    assert psengine("config", "path", env=homes | {"PSENGINE_CONFIG": "a.toml"}) == (0, "a.toml\n", "")
    assert psengine("config", "path", env=homes | {"PSENGINE_CONFIG": " "}).out == f"{work}/psengine/psengine.toml\n"
    assert psengine("--config", "b.toml", "config", "path", env={"PSENGINE_CONFIG": "a.toml"}) == (0, "b.toml\n", "")


def test_the_page_has_every_command_and_option():
    page = PAGE[PAGE.index("\n## config\n") : PAGE.index("\n## create-bounty\n")]
    options = re.findall(r"^\| `(--[\w-]+)` \| (.*) \|$", page, re.MULTILINE)
    expected = []
    for name, subcommand in command.commands.items():
        assert f"`psengine config {name}" in page
        for option in subcommand.params:
            if isinstance(option, click.Option):
                text = option.help
                if isinstance(option.type, click.Choice):
                    text += f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}, in any case."
                    text += f" Default: `{option.default}`."
                expected.append((option.opts[0], text))
    assert options == expected


def test_a_variable_works_through_the_whole_program(psengine, judge):
    assert VARIABLES["host.timeout"] == "PSENGINE_HOST_TIMEOUT"
    ended = psengine("analyze", "data:,x", env={"PSENGINE_HOST_TIMEOUT": "soon"})
    assert ended.usage_error.startswith("psengine: PSENGINE_HOST_TIMEOUT: host.timeout: 'soon' is no duration; write")
