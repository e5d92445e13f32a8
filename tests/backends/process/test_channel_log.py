"""Log records on their way to the host: whole, bounded, and counted where there are too many."""

import logging

import pytest

from psengine_host.backends.process.channel_log import A_SECOND, BURST, ChannelLog
from psengine_host.backends.process.messages import Logged, decode_from_child, encode
from psengine_host.job import Job, working_on


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def sent():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logger(sent, clock):
    logger = logging.Logger("an.engine")  # noqa: LOG001 - one that nobody else has
    logger.addHandler(ChannelLog(lambda message: sent.append(message) or True, clock))
    return logger


def test_a_record_crosses_with_the_job_in_hand(logger, sent):
    with working_on(Job("acme", 2**80, "delivery-1")):
        logger.warning("found %s", "ü\udcff")
    (message,) = sent
    assert message == Logged(logging.WARNING, "an.engine", "found ü\\udcff", "", str(2**80), "delivery-1")
    assert decode_from_child(encode(message)) == message


def test_a_traceback_crosses_as_text(logger, sent):
    try:
        raise ValueError("odd")
    except ValueError:
        logger.exception("failed")
    assert sent[0].traceback.startswith("Traceback (most recent call last)")
    assert sent[0].traceback.endswith("ValueError: odd")


def test_arguments_that_cannot_be_filled_in_are_told(logger, sent):
    logger.error("%d", "no number")
    assert "its arguments cannot be filled in" in sent[0].message


def test_a_message_of_megabytes_is_cut(logger, sent):
    logger.error("x" * 5_000_000)
    assert len(sent[0].message) < 50_000


def test_too_many_are_counted_and_told_with_the_next(logger, sent, clock):
    for number in range(BURST + 500):
        logger.warning("%d", number)
    assert len(sent) == BURST
    clock.now += 1.0
    logger.warning("next")
    assert (sent[-1].message, sent[-1].left_out) == ("next", 500)
    for _ in range(2 * A_SECOND):
        logger.warning("more")
    assert len(sent) == BURST + A_SECOND


def test_where_the_channel_is_not_to_be_had_it_is_output(capsys):
    logger = logging.Logger("an.engine")  # noqa: LOG001 - one that nobody else has
    logger.addHandler(ChannelLog(lambda _message: False))
    logger.warning("from a fork")
    assert capsys.readouterr().err == "WARNING: from a fork\n"
