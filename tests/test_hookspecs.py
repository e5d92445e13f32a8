"""The contract: its order, and that no hook is without a section of its page or without a test."""

import ast
import inspect
import re
import threading
import time
import types
from datetime import timedelta
from pathlib import Path

import pytest

import psengine_host
from psengine_host import Bounty, Host, Verdict, hookimpl
from psengine_host.engines.found import OBSERVERS_GROUP, WRAPPERS_GROUP
from psengine_host.engines.loaded import check_contract
from psengine_host.hookspecs import HOOKS, OBSERVER_HOOKS, WRAPPER_HOOKS, EngineHooks
from psengine_host.settings import Settings
from psengine_host.testing import session

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reference" / "hooks.md"


def sections():
    """The sections of the page by heading, and the Python in each."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {
        heading: (text, "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)))
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


def names_of_tests():
    """The names of the tests that run hooks; those of the command line speak of commands, not of hooks."""
    places = [path for room in ("engines", "testing") for path in (TESTS / room).glob("test_*.py")]
    return [
        node.name
        for path in [*places, TESTS / "test_pipeline.py"]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


# --- the order of a run -----------------------------------------------------------------------------------------------

ORDER = """
    from pathlib import Path
    from psengine_host import Analysis, EngineInfo, hookimpl

    def happens(what):
        with open({log!r}, "a") as file:
            file.write(what + "\\n")

    @hookimpl
    def setup():
        happens("setup")
        yield {{}}
        happens("teardown")

    @hookimpl
    def open_session():
        happens("open_session")
        yield
        happens("end of the session")

    @hookimpl
    def info():
        happens("info")
        return EngineInfo()

    @hookimpl
    def analyze(artifact):
        happens("analyze")
        if artifact.read_bytes() == b"bad":
            raise RuntimeError
        return Analysis.benign()

    @hookimpl
    def on_success(): happens("engine's on_success")

    @hookimpl
    def on_error(): happens("engine's on_error")
"""
WRAPPER = """
    from psengine_host import hookimpl

    @hookimpl(wrapper=True)
    def analyze():
        with open({log!r}, "a") as file:
            file.write("wrapper in\\n")
        try:
            return (yield)
        finally:
            with open({log!r}, "a") as file:
                file.write("wrapper out\\n")
"""


def test_the_whole_hook_order_of_a_run(engine_site, tmp_path):
    log = tmp_path / "log"
    engine_site.add("scan", ORDER.format(log=str(log)))
    engine_site.add("around", WRAPPER.format(log=str(log)), group=WRAPPERS_GROUP)
    seen_by_observer = []

    def until_heard(what):
        """Callbacks have a thread of their own: wait for them here, so that the order is the same each time."""
        deadline = time.monotonic() + 30
        while what not in log.read_text() or len(seen_by_observer) < len(judged_so_far):
            assert time.monotonic() < deadline, what
            threading.Event().wait(0.01)

    class Observer:
        @hookimpl
        def on_success(self):
            seen_by_observer.append("on_success")

        @hookimpl
        def on_error(self):
            seen_by_observer.append("on_error")

    judged_so_far = []

    with Host(Settings(), observers=[Observer()], catalog=engine_site.catalog()) as host:
        assert not log.exists()
        judged_so_far.append(host.analyze(b"good"))
        until_heard("engine's on_success")
        judged_so_far.append(host.analyze(b"bad"))
    assert [outcome.failure is None for outcome in judged_so_far] == [True, False]
    judged = ["wrapper in", "analyze", "wrapper out"]
    assert log.read_text().splitlines() == [
        "setup",
        "open_session",
        "info",
        *judged,
        "engine's on_success",
        *judged,
        "engine's on_error",
        "end of the session",
        "teardown",
    ]
    assert seen_by_observer == ["on_success", "on_error"]


# --- no hook without documentation or a test --------------------------------------------------------------------------


def test_the_lists_of_hooks_are_those_of_the_contract():
    specified = [name for name, value in vars(EngineHooks).items() if inspect.isfunction(value)]
    assert sorted(HOOKS) == sorted(specified)
    assert set(OBSERVER_HOOKS) < set(HOOKS)
    assert set(WRAPPER_HOOKS) < set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_does_when_and_in_which_process(hook):
    documentation = inspect.getdoc(getattr(EngineHooks, hook))
    assert documentation is not None
    assert re.search(r"Runs ", documentation), f"{hook}: its docstring does not say when it runs"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_section_with_an_example(hook):
    found = sections()
    assert hook in found, f"{PAGE.name} has no section '## {hook}'"
    text, code = found[hook]
    for word in ("**When**", "**Place**", "**Takes**", "**Returns**", "**Raises**"):
        assert word in text, f"{PAGE.name}: the section of {hook} does not say {word}"
    for argument in list(inspect.signature(getattr(EngineHooks, hook)).parameters)[1:]:
        assert f"`{argument}`" in text, f"{PAGE.name}: the section of {hook} does not name {argument}"
    assert f"@hookimpl\ndef {hook}(" in code


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test(hook):
    mine = {"test_every_hook_has_a_test"}
    named = [name for name in names_of_tests() if re.search(rf"(?:^|_){hook}(?:_|$)", name) and name not in mine]
    assert named, f"no test is named for the hook {hook}"


def test_the_page_has_a_section_for_all_else_of_the_contract():
    assert {"Context", "Failure", "Observers", "Wrappers", "Backends"} <= set(sections())
    for group in ("psengine.engines", OBSERVERS_GROUP, WRAPPERS_GROUP, "psengine.backends"):
        assert f"`{group}`" in PAGE.read_text()


def test_the_examples_of_the_page_are_one_engine_that_works():
    acme = types.ModuleType("psengine_acme")
    for hook in HOOKS:
        exec(compile(sections()[hook][1], f"{PAGE.name}, {hook}", "exec", dont_inherit=True), vars(acme))
    assert check_contract(acme, HOOKS, wrapper=False) == set(HOOKS)
    with session(acme, config={"words": ["EVIL", "WORSE"]}) as engine:
        assert engine.analyze(b"an EVIL word").malware_family == "Word.EVIL"
        assert engine.analyze(b"nothing").verdict is Verdict.BENIGN
        assert engine.analyze(b"PK\x03\x04 EVIL").comments[0] == "SKIPPED:TYPE-UNSUPPORTED"
        assert engine.info.signatures_version == "2"
        (words,) = engine.commands()
        assert words() == ["EVIL", "WORSE"]
        assert engine.process(b"nothing", Bounty.local(data=b"nothing", lifetime=timedelta(0))).failure is None
        compiled = Path(engine.context.shared["words"])
        assert compiled.is_file()
        acme.update(engine.context)
    assert not compiled.exists()


def test_what_an_author_needs_is_one_import_away():
    for name in psengine_host.__all__:
        assert getattr(psengine_host, name) is not None
    assert set(psengine_host.__all__) <= set(dir(psengine_host))
    with pytest.raises(AttributeError, match=r"^module 'psengine_host' has no attribute 'analize'$"):
        psengine_host.__getattr__("analize")
