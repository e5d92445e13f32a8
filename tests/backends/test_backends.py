import sys

import pytest

from psengine_host.analysis import Analysis
from psengine_host.backends import BACKENDS_GROUP, BackendServices, create_backend
from psengine_host.backends.local import LocalBackend
from psengine_host.errors import UsageError
from psengine_host.host import Host
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.settings import Settings
from psengine_host.spool import Spool

BACKEND = """
    from concurrent.futures import Future
    from psengine_host import Analysis, Outcome

    made = []

    class Oracle:
        def __init__(self, services):
            self.services = services
            self.closed = 0
            made.append(self)

        def submit(self, bounty, engine, *, artifact=None):
            artifact = artifact or self.services.obtainer.obtain(bounty, float("inf"))
            family = f"{engine} {artifact.size} {sorted(self.services.catalog)}"
            future = Future()
            future.set_result(Outcome(bounty, engine, Analysis.malicious(family)))
            return future

        def close(self):
            self.closed += 1
"""


@pytest.fixture
def services(engine_site, tmp_path):
    settings = Settings()
    with Spool(tmp_path) as spool:
        yield BackendServices(
            settings=settings,
            catalog=engine_site.catalog(),
            wrappers=list,
            obtainer=Obtainer(settings, spool, Fetcher(settings.network)),
            spool=spool,
        )


def test_ours_comes_through_the_same_door_as_anybodys(services):
    backend = create_backend("local", services)
    assert type(backend) is LocalBackend
    backend.close()


def test_a_distribution_registers_a_backend_and_the_host_runs_it(engine_site):
    engine_site.add("scan", "raise RuntimeError('this backend imports no engine')")
    module = engine_site.add("oracle", BACKEND, group=BACKENDS_GROUP, value="{module}:Oracle")
    with Host(Settings(), backend="oracle", catalog=engine_site.catalog()) as host:
        outcome = host.analyze(b"hello", "scan")
        (backend,) = sys.modules[module].made
        assert backend.services.settings is host.settings
        assert backend.closed == 0
    assert outcome.analysis == Analysis.malicious("scan 5 ['scan']")
    assert backend.closed == 1


def test_an_unknown_backend_is_a_usage_error_that_names_all(engine_site, services):
    engine_site.add("oracle", BACKEND, group=BACKENDS_GROUP, value="{module}:Oracle")
    with pytest.raises(UsageError) as caught:
        create_backend("orcale", services)
    said = "no backend is called 'orcale'; did you mean 'oracle'?; there are: local, oracle, process"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys\nsys.exit(2)", "called sys.exit(2)"),
        ("Oracle = 5", "TypeError: 'int' object is not callable"),
        ("class Oracle:\n    def __init__(self, services): raise OSError('no broker')", "OSError: no broker"),
        (
            "class Oracle:\n    def __init__(self, services): ...\n    def submit(self): ...\n",
            "TypeError: what {module}:Oracle makes has no method close",
        ),
    ],
)
def test_a_broken_backend_is_a_usage_error_that_names_its_distribution(engine_site, services, source, reason):
    module = engine_site.add("oracle", source, group=BACKENDS_GROUP, value="{module}:Oracle", version="3.0")
    with pytest.raises(UsageError) as caught:
        create_backend("oracle", services)
    shown = reason.replace("{module}", module)
    assert str(caught.value) == f"backend oracle (psengine-test-oracle 3.0) cannot be used: {shown}"


def test_a_usage_error_of_a_backend_is_told_as_it_is(engine_site, services):
    source = """
        from psengine_host.errors import UsageError

        def Oracle(services):
            raise UsageError("set PSENGINE_BROKER_URL")
    """
    engine_site.add("oracle", source, group=BACKENDS_GROUP, value="{module}:Oracle")
    with pytest.raises(UsageError, match=r"^set PSENGINE_BROKER_URL$"):
        create_backend("oracle", services)


def test_two_distributions_with_one_backend_name_are_both_named(engine_site, services):
    for owner in ("oracle-one", "oracle-two"):
        engine_site.add("oracle", BACKEND, group=BACKENDS_GROUP, value="{module}:Oracle", distribution=owner)
    with pytest.raises(UsageError) as raised:
        create_backend("oracle", services)
    assert str(raised.value) == (
        "two distributions register the backend 'oracle': oracle-one 1.0 and oracle-two 1.0; uninstall one"
    )
