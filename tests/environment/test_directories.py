import logging
import os
import shlex
import socket
import stat
import sys
from pathlib import Path

import platformdirs
import pytest

from psengine_host.environment import VARIABLES, EngineEnvironment, Place, environment_prefix
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
    @pytest.mark.parametrize("variable", sorted(set(DIRECTORIES) - {"RUNTIME_DIR"}))
    def test_one_that_is_set_is_taken_as_it_is(self, tmp_path, variable):
        environment = EngineEnvironment("nano-av", {f"NANO_AV_{variable}": str(tmp_path / "elsewhere")})
        attribute = DIRECTORIES[variable][0]
        assert getattr(environment, attribute) == environment.locate(variable) == tmp_path / "elsewhere"
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.parametrize("variable", DIRECTORIES)
    def test_a_relative_one_counts_from_the_working_directory(self, tmp_path, monkeypatch, variable):
        (tmp_path / "vendor").mkdir()
        (tmp_path / "vendor" / "x").mkdir(mode=0o700)
        monkeypatch.chdir(tmp_path)
        environment = EngineEnvironment("yara", {f"YARA_{variable}": "vendor/x"})
        os.chdir("/")  # as an engine does
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

    @pytest.mark.parametrize("variable", DIRECTORIES)
    def test_a_tilde_is_the_home_of_the_user(self, tmp_path, monkeypatch, variable):
        monkeypatch.setenv("HOME", str(tmp_path))
        environment = EngineEnvironment("yara", {f"YARA_{variable}": "~/vendor"})
        assert environment.locate(variable) == tmp_path / "vendor"
        assert environment.get(variable) == "~/vendor"

    def test_only_a_leading_tilde_is_a_home(self):
        assert EngineEnvironment("yara", {"YARA_PATH": "/opt/~/x"}).path == Path("/opt/~/x")

    def test_a_home_that_nobody_knows(self):
        with pytest.raises(PsengineError) as caught:
            _ = EngineEnvironment("yara", {"YARA_SDK_HOME": "~no-such-user/sdk"}).sdk_home
        assert (
            str(caught.value) == "YARA_SDK_HOME: no home directory is known for ~no-such-user; write an absolute path"
        )

    @pytest.mark.parametrize("value", ["/opt/x\n", "/opt/x\r", "/opt\0/x", "\n"])
    @pytest.mark.parametrize("variable", VARIABLES)
    def test_no_path_has_a_line_end_or_a_nul(self, variable, value):
        environment = EngineEnvironment("yara", {f"YARA_{variable}": value})
        with pytest.raises(PsengineError) as caught:
            getattr(environment, variable.lower())
        assert str(caught.value) == f"YARA_{variable}: {value!r} is no path: it has a line end or a NUL in it"

    def test_a_relative_one_where_the_working_directory_is_gone(self, tmp_path, monkeypatch):
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        environment = EngineEnvironment("yara", {"YARA_PATH": "bin", "YARA_SDK_HOME": "/opt/sdk"})
        assert environment.sdk_home == Path("/opt/sdk")
        with pytest.raises(PsengineError) as caught:
            _ = environment.path
        assert str(caught.value) == (
            "YARA_PATH: bin counts from the working directory, which has been removed; write an absolute path"
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

    def test_a_relative_one_makes_no_directory(self, bases):
        environment = EngineEnvironment("yara", {"YARA_SCANNER": "scan"})
        assert environment.scanner == bases / "XDG_DATA_HOME" / "psengine" / "engines" / "yara" / "bin" / "scan"
        assert list((bases / "XDG_DATA_HOME").iterdir()) == []

    def test_a_tilde_is_the_home_of_the_user(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/swarm")
        assert EngineEnvironment("yara", {"YARA_SCANNER": "~/scan"}).scanner == Path("/home/swarm/scan")

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


def warnings_in(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def given_away(path: Path, user: int = 65534) -> Path:
    """Make a file somebody else's."""
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to somebody else")
    os.chown(path, user, user, follow_symlinks=False)
    return path


class TestRuntimeDir:
    @pytest.fixture
    def private(self, tmp_path) -> Path:
        folder = tmp_path / "run"
        folder.mkdir(mode=0o700)
        return folder

    def environment(self, folder: Path) -> EngineEnvironment:
        return EngineEnvironment("nano-av", {"NANO_AV_RUNTIME_DIR": str(folder)})

    def test_a_private_one_on_a_local_disk_is_taken_without_a_word_and_left_empty(self, private, caplog):
        assert self.environment(private).runtime_dir == private
        assert list(private.iterdir()) == []
        assert warnings_in(caplog) == []

    @pytest.mark.parametrize("open_to", [0o755, 0o750, 0o701, 0o720, 0o1777])
    def test_one_that_is_open_to_others_is_refused(self, private, open_to):
        private.chmod(open_to)
        with pytest.raises(PsengineError) as caught:
            _ = self.environment(private).runtime_dir
        assert str(caught.value) == (
            f"NANO_AV_RUNTIME_DIR: {private} is open to others (mode {open_to:04o}); close it: chmod 700 {private}"
        )

    def test_what_the_message_says_mends_it(self, private):
        private.chmod(0o755)
        environment = self.environment(private)
        with pytest.raises(PsengineError) as caught:
            _ = environment.runtime_dir
        assert os.system(str(caught.value).partition("close it: ")[2]) == 0
        assert environment.runtime_dir == private

    def test_one_that_its_owner_cannot_use_is_refused(self, private):
        private.chmod(0o500)
        with pytest.raises(PsengineError, match=r"run cannot be used by its owner \(mode 0500\); open it: chmod 700 /"):
            _ = self.environment(private).runtime_dir

    def test_one_that_is_not_there_is_refused_and_the_command_makes_it(self, tmp_path):
        missing = tmp_path / "not here"
        environment = self.environment(missing)
        with pytest.raises(PsengineError) as caught:
            _ = environment.runtime_dir
        assert str(caught.value) == (
            f"NANO_AV_RUNTIME_DIR: {missing} does not exist; make it: mkdir -m 700 '{missing}'"
        )
        assert os.system(str(caught.value).partition("make it: ")[2]) == 0
        assert environment.runtime_dir == missing

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").touch(mode=0o700)
        with pytest.raises(PsengineError, match=r"file is not a directory; use a folder of mode 0700$"):
            _ = self.environment(tmp_path / "file").runtime_dir

    def test_one_that_belongs_to_somebody_else_is_refused(self, private):
        given_away(private)
        with pytest.raises(PsengineError) as caught:
            _ = self.environment(private).runtime_dir
        assert str(caught.value) == (
            f"NANO_AV_RUNTIME_DIR: {private} belongs to user 65534, not to user 0, who runs this; "
            "use a folder of that user"
        )

    def test_a_link_to_a_private_one_is_taken(self, tmp_path, private):
        (tmp_path / "link").symlink_to(private)
        assert self.environment(tmp_path / "link").runtime_dir == tmp_path / "link"

    def test_a_link_to_somebody_else_s_is_refused(self, tmp_path, private):
        (tmp_path / "link").symlink_to(given_away(private))
        with pytest.raises(PsengineError, match="link belongs to user 65534, not to user 0"):
            _ = self.environment(tmp_path / "link").runtime_dir

    def test_somebody_else_s_link_is_refused(self, tmp_path, private):
        (tmp_path / "link").symlink_to(private)
        given_away(tmp_path / "link")
        with pytest.raises(
            PsengineError, match=r"link is a link that belongs to user 65534; use a folder of mode 0700$"
        ):
            _ = self.environment(tmp_path / "link").runtime_dir

    def test_a_link_to_nothing_is_refused(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(PsengineError, match="link does not exist"):
            _ = self.environment(tmp_path / "link").runtime_dir

    def test_the_default_is_checked_too(self, bases):
        folder = EngineEnvironment("yara", {}).runtime_dir
        folder.chmod(0o711)
        with pytest.raises(PsengineError) as caught:
            _ = EngineEnvironment("yara", {}).runtime_dir
        assert str(caught.value) == (
            f"YARA_RUNTIME_DIR: {folder} is open to others (mode 0711); close it: chmod 700 {folder}; "
            "or set YARA_RUNTIME_DIR to a folder of the engine"
        )

    def test_it_is_tried_out_once_and_its_mode_looked_at_always(self, private):
        environment = self.environment(private)
        assert environment.runtime_dir == private
        before = private.stat().st_mtime_ns
        assert all(environment.runtime_dir == private for _ in range(100))
        assert private.stat().st_mtime_ns == before, "a trial was made again"
        private.chmod(0o755)
        with pytest.raises(PsengineError, match="is open to others"):
            _ = environment.runtime_dir

    def test_one_that_is_not_fit_is_taken_with_one_warning(self, private, caplog, monkeypatch):
        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "symlink", refuse)  # what a FAT file system answers
        environment = self.environment(private)
        assert [environment.runtime_dir, environment.runtime_dir] == [private, private]
        [warning] = warnings_in(caplog)
        assert warning == (
            f"NANO_AV_RUNTIME_DIR: {private} is not fit for sockets and pipes, it lacks: "
            "symbolic links (Operation not permitted); use a local file system"
        )

    def test_a_stand_in_among_temporary_files_is_taken_with_one_warning(self, tmp_path, monkeypatch, caplog):
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        stand_in = tmp_path / f"runtime-{os.geteuid()}"  # what platformdirs says without /run/user/UID
        monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda name: str(stand_in / name))
        environment = EngineEnvironment("yara", {})
        assert environment.runtime_dir == environment.runtime_dir == stand_in / "psengine" / "engines" / "yara"
        [warning] = warnings_in(caplog)
        assert warning == (
            f"YARA_RUNTIME_DIR: {stand_in}/psengine/engines/yara stands in for a better folder, since YARA_RUNTIME_DIR "
            "is not set and neither is XDG_RUNTIME_DIR; set YARA_RUNTIME_DIR, or XDG_RUNTIME_DIR for all engines, "
            "to a local folder of mode 0700"
        )

    def test_a_runtime_folder_for_all_engines_is_made_and_not_warned_of(self, tmp_path, monkeypatch, caplog):
        """What the documentation advises where nobody logs in."""
        home = tmp_path / "run"
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
        for engine in ("yara", "nano-av"):
            folder = EngineEnvironment(engine, {}).runtime_dir
            assert folder == home / "psengine" / "engines" / engine
            assert {stat.S_IMODE(place.stat().st_mode) for place in (home, home / "psengine", folder)} == {0o700}
        assert warnings_in(caplog) == []

    def test_an_xdg_runtime_dir_that_is_passed_over_is_named(self, tmp_path, monkeypatch, caplog):
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(theirs))
        monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda name: str(tmp_path / "runtime" / name))
        assert EngineEnvironment("yara", {}).runtime_dir.is_relative_to(tmp_path / "runtime")
        [warning] = warnings_in(caplog)
        assert (
            f"YARA_RUNTIME_DIR is not set and XDG_RUNTIME_DIR={theirs} is not a private folder of this user" in warning
        )

    def test_a_socket_can_be_made_in_it(self, private):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(self.environment(private).runtime_dir / "s"))  # short: 107 bytes at most
            server.listen()


class TestSecretsHome:
    @pytest.fixture
    def private(self, tmp_path) -> Path:
        folder = tmp_path / "secrets"
        folder.mkdir(mode=0o700)
        (folder / "licence.key").write_bytes(b"opensesame\n\xff")
        (folder / "licence.key").chmod(0o600)
        return folder

    @pytest.fixture
    def environment(self, private) -> EngineEnvironment:
        return EngineEnvironment("nano-av", {"NANO_AV_SECRETS_HOME": str(private)})

    def test_a_private_one_is_taken_without_a_word(self, environment, private, caplog):
        assert environment.secrets_home == private
        assert warnings_in(caplog) == []

    @pytest.mark.parametrize("open_to", [0o755, 0o704, 0o701, 0o702, 0o1777])
    def test_one_that_is_open_to_all_is_refused(self, environment, private, open_to):
        private.chmod(open_to)
        with pytest.raises(PsengineError) as caught:
            _ = environment.secrets_home
        assert str(caught.value) == (
            f"NANO_AV_SECRETS_HOME: {private} is open to all users (mode {open_to:04o}); close it: chmod 700 {private}"
        )
        assert os.system(str(caught.value).partition("close it: ")[2]) == 0
        assert environment.secrets_home == private

    def test_one_that_is_opened_later_is_refused_then(self, environment, private):
        assert environment.secrets_home == private
        private.chmod(0o755)
        with pytest.raises(PsengineError, match="is open to all users"):
            _ = environment.secrets_home

    def test_one_that_is_open_to_its_group_is_taken_with_one_warning(self, environment, private, caplog):
        private.chmod(0o750)
        assert environment.secrets_home == environment.secrets_home == private
        [warning] = warnings_in(caplog)
        assert warning == (
            f"NANO_AV_SECRETS_HOME: {private} is open to group {private.stat().st_gid} (mode 0750); "
            f"if that is not meant: chmod 700 {private}"
        )

    def test_one_that_belongs_to_somebody_else_is_refused(self, environment, private):
        given_away(private)
        with pytest.raises(PsengineError) as caught:
            _ = environment.secrets_home
        assert str(caught.value) == (
            f"NANO_AV_SECRETS_HOME: {private} belongs to user 65534, neither to user 0, who runs this, nor to root"
        )

    def test_the_default_is_checked_too(self, bases):
        folder = EngineEnvironment("yara", {}).secrets_home
        folder.chmod(0o755)
        with pytest.raises(PsengineError, match="; or set YARA_SECRETS_HOME to a folder of the engine"):
            _ = EngineEnvironment("yara", {}).secrets_home

    def test_a_secret_is_read_as_it_is(self, environment):
        assert environment.secret("licence.key") == b"opensesame\n\xff"

    def test_one_in_a_folder_and_one_behind_a_link(self, environment, private):
        (private / "..data").mkdir()
        (private / "..data" / "key").write_bytes(b"k")
        (private / "..data" / "key").chmod(0o640)
        (private / "key").symlink_to("..data/key")  # as container platforms mount secrets
        assert environment.secret("..data/key") == environment.secret("key") == b"k"

    @pytest.mark.parametrize("name", ["", "..", "../x", "a/../../x", "/etc/passwd", "licence.key\0.txt"])
    def test_no_name_leads_out_of_the_folder(self, environment, private, name):
        with pytest.raises(PsengineError) as caught:
            environment.secret(name)
        assert str(caught.value) == f"{name!r} names no secret: write a path from {private}"

    def test_no_link_leads_out_of_the_folder(self, environment, private):
        (private.parent / "outside").write_bytes(b"x")
        (private.parent / "outside").chmod(0o600)
        (private / "link").symlink_to("../outside")
        with pytest.raises(PsengineError) as caught:
            environment.secret("link")
        assert str(caught.value) == f"{private}/link is a link out of the folder of secrets; put the file itself there"

    @pytest.mark.parametrize("open_to", [0o604, 0o644, 0o666, 0o602])
    def test_one_that_all_can_read_is_refused(self, environment, private, open_to):
        (private / "licence.key").chmod(open_to)
        with pytest.raises(PsengineError) as caught:
            environment.secret("licence.key")
        assert str(caught.value) == (
            f"{private}/licence.key can be read or written by all users (mode {open_to:04o}); "
            f"close it: chmod 600 {private}/licence.key"
        )
        assert os.system(str(caught.value).partition("close it: ")[2]) == 0
        assert environment.secret("licence.key").startswith(b"open")

    def test_a_file_that_belongs_to_somebody_else_is_refused(self, environment, private):
        given_away(private / "licence.key")
        with pytest.raises(
            PsengineError, match=r"licence.key belongs to user 65534, neither to user 0, who runs this, "
        ):
            environment.secret("licence.key")

    @pytest.mark.parametrize(
        ("what", "message"),
        [
            (
                "nothing",
                (
                    "NANO_AV_SECRETS_HOME: {path.parent} has no it; put it there, with mode 0600, "
                    "or set NANO_AV_SECRETS_HOME to the folder that has it"
                ),
            ),
            (
                "link to nothing",
                (
                    "NANO_AV_SECRETS_HOME: it in {path.parent} is a link to what is not there; "
                    "put the file itself there, with mode 0600"
                ),
            ),
            ("loop", "cannot read the secret {path}: Too many levels of symbolic links"),
            ("folder", "cannot read the secret {path}: Is a directory"),
            ("pipe", "{path} is no file"),
            ("huge", "{path} is larger than 16777216 bytes, the most that a secret may have"),
        ],
    )
    def test_what_is_no_secret(self, environment, private, what, message):
        path = private / "it"
        if what == "loop":
            path.symlink_to("it")
        elif what == "link to nothing":
            path.symlink_to("missing")
        elif what == "folder":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path, 0o600)
        elif what == "huge":
            path.touch(mode=0o600)
            os.truncate(path, (16 << 20) + 1)
        with pytest.raises(PsengineError) as caught:
            environment.secret("it")
        assert str(caught.value) == message.format(path=path)

    def test_a_folder_that_is_missing(self, tmp_path):
        missing = tmp_path / "the vendor's"
        environment = EngineEnvironment("nano-av", {"NANO_AV_SECRETS_HOME": str(missing)})
        with pytest.raises(PsengineError) as caught:
            environment.secret("licence.key")
        make = f"mkdir -m 700 {shlex.quote(str(missing))}"
        assert str(caught.value) == (
            f"NANO_AV_SECRETS_HOME: {missing} does not exist; make it ({make}) with licence.key in it, "
            "or set NANO_AV_SECRETS_HOME to the folder that has licence.key"
        )
        assert os.system(make) == 0
        with pytest.raises(PsengineError, match=r"the vendor's has no licence\.key; put it there, with mode 0600, or"):
            environment.secret("licence.key")

    def test_none_is_read_from_a_folder_that_is_refused(self, environment, private):
        private.chmod(0o755)
        with pytest.raises(PsengineError, match="is open to all users"):
            environment.secret("licence.key")


class TestPlaces:
    def test_all_are_listed_in_order_and_none_is_made(self, bases):
        places = EngineEnvironment("nano-av", {}).places()
        assert [place.variable for place in places] == [f"NANO_AV_{name}" for name in VARIABLES]
        assert {place.origin for place in places[:8]} == {"default"}
        assert not any(place.exists for place in places)
        assert {place.problems for place in places} == {()}
        assert places[-2:] == (
            Place("NANO_AV_SCANNER", None, "unset", False),
            Place("NANO_AV_UPDATER", None, "unset", False),
        )
        assert [list(base.iterdir()) for base in bases.iterdir()] == [[]] * 5

    def test_those_that_are_there(self, tmp_path):
        folder = tmp_path / "x"
        folder.mkdir(mode=0o700)
        environ = {f"YARA_{name}": str(folder) for name in DIRECTORIES} | {"YARA_SCANNER": sys.executable}
        places = EngineEnvironment("yara", environ).places()
        assert places[:8] == tuple(Place(f"YARA_{name}", folder, "set", True) for name in DIRECTORIES)
        assert places[8] == Place("YARA_SCANNER", Path(sys.executable), "set", True)
        assert list(folder.iterdir()) == []

    def test_what_is_wrong_is_said_and_nothing_raised(self, tmp_path, monkeypatch):
        for mode_of, name in ((0o755, "run"), (0o705, "secrets"), (0o755, "vendor")):
            (tmp_path / name).mkdir()
            (tmp_path / name).chmod(mode_of)
        (tmp_path / "file").touch()
        environ = {
            "YARA_PATH": "a\nb",
            "YARA_SDK_HOME": str(tmp_path / "missing"),
            "YARA_SECRETS_HOME": str(tmp_path / "secrets"),
            "YARA_DATA_HOME": str(tmp_path / "file"),
            "YARA_RUNTIME_DIR": str(tmp_path / "run"),
            "YARA_SCANNER": "scan",
            "YARA_UPDATER": str(tmp_path / "vendor"),
        }
        environment = EngineEnvironment("yara", environ)
        problems = {place.variable: (place.exists, place.problems) for place in environment.places() if place.problems}
        line_end = "'a\\nb' is no path: it has a line end or a NUL in it"
        assert problems == {
            "YARA_PATH": (False, (line_end,)),
            "YARA_SDK_HOME": (False, ("does not exist",)),
            "YARA_SECRETS_HOME": (
                True,
                (f"is open to all users (mode 0705); close it: chmod 700 {tmp_path}/secrets",),
            ),
            "YARA_DATA_HOME": (True, ("is not a directory",)),
            "YARA_RUNTIME_DIR": (True, (f"is open to others (mode 0755); close it: chmod 700 {tmp_path}/run",)),
            "YARA_SCANNER": (False, (f"YARA_PATH: {line_end}",)),
            "YARA_UPDATER": (True, ("is a directory, not a program",)),
        }

    def test_a_stand_in_is_named_before_it_is_made(self, tmp_path, monkeypatch):
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        stand_in = tmp_path / f"runtime-{os.geteuid()}"
        monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda name: str(stand_in / name))
        place = EngineEnvironment("yara", {}).places()[7]
        assert not place.exists
        assert place.problems[0].startswith(
            "stands in for a better folder, since YARA_RUNTIME_DIR is not set and neither"
        )
        assert not stand_in.exists()
