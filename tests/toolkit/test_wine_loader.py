"""Which Wine is taken, what its programs get to see, and what is said when there is none."""

import os
import subprocess
import sys

import pytest

from psengine_host.errors import EngineError
from psengine_host.toolkit import wine
from psengine_host.toolkit.wine import loader


@pytest.fixture
def run(wine_prefix, windows_program, wine_start):
    """A program under Wine, as an engine would start it; with a server, so that nothing waits for services to end."""
    wine.start_persistent_wineserver()

    def ended(name, *args, code=0, **variables):
        environment = wine.environment({**os.environ, **variables})
        command = wine.command([windows_program(name), *args], environment)
        return wine_start(command, environment, code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)[0]

    return ended


@pytest.fixture
def program(tmp_path):
    """Makes an executable file, by its path below tmp_path."""

    def make(name, mode=0o755):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        return path

    return make


@pytest.fixture
def places(monkeypatch):
    """Sets where distributions keep Wine."""

    def among(*folders):
        monkeypatch.setattr(loader, "_DIRECTORIES", tuple(map(str, folders)))

    among()
    return among


def test_arguments_arrive_as_they_were_given(run):
    arguments = ["plain", "two words", 'quo"ted', "back\\slash\\", "", "Grüße €", "*.exe", "a&b|c>d%PATH%", 'end\\"']
    done = run("echo_arguments", *arguments, code=len(arguments))
    assert done.stdout.decode().split("\r\n") == [*arguments, ""]
    assert done.returncode == len(arguments)
    assert done.stderr == b"9 arguments\r\n"


def test_exit_codes_are_cut_to_eight_bits_and_none_to_success(run):
    codes = {"0": 0, "3": 3, "255": 255, "256": 1, "0xffffffff": 255}
    assert {said: run("exit_code", said, code=code).returncode for said, code in codes.items()} == codes


def test_output_comes_in_the_encoding_of_the_program(run):
    text = "Grüße €5: sauber\r\nEnde\r\n"
    assert run("write_encoded").stdout == text.encode("cp1252")
    assert run("write_encoded", "utf-16").stdout == text.encode("utf-16")


def test_a_program_sees_locale_and_time_zone_unchanged_and_nothing_of_wine_on_its_stderr(run):
    done = run("say_environment", "LC_ALL", "TZ", "NANO_AV_PATH", LC_ALL="de_DE.UTF-8", TZ="Europe/Berlin")
    assert done.stdout.decode().split("\r\n") == ["LC_ALL=de_DE.UTF-8", "TZ=Europe/Berlin", "NANO_AV_PATH=unset", ""]
    assert done.stderr == b""


def test_without_any_locale_names_of_files_arrive_whole(run, windows_program, tmp_path, monkeypatch):
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    file = tmp_path / "Grüße €.txt"
    file.write_text("content")
    assert run("print_files", wine.as_nt_path(file)).stdout == b"content\r\n"


def test_wines_own_program_runs_as_its_loader(run):
    """Debian's programs proper, behind its scripts; a script as the loader; a name in PATH."""
    for named in ("/usr/lib/wine/wine64", "/usr/bin/wine", "wine"):
        if not named.startswith("/") or os.path.exists(named):
            done = run("exit_code", "4", code=4, WINELOADER=named, WINEDEBUG="err+all")
            assert done.returncode == 4, done


def test_the_loader_is_found_in_its_order(program, places, tmp_path):
    there = program("usr/lib/wine/wine64")
    places(tmp_path / "usr/lib/wine")
    environ = {"PATH": f"{tmp_path}/a:{tmp_path}/b"}
    assert wine.command(["x.exe"], environ) == [str(there), "x.exe"]
    wine64 = program("a/wine64")
    assert wine.command(["x.exe"], environ)[0] == str(wine64)
    first = program("b/wine")
    assert wine.command(["x.exe"], environ)[0] == str(first)
    named = program("named/wine-9.0")
    assert wine.command(["x.exe"], {**environ, "WINELOADER": str(named)})[0] == str(named)
    assert wine.command(["x.exe"], {**environ, "WINELOADER": ""})[0] == str(first)
    assert wine.command(["x.exe"], {"PATH": f"{tmp_path}/named", "WINELOADER": "wine-9.0"})[0] == str(named)


def test_the_server_is_the_one_beside_the_loader(program, places, tmp_path):
    environ = {"PATH": f"{tmp_path}/a"}
    program("a/wine")
    ours = program("opt/bin/wine")
    (tmp_path / "link").symlink_to(ours)
    in_path = program("a/wineserver")
    beside = program("opt/bin/wineserver")
    assert loader.server(environ) == in_path
    assert loader.server({**environ, "WINELOADER": str(ours)}) == beside
    assert loader.server({**environ, "WINELOADER": str(tmp_path / "link")}) == beside
    assert loader.server({**environ, "WINELOADER": str(ours), "WINESERVER": str(in_path)}) == in_path


def test_a_loader_without_a_server(program, places, tmp_path):
    program("a/wine")
    with pytest.raises(wine.WineUnusable) as caught:
        loader.server({"PATH": f"{tmp_path}/a"})
    assert str(caught.value) == f"no wineserver is beside {tmp_path}/a/wine, nor in PATH; name it in WINESERVER"


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("{folder}/none", "does not exist"),
        ("{folder}/plain", "is not executable"),
        ("{folder}", "is a folder"),
        ("wine-none", "is not in PATH"),
    ],
)
@pytest.mark.parametrize("variable", ["WINELOADER", "WINESERVER"])
def test_a_variable_that_names_no_program(variable, named, why, program, tmp_path):
    program("plain", 0o644)
    named = named.format(folder=tmp_path)
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/root", variable: named}
    with pytest.raises(EngineError) as caught:
        wine.environment(environ)
    said = f"{variable} names {named}, which {why}; name a program of Wine, or unset it"
    assert (type(caught.value), str(caught.value)) == (wine.WineUnusable, said)
    assert variable == "WINESERVER" or not wine.available(environ)


def test_without_wine_it_is_said_how_to_get_it(places, tmp_path):
    environ = {"PATH": str(tmp_path)}
    assert not wine.available(environ)
    with pytest.raises(wine.WineUnusable) as caught:
        wine.command(["x.exe"], environ)
    assert str(caught.value) == (
        "Wine is not installed: no 'wine' or 'wine64' in PATH; install it (Debian: apt-get install wine wine64) "
        "or name its program in WINELOADER"
    )


def test_the_environment_adds_what_wine_needs_and_changes_nothing_else():
    given = {"HOME": "/home/me", "LC_ALL": "C", "TZ": "UTC", "DISPLAY": ":7", "X": "y"}
    assert wine.environment(given) == {
        **given,
        "WINEPREFIX": "/home/me/.wine",
        "WINEDEBUG": "-all,err+virtual",
        "WINEDLLOVERRIDES": "mscoree=d;mshtml=d",
    }
    assert wine.environment({"HOME": "/", "LANG": ""})["LC_CTYPE"] == "C.UTF-8"
    chosen = {**given, "WINEPREFIX": "/srv/wine", "WINEDEBUG": "+relay", "WINEDLLOVERRIDES": "mshtml=n"}
    assert wine.environment(chosen) == chosen


def test_importing_it_loads_no_library_but_that_of_the_values():
    code = "import sys, psengine_host.toolkit.wine; print([m for m in sys.modules if m.split('.')[0] in DEPS])"
    dependencies = ["click", "rich", "aiohttp", "pluggy", "tenacity", "platformdirs"]
    done = subprocess.run([sys.executable, "-c", f"DEPS = {dependencies}; {code}"], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
