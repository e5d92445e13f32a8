"""What is shown can be saved and read again, and tells no secret."""

from __future__ import annotations

import json
import tempfile
import tomllib
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.bids import BidPolicy
from psengine_host.secret_names import looks_secret
from psengine_host.settings import (
    BidSettings,
    CelerySettings,
    HostSettings,
    LogSettings,
    NetworkSettings,
    Secret,
    Settings,
    SpoolSettings,
    WebhookSettings,
    WorkerSettings,
)
from psengine_host.settings.sections import KINDS
from psengine_host.settings.writing import as_lines, as_plain, as_toml

VALUE = "hunter2-hunter2"


def saved_and_read(settings: Settings, **environ: str) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "psengine.toml")
        path.write_text("\n".join(as_toml(settings)), encoding="utf-8")
        return Settings.read(path, environ=environ)


def typed(value: object) -> object:
    """A value with its types: 1, 1.0 and True are equal."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return [typed(entry) for entry in value] if isinstance(value, list) else (type(value), value)


# --- settings of all kinds --------------------------------------------------------------------------------------------

names = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
seconds = st.floats(min_value=0, max_value=3_600, exclude_min=True)
sizes = st.integers(min_value=0, max_value=1 << 50)
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=20).filter(lambda text: "://" not in text)
keys = words.filter(lambda key: not looks_secret(key))
zones = st.integers(min_value=-1439, max_value=1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    words,
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.none() | zones),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
worker_values = {
    "count": st.integers(0, 1024),
    "max_tasks_per_worker": st.integers(0, 1_000_000_000),
    "max_memory": sizes,
    "tries": st.integers(1, 10),
    "setup_timeout": seconds,
    "start_timeout": seconds,
    "max_result_size": st.integers(1_000, 1 << 30),
    "address_space": sizes,
    "max_file_size": sizes,
    "open_files": st.integers(0, 1 << 20),
    "cpu_time": seconds | st.just(0.0),
    "sandbox": st.sampled_from(["none", "bwrap"]),
    "python": st.sampled_from(["/opt/python", "/opt/with blank/é/python"]),
    "patience": seconds | st.just(0.0),
}
# Of one engine any of them; not of an engine that is called as a setting, which no file can say beside the setting.
worker_tables = st.dictionaries(
    words.filter(lambda name: name not in worker_values),
    st.fixed_dictionaries({}, optional=worker_values | {"timeout": seconds}),
    max_size=3,
)
all_settings = st.builds(
    Settings,
    enabled_engines=st.none() | st.frozensets(names, max_size=3),
    disabled_engines=st.frozensets(names, max_size=3),
    host=st.builds(
        HostSettings,
        timeout=seconds,
        observer_timeout=seconds,
        close_timeout=seconds,
        discard_expired_bounties=st.booleans(),
    ),
    workers=st.builds(
        WorkerSettings,
        **worker_values | {"python": st.none() | worker_values["python"], "patience": st.none() | seconds},
        engines=worker_tables,
    ),
    bids=st.builds(BidSettings, policy=st.sampled_from(BidPolicy)),
    network=st.builds(
        NetworkSettings,
        allow=st.lists(st.sampled_from(["10.1.0.0/16", "store.internal:9000", "::1"]), unique=True).map(tuple),
        max_artifact_size=sizes,
        connect_timeout=seconds,
        read_timeout=seconds,
        max_redirects=st.integers(0, 20),
        tries=st.integers(1, 100),
        ca_file=st.none()
        | words.map(lambda text: "/etc/" + text.replace("\0", "").replace("/", "").replace(".", "") + "x"),
        proxy_from_environment=st.booleans(),
    ),
    spool=st.builds(SpoolSettings, max_size=sizes),
    log=st.builds(
        LogSettings,
        level=st.sampled_from(["debug", "critical", "notset"]) | st.integers(0, 1000),
        format=st.sampled_from(["text", "json"]),
    ),
    celery=st.builds(
        CelerySettings,
        broker_vhost=st.from_regex(r"[ -~]{1,255}", fullmatch=True),
        worker_concurrency=st.integers(1, 1024),
        delivery_task=st.none() | st.just("deliver.{task_type}"),
    ),
    webhook=st.builds(WebhookSettings, secret_file=st.none() | st.just("/run/secret")),
    engines=st.dictionaries(words, st.dictionaries(keys, values, max_size=4), max_size=3),
)


@given(all_settings)
def test_what_is_shown_saved_and_read_again_is_the_same(settings):
    again = saved_and_read(settings)
    assert again == settings
    assert typed(again.engines) == typed(settings.engines)


@given(all_settings)
def test_lines_are_lines_and_json_is_json(settings):
    assert all(line.isprintable() for line in as_lines(settings))
    assert all(line.removeprefix("\n").isprintable() for line in as_toml(settings))
    plain = as_plain(settings)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    of_workers = (f"workers.{engine}.{name}" for engine, table in settings.workers.engines.items() for name in table)
    assert set(plain) == {*KINDS, *of_workers, *(f"engines.{engine}" for engine in settings.engines)}


def test_json_has_seconds_and_bytes():
    plain = as_plain(Settings(engines={"a": {"when": date(2026, 11, 25), "limit": float("inf"), "list": [{"b": 1}]}}))
    assert plain["host.timeout"] == 60.0
    assert plain["network.max_artifact_size"] == 100_000_000
    assert plain["bids.policy"] == "confidence"
    assert plain["enabled_engines"] is None
    assert plain["engines.a"] == {"when": "2026-11-25", "limit": "inf", "list": [{"b": 1}]}


def test_every_setting_that_is_set_is_in_the_file():
    table = tomllib.loads("\n".join(as_toml(Settings())))
    given = {f"{section}.{name}" for section, inner in table.items() if isinstance(inner, dict) for name in inner}
    unset = {"network.ca_file", "celery.broker_url", "celery.delivery_task", "webhook.secret", "webhook.secret_file"}
    unset |= {"workers.python", "workers.patience"}
    assert given == {key for key in KINDS if "." in key} - unset


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        10**6_000,
        datetime(2026, 11, 25, 12, 0, 0, 5, tzinfo=UTC),
        time(7, 32),
        "\x00\x1b[31m\x7f\x9b\u202e\U000e0001\"\\\b\t\n\f\r",
        [[], {}, [{}], {"a": {"b": []}}],
    ],
    ids=["nan", "huge", "datetime", "time", "text", "nested"],
)  # fmt: skip
def test_values_that_are_hard_to_write(value):
    again = saved_and_read(Settings(engines={"a": {"b": value}})).engines["a"]["b"]
    assert (again, type(again)) == (value, type(value)) or value != value


# --- secrets ----------------------------------------------------------------------------------------------------------

SECRETS = Settings(
    webhook=WebhookSettings(secret=Secret(VALUE)),
    celery=CelerySettings(broker_url=Secret(f"amqp://user:{VALUE}@one:5672;redis://:{VALUE}@two")),
    engines={
        "nano-av": {
            "licence": VALUE,
            "api_key": VALUE,
            "apiKey": VALUE,
            "DBPassword": VALUE,
            "auth-token": [VALUE],
            "credentials": {"user": VALUE, "pin": 1234512345},
            "server": f"https://user:{VALUE}@host/path?key={VALUE}",
            "token_url": f"https://{VALUE}@host/",
            "mirrors": [{"url": f"ftp://u:{VALUE}@h"}, [f"see ftp://u:{VALUE}/{VALUE}@h and ftp://x:{VALUE}@y"]],
            "deep": {"deeper": {"secret": VALUE, "plain": "shown"}},
            "keyword": "shown",
            "use_token": True,
        }
    },
)


@pytest.mark.parametrize(
    "show",
    [lambda s: "\n".join(as_toml(s)), lambda s: "\n".join(as_lines(s)), lambda s: json.dumps(as_plain(s))],
    ids=["toml", "lines", "json"],
)
def test_secrets_are_masked_and_the_rest_is_shown(show):
    text = show(SECRETS)
    assert VALUE not in text
    assert "1234512345" not in text
    assert text.count("shown") == 2
    assert "true" in text.partition("use_token")[2][:10]
    longer = json.loads(json.dumps(as_plain(SECRETS)).replace(VALUE, VALUE * 9))
    assert longer == as_plain(SECRETS)


def test_a_saved_file_lacks_the_secrets_and_nothing_else():
    again = saved_and_read(SECRETS)
    table = again.engines["nano-av"]
    assert table == {"use_token": True, "keyword": "shown", "deep": {"deeper": {"plain": "shown"}}}
    assert again.webhook == WebhookSettings()
    environ = {
        "PSENGINE_WEBHOOK_SECRET": VALUE,
        "PSENGINE_BROKER_URL": f"amqp://user:{VALUE}@one:5672;redis://:{VALUE}@two",
    }
    again = saved_and_read(SECRETS, **environ)
    assert msgspec.structs.replace(again, engines={}) == msgspec.structs.replace(SECRETS, engines={})


@pytest.mark.parametrize(
    "value",
    [
        ["--user", "me", "--api-key", VALUE],
        ["-password", VALUE],
        [f"--password={VALUE}"],
        ["Accept: */*", f"Authorization: Bearer {VALUE}"],
        [f"Cookie: a={VALUE}"],
        f"Server=db;Password={VALUE};",
        f"curl -H 'X-Api-Key: {VALUE}' https://host/path",
        f"data:text/plain,{VALUE}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{VALUE}\n-----END RSA PRIVATE KEY-----\n",
        {"pass": VALUE},
        {"activation_code": VALUE},
    ],
)
def test_secrets_without_a_telling_key_are_masked_where_they_can_be_recognised(value):
    settings = Settings(engines={"nano": {"inner": value}})
    shown = [
        "\n".join(as_toml(settings)),
        "\n".join(as_lines(settings)),
        json.dumps(as_plain(settings)),
        repr(settings),
    ]
    for text in shown:
        assert VALUE not in text
        assert VALUE[:7] not in text


@pytest.mark.parametrize(
    "table",
    [
        {"license_file": "/etc/nano/nano.lic", "tokenizer": "fast", "key_length": 2048},
        {"sha256": "27" * 32, "args": ["--fast", "word", "--token-file", "/etc/token", "-", "x"]},
    ],
)
def test_what_is_no_secret_is_shown(table):
    settings = Settings(engines={"nano": table})
    assert saved_and_read(settings).engines["nano"] == table
    assert "***" not in repr(settings.engines)


def test_the_repr_of_settings_shows_no_secret():
    assert VALUE not in repr(SECRETS)
    assert "timeout=60.0" in repr(SECRETS)
    assert "'keyword': 'shown'" in repr(SECRETS)
    assert repr(SECRETS) == str(SECRETS) == f"{SECRETS}"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://user:pass@host:5672/v", "amqp://user:***@host:5672/v"),
        ("amqp://user:p@ss@host", "amqp://user:***@host"),
        ("redis://:pass@host/0", "redis://:***@host/0"),
        ("amqp://host:5672", "amqp://host:5672"),
        ("rediss://token@host/?ssl_keyfile=a&b=c", "rediss://***@host/?***"),
    ],
)
def test_the_broker_s_url_is_shown_without_its_password(url, masked):
    settings = Settings(celery=CelerySettings(broker_url=Secret(url)))
    assert as_plain(settings)["celery.broker_url"] == masked
