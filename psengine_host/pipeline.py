"""The pipeline: prepare -> judge -> conclude. Bounty in, Outcome out; nothing ever goes back up.

``prepare`` and ``conclude`` run in the host, ``judge`` runs where the engine is. Whatever an engine does, and whatever
happens to its artifact, the bounty ends in an :class:`~psengine_host.outcome.Outcome` that carries an analysis.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from psengine_host import job
from psengine_host.analysis import Analysis, AnalysisMetadata, Comment, EngineInfo, Scanner, ScannerEnvironment, Verdict
from psengine_host.artifacts import Artifact
from psengine_host.bids import BidPolicy, bid_by_policy
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import limited, printable, reason, traceback_of
from psengine_host.engines.running import Session
from psengine_host.errors import ArtifactError, EngineTimeout, InvalidAnalysis
from psengine_host.outcome import Failure, FailureKind, Outcome, Timings

__all__ = ["EngineProfile", "Judged", "Prepared", "checked", "conclude", "judge", "prepare", "process", "unavailable"]

Obtain = Callable[[Bounty, float], Artifact]
"""Gets the artifact of a bounty before a deadline on the clock of ``time.monotonic``; raises ArtifactError."""

logger = logging.getLogger(__name__)


class EngineProfile:
    """What the host knows of an engine without calling it: what it takes, and what enriches its answers.

    Args:
        name: The engine's name.
        version: The version of its distribution.
        info: What it says of itself.
    """

    __slots__ = ("by_type", "info", "name", "product", "scanner", "version")

    def __init__(self, name: str, version: str, info: EngineInfo) -> None:
        self.name = name
        self.version = version
        self.info = info
        self.by_type = bool(info.mimetypes or info.categories)
        self.product = info.product or name
        self.scanner = Scanner(
            version=version or None,
            vendor_version=info.engine_version,
            signatures_version=info.signatures_version,
            environment=ScannerEnvironment(operating_system=platform.system(), architecture=platform.machine()),
        )

    @classmethod
    def unknown(cls, name: str, version: str = "") -> EngineProfile:
        """The profile of an engine that has not said anything of itself.

        Args:
            name: The engine's name.
            version: The version of its distribution, where it is known.
        """
        return cls(name, version, EngineInfo())


class Prepared:
    """A bounty that is ready to be judged, or already answered.

    Attributes:
        bounty: The job.
        artifact: What to judge, or None where there is an answer already.
        answer: The answer where the engine need not be asked, or None.
        failure: Why, where that answer stands for a failure.
        deadline: When the engine's answer is too late, on the clock of ``time.monotonic``.
        owned: Whether the artifact was obtained here and is to be closed here.
        began: When all this began, on the clock of ``time.monotonic``.
        seconds: How long it took.
    """

    __slots__ = ("answer", "artifact", "began", "bounty", "deadline", "failure", "owned", "seconds")

    def __init__(self, bounty: Bounty, began: float, deadline: float) -> None:
        self.bounty = bounty
        self.began = began
        self.deadline = deadline
        self.artifact: Artifact | None = None
        self.answer: Analysis | None = None
        self.failure: Failure | None = None
        self.owned = False
        self.seconds = 0.0

    def answered(self) -> Judged:
        """The answer that is there already, in the place of what an engine would say."""
        return Judged(self.answer, self.failure)

    def refuse(self, analysis: Analysis, failure: Failure | None = None) -> Prepared:
        """Answered without asking the engine."""
        self.answer = analysis
        self.failure = failure
        self.seconds = time.monotonic() - self.began
        return self


class Judged:
    """What came back from where the engine is.

    Attributes:
        answer: What the engine returned, unchecked.
        failure: Why there is no answer, or None.
        seconds: How long it took.
        error: What the engine raised, or None; only in the process where it ran.
    """

    __slots__ = ("answer", "error", "failure", "seconds")

    def __init__(
        self,
        answer: object,
        failure: Failure | None = None,
        seconds: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        self.answer = answer
        self.failure = failure
        self.seconds = seconds
        self.error = error


def process(
    bounty: Bounty,
    session: Session,
    profile: EngineProfile,
    obtain: Obtain,
    *,
    policy: BidPolicy = BidPolicy.CONFIDENCE,
    artifact: Artifact | None = None,
    timeout: float = 60.0,
    discard_expired: bool = True,
) -> Outcome:
    """One bounty to its outcome; an engine's fault is an outcome, not an exception.

    Args:
        bounty: The job.
        session: The engine's open session.
        profile: What the host knows of the engine.
        obtain: Gets the artifact.
        policy: How a bid is computed where the engine gives none.
        artifact: The artifact, where the caller has it already.
        timeout: Seconds that fetch and engine may take together.
        discard_expired: As of :func:`prepare`.
    """
    token = job.begin(profile.name, bounty.id)
    try:
        prepared = prepare(bounty, profile, obtain, artifact=artifact, timeout=timeout, discard_expired=discard_expired)
        try:
            judged = judge(prepared, session) if prepared.answer is None else prepared.answered()
        finally:
            if prepared.owned and prepared.artifact is not None:
                prepared.artifact.close()
        return conclude(prepared, judged, profile, policy)
    finally:
        job.end(token)


def prepare(
    bounty: Bounty,
    profile: EngineProfile,
    obtain: Obtain,
    *,
    artifact: Artifact | None = None,
    timeout: float = 60.0,
    discard_expired: bool = True,
) -> Prepared:
    """Check deadline and type, get the artifact, check its size and kind. Runs in the host.

    Args:
        bounty: The job.
        profile: What the host knows of the engine.
        obtain: Gets the artifact.
        artifact: The artifact, where the caller has it already.
        timeout: Seconds that fetch and engine may take together; never past the bounty's expiration.
        discard_expired: Whether an expired bounty is answered without asking the engine. Otherwise the expiration is
            not looked at, and ``timeout`` alone is the limit.
    """
    began = time.monotonic()
    if artifact is not None:
        began -= artifact.obtained_in  # the limit holds for fetch and engine together, whoever fetched
    left = (bounty.expiration - datetime.now(UTC)).total_seconds() if discard_expired else timeout
    prepared = Prepared(bounty, began, began + min(left, timeout))
    if left <= 0:
        return prepared.refuse(Analysis.expired(f"expired at {bounty.expiration.isoformat()}"))
    info = profile.info
    if bounty.artifact_type not in info.artifact_types:
        return prepared.refuse(Analysis.unsupported(f"{profile.name} takes no {bounty.artifact_type.value} artifacts"))
    try:
        if artifact is None:
            artifact = obtain(bounty, prepared.deadline)
            prepared.owned = True
        else:
            artifact.check_sha256(bounty.sha256)
        prepared.artifact = artifact
        declined = _declined(artifact, profile)
        if declined is not None:
            return prepared.refuse(declined)
    except ArtifactError as error:
        return _unfetched(prepared, error)
    except Exception as error:
        logger.exception("bounty %s: the artifact could not be had", bounty.id)
        return _unfetched(prepared, error)
    prepared.seconds = time.monotonic() - began
    return prepared


def _declined(artifact: Artifact, profile: EngineProfile) -> Analysis | None:
    info = profile.info
    limit = info.max_artifact_size
    if limit is not None and artifact.size > limit:
        return Analysis.skipped(f"{artifact.size} bytes, more than the {limit} that {profile.name} takes")
    if profile.by_type and artifact.url is None:
        from psengine_host.filetypes import takes

        if not takes(artifact.mimetype, info.mimetypes, info.categories):
            return Analysis.unsupported(f"{profile.name} takes no {artifact.mimetype}")
    return None


def _unfetched(prepared: Prepared, error: Exception) -> Prepared:
    message = reason(error)
    return prepared.refuse(Analysis.cannot_fetch(message), Failure(FailureKind.FETCH, message))


def judge(prepared: Prepared, session: Session) -> Judged:
    """Ask the engine. Runs where the engine is, and lets nothing through but the user's own interrupt.

    Args:
        prepared: A bounty with its artifact.
        session: The engine's open session.
    """
    artifact = prepared.artifact
    if artifact is None:
        raise ValueError("there is nothing to judge: the bounty has been answered already")
    began = time.monotonic()
    answer: object = None
    failure: Failure | None = None
    raised: BaseException | None = None
    process_id = os.getpid()
    # Log records and programs that the engine starts know of it.
    token = job.begin(session.engine.name, prepared.bounty.id, prepared.deadline)
    try:
        answer = session.analyze(artifact, prepared.bounty, prepared.deadline)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an engine may raise anything, SystemExit included
        failure = _engine_failure(error)
        raised = error
    finally:
        job.end(token)
    if os.getpid() != process_id:
        os._exit(0 if raised is None else 1)  # a child that the engine forked and that came back: not another host
    try:
        artifact.check_unchanged()
    except ArtifactError as error:
        # The engine saw other bytes than those that were hashed, whatever it says of them.
        failure = Failure(FailureKind.FETCH, reason(error))
    return Judged(answer, failure, time.monotonic() - began, raised)


def conclude(prepared: Prepared, judged: Judged, profile: EngineProfile, policy: BidPolicy) -> Outcome:
    """Check what came back, put a bid on it and enrich it. Runs in the host.

    Args:
        prepared: The bounty.
        judged: What came back.
        profile: What the host knows of the engine.
        policy: How a bid is computed where the engine gives none.
    """
    began = time.monotonic()
    bounty = prepared.bounty
    failure = judged.failure
    analysis: Analysis | None = None
    if failure is None or prepared.answer is not None:
        try:
            said = checked(judged.answer, bounty)
            analysis = _enriched(said, bounty, profile, policy)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - InvalidAnalysis, or what a value raises when it is looked at
            failure = Failure(FailureKind.ENGINE, reason(error))
        else:
            failure = failure or _declared_failure(said)
    if analysis is None:
        analysis = _enriched(_answer_for(failure), bounty, profile, policy)
    ended = time.monotonic()
    if failure is None and began > prepared.deadline and not prepared.answer:
        logger.warning(
            "engine %s took %.1f s over %s, longer than its limit",
            profile.name,
            judged.seconds,
            prepared.artifact.name if prepared.artifact is not None else bounty.id,
        )
    return Outcome(bounty, profile.name, analysis, failure, Timings(prepared.seconds, judged.seconds, ended - began))


def unavailable(bounty: Bounty, profile: EngineProfile, reason: str, traceback: str = "") -> Outcome:
    """The outcome of a bounty whose engine could not be loaded or started.

    Args:
        bounty: The job.
        profile: What the host knows of the engine.
        reason: Why, in one line.
        traceback: The engine's traceback.
    """
    began = time.monotonic()
    failure = Failure(FailureKind.UNAVAILABLE, limited(reason), printable(traceback))
    analysis = _enriched(_answer_for(failure), bounty, profile, BidPolicy.MINIMUM)
    return Outcome(bounty, profile.name, analysis, failure, Timings(conclude=time.monotonic() - began))


def checked(answer: object, bounty: Bounty) -> Analysis:
    """What an engine returned, as an analysis whose bid, if it has one, the bounty takes.

    Args:
        answer: Anything; an analysis, or a mapping in wire form, if the engine keeps the contract.
        bounty: The job.

    Raises:
        InvalidAnalysis: It is neither, or the bid is outside the bounty's bounds.
    """
    if isinstance(answer, Analysis):
        analysis = answer
    elif isinstance(answer, Mapping):
        try:
            analysis = Analysis.from_wire(answer)
        except (InvalidAnalysis, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise InvalidAnalysis("analysis", type(answer).__name__, f"cannot be read: {reason(error)}") from error
    elif answer is None:
        raise InvalidAnalysis("analysis", None, "must be an Analysis or a mapping in wire form (does analyze return?)")
    else:
        raise InvalidAnalysis("analysis", answer, "must be an Analysis or a mapping in wire form")
    bid = analysis.bid
    if bid is not None and analysis.verdict.takes_bid and not bounty.is_vote:
        rules = bounty.rules
        if bid > rules.max_allowed_bid:
            raise InvalidAnalysis("bid", bid, f"must be at most the bounty's maximum {rules.max_allowed_bid}")
        if bid < rules.min_allowed_bid:
            raise InvalidAnalysis("bid", bid, f"must be at least the bounty's minimum {rules.min_allowed_bid}")
    return analysis


_DECLARED: Final = {
    Comment.CANNOT_FETCH.value: FailureKind.FETCH,
    Comment.ENGINE.value: FailureKind.ENGINE,
    Comment.TIMEOUT.value: FailureKind.TIMEOUT,
}


def _declared_failure(analysis: Analysis) -> Failure | None:
    """An engine may say itself that it could not get what it needed, or failed; that is no decision."""
    comments = analysis.comments
    if analysis.verdict is Verdict.UNKNOWN and comments and (kind := _DECLARED.get(comments[0])) is not None:
        return Failure(kind, limited("; ".join(comments[1:])) or f"the engine answered {comments[0]}")
    return None


def _answer_for(failure: Failure | None) -> Analysis:
    if failure is None:
        return Analysis.engine_error()
    if failure.kind is FailureKind.FETCH:
        return Analysis.cannot_fetch(failure.message)
    if failure.kind is FailureKind.TIMEOUT:
        return Analysis.timed_out(failure.message)
    if failure.kind is FailureKind.WORKER_LOST:
        return Analysis.worker_lost(failure.message)
    return Analysis.engine_error(failure.message)


def _enriched(analysis: Analysis, bounty: Bounty, profile: EngineProfile, policy: BidPolicy) -> Analysis:
    """The analysis with a bid and with what the engine says of itself; what the analysis says explicitly wins."""
    bid: int | None
    if bounty.is_vote:
        bid = None
    elif not analysis.verdict.takes_bid:
        bid = 0
    elif analysis.bid is not None:
        bid = analysis.bid
    else:
        bid = bid_by_policy(policy, analysis.confidence, bounty.rules)
    metadata = analysis.metadata
    info = profile.info
    return Analysis(
        verdict=analysis.verdict,
        bid=bid,
        confidence=analysis.confidence,
        vendor=analysis.vendor or info.vendor,
        author=analysis.author or info.author,
        metadata=AnalysisMetadata(
            product=metadata.product or profile.product,
            malware_family=metadata.malware_family,
            comments=metadata.comments,
            heuristic=metadata.heuristic,
            scanner=profile.scanner if metadata.scanner is None else _merged(metadata.scanner, profile.scanner),
        ),
    )


def _merged(said: Scanner, known: Scanner) -> Scanner:
    environment, machine = said.environment, known.environment or ScannerEnvironment()
    if environment is None:
        environment = machine
    else:
        environment = ScannerEnvironment(
            operating_system=environment.operating_system or machine.operating_system,
            architecture=environment.architecture or machine.architecture,
        )
    return Scanner(
        version=said.version or known.version,
        vendor_version=said.vendor_version or known.vendor_version,
        signatures_version=said.signatures_version or known.signatures_version,
        environment=environment,
    )


def _engine_failure(error: BaseException) -> Failure:
    if isinstance(error, ArtifactError):
        return Failure(FailureKind.FETCH, reason(error))
    kind = FailureKind.TIMEOUT if isinstance(error, EngineTimeout) else FailureKind.ENGINE
    return Failure(kind, reason(error), traceback_of(error))
