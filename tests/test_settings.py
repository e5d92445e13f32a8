import os
import subprocess
import sys
from textwrap import dedent

import msgspec
import pytest

from psengine_host.bids import BidPolicy
from psengine_host.errors import SettingsError
from psengine_host.settings import BidSettings, HostSettings, NetworkSettings, Settings, config_path

FULL = """
enabled_engines = ["yara", "eicar"]
disabled_engines = ["nano-av"]

[host]
timeout = 30
observer_timeout = 0.5

[bids]
policy = "median"

[network]
allow = ["127.0.0.1", "10.0.0.0/8"]
max_artifact_size = 1_000_000

[engines.yara]
rules = ["/etc/rules"]
[engines.yara.deep]
answer = 42
"""

DURATION = "write a number of seconds, or such as '250ms', '30s' or '1h 30m'"
SIZE = "write a number of bytes, or such as '100 MB' or '1.5 GiB'"
FINITE = "it must be 0 seconds or more, and finite"


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "psengine.toml"
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return path

    return write


def refusal(config, environ=None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.read(config, environ={} if environ is None else environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{config}: ")


class TestWhereTheyComeFrom:
    def test_the_defaults(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        settings = Settings.read(environ={})
        assert settings == Settings()
        assert settings.host == HostSettings(timeout=60.0, observer_timeout=5.0)
        assert settings.bids == BidSettings(policy=BidPolicy.CONFIDENCE)
        assert settings.network == NetworkSettings(allow=(), max_artifact_size=100_000_000)
        assert (settings.engines, settings.enabled_engines, settings.disabled_engines) == ({}, None, frozenset())

    def test_a_whole_file(self, written):
        assert Settings.read(written(FULL), environ={}) == Settings(
            host=HostSettings(timeout=30, observer_timeout=0.5),
            bids=BidSettings(policy=BidPolicy.MEDIAN),
            network=NetworkSettings(allow=("127.0.0.1", "10.0.0.0/8"), max_artifact_size=1_000_000),
            engines={"yara": {"rules": ["/etc/rules"], "deep": {"answer": 42}}},
            enabled_engines=frozenset({"yara", "eicar"}),
            disabled_engines=frozenset({"nano-av"}),
        )

    def test_an_empty_file_is_the_defaults(self, written):
        assert Settings.read(written(""), environ={}) == Settings()

    def test_the_user_s_own_file_is_found(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        assert config_path() == tmp_path / "psengine" / "psengine.toml"
        config_path().parent.mkdir()
        config_path().write_text("[host]\ntimeout = 7\n")
        assert Settings.read(environ={}).host.timeout == 7

    def test_a_variable_names_another_file_and_an_argument_wins(self, tmp_path):
        for name, timeout in {"a": 1, "b": 2}.items():
            (tmp_path / name).write_text(f"[host]\ntimeout = {timeout}\n")
        environ = {"PSENGINE_CONFIG": str(tmp_path / "a")}
        assert Settings.read(environ=environ).host.timeout == 1
        assert Settings.read(tmp_path / "b", environ=environ).host.timeout == 2
        assert Settings.read(os.fspath(tmp_path / "b"), environ=environ).host.timeout == 2

    def test_the_environment_wins_over_the_file(self, written):
        environ = {
            "PSENGINE_ENGINES": "eicar, nano-av,,",
            "PSENGINE_DISABLED_ENGINES": "yara",
            "PSENGINE_NETWORK_ALLOW": " 192.168.0.0/16 ,::1",
        }
        settings = Settings.read(written(FULL), environ=environ)
        assert settings.enabled_engines == {"eicar", "nano-av"}
        assert settings.disabled_engines == {"yara"}
        assert settings.network == NetworkSettings(allow=("192.168.0.0/16", "::1"), max_artifact_size=1_000_000)

    @pytest.mark.parametrize("value", ["", " ", " , "])
    def test_an_empty_list_of_engines_in_the_environment_says_nothing(self, written, value):
        environ = {"PSENGINE_ENGINES": value, "PSENGINE_DISABLED_ENGINES": value}
        assert Settings.read(written(FULL), environ=environ) == Settings.read(written(FULL), environ={})

    def test_the_process_s_own_environment_is_read_by_default(self, written, monkeypatch):
        monkeypatch.setenv("PSENGINE_ENGINES", "eicar")
        assert Settings.read(written("")).enabled_engines == {"eicar"}

    @pytest.mark.parametrize(
        ("enabled", "disabled", "used"),
        [
            (None, [], ["eicar", "yara"]),
            (["yara"], [], ["yara"]),
            (None, ["yara"], ["eicar"]),
            (["yara", "eicar"], ["yara"], ["eicar"]),
            (["yara"], ["yara"], []),
        ],
    )
    def test_which_engines_are_used(self, enabled, disabled, used):
        settings = Settings(
            enabled_engines=None if enabled is None else frozenset(enabled), disabled_engines=frozenset(disabled)
        )
        assert [name for name in ("eicar", "yara") if settings.uses(name)] == used

    def test_reading_without_a_file_needs_neither_toml_nor_the_network(self, tmp_path):
        script = (
            "import sys; from psengine_host.settings import Settings; Settings.read();"
            "print([m for m in ('tomllib', 'aiohttp', 'psengine_host.network.guard') if m in sys.modules])"
        )
        environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ)
        assert run.stdout == "[]\n"


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[netwrok]", "netwrok: no such setting; did you mean 'network'?"),
            ("timeout = 5", "timeout: no such setting; did you mean 'host.timeout'?"),
            ("[host]\ntimeuot = 5", "host.timeuot: no such setting; did you mean 'timeout'?"),
            ("[host]\nxyz = 5", "host.xyz: no such setting"),
            ("[bids]\npolcy = 'median'", "bids.polcy: no such setting; did you mean 'policy'?"),
            ("[network]\nallowed = []", "network.allowed: no such setting; did you mean 'allow'?"),
            ("[host]\nmax_size = 5", "host.max_size: no such setting; did you mean 'spool.max_size'?"),
            ("[engine.yara]", "engine: no such setting; did you mean 'engines'?"),
            ("[host]\ntimeout = '5 parsecs'", f"host.timeout: '5 parsecs' is no duration; {DURATION}"),
            ("[host]\ntimeout = true", f"host.timeout: True is no duration; {DURATION}"),
            ("[host]\ntimeout = 2026-11-25", f"host.timeout: datetime.date(2026, 11, 25) is no duration; {DURATION}"),
            ("host = 5", "host: must be a table, got a number"),
            ("webhook = 'hunter2'", "webhook: must be a table, got a text"),
            ("[[celery]]", "celery: must be a table, got a list"),
            ("log = true", "log: must be a table, got true or false"),
            ("spool = 2026-11-25", "spool: must be a table, got a date"),
            ("[bids]\npolicy = 'all'", "bids.policy: must be one of confidence, minimum, median, maximum, got 'all'"),
            ("[bids]\npolicy = 5", "bids.policy: must be one of confidence, minimum, median, maximum, got 5"),
            ("[network]\nallow = '::1'", "network.allow: must be a list of texts, got '::1'"),
            ("[network]\nallow = [5]", "network.allow: must be a list of texts, and one is 5"),
            ("[network]\nmax_artifact_size = 1.5", f"network.max_artifact_size: 1.5 is no size; {SIZE}"),
            ("enabled_engines = 'yara'", "enabled_engines: must be a list of texts, got 'yara'"),
            ("[engines]\nyara = 5", "engines.yara: must be a table, got a number"),
            ("[engines.eicar]\n[[engines.yara]]", "engines.yara: must be a table, got a list"),
            ("[host]\ntimeout = 0", "host.timeout: must be more than 0 and at most 86400 seconds, got 0"),
            ("[host]\ntimeout = -1.5", f"host.timeout: -1.5 is no duration: {FINITE}"),
            ("[host]\ntimeout = nan", f"host.timeout: nan is no duration: {FINITE}"),
            ("[host]\ntimeout = inf", f"host.timeout: inf is no duration: {FINITE}"),
            ("[host]\ntimeout = 86401", "host.timeout: must be more than 0 and at most 86400 seconds, got 86401"),
            (
                "[host]\nobserver_timeout = 3601",
                "host.observer_timeout: must be more than 0 and at most 3600 seconds, got 3601",
            ),
            (
                "[network]\nmax_artifact_size = -1",
                "network.max_artifact_size: -1 is no size: it is negative",
            ),
        ],
    )
    def test_with_file_key_and_value(self, written, text, message):
        assert refusal(written(text)) == message

    def test_an_address_that_is_none(self, written):
        assert refusal(written("[network]\nallow = ['10.0.0.0/99']")).startswith("network.allow")

    def test_one_in_the_environment_is_blamed_on_the_variable(self, written):
        path = written("")
        message = refusal(path, {"PSENGINE_NETWORK_ALLOW": "10.0.0.0/99"})
        assert message.startswith("PSENGINE_NETWORK_ALLOW: network.allow")
        assert "10.0.0.0/99" in message

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"[host]\ntimeout = \xff", "is not UTF-8 (byte 17)"),
            ("[host]".encode("utf-16"), "is not UTF-8 (byte 0)"),
            (b"[host", "Expected ']' at the end of a table declaration (at end of document)"),
            (b"timeout 5", "Expected '=' after a key in a key/value pair (at line 1, column 9)"),
        ],
    )
    def test_what_is_no_toml(self, written, raw, message):
        assert refusal(written(raw)) == message

    def test_what_is_nested_100000_deep(self, written):
        assert refusal(written(b"a = " + b"[" * 100_000))

    def test_a_named_file_that_is_not_there(self, tmp_path):
        path = tmp_path / "missing.toml"
        expected = "no such file; name another with --config or PSENGINE_CONFIG"
        assert refusal(path) == expected
        with pytest.raises(SettingsError) as caught:
            Settings.read(environ={"PSENGINE_CONFIG": str(path)})
        assert str(caught.value) == f"{path}: {expected}"

    def test_a_folder_in_the_place_of_the_file(self, tmp_path):
        assert refusal(tmp_path) == "is a directory"

    def test_a_name_that_no_file_can_have(self):
        assert refusal("a\x00b") == "'a\\x00b': embedded null byte"

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: HostSettings(timeout=0), "host.timeout: must be more than 0 and at most 86400 seconds, got 0"),
            (lambda: HostSettings(timeout="5"), "host.timeout: must be more than 0 and at most 86400 seconds, got '5'"),
            (
                lambda: HostSettings(observer_timeout=True),
                "host.observer_timeout: must be more than 0 and at most 3600 seconds, got True",
            ),
            (
                lambda: NetworkSettings(max_artifact_size=1e6),
                "network.max_artifact_size: must be a number of bytes, 0 or more and at most 1 PiB, got 1000000.0",
            ),
        ],
    )
    def test_settings_made_in_python_are_checked_too(self, make, message):
        with pytest.raises(SettingsError) as caught:
            make()
        assert str(caught.value) == message

    def test_they_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            Settings().host = HostSettings()


def test_a_changed_copy_is_checked_again():
    settings = msgspec.structs.replace(Settings(), host=msgspec.structs.replace(HostSettings(), timeout=5))
    assert settings.host == HostSettings(timeout=5)
    with pytest.raises(SettingsError):
        msgspec.structs.replace(HostSettings(), timeout=-5)
