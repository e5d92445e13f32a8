import enum
import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psengine_host.analysis import (
    MAX_TEXT,
    Analysis,
    AnalysisMetadata,
    Comment,
    EngineInfo,
    Scanner,
    ScannerEnvironment,
    Verdict,
)
from psengine_host.bounty import ArtifactType
from psengine_host.errors import InvalidAnalysis

WIRE = {
    "verdict": "malicious",
    "bid": 10**18,
    "confidence": 0.98,
    "vendor": "Vendor",
    "author": "Author",
    "metadata": {
        "product": "Product",
        "malware_family": "Trojan.Win32.X",
        "comments": ["one", "two"],
        "heuristic": False,
        "confidence": 0.98,
        "scanner": {
            "version": "1.0",
            "vendor_version": "2.0",
            "signatures_version": "3.0",
            "environment": {"operating_system": "Linux", "architecture": "x86_64"},
        },
    },
}


def refusal(make, *args: object, **fields: object) -> str:
    with pytest.raises(InvalidAnalysis) as caught:
        make(*args, **fields)
    assert str(caught.value).isprintable()
    return str(caught.value)


class TestConstructors:
    def test_a_judgement_says_what_it_was_given(self):
        analysis = Analysis.malicious("Eicar", confidence=0.5, bid=7, comments=["a", "b"], heuristic=True)
        assert (analysis.verdict, analysis.malware_family, analysis.confidence) == (Verdict.MALICIOUS, "Eicar", 0.5)
        assert (analysis.bid, analysis.comments, analysis.metadata.heuristic) == (7, ("a", "b"), True)
        assert not analysis.declined

    def test_benign(self):
        analysis = Analysis.benign(confidence=1, bid=7, comments=("clean",), heuristic=False)
        assert analysis.to_wire() == {
            "verdict": "benign",
            "bid": 7,
            "confidence": 1,
            "metadata": {"comments": ["clean"], "heuristic": False, "confidence": 1},
        }

    def test_suspicious_takes_no_bid(self):
        assert Analysis.suspicious("PUA", confidence=0.4, comments=["packed"]).to_wire() == {
            "verdict": "suspicious",
            "confidence": 0.4,
            "metadata": {"malware_family": "PUA", "comments": ["packed"], "confidence": 0.4},
        }

    def test_unknown_says_why(self):
        assert Analysis.unknown("too old").to_wire() == {"verdict": "unknown", "metadata": {"comments": ["too old"]}}
        assert Analysis.unknown().to_wire() == {"verdict": "unknown"}

    @pytest.mark.parametrize(
        ("make", "verdict", "comment"),
        [
            (Analysis.skipped, "unknown", "SKIPPED"),
            (Analysis.unsupported, "unknown", "SKIPPED:TYPE-UNSUPPORTED"),
            (Analysis.encrypted, "unknown", "SKIPPED:ENCRYPTED"),
            (Analysis.unsafe_decompression, "suspicious", "SKIPPED:DECOMPRESSION-UNSAFE"),
            (Analysis.cannot_fetch, "unknown", "SKIPPED:CANNOT-FETCH"),
            (Analysis.expired, "unknown", "SKIPPED:EXPIRED"),
            (Analysis.engine_error, "unknown", "ERROR:ENGINE"),
            (Analysis.timed_out, "unknown", "ERROR:TIMEOUT"),
            (Analysis.worker_lost, "unknown", "ERROR:WORKER-LOST"),
        ],
    )
    def test_an_answer_that_is_no_judgement_carries_its_comment_and_the_reasons(self, make, verdict, comment):
        assert make().to_wire() == {"verdict": verdict, "metadata": {"comments": [comment]}}
        assert make("why", "and").to_wire() == {"verdict": verdict, "metadata": {"comments": [comment, "why", "and"]}}
        assert make().declined == comment.startswith("SKIPPED")
        assert comment in {known.value for known in Comment}

    @pytest.mark.parametrize("comments", [["why", "SKIPPED"], ["SKIPPEDNESS"], [], ["skipped"]])
    def test_only_the_first_comment_declines(self, comments):
        assert not Analysis.benign(comments=comments).declined

    @pytest.mark.parametrize(
        ("verdict", "takes"), [("malicious", True), ("benign", True), ("suspicious", False), ("unknown", False)]
    )
    def test_who_takes_a_bid(self, verdict, takes):
        assert Verdict(verdict).takes_bid is takes


class TestTheWire:
    def test_the_whole_form_there_and_back(self):
        analysis = Analysis.decode(json.dumps(WIRE))
        assert json.loads(analysis.encode()) == WIRE
        assert Analysis.from_wire(WIRE) == analysis

    @pytest.mark.parametrize("confidence", [0.98, 0, 1, 1.0])
    @pytest.mark.parametrize(
        "place",
        [
            lambda value: {"confidence": value},
            lambda value: {"metadata": {"confidence": value}},
            lambda value: {"confidence": None, "metadata": {"confidence": value}},
            lambda value: {"confidence": value, "metadata": {"confidence": 0.123}},
        ],
    )
    def test_confidence_is_taken_from_either_place_and_sent_in_both(self, confidence, place):
        analysis = Analysis.from_wire({"verdict": "benign", **place(confidence)})
        assert analysis.confidence == confidence
        assert analysis.to_wire() == {
            "verdict": "benign",
            "confidence": confidence,
            "metadata": {"confidence": confidence},
        }

    @pytest.mark.parametrize(
        "absent",
        [
            {},
            {"bid": None, "confidence": None, "vendor": None, "author": None, "metadata": None},
            {"metadata": {}},
            {"metadata": {"product": None, "comments": None, "heuristic": None, "scanner": None}},
            {"metadata": {"comments": []}},
            {"unknown": {"deep": [1]}, "metadata": {"unknown": 1}},
        ],
    )
    def test_absent_and_null_and_unknown_fields(self, absent):
        assert Analysis.from_wire({"verdict": "unknown", **absent}) == Analysis.unknown()
        assert json.loads(Analysis.unknown().encode()) == {"verdict": "unknown"}

    def test_big_bids_are_exact(self):
        analysis = Analysis.malicious(bid=2**256 - 1)
        assert str(2**256 - 1).encode() in analysis.encode()
        assert Analysis.decode(analysis.encode()).bid == 2**256 - 1

    @pytest.mark.parametrize("bid", [0, None])
    @pytest.mark.parametrize("verdict", ["suspicious", "unknown"])
    def test_no_judgement_may_say_that_it_bids_nothing(self, verdict, bid):
        assert Analysis.from_wire({"verdict": verdict, "bid": bid}).bid == bid

    def test_an_enum_member_is_a_spelling_too(self):
        assert Analysis.from_wire({"verdict": Verdict.BENIGN}).verdict is Verdict.BENIGN


NO_NUMBER = "confidence: must be a number from 0.0 to 1.0"
NO_TEXT = "must be text that UTF-8 can hold (lone surrogates it cannot)"
INVALID = [
    ({"verdict": None}, "verdict: must be one of benign, malicious, suspicious, unknown, got None"),
    ({"verdict": "Malicious"}, "verdict: must be one of benign, malicious, suspicious, unknown, got 'Malicious'"),
    ({"verdict": True}, "verdict: must be one of benign, malicious, suspicious, unknown, got True"),
    ({"verdict": []}, "verdict: must be one of benign, malicious, suspicious, unknown, got []"),
    ({"bid": True}, "bid: must be an integer number of wei, got True"),
    ({"bid": 1.0}, "bid: must be an integer number of wei, got 1.0"),
    ({"bid": "1"}, "bid: must be an integer number of wei, got '1'"),
    ({"bid": float("nan")}, "bid: must be an integer number of wei, got nan"),
    ({"bid": -1}, "bid: must be from 0 to 2**256 - 1 wei, got -1"),
    ({"bid": 2**256}, f"bid: must be from 0 to 2**256 - 1 wei, got {2**256}"),
    ({"verdict": "suspicious", "bid": 1}, "bid: must be 0 for suspicious, got 1"),
    ({"verdict": "unknown", "bid": 1}, "bid: must be 0 for unknown, got 1"),
    ({"confidence": "1"}, f"{NO_NUMBER}, got '1'"),
    ({"confidence": True}, f"{NO_NUMBER}, got True"),
    ({"confidence": [0.5]}, f"{NO_NUMBER}, got [0.5]"),
    ({"confidence": float("nan")}, "confidence: must be from 0.0 to 1.0, got nan"),
    ({"confidence": float("inf")}, "confidence: must be from 0.0 to 1.0, got inf"),
    ({"confidence": -0.1}, "confidence: must be from 0.0 to 1.0, got -0.1"),
    ({"confidence": 98}, "confidence: must be from 0.0 to 1.0, got 98"),
    ({"confidence": 10**400}, f"confidence: must be from 0.0 to 1.0, got 1{'0' * 119}… (401 characters)"),
    ({"metadata": {"confidence": False}}, f"{NO_NUMBER}, got False"),
    ({"vendor": 5}, "vendor: must be a string, got 5"),
    ({"author": b"x"}, "author: must be a string, got b'x'"),
    ({"vendor": "\ud800"}, rf"vendor: {NO_TEXT}, got '\ud800'"),
    (
        {"vendor": "x" * (MAX_TEXT + 1)},
        f"vendor: must be at most 1048576 characters, got '{'x' * 120}'… (1048577 characters)",
    ),
    ({"metadata": []}, "metadata: must be an object, got []"),
    ({"metadata": "x"}, "metadata: must be an object, got 'x'"),
    ({"metadata": {"product": 1}}, "metadata.product: must be a string, got 1"),
    ({"metadata": {"malware_family": ["x"]}}, "metadata.malware_family: must be a string, got ['x']"),
    ({"metadata": {"malware_family": "a\udcffb"}}, rf"metadata.malware_family: {NO_TEXT}, got 'a\udcffb'"),
    ({"metadata": {"comments": "SKIPPED"}}, "metadata.comments: must be a list of strings, got 'SKIPPED'"),
    ({"metadata": {"comments": ""}}, "metadata.comments: must be a list of strings, got ''"),
    ({"metadata": {"comments": {"a": 1}}}, "metadata.comments: must be a list of strings, got {'a': 1}"),
    ({"metadata": {"comments": 0}}, "metadata.comments: must be a list of strings, got 0"),
    ({"metadata": {"comments": False}}, "metadata.comments: must be a list of strings, got False"),
    ({"metadata": {"comments": ["a", 5]}}, "metadata.comments[1]: must be a string, got 5"),
    ({"metadata": {"comments": ["a", None]}}, "metadata.comments[1]: must be a string, got None"),
    ({"metadata": {"comments": ["a", "\udc80"]}}, rf"metadata.comments[1]: {NO_TEXT}, got '\udc80'"),
    (
        {"metadata": {"comments": ["x" * 1000] * 1049}},
        "metadata.comments: must be at most 1048576 characters in all, got 1049000",
    ),
    ({"metadata": {"heuristic": 1}}, "metadata.heuristic: must be true or false, got 1"),
    ({"metadata": {"heuristic": "yes"}}, "metadata.heuristic: must be true or false, got 'yes'"),
    ({"metadata": {"scanner": "1.0"}}, "metadata.scanner: must be an object, got '1.0'"),
    ({"metadata": {"scanner": {"version": 1.0}}}, "metadata.scanner.version: must be a string, got 1.0"),
    ({"metadata": {"scanner": {"environment": []}}}, "metadata.scanner.environment: must be an object, got []"),
    (
        {"metadata": {"scanner": {"environment": {"architecture": 64}}}},
        "metadata.scanner.environment.architecture: must be a string, got 64",
    ),
]


class TestRefused:
    @pytest.mark.parametrize(("fields", "message"), INVALID, ids=lambda value: ascii(value)[:60])
    def test_with_the_field_and_the_value(self, fields, message):
        assert refusal(Analysis.from_wire, {"verdict": "malicious", **fields}) == message

    @pytest.mark.parametrize("wire", [None, [], "malicious", 1, object])
    def test_what_is_no_object(self, wire):
        assert refusal(Analysis.from_wire, wire).startswith("analysis: must be an object, got ")

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"[]", "analysis: must be an object, got []"),
            (b"{", "analysis: is no valid JSON (Input data was truncated), got b'{'"),
            (b'{"verdict":"\xff"}', r"""analysis: is not UTF-8, got b'{"verdict":"\xff"}'"""),
            (b"[" * 100_000, f"analysis: is nested too deeply, got b'{'[' * 80}'"),
        ],
    )
    def test_what_is_no_json(self, raw, message):
        assert refusal(Analysis.decode, raw) == message

    @pytest.mark.parametrize(
        ("make", "arguments", "message"),
        [
            (Analysis.malicious, {"comments": "a text"}, "metadata.comments: must be a list of strings, got 'a text'"),
            (Analysis.malicious, {"malware_family": 5}, "metadata.malware_family: must be a string, got 5"),
            (Analysis.malicious, {"bid": True}, "bid: must be an integer number of wei, got True"),
            (Analysis.benign, {"confidence": float("nan")}, "confidence: must be from 0.0 to 1.0, got nan"),
            (Analysis.benign, {"bid": -5}, "bid: must be from 0 to 2**256 - 1 wei, got -5"),
            (Analysis, {"verdict": "benign"}, "verdict: must be a Verdict, got 'benign'"),
            (Analysis, {"verdict": Verdict.BENIGN, "metadata": {}}, "metadata: must be AnalysisMetadata, got {}"),
            (AnalysisMetadata, {"comments": ["a"]}, "metadata.comments: must be a tuple of strings, got ['a']"),
            (
                AnalysisMetadata,
                {"scanner": {"version": "1"}},
                "metadata.scanner: must be a Scanner, got {'version': '1'}",
            ),
            (
                Scanner,
                {"environment": "Linux"},
                "metadata.scanner.environment: must be a ScannerEnvironment, got 'Linux'",
            ),
        ],
    )
    def test_a_value_made_in_python_is_checked_like_one_from_the_wire(self, make, arguments, message):
        assert refusal(make, **arguments) == message

    def test_a_reason_that_is_no_text(self):
        assert refusal(Analysis.unknown, "a", ValueError("b")).startswith(
            "metadata.comments[1]: must be a string, got Value"
        )

    def test_an_analysis_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            Analysis.benign().bid = 5


class Name(str):
    """What an XML library or numpy returns for a text."""


class Score(float):
    """What numpy returns for a number."""


class Family(enum.StrEnum):
    EICAR = "EICAR-Test-File"


TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=30)
SCANNERS = st.none() | st.builds(
    Scanner,
    version=TEXTS,
    vendor_version=TEXTS,
    signatures_version=TEXTS,
    environment=st.none() | st.builds(ScannerEnvironment, operating_system=TEXTS, architecture=TEXTS),
)
METADATA = st.builds(
    AnalysisMetadata,
    product=TEXTS,
    malware_family=TEXTS,
    comments=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=4).map(tuple),
    heuristic=st.none() | st.booleans(),
    scanner=SCANNERS,
)
COMMON = {
    "confidence": st.none() | st.floats(0, 1) | st.integers(0, 1),
    "vendor": TEXTS,
    "author": TEXTS,
    "metadata": METADATA,
}
ANALYSES = st.builds(
    Analysis,
    verdict=st.sampled_from([Verdict.MALICIOUS, Verdict.BENIGN]),
    bid=st.none() | st.integers(0, 2**256 - 1),
    **COMMON,
) | st.builds(
    Analysis,
    verdict=st.sampled_from([Verdict.SUSPICIOUS, Verdict.UNKNOWN]),
    bid=st.none() | st.just(0),
    **COMMON,
)


class TestWhatCanBeSent:
    def test_texts_of_every_kind_become_plain_ones(self):
        analysis = Analysis(
            verdict=Verdict.MALICIOUS,
            confidence=Score(0.5),
            vendor=Name("vendor"),
            metadata=AnalysisMetadata(
                malware_family=Family.EICAR,
                comments=(Name("one"), "two"),
                scanner=Scanner(version=Name("1"), environment=ScannerEnvironment(architecture=Name("x86_64"))),
            ),
        )
        assert json.loads(analysis.encode()) == {
            "verdict": "malicious",
            "confidence": 0.5,
            "vendor": "vendor",
            "metadata": {
                "malware_family": "EICAR-Test-File",
                "comments": ["one", "two"],
                "confidence": 0.5,
                "scanner": {"version": "1", "environment": {"architecture": "x86_64"}},
            },
        }
        assert {type(text) for text in (analysis.vendor, analysis.malware_family, *analysis.comments)} == {str}

    def test_the_largest_texts_are_sent(self):
        analysis = Analysis.unknown("é" * MAX_TEXT)
        assert Analysis.decode(analysis.encode()) == analysis

    @given(ANALYSES)
    @settings(max_examples=400)
    def test_decoding_what_was_encoded_gives_the_same_analysis(self, analysis):
        assert Analysis.decode(analysis.encode()) == analysis
        assert Analysis.from_wire(json.loads(analysis.encode())) == analysis

    @given(ANALYSES)
    def test_nothing_unset_is_sent(self, analysis):
        def values(wire):
            for value in wire.values():
                yield value
                if isinstance(value, dict):
                    yield from values(value)

        assert all(value is not None and value != [] for value in values(analysis.to_wire()))


class TestEngineInfo:
    def test_an_engine_that_says_nothing_takes_files_of_every_type_and_size(self):
        info = EngineInfo()
        assert info.artifact_types == {ArtifactType.FILE}
        assert (info.mimetypes, info.categories, info.max_artifact_size) == (frozenset(), frozenset(), None)

    def test_collections_of_any_kind_and_spelling(self):
        info = EngineInfo(artifact_types=["FILE", "url", ArtifactType.URL], mimetypes=["text/*"], categories={"pe"})
        assert info.artifact_types == {ArtifactType.FILE, ArtifactType.URL}
        assert info.mimetypes == frozenset({"text/*"})
        assert info.categories == frozenset({"pe"})
        assert {type(value) for value in (info.artifact_types, info.mimetypes, info.categories)} == {frozenset}

    def test_the_day_of_the_signatures(self):
        assert EngineInfo(signatures_date=datetime(2026, 11, 25, 12, tzinfo=UTC)).signatures_date == date(2026, 11, 25)
        assert type(EngineInfo(signatures_date=datetime(2026, 11, 25, 12, tzinfo=UTC)).signatures_date) is date

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"product": 5}, "info.product: must be a string, got 5"),
            ({"vendor": "\ud800"}, rf"info.vendor: {NO_TEXT}, got '\ud800'"),
            ({"engine_version": (1, 2)}, "info.engine_version: must be a string, got (1, 2)"),
            ({"signatures_version": 20261125}, "info.signatures_version: must be a string, got 20261125"),
            ({"signatures_date": "2026-11-25"}, "info.signatures_date: must be a date, got '2026-11-25'"),
            ({"artifact_types": "file"}, "info.artifact_types: must be a collection of strings, got 'file'"),
            ({"artifact_types": []}, "info.artifact_types: must name at least one artifact type, got []"),
            ({"artifact_types": ["mail"]}, "info.artifact_types: must hold 'file' or 'url', got ['mail']"),
            ({"mimetypes": 5}, "info.mimetypes: must be a collection of strings, got 5"),
            ({"mimetypes": [None]}, "info.mimetypes: must be a string, got None"),
            ({"max_artifact_size": -1}, "info.max_artifact_size: must be a number of bytes or None, got -1"),
            ({"max_artifact_size": True}, "info.max_artifact_size: must be a number of bytes or None, got True"),
            ({"max_artifact_size": 1e6}, "info.max_artifact_size: must be a number of bytes or None, got 1000000.0"),
        ],
    )
    def test_what_cannot_be_is_refused(self, fields, message):
        assert refusal(EngineInfo, **fields) == message

    def test_an_unknown_category_is_told_the_nearest(self):
        message = refusal(EngineInfo, categories=["archivs"])
        assert message.startswith("info.categories: ")
        assert "archives" in message
