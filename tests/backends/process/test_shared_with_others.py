"""What an engine shares with the host and all others: places, limits, the end of a host after a cancelled future."""

import threading

import pytest

from psengine_host import Artifact
from psengine_host.host import Host
from psengine_host.outcome import FailureKind
from psengine_host.settings import HostSettings, Settings, WorkerSettings

PLACES = """
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def setup(context):
        return {"state": str(context.environment.state_home)}

    @hookimpl
    def analyze(artifact, context):
        return Analysis.benign(comments=[str(context.environment.state_home), context.shared["state"]])
"""
WAITS = """
    import time
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact):
        end = time.monotonic() + float(artifact.read_bytes())
        while time.monotonic() < end:
            time.sleep(0.01)
        return Analysis.benign()
"""


def test_relative_places_start_where_the_host_does(process_host, engine_site, tmp_path, monkeypatch):
    engine_site.add("places", PLACES)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PLACES_STATE_HOME", "state")
    outcome = process_host().analyze(b"x", "places")
    assert outcome.failure is None
    assert outcome.analysis.metadata.comments == (str(tmp_path / "work/state"),) * 2


def test_what_was_cancelled_while_it_ran_does_not_hold_up_the_end(process_host, engine_site, until):
    engine_site.add("waits", WAITS)
    host = process_host(count=1)
    assert host.analyze(b"0", "waits").failure is None
    with Artifact.from_bytes(b"0.5", spool=host.spool) as artifact:
        running = host.judge(host.bounty_for(artifact), "waits", artifact)
        until(lambda: any(worker.state == "busy" for worker in host.workers()))
        assert running.cancel()
        closing = threading.Thread(target=host.close)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()


@pytest.mark.parametrize("backend", ["local", "process"])
def test_an_engine_s_own_limit_is_longer_than_that_of_all(backend, engine_site):
    engine_site.add("waits", WAITS)
    settings = Settings(
        host=HostSettings(timeout=0.2), workers=WorkerSettings(engines={"waits": {"timeout": 60.0}}, count=1)
    )
    with Host(settings, backend=backend, catalog=engine_site.catalog()) as host:
        assert host.analyze(b"0.6", "waits").failure is None


def test_an_engine_s_own_limit_is_shorter_than_that_of_all(process_host, engine_site):
    engine_site.add("waits", WAITS)
    host = process_host(count=1, engine_limits={"waits": {"timeout": 0.2}})
    failure = host.analyze(b"600", "waits").failure
    assert failure.kind is FailureKind.TIMEOUT
    assert failure.message == "took longer than 0.2 s and was killed"


def test_the_local_backend_says_that_it_has_no_sandbox(engine_site, caplog):
    engine_site.add("waits", WAITS)
    settings = Settings(workers=WorkerSettings(engines={"waits": {"sandbox": "bwrap"}}))
    with Host(settings, catalog=engine_site.catalog()) as host:
        assert host.analyze(b"0", "waits").failure is None
    assert "engine waits is to run in a sandbox (workers.sandbox); the local backend has none" in caplog.messages
