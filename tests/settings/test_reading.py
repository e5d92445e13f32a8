import os
import subprocess
import sys
import traceback
from textwrap import dedent

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.bids import BidPolicy
from psengine_host.errors import SettingsError
from psengine_host.settings import (
    BidSettings,
    HostSettings,
    LogSettings,
    NetworkSettings,
    Origin,
    Secret,
    Settings,
    WebhookSettings,
    WorkerSettings,
    config_path,
)
from psengine_host.settings.reading import examine
from psengine_host.settings.sections import KINDS, SECTIONS
from psengine_host.settings.variables import VARIABLES

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
LEVELS = "log.level: must be one of debug, info, warning, error, critical, or a number from 0 to 999999999, got -1"
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
            "print([m for m in ('tomllib', 'aiohttp', 'logging', 'difflib', 'psengine_host.quantities',"
            "'psengine_host.network.guard') if m in sys.modules])"
        )
        environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ)
        assert run.stdout == "[]\n"

    def test_options_are_the_last_layer(self, written):
        environ = {"PSENGINE_HOST_TIMEOUT": "20s", "PSENGINE_BIDS_POLICY": "maximum"}
        options = {
            "host.timeout": 5.0,
            "network.allow": "::1, 10.0.0.0/8",
            "spool.max_size": "1 MB",
            "network.tries": 2,
        }
        settings = Settings.read(written(FULL), environ=environ, options=options)
        assert settings.host.timeout == 5
        assert settings.network.allow == ("::1", "10.0.0.0/8")
        assert settings.spool.max_size == 1_000_000
        assert settings.network.tries == 2
        assert settings.bids.policy is BidPolicy.MAXIMUM

    def test_an_option_that_was_not_given_says_nothing(self, written):
        assert Settings.read(written(FULL), environ={}, options={"host.timeout": None}).host.timeout == 30

    def test_each_value_is_known_by_its_origin(self, written):
        path = written(FULL)
        settings, origins = Settings.read_with_origins(
            path, environ={"PSENGINE_BIDS_POLICY": "maximum"}, options={"host.timeout": 5.0}
        )
        assert settings == Settings.read(path, environ={"PSENGINE_BIDS_POLICY": "maximum"}, options={"host.timeout": 5})
        assert origins["host.timeout"] == Origin("option", "host.timeout")
        assert origins["bids.policy"] == Origin("environment", "PSENGINE_BIDS_POLICY")
        assert origins["host.observer_timeout"] == origins["engines.yara"] == Origin("file", str(path))
        assert origins["spool.max_size"] == Origin("default")
        assert set(origins) == {*KINDS, "engines.yara"}
        assert [str(origins[key]) for key in ("host.timeout", "bids.policy", "enabled_engines", "log.level")] == [
            "option host.timeout",
            "PSENGINE_BIDS_POLICY",
            str(path),
            "default",
        ]

    def test_of_secret_and_secret_file_the_last_that_is_said_counts(self, written, tmp_path):
        in_file = {"secret": "secret = 'a'", "secret_file": "secret_file = '/a'"}
        for said, other in (("secret", "secret_file"), ("secret_file", "secret")):
            path = written(f"[webhook]\n{in_file[said]}\n")
            settings, origins = Settings.read_with_origins(path, environ={f"PSENGINE_WEBHOOK_{other.upper()}": "/b"})
            assert getattr(settings.webhook, other) in ("/b", Secret("/b"))
            assert getattr(settings.webhook, said) is None
            assert str(origins[f"webhook.{said}"]) == "default"
        both = {"PSENGINE_WEBHOOK_SECRET": "b", "PSENGINE_WEBHOOK_SECRET_FILE": "/b"}
        message = "webhook.secret: cannot be set beside webhook.secret_file; choose one"
        assert refusal(written(""), both) == f"PSENGINE_WEBHOOK_SECRET: {message}"
        assert refusal(written("\n".join(["[webhook]", *in_file.values()]))) == message
        with pytest.raises(SettingsError, match=message):
            WebhookSettings(secret=Secret("b"), secret_file="/b")


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[netwrok]", "netwrok: no such setting; did you mean 'network'?"),
            ("timeout = 5", "timeout: no such setting; did you mean 'host.timeout'?"),
            ("[host]\ntimeuot = 5", "host.timeuot: no such setting; did you mean 'timeout'?"),
            ("[host]\nxyz = 5", "host.xyz: no such setting"),
            ('"" = 5', '"": no such setting'),
            ("[bids]\npolcy = 'median'", "bids.polcy: no such setting; did you mean 'policy'?"),
            ("[network]\nallowed = []", "network.allowed: no such setting; did you mean 'allow'?"),
            ("[network]\nproxy = ''", "network.proxy: no such setting; did you mean 'proxy_from_environment'?"),
            ("[host]\nproxy = ''", "host.proxy: no such setting; did you mean 'network.proxy_from_environment'?"),
            (
                "[network]\nmax = 5",
                "network.max: no such setting; did you mean 'max_artifact_size' or 'max_redirects'?",
            ),
            ("[network]\npr = 5", "network.pr: no such setting"),
            ("[network]\nprox = 5", "network.prox: no such setting"),
            ("[bids]\nmax_size = 5", "bids.max_size: no such setting; did you mean 'spool.max_size'?"),
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

    def test_each_entry_of_a_list_that_cannot_be_is_a_mistake(self, written):
        expected = "must be a host, an address or a network, such as store.internal, 10.1.2.3:9000 or 10.1.0.0/16, got"
        entries = "'http://127.0.0.1:8765/', '::1', 5, '10.1.2.3/16', '300.1.1.1'"
        path = written(f"enabled_engines = ['a', 1, true]\n[network]\nallow = [{entries}]\n")
        assert [(problem.key, problem.reason) for problem in examine(path, {}).problems] == [
            ("enabled_engines", "must be a list of texts, and one is 1"),
            ("enabled_engines", "must be a list of texts, and one is True"),
            ("network.allow", "must be a list of texts, and one is 5"),
            ("network.allow", f"{expected} 'http://127.0.0.1:8765/'"),
            ("network.allow", "has bits set beyond its prefix; write 10.1.0.0/16, got '10.1.2.3/16'"),
            ("network.allow", f"{expected} '300.1.1.1'"),
        ]
        told = examine(written(""), {"PSENGINE_NETWORK_ALLOW": "a b,::1,c d"}).problems
        assert [str(problem) for problem in told] == [
            f"PSENGINE_NETWORK_ALLOW: network.allow: {expected} '{entry}'" for entry in ("a b", "c d")
        ]

    def test_of_several_mistakes_the_first_and_how_many_more(self, written):
        path = written("[host]\ntimeuot = 5\nclose_timeout = 0\n[bids]\npolicy = 1\n")
        message = refusal(path, {"PSENGINE_NETWORK_TRIES": "0"})
        assert message == (
            "host.timeuot: no such setting; did you mean 'timeout'? (and 3 more; 'psengine config check' tells all)"
        )
        problems = examine(path, environ={"PSENGINE_NETWORK_TRIES": "0"}, options={"host.timout": 1}).problems
        assert [str(problem).removeprefix(f"{path}: ") for problem in problems] == [
            "host.timeuot: no such setting; did you mean 'timeout'?",
            "host.close_timeout: must be more than 0 and at most 86400 seconds, got 0",
            "bids.policy: must be one of confidence, minimum, median, maximum, got 1",
            "PSENGINE_NETWORK_TRIES: network.tries: must be a whole number from 1 to 100, got 0",
            "option host.timout: no such setting; did you mean 'host.timeout'?",
        ]

    def test_what_a_higher_layer_overrides_must_be_right_all_the_same(self, written):
        message = refusal(written("host.timeout = 0"), {"PSENGINE_HOST_TIMEOUT": "5"})
        assert message == "host.timeout: must be more than 0 and at most 86400 seconds, got 0"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"host.timeout": 0.0}, "host.timeout: must be more than 0 and at most 86400 seconds, got 0.0"),
            ({"host.timeout": float("nan")}, f"host.timeout: nan is no duration: {FINITE}"),
            ({"xyz": {}}, "xyz: no such setting"),
            ({"webhook.secret": 5}, "webhook.secret: must be a text that is not empty"),
        ],
    )
    def test_an_option_is_blamed_by_its_setting(self, written, options, message):
        with pytest.raises(SettingsError) as caught:
            Settings.read(written(""), environ={}, options=options)
        assert str(caught.value) == f"option {message}"

    @pytest.mark.parametrize(
        ("text", "environ"),
        [
            ("[webhook]\nsecret = ['hunter2']", {}),
            ("[webhook]\nsecret = 'hunter2", {}),
            ("[webhook]\nsecret = hunter2", {}),
            ("webhook = 'hunter2'", {}),
            ("[[webhook]]\nsecret = 'hunter2'", {}),
            ("[webhook]\nsecert = 'hunter2'", {}),
            ("[webhook]\nsecret = 'hunter2'\nsecret_file = '/x'", {}),
            ("[celery]\nbroker_url = 'http://user:hunter2@host'", {}),
            ("[celery]\nbroker_url = 'amqp://user:pass@host:hunter2'", {}),
            ("[celery]\nbroker_url = ['hunter2']", {}),
            ("[engines]\nnano-av = 'hunter2'", {}),
            ("[engines.nano-av]\na = " + "[" * 70 + "'hunter2'" + "]" * 70, {}),
            ("", {"PSENGINE_BROKER_URL": "hunter2"}),
            ("", {"PSENGINE_BROKER_URL": "amqp://user:hunter2@[::1"}),
            ("", {"PSENGINE_BROKER_URL": "amqp://user:hunter2@host; amqp://b"}),
            ("", {"PSENGINE_WEBHOOK_SECRET": "hunter2\udce9"}),
            ("", {"PSENGINE_WEBHOOK_SECRET": "hunter2", "PSENGINE_WEBHOOK_SECRET_FILE": "/x"}),
        ],
    )
    def test_no_message_tells_a_secret(self, written, text, environ):
        with pytest.raises(SettingsError) as caught:
            Settings.read(written(text), environ=environ)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    def test_the_mask_is_not_taken_for_a_secret(self, written):
        written_by = "that 'psengine config show' writes; write the"
        assert refusal(written("webhook.secret = '***'")) == f"webhook.secret: is the mask {written_by} secret itself"
        url = "amqp://user:***@host"
        assert refusal(written(f"celery.broker_url = '{url}'")) == (
            f"celery.broker_url: holds the mask {written_by} password itself"
        )

    @pytest.mark.parametrize(
        "url",
        [
            "amqp://host",
            "amqps://user:p%40ss@host:5671/vhost",
            "redis://localhost:6379/0",
            "rediss://:password@host/1?ssl_cert_reqs=required",
            "redis+socket:///run/redis.sock",
            "amqp://a@one;amqp://b@two:5673",
            "amqp://[::1]:5672",
        ],
    )
    def test_urls_of_brokers(self, url):
        settings = Settings.read(environ={"PSENGINE_BROKER_URL": url})
        assert settings.celery.broker_url.reveal() == url

    @pytest.mark.parametrize(
        "url",
        ["", "amqp://", "localhost:5672", "http://host", "amqp://host:0", "amqp://host:65536", "amqp://host:x", "amqp:///x",
         "redis+socket://", "amqp://a;", "amqp://a b"],
    )  # fmt: skip
    def test_what_is_no_url_of_a_broker(self, written, url):
        message = refusal(written(f"celery.broker_url = '{url}'"))
        assert message.startswith(
            "celery.broker_url: must be a URL such as amqp://user:password@host:5672 (schemes: amqp,"
        )

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
            (lambda: NetworkSettings(tries=True), "network.tries: must be a whole number from 1 to 100, got True"),
            (lambda: NetworkSettings(allow="::1"), "network.allow: must be a list of texts, got '::1'"),
            (lambda: NetworkSettings(ca_file=5), "network.ca_file: must be the path of a file, got 5"),
            (lambda: Settings(enabled_engines="eicar"), "enabled_engines: must be a list of texts, got 'eicar'"),
            (lambda: WebhookSettings(secret="a"), "webhook.secret: must be a psengine_host.settings.Secret"),
            (lambda: LogSettings(level=-1), LEVELS),
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


@pytest.mark.parametrize("section", [Settings, *SECTIONS.values()])
def test_each_setting_of_a_section_has_its_kind_in_order(section):
    others = {Settings: {*SECTIONS, "engines"}, WorkerSettings: {"timeout", "engines"}}.get(section, set())
    own = [name for name in section.__struct_fields__ if name not in others]
    assert list(section.KINDS) == own
    assert list(section.__struct_fields__[: len(own)]) == own


anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=70), st.binary(max_size=5), st.dates()
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(list(KINDS)), anything)
def test_any_value_of_any_setting_is_taken_or_refused_in_one_line(key, value):
    for options, environ in (({key: value}, {}), ({}, {VARIABLES[key]: str(value)})):
        try:
            settings = Settings.read(os.devnull, environ=environ, options=options)
        except SettingsError as error:
            message = str(error)
        else:
            # What was taken can be made again in Python: the kinds check the same at both doors.
            section, _, name = key.rpartition(".")
            held = getattr(settings, section) if section else settings
            assert msgspec.structs.replace(held, **{name: getattr(held, name)}) == held
            continue
        assert message.isprintable()
        assert key in message
        assert len(message) < 500
