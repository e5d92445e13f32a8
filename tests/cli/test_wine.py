"""psengine wine: with a real wineserver, and without any Wine."""

import json
import os
import shutil
import subprocess
import sys

import pytest

needs_wine = pytest.mark.skipif(
    shutil.which("wineserver") is None, reason="Wine is not installed (Debian: apt-get install wine)"
)

WITHOUT_WINE = """
from psengine_host.toolkit.wine import loader
from psengine_host.__main__ import main
loader._DIRECTORIES = ()
main()
"""
"""The program on a machine whose distribution has left no Wine where it would be found without PATH."""


@pytest.fixture
def psengine(tmp_path):
    """Runs ``psengine wine``; the prefix is a folder that Wine has not filled yet. What is left running is ended."""
    prefix = tmp_path / "prefix"
    sockets = tmp_path / "sockets"  # Debian's wineserver makes a folder here, and never removes it
    sockets.mkdir()
    environment = {**os.environ, "WINEPREFIX": str(prefix), "TMPDIR": str(sockets)}

    def run(*arguments, program=("-m", "psengine_host"), **variables):
        done = subprocess.run(
            [sys.executable, *program, "wine", *arguments],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    yield run
    if prefix.is_dir() and shutil.which("wineserver"):
        subprocess.run(["wineserver", "-k"], env=environment, timeout=60, check=False)
        subprocess.run(["wineserver", "-w"], env=environment, timeout=60, check=True)
        shutil.rmtree(prefix)


@needs_wine
def test_start_status_and_kill(psengine, tmp_path):
    who = f"wineserver of {tmp_path}/prefix:"
    assert psengine("status") == (3, f"{who} is not running\n", "")
    assert psengine("kill") == (0, f"{who} is not running\n", "")
    assert psengine("start") == (0, f"{who} started\n", "")
    assert psengine("start") == (0, f"{who} is running already\n", "")
    assert psengine("status") == (0, f"{who} is running\n", "")
    code, out, _ = psengine("status", "--format", "json")
    assert code == 0
    assert json.loads(out) == {
        "running": True,
        "prefix": f"{tmp_path}/prefix",
        "server": shutil.which("wineserver"),
    }
    assert psengine("kill") == (0, f"{who} killed\n", "")
    assert psengine("status")[0] == 3


@pytest.mark.parametrize("command", ["start", "kill", "status"])
def test_without_wine_the_package_is_named(command, psengine, tmp_path):
    assert psengine(command, program=("-c", WITHOUT_WINE), PATH=str(tmp_path)) == (
        2,
        "",
        (
            "psengine: Wine is not installed: no 'wine' or 'wine64' in PATH; install it "
            "(Debian: apt-get install wine wine64) or name its program in WINELOADER\n"
        ),
    )


@pytest.mark.parametrize("command", ["start", "kill", "status"])
def test_a_loader_that_is_none_is_told(command, psengine):
    code, out, err = psengine(command, WINELOADER="/nowhere/wine")
    assert (code, out) == (2, "")
    assert err == (
        "psengine: WINELOADER names /nowhere/wine, which does not exist; name a program of Wine, or unset it\n"
    )


@needs_wine
def test_a_prefix_that_wine_refuses_is_one_line(psengine, tmp_path):
    (tmp_path / "file").touch()
    line = f"psengine: the Wine prefix {tmp_path}/file is not a folder; set WINEPREFIX to a folder of your own\n"
    assert psengine("status", WINEPREFIX=f"{tmp_path}/file") == (2, "", line)
    assert psengine("start", WINEPREFIX=f"{tmp_path}/file") == (2, "", line)
    assert psengine("status", WINEPREFIX=f"{tmp_path}/a\nb") == (
        3,
        f"wineserver of '{tmp_path}/a\\nb': is not running\n",
        "",
    )


@needs_wine
@pytest.mark.parametrize(("command", "code"), [("start", 3), ("kill", 3), ("status", 2)])
def test_a_server_that_does_not_answer_rightly_is_one_line(command, code, psengine, tmp_path):
    (tmp_path / "prefix").mkdir()
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\nexit 127\n")
    server.chmod(0o755)
    ended, out, err = psengine(command, WINESERVER=str(server))
    assert (ended, out) == (code, "")
    assert err.startswith("psengine: ")
    assert err.endswith(": it ended with exit code 127\n")
