import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from psengine_host.analysis import Verdict
from psengine_host.artifacts import Artifact
from psengine_host.backends import BackendServices
from psengine_host.backends.local import LocalBackend
from psengine_host.bids import BidPolicy
from psengine_host.bounty import Bounty
from psengine_host.errors import UnknownEngine
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import FailureKind
from psengine_host.settings import BidSettings, HostSettings, Settings
from psengine_host.spool import Spool

BOUNTY = Bounty.local(data=b"hello", lifetime=timedelta(hours=1))

LOGGING = """
    from psengine_host import Analysis, EngineInfo, hookimpl
    log = []
    NAME = "{name}"

    @hookimpl
    def setup(context):
        log.append("setup")
        yield {{"log": NAME}}
        log.append("teardown")

    @hookimpl
    def open_session(context):
        log.append("open_session")
        yield NAME
        log.append("close")

    @hookimpl
    def analyze(artifact, session, context):
        log.append(f"analyze {{session}} {{context.shared['log']}}")
        return Analysis.malicious(confidence=1.0)

    @hookimpl
    def on_success(): log.append("on_success")
"""


@pytest.fixture
def local(engine_site, tmp_path):
    """A local backend over the engines of the site; ends with the test."""
    backends = []
    with Spool(tmp_path) as spool:

        def local(settings=None, trace=None):
            settings = settings or Settings()
            services = BackendServices(
                settings=settings,
                catalog=engine_site.catalog(),
                wrappers=list,
                obtainer=Obtainer(settings, spool, Fetcher(settings.network)),
                spool=spool,
                trace=trace,
            )
            backends.append(LocalBackend(services))
            return backends[-1]

        yield local
        for backend in backends:
            backend.close()


def log_of(module):
    return sys.modules[module].log


def test_the_future_is_done_at_once(engine_site, local):
    engine_site.add("scan")
    future = local().submit(BOUNTY, "scan")
    assert future.done()
    assert future.result().analysis.verdict is Verdict.BENIGN


def test_an_engine_starts_with_its_first_bounty_and_ends_with_the_backend(engine_site, local):
    module = engine_site.add("scan", LOGGING.format(name="scan"))
    engine_site.add("unused", "raise RuntimeError('imported')")
    backend = local()
    backend.submit(BOUNTY, "scan")
    backend.submit(BOUNTY, "scan")
    # The author's callbacks have a thread of their own, which delays nobody: they are heard at the end at the latest.
    judged = [entry for entry in log_of(module) if entry != "on_success"]
    assert judged == ["setup", "open_session", "analyze scan scan", "analyze scan scan"]
    backend.close()
    backend.close()
    assert log_of(module)[-2:] == ["close", "teardown"]
    assert log_of(module).count("on_success") == 2
    assert log_of(module).count("teardown") == 1


def test_engines_share_nothing(engine_site, local):
    modules = [engine_site.add(name, LOGGING.format(name=name)) for name in ("a", "b")]
    backend = local()
    for name in ("a", "b", "a"):
        backend.submit(BOUNTY, name)
    assert log_of(modules[0]).count("analyze a a") == 2
    assert log_of(modules[1]).count("analyze b b") == 1


BEGINNING = "import sys\nfrom psengine_host import Analysis, EngineError, EngineInfo, hookimpl\nlog = []\n"
ANALYZE = "@hookimpl\ndef analyze(): return Analysis.benign()\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "engine scan (psengine-test-scan 1.0) is broken: ZeroDivisionError: division by zero"),
        (ANALYZE + "@hookimpl\ndef setup(): raise EngineError('no licence')\n", "engine scan: setup: no licence"),
        (ANALYZE + "@hookimpl\ndef setup(): sys.exit(1)\n", "engine scan: setup: called sys.exit(1)"),
        (
            ANALYZE + "@hookimpl\ndef setup(): return 5\n",
            "engine scan: setup: must return a mapping or None, not a int",
        ),
        (ANALYZE + "@hookimpl\ndef open_session(): 1 / 0\n", "engine scan: open_session: ZeroDivisionError: division"),
        (ANALYZE + "@hookimpl\ndef info(): ...\n", "engine scan: info: must return an EngineInfo, not a NoneType"),
    ],
)
def test_an_engine_that_cannot_start_is_unavailable_and_the_others_serve(engine_site, local, source, message):
    engine_site.add("scan", BEGINNING + source)
    engine_site.add("good")
    backend = local()
    for _ in range(2):
        outcome = backend.submit(BOUNTY, "scan").result()
        assert outcome.failure.kind is FailureKind.UNAVAILABLE
        assert outcome.failure.message.startswith(message)
        assert outcome.failure.traceback.startswith("Traceback (most recent call last):")
        assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert backend.submit(BOUNTY, "good").result().failure is None


@pytest.mark.parametrize("failing", ["open_session", "info"])
def test_what_setup_began_is_torn_down_when_the_rest_of_the_start_fails(engine_site, local, failing):
    module = engine_site.add(
        "scan",
        BEGINNING
        + ANALYZE
        + "@hookimpl\ndef setup():\n    yield {}\n    log.append('teardown')\n"
        + f"@hookimpl\ndef {failing}(): 1 / 0\n",
    )
    assert local().submit(BOUNTY, "scan").result().failure.kind is FailureKind.UNAVAILABLE
    assert log_of(module) == ["teardown"]


def test_an_interrupt_during_the_start_passes_and_tears_down(engine_site, local):
    module = engine_site.add(
        "scan",
        BEGINNING
        + ANALYZE
        + "@hookimpl\ndef setup():\n    yield {}\n    log.append('teardown')\n"
        + "@hookimpl\ndef open_session(): raise KeyboardInterrupt\n",
    )
    with pytest.raises(KeyboardInterrupt):
        local().submit(BOUNTY, "scan")
    assert log_of(module) == ["teardown"]


def test_a_failing_end_of_one_engine_does_not_keep_the_others_running(engine_site, local, caplog):
    bad = "    yield {}\n    raise RuntimeError('stuck')\n"
    engine_site.add("bad", BEGINNING + ANALYZE + f"@hookimpl\ndef setup():\n{bad}@hookimpl\ndef open_session():\n{bad}")
    module = engine_site.add("scan", LOGGING.format(name="scan"))
    backend = local()
    for name in ("scan", "bad"):
        backend.submit(BOUNTY, name)
    backend.close()
    assert log_of(module)[-2:] == ["close", "teardown"]
    assert caplog.messages == [
        "engine bad: open_session failed: RuntimeError: stuck",
        "engine bad: setup failed: RuntimeError: stuck",
    ]


def test_an_unknown_engine_is_an_error_of_the_caller(engine_site, local):
    engine_site.add("scan")
    with pytest.raises(UnknownEngine, match="did you mean 'scan'"):
        local().submit(BOUNTY, "scna")


def test_the_settings_decide_on_bids_config_and_time(engine_site, local):
    engine_site.add(
        "scan",
        """
        import time
        from psengine_host import Analysis, hookimpl

        @hookimpl
        def analyze(context):
            return Analysis.malicious(f"{context.config['licence']} {context.deadline - time.monotonic() < 8}")
        """,
    )
    settings = Settings(
        bids=BidSettings(policy=BidPolicy.MAXIMUM),
        host=HostSettings(timeout=7.0),
        engines={"scan": {"licence": "abc"}},
    )
    analysis = local(settings).submit(BOUNTY, "scan").result().analysis
    assert analysis.malware_family == "abc True"
    assert analysis.bid == BOUNTY.rules.max_allowed_bid


def test_an_artifact_that_is_handed_in_is_judged_as_it_is(engine_site, local, tmp_path):
    engine_site.add(
        "scan",
        "from psengine_host import Analysis, hookimpl\n"
        "@hookimpl\ndef analyze(artifact): return Analysis.malicious(artifact.name)\n",
    )
    artifact = Artifact.from_bytes(b"hello", name="in hand")
    outcome = local().submit(BOUNTY, "scan", artifact=artifact).result()
    assert outcome.analysis.malware_family == "in hand"
    assert artifact.read_bytes() == b"hello"


def test_bounties_of_many_threads_are_judged_one_after_another(engine_site, local):
    engine_site.add(
        "scan",
        """
        import threading
        from psengine_host import Analysis, hookimpl
        inside = threading.Lock()

        @hookimpl
        def analyze():
            alone = inside.acquire(blocking=False)
            sum(range(20_000))
            if alone:
                inside.release()
            return Analysis.benign() if alone else Analysis.malicious("not alone")
        """,
    )
    backend = local()
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(lambda _: backend.submit(BOUNTY, "scan").result(), range(200)))
    assert {outcome.analysis.verdict for outcome in outcomes} == {Verdict.BENIGN}


def test_every_hook_of_the_engine_is_traced(engine_site, local):
    engine_site.add("scan", LOGGING.format(name="scan"))
    calls = []
    backend = local(trace=lambda engine, hook, *_: calls.append((engine, hook)))
    backend.submit(BOUNTY, "scan")
    backend.close()
    assert calls == [
        ("scan", "setup"),
        ("scan", "open_session"),
        ("scan", "analyze"),
        ("scan", "on_success"),
    ]


WANDERER = """
    import os
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def setup(): os.chdir("/")

    @hookimpl
    def analyze():
        os.chdir("/")
        return Analysis.benign()
"""


def test_an_engine_that_changes_the_working_directory_changes_it_for_nobody_else(
    engine_site, local, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    engine_site.add("wanderer", WANDERER)
    assert local().submit(BOUNTY, "wanderer").result().failure is None
    assert os.getcwd() == str(tmp_path)
    assert caplog.messages == [f"engine wanderer changed the working directory; it is set back to {tmp_path}"]


FORKING = """
    import os, sys
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact):
        child = os.fork()
        if child == 0:
            {ends}
        _, status = os.waitpid(child, 0)
        return Analysis.benign(comments=[str(os.waitstatus_to_exitcode(status))])
"""


@pytest.mark.parametrize(("ends", "code"), [("sys.exit(0)", "1"), ("return Analysis.benign()", "0")])
def test_a_child_that_an_engine_forks_never_goes_on_as_another_host(engine_site, tmp_path, ends, code):
    engine_site.add("forking", FORKING.format(ends=ends))
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    run = subprocess.run(
        [sys.executable, "-m", "psengine_host", "analyze", "-e", "forking", "a", "b", "c"],
        cwd=tmp_path, env=engine_site.env(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [row["artifact"] for row in rows] == ["a", "b", "c"]
    assert {row["analysis"]["metadata"]["comments"][0] for row in rows} == {code}
