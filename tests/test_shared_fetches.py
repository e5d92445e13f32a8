import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from psengine_host.artifact_store import ArtifactStore
from psengine_host.errors import ArtifactError, SpoolFull
from psengine_host.shared_fetches import NotFetched, SharedFetches
from psengine_host.spool import Spool

DATA = b"x" * 2_000_000
SHA = hashlib.sha256(DATA).hexdigest()


class Bench:
    """Fetches that end when the test lets them."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.store = ArtifactStore(spool)
        self.fetches = SharedFetches(self.store)
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.count = 0
        self.errors: list[BaseException] = []
        self.pool = ThreadPoolExecutor(20)

    def fetch(self):
        self.count += 1
        self.begun.release()
        assert self.go.acquire(timeout=60)
        if self.errors:
            raise self.errors.pop(0)
        with self.spool.deposit(1000) as deposit:
            deposit.write(DATA)
            return self.store.add(deposit.keep(), SHA, len(DATA))

    def get(self, within: float = 60.0, key: object = "key"):
        holding = self.fetches.get(key, time.monotonic() + within, self.fetch)
        return self.store.artifact(holding, "name")

    def wait_for(self, waiting: int) -> None:
        """Until so many wait for the one fetch in flight."""
        ends = time.monotonic() + 60
        while not any(flight.waiting == waiting for flight in list(self.fetches._flights.values())):
            assert time.monotonic() < ends
            threading.Event().wait(0.002)


@pytest.fixture
def bench(tmp_path):
    with Spool(tmp_path) as spool:
        bench = Bench(spool)
        yield bench
        bench.pool.shutdown()
        assert bench.fetches._flights == {}


def test_all_who_ask_meanwhile_get_what_one_fetches(bench):
    first = bench.pool.submit(bench.get)
    bench.begun.acquire()
    others = [bench.pool.submit(bench.get) for _ in range(9)]
    bench.wait_for(9)
    bench.go.release()
    artifacts = [future.result(60) for future in (first, *others)]
    assert bench.count == 1
    assert len({artifact.path for artifact in artifacts}) == 1
    for number, artifact in enumerate(artifacts):
        assert artifact.read_bytes() == DATA
        artifact.close()
        assert bool(list(bench.spool.folder.iterdir())) == (number < 9)


def test_the_file_stays_although_the_first_closes_before_the_others_wake_up(bench):
    first = bench.pool.submit(lambda: bench.get().close())
    bench.begun.acquire()
    other = bench.pool.submit(bench.get)
    bench.wait_for(1)
    bench.go.release()
    first.result(60)
    with other.result(60) as artifact:
        assert artifact.path.read_bytes() == DATA
    assert list(bench.spool.folder.iterdir()) == []


def test_other_keys_are_fetched_by_themselves(bench):
    futures = [bench.pool.submit(bench.get, key=key) for key in "abc"]
    for _ in futures:
        assert bench.begun.acquire(timeout=60)
    for _ in futures:
        bench.go.release()
    for future in futures:
        future.result(60).close()
    assert bench.count == 3


def test_one_who_has_no_time_leaves_without_spoiling_it_for_the_others(bench):
    first = bench.pool.submit(bench.get)
    bench.begun.acquire()
    with pytest.raises(NotFetched) as caught:
        bench.get(within=0.05)
    assert str(caught.value) == "not done by the deadline"
    other = bench.pool.submit(bench.get)
    bench.wait_for(1)
    bench.go.release()
    first.result(60).close()
    other.result(60).close()
    assert bench.count == 1
    assert list(bench.spool.folder.iterdir()) == []


def test_when_the_first_runs_out_of_time_one_who_has_longer_fetches_for_the_rest(bench):
    bench.errors = [NotFetched("not done by the deadline", for_want_of_time=True)]
    first = bench.pool.submit(bench.get, within=10.0)
    bench.begun.acquire()
    others = [bench.pool.submit(bench.get, within=60.0) for _ in range(5)]
    bench.wait_for(5)
    bench.go.release()
    with pytest.raises(NotFetched, match="not done by the deadline"):
        first.result(60)
    assert bench.begun.acquire(timeout=60)
    bench.wait_for(4)
    bench.go.release()
    for future in others:
        with future.result(60) as artifact:
            assert artifact.read_bytes() == DATA
    assert bench.count == 2


def test_those_who_have_no_longer_share_its_failure(bench):
    bench.errors = [NotFetched("not done by the deadline", for_want_of_time=True)]
    first = bench.pool.submit(bench.get, within=30.0)
    bench.begun.acquire()
    others = [bench.pool.submit(bench.get, within=within) for within in (29.0, 30.5)]
    bench.wait_for(2)
    bench.go.release()
    for future in (first, *others):
        with pytest.raises(NotFetched, match="not done by the deadline"):
            future.result(60)
    assert bench.count == 1


@pytest.mark.parametrize("error", [NotFetched("answered 404 Not Found"), SpoolFull("full"), ArtifactError("broken")])
def test_what_no_time_would_mend_fails_for_all_at_once(bench, error):
    bench.errors = [error]
    first = bench.pool.submit(bench.get, within=10.0)
    bench.begun.acquire()
    others = [bench.pool.submit(bench.get) for _ in range(3)]
    bench.wait_for(3)
    bench.go.release()
    for future in (first, *others):
        with pytest.raises(type(error)) as caught:
            future.result(60)
        assert str(caught.value) == str(error)
    assert bench.count == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a defect")])
def test_an_interrupt_of_the_first_is_not_theirs(bench, error):
    bench.errors = [error]
    first = bench.pool.submit(bench.get, within=10.0)
    bench.begun.acquire()
    other = bench.pool.submit(bench.get, within=10.0)
    bench.wait_for(1)
    bench.go.release()
    with pytest.raises(type(error)):
        first.result(60)
    bench.go.release()
    other.result(60).close()
    assert bench.count == 2


def test_a_failure_is_not_remembered(bench):
    bench.errors = [NotFetched("answered 503 Service Unavailable")]
    bench.go.release()
    with pytest.raises(NotFetched):
        bench.get()
    bench.go.release()
    bench.get().close()
    assert bench.count == 2


def test_a_deadline_without_end(bench):
    bench.go.release()
    bench.get(within=float("inf")).close()
    bench.begun.acquire()
    first = bench.pool.submit(bench.get)
    bench.begun.acquire()
    other = bench.pool.submit(bench.get, within=float("inf"))
    bench.wait_for(1)
    bench.go.release()
    for future in (first, other):
        future.result(60).close()
