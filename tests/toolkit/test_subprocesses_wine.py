"""Windows programs: real ones, compiled by mingw-w64, under a real Wine."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from psengine_host.toolkit.subprocesses import (
    CommandFailed,
    CommandNotFound,
    CommandNotStarted,
    CommandTimeout,
    run_command,
)
from psengine_host.toolkit.windows_programs import what_wine_says
from psengine_host.toolkit.wine import WineError

pytestmark = [pytest.mark.system("wine"), pytest.mark.timeout(300)]
PATIENCE = 120
"""Seconds that a Windows program may take here: the first one in a prefix starts Wine's services."""


def processes_of(prefix):
    """The names and command lines of the processes that run in a prefix of Wine, by their ids."""
    mark = f"WINEPREFIX={prefix}".encode() + b"\0"
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                if mark in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return {number: line for number, line in found.items() if line}


def test_a_windows_program_runs_and_its_exit_code_comes_back(wine_prefix, windows_program):
    done = run_command([windows_program("exit_code"), "3"], wine=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    with pytest.raises(CommandFailed, match=r"exit_code\.exe 3 ended with exit code 3$"):
        done.check(0, 1)


@pytest.mark.parametrize(("arguments", "encoding"), [([], "cp1252"), (["utf-16"], "utf-16")])
def test_what_it_writes_is_decoded(arguments, encoding, wine_prefix, windows_program):
    done = run_command([windows_program("write_encoded"), *arguments], wine=True, encoding=encoding, timeout=PATIENCE)
    assert done.lines == ["Grüße €5: sauber", "Ende"]
    assert done.stdout_bytes.count(b"\r") == 2


def test_arguments_arrive_as_they_are(wine_prefix, windows_program):
    words = ["a b", 'say "x"', "$HOME", "%PATH%", "*", "\\", "C:\\a b\\", "", "größe"]
    done = run_command([windows_program("echo_arguments"), *words], wine=True, timeout=PATIENCE)
    assert (done.lines, done.returncode) == (words, len(words))


def test_locale_and_time_zone_reach_a_windows_program(wine_prefix, windows_program, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("TZ", "America/New_York")
    done = run_command([windows_program("say_environment"), "TZ", "LC_ALL"], wine=True, timeout=PATIENCE)
    assert done.lines == ["TZ=America/New_York", "LC_ALL=C"]


@pytest.mark.parametrize("persistent", [False, True], ids=["", "with a persistent server"])
def test_a_timeout_ends_windows_grandchildren_and_leaves_the_server(persistent, wine_prefix, windows_program, tmp_path):
    if persistent:
        subprocess.run([shutil.which("wineserver"), "-p"], check=True, timeout=PATIENCE)
    run_command([windows_program("exit_code")], wine=True, timeout=PATIENCE)
    servers = {number for number, line in processes_of(wine_prefix).items() if "wineserver" in line}
    assert servers
    began = tmp_path / "begun"
    arguments = ["600", f"Z:{str(began).replace('/', chr(92))}"]
    for limit in (2, 20, 100):
        start = time.monotonic()
        with pytest.raises(CommandTimeout) as caught:
            run_command([windows_program("leave_grandchild"), *arguments], wine=True, timeout=limit)
        late = time.monotonic() - start - limit
        if began.exists():
            break
    assert began.read_bytes() == b"1"
    assert len(caught.value.result.stdout.split()) == 2  # the process ids of both
    assert late < 1 + 5
    left = processes_of(wine_prefix)
    services = [line for line in left.values() if "services.exe" in line]
    assert services  # Wine's own, which the first program in the prefix started and others use
    assert [line for line in left.values() if "leave_grandchild" in line] == []
    if persistent:
        assert servers <= set(left)
    # What is left still serves the next program.
    assert run_command([windows_program("exit_code"), "5"], wine=True, timeout=PATIENCE).returncode == 5


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_call(wine_prefix, windows_program, tmp_path):
    began = tmp_path / "begun"
    nt_path = f"Z:{str(began).replace('/', chr(92))}"
    script = 'wine "$0" 600 "$1" & while ! [ -e "$2" ]; do sleep 0.05; done; kill -9 $!'
    done = run_command(["sh", "-c", script, windows_program("leave_grandchild"), nt_path, began], timeout=PATIENCE)
    assert done.seconds < PATIENCE - 20
    assert [line for line in processes_of(wine_prefix).values() if "leave_grandchild" in line] == []


NO_ROOM = "err:virtual:virtual_alloc_first_teb wine: failed to map the shared user data: c0000018"


@pytest.mark.parametrize("failures", [2, 9])
def test_where_wine_ended_before_it_began_it_is_started_again(
    failures, wine_prefix, windows_program, tmp_path, monkeypatch
):
    counted, loader = tmp_path / "counted", tmp_path / "loader"
    fails = f'echo >> {counted}; if [ $(wc -l < {counted}) -le {failures} ]; then echo "{NO_ROOM}" >&2; exit 1; fi'
    loader.write_text(f'#!/bin/sh\n{fails}\nunset WINELOADER; exec wine "$@"\n')
    loader.chmod(0o755)
    monkeypatch.setenv("WINELOADER", str(loader))
    if failures < 5:
        assert run_command([windows_program("exit_code"), "7"], wine=True, timeout=PATIENCE).returncode == 7
        assert len(counted.read_text()) == failures + 1
    else:
        with pytest.raises(CommandNotStarted, match="was not run by Wine, which says: err:virtual:"):
            run_command([windows_program("exit_code"), "7"], wine=True, timeout=PATIENCE)
        assert len(counted.read_text()) == 5


def test_without_wine_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("WINELOADER", str(tmp_path / "wine"))
    with pytest.raises(WineError, match=r"WINELOADER names .*/wine, which does not exist"):
        run_command(["scan.exe"], wine=True)


class TestWhatIsNoWindowsProgram:
    """Wine would end with exit code 1, which is what a scanner says that has found something; or open a window."""

    @pytest.fixture
    def folder(self, wine_prefix, windows_program, tmp_path):
        (tmp_path / "text.exe").write_text("no program")
        (tmp_path / "dos.exe").write_bytes(b"MZ" + bytes(500))
        program = bytearray(windows_program("exit_code").read_bytes())
        machine = int.from_bytes(program[0x3C:0x40], "little") + 4
        program[machine : machine + 2] = b"\x4c\x01"
        (tmp_path / "i386.exe").write_bytes(program)
        (tmp_path / "script.bat").write_bytes(b"@exit 4\r\n")
        shutil.copy2(windows_program("exit_code"), tmp_path / "Scan.exe")
        return tmp_path

    @pytest.mark.parametrize("name", ["no-such.exe", "./no-such.exe", "Z:\\no\\such.exe", "no-such-name"])
    def test_a_program_that_there_is_not(self, name, folder):
        with pytest.raises(CommandNotFound, match="is not there; name it with its whole path"):
            run_command([name], wine=True, cwd=folder, timeout=PATIENCE)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("text.exe", "is no Windows program: it does not begin with MZ"),
            ("dos.exe", "is no Windows program: it has no PE header"),
            ("./", "is a folder"),
        ],
    )
    def test_what_is_no_program(self, name, why, folder):
        with pytest.raises(CommandNotStarted) as caught:
            run_command([folder / name], wine=True, timeout=PATIENCE)
        assert str(caught.value).endswith(why)

    def test_a_32_bit_program_where_wine_runs_none(self, folder, wine_prefix):
        if (wine_prefix / "drive_c/windows/syswow64/ntdll.dll").exists():
            pytest.skip("this Wine runs 32-bit programs")
        with pytest.raises(CommandNotStarted, match="is a 32-bit program, and Wine for these is not installed"):
            run_command([folder / "i386.exe"], wine=True, timeout=PATIENCE)

    def test_a_program_that_is_cut_off(self, folder):
        with (folder / "Scan.exe").open("r+b") as file:
            file.truncate(3000)
        with pytest.raises(CommandNotStarted, match="was not run by Wine, which says: wine: failed to start "):
            run_command([folder / "Scan.exe", "0"], wine=True, timeout=PATIENCE)

    @pytest.mark.parametrize(
        ("prefix", "variables", "why"),
        [
            ("text.exe", {}, "wine: cannot use directory "),
            ("no/prefix", {}, "wine: chdir to "),
            ("new", {"TMPDIR": "/no/such/folder"}, "wine: unable to create wineserver tmpdir"),
        ],
    )
    def test_a_prefix_that_wine_refuses_is_no_exit_code_of_the_program(self, prefix, variables, why, folder):
        variables = {"WINEPREFIX": str(folder / prefix), **variables}
        with pytest.raises(CommandNotStarted, match=f"was not run by Wine, which says: {why}"):
            run_command([folder / "Scan.exe", "0"], wine=True, env=variables, timeout=PATIENCE)

    @pytest.mark.parametrize(
        ("returncode", "stdout", "stderr", "said"),
        [
            (1, "", "wine: '/p' is not owned by you\n", "wine: '/p' is not owned by you"),
            (1, "", "wine: created the configuration directory '/p'\n", None),
            (1, "", 'wine: configuration in L"/p" has been updated.\n', None),
            (1, "found", "wine: something\n", None),
            (2, "", "wine: something\n", None),
            (1, "", "something\n", None),
            (1, "", "", None),
        ],
    )
    def test_what_wine_tells_while_it_runs_a_program_is_no_failure(self, returncode, stdout, stderr, said):
        assert what_wine_says(returncode, stdout, stderr) == said

    @pytest.mark.parametrize("name", ["Scan.exe", "./Scan.exe", "scan.EXE", "Scan", "./scan.exe", "script.bat"])
    def test_what_wine_finds_is_let_through(self, name, folder):
        done = run_command([name, "4"], wine=True, cwd=folder, timeout=PATIENCE)
        assert done.returncode == 4

    def test_programs_of_wine_itself_are_let_through(self, wine_prefix):
        done = run_command(["reg", "query", "HKCU"], wine=True, timeout=PATIENCE)
        assert "HKEY_CURRENT_USER" in done.check().stdout
