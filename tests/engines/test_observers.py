import threading
import time
from datetime import timedelta

import pytest

from psengine_host.analysis import Analysis
from psengine_host.bounty import Bounty
from psengine_host.engines import listeners as room
from psengine_host.engines.found import OBSERVERS_GROUP
from psengine_host.engines.observers import Observers, load_observer
from psengine_host.engines.running import context_for
from psengine_host.errors import UsageError
from psengine_host.hookspecs import hookimpl
from psengine_host.job import current_job, seconds_left
from psengine_host.outcome import Failure, FailureKind, Outcome
from psengine_host.settings import Settings
from psengine_host.spool import Spool

BOUNTY = Bounty.local(data=b"x", lifetime=timedelta(hours=1))


def outcome(number=0, *, failed=False):
    failure = Failure(FailureKind.ENGINE, f"failure {number}") if failed else None
    return Outcome(BOUNTY, "scan", Analysis.unknown(str(number)), failure)


@pytest.fixture
def context(tmp_path):
    spool = Spool(tmp_path)
    contexts = {}
    yield lambda name: contexts.setdefault(name, context_for(name, Settings(), spool))
    spool.close()


@pytest.fixture
def observe(context):
    """Observers that end with the test, of the objects given and of no installed package."""
    made = []

    def observe(*objects, timeout=30.0):
        made.append(Observers(objects, context, timeout=timeout, installed=False))
        return made[-1]

    yield observe
    for observers in made:
        observers.close()


class Listener:
    def __init__(self):
        self.heard = []

    @hookimpl
    def on_success(self, bounty, analysis, context):
        self.heard.append(("success", bounty, analysis, context))

    @hookimpl
    def on_error(self, bounty, failure, analysis, context):
        self.heard.append(("error", bounty, failure, analysis, context))


def test_an_observer_hears_of_success_and_of_error_with_the_engines_context(observe, context):
    listener = Listener()
    observers = observe(listener)
    good, bad = outcome(1), outcome(2, failed=True)
    observers.notify(good)
    observers.notify(bad)
    observers.close()
    assert listener.heard == [
        ("success", BOUNTY, good.analysis, context("scan")),
        ("error", BOUNTY, bad.failure, bad.analysis, context("scan")),
    ]


def test_an_observer_hears_everything_in_order_before_the_end(observe):
    listener = Listener()
    observers = observe(listener)
    for number in range(2_000):
        observers.notify(outcome(number, failed=bool(number % 2)))
    observers.close()
    assert [heard[-2].comments[0] for heard in listener.heard] == [str(number) for number in range(2_000)]


def test_an_observer_is_called_singly_although_outcomes_come_from_many_threads(observe):
    inside = threading.Lock()
    alone = []
    calls = []

    class Counter:
        @hookimpl
        def on_success(self, analysis):
            alone.append(inside.acquire(blocking=False))
            sum(range(5_000))  # time for another thread to come in, if there is one
            calls.append(analysis.comments[0])
            inside.release()

    observers = observe(Counter())
    threads = [
        threading.Thread(target=lambda start=start: [observers.notify(outcome(start + n)) for n in range(200)])
        for start in range(0, 1_000, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    observers.close()
    assert set(alone) == {True}
    assert sorted(map(int, calls)) == list(range(1_000))


def test_observers_may_implement_one_hook_only(observe):
    heard = []

    class OnlyErrors:
        @hookimpl
        def on_error(self, failure):
            heard.append(failure.message)

    observers = observe(OnlyErrors())
    observers.notify(outcome(1))
    observers.notify(outcome(2, failed=True))
    observers.close()
    assert heard == ["failure 2"]


@pytest.mark.parametrize("error", [RuntimeError("sink is down"), SystemExit(3), GeneratorExit()])
def test_a_failing_observer_is_logged_by_name_and_the_others_hear_on(observe, caplog, error):
    class Sink:
        calls = 0

        @hookimpl
        def on_success(self):
            Sink.calls += 1
            raise error

        @hookimpl
        def on_error(self):
            Sink.calls += 1
            raise error

    listener = Listener()
    observers = observe(Sink(), listener)
    observers.notify(outcome(1))
    observers.notify(outcome(2, failed=True))
    observers.close()
    shown = {
        "RuntimeError": "RuntimeError: sink is down",
        "SystemExit": "called sys.exit(3)",
        "GeneratorExit": "GeneratorExit",
    }[type(error).__name__]
    assert caplog.messages == [
        f"observer Sink: on_success failed: {shown}",
        f"observer Sink: on_error failed: {shown}",
    ]
    assert Sink.calls == 2
    assert len(listener.heard) == 2


class Stuck:
    """Hangs in its first call until it is released."""

    def __init__(self):
        self.entered = threading.Event()
        self.release = threading.Event()
        self.left = threading.Event()
        self.calls = 0

    @hookimpl
    def on_success(self):
        self.calls += 1
        self.entered.set()
        self.release.wait(60)
        self.left.set()


def test_a_stuck_observer_delays_nobody_and_is_dropped_after_its_time_limit(observe, caplog):
    stuck, listener = Stuck(), Listener()
    observers = observe(stuck, listener, timeout=0.2)
    began = time.monotonic()
    for number in range(100):
        observers.notify(outcome(number))
    assert time.monotonic() - began < 0.2
    assert stuck.entered.wait(30)
    observers.close()
    assert time.monotonic() - began < 20
    assert len(listener.heard) == 100
    assert "observer Stuck took longer than 0.2 s over one outcome and is dropped" in caplog.messages
    assert "observer Stuck missed 99 outcomes" in caplog.messages
    stuck.release.set()
    assert stuck.left.wait(30)
    assert stuck.calls == 1


def test_a_stuck_observer_is_dropped_at_the_next_outcome_after_its_limit(observe, caplog):
    stuck = Stuck()
    observers = observe(stuck, timeout=0.05)
    observers.notify(outcome(0))
    assert stuck.entered.wait(30)
    deadline = time.monotonic() + 30
    while "observer Stuck took longer than 0.05 s over one outcome and is dropped" not in caplog.messages:
        assert time.monotonic() < deadline
        observers.notify(outcome(1))
    stuck.release.set()
    assert stuck.left.wait(30)
    observers.notify(outcome(2))
    observers.close()
    assert stuck.calls == 1


def test_the_queue_of_an_observer_is_bounded_and_what_it_misses_is_counted(observe, caplog, monkeypatch):
    monkeypatch.setattr(room, "QUEUE_LENGTH", 5)
    stuck = Stuck()
    observers = observe(stuck, timeout=60)
    observers.notify(outcome())
    assert stuck.entered.wait(30)
    for _ in range(12):
        observers.notify(outcome())
    stuck.release.set()
    observers.close()
    assert stuck.calls == 6
    assert caplog.messages == ["observer Stuck missed 7 outcomes"]


def test_ending_the_observers_ends_their_threads(observe):
    before = threading.active_count()
    observers = observe(Listener(), Listener())
    observers.notify(outcome())
    assert threading.active_count() == before + 2
    observers.close()
    assert threading.active_count() == before


def test_observers_that_hear_nothing_start_no_thread(observe):
    before = threading.active_count()
    assert len(observe(Listener())) == 1
    assert threading.active_count() == before


# --- what is no observer ----------------------------------------------------------------------------------------------


class Nosy:
    @hookimpl
    def on_success(self): ...

    @hookimpl
    def analyze(self, artifact): ...


class Nothing:
    def on_success(self): ...


class Misspelt:
    @hookimpl
    def on_failure(self): ...


class Greedy:
    @hookimpl
    def on_success(self, artifact): ...


class Ill:
    @property
    def on_success(self):
        raise RuntimeError("looked at")


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Nosy(), "observer Nosy: analyze: not a hook of an observer or wrapper; only on_success and on_error"),
        (Nothing(), "observer Nothing: has no hook: an observer has @hookimpl on_success, on_error or both"),
        (Misspelt(), "observer Misspelt: on_failure: no such hook"),
        (
            Greedy(),
            "observer Greedy: on_success: no parameter is called 'artifact'; it may take bounty, analysis, context",
        ),
        (Listener, "observer Listener: the entry point names the class Listener: let it name a module or an instance"),
    ],
)
def test_what_is_no_observer_is_a_usage_error(observe, plugin, message):
    with pytest.raises(UsageError) as caught:
        observe(plugin)
    assert str(caught.value) == message


def test_an_object_that_raises_when_it_is_looked_at_is_no_observer(observe):
    with pytest.raises(UsageError, match=r"^observer Ill: "):
        observe(Ill())


# --- installed ones and those named -----------------------------------------------------------------------------------

SOURCE = """
    from psengine_host import hookimpl
    heard = []

    @hookimpl
    def on_success(analysis): heard.append(analysis.comments[0])
"""


def test_installed_observers_are_found_by_their_entry_points(engine_site, context):
    engine_site.add("alerts", SOURCE, group=OBSERVERS_GROUP)
    observers = Observers([], context, timeout=30, path=[str(engine_site.path)])
    observers.notify(outcome(7))
    observers.close()
    assert load_observer("psengine_test_alerts:heard") == ["7"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'; repair or uninstall it"),
        ("raise SystemExit(1)", "called sys.exit(1); repair or uninstall it"),
        ("", "has no hook: an observer has @hookimpl on_success, on_error or both"),
    ],
)
def test_a_broken_installed_observer_is_a_usage_error_naming_its_distribution(engine_site, context, source, reason):
    engine_site.add("alerts", source, group=OBSERVERS_GROUP, distribution="vendor-alerts", version="4.2")
    with pytest.raises(UsageError) as caught:
        Observers([], context, timeout=30, path=[str(engine_site.path)])
    assert str(caught.value) == f"observer alerts (vendor-alerts 4.2): {reason}"


def test_an_observer_may_be_named_by_module_or_attribute(engine_site):
    module = engine_site.add("sinks", SOURCE + "\n    class space: sink = 5\n", group="none")
    assert load_observer(module).heard == []
    assert load_observer(f"{module}:heard") == []
    assert load_observer(f"{module}:space.sink") == 5


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            "no_such_module:x",
            "ModuleNotFoundError: No module named 'no_such_module'; is its folder on PYTHONPATH?",
        ),
        ("json:nothing", "AttributeError: module 'json' has no attribute 'nothing'; give it as module:attribute"),
        ("", "ValueError: Empty module name; give it as module:attribute"),
    ],
)
def test_an_observer_that_cannot_be_named_so(spec, reason):
    with pytest.raises(UsageError) as caught:
        load_observer(spec)
    assert str(caught.value) == f"observer {spec}: {reason}"


def test_one_that_is_installed_and_named_too_hears_once(engine_site, context, monkeypatch):
    source = """
        from psengine_host import hookimpl
        heard = []
        @hookimpl
        def on_success(analysis): heard.append(analysis)
    """
    module = engine_site.add("alerts", source, group=OBSERVERS_GROUP)
    monkeypatch.syspath_prepend(str(engine_site.path))
    named = load_observer(module)
    observers = Observers([named], context, timeout=30, path=[str(engine_site.path)])
    observers.notify(outcome(1))
    observers.close()
    assert len(named.heard) == 1


def test_the_job_in_hand_is_the_outcomes_with_the_observers_own_limit(observe):
    jobs = []

    class Noting:
        @hookimpl
        def on_success(self):
            jobs.append((current_job(), seconds_left()))

    observers = observe(Noting(), timeout=30.0)
    observers.notify(outcome(7))
    observers.close()
    [(job, left)] = jobs
    assert (job.engine, job.bounty) == (outcome(7).engine, outcome(7).bounty.id)
    assert 0 < left <= 30
