"""Wineservers that stay: started, found, killed, and holding nothing; what is said of prefixes that Wine refuses."""

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from psengine_host.job import Job, working_on
from psengine_host.toolkit import wine
from psengine_host.toolkit.subprocesses import CommandTimeout, run_command

pytestmark = pytest.mark.usefixtures("wine_sockets")


def inside(prefix):
    """The processes of a prefix, by their environment: number and program."""
    mark = os.fsencode(f"WINEPREFIX={prefix}")
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # ended meanwhile
    return found


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def run(windows_program, wine_start):
    """A program under Wine, as an engine would start it, with its output read to the end."""

    def ended(name, *args, code=0, **variables):
        environment = wine.environment({**os.environ, **variables})
        command = wine.command([windows_program(name), *args])
        return wine_start(command, environment, code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)[0]

    return ended


def test_a_server_is_started_found_and_killed_and_nothing_is_left(wine_prefix):
    assert wine.wineserver_status() == (False, wine_prefix, Path(shutil.which("wineserver")))
    assert wine.start_persistent_wineserver() is True
    assert wine.wineserver_status().running
    assert wine.start_persistent_wineserver() is False
    assert any("wineserver" in program for program in inside(wine_prefix).values())
    assert wine.kill_wineserver() is True
    assert not wine.wineserver_status().running
    until(lambda: not inside(wine_prefix))
    assert wine.kill_wineserver() is False


def test_the_server_and_its_services_hold_nothing_of_ours(wine_prefix, windows_program, tmp_path, monkeypatch):
    folder = tmp_path / "where the host works"
    folder.mkdir()
    monkeypatch.chdir(folder)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        wine.start_persistent_wineserver()
    finally:
        os.close(writer)
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b""  # end of file: nobody else holds the other end
    os.close(reader)
    processes = inside(wine_prefix)
    assert len(processes) > 3
    for process in processes:
        streams = [os.readlink(f"/proc/{process}/fd/{number}") for number in (0, 1, 2)]
        assert not [stream for stream in streams if stream.startswith(("pipe:", "/dev/pts", "/dev/tty"))]
        assert os.readlink(f"/proc/{process}/cwd") != str(folder)
        assert os.getsid(process) != os.getsid(0)


def test_with_a_server_that_stays_no_program_is_waited_for_twice(wine_prefix, run):
    wine.start_persistent_wineserver()
    begun = time.monotonic()
    for _ in range(5):
        assert run("exit_code", "7", code=7).returncode == 7
    assert time.monotonic() - begun < 5 * 2  # seconds that Windows' services stay after the last program


def test_the_variable_starts_a_server_once(wine_prefix, run):
    assert run("say_environment", "PERSISTENT_WINESERVER", PERSISTENT_WINESERVER="0").returncode == 0
    subprocess.run(["wineserver", "-w"], check=True, timeout=60)
    assert run("say_environment", "HOME", PERSISTENT_WINESERVER="yes").returncode == 0
    (server,) = [process for process, program in inside(wine_prefix).items() if "wineserver" in program]
    assert run("say_environment", "HOME", PERSISTENT_WINESERVER="1").returncode == 0
    assert [process for process, program in inside(wine_prefix).items() if "wineserver" in program] == [server]
    wine.kill_wineserver()
    wine.ensure_wineserver({**os.environ, "PERSISTENT_WINESERVER": "1"})
    assert wine.wineserver_status().running


@pytest.mark.parametrize("value", ["", "0"])
def test_the_variable_at_zero_or_empty_starts_none(value, wine_prefix):
    wine.environment({**os.environ, "PERSISTENT_WINESERVER": value})
    assert not wine.wineserver_status().running


def test_killing_ends_programs_and_their_grandchildren(wine_prefix, windows_program, tmp_path):
    wine.start_persistent_wineserver()
    began = tmp_path / "began"
    command = wine.command([windows_program("leave_grandchild"), "600", wine.as_nt_path(began)])
    program = subprocess.Popen(command, env=wine.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(began.exists)
    wine.kill_wineserver()
    program.wait(timeout=30)  # with exit code 0, of all codes
    until(lambda: not inside(wine_prefix))


def test_a_prefix_is_made_where_there_is_none(wine_template, tmp_path, monkeypatch):
    made = tmp_path / "made"
    monkeypatch.setenv("WINEPREFIX", str(made))
    assert not wine.wineserver_status().running
    assert not made.exists()
    try:
        assert wine.start_persistent_wineserver() is True
        assert made.stat().st_mode & 0o777 == 0o700
        assert (made / "dosdevices/c:").is_dir()
    finally:
        wine.kill_wineserver()
        shutil.rmtree(made)


def needs_wine():
    return pytest.mark.skipif(shutil.which("wineserver") is None, reason="Wine is not installed")


def refusal(function, prefix, monkeypatch):
    monkeypatch.setenv("WINEPREFIX", str(prefix))
    with pytest.raises(wine.WineError) as caught:
        function()
    return str(caught.value)


@needs_wine()
@pytest.mark.parametrize("function", [wine.start_persistent_wineserver, wine.kill_wineserver, wine.wineserver_status])
def test_a_prefix_that_is_a_file(function, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert refusal(function, tmp_path / "file", monkeypatch) == (
        f"the Wine prefix {tmp_path}/file is not a folder; set WINEPREFIX to a folder of your own"
    )


@needs_wine()
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
@pytest.mark.parametrize("function", [wine.start_persistent_wineserver, wine.kill_wineserver, wine.wineserver_status])
def test_a_prefix_of_somebody_else(function, tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1234, 1234)
    assert refusal(function, tmp_path / "theirs", monkeypatch) == (
        f"the Wine prefix {tmp_path}/theirs belongs to user 1234, and Wine takes only one of user 0, who runs this; "
        "set WINEPREFIX to a folder of your own"
    )


@needs_wine()
def test_a_prefix_whose_place_does_not_exist(tmp_path, monkeypatch):
    assert refusal(wine.start_persistent_wineserver, tmp_path / "no/prefix", monkeypatch) == (
        f"the Wine prefix {tmp_path}/no/prefix cannot be made: {tmp_path}/no does not exist; make it, or set WINEPREFIX"
    )
    assert not wine.wineserver_status().running


@needs_wine()
@pytest.mark.parametrize("function", [wine.start_persistent_wineserver, wine.kill_wineserver, wine.wineserver_status])
def test_a_prefix_that_is_a_link_to_nothing(function, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("nothing")
    assert refusal(function, tmp_path / "link", monkeypatch) == (
        f"the Wine prefix {tmp_path}/link is a link to nothing; make what it leads to, or set WINEPREFIX"
    )


@needs_wine()
def test_a_prefix_that_is_not_absolute(monkeypatch):
    said = refusal(wine.wineserver_status, "prefix", monkeypatch)
    assert said == "WINEPREFIX is 'prefix': Wine takes an absolute path only"


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@needs_wine()
def test_a_server_that_does_not_come_up_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "prefix").mkdir()
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("WINESERVER", script(tmp_path / "server", "exec sleep 600"))
    with pytest.raises(wine.WineError) as caught:
        wine.start_persistent_wineserver(timeout=0.5)
    assert str(caught.value) == f"wineserver did not start within 0.5 s in {tmp_path}/prefix"


@needs_wine()
def test_a_start_takes_no_longer_than_is_left_for_the_bounty(tmp_path, monkeypatch):
    (tmp_path / "prefix").mkdir()
    marker = tmp_path / "called"
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("WINESERVER", script(tmp_path / "server", f"touch {marker}; exec sleep 600"))
    monkeypatch.setenv("PERSISTENT_WINESERVER", "1")
    with working_on(Job("acme", deadline=time.monotonic() - 1)):
        assert wine.environment()["WINEPREFIX"] == str(tmp_path / "prefix")
    assert not marker.exists()
    with working_on(Job("acme", deadline=time.monotonic() + 2)), pytest.raises(wine.WineError) as caught:
        wine.environment()
    assert str(caught.value).startswith("wineserver did not start within ")
    assert marker.exists()


@needs_wine()
def test_nor_longer_than_until_the_deadline_of_the_command(tmp_path, monkeypatch):
    (tmp_path / "prefix").mkdir()
    marker = tmp_path / "called"
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("WINESERVER", script(tmp_path / "server", f"touch {marker}; exec sleep 600"))
    monkeypatch.setenv("PERSISTENT_WINESERVER", "1")
    with pytest.raises(CommandTimeout, match="its deadline is over"):
        run_command(["cmd"], wine=True, deadline=time.monotonic() - 1)
    assert not marker.exists()
    begun = time.monotonic()
    with pytest.raises(wine.WineError, match="wineserver did not start within "):
        run_command(["cmd"], wine=True, deadline=begun + 1)
    assert time.monotonic() - begun < 30
    assert marker.exists()


@needs_wine()
def test_the_host_s_own_variables_are_not_given_to_a_server(tmp_path, monkeypatch):
    """It outlives the host, and the webhook's secret is among them."""
    (tmp_path / "prefix").mkdir()
    said = tmp_path / "said"
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("PSENGINE_WEBHOOK_SECRET", "hunter2")
    monkeypatch.setenv("WINESERVER", script(tmp_path / "server", f"env >> {said}; exit 1"))
    assert not wine.wineserver_status().running
    with pytest.raises(wine.WineError, match="cannot be started"):
        wine.start_persistent_wineserver()
    assert f"WINEPREFIX={tmp_path}/prefix" in said.read_text()
    assert "hunter2" not in said.read_text()


@needs_wine()
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("#!/bin/sh\nexit 127\n", "does not say whether a wineserver runs: it ended with exit code 127"),
        ("#!/bin/sh\necho no room >&2; exit 1\n", "does not say whether a wineserver runs: no room"),
        ("no program", "cannot be run: Exec format error"),
        ("#!/no/such/shell\n", "cannot be run: No such file or directory"),
    ],
)
def test_a_server_that_cannot_be_asked_is_no_server_that_does_not_run(content, why, tmp_path, monkeypatch):
    (tmp_path / "prefix").mkdir()
    server = tmp_path / "server"
    server.write_text(content)
    server.chmod(0o755)
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("WINESERVER", str(server))
    for function in (wine.wineserver_status, wine.kill_wineserver):
        with pytest.raises(wine.WineError) as caught:
            function()
        assert str(caught.value) == f"{server} {why}"


@needs_wine()
def test_a_server_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "prefix").mkdir()
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("WINESERVER", script(tmp_path / "server", "echo no room >&2; exit 1"))
    with pytest.raises(wine.WineError) as caught:
        wine.start_persistent_wineserver()
    assert str(caught.value) == f"wineserver cannot be started in {tmp_path}/prefix: no room"


@needs_wine()
def test_services_that_do_not_start_are_told(tmp_path, monkeypatch):
    (tmp_path / "prefix").mkdir()
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "prefix"))
    monkeypatch.setenv("WINELOADER", script(tmp_path / "loader", "exit 9"))
    try:
        with pytest.raises(wine.WineError) as caught:
            wine.start_persistent_wineserver()
        assert str(caught.value) == (
            f"Wine cannot start its services in {tmp_path}/prefix: wineboot ended with exit code 9"
        )
        assert not wine.wineserver_status().running
    finally:
        wine.kill_wineserver()


def test_a_program_that_wine_ends_is_started_again_and_wine_s_words_are_kept(wine_start, tmp_path):
    counted = tmp_path / "counted"
    words = "err:virtual:virtual_alloc_first_teb wine: failed to map the shared user data"
    loader = script(
        tmp_path / "loader", f'echo >> {counted}; [ $(wc -l < {counted}) = 3 ] && exit 5; echo "$1" >&2; exit 1'
    )
    done, seconds = wine_start([loader, words], dict(os.environ), 5)
    assert (done.returncode, len(counted.read_text())) == (5, 3)
    assert 0 < seconds < 60
    with pytest.raises(pytest.fail.Exception) as caught:
        wine_start([loader, words], dict(os.environ), 5)
    assert str(caught.value).splitlines()[1:] == [f"exit code 1, None: {words}"] * 5
    assert len(counted.read_text()) == 3 + 5


@needs_wine()
def test_services_whose_start_wine_itself_ends_are_started_again(wine_prefix, tmp_path, monkeypatch):
    counted = tmp_path / "counted"
    fails_twice = f'echo >> {counted}; [ $(wc -l < {counted}) -le 2 ] && exit 1; unset WINELOADER; exec wine "$@"'
    monkeypatch.setenv("WINELOADER", script(tmp_path / "loader", fails_twice))
    assert wine.start_persistent_wineserver() is True
    assert len(counted.read_text()) == 3
    assert any("services.exe" in program for program in inside(wine_prefix).values())


def test_a_console_program_starts_five_times_faster_with_a_server_that_stays(wine_prefix, windows_program, wine_start):
    program = wine.command([windows_program("exit_code"), "5"])

    def seconds(before=lambda: None):
        return wine_start(program, wine.environment(), 5, before=before)[1]

    def ratio():
        without = [seconds(before=wine.kill_wineserver) for _ in range(5)]
        wine.kill_wineserver()
        wine.start_persistent_wineserver()
        return statistics.median(without) / statistics.median(seconds() for _ in range(15))

    ratios = []
    while not ratios or (ratios[-1] < 5 and len(ratios) < 3):  # what else runs on the machine may spoil one
        ratios.append(ratio())
    assert max(ratios) >= 5, ratios
