"""What an engine answers: the same comes of it as without processes, and nothing that it answers harms the host."""

import re
import threading

import msgspec
import pytest

from psengine_host.analysis import Verdict
from psengine_host.bounty import Bounty, BountyRules
from psengine_host.engines.blame import MAX_MESSAGE
from psengine_host.host import Host
from psengine_host.outcome import FailureKind

PATIENCE = 60

GOOD = {
    "mapping": "Family",
    "proxy": "Family",
    "text_subclass": None,
    "subclass": None,
    "control_characters": "A\x00\x1b[2J\n\u202eB",
    "unknown_keys": "Family",
}
LONG_BIDS = {"long_bid": 10**30, "longest_bid": 2**256 - 1, "bid_of_64_bits": 2**63, "bid_of_65_bits": 2**64}
BAD = {
    "none": "analysis: must be an Analysis or a mapping in wire form (does analyze return?), got None",
    "text": "analysis: must be an Analysis or a mapping in wire form, got 'malicious'",
    "verdict": "analysis: must be an Analysis or a mapping in wire form",
    "true": "analysis: must be an Analysis or a mapping in wire form, got True",
    "number": "analysis: must be an Analysis or a mapping in wire form, got 1.5",
    "list": "analysis: must be an Analysis or a mapping in wire form",
    "generator": "analysis: must be an Analysis or a mapping in wire form",
    "class": "analysis: must be an Analysis or a mapping in wire form",
    "object": "analysis: must be an Analysis or a mapping in wire form",
    "empty": "verdict: must be one of",
    "lying": "cannot be read: called sys.exit(4)",
    "cyclic": "verdict: must be one of",
    "deep": "metadata: must be an object",
    "deep_comments": "metadata.comments",
    "unknown_verdict": "verdict: must be one of",
    "enum_verdict": "verdict: must be one of",
    "nan_confidence": "confidence: must be from 0.0 to 1.0, got nan",
    "infinite_confidence": "confidence: must be from 0.0 to 1.0, got inf",
    "bool_confidence": "confidence: must be a number from 0.0 to 1.0, got True",
    "decimal_confidence": "confidence: must be a number from 0.0 to 1.0",
    "bool_bid": "bid: must be an integer number of wei, got True",
    "bid_subclass": "bid: must be an integer number of wei",
    "float_bid": "bid: must be an integer number of wei, got 1e+18",
    "text_bid": "bid: must be an integer number of wei",
    "negative_bid": "bid: must be from 0 to 2**256 - 1 wei, got -1",
    "bid_over_maximum": "bid: must be at most the bounty's maximum 999900000000000000, got 10000000000000000000",
    "bid_under_minimum": "bid: must be at least the bounty's minimum 62500000000000000, got 1",
    "bid_of_5000_digits": "bid: must be from 0 to 2**256 - 1 wei",
    "lone_surrogate": "metadata.malware_family",
    "date_family": "metadata.malware_family",
    "10_MB": "metadata.comments",
    "10_MB_mapping": "metadata.comments",
    "engine_error": "the scanner said no",
    "unspeakable": "Unspeakable",
    "long_message": "RuntimeError: xxxx",
    "surrogate_message": "\\ud800",
    "generator_exit": "GeneratorExit",
    "base_exception": "base",
    "stop_iteration": "StopIteration",
    "group": "several",
    "memory": "MemoryError",
    "recursion": "maximum recursion depth exceeded",
}
TAMPERED = {
    # What judging without processes, which sends nothing, cannot refuse in the same words.
    "10_MB_forced": "answered with 10000",
    "2_MB_forced": "answered with 2000",
    "unserialisable": "answered what cannot be sent: TypeError: Encoding objects of type object is unsupported",
    "surrogate_forced": "answered what cannot be sent: UnicodeEncodeError",
    "bid_forced": "TypeError",
    "keyboard_interrupt": "raised KeyboardInterrupt by itself",
}
IMPOSSIBLE = ("verdict_forced", "confidence_forced", "vendor_forced")
"""Can be sent, and are refused where they come in."""


@pytest.fixture
def host(faulty, process_host):
    faulty("results")
    return process_host(count=1)


def without_addresses(text):
    return re.sub(r"0x[0-9a-f]+", "", text)


def answers(host, names):
    futures = {name: host.submit(name.encode(), "results") for name in names}
    return {name: future.result(PATIENCE) for name, future in futures.items()}


def test_what_keeps_the_contract_is_taken_as_it_is_without_processes(host, engine_site, processes):
    outcomes = answers(host, GOOD)
    with Host(host.settings, catalog=engine_site.catalog()) as local:
        expected = answers(local, GOOD)

    for name, family in GOOD.items():
        assert outcomes[name].failure is None, name
        assert outcomes[name].analysis == expected[name].analysis, name
        assert outcomes[name].analysis.malware_family == family, name
        assert outcomes[name].analysis.verdict is Verdict.MALICIOUS, name
    assert outcomes["mapping"].analysis.bid == 10**17
    assert len(processes(host)) == 1


def test_what_breaks_the_contract_is_unknown_and_says_why_in_the_same_words(host, engine_site, journal):
    outcomes = answers(host, BAD)
    with Host(host.settings, catalog=engine_site.catalog()) as local:
        expected = answers(local, BAD)

    for name, message in BAD.items():
        outcome = outcomes[name]
        assert outcome.failure.kind is FailureKind.ENGINE, name
        assert message in outcome.failure.message, name
        assert len(outcome.failure.message) <= MAX_MESSAGE + 1, name
        assert outcome.analysis.verdict is Verdict.UNKNOWN, name
        assert outcome.analysis.bid == 0, name
        assert outcome.analysis.comments == ("ERROR:ENGINE", outcome.failure.message), name
        assert without_addresses(outcome.failure.message) == without_addresses(expected[name].failure.message), name
        assert outcome.analysis.metadata.scanner == expected[name].analysis.metadata.scanner, name
        assert msgspec.json.decode(msgspec.json.encode(outcome.answer())) == outcome.answer(), name
    assert journal.of("analyze")[: len(BAD)] == [[name] for name in BAD]


def test_what_cannot_be_sent_is_unknown_and_costs_no_worker(host, processes, journal):
    outcomes = answers(host, TAMPERED)

    for name, message in TAMPERED.items():
        outcome = outcomes[name]
        assert outcome.failure.kind is FailureKind.ENGINE, name
        assert message in outcome.failure.message, name
        assert outcome.analysis.verdict is Verdict.UNKNOWN, name
        assert outcome.analysis.bid == 0, name
    assert journal.of("analyze") == [[name] for name in TAMPERED]


def test_what_cannot_be_true_ends_its_worker_and_is_answered(host):
    for name, outcome in answers(host, IMPOSSIBLE).items():
        assert outcome.failure.kind is FailureKind.WORKER_LOST, name
        assert outcome.failure.message.startswith("the worker was killed: it sent what is no message ("), name
        assert outcome.failure.message.endswith(" in each of 3 tries"), name
    assert host.analyze(b"innocent", "results").analysis.comments == ("innocent",)


def test_a_result_of_too_many_bytes_is_told_with_the_setting_that_allows_more(host):
    refused = host.analyze(b"2_MB_forced", "results").failure.message

    assert refused.startswith("answered with 2000")
    assert refused.endswith("bytes, more than the 1048576 that a result may have (setting workers.max_result_size)")


def test_large_results_come_through_whole(host):
    outcomes = answers(host, ["200_KB", "nearly_too_long", "200_KB"])

    assert outcomes["200_KB"].analysis.comments == ("é" * 100_000,)
    assert outcomes["nearly_too_long"].analysis.comments == ("x" * 1_040_000,)


def test_bids_beyond_64_bits_come_through_exactly(host):
    rules = BountyRules(min_allowed_bid=0, max_allowed_bid=2**256 - 1)
    for name, bid in LONG_BIDS.items():
        bounty = Bounty.decode(
            msgspec.json.encode(
                {
                    "id": 10**25,
                    "artifact_type": "file",
                    "artifact_uri": f"data:,{name}",
                    "expiration": "2999-01-01T00:00:00Z",
                    "rules": msgspec.to_builtins(rules),
                    "phase": "assertion",
                    "duration": 60,
                    "response_url": "http://127.0.0.1/",
                }
            )
        )

        outcome = host.judge(bounty, "results").result(PATIENCE)

        assert outcome.failure is None, name
        assert outcome.analysis.bid == bid
        assert outcome.bounty is bounty


def test_a_long_bid_over_the_maximum_is_refused(host):
    outcome = host.analyze(b"long_bid", "results")

    assert outcome.failure.kind is FailureKind.ENGINE
    assert "bid: must be at most the bounty's maximum" in outcome.failure.message


@pytest.mark.parametrize("way", ["die_while_sending", "die_while_sending_1_MB"])
def test_a_death_in_the_middle_of_a_result_is_a_death_and_no_half_result(host, journal, way):
    for _ in range(10):
        outcome = host.analyze(way.encode(), "results")
        size = 200_000 if way == "die_while_sending" else 1_000_000
        if outcome.failure is None:
            assert outcome.analysis.comments == ("x" * size,)
        else:
            assert outcome.failure.kind is FailureKind.WORKER_LOST

    assert host.analyze(b"innocent", "results").analysis.comments == ("innocent",)


def test_callbacks_of_futures_that_raise_or_take_long_change_nothing(host, caplog):
    taken = threading.Event()
    first = host.submit(b"first", "results")
    first.add_done_callback(lambda _: 1 / 0)
    second = host.submit(b"second", "results")
    second.add_done_callback(lambda _: taken.set())

    assert taken.wait(PATIENCE)
    assert first.result().analysis.comments == ("first",)
    assert second.result().analysis.comments == ("second",)
    assert host.analyze(b"third", "results").analysis.comments == ("third",)
    assert "exception calling callback" in caplog.text
