"""Outcomes of what workers sent, or did not send."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from psengine_host.backends.process.crossing import sent_bounty, with_bid, without_long_bid
from psengine_host.backends.process.messages import FileFacts, Hear, Result
from psengine_host.backends.process.pending import FILE_LIFETIME, Pending
from psengine_host.bids import BidPolicy
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.engines.blame import reason
from psengine_host.errors import PsengineError
from psengine_host.local_names import file_uri, local_id
from psengine_host.outcome import Failure, FailureKind, FileOutcome, Outcome
from psengine_host.pipeline import EngineProfile, Judged, Prepared, conclude

__all__ = ["answered", "heard", "without_worker"]


def answered(
    pending: Pending, result: Result, began: float, profile: EngineProfile, policy: BidPolicy
) -> Outcome | FileOutcome:
    """The outcome of a result.

    Args:
        pending: What was to be judged.
        result: What the worker sent of it.
        began: When it began with it, on the clock of ``time.monotonic``.
        profile: What the host knows of the engine.
        policy: How a bid is computed.
    """
    file = result.file
    if pending.bounty is None:
        if file is None:
            raise ValueError("the result of a file says what the file is")
        bounty = _bounty(pending, file)
        prepared = Prepared(bounty, pending.began, began + pending.limit)
        prepared.seconds = result.prepare
    else:
        bounty = pending.bounty
        prepared = pending.prepared or Prepared(bounty, pending.began, 0.0)
        prepared.deadline = began + pending.limit
    failure = result.failure
    analysis = result.analysis
    if analysis is not None and result.bid is not None:
        try:
            analysis = with_bid(analysis, result.bid)
        except (PsengineError, ValueError) as error:
            analysis, failure = None, Failure(FailureKind.ENGINE, reason(error))
    if result.declined and analysis is not None:
        prepared.answer = analysis
        judged = Judged(analysis, failure)
    else:
        judged = Judged(analysis, failure, result.seconds)
    outcome = conclude(prepared, judged, profile, policy)
    return outcome if file is None or pending.bounty is not None else FileOutcome(outcome, file.size)


def without_worker(
    pending: Pending, bounty: Bounty, judged: Judged, profile: EngineProfile, policy: BidPolicy
) -> Outcome:
    """The outcome of what no worker answered.

    Args:
        pending: What was to be judged.
        bounty: Its bounty.
        judged: Why there is no answer.
        profile: What the host knows of the engine.
        policy: How a bid is computed.
    """
    prepared = pending.prepared or Prepared(bounty, pending.began, pending.began + pending.limit)
    return conclude(prepared, judged, profile, policy)


def heard(outcome: Outcome) -> Hear:
    """What the engine's home is sent of an outcome."""
    analysis, bid = without_long_bid(outcome.analysis)
    return Hear(sent_bounty(outcome.bounty), analysis, bid, outcome.failure)


def _bounty(pending: Pending, file: FileFacts) -> Bounty:
    return Bounty(
        id=local_id(ArtifactType.FILE, file.sha256),
        artifact_type=ArtifactType.FILE,
        artifact_uri=file_uri(os.fsdecode(pending.path or b"")),
        expiration=datetime.fromtimestamp(file.expiration, UTC),
        sha256=file.sha256,
        mimetype=file.mimetype,
        duration=int(FILE_LIFETIME),
        file_allowed=True,
    )
