"""A secret is shown by nothing but reveal()."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest

from psengine_host.settings import CelerySettings, Secret, Settings, WebhookSettings

VALUE = "hunter2-hunter2"


@pytest.fixture
def settings():
    return Settings(
        webhook=WebhookSettings(secret=Secret(VALUE)),
        celery=CelerySettings(broker_url=Secret(f"amqp://user:{VALUE}@broker:5672")),
    )


def test_it_is_revealed_on_purpose():
    assert Secret(VALUE).reveal() == VALUE


def test_neither_str_repr_nor_format_tell_it(settings):
    for text in (str(settings), repr(settings), f"{settings.webhook.secret:>5}", f"{settings.webhook.secret!r}"):
        assert VALUE not in text
        assert "***" in text
    assert f"{Secret('a')}" == f"{Secret(VALUE)}" == "***"  # nor how long it is


def test_no_log_tells_it(settings, caplog):
    logging.getLogger("test").warning("%s %r %s", settings.webhook.secret, settings, {"a": [settings.webhook]})
    assert VALUE not in caplog.text


def test_no_traceback_tells_it(settings):
    with pytest.raises(ValueError, match="Secret") as caught:
        raise ValueError(settings.webhook.secret, settings)
    assert VALUE not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("encode", [json.dumps, msgspec.json.encode, msgspec.msgpack.encode])
def test_nothing_encodes_it(settings, encode):
    with pytest.raises(TypeError) as caught:
        encode(settings.webhook.secret)
    assert VALUE not in str(caught.value)
    with pytest.raises(TypeError):
        encode(settings)


def test_it_is_compared_by_value(settings):
    assert Secret(VALUE) == Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE
    assert len({Secret(VALUE), Secret(VALUE), Secret("other")}) == 2
    assert copy.deepcopy(settings) == pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize("value", ["", None, 5, b"bytes"])
def test_what_is_none(value):
    with pytest.raises(ValueError, match="a secret must be a text that is not empty"):
        Secret(value)
