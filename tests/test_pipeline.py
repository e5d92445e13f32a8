import gzip
import logging
import math
import os
import platform
import time
from collections import UserDict
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from psengine_host.analysis import Analysis, AnalysisMetadata, EngineInfo, Scanner, ScannerEnvironment, Verdict
from psengine_host.artifacts import Artifact
from psengine_host.bids import BidPolicy
from psengine_host.bounty import ArtifactType, Bounty, BountyRules, Phase
from psengine_host.engines.found import FoundEngine
from psengine_host.engines.loaded import Engine, load_engine
from psengine_host.engines.running import Session, context_for
from psengine_host.errors import ArtifactError, EngineError
from psengine_host.hookspecs import hookimpl
from psengine_host.job import Job, current_job, working_on
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import FailureKind, Outcome
from psengine_host.pipeline import EngineProfile, Prepared, conclude, judge, prepare, process, unavailable
from psengine_host.settings import NetworkSettings, Settings
from psengine_host.spool import Spool

RULES = BountyRules(min_allowed_bid=100, max_allowed_bid=1_100)
HOUR = timedelta(hours=1)


class Answering:
    """An engine that does with each artifact what it was made to do; a value is returned, a function called."""

    def __init__(self, answer):
        self.answer = answer
        self.artifacts = []

    @hookimpl
    def analyze(self, artifact, bounty, context):
        self.artifacts.append(artifact)
        return self.answer(artifact, bounty, context) if callable(self.answer) else self.answer


class Given(FoundEngine):
    __slots__ = ("plugin",)

    def load(self):
        return self.plugin


class Bench:
    """The pipeline around one engine: a real session, a real obtainer, a real spool."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.settings = Settings(network=NetworkSettings(allow=("127.0.0.1",)))
        self.obtain = Obtainer(self.settings, spool, Fetcher(self.settings.network)).obtain

    def session(self, plugin: object) -> Session:
        found = Given("scan", "given", "psengine.engines", "given", "9.9")
        found.plugin = plugin
        engine = load_engine(found)
        assert isinstance(engine, Engine), engine.reason
        return Session(engine, context_for("scan", self.settings, self.spool)).open()

    def run(self, answer, bounty=None, *, info=None, artifact=None, obtain=None, **options) -> Outcome:
        plugin = Answering(answer)
        self.artifacts = plugin.artifacts
        bounty = bounty or local(b"hello")
        profile = EngineProfile("scan", "9.9", info or EngineInfo())
        outcome = process(bounty, self.session(plugin), profile, obtain or self.obtain, artifact=artifact, **options)
        assert isinstance(outcome, Outcome)
        assert isinstance(outcome.analysis, Analysis)
        assert outcome.bounty is bounty
        assert outcome.engine == "scan"
        assert outcome.timings.total >= 0
        assert all(0 <= seconds < 60 for seconds in msgspec.structs.astuple(outcome.timings))
        msgspec.json.encode(outcome.answer())  # whatever it is, it can be sent
        return outcome


@pytest.fixture
def bench(tmp_path):
    with Spool(tmp_path / "spool-parent") as spool:
        (tmp_path / "spool-parent").mkdir()
        yield Bench(spool)


def local(data=b"hello", **options):
    return Bounty.local(data=data, **{"lifetime": HOUR, "rules": RULES, **options})


def unknown(outcome, *comments):
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.bid in (0, None)
    assert outcome.analysis.comments == comments


# --- what is answered without the engine ------------------------------------------------------------------------------


def test_an_expired_bounty_is_not_judged(bench):
    bounty = local(now=datetime.now(UTC) - timedelta(hours=2))
    outcome = bench.run(Analysis.benign(), bounty)
    unknown(outcome, "SKIPPED:EXPIRED", f"expired at {bounty.expiration.isoformat()}")
    assert outcome.failure is None
    assert outcome.timings.prepare > 0
    assert bench.artifacts == []


def test_an_expired_bounty_is_not_even_fetched(bench):
    def never(bounty, deadline):
        raise AssertionError("fetched")

    bounty = local(now=datetime.now(UTC) - timedelta(hours=2))
    unknown(
        bench.run(Analysis.benign(), bounty, obtain=never),
        "SKIPPED:EXPIRED",
        f"expired at {bounty.expiration.isoformat()}",
    )


def test_an_artifact_type_that_the_engine_does_not_take(bench):
    outcome = bench.run(Analysis.benign(), Bounty.local(url="http://example.com/", lifetime=HOUR))
    unknown(outcome, "SKIPPED:TYPE-UNSUPPORTED", "scan takes no url artifacts")
    assert outcome.failure is None
    assert outcome.timings.prepare > 0
    assert bench.artifacts == []


def test_a_url_artifact_is_the_url_itself_for_an_engine_that_takes_urls(bench):
    info = EngineInfo(artifact_types=frozenset({ArtifactType.URL}), mimetypes=frozenset({"application/pdf"}))
    outcome = bench.run(
        lambda artifact, *_: Analysis.malicious(artifact.url),
        Bounty.local(url="http://example.com/x", lifetime=HOUR),
        info=info,
    )
    assert outcome.analysis.malware_family == "http://example.com/x"


@pytest.mark.parametrize(
    ("info", "taken"),
    [
        (EngineInfo(mimetypes=frozenset({"application/pdf"})), b"%PDF-1.7\n1 0 obj\n"),
        (EngineInfo(categories=frozenset({"archives"})), gzip.compress(b"hello")),
    ],
    ids=["mimetype", "category"],
)
def test_a_type_that_the_engine_does_not_take(bench, info, taken):
    outcome = bench.run(Analysis.benign(), info=info)
    unknown(outcome, "SKIPPED:TYPE-UNSUPPORTED", "scan takes no text/plain")
    assert outcome.failure is None
    assert bench.artifacts == []
    assert bench.run(Analysis.benign(), local(taken), info=info).analysis.verdict is Verdict.BENIGN


def test_a_larger_artifact_than_the_engine_takes_is_skipped_unread(bench, tmp_path):
    sparse = tmp_path / "sparse"
    with open(sparse, "wb") as file:
        file.truncate(5 << 30)
    artifact = Artifact.from_path(sparse)
    bounty = Bounty.forge(ArtifactType.FILE, artifact.uri, "0" * 64, lifetime=HOUR)
    bounty = msgspec.structs.replace(bounty, sha256=None)
    outcome = bench.run(Analysis.benign(), bounty, artifact=artifact, info=EngineInfo(max_artifact_size=1_000))
    unknown(outcome, "SKIPPED", "5368709120 bytes, more than the 1000 that scan takes")
    assert outcome.failure is None
    assert bench.artifacts == []


def test_an_artifact_of_just_the_size_taken_is_judged(bench):
    assert bench.run(Analysis.benign(), info=EngineInfo(max_artifact_size=5)).analysis.verdict is Verdict.BENIGN
    unknown(
        bench.run(Analysis.benign(), info=EngineInfo(max_artifact_size=4)),
        "SKIPPED",
        "5 bytes, more than the 4 that scan takes",
    )


# --- what cannot be had -----------------------------------------------------------------------------------------------


def missing(outcome, reason, *, traceback=""):
    unknown(outcome, "SKIPPED:CANNOT-FETCH", reason)
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.FETCH
    assert outcome.failure.message == reason
    assert outcome.timings.prepare > 0


def test_a_file_that_is_not_there(bench, tmp_path):
    path = tmp_path / "here"
    path.write_bytes(b"x")
    bounty = Bounty.local(path, lifetime=HOUR)
    path.unlink()
    missing(bench.run(Analysis.benign(), bounty), f"{path}: no such file or directory")
    assert bench.artifacts == []


def test_a_name_that_is_no_text_can_still_be_sent(bench, tmp_path):
    path = os.fsencode(tmp_path) + b"/gone \xff\n"
    with open(path, "wb"):
        pass
    bounty = Bounty.local(os.fsdecode(path), lifetime=HOUR)
    os.unlink(path)
    missing(bench.run(Analysis.benign(), bounty), f"'{tmp_path}/gone \\udcff\\n': no such file or directory")


def test_a_folder_is_no_artifact(bench, tmp_path):
    bounty = msgspec.structs.replace(
        Bounty.forge(ArtifactType.FILE, tmp_path.as_uri(), "0" * 64, lifetime=HOUR), sha256=None
    )
    missing(bench.run(Analysis.benign(), bounty), f"{tmp_path}: is a folder, not a file")


def test_bytes_that_are_not_those_of_the_bounty_are_not_judged(bench):
    bounty = local(b"hello", sha256="ab" * 32)
    actual = Artifact.from_bytes(b"hello").sha256
    reason = f"the artifact's SHA-256 is {actual}, the bounty says {'ab' * 32}"
    missing(bench.run(Analysis.malicious(), bounty), reason)
    assert bench.artifacts == []
    missing(bench.run(Analysis.malicious(), bounty, artifact=Artifact.from_bytes(b"hello")), reason)
    assert bench.artifacts == []


def test_a_bad_data_uri(bench):
    bounty = Bounty(
        id=1,
        artifact_type=ArtifactType.FILE,
        artifact_uri="data:;base64,%%%%",
        expiration=datetime.now(UTC) + HOUR,
    )
    outcome = bench.run(Analysis.benign(), bounty)
    assert outcome.failure.kind is FailureKind.FETCH
    assert "data: URI" in outcome.failure.message


def test_an_address_that_may_not_be_connected_to(bench):
    bounty = Bounty(
        id=1,
        artifact_type=ArtifactType.FILE,
        artifact_uri="http://169.254.169.254/latest/meta-data",
        expiration=datetime.now(UTC) + HOUR,
    )
    outcome = bench.run(Analysis.benign(), bounty)
    assert outcome.failure.kind is FailureKind.FETCH
    assert "169.254.169.254" in outcome.failure.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ArtifactError("the disk is full"), "the disk is full"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_fails_while_the_artifact_is_got(bench, error, reason):
    def obtain(bounty, deadline):
        raise error

    missing(bench.run(Analysis.benign(), obtain=obtain), reason)


def test_the_fetch_has_the_smaller_of_the_hosts_limit_and_the_bountys(bench):
    deadlines = []

    def obtain(bounty, deadline):
        deadlines.append(deadline - time.monotonic())
        raise ArtifactError("enough")

    bench.run(Analysis.benign(), local(lifetime=timedelta(seconds=20)), obtain=obtain, timeout=50)
    bench.run(Analysis.benign(), local(lifetime=timedelta(seconds=90)), obtain=obtain, timeout=50)
    assert deadlines[0] == pytest.approx(20, abs=2)
    assert deadlines[1] == pytest.approx(50, abs=2)


# --- what an engine may do --------------------------------------------------------------------------------------------


def failed(outcome, message, *, kind=FailureKind.ENGINE, comment="ERROR:ENGINE"):
    unknown(outcome, comment, message)
    assert outcome.failure is not None
    assert outcome.failure.kind is kind
    assert outcome.failure.message == message


def raising(error):
    def analyze(artifact, bounty, context):
        raise error

    return analyze


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (EngineError("scanner is not running"), "scanner is not running"),
        (EngineError(), "EngineError"),
        (EngineError("two\nlines"), "two lines"),
        (SystemExit(4), "called sys.exit(4)"),
        (SystemExit(), "called sys.exit()"),
        (SystemExit("bye"), "called sys.exit('bye')"),
        (GeneratorExit(), "GeneratorExit"),
        (BaseException("base"), "BaseException: base"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (EngineError("a name \udcff"), "a name \\udcff"),
        (Unspeakable(), "Unspeakable: its message cannot be shown"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_an_engine_raises_is_an_outcome_with_its_traceback(bench, error, message):
    outcome = bench.run(raising(error))
    failed(outcome, message)
    assert outcome.failure.traceback.startswith("Traceback (most recent call last):\n")
    assert type(error).__name__ in outcome.failure.traceback
    assert ", in analyze\n" in outcome.failure.traceback


def test_a_message_of_megabytes_is_cut(bench):
    outcome = bench.run(raising(EngineError("x" * 10_000_000)))
    assert outcome.failure.message == outcome.analysis.comments[1]
    assert 1_000 < len(outcome.failure.message) < 5_000
    assert len(outcome.failure.traceback) == 1 << 16


def test_a_cause_is_in_the_traceback(bench):
    def analyze(artifact, bounty, context):
        try:
            raise OSError(111, "Connection refused")
        except OSError as error:
            raise EngineError("scanner is down") from error

    outcome = bench.run(analyze)
    failed(outcome, "scanner is down")
    assert "Connection refused" in outcome.failure.traceback


def test_the_users_interrupt_passes_through_and_the_artifact_is_closed(bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run(lambda artifact, *_: [artifact.path, raising(KeyboardInterrupt())(1, 2, 3)])
    assert list(bench.spool.folder.iterdir()) == []


WRONG = "must be an Analysis or a mapping in wire form"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, f"analysis: {WRONG} (does analyze return?), got None"),
        (5, f"analysis: {WRONG}, got 5"),
        ("malicious", f"analysis: {WRONG}, got 'malicious'"),
        (Verdict.MALICIOUS, f"analysis: {WRONG}, got <Verdict.MALICIOUS: 'malicious'>"),
        ({}, "verdict: must be one of benign, malicious, suspicious, unknown, got None"),
        ({"verdict": "evil"}, "verdict: must be one of benign, malicious, suspicious, unknown, got 'evil'"),
        ({"verdict": "benign", "confidence": math.nan}, "confidence: must be from 0.0 to 1.0, got nan"),
        ({"verdict": "benign", "confidence": 1.01}, "confidence: must be from 0.0 to 1.0, got 1.01"),
        ({"verdict": "benign", "confidence": True}, "confidence: must be a number from 0.0 to 1.0, got True"),
        ({"verdict": "benign", "bid": True}, "bid: must be an integer number of wei, got True"),
        ({"verdict": "benign", "bid": 500.0}, "bid: must be an integer number of wei, got 500.0"),
        ({"verdict": "benign", "bid": -1}, "bid: must be from 0 to 2**256 - 1 wei, got -1"),
        ({"verdict": "suspicious", "bid": 500}, "bid: must be 0 for suspicious, got 500"),
        ({"verdict": "benign", "bid": 1_101}, "bid: must be at most the bounty's maximum 1100, got 1101"),
        ({"verdict": "benign", "bid": 99}, "bid: must be at least the bounty's minimum 100, got 99"),
        ({"verdict": "benign", "bid": 0}, "bid: must be at least the bounty's minimum 100, got 0"),
        (Analysis.malicious(bid=1_101), "bid: must be at most the bounty's maximum 1100, got 1101"),
        ({"verdict": "benign", "metadata": []}, "metadata: must be an object, got []"),
        (
            {"verdict": "benign", "metadata": {"comments": "one"}},
            "metadata.comments: must be a list of strings, got 'one'",
        ),
    ],
)
def test_what_an_engine_may_not_answer(bench, answer, message):
    outcome = bench.run(answer)
    failed(outcome, message)
    assert outcome.failure.traceback == ""


class Evil(UserDict):
    def get(self, key, default=None):
        raise SystemExit("evil")


class Ugly:
    def __repr__(self):
        raise RuntimeError("not to be looked at")


@pytest.mark.parametrize(
    "answer",
    [
        Evil(),
        Ugly(),
        {"verdict": Ugly()},
        {"verdict": "benign", "bid": Ugly()},
        {"verdict": "benign", "metadata": {"comments": ["x" * 10_000_000]}},
        {"verdict": "benign", "metadata": {"comments": Ugly()}},
        (yielded for yielded in ()),
    ],
)
def test_what_cannot_even_be_looked_at_is_an_outcome(bench, answer):
    outcome = bench.run(answer)
    assert outcome.failure.kind is FailureKind.ENGINE
    assert outcome.analysis.comments == ("ERROR:ENGINE", outcome.failure.message)
    assert len(outcome.failure.message) < 5_000


def test_an_analysis_that_was_tampered_with_is_an_outcome(bench):
    analysis = Analysis.benign()
    msgspec.structs.force_setattr(analysis, "confidence", "high")
    outcome = bench.run(analysis)
    assert outcome.failure.kind is FailureKind.ENGINE
    assert outcome.analysis.verdict is Verdict.UNKNOWN


def test_a_mapping_in_wire_form_is_an_answer(bench):
    answer = {
        "verdict": "malicious",
        "bid": 700,
        "author": "me",
        "ignored": object(),
        "metadata": {"malware_family": "F", "confidence": 0.25, "comments": ["a", "b"]},
    }
    outcome = bench.run(answer)
    assert outcome.failure is None
    analysis = outcome.analysis
    assert (analysis.verdict, analysis.bid, analysis.confidence) == (Verdict.MALICIOUS, 700, 0.25)
    assert (analysis.author, analysis.malware_family, analysis.comments) == ("me", "F", ("a", "b"))


@pytest.mark.parametrize(
    ("answer", "comment", "verdict"),
    [
        (Analysis.unsupported("why"), "SKIPPED:TYPE-UNSUPPORTED", Verdict.UNKNOWN),
        (Analysis.encrypted("why"), "SKIPPED:ENCRYPTED", Verdict.UNKNOWN),
        (Analysis.unsafe_decompression("why"), "SKIPPED:DECOMPRESSION-UNSAFE", Verdict.SUSPICIOUS),
        (Analysis.skipped("why"), "SKIPPED", Verdict.UNKNOWN),
        (Analysis.unknown("why"), "why", Verdict.UNKNOWN),
    ],
)
def test_a_declined_answer_is_no_failure(bench, answer, comment, verdict):
    outcome = bench.run(answer)
    assert outcome.failure is None
    assert outcome.analysis.comments[0] == comment
    assert outcome.analysis.verdict is verdict
    assert outcome.analysis.bid == 0


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Analysis.cannot_fetch("no DNS", "really"), FailureKind.FETCH, "no DNS; really"),
        (Analysis.cannot_fetch(), FailureKind.FETCH, "the engine answered SKIPPED:CANNOT-FETCH"),
        (Analysis.engine_error("licence expired"), FailureKind.ENGINE, "licence expired"),
        (Analysis.timed_out("after 5 s"), FailureKind.TIMEOUT, "after 5 s"),
    ],
)
def test_an_engine_may_say_itself_that_it_failed(bench, answer, kind, message):
    outcome = bench.run(answer)
    assert outcome.failure.kind is kind
    assert outcome.failure.message == message
    assert outcome.analysis.comments == answer.comments


# --- artifacts that change --------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path):
    """A file that is too large to be kept in memory, and its bounty."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * (2 << 20))
    artifact = Artifact.from_path(path)
    return path, artifact, Bounty.forge(ArtifactType.FILE, artifact.uri, artifact.sha256, lifetime=HOUR)


def test_a_file_that_vanishes_while_it_is_judged(bench, large):
    path, artifact, bounty = large

    def analyze(artifact, bounty, context):
        with artifact.open() as stream:
            path.unlink()
            stream.read()
        return Analysis.benign()

    outcome = bench.run(analyze, bounty, artifact=artifact)
    failed(outcome, f"{path}: no such file or directory", kind=FailureKind.FETCH, comment="SKIPPED:CANNOT-FETCH")


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"y" * 9), lambda path: os.truncate(path, 5)])
def test_a_file_that_changes_while_it_is_judged_is_not_answered_for(bench, large, change):
    path, artifact, bounty = large

    def analyze(artifact, bounty, context):
        change(artifact.path)
        return Analysis.malicious("of other bytes")

    outcome = bench.run(analyze, bounty, artifact=artifact)
    failed(
        outcome,
        f"{path}: changed while it was read; scan it again",
        kind=FailureKind.FETCH,
        comment="SKIPPED:CANNOT-FETCH",
    )


def test_what_an_engine_raises_over_a_vanished_file_is_blamed_on_the_file(bench, large):
    path, artifact, bounty = large

    def analyze(artifact, bounty, context):
        path.unlink()
        return artifact.path.read_bytes()

    outcome = bench.run(analyze, bounty, artifact=artifact)
    assert outcome.failure.kind is FailureKind.FETCH


def test_an_artifact_error_in_the_engine_is_a_failure_to_fetch(bench, large):
    path, artifact, bounty = large

    def analyze(artifact, bounty, context):
        path.unlink()
        return artifact.read_bytes()

    outcome = bench.run(analyze, bounty, artifact=artifact)
    failed(outcome, f"{path}: no such file or directory", kind=FailureKind.FETCH, comment="SKIPPED:CANNOT-FETCH")


def test_an_engine_that_meddles_with_its_artifact_changes_no_outcome(bench):
    def analyze(artifact, bounty, context):
        artifact.name = "renamed"
        artifact.url = "http://other.example/"
        artifact.close()
        return Analysis.malicious("F")

    outcome = bench.run(analyze)
    assert outcome.failure is None
    assert outcome.bounty.artifact_type is ArtifactType.FILE
    assert outcome.analysis.malware_family == "F"


def test_an_engine_cannot_change_its_bounty(bench):
    def analyze(artifact, bounty, context):
        with pytest.raises(AttributeError):
            bounty.phase = Phase.ARBITRATION
        with pytest.raises(AttributeError):
            bounty.rules.max_allowed_bid = 10**30
        with pytest.raises(AttributeError):
            context.deadline = math.inf
        return Analysis.benign()

    assert bench.run(analyze).failure is None


def test_what_was_obtained_is_closed_and_what_was_handed_in_is_not(bench):
    paths = []

    def analyze(artifact, bounty, context):
        paths.append(artifact.path)
        return Analysis.benign()

    bench.run(analyze)
    with Artifact.from_bytes(b"hello", spool=bench.spool) as artifact:
        bench.run(analyze, artifact=artifact)
        assert not paths[0].exists()
        assert paths[1].read_bytes() == b"hello"


# --- bids and enrichment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "confidence", "bid"),
    [
        (BidPolicy.CONFIDENCE, 0.0, 100),
        (BidPolicy.CONFIDENCE, 0.5, 600),
        (BidPolicy.CONFIDENCE, 1, 1_100),
        (BidPolicy.CONFIDENCE, None, 100),
        (BidPolicy.MINIMUM, 0.5, 100),
        (BidPolicy.MEDIAN, 1.0, 600),
        (BidPolicy.MAXIMUM, None, 1_100),
    ],
)
def test_the_host_bids_by_policy_where_the_engine_does_not(bench, policy, confidence, bid):
    for answer in (Analysis.malicious(confidence=confidence), Analysis.benign(confidence=confidence)):
        assert bench.run(answer, policy=policy).analysis.bid == bid


def test_an_engines_own_bid_wins(bench):
    assert bench.run(Analysis.malicious(bid=100, confidence=1.0)).analysis.bid == 100
    assert bench.run(Analysis.malicious(bid=1_100), policy=BidPolicy.MINIMUM).analysis.bid == 1_100


@pytest.mark.parametrize("answer", [Analysis.suspicious(confidence=1.0), Analysis.unknown()])
def test_suspicious_and_unknown_bid_nothing(bench, answer):
    outcome = bench.run(answer, policy=BidPolicy.MAXIMUM)
    assert outcome.analysis.bid == 0
    assert outcome.answer()["bid"] == 0


@pytest.mark.parametrize(
    "answer", [Analysis.malicious(confidence=1.0), Analysis.benign(bid=10**30), Analysis.unknown(), None]
)
def test_a_vote_carries_no_bid(bench, answer):
    outcome = bench.run(answer, local(phase=Phase.ARBITRATION))
    assert outcome.analysis.bid is None
    assert "bid" not in outcome.answer()


INFO = EngineInfo(
    product="Product", vendor="Vendor", author="Author", engine_version="1.2", signatures_version="2026-11-25"
)


def test_an_answer_is_enriched_with_what_the_engine_says_of_itself(bench):
    analysis = bench.run(Analysis.benign(), info=INFO).analysis
    assert (analysis.vendor, analysis.author, analysis.metadata.product) == ("Vendor", "Author", "Product")
    assert analysis.metadata.scanner == Scanner(
        version="9.9",
        vendor_version="1.2",
        signatures_version="2026-11-25",
        environment=ScannerEnvironment(operating_system=platform.system(), architecture=platform.machine()),
    )


def test_without_a_product_the_engines_name_stands_for_it(bench):
    assert bench.run(Analysis.benign()).analysis.metadata.product == "scan"


def test_a_failure_is_enriched_as_well(bench):
    metadata = bench.run(None, info=INFO).analysis.metadata
    assert metadata.product == "Product"
    assert metadata.scanner.vendor_version == "1.2"


def test_explicit_values_win(bench):
    said = Analysis(
        verdict=Verdict.MALICIOUS,
        vendor="Other",
        author="Somebody",
        metadata=AnalysisMetadata(
            product="Special",
            malware_family="F",
            comments=("c",),
            heuristic=True,
            scanner=Scanner(vendor_version="7", environment=ScannerEnvironment(operating_system="Windows")),
        ),
    )
    analysis = bench.run(said, info=INFO).analysis
    assert (analysis.vendor, analysis.author) == ("Other", "Somebody")
    assert analysis.metadata == AnalysisMetadata(
        product="Special",
        malware_family="F",
        comments=("c",),
        heuristic=True,
        scanner=Scanner(
            version="9.9",
            vendor_version="7",
            signatures_version="2026-11-25",
            environment=ScannerEnvironment(operating_system="Windows", architecture=platform.machine()),
        ),
    )


def test_an_explicit_scanner_without_an_environment_gets_one(bench):
    said = Analysis(verdict=Verdict.BENIGN, metadata=AnalysisMetadata(scanner=Scanner(version="1")))
    scanner = bench.run(said).analysis.metadata.scanner
    assert scanner.version == "1"
    assert scanner.environment.operating_system == platform.system()


# --- deadlines, and the steps alone -----------------------------------------------------------------------------------


def test_the_engine_sees_the_deadline_on_the_monotonic_clock(bench):
    seen = []
    bench.run(lambda _artifact, _bounty, context: seen.append(context.deadline - time.monotonic()), timeout=30)
    assert seen[0] == pytest.approx(30, abs=2)


def test_an_engine_that_takes_longer_than_its_limit_is_warned_of_and_its_answer_stands(bench, caplog):
    def analyze(artifact, bounty, context):
        while time.monotonic() <= context.deadline:
            pass
        return Analysis.malicious("late")

    with caplog.at_level(logging.WARNING):
        outcome = bench.run(analyze, timeout=0.05)
    assert outcome.analysis.malware_family == "late"
    assert outcome.timings.judge >= 0.04
    assert "engine scan took 0." in caplog.text
    assert "longer than its limit" in caplog.text


def test_each_step_can_be_taken_alone(bench):
    bounty, profile = local(b"hello"), EngineProfile("scan", "9.9", EngineInfo())
    prepared = prepare(bounty, profile, bench.obtain)
    assert prepared.answer is None
    assert prepared.artifact.read_bytes() == b"hello"
    judged = judge(prepared, bench.session(Answering({"verdict": "benign"})))
    assert judged.answer == {"verdict": "benign"}
    assert judged.failure is None
    assert judged.seconds > 0
    assert conclude(prepared, judged, profile, BidPolicy.MAXIMUM).analysis.bid == 1_100


def test_there_is_nothing_to_judge_of_an_answered_bounty(bench):
    prepared = Prepared(local(), 0.0, 1.0).refuse(Analysis.expired())
    with pytest.raises(ValueError, match=r"^there is nothing to judge: the bounty has been answered already$"):
        judge(prepared, bench.session(Answering(None)))


def test_an_unavailable_engine_is_an_outcome():
    outcome = unavailable(local(), EngineProfile.unknown("scan", "1.0"), "engine scan: setup: no\nlicence", "Traceback")
    unknown(outcome, "ERROR:ENGINE", "engine scan: setup: no licence")
    assert outcome.failure.kind is FailureKind.UNAVAILABLE
    assert outcome.failure.traceback == "Traceback"
    assert outcome.analysis.bid == 0
    assert "bid" not in unavailable(local(phase=Phase.ARBITRATION), EngineProfile.unknown("scan"), "x").answer()
    assert len(unavailable(local(), EngineProfile.unknown("scan"), "x" * 10_000_000).failure.message) < 5_000


def test_a_verdict_is_no_failure_whatever_its_comments_say(bench):
    outcome = bench.run(Analysis.malicious("X", comments=["ERROR:TIMEOUT", "of one of its scanners"]))
    assert outcome.failure is None
    assert outcome.analysis.verdict is Verdict.MALICIOUS


def test_an_engine_that_cannot_start_is_named_in_the_answer_and_timed():
    outcome = unavailable(local(), EngineProfile.unknown("scan", "1.0"), "no licence")
    assert outcome.timings.total > 0
    assert outcome.analysis.bid == 0
    assert outcome.analysis.metadata.product == "scan"
    assert outcome.analysis.metadata.scanner.version == "1.0"
    assert outcome.analysis.metadata.scanner.environment is not None


def test_what_the_fetch_took_is_no_longer_there_for_the_engine():
    artifact = Artifact.from_bytes(b"hello")
    artifact.obtained_in = 50.0
    profile = EngineProfile.unknown("scan")
    prepared = prepare(local(), profile, lambda *_: pytest.fail("obtained"), artifact=artifact, timeout=60.0)
    assert 9.0 < prepared.deadline - time.monotonic() <= 10.0


def test_the_job_in_hand_is_known_to_whatever_the_engine_calls(bench):
    seen = []

    def answer(artifact, bounty, context):
        seen.append((current_job(), context.deadline))
        return Analysis.benign()

    bounty = local()
    with working_on(Job("somebody", 1, "delivery-9")):
        assert bench.run(answer, bounty).failure is None
    [(job, deadline)] = seen
    assert job == Job("scan", bounty.id, "delivery-9", deadline)
    assert deadline < math.inf
    assert current_job() is None


def test_an_expired_bounty_is_judged_where_it_is_not_to_be_discarded(bench):
    seen = []

    def answer(artifact, bounty, context):
        seen.append(context.deadline - time.monotonic())
        return Analysis.malicious(artifact.read_bytes().decode(), confidence=1.0)

    for ago in (timedelta(hours=2), HOUR - timedelta(seconds=1)):
        bounty = local(now=datetime.now(UTC) - ago)
        outcome = bench.run(answer, bounty, timeout=30.0, discard_expired=False)
        assert outcome.failure is None
        assert outcome.analysis.malware_family == "hello"
    assert all(20 < left <= 30 for left in seen)  # the limit is the host's, whatever the bounty says
    assert len(seen) == 2
