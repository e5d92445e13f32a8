import os
import stat
from pathlib import Path

import platformdirs
import pytest

from psengine_host.environment import VARIABLES, EngineEnvironment, environment_prefix
from psengine_host.errors import PsengineError

DIRECTORIES = {
    # variable: attribute, XDG base, leaf
    "PATH": ("path", "XDG_DATA_HOME", "bin"),
    "SDK_HOME": ("sdk_home", "XDG_DATA_HOME", "sdk"),
    "SECRETS_HOME": ("secrets_home", "XDG_CONFIG_HOME", "secrets"),
    "CONFIG_HOME": ("config_home", "XDG_CONFIG_HOME", ""),
    "CACHE_HOME": ("cache_home", "XDG_CACHE_HOME", ""),
    "DATA_HOME": ("data_home", "XDG_DATA_HOME", ""),
    "STATE_HOME": ("state_home", "XDG_STATE_HOME", ""),
    "RUNTIME_DIR": ("runtime_dir", "XDG_RUNTIME_DIR", ""),
}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def bases(tmp_path, monkeypatch) -> Path:
    """The user's own directories, all below one folder."""
    for _, base, _ in DIRECTORIES.values():
        (tmp_path / base).mkdir(mode=0o700, exist_ok=True)
        monkeypatch.setenv(base, str(tmp_path / base))
    return tmp_path


def test_every_variable_is_covered_here():
    assert set(VARIABLES) == {*DIRECTORIES, "SCANNER", "UPDATER"}


@pytest.mark.parametrize(("engine", "prefix"), [("yara", "YARA"), ("nano-av", "NANO_AV"), ("a-b-c9", "A_B_C9")])
def test_the_prefix_is_the_engine_s_name_in_capitals(engine, prefix):
    assert environment_prefix(engine) == prefix
    assert EngineEnvironment(engine, {}).variable("STATE_HOME") == f"{prefix}_STATE_HOME"


class TestDirectories:
    @pytest.mark.parametrize("variable", DIRECTORIES)
    def test_one_that_is_set_is_taken_as_it_is(self, tmp_path, variable):
        environment = EngineEnvironment("nano-av", {f"NANO_AV_{variable}": str(tmp_path / "elsewhere")})
        attribute = DIRECTORIES[variable][0]
        assert getattr(environment, attribute) == environment.locate(variable) == tmp_path / "elsewhere"
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.parametrize("variable", DIRECTORIES)
    def test_a_relative_one_counts_from_the_working_directory(self, tmp_path, monkeypatch, variable):
        monkeypatch.chdir(tmp_path)
        environment = EngineEnvironment("yara", {f"YARA_{variable}": "vendor/x"})
        assert getattr(environment, DIRECTORIES[variable][0]) == tmp_path / "vendor" / "x"

    @pytest.mark.parametrize("variable", DIRECTORIES)
    @pytest.mark.parametrize("environ", [{}, "empty", {"OTHER_STATE_HOME": "/x", "PATH": "/bin"}])
    def test_one_that_is_not_set_is_made_under_the_host_s_own(self, bases, variable, environ):
        environ = {f"NANO_AV_{variable}": ""} if environ == "empty" else environ
        environment = EngineEnvironment("nano-av", environ)
        attribute, base, leaf = DIRECTORIES[variable]
        expected = bases / base / "psengine" / "engines" / "nano-av" / leaf
        assert environment.locate(variable) == expected
        assert not expected.exists()
        assert getattr(environment, attribute) == expected
        assert expected.is_dir()
        assert getattr(environment, attribute) == expected

    def test_all_that_is_made_is_private_whatever_the_umask(self, bases):
        before = os.umask(0)
        try:
            assert EngineEnvironment("yara", {}).secrets_home.is_dir()
        finally:
            os.umask(before)
        made = bases / "XDG_CONFIG_HOME" / "psengine" / "engines" / "yara" / "secrets"
        for folder in (made, *made.parents[:3]):
            assert mode(folder) == 0o700, folder

    def test_what_is_there_already_keeps_its_mode(self, bases):
        there = bases / "XDG_STATE_HOME" / "psengine"
        there.mkdir()
        there.chmod(0o750)
        assert EngineEnvironment("yara", {}).state_home.parent.parent == there
        assert mode(there) == 0o750

    def test_the_environment_of_the_process_is_read_by_default(self, tmp_path, monkeypatch):
        monkeypatch.setenv("YARA_STATE_HOME", str(tmp_path))
        assert EngineEnvironment("yara").state_home == tmp_path

    @pytest.mark.parametrize("in_the_way", ["psengine", "psengine/engines/yara"])
    def test_a_file_in_the_way(self, bases, in_the_way):
        blocked = bases / "XDG_STATE_HOME" / in_the_way
        blocked.parent.mkdir(parents=True, exist_ok=True)
        blocked.touch()
        with pytest.raises(PsengineError) as caught:
            _ = EngineEnvironment("yara", {}).state_home
        assert str(caught.value) == (
            f"cannot make {bases}/XDG_STATE_HOME/psengine/engines/yara: Not a directory; "
            "set YARA_STATE_HOME to a folder of the engine"
        )


class TestPrograms:
    @pytest.mark.parametrize("name", ["SCANNER", "UPDATER"])
    def test_an_absolute_one(self, name):
        environment = EngineEnvironment("yara", {f"YARA_{name}": "/opt/vendor/run"})
        assert getattr(environment, name.lower()) == Path("/opt/vendor/run")

    @pytest.mark.parametrize("name", ["SCANNER", "UPDATER"])
    def test_a_relative_one_counts_from_the_engine_s_programs(self, name):
        environment = EngineEnvironment("yara", {f"YARA_{name}": "bin/run", "YARA_PATH": "/opt/vendor"})
        assert getattr(environment, name.lower()) == Path("/opt/vendor/bin/run")

    @pytest.mark.parametrize("environ", [{}, {"YARA_SCANNER": "", "YARA_UPDATER": ""}])
    def test_none(self, environ):
        environment = EngineEnvironment("yara", environ)
        assert environment.scanner is None
        assert environment.updater is None


class TestFurtherVariables:
    def test_one_is_read_by_its_name_behind_the_prefix_as_it_is(self):
        environment = EngineEnvironment("nano-av", {"NANO_AV_RULES": " a:~/b ", "RULES": "another's"})
        assert environment.get("RULES") == " a:~/b "
        assert environment.get("RULES", "x") == " a:~/b "

    @pytest.mark.parametrize("environ", [{}, {"YARA_RULES": ""}])
    def test_one_that_is_not_set_or_empty_is_the_default(self, environ, monkeypatch):
        monkeypatch.setenv("YARA_RULES", "of the process")
        environment = EngineEnvironment("yara", environ)
        assert environment.get("RULES") is None
        assert environment.get("RULES", "/srv/rules") == "/srv/rules"


def test_it_is_shown_by_the_engine_s_name():
    assert repr(EngineEnvironment("yara", {"YARA_SECRETS_HOME": "/secret"})) == "EngineEnvironment('yara')"


@pytest.mark.parametrize("planted", ["open", "link", "foreign"])
def test_a_runtime_folder_that_another_user_controls_is_refused(tmp_path, monkeypatch, planted):
    base = tmp_path / "runtime-1000"
    monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda name: str(base / name))
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    if planted == "link":
        base.symlink_to(theirs)
    else:
        base.mkdir(mode=0o700)
        if planted == "open":
            base.chmod(0o777)
        elif os.getuid() == 0:
            os.chown(base, 65534, 65534)
        else:
            pytest.skip("only root can make a folder that belongs to somebody else")
    with pytest.raises(PsengineError) as caught:
        _ = EngineEnvironment("yara", {}).runtime_dir
    assert str(caught.value) == (
        f"cannot make {base}/psengine/engines/yara: {base} is a link, belongs to somebody else or is open to others; "
        "set YARA_RUNTIME_DIR to a folder of the engine"
    )
    assert list(base.iterdir()) == []


def test_a_runtime_folder_that_platformdirs_refuses(monkeypatch):
    def refuse(name):
        raise PermissionError("runtime directory belongs to another user; set XDG_RUNTIME_DIR instead")

    monkeypatch.setattr(platformdirs, "user_runtime_dir", refuse)
    with pytest.raises(PsengineError) as caught:
        EngineEnvironment("yara", {}).locate("RUNTIME_DIR")
    assert str(caught.value) == (
        "runtime directory belongs to another user; set XDG_RUNTIME_DIR instead; "
        "or set YARA_RUNTIME_DIR to a folder of the engine"
    )
