import msgspec
import pytest

from psengine_host.analysis import Analysis
from psengine_host.bounty import Bounty, Phase
from psengine_host.outcome import Failure, FailureKind, Outcome, Timings


def outcome(analysis: Analysis, phase: Phase = Phase.ASSERTION) -> Outcome:
    return Outcome(Bounty.local(data=b"x", phase=phase), "yara", analysis)


def test_an_assertion_carries_its_bid():
    assert outcome(Analysis.malicious(bid=10**18)).answer() == {"verdict": "malicious", "bid": 10**18}


@pytest.mark.parametrize("bid", [None, 10**18])
def test_a_vote_is_the_same_without_a_bid(bid):
    answer = outcome(Analysis.malicious("X", bid=bid), Phase.ARBITRATION).answer()
    assert answer == {"verdict": "malicious", "metadata": {"malware_family": "X"}}


def test_the_times_add_up():
    assert Timings(prepare=1.0, judge=2.5, conclude=0.25).total == 3.75
    assert outcome(Analysis.benign()).timings.total == 0.0


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failure_is_plain_data_that_crosses_between_processes(kind):
    failure = Failure(kind, "what happened", "Traceback …")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=Failure) == failure


def test_an_outcome_cannot_be_changed():
    with pytest.raises(AttributeError):
        outcome(Analysis.benign()).engine = "other"
