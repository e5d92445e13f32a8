"""What crosses to an engine's processes comes out as it went in, whatever its size and whatever it is called."""

import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host import Analysis, Artifact
from psengine_host.artifacts import Handover
from psengine_host.backends.process import crossing
from psengine_host.bounty import ArtifactType, Bounty, BountyRules, Phase
from psengine_host.engines.found import Registration
from psengine_host.errors import ArtifactError, InvalidAnalysis
from psengine_host.spool import Spool

WHEN = datetime(2027, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def crossed(value, kind):
    """A value through msgpack and back, as a field of a message."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)


def bounty(**fields):
    return Bounty(
        **{
            "id": 7,
            "artifact_type": ArtifactType.FILE,
            "artifact_uri": "https://example.com/a",
            "expiration": WHEN,
            **fields,
        }
    )


@pytest.mark.parametrize(
    "given_bounty",
    [
        bounty(),
        bounty(id="a word", phase=Phase.ARBITRATION, response_url="https://example.com/r", duration=1.5),
        bounty(id=2**200),
        bounty(id=2**63),
        bounty(id=2**64 - 1),
        bounty(rules=BountyRules(min_allowed_bid=0, max_allowed_bid=2**255)),
        bounty(sha256="a" * 64, mimetype="text/plain; charset=utf-8", tasked_at=WHEN - timedelta(hours=1)),
        bounty(artifact_uri="file:///tmp/a%FF", file_allowed=True),
        bounty(artifact_uri="file:///tmp/a", file_allowed=True, id=2**70),
    ],
)
def test_bounties_cross(given_bounty):
    assert crossing.bounty_of(crossed(crossing.sent_bounty(given_bounty), Bounty | bytes)) == given_bounty


@given(st.integers(0, 2**256 - 1))
def test_bids_of_any_size_cross(bid):
    analysis = Analysis.malicious("Family", bid=bid, confidence=0.25, comments=["a", "ü"])
    sent, digits = crossing.without_long_bid(analysis)
    assert crossing.with_bid(crossed(sent, Analysis), digits) == analysis


@pytest.mark.parametrize("bid", ["", "x", "-1", "1" * 5_000])
def test_what_is_no_bid_is_refused(bid):
    with pytest.raises((ValueError, InvalidAnalysis)):
        crossing.with_bid(Analysis.malicious(), bid)


@pytest.mark.parametrize("name", ["a", "ü", "\udcff", "\ud800", "line\nend", ""])  # noqa: PT014 - two surrogates
def test_names_cross(name):
    assert crossing.name_of(crossing.sent_name(name)) == name


def facts(artifact):
    return crossed(artifact.handover(crossing.CARRIED), Handover)


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path) as spool:
        yield spool


@pytest.mark.parametrize("size", [0, 1, crossing.CARRIED, crossing.CARRIED + 1, 3 << 20])
def test_bytes_cross_in_the_message_or_in_a_file(size, spool):
    data = os.urandom(size)
    with Artifact.from_bytes(data, name="a name", spool=spool) as artifact:
        sent = facts(artifact)
        assert (sent.content is None) == (size > crossing.CARRIED)
        with Artifact.from_handover(sent, spool) as received:
            assert (received.read_bytes(), received.name, received.size) == (data, "a name", size)
            assert received.sha256 == artifact.sha256
            assert received.path.read_bytes() == data


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_a_hashed_file_crosses_with_its_hash(size, tmp_path, spool):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    artifact = Artifact.from_path(path)
    expected = artifact.sha256
    sent = facts(artifact)
    assert sent.sha256 == expected
    with Artifact.from_handover(sent, spool) as received:
        assert received.sha256 == expected
        assert received.read_bytes() == path.read_bytes()


def test_a_file_that_was_changed_after_it_was_hashed_is_not_judged(tmp_path, spool):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (2 << 20))
    artifact = Artifact.from_path(path)
    assert artifact.sha256
    sent = facts(artifact)
    path.write_bytes(b"y" * (2 << 20))
    with pytest.raises(ArtifactError, match="changed while it was read; scan it again"):
        Artifact.from_handover(sent, spool)


def test_urls_cross(spool):
    with Artifact.from_handover(facts(Artifact.from_url("https://example.com/x", spool=spool)), spool) as received:
        assert received.url == "https://example.com/x"
        assert received.mimetype == "text/uri-list"


def test_what_is_known_of_the_type_crosses(tmp_path, spool):
    (tmp_path / "file").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100_000))
    artifact = Artifact.from_path(tmp_path / "file")
    assert artifact.mimetype
    assert facts(artifact).mimetype == artifact.mimetype


def test_registrations_cross():
    registration = Registration("name", "module:attribute", "group", "distribution", "1.0")
    assert crossing.registration_of(crossing.registered(registration)) == registration
