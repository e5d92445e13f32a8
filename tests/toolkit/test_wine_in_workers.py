"""Wine's server where engines run in workers: all of them use it, whichever started it."""

import pytest

from psengine_host.host import Host
from psengine_host.outcome import FailureKind
from psengine_host.settings import Settings, WorkerSettings
from psengine_host.toolkit import wine

SERVES = """
    import os
    from psengine_host import Analysis, hookimpl
    from psengine_host.toolkit import wine

    @hookimpl
    def analyze(artifact):
        if artifact.read_bytes() == b"die":
            os._exit(1)
        wine.start_persistent_wineserver()
        return Analysis.benign()
"""


@pytest.mark.usefixtures("wine_sockets")
def test_the_server_outlives_the_worker_that_started_it_and_not_the_host(engine_site, wine_prefix):
    engine_site.add("serves", SERVES)
    settings = Settings(workers=WorkerSettings(count=1, tries=1))
    with Host(settings, backend="process", catalog=engine_site.catalog()) as host:
        assert host.analyze(b"start", "serves").failure is None
        assert wine.wineserver_status().running
        assert host.analyze(b"die", "serves").failure.kind is FailureKind.WORKER_LOST
        assert host.analyze(b"start", "serves").failure is None  # in the next worker, which finds it
        assert wine.wineserver_status().running
    assert not wine.wineserver_status().running
