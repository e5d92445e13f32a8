"""Rules of the pack with their samples, and an engine in a directory of its own."""

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest

SAMPLES = ("binaries", "documents", "scripts", "web")


def _load(name: str, path: Path, **search):
    # By hand: pytest imports test files without putting their folder on sys.path.
    spec = importlib.util.spec_from_file_location(name, path, **search)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _samples() -> tuple[dict[str, tuple[bytes, bytes]], list[tuple[str, int, bytes]]]:
    folder = Path(__file__).with_name("pack_samples")
    _load("yara_pack_samples", folder / "__init__.py", submodule_search_locations=[str(folder)])
    pairs, more = {}, []
    for name in SAMPLES:
        module = importlib.import_module(f"yara_pack_samples.{name}")
        twice = pairs.keys() & module.PAIRS.keys()
        assert not twice, f"two pairs for {twice}"
        pairs.update(module.PAIRS)
        more += [(rule, place, data) for rule, group in module.ALSO.items() for place, data in enumerate(group)]
    return pairs, more


PAIRS, ALSO = _samples()


def pytest_generate_tests(metafunc):
    if "pair_of" in metafunc.fixturenames:
        metafunc.parametrize("pair_of", sorted(PAIRS))
    if "another" in metafunc.fixturenames:
        metafunc.parametrize("another", [pytest.param((r, data), id=f"{r}-{place}") for r, place, data in ALSO])


@pytest.fixture
def pairs() -> dict[str, tuple[bytes, bytes]]:
    """For each rule of the pack: a sample that it must match, and a look-alike that it must not."""
    return PAIRS


class Pack:
    """The pack's texts, the names of its rules (private ones too), and what matches some bytes."""

    def __init__(self, files, rules, scanner):
        self.texts = [file.text for file in files]
        self.names = [rule.identifier for rule in rules]
        self._scanner = scanner

    def matches(self, data: bytes, seconds: int = 60):
        self._scanner.set_timeout(seconds)
        return self._scanner.scan(data).matching_rules


@pytest.fixture(scope="session")
def pack():
    """The rules of the pack alone, compiled."""
    import yara_x
    from psengine_yara.compiling import compile_files
    from psengine_yara.sources import Sources, from_pack

    sources = Sources()
    from_pack(sources)
    rules, files, skipped = compile_files(sources.files)
    assert (skipped, sources.skipped) == ([], [])
    scanner = yara_x.Scanner(rules)

    return Pack(files, rules, scanner)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The engine's state and data directory in the test's folder; no variable and no package of this machine."""
    for name in ("state", "data"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"YARA_{name.upper()}_HOME", str(tmp_path / name))
    monkeypatch.delenv("YARA_RULES", raising=False)
    return tmp_path


@pytest.fixture
def running(places):
    """Runs the engine's ``setup``, ``open_session`` and ``info`` as the host does."""
    import psengine_yara

    from psengine_host.testing import session

    with contextlib.ExitStack() as stack:

        def run(**config):
            config.setdefault("packages", False)
            return stack.enter_context(session(psengine_yara, config=config))

        yield run
