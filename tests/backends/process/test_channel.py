"""An engine that writes into its worker's channel: the worker is lost, and neither a bounty nor the host is."""

import pytest

from psengine_host.analysis import Verdict
from psengine_host.outcome import FailureKind

PATIENCE = 60

NO_MESSAGE = "was killed: it sent what is no message"
SAID = {
    "garbage": "was killed: it",
    "text": "was killed: it announced a message of",
    "zeros": NO_MESSAGE,
    "empty_frame": NO_MESSAGE,
    "no_msgpack": NO_MESSAGE,
    "number": NO_MESSAGE,
    "list": NO_MESSAGE,
    "unknown_tag": NO_MESSAGE,
    "deep": NO_MESSAGE,
    "deep_map": NO_MESSAGE,
    "long_list": NO_MESSAGE,
    "too_long": "was killed: it announced a message of 3000000 bytes, more than 2097152",
    "4_GB": "was killed: it announced a message of 4294967295 bytes, more than 2097152",
    "of_another": "was killed: it answered what it was not at work on",
    "next_one": "was killed: it answered what it was not at work on",
    "all_others": "was killed: it answered what it was not at work on",
    "negative": "was killed: it answered what it was not at work on",
    "nan_seconds": "was killed: it answered in no time that there is",
    "negative_seconds": "was killed: it answered in no time that there is",
    "gives_back": "was killed: it gave back what nobody wanted back",
    "gives_back_its_own": "was killed: it gave back what nobody wanted back",
    "ready_again": "was killed: it said twice that it is ready",
}
"""What is written into the channel, and what is said of the worker that did."""
HARMLESS = ("loaded_again", "not_started", "set_up", "logs")
"""Messages that mean nothing at that point."""


@pytest.fixture
def host(faulty, process_host):
    faulty("channel")
    return process_host(count=1)


def test_what_is_no_message_ends_the_worker_and_the_bounty_is_answered(host, journal):
    futures = {}
    for what in SAID:
        futures[what] = host.submit(f"{what} wait".encode(), "channel")
        futures[f"{what}, after it"] = host.submit(what.encode() + b"-innocent", "channel")
    outcomes = {what: future.result(PATIENCE) for what, future in futures.items()}

    for what, said in SAID.items():
        failure = outcomes[what].failure
        assert failure.kind is FailureKind.WORKER_LOST, what
        assert failure.message.startswith(f"the worker {said}"), what
        assert failure.message.endswith("3 tries"), what
        innocent = outcomes[f"{what}, after it"]
        assert innocent.failure is None, what
        assert innocent.analysis.comments == (f"{what}-innocent",)
    judged = [what for (what,) in journal.of("analyze")]
    assert judged == [name for what in SAID for name in (what, what, what, f"{what}-innocent")]


def test_a_worker_that_wants_to_be_replaced_before_it_has_done_anything_is_lost(host):
    outcome = host.analyze(b"retires wait", "channel")

    said = "the worker was killed: it wanted to be replaced and had done nothing in each of 3 tries"
    assert outcome.failure.message == said


def test_what_means_nothing_changes_nothing(host, journal):
    for what in HARMLESS:
        outcome = host.analyze(what.encode(), "channel")
        assert outcome.failure is None, what
        assert outcome.analysis.comments == (what,)
    assert len(journal.of("analyze")) == len(HARMLESS)


@pytest.mark.parametrize("what", ["half_a_length", "half_a_frame"])
def test_a_half_written_frame_is_neither_waited_for_nor_taken(host, journal, what):
    outcome = host.analyze(f"{what} die".encode(), "channel")

    assert outcome.failure.kind is FailureKind.WORKER_LOST
    assert outcome.failure.message == "the worker exited with code 1 in each of 3 tries"
    assert journal.of("analyze") == [[what]] * 3


@pytest.mark.parametrize("what", ["half_a_length", "half_a_frame"])
def test_a_half_written_frame_before_the_answer_spoils_it_and_nothing_else(host, process_host, what):
    # What follows is taken for the rest of it: no message, or one that never ends.
    host = process_host(count=1, timeout=0.5)

    outcome = host.analyze(what.encode(), "channel")

    assert outcome.failure.kind in (FailureKind.WORKER_LOST, FailureKind.TIMEOUT)
    assert host.analyze(b"innocent", "channel").analysis.comments == ("innocent",)


@pytest.mark.parametrize("what", ["ready_for_ever", "results_for_ever", "flood"])
def test_no_message_moves_the_deadline(faulty, process_host, what):
    faulty("channel")
    host = process_host(count=1, timeout=0.5)
    host.analyze(b"innocent", "channel")

    outcome = host.analyze(what.encode(), "channel")

    assert outcome.failure.kind in (FailureKind.WORKER_LOST, FailureKind.TIMEOUT)
    assert host.analyze(b"innocent", "channel").analysis.comments == ("innocent",)


def test_a_thread_that_writes_between_is_the_end_of_its_worker_alone(host):
    for _ in range(5):
        outcome = host.analyze(b"from_thread", "channel")
        if outcome.failure is None:
            assert outcome.analysis.comments == ("x" * 1_000_000,)
        else:
            assert outcome.failure.kind is FailureKind.WORKER_LOST

    assert host.analyze(b"innocent", "channel").analysis.comments == ("innocent",)


@pytest.mark.parametrize("what", ["bad_bid", "long_bid", "no_result", "bad_file", "endless_seconds"])
def test_a_forged_answer_of_its_own_is_an_answer_that_is_checked(host, what):
    # It could have returned it as well. What it answers besides is one too many.
    outcome = host.analyze(what.encode(), "channel")

    assert outcome.failure is None or outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.bid is not None
    assert host.analyze(b"innocent", "channel").analysis.comments == ("innocent",)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("bad_file", FailureKind.WORKER_LOST),
        ("next_one", FailureKind.WORKER_LOST),
        ("gives_back_its_own", FailureKind.WORKER_LOST),
        ("no_result", FailureKind.ENGINE),
    ],
)
def test_files_are_answered_too(host, tmp_path, what, kind):
    path = tmp_path / "file"
    path.write_text(what)

    outcome, size = host.judge_file(str(path), "channel").result(PATIENCE)

    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.failure.kind is kind
    assert size == path.stat().st_size
