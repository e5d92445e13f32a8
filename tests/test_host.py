import json
import logging
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from psengine_host import Host, filetypes
from psengine_host.analysis import Analysis, Verdict
from psengine_host.artifacts import Artifact
from psengine_host.backends import BACKENDS_GROUP
from psengine_host.bounty import Bounty, Phase
from psengine_host.engines.found import OBSERVERS_GROUP, WRAPPERS_GROUP
from psengine_host.errors import AmbiguousEngine, ArtifactError, UnknownEngine, UsageError
from psengine_host.hookspecs import hookimpl
from psengine_host.host import idempotency_key, usable_engines
from psengine_host.job import Job, current_job
from psengine_host.network.delivery import DeliveryStatus
from psengine_host.outcome import FailureKind, Outcome
from psengine_host.settings import HostSettings, NetworkSettings, Settings

SPY = """
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact, bounty):
        content = artifact.read_bytes()
        if content == b"boom":
            raise RuntimeError("boom")
        return Analysis.malicious(f"{content!r} {bounty.artifact_type}", comments=[str(artifact.path)])
"""
LOOPBACK = Settings(network=NetworkSettings(allow=("127.0.0.1",)))


class Receiver:
    """A real HTTP server on loopback that keeps what it is sent."""

    def __init__(self, status=200):
        receiver = self
        self.requests = []
        self.answered = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), json.loads(body)))
                receiver.answered.set()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"fetched")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def spying(engine_site):
    """The catalog with one engine, which tells what it was given."""
    engine_site.add("spy", SPY)
    return engine_site.catalog()


# --- three lines ------------------------------------------------------------------------------------------------------


def test_three_lines_in_a_notebook(spying, tmp_path):
    path = tmp_path / "suspect"
    path.write_bytes(b"hello")
    with Host(catalog=spying) as host:
        outcome = host.analyze(path, engine="spy")
    assert isinstance(outcome, Outcome)
    assert outcome.failure is None
    assert outcome.analysis.verdict is Verdict.MALICIOUS
    assert outcome.analysis.malware_family == "b'hello' file"
    assert outcome.bounty.artifact_uri == path.as_uri()


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "artifact", "bounty"])
def test_what_can_be_judged(spying, tmp_path, kind):
    path = tmp_path / "suspect"
    path.write_bytes(b"hello")
    target = {
        "path": path,
        "str": str(path),
        "bytes": b"hello",
        "artifact": Artifact.from_bytes(b"hello"),
        "bounty": Bounty.local(path),
    }[kind]
    with Host(Settings(), catalog=spying) as host:
        outcome = host.analyze(target)
        assert outcome.analysis.malware_family == "b'hello' file"
        assert host.submit(target).result().analysis.malware_family == "b'hello' file"
    assert outcome.bounty.id == Bounty.local(data=b"hello").id


def test_a_bounty_is_fetched(spying, receiver):
    bounty = Bounty(
        id=5,
        artifact_type=Artifact.from_bytes(b"").artifact_type,
        artifact_uri=f"{receiver.url}/artifact",
        expiration=datetime.now(UTC) + timedelta(minutes=1),
    )
    with Host(LOOPBACK, catalog=spying) as host:
        outcome = host.analyze(bounty)
    assert outcome.analysis.malware_family == "b'fetched' file"
    assert receiver.requests == []


def test_an_engines_fault_is_in_the_outcome(spying):
    with Host(Settings(), catalog=spying) as host:
        outcome = host.analyze(b"boom")
    assert outcome.failure.kind is FailureKind.ENGINE
    assert outcome.failure.message == "RuntimeError: boom"


def test_a_path_that_cannot_be_read_is_an_error_that_of_a_bounty_an_outcome(spying, tmp_path):
    path = tmp_path / "gone"
    path.touch()
    bounty = Bounty.local(path)
    path.unlink()
    with Host(Settings(), catalog=spying) as host:
        with pytest.raises(ArtifactError, match=r"gone: no such file or directory$"):
            host.analyze(path)
        assert host.analyze(bounty).failure.kind is FailureKind.FETCH


def test_files_made_of_bytes_do_not_pile_up(spying):
    with Host(Settings(), catalog=spying) as host:
        for _ in range(3):
            host.analyze(b"hello")
        assert list(host.spool.folder.iterdir()) == []


def test_leaving_the_host_removes_its_spool(spying):
    with Host(Settings(), catalog=spying) as host:
        host.analyze(b"hello")
        folder = host.spool.folder
        assert folder.is_dir()
    assert not folder.exists()


# --- choosing engines -------------------------------------------------------------------------------------------------


def test_an_engine_must_be_chosen_of_several_and_must_exist(engine_site):
    engine_site.add("a")
    engine_site.add("b")
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        with pytest.raises(AmbiguousEngine, match="choose with --engine a or b, or --engine all"):
            host.analyze(b"hello")
        with pytest.raises(UnknownEngine, match="no engine is called 'c'"):
            host.analyze(b"hello", engine="c")
        assert host.analyze(b"hello", engine="b").engine == "b"


def test_by_default_the_engines_are_those_installed_that_the_settings_allow(engine_site):
    engine_site.add("site-a")
    engine_site.add("site-b")
    with Host(Settings(enabled_engines=frozenset({"site-b"}))) as host:
        assert list(host.catalog) == ["site-b"]
        assert host.analyze(b"hello").engine == "site-b"


def test_nothing_of_an_engine_is_imported_before_its_first_bounty(engine_site):
    engine_site.add("bad", "raise RuntimeError('imported')")
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        assert list(host.catalog) == ["bad"]
        outcome = host.analyze(b"hello")
    assert outcome.failure.kind is FailureKind.UNAVAILABLE
    assert outcome.failure.message == ("engine bad (psengine-test-bad 1.0) is broken: RuntimeError: imported")


def test_the_time_limit_may_be_given(spying):
    with Host(Settings(host=HostSettings(timeout=5.0)), timeout=90.0, catalog=spying) as host:
        assert host.settings.host.timeout == 90.0
        left = host.analyze(b"hello").bounty.expiration - datetime.now(UTC)
    assert left > timedelta(seconds=60)


@pytest.mark.parametrize("timeout", [0, -1, 1e9, float("nan")])
def test_a_time_limit_that_cannot_be(spying, timeout):
    with pytest.raises(UsageError, match=r"timeout: must be more than 0 and at most 86400 seconds, got"):
        Host(Settings(), timeout=timeout, catalog=spying)


# --- delivering -------------------------------------------------------------------------------------------------------


def bounty_to(url, data=b"hello", **options):
    return Bounty.local(data=data, response_url=url, lifetime=timedelta(minutes=5), **options)


def test_a_submitted_bounty_is_delivered_although_nobody_waits_for_it(spying, receiver):
    bounty = bounty_to(f"{receiver.url}/answer?nonce=1")
    with Host(LOOPBACK, catalog=spying) as host:
        host.submit(bounty)
    ((path, headers, body),) = receiver.requests
    assert path == "/answer?nonce=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == idempotency_key(bounty, "spy")
    assert body["verdict"] == "malicious"
    assert body["bid"] == bounty.rules.min_allowed_bid
    assert body["metadata"]["malware_family"] == "b'hello' file"


def test_a_vote_is_delivered_without_a_bid(spying, receiver):
    with Host(LOOPBACK, catalog=spying) as host:
        host.submit(bounty_to(receiver.url, phase=Phase.ARBITRATION))
    assert "bid" not in receiver.requests[0][2]


def test_a_failure_is_delivered_too(spying, receiver):
    with Host(LOOPBACK, catalog=spying) as host:
        host.submit(bounty_to(receiver.url, b"boom"))
    body = receiver.requests[0][2]
    assert (body["verdict"], body["bid"]) == ("unknown", 0)
    assert body["metadata"]["comments"] == ["ERROR:ENGINE", "RuntimeError: boom"]


def test_the_same_answer_has_the_same_key_and_another_engine_another():
    bounty = bounty_to("http://127.0.0.1/")
    assert idempotency_key(bounty, "a") == idempotency_key(bounty, "a")
    assert idempotency_key(bounty, "a") != idempotency_key(bounty, "b")


def test_analyzing_delivers_nothing(spying, receiver):
    with Host(LOOPBACK, catalog=spying) as host:
        host.analyze(bounty_to(receiver.url))
    assert receiver.requests == []


def test_a_bounty_without_a_response_url_is_not_delivered(spying):
    with Host(LOOPBACK, catalog=spying) as host:
        outcome = host.submit(b"hello").result()
        with pytest.raises(UsageError) as caught:
            host.deliver(outcome)
    assert str(caught.value) == (f"bounty {outcome.bounty.id} has no response_url: there is nowhere to deliver to")


def test_a_delivery_says_what_became_of_it(spying, receiver):
    with Host(LOOPBACK, catalog=spying) as host:
        delivery = host.deliver(host.analyze(bounty_to(receiver.url)))
    assert delivery.status is DeliveryStatus.DELIVERED
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(("status", "settings"), [(500, LOOPBACK), (410, LOOPBACK), (200, Settings())])
def test_a_delivery_that_fails_is_logged_not_raised(spying, caplog, status, settings):
    receiver = Receiver(status)
    jobs = []
    caplog.handler.addFilter(lambda _: jobs.append(current_job()) or True)
    try:
        with Host(settings, catalog=spying) as host:
            outcome = host.submit(bounty_to(receiver.url)).result()
    finally:
        receiver.stop()
    assert jobs == [Job("spy", outcome.bounty.id)]
    assert outcome.failure is None
    (record,) = [record for record in caplog.records if record.name == "psengine_host.host"]
    assert record.levelno == logging.ERROR
    start = f"bounty {outcome.bounty.id}: the answer of spy was not delivered: "
    assert record.getMessage().startswith(start)
    assert str(status) in record.getMessage() or settings is not LOOPBACK
    assert len(receiver.requests) == (1 if settings is LOOPBACK else 0)


def test_receivers_that_never_answer_hold_up_no_other_delivery(spying, receiver):
    settings = msgspec.structs.replace(LOOPBACK, host=HostSettings(close_timeout=0.1))
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, Host(settings, catalog=spying) as host:
        for number in range(40):
            host.submit(bounty_to(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"%d" % number)).result(30)
        host.submit(bounty_to(f"{receiver.url}/answer")).result(30)
        assert receiver.answered.wait(10)  # the others are given 15 s
    assert [path for path, _, _ in receiver.requests] == ["/answer"]


def test_deliveries_keep_to_the_settings_of_the_network(spying, receiver, tmp_path):
    missing = tmp_path / "authorities.pem"
    network = msgspec.structs.replace(LOOPBACK.network, ca_file=str(missing))
    with Host(msgspec.structs.replace(LOOPBACK, network=network), catalog=spying) as host:
        outcome = host.analyze(bounty_to(receiver.url))
        refused = host.deliver(outcome)
        assert refused.status is DeliveryStatus.RETRY
        assert refused.reason == (
            f"the CA file '{missing}' cannot be used: No such file or directory; see the setting network.ca_file"
        )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        network = msgspec.structs.replace(LOOPBACK.network, read_timeout=0.2)
        with Host(msgspec.structs.replace(LOOPBACK, network=network), catalog=spying) as host:
            port = silent.getsockname()[1]
            delivery = host.deliver(host.analyze(bounty_to(f"http://127.0.0.1:{port}/")))
        assert delivery.reason == f"127.0.0.1:{port} sent nothing for 0.2 s"


def test_a_closed_host_delivers_nothing_and_says_so(spying, receiver):
    with Host(LOOPBACK, catalog=spying) as host:
        outcome = host.analyze(bounty_to(receiver.url))
        assert host.deliver(outcome).delivered
    delivery = host.deliver(outcome)
    assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, "the fetcher is closed")
    assert len(receiver.requests) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "psengine-network"]


BREAKS = {
    "its future raises": "future.set_exception(RuntimeError('lost')); return future",
    "its future is cancelled": "future.cancel(); return future",
    "submit raises": "raise RuntimeError('lost')",
}


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
def test_a_backend_that_breaks_its_promise_is_an_outcome_too_and_is_delivered(engine_site, caplog, receiver, breaks):
    source = f"""
        from concurrent.futures import Future

        class Broken:
            def __init__(self, services): ...
            def submit(self, bounty, engine, *, artifact=None):
                future = Future()
                {breaks}
            def close(self): ...
    """
    engine_site.add("scan")
    engine_site.add("broken", source, group=BACKENDS_GROUP, value="{module}:Broken")
    heard = []

    class Listener:
        @hookimpl
        def on_error(self, failure):
            heard.append(failure)

    with Host(LOOPBACK, backend="broken", observers=[Listener()], catalog=engine_site.catalog()) as host:
        outcome = host.submit(bounty_to(receiver.url)).result(timeout=30)
    assert outcome.failure.kind is FailureKind.UNAVAILABLE
    assert outcome.failure.message.startswith("the backend failed: ")
    assert heard == [outcome.failure]
    assert [body["verdict"] for _, _, body in receiver.requests] == ["unknown"]
    assert "the backend failed: " in caplog.text


def test_an_unknown_backend_is_a_usage_error(spying):
    with pytest.raises(UsageError, match=r"^no backend is called 'remote'.*; there are: .*local"):
        Host(Settings(), backend="remote", catalog=spying)


# --- observers, wrappers, tracing -------------------------------------------------------------------------------------


class Listener:
    def __init__(self):
        self.heard = []

    @hookimpl
    def on_success(self, bounty, analysis, context):
        self.heard.append(("success", context.engine, analysis.malware_family, dict(context.config)))

    @hookimpl
    def on_error(self, failure, context):
        self.heard.append(("error", context.engine, failure.message, dict(context.config)))


def test_observers_hear_of_every_outcome(engine_site):
    engine_site.add("spy", SPY)
    engine_site.add("bad", "1 / 0")
    listener = Listener()
    settings = Settings(engines={"spy": {"key": "value"}})
    with Host(settings, observers=[listener], catalog=engine_site.catalog()) as host:
        host.analyze(b"hello", "spy")
        host.analyze(b"boom", "spy")
        host.analyze(b"hello", "bad")
    assert listener.heard == [
        ("success", "spy", "b'hello' file", {"key": "value"}),
        ("error", "spy", "RuntimeError: boom", {"key": "value"}),
        (
            "error",
            "bad",
            "engine bad (psengine-test-bad 1.0) is broken: ZeroDivisionError: division by zero",
            {},
        ),
    ]


def test_a_failing_observer_changes_no_outcome(spying, caplog):
    class Sink:
        @hookimpl
        def on_success(self):
            raise SystemExit(1)

    with Host(Settings(), observers=[Sink()], catalog=spying) as host:
        outcomes = [host.analyze(b"hello") for _ in range(3)]
    assert {outcome.failure for outcome in outcomes} == {None}
    assert caplog.messages.count("observer Sink: on_success failed: called sys.exit(1)") == 3


def test_a_stuck_observer_delays_no_outcome(spying, caplog):
    release = threading.Event()

    class Stuck:
        @hookimpl
        def on_success(self):
            release.wait(60)

    began = time.monotonic()
    with Host(Settings(host=HostSettings(observer_timeout=0.2)), observers=[Stuck()], catalog=spying) as host:
        for _ in range(10):
            assert host.analyze(b"hello").failure is None
        assert time.monotonic() - began < 10
    release.set()
    assert "observer Stuck took longer than 0.2 s over one outcome and is dropped" in caplog.messages


def test_what_is_no_observer_is_a_usage_error(spying):
    with pytest.raises(UsageError, match=r"^observer object: has no hook"):
        Host(Settings(), observers=[object()], catalog=spying)


def test_installed_observers_hear_too(spying, engine_site):
    source = """
        from psengine_host import hookimpl
        heard = []

        @hookimpl
        def on_success(bounty): heard.append(bounty.id)
    """
    module = engine_site.add("alerts", source, group=OBSERVERS_GROUP)
    with Host(Settings(), catalog=spying) as host:
        bounty = host.analyze(b"hello").bounty
    assert __import__(module).heard == [bounty.id]


def test_installed_wrappers_lie_around_every_engine(engine_site):
    source = """
        from psengine_host import Analysis, hookimpl

        @hookimpl(wrapper=True)
        def analyze(artifact, context):
            try:
                answer = yield
            except RuntimeError as error:
                return Analysis.suspicious(f"{context.engine} {error}")
            return Analysis.malicious(f"wrapped {answer.malware_family}")
    """
    engine_site.add("spy", SPY)
    engine_site.add("policy", source, group=WRAPPERS_GROUP)
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        assert host.analyze(b"hello").analysis.malware_family == "wrapped b'hello' file"
        assert host.analyze(b"boom").analysis.malware_family == "spy boom"


def test_a_broken_wrapper_is_a_usage_error_that_names_its_distribution(spying, engine_site):
    engine_site.add("policy", "import no_such_module", group=WRAPPERS_GROUP, distribution="vendor-policy")
    with (
        Host(Settings(), catalog=spying) as host,
        pytest.raises(UsageError, match=r"^wrapper policy \(vendor-policy 1\.0\): ModuleNotFoundError"),
    ):
        host.analyze(b"hello")


def test_hooks_are_traced(spying):
    calls = []
    with Host(Settings(), catalog=spying, trace=lambda *call: calls.append(call)) as host:
        outcome = host.analyze(b"hello")
    ((engine, hook, arguments, result, seconds),) = calls  # setup and open_session it does not have
    assert (engine, hook) == ("spy", "analyze")
    assert arguments["bounty"] == outcome.bounty
    assert isinstance(result, Analysis)
    assert 0 < seconds < 60


def test_usable_engines_are_found_where_python_finds_modules(engine_site):
    engine_site.add("site-a")
    assert usable_engines(Settings(enabled_engines=frozenset({"site-a"})))["site-a"].version == "1.0"


def test_a_closed_host_judges_nothing_more(engine_site):
    engine_site.add("calm")
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        assert host.analyze(b"x").analysis.verdict == "benign"
    with pytest.raises(UsageError, match=r"^the host is closed: judge inside its 'with' block, or before close\(\)$"):
        host.analyze(b"x")


SLOW_CALLBACK = """
    import time
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(): return Analysis.benign()

    @hookimpl
    def on_success():
        time.sleep(3600)
"""


def test_an_authors_callback_that_never_returns_delays_no_delivery_and_is_dropped(engine_site, receiver, caplog):
    engine_site.add("slow", SLOW_CALLBACK)
    settings = msgspec.structs.replace(LOOPBACK, host=HostSettings(observer_timeout=0.3))
    with Host(settings, catalog=engine_site.catalog()) as host:
        host.submit(bounty_to(f"{receiver.url}/answer"))
    assert len(receiver.requests) == 1
    assert "engine slow: on_success or on_error took longer than 0.3 s over one outcome and is dropped" in caplog.text


def test_the_end_waits_for_observers_and_deliveries_only_so_long(engine_site, caplog):
    engine_site.add("calm")
    heard = threading.Event()
    release = threading.Event()

    class Slow:
        @hookimpl
        def on_success(self):
            heard.set()
            release.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = msgspec.structs.replace(LOOPBACK, host=HostSettings(observer_timeout=600, close_timeout=0.5))
        host = Host(settings, observers=[Slow()], catalog=engine_site.catalog())
        host.submit(bounty_to(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        host.submit(b"another")
        assert heard.wait(30)
        host.close()
    release.set()
    assert "1 answers were not delivered in the time there is at the end" in caplog.text
    assert "observer Slow has not heard everything in the time there is at the end, and is dropped" in caplog.text
    assert "observer Slow missed 1 outcomes" in caplog.text


def test_an_engine_that_the_settings_name_and_is_not_there_is_warned_of(engine_site, monkeypatch, caplog):
    engine_site.add("yara")
    monkeypatch.syspath_prepend(str(engine_site.path))
    usable_engines(Settings(disabled_engines=frozenset({"yarra"})))
    assert "the settings name an engine 'yarra', and none is called that; did you mean 'yara'?" in caplog.messages


def test_bytes_are_not_identified_unless_somebody_asks(engine_site, monkeypatch):
    engine_site.add("calm")
    monkeypatch.setattr(filetypes, "identify_bytes", lambda _: pytest.fail("identified"))
    with Host(Settings(), catalog=engine_site.catalog()) as host:
        bounty = host.analyze(b"hello").bounty
    assert (bounty.mimetype, bounty.artifact_uri) == (None, "data:application/octet-stream;base64,aGVsbG8=")
