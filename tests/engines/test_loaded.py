import pytest

from psengine_host.engines.found import WRAPPERS_GROUP, FoundEngine
from psengine_host.engines.loaded import (
    BrokenEngine,
    ContractBroken,
    Engine,
    check_contract,
    load_engine,
    load_wrappers,
    require_engine,
)
from psengine_host.errors import EngineBroken, UsageError
from psengine_host.hookspecs import HOOKS, OBSERVER_HOOKS, hookimpl

HEAD = """
import asyncio, sys
from psengine_host import Analysis, hookimpl
"""
GOOD = "@hookimpl\ndef analyze(artifact): return Analysis.benign()\n"

BROKEN = {
    "import error": (
        "import no_such_module_anywhere",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "sys.exit at import": ("sys.exit(7)", "called sys.exit(7) when it was imported"),
    "error at import": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "endless error at import": ("raise RuntimeError('x' * 10**6)", f"RuntimeError: {'x' * 480}…"),
    "generator exit at import": ("raise GeneratorExit", "GeneratorExit"),
    "syntax error": (
        "def analyze(:\n",
        "SyntaxError: invalid syntax (psengine_test_bad.py, line 4)",
    ),
    "nothing": ("", "has no analyze hook; define one marked @hookimpl"),
    "only other hooks": ("@hookimpl\ndef info(): ...\n", "has no analyze hook; define one marked @hookimpl"),
    "undecorated analyze": (
        "def analyze(artifact): ...\n",
        "analyze is not marked as a hook; put @hookimpl before it",
    ),
    "misspelt hook": (
        "@hookimpl\ndef analyse(artifact): ...\n",
        "analyse: no such hook; did you mean 'analyze'?",
    ),
    "misspelt second hook": (
        GOOD + "@hookimpl\ndef on_sucess(): ...\n",
        "on_sucess: no such hook; did you mean 'on_success'?",
    ),
    "hook like none": (GOOD + "@hookimpl\ndef zzz(): ...\n", "zzz: no such hook"),
    "misspelt specname": (
        "@hookimpl(specname='analyzer')\ndef scan(artifact): ...\n",
        "analyzer: no such hook; did you mean 'analyze'?",
    ),
    "misspelt parameter": (
        "@hookimpl\ndef analyze(artefact): ...\n",
        "analyze: no parameter is called 'artefact'; did you mean 'artifact'?",
    ),
    "unknown parameter": (
        "@hookimpl\ndef analyze(artifact, zq): ...\n",
        "analyze: no parameter is called 'zq'; it may take artifact, bounty, context, session",
    ),
    "parameter of another hook": (
        GOOD + "@hookimpl\ndef setup(session): ...\n",
        "setup: no parameter is called 'session'; it may take context",
    ),
    "parameter with a default": (
        "@hookimpl\ndef analyze(artifact, bounty=None): ...\n",
        "analyze: parameter 'bounty' has a default and would never be passed; remove it",
    ),
    "unknown parameter with a default": (
        "@hookimpl\ndef analyze(artifact, zq=1): ...\n",
        "analyze: no parameter is called 'zq'; it may take artifact, bounty, context, session",
    ),
    "star args": (
        "@hookimpl\ndef analyze(artifact, *args): ...\n",
        "analyze: parameter *args would never be passed; name what is wanted",
    ),
    "star kwargs": (
        "@hookimpl\ndef analyze(artifact, **kwargs: int): ...\n",
        "analyze: parameter **kwargs would never be passed; name what is wanted",
    ),
    "keyword-only": (
        "@hookimpl\ndef analyze(artifact, *, bounty: object = 1): ...\n",
        "analyze: keyword-only parameter bounty would never be passed; name what is wanted",
    ),
    "async": (
        "@hookimpl\nasync def analyze(artifact): ...\n",
        "analyze: is a coroutine function; hooks are plain functions",
    ),
    "async generator": (
        GOOD + "@hookimpl\nasync def setup(context): yield {}\n",
        "setup: is a coroutine function; hooks are plain functions",
    ),
    "wrapper in an engine": (
        "@hookimpl(wrapper=True)\ndef analyze(artifact): return (yield)\n",
        "analyze: an engine does not wrap its own hooks; register under group psengine.wrappers",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_engine_says_why_in_one_line_and_disturbs_no_other(engine_site, source, reason):
    engine_site.add("bad", HEAD + source, distribution="psengine-test-bad", version="6.6")
    engine_site.add("good")
    catalog = engine_site.catalog()
    loaded = {name: load_engine(catalog[name]) for name in catalog}
    bad = loaded["bad"]
    assert type(bad) is BrokenEngine
    assert bad.reason == reason
    assert "\n" not in bad.reason
    assert bad.origin == "psengine-test-bad 6.6"
    assert isinstance(bad.error, BaseException)
    assert type(loaded["good"]) is Engine


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{module}:Scanner", "the entry point names the class Scanner: let it name a module or an instance"),
        ("{module}:scaner", "AttributeError: module '{module}' has no attribute 'scaner'"),
        ("{module}:analyze", "has no analyze hook; define one marked @hookimpl"),
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("!", "ImportError: the entry point says '!', which is neither module nor module:attribute"),
    ],
    ids=["class", "missing attribute", "function", "missing module", "malformed"],
)
def test_an_entry_point_that_points_to_no_engine(engine_site, value, reason):
    source = HEAD + GOOD + "class Scanner:\n    @hookimpl\n    def analyze(self, artifact): ...\n"
    module = engine_site.add("bad", source, value=value)
    loaded = load_engine(engine_site.catalog()["bad"])
    assert type(loaded) is BrokenEngine
    assert loaded.reason == reason.replace("{module}", module)


def test_the_users_interrupt_is_no_reason_of_an_engine(engine_site):
    engine_site.add("scan", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_engine(engine_site.catalog()["scan"])


def test_an_instance_may_be_an_engine_and_hooks_take_any_subset_of_arguments(engine_site):
    source = """
        from psengine_host import Analysis, hookimpl

        class Scanner:
            def __init__(self, family): self.family = family

            @hookimpl
            def analyze(self, session, artifact):
                return Analysis.malicious(f"{self.family} {session}")

            @hookimpl(specname="open_session")
            def connect(self): return "open"

        scanner = Scanner("Family")
    """
    engine_site.add("scan", source, value="{module}:scanner")
    engine = load_engine(engine_site.catalog()["scan"])
    assert isinstance(engine, Engine)
    assert [hook for hook in HOOKS if engine.has(hook)] == ["open_session", "analyze"]
    assert engine.takes("analyze", "session")
    assert not engine.takes("analyze", "context")
    session = engine.hooks.open_session(context=None)
    analysis = engine.hooks.analyze(artifact=None, bounty=None, context=None, session=session)
    assert analysis.malware_family == "Family open"


def test_an_authors_function_stays_callable_as_it_is(engine_site):
    engine_site.add("scan", HEAD + "@hookimpl\ndef analyze(artifact): return artifact\n")
    engine = load_engine(engine_site.catalog()["scan"])
    assert isinstance(engine, Engine)
    assert engine.plugin.analyze("direct") == "direct"
    assert engine.name == "scan"
    assert engine.version == "1.0"
    assert repr(engine) == "Engine('scan')"


def test_two_engines_share_no_plugin_manager(engine_site):
    engine_site.add("a")
    engine_site.add("b")
    catalog = engine_site.catalog()
    a, b = load_engine(catalog["a"]), load_engine(catalog["b"])
    assert isinstance(a, Engine)
    assert isinstance(b, Engine)
    assert a.manager is not b.manager
    assert len(a.hooks.analyze.get_hookimpls()) == 1


def test_a_broken_engine_stays_broken_and_is_required_in_vain(engine_site):
    engine_site.add("bad", "1 / 0", version="6.6")
    broken = load_engine(engine_site.catalog()["bad"])
    assert isinstance(broken, BrokenEngine)
    assert load_engine(broken) is broken
    with pytest.raises(EngineBroken) as caught:
        require_engine(broken)
    assert str(caught.value) == (
        "engine bad (psengine-test-bad 6.6) cannot be used: ZeroDivisionError: division by zero"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_loaded_engine_is_required_with_success(engine_site):
    engine_site.add("scan")
    engine = load_engine(engine_site.catalog()["scan"])
    assert require_engine(engine) is engine


def test_an_import_is_traced_hook_by_hook_with_arguments_result_and_seconds(engine_site):
    source = """
        from psengine_host import hookimpl

        @hookimpl
        def setup(): return {"a": 1}

        @hookimpl
        def analyze(artifact): raise RuntimeError(artifact)
    """
    engine_site.add("scan", source)
    calls = []
    engine = load_engine(engine_site.catalog()["scan"], trace=lambda *call: calls.append(call))
    assert isinstance(engine, Engine)
    engine.hooks.setup(context="c")
    with pytest.raises(RuntimeError):
        engine.hooks.analyze(artifact="a", bounty="b", context="c", session="s")
    first, second = calls
    assert first[:4] == ("scan", "setup", {"context": "c"}, {"a": 1})
    assert 0 <= first[4] < 60
    assert second[:3] == ("scan", "analyze", {"artifact": "a", "bounty": "b", "context": "c", "session": "s"})
    assert isinstance(second[3], RuntimeError)


# --- wrappers ---------------------------------------------------------------------------------------------------------

WRAPPER = """
    from psengine_host import hookimpl

    @hookimpl(wrapper=True)
    def analyze(artifact):
        artifact.append("{name} in")
        answer = yield
        artifact.append("{name} out")
        return answer
"""


def add_wrapper(site, name, source=WRAPPER, **options):
    return site.add(name, source.replace("{name}", name), group=WRAPPERS_GROUP, **options)


def test_wrappers_lie_around_analyze_in_order_of_name_the_first_outermost(engine_site):
    engine_site.add("scan", HEAD + "@hookimpl\ndef analyze(artifact): artifact.append('engine'); return 'answer'\n")
    add_wrapper(engine_site, "b-inner")
    add_wrapper(engine_site, "a-outer")
    wrappers = load_wrappers([str(engine_site.path)])
    assert [wrapper.registration.name for wrapper in wrappers] == ["a-outer", "b-inner"]
    engine = load_engine(engine_site.catalog()["scan"], wrappers)
    assert isinstance(engine, Engine)
    calls = []
    assert engine.hooks.analyze(artifact=calls, bounty=None, context=None, session=None) == "answer"
    assert calls == ["a-outer in", "b-inner in", "engine", "b-inner out", "a-outer out"]


def test_a_wrapper_may_answer_instead_of_the_engine(engine_site):
    engine_site.add("scan", HEAD + "@hookimpl\ndef analyze(artifact): raise RuntimeError('down')\n")
    source = """
        from psengine_host import hookimpl

        @hookimpl(wrapper=True)
        def analyze():
            try:
                return (yield)
            except RuntimeError as error:
                return f"cached, as the engine is {error}"
    """
    add_wrapper(engine_site, "cache", source)
    engine = load_engine(engine_site.catalog()["scan"], load_wrappers([str(engine_site.path)]))
    assert isinstance(engine, Engine)
    answer = engine.hooks.analyze(artifact=None, bounty=None, context=None, session=None)
    assert answer == "cached, as the engine is down"


def test_what_a_wrapper_takes_counts_as_taken(engine_site):
    engine_site.add("scan")
    add_wrapper(
        engine_site,
        "policy",
        "from psengine_host import hookimpl\n@hookimpl(wrapper=True)\ndef analyze(context): return (yield)\n",
    )
    engine = load_engine(engine_site.catalog()["scan"], load_wrappers([str(engine_site.path)]))
    assert isinstance(engine, Engine)
    assert engine.takes("analyze", "context")


def test_two_distributions_may_call_their_wrapper_the_same(engine_site):
    engine_site.add("scan", HEAD + "@hookimpl\ndef analyze(artifact): return 'answer'\n")
    add_wrapper(engine_site, "timing", distribution="vendor-a")
    add_wrapper(engine_site, "timing", distribution="vendor-b")
    engine = load_engine(engine_site.catalog()["scan"], load_wrappers([str(engine_site.path)]))
    assert isinstance(engine, Engine)
    calls = []
    engine.hooks.analyze(artifact=calls, bounty=None, context=None, session=None)
    assert calls == ["timing in", "timing in", "timing out", "timing out"]


BROKEN_WRAPPERS = {
    "import error": (
        "import no_such_module_anywhere",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "sys.exit": ("raise SystemExit(3)", "called sys.exit(3) when it was imported"),
    "no hook": ("", "has no hook: a wrapper has @hookimpl(wrapper=True) analyze"),
    "no wrapper": (
        "from psengine_host import hookimpl\n@hookimpl\ndef analyze(artifact): ...\n",
        "analyze: a wrapper must be marked @hookimpl(wrapper=True)",
    ),
    "other hook": (
        "from psengine_host import hookimpl\n@hookimpl(wrapper=True)\ndef setup(): yield\n",
        "setup: not a hook of an observer or wrapper; only analyze",
    ),
    "misspelt parameter": (
        "from psengine_host import hookimpl\n@hookimpl(wrapper=True)\ndef analyze(bouty): yield\n",
        "analyze: no parameter is called 'bouty'; did you mean 'bounty'?",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN_WRAPPERS.values(), ids=BROKEN_WRAPPERS)
def test_a_broken_wrapper_is_a_usage_error_that_names_its_distribution(engine_site, source, reason):
    add_wrapper(engine_site, "policy", source, distribution="vendor-policy", version="2.0")
    with pytest.raises(UsageError) as caught:
        load_wrappers([str(engine_site.path)])
    assert str(caught.value) == f"wrapper policy (vendor-policy 2.0): {reason}; repair or uninstall it"


def test_a_wrapper_that_does_not_yield_is_blamed_itself_not_the_engine(engine_site):
    source = "from psengine_host import hookimpl\n@hookimpl(wrapper=True)\ndef analyze(artifact): return 1\n"
    add_wrapper(engine_site, "policy", source, distribution="vendor-policy", version="2.0")
    with pytest.raises(UsageError, match=r"^wrapper policy \(vendor-policy 2\.0\): .*not a generator function"):
        load_wrappers([str(engine_site.path)])


def test_one_object_under_two_names_is_refused(engine_site):
    module = add_wrapper(engine_site, "a")
    add_wrapper(engine_site, "b", value=module)
    with pytest.raises(
        UsageError, match=r"^wrapper b \(psengine-test-b 1\.0\): is the same object as wrapper a \(psen"
    ):
        load_wrappers([str(engine_site.path)])


# --- the contract itself ----------------------------------------------------------------------------------------------


def test_observers_have_no_other_hooks():
    class Nosy:
        @hookimpl
        def analyze(self, artifact): ...

    with pytest.raises(ContractBroken) as caught:
        check_contract(Nosy(), OBSERVER_HOOKS, wrapper=False)
    assert str(caught.value) == "analyze: not a hook of an observer or wrapper; only on_success and on_error"


def test_every_hook_may_be_implemented_with_all_of_its_arguments():
    class Everything:
        @hookimpl
        def setup(self, context): ...
        @hookimpl
        def open_session(self, context): ...
        @hookimpl
        def analyze(self, artifact, bounty, context, session): ...
        @hookimpl
        def info(self, context, session): ...
        @hookimpl
        def on_success(self, bounty, analysis, context): ...
        @hookimpl
        def on_error(self, bounty, failure, analysis, context): ...
        @hookimpl
        def update(self, context): ...
        @hookimpl
        def commands(self, context, session): ...

    assert check_contract(Everything(), HOOKS, wrapper=False) == set(HOOKS)


def test_positional_only_parameters_are_passed(engine_site):
    engine_site.add("scan", HEAD + "@hookimpl\ndef analyze(artifact, /, bounty): return artifact, bounty\n")
    engine = load_engine(engine_site.catalog()["scan"])
    assert isinstance(engine, Engine)
    assert engine.hooks.analyze(artifact=1, bounty=2, context=3, session=4) == (1, 2)


def test_loading_a_found_engine_takes_it_from_where_it_was_found(engine_site):
    module = engine_site.add("scan")
    assert isinstance(load_engine(FoundEngine("renamed", module, "psengine.engines", "d", "1")), Engine)


def test_a_function_named_like_a_hook_but_not_marked_is_warned_of(engine_site, caplog):
    engine_site.add("careless", HEAD + GOOD + "def setup(context): ...\nfrom logging import info\n")
    assert isinstance(load_engine(engine_site.catalog()["careless"]), Engine)
    [record] = caplog.records
    assert record.getMessage() == (
        "engine careless: setup is not marked as a hook and is never called; put @hookimpl before it"
    )


def test_a_module_that_hides_a_hook_is_warned_of(engine_site, caplog):
    source = HEAD + GOOD + "@hookimpl\ndef commands(): return []\nimport json as commands\n"
    engine_site.add("hidden", source)
    assert isinstance(load_engine(engine_site.catalog()["hidden"]), Engine)
    [record] = caplog.records
    assert record.getMessage() == (
        "engine hidden: the module json has the name of a hook and hides it; rename the module"
    )
