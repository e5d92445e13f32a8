import hashlib
import io
import json
import os
import re
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote_to_bytes

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psengine_host import samples
from psengine_host.bounty import (
    DEFAULT_LIFETIME,
    LOCAL_MAX_ALLOWED_BID,
    LOCAL_MIN_ALLOWED_BID,
    URL_MIMETYPE,
    ArtifactType,
    Bounty,
    BountyRules,
    Phase,
)
from psengine_host.bounty_fields import MAX_DURATION
from psengine_host.errors import InvalidBounty
from psengine_host.local_names import file_uri, local_id
from psengine_host.network.data_uris import decode_data_uri

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SHA = "0123456789abcdef" * 4
MINIMAL = {"id": 1, "artifact_type": "file", "artifact_uri": "https://api.example/a"}
WIRE = {
    "id": 1234567890,
    "artifact_type": "file",
    "artifact_uri": "https://api.example/path/to/download",
    "expiration": "2026-11-25T12:00:00+00:00",
    "response_url": "https://api.example/path/to/respond?nonce=1",
    "phase": "assertion",
    "sha256": SHA,
    "mimetype": "text/plain",
    "duration": 30,
    "tasked_at": "2026-11-25T11:59:30+00:00",
    "rules": {"min_allowed_bid": 62500000000000000, "max_allowed_bid": 1000000000000000000},
    "metadata": {"sha256": SHA, "mimetype": "text/plain"},
}
LOCAL_RULES = BountyRules(min_allowed_bid=62500000000000000, max_allowed_bid=999900000000000000)


def decode(**fields: object) -> Bounty:
    """A minimal bounty with these fields, through JSON; a field that is ``...`` is left out."""
    wire = {name: value for name, value in {**MINIMAL, **fields}.items() if value is not ...}
    return Bounty.decode(json.dumps(wire), now=NOW)


def refusal(raw: object) -> str:
    with pytest.raises(InvalidBounty) as caught:
        Bounty.decode(raw if isinstance(raw, (bytes, str)) else json.dumps(raw), now=NOW)
    assert str(caught.value).isprintable()
    return str(caught.value)


class TestFormsSeenInTheWild:
    def test_the_whole_form(self):
        bounty = Bounty.decode(json.dumps(WIRE).encode())
        assert bounty == Bounty(
            id=1234567890,
            artifact_type=ArtifactType.FILE,
            artifact_uri="https://api.example/path/to/download",
            expiration=NOW,
            response_url="https://api.example/path/to/respond?nonce=1",
            phase=Phase.ASSERTION,
            sha256=SHA,
            mimetype="text/plain",
            duration=30,
            tasked_at=NOW - timedelta(seconds=30),
            rules=BountyRules(min_allowed_bid=62500000000000000, max_allowed_bid=10**18),
        )

    def test_the_least_form(self):
        bounty = decode()
        assert (bounty.rules, bounty.phase, bounty.expiration) == (LOCAL_RULES, Phase.ASSERTION, NOW + DEFAULT_LIFETIME)
        assert (bounty.sha256, bounty.mimetype, bounty.response_url) == (None, None, None)
        assert (bounty.duration, bounty.tasked_at, bounty.file_allowed) == (None, None, False)

    @pytest.mark.parametrize("body", [bytes, bytearray, memoryview, lambda raw: raw.decode()])
    def test_any_kind_of_body(self, body):
        assert Bounty.decode(body(json.dumps(WIRE).encode())).id == 1234567890

    @pytest.mark.parametrize(
        "bounty_id",
        [
            0,
            1234567890,
            2**63,
            2**64 - 1,
            10**128 - 1,
            "1234567890",
            "0012",
            str(uuid.UUID(int=7)),
            "x",
            "x" * 128,
            "ünï côdé \U0001f41d",
        ],
    )
    def test_ids_are_kept_as_they_come(self, bounty_id):
        bounty = decode(id=bounty_id)
        assert bounty.id == bounty_id
        assert type(bounty.id) is type(bounty_id)
        assert json.loads(bounty.encode())["id"] == bounty_id

    @pytest.mark.parametrize("bounty_id", [..., None])
    def test_guid_stands_for_an_absent_id(self, bounty_id):
        assert decode(id=bounty_id, guid="c0ffee").id == "c0ffee"

    def test_an_id_wins_over_a_guid(self):
        assert decode(id=0, guid="c0ffee").id == 0

    @pytest.mark.parametrize("uri", [..., None])
    def test_artifact_url_stands_for_an_absent_artifact_uri(self, uri):
        assert decode(artifact_uri=uri, artifact_url="http://x.example/").artifact_uri == "http://x.example/"

    @pytest.mark.parametrize(
        ("spelling", "artifact_type"),
        [
            ("file", ArtifactType.FILE),
            ("FILE", ArtifactType.FILE),
            ("File", ArtifactType.FILE),
            ("url", ArtifactType.URL),
            ("URL", ArtifactType.URL),
            ("Url", ArtifactType.URL),
        ],
    )
    def test_artifact_types_in_any_case(self, spelling, artifact_type):
        bounty = decode(artifact_type=spelling)
        assert bounty.artifact_type is artifact_type
        assert bounty.is_url == (artifact_type is ArtifactType.URL)

    @pytest.mark.parametrize(
        "fields",
        [
            {"sha256": SHA, "mimetype": "text/plain"},
            {"metadata": {"sha256": SHA, "mimetype": "text/plain"}},
            {"sha256": None, "mimetype": None, "metadata": {"sha256": SHA, "mimetype": "text/plain"}},
            {"sha256": SHA, "mimetype": "text/plain", "metadata": {"sha256": None, "mimetype": None}},
            {"sha256": SHA.upper(), "mimetype": "text/plain", "metadata": {"sha256": SHA}},
            {"sha256": SHA, "metadata": {"mimetype": "text/plain", "size": 7, "unknown": [1]}},
        ],
    )
    def test_hash_and_mimetype_at_top_level_or_under_metadata(self, fields):
        bounty = decode(**fields)
        assert (bounty.sha256, bounty.mimetype) == (SHA, "text/plain")

    @pytest.mark.parametrize("fields", [{}, {"metadata": None}, {"metadata": {}}, {"sha256": None, "mimetype": None}])
    def test_hash_and_mimetype_that_nobody_states(self, fields):
        bounty = decode(**fields)
        assert (bounty.sha256, bounty.mimetype) == (None, None)

    @pytest.mark.parametrize(
        "mimetype", ["application/x-dosexec", "image/svg+xml", "text/plain; charset=utf-8", 'text/x;a="b,c"']
    )
    def test_mimetypes(self, mimetype):
        assert decode(mimetype=mimetype).mimetype == mimetype

    @pytest.mark.parametrize(
        "rules", [{}, [], None, ..., {"min_allowed_bid": None, "max_allowed_bid": None}, {"unknown": 1}]
    )
    def test_rules_that_say_nothing_are_those_of_a_local_bounty(self, rules):
        assert decode(rules=rules).rules == LOCAL_RULES

    @pytest.mark.parametrize(
        ("rules", "low", "high"),
        [
            ({"min_allowed_bid": 5}, 5, LOCAL_MAX_ALLOWED_BID),
            ({"max_allowed_bid": 10**18}, LOCAL_MIN_ALLOWED_BID, 10**18),
            ({"max_allowed_bid": 5}, 5, 5),
            ({"max_allowed_bid": 0}, 0, 0),
            ({"min_allowed_bid": 10**19, "max_allowed_bid": None}, 10**19, 10**19),
            ({"min_allowed_bid": 0, "max_allowed_bid": 2**256 - 1}, 0, 2**256 - 1),
            ({"min_allowed_bid": 7, "max_allowed_bid": 7}, 7, 7),
        ],
    )
    def test_rules_in_part_or_at_their_limits(self, rules, low, high):
        assert decode(rules=rules).rules == BountyRules(min_allowed_bid=low, max_allowed_bid=high)

    @pytest.mark.parametrize(
        ("text", "instant"),
        [
            ("2026-11-25T12:00:00+00:00", NOW),
            ("2026-11-25T12:00:00+0000", NOW),
            ("2026-11-25T12:00:00+00", NOW),
            ("2026-11-25T12:00:00-00:00", NOW),
            ("2026-11-25T12:00:00Z", NOW),
            ("2026-11-25t12:00:00z", NOW),
            ("2026-11-25T12:00:00", NOW),
            ("2026-11-25 12:00:00", NOW),
            ("2026-11-25T12:00", NOW),
            ("2026-11-25T13:30:00+01:30", NOW),
            ("2026-11-25T11:00:00-0100", NOW),
            ("2026-11-25T12:00:00.5Z", NOW + timedelta(milliseconds=500)),
            ("2026-11-25T12:00:00,5Z", NOW + timedelta(milliseconds=500)),
            ("2026-11-25T12:00:00.123456+00:00", NOW + timedelta(microseconds=123456)),
            ("2026-11-25T12:00:00.123456789Z", NOW + timedelta(microseconds=123456)),
            ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    @pytest.mark.parametrize("field", ["expiration", "tasked_at"])
    def test_times(self, field, text, instant):
        assert getattr(decode(**{field: text, "duration": 5}), field) == instant

    def test_a_time_without_an_offset_is_utc_wherever_the_machine_is(self, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "XXX-05:45")
            time.tzset()
            assert datetime(2026, 11, 25).astimezone().utcoffset() != timedelta(0)
            bounty = decode(expiration="2026-11-25T12:00:00", duration=5)
        time.tzset()
        assert bounty.expiration == NOW

    @pytest.mark.parametrize("expiration", ["", None, ...])
    @pytest.mark.parametrize(
        ("duration", "seconds"),
        [(..., 90), (None, 90), ("", 90), (30, 30), (0, 0), (0.5, 0.5), ("30", 30), ("1.5", 1.5)],
    )
    def test_without_an_expiration_the_duration_counts_from_now(self, expiration, duration, seconds):
        bounty = decode(expiration=expiration, duration=duration)
        assert bounty.expiration == NOW + timedelta(seconds=seconds)

    def test_now_is_the_present_by_default(self):
        before = datetime.now(UTC)
        expiration = Bounty.decode(json.dumps({**MINIMAL, "duration": 30})).expiration
        assert before <= expiration - timedelta(seconds=30) <= datetime.now(UTC)

    @pytest.mark.parametrize(
        ("spelling", "phase", "vote"),
        [
            (..., Phase.ASSERTION, False),
            (None, Phase.ASSERTION, False),
            ("assertion", Phase.ASSERTION, False),
            ("assertion_window", Phase.ASSERTION, False),
            ("Assertion", Phase.ASSERTION, False),
            ("arbitration", Phase.ARBITRATION, True),
            ("arbitration_window", Phase.ARBITRATION, True),
            ("ARBITRATION_WINDOW", Phase.ARBITRATION, True),
        ],
    )
    def test_phases(self, spelling, phase, vote):
        bounty = decode(phase=spelling)
        assert bounty.phase is phase
        assert bounty.is_vote is vote

    @pytest.mark.parametrize(
        "uri",
        [
            "http://x.example",
            "HTTPS://X.EXAMPLE:8443/a?b=c#d",
            "http://user:secret@x.example/",
            "http://[2001:db8::1]:80/x",
            "http://bücher.example/ä",
            "data:,hello",
            "data:text/plain;base64,aGVsbG8=",
            "DATA:,x y",
        ],
    )
    def test_uris(self, uri):
        assert decode(artifact_uri=uri).artifact_uri == uri

    def test_unknown_fields_are_kept_out_of_the_way(self):
        assert decode(unknown={"deep": [1, 2, {"x": None}]}, file_allowed=True, nonce=4.5) == decode()

    def test_of_a_key_that_stands_twice_the_last_counts(self):
        raw = b'{"id":1,"id":2,"artifact_type":"file","artifact_uri":"http://x.example/"}'
        assert Bounty.decode(raw).id == 2


TOO_LONG = "http://x.example/" + "a" * 20_000
NO_MIMETYPE = "must be a mimetype (type/subtype) of at most 255 characters"
NO_TIME = "must be an ISO 8601 date and time"
NO_SUCH_TIME = "is no date and time that exists"
NO_FILE = "file: is only taken from the local command line"
NO_SCHEME = "must be an http, https or data URI"
NO_BID = "must be from 0 to 2**256 - 1 wei"
INVALID = [
    # fields, message
    ({"id": ...}, "id: is missing; an integer or a string is needed, got None"),
    ({"id": True}, "id: must be an integer or a string, got True"),
    ({"id": 1.5}, "id: must be an integer or a string, got 1.5"),
    ({"id": []}, "id: must be an integer or a string, got []"),
    ({"id": {"a": 1}}, "id: must be an integer or a string, got {'a': 1}"),
    ({"id": ..., "guid": False}, "id: must be an integer or a string, got False"),
    ({"id": -1}, "id: must be a non-negative integer of at most 128 digits, got -1"),
    ({"id": ""}, "id: must be 1 to 128 printable characters, got ''"),
    ({"id": "x" * 129}, f"id: must be 1 to 128 printable characters, got '{'x' * 120}'… (129 characters)"),
    ({"id": "a\nb"}, r"id: must be 1 to 128 printable characters, got 'a\nb'"),
    ({"id": "a\x85b"}, r"id: must be 1 to 128 printable characters, got 'a\x85b'"),
    ({"id": "a\u2028b"}, r"id: must be 1 to 128 printable characters, got 'a\u2028b'"),
    (
        {"id": 10**129},
        f"id: must be a non-negative integer of at most 128 digits, got 1{'0' * 119}… (130 characters)",
    ),
    ({"artifact_type": ...}, "artifact_type: must be 'file' or 'url', got None"),
    ({"artifact_type": "directory"}, "artifact_type: must be 'file' or 'url', got 'directory'"),
    ({"artifact_type": " file"}, "artifact_type: must be 'file' or 'url', got ' file'"),
    ({"artifact_type": 1}, "artifact_type: must be 'file' or 'url', got 1"),
    ({"artifact_uri": ...}, "artifact_uri: is missing; a URI is needed, got None"),
    ({"artifact_uri": 5}, "artifact_uri: must be a string, got 5"),
    ({"artifact_uri": ["http://x.example/"]}, "artifact_uri: must be a string, got ['http://x.example/']"),
    ({"artifact_uri": ""}, f"artifact_uri: {NO_SCHEME}, got ''"),
    ({"artifact_uri": "/etc/passwd"}, f"artifact_uri: {NO_SCHEME}, got '/etc/passwd'"),
    ({"artifact_uri": "//x.example/a"}, f"artifact_uri: {NO_SCHEME}, got '//x.example/a'"),
    ({"artifact_uri": "ftp://x.example/a"}, f"artifact_uri: {NO_SCHEME}, got 'ftp://x.example/a'"),
    ({"artifact_uri": "javascript:alert(1)"}, f"artifact_uri: {NO_SCHEME}, got 'javascript:alert(1)'"),
    ({"artifact_uri": "url:file:///x"}, f"artifact_uri: {NO_SCHEME}, got 'url:file:///x'"),
    ({"artifact_uri": "file:///etc/passwd"}, f"artifact_uri: {NO_FILE}, got 'file:///etc/passwd'"),
    ({"artifact_uri": "FILE:///etc/passwd"}, f"artifact_uri: {NO_FILE}, got 'FILE:///etc/passwd'"),
    ({"artifact_uri": "file:/x"}, f"artifact_uri: {NO_FILE}, got 'file:/x'"),
    ({"artifact_uri": "file://host/x"}, f"artifact_uri: {NO_FILE}, got 'file://host/x'"),
    ({"artifact_uri": "file:x"}, f"artifact_uri: {NO_FILE}, got 'file:x'"),
    ({"artifact_uri": " file:///x"}, f"artifact_uri: {NO_SCHEME}, got ' file:///x'"),
    ({"artifact_uri": "\tfile:///x"}, rf"artifact_uri: {NO_SCHEME}, got '\tfile:///x'"),
    ({"artifact_uri": "fi\nle:///x"}, rf"artifact_uri: {NO_SCHEME}, got 'fi\nle:///x'"),
    ({"artifact_uri": "\ufefffile:///x"}, rf"artifact_uri: {NO_SCHEME}, got '\ufefffile:///x'"),
    ({"artifact_uri": "\x00file:///x"}, rf"artifact_uri: {NO_SCHEME}, got '\x00file:///x'"),
    ({"artifact_uri": "ｆｉｌｅ:///x"}, f"artifact_uri: {NO_SCHEME}, got 'ｆｉｌｅ:///x'"),
    ({"artifact_type": "url", "artifact_uri": "file:///x"}, f"artifact_uri: {NO_FILE}, got 'file:///x'"),
    ({"artifact_uri": ..., "artifact_url": "file:///x"}, f"artifact_uri: {NO_FILE}, got 'file:///x'"),
    ({"artifact_uri": "http://"}, "artifact_uri: names no host, got 'http://'"),
    ({"artifact_uri": "http:///x"}, "artifact_uri: names no host, got 'http:///x'"),
    ({"artifact_uri": "http:x"}, "artifact_uri: names no host, got 'http:x'"),
    ({"artifact_uri": "http://:80/"}, "artifact_uri: names no host, got 'http://:80/'"),
    ({"artifact_uri": "http://user@/"}, "artifact_uri: names no host, got 'http://user@/'"),
    ({"artifact_uri": "http://[::1"}, "artifact_uri: is no URL (Invalid IPv6 URL), got 'http://[::1'"),
    (
        {"artifact_uri": "http://x:99999/"},
        "artifact_uri: is no URL (Port out of range 0-65535), got 'http://x:99999/'",
    ),
    ({"artifact_uri": "http://a b/"}, "artifact_uri: must hold no spaces or control characters, got 'http://a b/'"),
    ({"artifact_uri": "http://a\n/"}, r"artifact_uri: must hold no spaces or control characters, got 'http://a\n/'"),
    (
        {"artifact_uri": "http://a/\x00"},
        r"artifact_uri: must hold no spaces or control characters, got 'http://a/\x00'",
    ),
    (
        {"artifact_uri": TOO_LONG},
        f"artifact_uri: must be at most 16384 characters, got {TOO_LONG[:120]!r}… (20017 characters)",
    ),
    (
        {"artifact_uri": "data:text/plain"},
        "artifact_uri: is no data: URI: a comma must stand before the data, got 'data:text/plain'",
    ),
    ({"artifact_uri": "data:,\x07"}, r"artifact_uri: must hold no control characters, got 'data:,\x07'"),
    ({"expiration": 5}, f"expiration: {NO_TIME}, got 5"),
    ({"expiration": True}, f"expiration: {NO_TIME}, got True"),
    ({"expiration": []}, f"expiration: {NO_TIME}, got []"),
    ({"expiration": "tomorrow"}, f"expiration: {NO_TIME}, got 'tomorrow'"),
    ({"expiration": " "}, f"expiration: {NO_TIME}, got ' '"),
    ({"expiration": "2026-11-25"}, f"expiration: {NO_TIME}, got '2026-11-25'"),
    ({"expiration": "20261125T120000Z"}, f"expiration: {NO_TIME}, got '20261125T120000Z'"),
    ({"expiration": "2026-11-25T12:00:00Z\n"}, rf"expiration: {NO_TIME}, got '2026-11-25T12:00:00Z\n'"),
    ({"expiration": "２026-11-25T12:00:00Z"}, f"expiration: {NO_TIME}, got '２026-11-25T12:00:00Z'"),
    ({"expiration": "2026-02-30T00:00:00Z"}, f"expiration: {NO_SUCH_TIME}, got '2026-02-30T00:00:00Z'"),
    ({"expiration": "2026-13-01T00:00:00Z"}, f"expiration: {NO_SUCH_TIME}, got '2026-13-01T00:00:00Z'"),
    ({"expiration": "0000-01-01T00:00:00Z"}, f"expiration: {NO_SUCH_TIME}, got '0000-01-01T00:00:00Z'"),
    ({"expiration": "2026-11-25T25:00:00Z"}, f"expiration: {NO_SUCH_TIME}, got '2026-11-25T25:00:00Z'"),
    ({"expiration": "2026-11-25T12:00:60Z"}, f"expiration: {NO_SUCH_TIME}, got '2026-11-25T12:00:60Z'"),
    ({"expiration": "2026-11-25T12:00:00+24:00"}, f"expiration: {NO_SUCH_TIME}, got '2026-11-25T12:00:00+24:00'"),
    ({"expiration": "9999-12-31T23:59:59-23:59"}, f"expiration: {NO_SUCH_TIME}, got '9999-12-31T23:59:59-23:59'"),
    ({"expiration": "0001-01-01T00:00:00+01:00"}, f"expiration: {NO_SUCH_TIME}, got '0001-01-01T00:00:00+01:00'"),
    ({"tasked_at": "yesterday"}, f"tasked_at: {NO_TIME}, got 'yesterday'"),
    ({"duration": -1}, f"duration: must be from 0 to {MAX_DURATION} seconds, got -1"),
    ({"duration": 10**30}, f"duration: must be from 0 to {MAX_DURATION} seconds, got {10**30}"),
    ({"duration": 1e300}, f"duration: must be from 0 to {MAX_DURATION} seconds, got 1e+300"),
    ({"duration": True}, "duration: must be a number of seconds, got True"),
    ({"duration": "soon"}, "duration: must be a number of seconds, got 'soon'"),
    ({"duration": "nan"}, "duration: must be a number of seconds, got 'nan'"),
    ({"duration": "１２"}, "duration: must be a number of seconds, got '１２'"),
    ({"duration": "1_0"}, "duration: must be a number of seconds, got '1_0'"),
    ({"duration": []}, "duration: must be a number of seconds, got []"),
    ({"rules": [1]}, "rules: must be an object, an empty list or null, got [1]"),
    ({"rules": "none"}, "rules: must be an object, an empty list or null, got 'none'"),
    ({"rules": 0}, "rules: must be an object, an empty list or null, got 0"),
    ({"rules": False}, "rules: must be an object, an empty list or null, got False"),
    ({"rules": {"min_allowed_bid": 1.0}}, "rules.min_allowed_bid: must be an integer number of wei, got 1.0"),
    ({"rules": {"min_allowed_bid": "1"}}, "rules.min_allowed_bid: must be an integer number of wei, got '1'"),
    ({"rules": {"min_allowed_bid": True}}, "rules.min_allowed_bid: must be an integer number of wei, got True"),
    ({"rules": {"max_allowed_bid": 1e18}}, "rules.max_allowed_bid: must be an integer number of wei, got 1e+18"),
    ({"rules": {"max_allowed_bid": "1"}}, "rules.max_allowed_bid: must be an integer number of wei, got '1'"),
    ({"rules": {"min_allowed_bid": -1}}, f"rules.min_allowed_bid: {NO_BID}, got -1"),
    ({"rules": {"max_allowed_bid": -1}}, f"rules.max_allowed_bid: {NO_BID}, got -1"),
    ({"rules": {"max_allowed_bid": 2**256}}, f"rules.max_allowed_bid: {NO_BID}, got {2**256}"),
    (
        {"rules": {"min_allowed_bid": 2, "max_allowed_bid": 1}},
        "rules.max_allowed_bid: must be at least rules.min_allowed_bid (2), got 1",
    ),
    (
        {"phase": "voting"},
        "phase: must be one of assertion, assertion_window, arbitration, arbitration_window, got 'voting'",
    ),
    (
        {"phase": ""},
        "phase: must be one of assertion, assertion_window, arbitration, arbitration_window, got ''",
    ),
    ({"phase": 1}, "phase: must be one of assertion, assertion_window, arbitration, arbitration_window, got 1"),
    ({"sha256": "abc"}, "sha256: must be 64 hexadecimal digits, got 'abc'"),
    ({"sha256": "g" * 64}, f"sha256: must be 64 hexadecimal digits, got '{'g' * 64}'"),
    ({"sha256": SHA + "\n"}, rf"sha256: must be 64 hexadecimal digits, got '{SHA}\n'"),
    ({"sha256": 5}, "sha256: must be 64 hexadecimal digits, got 5"),
    ({"metadata": {"sha256": ""}}, "metadata.sha256: must be 64 hexadecimal digits, got ''"),
    (
        {"sha256": SHA, "metadata": {"sha256": "f" * 64}},
        f"metadata.sha256: differs from sha256 ({SHA}), got '{'f' * 64}'",
    ),
    ({"mimetype": ""}, f"mimetype: {NO_MIMETYPE}, got ''"),
    ({"mimetype": "exe"}, f"mimetype: {NO_MIMETYPE}, got 'exe'"),
    ({"mimetype": "PE32 executable"}, f"mimetype: {NO_MIMETYPE}, got 'PE32 executable'"),
    ({"mimetype": "a,b/c"}, f"mimetype: {NO_MIMETYPE}, got 'a,b/c'"),
    ({"mimetype": "text/plain\n"}, rf"mimetype: {NO_MIMETYPE}, got 'text/plain\n'"),
    ({"mimetype": "téxt/plain"}, f"mimetype: {NO_MIMETYPE}, got 'téxt/plain'"),
    ({"mimetype": "a/" + "b" * 254}, f"mimetype: {NO_MIMETYPE}, got 'a/{'b' * 118}'… (256 characters)"),
    ({"metadata": {"mimetype": 5}}, f"metadata.mimetype: {NO_MIMETYPE}, got 5"),
    ({"metadata": [1]}, "metadata: must be an object or null, got [1]"),
    ({"metadata": "x"}, "metadata: must be an object or null, got 'x'"),
    ({"response_url": 5}, "response_url: must be a string or null, got 5"),
    ({"response_url": ""}, "response_url: must be an http or https URL, got ''"),
    ({"response_url": "ftp://x.example/"}, "response_url: must be an http or https URL, got 'ftp://x.example/'"),
    ({"response_url": "file:///x"}, "response_url: must be an http or https URL, got 'file:///x'"),
    ({"response_url": "data:,x"}, "response_url: must be an http or https URL, got 'data:,x'"),
    ({"response_url": "https://"}, "response_url: names no host, got 'https://'"),
    (
        {"response_url": "https://x.example/\r\nHost: y"},
        r"response_url: must hold no spaces or control characters, got 'https://x.example/\r\nHost: y'",
    ),
]


def test_the_mimetype_at_top_level_wins_whatever_metadata_calls_the_type():
    pe = {
        "mimetype": "application/x-dosexec",
        "metadata": {"mimetype": "application/vnd.microsoft.portable-executable"},
    }
    assert Bounty.from_wire({**WIRE, **pe}).mimetype == "application/x-dosexec"
    assert Bounty.from_wire({**WIRE, "mimetype": None, "metadata": {"mimetype": "text/plain"}}).mimetype == "text/plain"


def test_the_uri_of_a_path_above_a_link_is_that_of_the_file_itself(tmp_path, monkeypatch):
    (tmp_path / "other" / "folder").mkdir(parents=True)
    (tmp_path / "other" / "x").write_text("the file that the system opens")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "other" / "folder")
    monkeypatch.chdir(tmp_path / "here")
    assert file_uri("link/../x") == (tmp_path / "other" / "x").as_uri()
    assert file_uri("link/x") == f"{(tmp_path / 'here').as_uri()}/link/x"
    assert file_uri("..") == tmp_path.as_uri()


class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "message"), INVALID, ids=lambda value: str(value)[:50].encode("ascii", "replace")
    )
    def test_with_the_field_and_the_value(self, fields, message):
        assert refusal({name: value for name, value in {**MINIMAL, **fields}.items() if value is not ...}) == message

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"[]", "bounty: must be a JSON object, got []"),
            (b"null", "bounty: must be a JSON object, got None"),
            (b"17", "bounty: must be a JSON object, got 17"),
            (b'"x"', "bounty: must be a JSON object, got 'x'"),
            (b"", "bounty: is no valid JSON (Input data was truncated), got b''"),
            (b'{"id":', """bounty: is no valid JSON (Input data was truncated), got b'{"id":'"""),
            (b'{"id":"\xff"}', r"""bounty: is not UTF-8, got b'{"id":"\xff"}'"""),
            ("\ud800", r"bounty: is not UTF-8, got '\ud800'"),
        ],
    )
    def test_what_is_no_json_object(self, raw, message):
        assert refusal(raw) == message

    @pytest.mark.parametrize(
        "raw",
        [
            json.dumps(WIRE).encode("utf-16"),
            json.dumps(WIRE).encode("utf-32"),
            json.dumps(WIRE).encode("utf-8-sig"),
            json.dumps(WIRE).encode() + b"x",
            json.dumps({**WIRE, "id": float("nan")}).encode(),
            json.dumps({**WIRE, "duration": float("inf")}).encode(),
            json.dumps(WIRE).replace("30,", "1e400,").encode(),
            json.dumps(WIRE).replace("1234567890", "9" * 5_000).encode(),
            json.dumps(WIRE).replace("62500000000000000", "9" * 5_000).encode(),
            json.dumps(WIRE).replace("30,", "9" * 5_000 + ",").encode(),
            b"9" * 200_000,
            b'{"id":"\\ud800"}',
        ],
        ids=["utf-16", "utf-32", "bom", "trailing", "NaN", "inf", "1e400", "id", "bid", "duration", "digits", "half"],
    )
    def test_what_only_looks_like_json(self, raw):
        assert refusal(raw).startswith("bounty: is no valid JSON (")

    @pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
    def test_json_that_is_nested_100000_deep(self, raw):
        assert refusal(raw).startswith("bounty: is nested too deeply, got b'")

    def test_a_field_of_any_depth(self):
        # At some depths the decoder has just enough stack left and the message's repr would not.
        for depth in range(900, 1_100):
            nested = b"[" * depth + b"]" * depth
            message = refusal(b'{"id":%b,"artifact_type":"file","artifact_uri":"http://x.example/"}' % nested)
            assert message.startswith(("id: must be an integer or a string, got [[[[", "bounty: is nested too deeply"))

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_never_do_more_than_be_refused(self, raw):
        with pytest.raises(InvalidBounty):
            Bounty.decode(raw)

    @given(
        st.sampled_from(sorted(WIRE)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
    @settings(max_examples=500)
    def test_an_arbitrary_value_in_any_field_is_taken_or_refused_by_name(self, field, value):
        blamed = field
        try:
            bounty = Bounty.from_wire({**WIRE, field: value})
        except InvalidBounty as error:
            blamed = error.field.split(".")[0]
        else:
            assert Bounty.decode(bounty.encode()) == bounty
        assert blamed == field

    def test_an_error_keeps_a_huge_value_out_of_its_message(self):
        assert len(refusal({**MINIMAL, "artifact_uri": "gopher:" + "x" * 10_000_000})) < 300


class TestValidFromBirth:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"artifact_type": "file"}, "artifact_type: must be an ArtifactType, got 'file'"),
            ({"phase": "assertion"}, "phase: must be a Phase, got 'assertion'"),
            ({"rules": {}}, "rules: must be BountyRules, got {}"),
            ({"expiration": "2026"}, "expiration: must be an aware datetime in UTC, got '2026'"),
            ({"sha256": SHA.upper()}, f"sha256: must be lower-case, got '{SHA.upper()}'"),
            ({"duration": "30"}, "duration: must be a number of seconds, got '30'"),
            ({"duration": float("nan")}, f"duration: must be from 0 to {MAX_DURATION} seconds, got nan"),
            (
                {"response_url": b"https://x.example/"},
                "response_url: must be a string or null, got b'https://x.example/'",
            ),
            ({"artifact_uri": "file:///x"}, f"artifact_uri: {NO_FILE}, got 'file:///x'"),
            ({"artifact_uri": ArtifactType.FILE}, "artifact_uri: must be a string, got <ArtifactType.FILE: 'file'>"),
        ],
    )
    def test_a_bounty_made_in_python_is_checked_like_one_from_the_wire(self, changes, message):
        good = {
            "id": 1,
            "artifact_type": ArtifactType.FILE,
            "artifact_uri": "http://x.example/",
            "expiration": NOW,
        }
        assert Bounty(**good).expiration == NOW
        with pytest.raises(InvalidBounty) as caught:
            Bounty(**{**good, **changes})
        assert str(caught.value) == message

    @pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1))])
    def test_times_are_aware_and_in_utc(self, zone):
        with pytest.raises(InvalidBounty, match=r"^tasked_at: must be an aware datetime in UTC, got datetime"):
            msgspec.structs.replace(decode(), tasked_at=NOW.replace(tzinfo=zone))

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("file:/x", "artifact_uri: must be file:/// and an absolute path, got 'file:/x'"),
            ("file://host/x", "artifact_uri: must be file:/// and an absolute path, got 'file://host/x'"),
            ("file:///a\nb", r"artifact_uri: must hold no control characters; percent-encode them, got 'file:///a\nb'"),
            (
                "file:///\udcff",
                r"artifact_uri: must hold no control characters; percent-encode them, got 'file:///\udcff'",
            ),
        ],
    )
    def test_a_local_file_uri_is_absolute_and_can_be_sent(self, uri, message):
        with pytest.raises(InvalidBounty) as caught:
            Bounty.from_wire({**MINIMAL, "artifact_uri": uri}, file_allowed=True)
        assert str(caught.value) == message

    def test_a_bounty_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            decode().id = 2

    def test_it_has_expired_when_its_time_has_come(self):
        bounty = decode(duration=30)
        assert not bounty.expired(NOW + timedelta(seconds=29, microseconds=999_999))
        assert bounty.expired(NOW + timedelta(seconds=30))

    def test_the_present_decides_by_default(self):
        assert decode(expiration="2001-01-01T00:00:00Z").expired()
        assert not decode(expiration="9999-01-01T00:00:00Z").expired()


SENDABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Zs"]))
URIS = st.one_of(
    st.builds("http://x.example/{}".format, SENDABLE),
    st.builds("https://[2001:db8::1]:8080/{}".format, SENDABLE),
    st.builds("data:,{}".format, SENDABLE),
    st.builds(lambda name: file_uri(b"/" + name), st.binary(max_size=20)),
)
INSTANTS = st.datetimes(timezones=st.just(UTC))
BIDS = st.integers(0, 2**256 - 1)
BOUNTIES = st.builds(
    Bounty,
    id=st.integers(0, 10**128 - 1)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=128),
    artifact_type=st.sampled_from(ArtifactType),
    artifact_uri=URIS,
    expiration=INSTANTS,
    rules=st.tuples(BIDS, BIDS).map(lambda bids: BountyRules(min_allowed_bid=min(bids), max_allowed_bid=max(bids))),
    phase=st.sampled_from(Phase),
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    mimetype=st.none() | st.from_regex(r"\A[a-z]{1,20}/[a-z0-9.+-]{1,40}\Z"),
    response_url=st.none() | st.builds("https://x.example/r?nonce={}".format, SENDABLE),
    duration=st.none() | st.integers(0, MAX_DURATION) | st.floats(0, MAX_DURATION),
    tasked_at=st.none() | INSTANTS,
    file_allowed=st.just(True),
)


class TestWhatIsSent:
    @given(BOUNTIES)
    @settings(max_examples=400)
    def test_decoding_what_was_encoded_gives_the_same_bounty(self, bounty):
        assert Bounty.decode(bounty.encode(), file_allowed=True) == bounty

    @given(BOUNTIES)
    def test_any_json_parser_reads_the_same_numbers(self, bounty):
        wire = json.loads(bounty.encode())
        assert wire == bounty.to_wire()
        assert wire["rules"] == {
            "min_allowed_bid": bounty.rules.min_allowed_bid,
            "max_allowed_bid": bounty.rules.max_allowed_bid,
        }

    def test_the_first_spelling_of_every_field_is_sent(self):
        bounty = Bounty.decode(json.dumps(WIRE))
        sent = dict(WIRE)
        del sent["metadata"]
        assert json.loads(bounty.encode()) == sent

    def test_unset_fields_are_left_out(self):
        assert decode().to_wire() == {
            "id": 1,
            "artifact_uri": "https://api.example/a",
            "artifact_type": "file",
            "expiration": "2026-11-25T12:01:30+00:00",
            "phase": "assertion",
            "rules": {"min_allowed_bid": 62500000000000000, "max_allowed_bid": 999900000000000000},
        }


ROOT = uuid.UUID("fafee1eb-ee7d-4b31-bee5-1547bd26c731")


class TestLocalBounties:
    def test_the_published_vector(self):
        bounty = Bounty.local(data=samples.eicar())
        assert len(samples.eicar()) == 68
        assert bounty.id == 2783463150

    @given(st.sampled_from(ArtifactType), st.binary(min_size=32, max_size=32).map(bytes.hex))
    def test_the_id_is_the_low_32_bits_of_the_named_uuid(self, artifact_type, sha256):
        named = uuid.uuid5(uuid.uuid5(ROOT, artifact_type.name), sha256)
        assert local_id(artifact_type, sha256) == named.int & 0xFFFFFFFF

    @pytest.mark.parametrize(
        "name",
        [b"plain", b"with space", b"line\nend", b"100%", b"%41", b"a?b#c", b"caf\xc3\xa9", b"caf\xe9\xff", b"x" * 255],
    )
    def test_from_a_file_of_any_name(self, tmp_path, name):
        path = os.fsencode(tmp_path) + b"/" + name
        with open(path, "wb") as file:
            file.write(b"content")
        bounty = Bounty.local(os.fsdecode(path), now=NOW)
        assert bounty.sha256 == hashlib.sha256(b"content").hexdigest()
        assert bounty.artifact_uri == file_uri(os.fsdecode(path))
        assert bounty.artifact_uri.isascii()
        assert bounty.artifact_type is ArtifactType.FILE
        assert bounty.expiration == NOW + timedelta(seconds=30)
        assert bounty.duration == 30
        assert bounty.rules == LOCAL_RULES
        assert bounty.file_allowed
        assert Bounty.decode(bounty.encode(), file_allowed=True) == bounty

    def test_a_relative_path_becomes_absolute(self, tmp_path, monkeypatch):
        (tmp_path / "x").write_bytes(b"")
        monkeypatch.chdir(tmp_path)
        assert Bounty.local("x").artifact_uri == f"file://{tmp_path}/x"

    @given(st.text(st.sampled_from("/.a~%\n é\udcff-_"), min_size=1, max_size=12))
    def test_every_path_has_the_uri_that_leads_back_to_it(self, path):
        uri = file_uri(path)
        assert os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))) == os.path.abspath(path)
        assert re.fullmatch(r"file:///[A-Za-z0-9/._~%-]*", uri)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Bounty.local(tmp_path / "missing")

    @pytest.mark.parametrize("mimetype", [None, "text/plain", 'text/plain; a="b,c"'])
    def test_bytes_travel_in_their_bounty(self, mimetype):
        bounty = Bounty.local(data=b"\x00\xff" * 100, mimetype=mimetype)
        assert decode_data_uri(bounty.artifact_uri, 1000).data == b"\x00\xff" * 100
        assert bounty.mimetype == mimetype
        assert bounty.sha256 == hashlib.sha256(b"\x00\xff" * 100).hexdigest()

    def test_a_stream_is_read_to_its_end(self):
        assert Bounty.local(stream=io.BytesIO(b"abc"), now=NOW) == Bounty.local(data=b"abc", now=NOW)

    def test_nothing_at_all_is_an_artifact_too(self):
        assert Bounty.local(data=b"").sha256 == hashlib.sha256(b"").hexdigest()

    def test_a_url_is_the_artifact_itself(self):
        url = "https://x.example/page?q=ä"
        bounty = Bounty.local(url=url)
        assert (bounty.artifact_uri, bounty.artifact_type, bounty.mimetype) == (url, ArtifactType.URL, URL_MIMETYPE)
        assert bounty.sha256 == hashlib.sha256(url.encode()).hexdigest()

    def test_a_file_that_holds_a_url_is_not_that_url(self):
        url = "https://x.example/"
        of_url, of_file = Bounty.local(url=url), Bounty.local(data=url.encode())
        assert of_url.sha256 == of_file.sha256
        assert of_url.id != of_file.id

    @pytest.mark.parametrize("url", ["", "x.example", "ftp://x.example/", "http://x.example/\ud800", "http://a b/"])
    def test_what_is_no_url(self, url):
        with pytest.raises(InvalidBounty, match=r"^artifact_uri: "):
            Bounty.local(url=url)

    def test_a_known_hash_is_not_computed_again(self, tmp_path):
        assert Bounty.local(tmp_path / "not-read", sha256=SHA.upper()).sha256 == SHA

    def test_everything_else_can_be_chosen(self):
        rules = BountyRules(min_allowed_bid=1, max_allowed_bid=2)
        bounty = Bounty.local(
            data=b"x",
            rules=rules,
            lifetime=timedelta(seconds=1.5),
            response_url="http://x.example/r",
            phase=Phase.ARBITRATION,
            now=NOW,
        )
        assert (bounty.rules, bounty.phase, bounty.response_url) == (rules, Phase.ARBITRATION, "http://x.example/r")
        assert (bounty.expiration, bounty.duration) == (NOW + timedelta(seconds=1.5), 1.5)

    @pytest.mark.parametrize("lifetime", [timedelta(seconds=-1), timedelta.max])
    def test_a_lifetime_that_cannot_be(self, lifetime):
        with pytest.raises(InvalidBounty, match=rf"^duration: must be from 0 to {MAX_DURATION} seconds, got "):
            Bounty.local(data=b"x", lifetime=lifetime)

    @pytest.mark.parametrize(
        ("sources", "given"),
        [
            ({}, "[]"),
            ({"data": b"", "url": "http://x.example/"}, "['data', 'url']"),
            ({"path": "x", "stream": io.BytesIO()}, "['path', 'stream']"),
        ],
    )
    def test_exactly_one_source(self, sources, given):
        with pytest.raises(InvalidBounty) as caught:
            Bounty.local(**sources)
        assert str(caught.value) == f"artifact: exactly one of path, data, stream or url is needed, got {given}"
