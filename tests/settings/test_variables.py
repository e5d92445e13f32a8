"""Every setting has a variable, and a misspelt one is noticed."""

from __future__ import annotations

import pytest

from psengine_host.bids import BidPolicy
from psengine_host.errors import SettingsError
from psengine_host.settings import Secret, Settings
from psengine_host.settings.sections import KINDS
from psengine_host.settings.variables import VARIABLES, misspelt

SAMPLES = {
    "enabled_engines": ("eicar, yara", frozenset({"eicar", "yara"})),
    "disabled_engines": ("yara,", frozenset({"yara"})),
    "host.timeout": (" 30s ", 30.0),
    "host.observer_timeout": ("250ms", 0.25),
    "host.close_timeout": ("1h 30m", 5400.0),
    "host.max_bounty_size": ("2 MB", 2_000_000),
    "host.discard_expired_bounties": ("No", False),
    "workers.count": ("4", 4),
    "workers.max_tasks_per_worker": ("0", 0),
    "workers.max_memory": ("512 MB", 512_000_000),
    "workers.tries": (" 1 ", 1),
    "workers.setup_timeout": ("10m", 600.0),
    "workers.start_timeout": ("30", 30.0),
    "workers.max_result_size": ("64 KiB", 1 << 16),
    "workers.address_space": ("4 GiB", 1 << 32),
    "workers.max_file_size": ("1.5 GB", 1_500_000_000),
    "workers.open_files": ("256", 256),
    "workers.cpu_time": ("1h", 3600.0),
    "workers.sandbox": ("BWRAP", "bwrap"),
    "workers.python": (" /opt/engines/bin/python ", "/opt/engines/bin/python"),
    "workers.patience": ("0", 0.0),
    "bids.policy": ("MEDIAN", BidPolicy.MEDIAN),
    "network.allow": ("10.1.0.0/16, store.internal", ("10.1.0.0/16", "store.internal")),
    "network.max_artifact_size": ("1.5 GiB", 3 << 29),
    "network.connect_timeout": ("5", 5.0),
    "network.read_timeout": ("0.5", 0.5),
    "network.max_redirects": ("0", 0),
    "network.tries": (" +7 ", 7),
    "network.ca_file": ("/etc/ca.pem", "/etc/ca.pem"),
    "network.proxy_from_environment": ("1", True),
    "spool.max_size": ("512k", 512_000),
    "log.level": ("DEBUG", "debug"),
    "log.format": ("JSON", "json"),
    "celery.broker_url": ("redis://:pass@host:6379/0", Secret("redis://:pass@host:6379/0")),
    "celery.broker_vhost": ("scanners", "scanners"),
    "celery.worker_concurrency": ("8", 8),
    "celery.delivery_task": ("deliver.{task_type}", "deliver.{task_type}"),
    "webhook.secret": (" with blanks ", Secret(" with blanks ")),
    "webhook.secret_file": ("/run/secrets/webhook", "/run/secrets/webhook"),
}


def value_of(settings: Settings, key: str) -> object:
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)


def test_there_is_a_sample_of_each():
    assert list(SAMPLES) == list(KINDS) == list(VARIABLES)
    assert len(set(VARIABLES.values())) == len(VARIABLES)


@pytest.mark.parametrize("key", KINDS)
def test_each_setting_is_read_from_its_variable(key):
    text, expected = SAMPLES[key]
    assert value_of(Settings(), key) != expected
    settings, origins = Settings.read_with_origins(environ={VARIABLES[key]: text})
    assert value_of(settings, key) == expected
    assert type(value_of(settings, key)) is type(expected)
    assert str(origins[key]) == VARIABLES[key]
    assert {str(origin) for setting, origin in origins.items() if setting != key} == {"default"}


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
@pytest.mark.parametrize("key", KINDS)
def test_an_empty_variable_is_as_good_as_unset(key, text):
    assert Settings.read(environ={VARIABLES[key]: text}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PSENGINE_HOST_TIMEOUT", "soon", "host.timeout: 'soon' is no duration; write a number of seconds"),
        ("PSENGINE_HOST_TIMEOUT", "2d", "host.timeout: must be more than 0 and at most 86400 seconds, got '2d'"),
        ("PSENGINE_HOST_TIMEOUT", "0", "host.timeout: must be more than 0 and at most 86400 seconds, got '0'"),
        ("PSENGINE_HOST_TIMEOUT", "nan", "host.timeout: 'nan' is no duration"),
        ("PSENGINE_HOST_TIMEOUT", "1e400", "host.timeout: '1e400' is no duration"),
        ("PSENGINE_HOST_TIMEOUT", "9" * 5_000, "host.timeout: '999"),
        ("PSENGINE_SPOOL_MAX_SIZE", "2048 TiB", "spool.max_size: must be a number of bytes, 0 or more and at most"),
        ("PSENGINE_SPOOL_MAX_SIZE", "-1", "spool.max_size: '-1' is no size"),
        ("PSENGINE_NETWORK_TRIES", "0", "network.tries: must be a whole number from 1 to 100, got 0"),
        ("PSENGINE_NETWORK_TRIES", "1.0", "network.tries: must be a whole number from 1 to 100, got '1.0'"),
        ("PSENGINE_NETWORK_TRIES", "٣", "network.tries: must be a whole number from 1 to 100, got '٣'"),
        ("PSENGINE_NETWORK_TRIES", "9" * 5_000, "network.tries: must be a whole number from 1 to 100, got '999"),
        ("PSENGINE_NETWORK_MAX_REDIRECTS", "-1", "network.max_redirects: must be a whole number from 0 to 20, got -1"),
        ("PSENGINE_NETWORK_PROXY_FROM_ENVIRONMENT", "maybe", "network.proxy_from_environment: must be true or false"),
        ("PSENGINE_WORKER_CONCURRENCY", "0", "celery.worker_concurrency: must be a whole number from 1 to 1024, got 0"),
        ("PSENGINE_WORKERS_COUNT", "-1", "workers.count: must be a whole number from 0 to 1024, got -1"),
        ("PSENGINE_WORKERS_TRIES", "0", "workers.tries: must be a whole number from 1 to 10, got 0"),
        ("PSENGINE_WORKERS_MAX_MEMORY", "lots", "workers.max_memory: 'lots' is no size; write a number of bytes"),
        ("PSENGINE_WORKERS_CPU_TIME", "2d", "workers.cpu_time: must be 0 or more and at most 86400 seconds, got '2d'"),
        ("PSENGINE_WORKERS_CPU_TIME", "-1", "workers.cpu_time: '-1' is no duration"),
        ("PSENGINE_WORKERS_SETUP_TIMEOUT", "0", "workers.setup_timeout: must be more than 0 and at most 86400 seconds"),
        ("PSENGINE_WORKERS_SANDBOX", "docker", "workers.sandbox: must be one of none, bwrap, got 'docker'"),
        (
            "PSENGINE_WORKERS_MAX_RESULT_SIZE", "0",
            "workers.max_result_size: must be a number of bytes, 1000 or more and at most 1073741824 bytes, got '0'",
        ),
        ("PSENGINE_DELIVERY_TASK", "deliver", "celery.delivery_task: must hold {task_type}, and neither other braces"),
        ("PSENGINE_DELIVERY_TASK", "{task_type}{0}", "celery.delivery_task: must hold {task_type}, and neither other"),
        ("PSENGINE_BROKER_VHOST", "a\nb", "celery.broker_vhost: must be a text of 1 to 255 printable characters, got"),
        ("PSENGINE_BROKER_VHOST", "x" * 256, "celery.broker_vhost: must be a text of 1 to 255 printable characters"),
        ("PSENGINE_BIDS_POLICY", "all", "bids.policy: must be one of confidence, minimum, median, maximum, got 'all'"),
        ("PSENGINE_NETWORK_CA_FILE", "a\0b", "network.ca_file: must be the path of a file, got 'a\\x00b'"),
        ("PSENGINE_NETWORK_CA_FILE", "caf\udce9", "network.ca_file: must be the path of a file, got 'caf\\udce9'"),
        ("PSENGINE_ENGINES", "caf\udce9", "enabled_engines: must be a list of texts, and one is 'caf\\udce9'"),
        ("PSENGINE_NETWORK_ALLOW", "10.0.0.0/99", "network.allow: "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_variable_setting_and_value(variable, text, message):
    with pytest.raises(SettingsError) as caught:
        Settings.read(environ={variable: text})
    assert str(caught.value).startswith(f"{variable}: {message}")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["loud", "-1", "9" * 20])
def test_a_log_level_that_is_none_stops_no_program(text, caplog):
    assert Settings.read(environ={"LOG_LEVEL": text, "LOG_FORMAT": "xml"}) == Settings()
    assert caplog.messages == []  # the log itself warns of it


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PSENGINE_NETWORK_ALOW", "PSENGINE_NETWORK_ALLOW"),
        ("PSENGINE_ENGINE", "PSENGINE_ENGINES"),
        ("PSENGINE_HOST_TIMEOUTS", "PSENGINE_HOST_TIMEOUT"),
        ("PSENGINE_CONFG", "PSENGINE_CONFIG"),
        ("PSENGINE_WORKER_COUNT", "PSENGINE_WORKERS_COUNT"),
        ("PSENGINE_WORKERS_MAX_TASKS", "PSENGINE_WORKERS_MAX_TASKS_PER_WORKER"),
        ("PSENGINE_NETWORK_PROXY", "PSENGINE_NETWORK_PROXY_FROM_ENVIRONMENT"),
        ("PSENGINE_CELERY_WORKER", "PSENGINE_WORKER_CONCURRENCY"),
        ("PSENGINE_DISCARD_EXPIRED_BOUNTY", "PSENGINE_DISCARD_EXPIRED_BOUNTIES"),
        # What the name would be, were there no other: each setting has one variable.
        ("PSENGINE_LOG_LEVEL", "LOG_LEVEL"),
        ("PSENGINE_CELERY_BROKER_URL", "PSENGINE_BROKER_URL"),
        ("PSENGINE_ENABLED_ENGINES", "PSENGINE_ENGINES"),
        ("PSENGINE_HOST_DISCARD_EXPIRED_BOUNTIES", "PSENGINE_DISCARD_EXPIRED_BOUNTIES"),
    ],
)
def test_a_misspelt_variable_is_warned_of_with_the_one_that_was_meant(name, meant, caplog):
    assert Settings.read(environ={name: "hunter2"}) == Settings()
    assert caplog.messages == [f"{name}: no such variable; did you mean {meant!r}?"]


@pytest.mark.parametrize(
    "name",
    [
        "PSENGINE_CONFIG",
        "PSENGINE_DEBUG",
        "PSENGINE_NO_SKIPS",
        "PSENGINE_COMMAND",
        "PSENGINE_TASK_ALWAYS_EAGER",
        "PSENGINE_WORKER_PREFETCH_MULTIPLIER",
        "PSENGINE_METADATA_OS",
        "PSENGINE_",
        "PSENGINE_HOST",
        "PSENGINE_NETWORK",
        "PSENGINE_NETWORK_PR",
        "PSENGINE_NETWORK_PROX",
        "PSENGINE_WORKER",
        "psengine_network_alow",
        "YARA_RULES",
        "NANO_AV_HOST_TIMEOUT",
        "PSENGINE_" + "X" * 100_000,
        *VARIABLES.values(),
    ],
)
def test_other_variables_are_left_alone(name):
    assert misspelt([name, "PATH", "HOME"]) == []


def test_a_set_of_wrong_variables_is_told_of_in_order():
    assert [name for name, _ in misspelt(["PSENGINE_NETWORK_TRYS", "PSENGINE_HOST_TIMEOUTT"])] == [
        "PSENGINE_HOST_TIMEOUTT",
        "PSENGINE_NETWORK_TRYS",
    ]
