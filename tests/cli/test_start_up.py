"""What a start of the program imports: seconds are made of that."""

import json
import subprocess
import sys

import pytest

LOADED = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv = ["psengine", *sys.argv[1:]]
from psengine_host.__main__ import main
main()
"""
HEAVY = {
    "aiohttp", "asyncio", "ctypes", "email", "http", "logging", "magic", "msgspec", "pluggy", "requests", "rich", "ssl",
    "tomllib", "platformdirs", "importlib.metadata",
}  # fmt: skip


@pytest.fixture
def loaded(engine_site, work):
    """The modules that a command loads."""

    def loaded(*arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *arguments],
            cwd=work, capture_output=True, text=True, env=engine_site.env(), timeout=60,
        )  # fmt: skip
        assert done.returncode == 0
        return set(json.loads(done.stderr.splitlines()[-1]))

    return loaded


@pytest.mark.parametrize("option", ["--version", "--help", "-h"])
def test_version_and_help_import_click_and_nothing_heavy(loaded, option):
    modules = loaded(option)
    assert "click" in modules
    assert not HEAVY & modules
    assert {name for name in modules if name.startswith("psengine_host")} == {
        "psengine_host",
        "psengine_host.__main__",
        "psengine_host.cli",
        "psengine_host.cli.interrupts",
        "psengine_host.cli.program",
        "psengine_host.cli.root",
        "psengine_host.cli.streams",
        "psengine_host.errors",
    }


def test_nothing_is_imported_from_a_folder_that_is_scanned(engine_site, work):
    # python -m puts the working directory first on the path.
    for module in ("click", "platformdirs", "msgspec"):
        (work / f"{module}.py").write_text("raise SystemExit('code of the scanned folder ran')\n")
    done = subprocess.run(
        [sys.executable, "-m", "psengine_host", "list-engines"],
        cwd=work, capture_output=True, text=True, env=engine_site.env(), timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["analyze", "list-engines", "commands", "debug", "samples"])
def test_the_help_of_a_command_needs_no_host(loaded, command):
    modules = loaded(command, "--help")
    assert not {"psengine_host.host", "rich", "aiohttp", "pluggy", "msgspec"} & modules


def test_listing_imports_no_engine_and_nothing_that_runs_one(loaded, engine_site):
    for number in range(50):
        engine_site.add(f"engine{number}", "raise SystemExit(9)")
    modules = loaded("list-engines")
    assert not {name for name in modules if name.startswith("psengine_test_")}
    assert not {"rich", "aiohttp", "asyncio", "pluggy", "magic", "requests", "json.tool", "ctypes"} & modules
    assert (
        not {
            f"psengine_host.{name}"
            for name in ("host", "pipeline", "analysis", "artifacts", "backends", "engines.loaded")
        }
        & modules
    )


def test_analyze_loads_neither_the_network_nor_rich_for_files_into_a_pipe(loaded, engine_site, work):
    engine_site.add("mild")
    (work / "a").write_text("x")
    assert not {"aiohttp", "asyncio", "rich", "requests", "ssl"} & loaded("analyze", "a")
