"""Engine distributions made on the spot, and an environment in which nothing of the developer's own is found."""

import importlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from psengine_host.engines.found import ENGINES_GROUP, Catalog, find_engines

BENIGN_ENGINE = """
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact):
        return Analysis.benign(confidence=1.0)
"""
"""Source of the smallest engine; it says benign to everything."""


@pytest.fixture(scope="session", autouse=True)
def heeded_signals() -> Iterator[None]:
    """Signals that whoever runs the tests has ignored (``nohup``, a background job) are heeded here and below."""
    ignored = [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No ``psengine.toml``, state or variable of whoever runs the tests; engines keep their files in a tmp folder."""
    homes = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("PSENGINE_")]:
            patch.delenv(variable)
        for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
            folder = homes / variable.lower()
            folder.mkdir(mode=0o700)
            patch.setenv(variable, str(folder))
        yield


class EngineSite:
    """A folder that holds distributions as ``pip install --target`` leaves them: a module and its ``*.dist-info``.

    The folder is on ``sys.path`` while the test runs, and :meth:`env` puts it on a child's; so what is in it is found
    and imported for real, without pip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engines: list[str] = []

    def add(
        self,
        name: str,
        source: str = BENIGN_ENGINE,
        *,
        group: str = ENGINES_GROUP,
        distribution: str | None = None,
        version: str = "1.0",
        value: str | None = None,
    ) -> str:
        """Install one distribution with one module and one entry point.

        Args:
            name: The entry point's name: the engine's, observer's, wrapper's or backend's.
            source: The module's source, which may be indented.
            group: The entry-point group.
            distribution: The distribution's name; ``psengine-test-NAME`` by default. Its module is called the same,
                with underscores.
            version: The distribution's version.
            value: What the entry point says; the module by default. ``{module}`` in it stands for the module.

        Returns:
            The module's name.
        """
        distribution = distribution or f"psengine-test-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}"
        module = re.sub(r"[^A-Za-z0-9]", "_", distribution)
        (self.path / f"{module}.py").write_text(dedent(source))
        folder = self.path / f"{module}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        target = module if value is None else value.replace("{module}", module)
        (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
        importlib.invalidate_caches()  # two distributions within one tick of the file system's clock
        if group == ENGINES_GROUP and name not in self.engines:
            self.engines.append(name)
        return module

    def catalog(self) -> Catalog:
        """The engines of this folder, and no others that happen to be installed."""
        return find_engines([str(self.path)])

    def env(self, **variables: str) -> dict[str, str]:
        """The environment for a child process that finds this folder, and of all engines only those in it."""
        inherited = os.environ.get("PYTHONPATH")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.path), *([inherited] if inherited else [])]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PSENGINE_ENGINES": ",".join(self.engines) or "no-engine-of-this-site",
            **variables,
        }


@pytest.fixture
def engine_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineSite]:
    """An empty :class:`EngineSite`; the modules that a test imports from it are forgotten afterwards."""
    folder = tmp_path / "engine-site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield EngineSite(folder)
    for module, loaded in list(sys.modules.items()):
        if (getattr(loaded, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
            del sys.modules[module]
    importlib.invalidate_caches()
