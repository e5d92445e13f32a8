"""What holds for the processes of all engines, and of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from textwrap import dedent

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.errors import SettingsError
from psengine_host.settings import Settings, WorkerSettings
from psengine_host.settings.doubts import doubts
from psengine_host.settings.reading import examine
from psengine_host.settings.writing import as_lines, as_plain, as_toml

FILE = """
[workers]
count = 4
max_memory = "1 GB"
sandbox = "bwrap"
patience = "30s"

[workers.yara]
count = 1
timeout = "5m"
max_memory = "8 GiB"
sandbox = "none"

[workers.nano-av]
python = "nano/bin/python"
cpu_time = 0
"""


NO_TIMEOUT = "workers.timeout: is set for one engine, in its table [workers.NAME]; for all engines it is 'host.timeout'"
NO_TABLE = "workers.yara: no such setting; what is for one engine is a table, [workers.NAME]"
SIZE = "write a number of bytes, or such as '100 MB' or '1.5 GiB'"


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "psengine.toml"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write


def problems(path, **layers) -> list[str]:
    """What is wrong, without the file's name."""
    return [str(problem).removeprefix(f"{path}: ") for problem in examine(path, **{"environ": {}} | layers).problems]


def told(path, *installed: str, **environ: str) -> list[str]:
    """What a check doubts, without the file's name."""
    return [doubt.removeprefix(f"{path}: ") for doubt in doubts(examine(path, environ), installed, environ)]


class TestOneEngine:
    def test_its_table_is_laid_over_what_all_have(self, written, tmp_path):
        workers = Settings.read(written(FILE), environ={}).workers
        general = WorkerSettings(count=4, max_memory=10**9, sandbox="bwrap", patience=30.0)
        assert workers.of("eicar") == general
        assert workers.of("yara") == msgspec.structs.replace(
            general, count=1, timeout=300.0, max_memory=8 << 30, sandbox="none"
        )
        # A path counts from the file's folder here too.
        assert workers.of("nano-av") == msgspec.structs.replace(general, python=str(tmp_path / "nano/bin/python"))

    def test_without_a_table_of_its_own_it_has_no_timeout_of_its_own(self):
        settings = Settings()
        assert settings.workers.of("eicar") == WorkerSettings()
        assert settings.workers.of("eicar").timeout is None

    def test_a_general_value_of_a_later_layer_leaves_its_own_alone(self, written):
        path = written(FILE)
        environ = {"PSENGINE_WORKERS_SANDBOX": "none", "PSENGINE_WORKERS_MAX_MEMORY": "3 GB"}
        workers = Settings.read(path, environ=environ, options={"workers.count": 7, "host.timeout": 5}).workers
        other, own = workers.of("other"), workers.of("yara")
        assert (other.count, other.sandbox, other.max_memory, other.timeout) == (7, "none", 3 * 10**9, None)
        assert (own.count, own.sandbox, own.max_memory, own.timeout) == (1, "none", 8 << 30, 300.0)

    @pytest.mark.parametrize("name", [*WorkerSettings.KINDS, "timeout", "engines"])
    def test_an_engine_may_be_called_as_a_setting_is(self, written, name):
        # A table is an engine's; here all others have the default.
        workers = Settings.read(written(f"[workers.{name}]\ntries = 9\n"), environ={}).workers
        assert workers.of(name) == WorkerSettings(tries=9)
        assert workers.of("other") == WorkerSettings()

    def test_beside_an_engine_called_as_a_setting_the_variable_and_the_option_set_it(self, written):
        path = written("[workers.sandbox]\nsandbox = 'none'\n[workers.count]\ncount = 2\n")
        settings, origins = Settings.read_with_origins(
            path, {"PSENGINE_WORKERS_SANDBOX": "bwrap"}, {"workers.count": 5}
        )
        assert [settings.workers.of(name).sandbox for name in ("sandbox", "count")] == ["none", "bwrap"]
        assert [settings.workers.of(name).count for name in ("sandbox", "count")] == [5, 2]
        assert str(origins["workers.sandbox"]) == "PSENGINE_WORKERS_SANDBOX"
        assert str(origins["workers.sandbox.sandbox"]) == str(path)

    @pytest.mark.parametrize("name", WorkerSettings.KINDS)
    @given(value=st.integers(-1, 3) | st.floats() | st.sampled_from(["1", "none", "bwrap", "/x", ""]))
    def test_it_takes_what_the_section_takes_and_refuses_it_alike(self, name, value):
        def taken(make) -> object:
            try:
                return make()
            except SettingsError as error:
                return str(error).removeprefix("workers.").removeprefix("yara.")

        general = taken(lambda: getattr(WorkerSettings(**{name: value}), name))
        own = taken(lambda: getattr(WorkerSettings(engines={"yara": {name: value}}).of("yara"), name))
        assert own == general


class TestProcesses:
    def test_a_count_is_the_number(self):
        assert WorkerSettings(count=3).processes == 3

    def test_none_is_one_for_each_core_that_this_process_may_use(self):
        # In a process of its own, which is allowed one core of those there are.
        program = (
            "import os; from psengine_host.settings import WorkerSettings;"
            "before = WorkerSettings().processes; assert before == len(os.sched_getaffinity(0));"
            "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(WorkerSettings().processes)"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (ended.stdout, ended.stderr) == ("1\n", "")


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("workers.cuont = 1", "workers.cuont: no such setting; did you mean 'count'?"),
            ("workers.max_tasks = 1", "workers.max_tasks: no such setting; did you mean 'max_tasks_per_worker'?"),
            ("workers.yara = 1", NO_TABLE),
            (
                "workers.timeout = 5",
                NO_TIMEOUT,
            ),
            ("[[workers.yara]]\ncount = 1", NO_TABLE),
            ("workers = 5", "workers: must be a table, got a number"),
            ("[worker]", "worker: no such setting; did you mean 'workers'?"),
            ("workers.yara.cuont = 1", "workers.yara.cuont: no such setting; did you mean 'count'?"),
            ("workers.yara.timeuot = 1", "workers.yara.timeuot: no such setting; did you mean 'timeout'?"),
            (
                "workers.yara.rules = []",
                "workers.yara.rules: no such setting; what the engine itself reads stands in [engines.yara]",
            ),
            ("workers.yara.tries = 11", "workers.yara.tries: must be a whole number from 1 to 10, got 11"),
            (
                "workers.yara.timeout = 0",
                "workers.yara.timeout: must be more than 0 and at most 86400 seconds, got 0",
            ),
            (
                "workers.yara.max_memory = '2 gigs'",
                f"workers.yara.max_memory: '2 gigs' is no size; {SIZE}",
            ),
            (
                "[workers.sandbox]\nsandbox = true",
                "workers.sandbox.sandbox: must be one of none, bwrap, got True",
            ),
            ("workers.yara.python = ''", "workers.yara.python: must be the path of a file, got ''"),
            ("workers.yara.count.x = 1", "workers.yara.count: must be a whole number from 0 to 1024, got {'x': 1}"),
            (
                "workers.yara.max_tasks = 1",
                "workers.yara.max_tasks: no such setting; did you mean 'max_tasks_per_worker'?",
            ),
            (
                "workers.yara.start = 1",
                "workers.yara.start: no such setting; did you mean 'start_timeout'?",
            ),
            (
                "workers.yara.open = 1",
                "workers.yara.open: no such setting; did you mean 'open_files'?",
            ),
            ('workers."a\\nb".tries = 0', "'workers.a\\nb.tries': must be a whole number from 1 to 10, got 0"),
        ],
    )  # fmt: skip
    def test_with_setting_value_and_reason(self, written, text, expected):
        path = written(text)
        assert problems(path) == [expected]
        with pytest.raises(SettingsError) as caught:
            Settings.read(path, environ={})
        assert str(caught.value) == f"{path}: {expected}"

    def test_all_of_them_are_collected(self, written):
        path = written("workers.tries = 0\n[workers.a]\ntries = 0\ncount = -1\n[workers.b]\npython = 5\nx = 1\n")
        assert [problem.partition(": ")[0] for problem in problems(path)] == [
            "workers.tries", "workers.a.tries", "workers.a.count", "workers.b.python", "workers.b.x",
        ]  # fmt: skip

    def test_an_option_sets_what_all_have_and_is_blamed_by_name(self):
        assert Settings.read(os.devnull, {}, {"workers.count": 4}).workers.processes == 4
        assert Settings.read(os.devnull, {}, {"workers.count": "4"}).workers.processes == 4
        assert problems(os.devnull, options={"workers.count": -1, "workers.yara.count": 1}) == [
            "option workers.yara.count: no such setting; did you mean 'workers.count'?",
            "option workers.count: must be a whole number from 0 to 1024, got -1",
        ]

    @pytest.mark.parametrize(
        ("make", "expected"),
        [
            (lambda: WorkerSettings(count=True), "workers.count: must be a whole number from 0 to 1024, got True"),
            (lambda: WorkerSettings(sandbox="jail"), "workers.sandbox: must be one of none, bwrap, got 'jail'"),
            (
                lambda: WorkerSettings(cpu_time=float("nan")),
                "workers.cpu_time: must be 0 or more and at most 86400 seconds, got nan",
            ),
            (
                lambda: WorkerSettings(timeout=-1),
                "workers.timeout: must be more than 0 and at most 86400 seconds, got -1",
            ),
            (
                lambda: WorkerSettings(engines={"yara": {"timeuot": 1}}),
                "workers.yara.timeuot: no such setting; did you mean 'timeout'?",
            ),
            (
                lambda: WorkerSettings(engines={"a\nb": {"tries": 0}}),
                "'workers.a\\nb.tries': must be a whole number from 1 to 10, got 0",
            ),
            (
                lambda: WorkerSettings(engines={"yara": 5}),
                "workers.engines: must be a table for each engine, got {'yara': 5}",
            ),
            (lambda: WorkerSettings(engines=[]), "workers.engines: must be a table for each engine, got []"),
            (
                lambda: Settings(workers=WorkerSettings(timeout=5)),
                NO_TIMEOUT,
            ),
        ],
    )
    def test_settings_made_in_python_are_checked_at_birth(self, make, expected):
        with pytest.raises(SettingsError) as caught:
            make()
        assert str(caught.value) == expected


class TestDoubts:
    def test_a_table_of_an_engine_that_is_not_installed(self, written):
        path = written("[workers.yarra]\n[workers.eicar]\n[workers.nano]\ntries = 1\n[engines.yarra]\n")
        assert told(path, "yara", "eicar") == [
            "engines.yarra: no such engine is installed; did you mean 'yara'?",
            "workers.yarra: no such engine is installed; did you mean 'yara'?",
            "workers.nano: no such engine is installed",
        ]

    def test_a_table_in_the_place_of_a_setting(self, written):
        path = written("[workers.python]\npatience = 1\n[workers.sandbox]\n")
        assert told(path, "sandbox") == ["workers.python: is a table, and so an engine's; no such engine is installed"]

    def test_an_interpreter_that_is_none(self, written, tmp_path):
        text = tmp_path / "text"
        text.write_text("no program")
        text.chmod(0o600)
        path = written(
            f"workers.yara.python = 'gone'\nworkers.eicar.python = 'text'\nworkers.python = '{sys.executable}'"
        )
        assert told(path, "yara", "eicar") == [
            f"workers.yara.python: {tmp_path}/gone: no such file",
            f"workers.eicar.python: {text}: cannot be executed",
        ]
        doubted = told(path, "yara", "eicar", PSENGINE_WORKERS_PYTHON="/gone/python")
        assert doubted[0] == "PSENGINE_WORKERS_PYTHON: workers.python: /gone/python: no such file"

    def test_a_sandbox_that_there_is_not(self, written, monkeypatch, tmp_path):
        path = written('[workers.eicar]\nsandbox = "bwrap"\n[workers.yara]\nsandbox = "none"\n')
        monkeypatch.setenv("PATH", str(tmp_path))
        expected = "workers.eicar.sandbox: bwrap is not installed (Debian: package bubblewrap)"
        assert told(path, "yara", "eicar") == [expected]
        (tmp_path / "bwrap").write_text("#!/bin/sh")
        (tmp_path / "bwrap").chmod(0o700)
        assert told(path, "yara", "eicar") == []

    def test_less_memory_than_a_worker_with_nothing_to_do_has(self, written):
        path = written('workers.max_memory = 0\nworkers.eicar.max_memory = "5 MB"\nworkers.yara.max_memory = "1 GB"\n')
        expected = (
            "workers.eicar.max_memory: a worker takes 40 MB with nothing to do, and would be replaced all the time"
        )
        assert told(path, "yara", "eicar") == [expected]


class TestShown:
    def test_each_setting_of_an_engine_with_its_origin(self, written):
        path = written(FILE)
        settings, origins = Settings.read_with_origins(path, {"PSENGINE_WORKERS_COUNT": "2"})
        lines = [line for line in as_lines(settings, origins) if line.startswith("workers.")]
        assert "workers.count = 2  (PSENGINE_WORKERS_COUNT)" in lines
        assert f'workers.max_memory = "1 GB"  ({path})' in lines
        assert "workers.tries = 3  (default)" in lines
        assert "workers.python = not set  (default)" in lines
        assert lines[-6:-2] == [
            f"workers.yara.count = 1  ({path})",
            f'workers.yara.max_memory = "8 GiB"  ({path})',
            f'workers.yara.sandbox = "none"  ({path})',
            f'workers.yara.timeout = "5m"  ({path})',
        ]

    def test_as_json_with_seconds_and_bytes(self, written):
        plain = json.loads(json.dumps(as_plain(Settings.read(written(FILE), environ={}))))
        assert {key: value for key, value in plain.items() if key.startswith("workers.yara.")} == {
            "workers.yara.count": 1,
            "workers.yara.max_memory": 8 << 30,
            "workers.yara.sandbox": "none",
            "workers.yara.timeout": 300.0,
        }
        assert plain["workers.patience"] == 30.0
        assert plain["workers.python"] is None

    def test_saved_and_read_again_it_is_the_same_but_for_a_setting_beside_an_engine_of_its_name(self, written):
        path = written(FILE + "[workers.tries]\nmax_memory = 0\n")
        environ = {"PSENGINE_WORKERS_TRIES": "7"}
        settings, origins = Settings.read_with_origins(path, environ)
        for text in ("\n".join(as_toml(settings)), "\n".join(as_toml(settings, origins))):
            assert tomllib.loads(text)["workers"]["tries"] == {"max_memory": "0 B"}
            beside = "# tries is 7; beside the table of the engine of that name only PSENGINE_WORKERS_TRIES can set it"
            assert beside in text.splitlines()
            assert Settings.read(written(text), environ=environ) == settings
            assert Settings.read(written(text), environ={}).workers.of("yara").tries == 3

    def test_the_program_shows_values_with_origins_and_tells_doubts(self, written):
        path = written(FILE + "[workers.gone]\n")
        program = [sys.executable, "-m", "psengine_host", "--config", str(path), "config"]

        def run(*arguments: str) -> str:
            return subprocess.run([*program, *arguments], capture_output=True, text=True, check=True).stdout

        shown = json.loads(run("show", "--format", "json", "--origin"))
        assert shown["workers.yara.timeout"] == {"value": 300.0, "origin": str(path)}
        assert f"{path}: workers.gone: no such engine is installed" in run("check")

    def test_origins_are_told_in_comments(self, written):
        path = written(FILE)
        lines = list(as_toml(*Settings.read_with_origins(path, {})))
        at = lines.index("\n[workers.yara]")
        assert lines[at + 1] == f"count = 1  # {path}"
