"""How what was submitted ends: with an outcome, an error, or cancelled; whatever happened, it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

from psengine_host.analysis import Analysis
from psengine_host.artifacts import Artifact
from psengine_host.backends.process.answers import without_worker
from psengine_host.backends.process.pending import FILE_LIFETIME, Pending
from psengine_host.backends.process.standing import Standing
from psengine_host.backends.process.surroundings import Surroundings
from psengine_host.bids import BidPolicy
from psengine_host.bounty import Bounty
from psengine_host.errors import ArtifactError
from psengine_host.local_bounties import bounty_for
from psengine_host.outcome import Failure, FileOutcome, Outcome
from psengine_host.pipeline import EngineProfile, Judged, Prepared, conclude, unavailable

__all__ = ["Endings"]


class Endings:
    """Ends what was submitted, and knows what has not ended.

    Attributes:
        unfinished: What has not ended, by number.
        profile: What is known of the engine.

    Args:
        profile: What is known of the engine at first.
        about: What all engines share.
        policy: How bids are computed.
        heard: Is told of each outcome.
    """

    def __init__(
        self,
        profile: EngineProfile,
        about: Surroundings,
        policy: BidPolicy,
        heard: Callable[[Outcome], object],
    ) -> None:
        self.unfinished: dict[int, Pending] = {}
        self.profile = profile
        self._about = about
        self._policy = policy
        self._heard = heard

    def resolve(self, pending: Pending, outcome: Outcome | FileOutcome) -> None:
        """End one with its outcome, unless it has ended already."""
        self.unfinished.pop(pending.number, None)
        if pending.ended:
            return
        pending.resolve(outcome)
        self._heard(outcome.outcome if isinstance(outcome, FileOutcome) else outcome)

    def drop(self, pending: Pending) -> None:
        """End one that nobody wants any more."""
        self.unfinished.pop(pending.number, None)
        pending.cancel()

    def fail(self, pending: Pending, error: BaseException) -> None:
        """End one that could not even be read."""
        self.unfinished.pop(pending.number, None)
        pending.fail(error)

    def cancel_all(self) -> None:
        """End everything without a result."""
        for pending in list(self.unfinished.values()):
            pending.cancel()
        self.unfinished.clear()

    def answered(self, pending: Pending, prepared: Prepared) -> None:
        """End one that the pipeline has answered without the engine."""
        self.resolve(pending, conclude(prepared, prepared.answered(), self.profile, self._policy))

    def without_worker(self, pending: Pending, failure: Failure) -> None:
        """End one that no worker answers."""
        judged = Judged(None, failure, pending.spent)
        self._with_bounty(pending, lambda bounty: without_worker(pending, bounty, judged, self.profile, self._policy))

    def unavailable(self, pending: Pending, standing: Standing) -> None:
        """End one whose engine cannot be used."""
        text, traceback = standing.reason, standing.traceback
        self._with_bounty(pending, lambda bounty: unavailable(bounty, self.profile, text, traceback))

    def expired(self, pending: Pending, now: float) -> None:
        """End one that has waited too long; files do not."""
        bounty = pending.bounty
        if bounty is not None:
            prepared = Prepared(bounty, pending.began, now)
            prepared.refuse(Analysis.expired(f"expired at {bounty.expiration.isoformat()}"))
            self.answered(pending, prepared)

    def _with_bounty(self, pending: Pending, end: Callable[[Bounty], Outcome]) -> None:
        """End one for which there is no answer; what a file is has to be found out here then."""
        if pending.bounty is not None:
            self.resolve(pending, end(pending.bounty))
            return
        made: list[FileOutcome] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                with Artifact.from_path(os.fsdecode(pending.path or b""), name=pending.name) as artifact:
                    bounty = bounty_for(artifact, identify=False, lifetime=timedelta(seconds=FILE_LIFETIME))
                    made.append(FileOutcome(end(bounty), artifact.size))
            except BaseException as error:  # noqa: BLE001 - told to whoever waits
                failed.append(error)

        def then() -> None:
            if made:
                self.resolve(pending, made[0])
            else:
                self.fail(pending, failed[0] if failed else ArtifactError(f"{pending.name}: cannot be read"))

        self._about.in_background(work, then)
