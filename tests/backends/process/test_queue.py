"""What waits, for whom and how long: workers that are replaced, slow bounties, deadlines, cancelled futures."""

import collections
import hashlib
import os
import threading
from concurrent.futures import CancelledError
from datetime import timedelta

import pytest

from psengine_host.analysis import Verdict
from psengine_host.artifacts import Artifact
from psengine_host.backends.process.fleet import Fleet
from psengine_host.backends.process.messages import Result
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.errors import UsageError
from psengine_host.outcome import FailureKind

PATIENCE = 60


class Gate:
    """A named pipe: who reads from it waits until it is opened."""

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)

    def open(self):
        """Let one through."""
        os.write(self._descriptor, b"x")

    def close(self):
        os.close(self._descriptor)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def start(faulty, process_host, gate):
    faulty("order")

    def start(**settings):
        return process_host(engines={"order": {"gate": gate.path}}, **settings)

    return start


def judged(journal):
    return [" ".join(words) for _, _, *words in journal.of("analyze")]


def bounty(text, **lifetime):
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Bounty.forge(ArtifactType.FILE, f"data:,{text}", sha256, lifetime=timedelta(**lifetime))


@pytest.mark.parametrize("most", [1, 7])
def test_a_process_judges_as_many_as_it_may_and_ends_its_session(start, journal, until, most):
    host = start(count=2, max_tasks_per_worker=most)
    futures = [host.submit(b"%d" % number, "order") for number in range(50)]

    outcomes = [future.result(PATIENCE) for future in futures]

    assert [outcome.analysis.comments[0] for outcome in outcomes] == [str(number) for number in range(50)]
    assert sorted(map(int, judged(journal))) == list(range(50))
    done = collections.Counter(process for _, process, _ in journal.of("analyze"))
    assert max(done.values()) == most
    # All of them are full, but for those that were at work on the last.
    assert sum(count < most for count in done.values()) <= 2
    host.close()
    assert sorted(journal.of("open")) == sorted(journal.of("close"))


def test_without_a_limit_one_process_does_all(start, journal):
    host = start(count=1, max_tasks_per_worker=0)

    for future in [host.submit(b"%d" % number, "order") for number in range(3_000)]:
        future.result(PATIENCE)

    assert len(journal.of("open")) == 1
    assert judged(journal) == [str(number) for number in range(3_000)]


def test_what_waits_behind_a_slow_one_is_done_by_another_and_once(start, journal, gate, until):
    host = start(count=2)
    for future in [host.submit(b"quick", "order") for _ in range(200)]:  # both know how quick it mostly is
        future.result(PATIENCE)
    before = len(judged(journal))
    texts = [b"slow" if number == 20 else b"%d" % number for number in range(100)]

    futures = [host.submit(text, "order") for text in texts]
    for future, text in zip(futures, texts, strict=True):
        if text != b"slow":
            assert future.result(PATIENCE).failure is None
    assert not futures[20].done()
    gate.open()
    assert futures[20].result(PATIENCE).failure is None

    assert host.analyze(b"last", "order").failure is None
    assert sorted(judged(journal)[before:]) == sorted([text.decode() for text in texts] + ["last"])


def test_all_are_judged_and_hardly_any_twice_however_unequal_they_are(start, journal):
    # One that ends at the very moment at which it is found slow may have the next begun in two places: an engine
    # answers the same both times, and one answer is taken.
    host = start(count=3)
    texts = [f"sleep {0.03 if number % 25 == 0 else 0.0}{number:05}" for number in range(500)]

    futures = [host.submit(text.encode(), "order") for text in texts]

    assert [future.result(PATIENCE).analysis.comments[0] for future in futures] == texts
    assert set(judged(journal)) == set(texts)
    assert len(judged(journal)) < 1.1 * len(texts)


def test_a_bounty_that_expires_while_it_waits_is_answered_so_and_not_judged(start, journal, gate, until):
    host = start(count=1)
    slow = host.submit(b"slow", "order")
    until(lambda: judged(journal) == ["slow"])

    late = host.judge(bounty("late", seconds=0.3), "order")
    later = host.judge(bounty("later", hours=1), "order")
    outcome = late.result(PATIENCE)
    gate.open()

    assert outcome.failure is None
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.comments[0] == "SKIPPED:EXPIRED"
    assert slow.result(PATIENCE).failure is None
    assert later.result(PATIENCE).failure is None
    assert judged(journal) == ["slow", "later"]


def test_a_bounty_that_expires_while_it_is_judged_is_killed_then(start, journal):
    host = start(count=1)
    assert host.analyze(b"ready", "order").failure is None

    outcome = host.judge(bounty("until-deadline", seconds=0.5), "order").result(PATIENCE)

    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert outcome.failure.message.endswith("when its bounty expired")
    assert judged(journal) == ["ready", "until-deadline"]


def test_the_limit_of_each_begins_when_it_is_its_turn(start, journal):
    # Ten times half the limit, one after another, is five times the limit: nobody is late.
    host = start(count=1, timeout=0.8)
    assert host.analyze(b"ready", "order").failure is None

    futures = [host.submit(b"sleep 0.3", "order") for _ in range(6)]

    assert [future.result(PATIENCE).failure for future in futures] == [None] * 6


def test_a_cancelled_future_is_not_judged_if_it_was_not_begun(start, journal, gate, until):
    host = start(count=1)
    slow = host.submit(b"slow", "order")
    until(lambda: judged(journal) == ["slow"])
    waiting = host.submit(b"waiting", "order")
    after = host.submit(b"after", "order")

    assert waiting.cancel()
    gate.open()

    assert after.result(PATIENCE).failure is None
    assert slow.result().failure is None
    with pytest.raises(CancelledError):
        waiting.result()
    assert judged(journal) == ["slow", "after"]


def test_what_is_submitted_at_the_end_is_done_before_the_end(start, journal):
    host = start(count=2)
    futures = [host.submit(b"%d" % number, "order") for number in range(500)]

    host.close()

    assert all(future.done() for future in futures)
    assert sorted(map(int, judged(journal))) == list(range(500))
    assert sorted(journal.of("open")) == sorted(journal.of("close"))


def test_artifacts_in_files_are_closed_by_who_made_them(start, tmp_path):
    host = start(count=1)
    path = tmp_path / "large"
    path.write_bytes(b"x" + b" " * 1_000_000)
    with Artifact.from_path(path) as artifact:
        outcome = host.analyze(artifact, "order")
        assert outcome.analysis.comments[0].strip() == "x"
        assert artifact.read_bytes()[:1] == b"x"


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda host: host.analyze(b"second", "order"), "cannot wait for another outcome: submit it"),
        (lambda host: host.submit(b"second", "order").exception(), "cannot wait for another outcome: submit it"),
        (lambda host: host.close(), "cannot close the host"),
    ],
)
def test_a_callback_that_would_wait_for_itself_is_told_so(start, gate, act, told, until, journal):
    host = start(count=1)
    refusals = []
    called = threading.Event()

    def callback(_):
        with pytest.raises(UsageError) as refused:
            act(host)
        refusals.append(str(refused.value))
        called.set()

    future = host.submit(b"slow", "order")
    future.add_done_callback(callback)
    gate.open()

    assert called.wait(PATIENCE)
    assert told in refusals[0]
    assert future.result().failure is None


def test_a_callback_may_submit_more_and_cancel(start):
    host = start(count=1)
    numbers = []
    over = threading.Event()

    def callback(future):
        numbers.append(int(future.result().analysis.comments[0]))
        if numbers[-1] == 20:
            host.cancel()
            over.set()
        else:
            host.submit(b"%d" % (numbers[-1] + 1), "order").add_done_callback(callback)

    host.submit(b"1", "order").add_done_callback(callback)

    assert over.wait(PATIENCE)
    assert numbers == list(range(1, 21))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), RuntimeError("of a callback")])
def test_a_callback_that_raises_harms_nobody(start, caplog, error):
    host = start(count=1)

    def callback(_):
        raise error

    futures = [host.submit(b"%d" % number, "order") for number in range(20)]
    futures[3].add_done_callback(callback)
    futures[7].add_done_callback(callback)

    assert [future.result(PATIENCE).analysis.comments[0] for future in futures] == [str(n) for n in range(20)]
    assert host.analyze(b"last", "order").failure is None
    assert caplog.text.count("callback") >= 2
    assert type(error).__name__ in caplog.text


def test_a_failure_of_the_backend_itself_loses_nothing(start, caplog, monkeypatch):
    # The first two results that come are too much for it.
    host = start(count=2)
    failing = iter(range(2))
    take = Fleet.message

    def message(fleet, child, sent):
        if isinstance(sent, Result) and next(failing, None) is not None:
            raise KeyError("an error of ours")
        take(fleet, child, sent)

    monkeypatch.setattr(Fleet, "message", message)

    futures = [host.submit(b"%d" % number, "order") for number in range(50)]

    assert [future.result(PATIENCE).analysis.comments[0] for future in futures] == [str(n) for n in range(50)]
    assert caplog.text.count("a message of engine order could not be dealt with") == 2
