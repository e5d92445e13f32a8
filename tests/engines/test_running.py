import logging
import math
import os
from datetime import timedelta
from types import MappingProxyType

import pytest

from psengine_host.analysis import Analysis, EngineInfo
from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.engines.loaded import Engine, load_engine
from psengine_host.engines.running import MAX_SHARED, Home, Session, context_for, frozen
from psengine_host.errors import EngineError, EngineFault
from psengine_host.job import Job, current_job
from psengine_host.outcome import Failure, FailureKind, Outcome
from psengine_host.settings import Settings
from psengine_host.spool import Spool

HEAD = """\
import sys
from psengine_host import Analysis, EngineError, EngineInfo, hookimpl
log = []

@hookimpl
def analyze(artifact, bounty, context, session):
    log.append(("analyze", context, session))
    return Analysis.benign()

"""


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path) as spool:
        yield spool


@pytest.fixture
def load(engine_site):
    """Load an engine whose hooks, beside ``analyze``, are in the source."""

    def load(source: str = "") -> Engine:
        engine_site.add("scan", HEAD + source)
        engine = load_engine(engine_site.catalog()["scan"])
        assert isinstance(engine, Engine), engine.reason
        return engine

    return load


@pytest.fixture
def start(load, spool):
    """The home of such an engine, not yet started, and the engine's own log."""

    def start(source: str = "", **config: object) -> tuple[Home, list[object]]:
        engine = load(source)
        return Home(engine, context_for("scan", Settings(engines={"scan": config}), spool)), engine.plugin.log

    return start


def fault(call):
    with pytest.raises(EngineFault) as caught:
        call()
    return caught.value


# --- the context ------------------------------------------------------------------------------------------------------


def test_a_context_tells_an_engine_of_its_surroundings(spool):
    settings = Settings(engines={"scan": {"licence": "abc", "paths": ["a", "b"]}, "other": {"x": 1}})
    context = context_for("scan", settings, spool, {"SCAN_STATE_HOME": "/state"})
    assert context.engine == "scan"
    assert context.config["licence"] == "abc"
    assert "x" not in context.config
    assert str(context.environment.state_home) == "/state"
    assert context.shared == {}
    assert context.logger.name == "psengine.engines.scan"
    assert context.deadline == math.inf
    assert repr(context) == "Context('scan')"


@pytest.mark.parametrize("attribute", ["engine", "config", "shared", "deadline", "logger", "scratch", "new"])
def test_a_context_is_read_only(spool, attribute):
    context = context_for("scan", Settings(), spool)
    with pytest.raises(AttributeError, match=f"^a context is read-only: {attribute} cannot be set$"):
        setattr(context, attribute, 1)
    with pytest.raises(AttributeError, match=f"^a context is read-only: {attribute} cannot be deleted$"):
        delattr(context, attribute)


def test_config_is_deeply_read_only(spool):
    settings = Settings(engines={"scan": {"table": {"list": [1, {"deep": 2}]}}})
    config = context_for("scan", settings, spool).config
    for change in (
        lambda: config.__setitem__("x", 1),
        lambda: config["table"].__setitem__("x", 1),
        lambda: config["table"]["list"].__setitem__(0, 1),
        lambda: config["table"]["list"][1].__setitem__("deep", 1),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    settings.engines["scan"]["table"]["list"][1]["deep"] = "changed by the host's own code"
    assert config["table"]["list"] == (1, {"deep": 2})


def test_scratch_is_one_private_folder_made_on_first_use_that_goes_with_the_spool(tmp_path):
    spool = Spool(tmp_path)
    context = context_for("scan", Settings(), spool)
    assert list(tmp_path.iterdir()) == []
    scratch = context.scratch
    assert scratch.is_dir()
    assert os.stat(scratch).st_mode & 0o777 == 0o700
    assert context.scratch == context.replace(deadline=1.0).scratch == scratch
    assert context_for("other", Settings(), spool).scratch != scratch
    (scratch / "left behind").write_text("x")
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_frozen_data_cannot_be_changed():
    value = frozen({"a": [{"b": [1]}], "s": {1}, "x": b"bytes", "none": None})
    assert isinstance(value, MappingProxyType)
    assert value == {"a": ({"b": (1,)},), "s": frozenset({1}), "x": b"bytes", "none": None}


# --- setup ------------------------------------------------------------------------------------------------------------


def test_setup_may_return_what_is_shared(start):
    home, _ = start("@hookimpl\ndef setup(context): return {'port': context.config['port']}\n", port=7)
    assert home.start().shared == {"port": 7}
    assert home.context.shared == {"port": 7}


def test_setup_may_yield_what_is_shared_and_tear_down_after_it(start):
    home, log = start(
        "@hookimpl\ndef setup(context):\n    log.append('up')\n    yield {'a': 1}\n    log.append('down')\n"
    )
    assert home.start().shared == {"a": 1}
    assert log == ["up"]
    home.stop()
    home.stop()
    assert log == ["up", "down"]


@pytest.mark.parametrize("source", ["", "@hookimpl\ndef setup(): pass\n", "@hookimpl\ndef setup(): yield\n"])
def test_without_setup_or_with_none_from_it_nothing_is_shared(start, source):
    home, _ = start(source)
    assert home.start().shared == {}
    home.stop()


def test_what_is_shared_is_deeply_read_only_and_plain_in_every_worker(start):
    home, _ = start(
        "@hookimpl\ndef setup():\n    return {'list': [1, (2, 3)], 'table': {'k': {'deep': [b'x']}}, 'none': None}\n"
    )
    shared = home.start().shared
    assert shared == {"list": (1, (2, 3)), "table": {"k": {"deep": (b"x",)}}, "none": None}
    for change in (
        lambda: shared.__setitem__("x", 1),
        lambda: shared["table"].__setitem__("x", 1),
        lambda: shared["table"]["k"].__setitem__("x", 1),
        lambda: shared["list"].append(1),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()


def test_what_is_shared_no_longer_changes_with_what_setup_returned(start):
    home, log = start("data = {'a': [1]}\nlog.append(data)\n@hookimpl\ndef setup(): return data\n")
    shared = home.start().shared
    log[0]["a"].append(2)
    assert shared == {"a": (1,)}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[1]", "must return a mapping or None, not a list"),
        ("{'f': open}", "must return plain data (text, bytes, numbers, lists, mappings): TypeError: "),
        ("{'n': 1 << 70}", "must return plain data (text, bytes, numbers, lists, mappings): OverflowError: "),
        ("{1: 2}", "must return plain data (text, bytes, numbers, lists, mappings): TypeError: the key 1 is a int"),
        ("{'d': __import__('datetime').date(2026, 1, 1)}", "must return plain data (text, bytes, numbers, lists, mapp"),
        ("{'s': {1, 2}}", "must return plain data (text, bytes, numbers, lists, mappings): TypeError: {1, 2} is a set"),
        ("{'x': 'a' * (1 << 20)}", f"returned {MAX_SHARED + 8} bytes of shared data, more than {MAX_SHARED}; keep it"),
        ("loop", "must return plain data (text, bytes, numbers, lists, mappings): RecursionError: "),
        ("{'s': chr(0xd800)}", "must return plain data (text, bytes, numbers, lists, mappings): UnicodeEncodeError: "),
        ("Evil()", "RuntimeError: no keys today"),
    ],
)
def test_what_setup_may_not_return(start, returned, message):
    home, log = start(
        "loop = {}; loop['self'] = loop\n"
        "from collections import UserDict\n"
        "class Evil(UserDict):\n    def keys(self): raise RuntimeError('no keys today')\n"
        f"@hookimpl\ndef setup():\n    yield {returned}\n    log.append('down')\n"
    )
    assert str(fault(home.start)).startswith(f"engine scan: setup: {message}")
    assert log == ["down"]


def test_a_mebibyte_may_be_shared(start):
    home, _ = start("@hookimpl\ndef setup(): return {'x': 'a' * ((1 << 20) - 8)}\n")
    assert len(home.start().shared["x"]) == MAX_SHARED - 8


@pytest.mark.parametrize(
    ("body", "message", "cause"),
    [
        ("raise EngineError('no licence')", "no licence", EngineError),
        ("raise OSError(28, 'No space left on device')", "OSError: [Errno 28] No space left on device", OSError),
        ("sys.exit('bye')", "called sys.exit('bye')", SystemExit),
        ("raise GeneratorExit", "GeneratorExit", GeneratorExit),
        ("raise EngineError('x' * 10**6)", "x" * 100, EngineError),
    ],
)
@pytest.mark.parametrize("after", ["", "\n    yield {}"], ids=["returns", "yields"])
def test_a_failing_setup_is_a_fault_with_its_cause(start, body, message, cause, after):
    home, _ = start(f"@hookimpl\ndef setup():\n    {body}{after}\n")
    error = fault(home.start)
    assert str(error).startswith(f"engine scan: setup: {message}")
    assert len(str(error)) < 5_000
    assert isinstance(error.__cause__, cause)
    assert (error.engine, error.hook) == ("scan", "setup")


def test_the_users_interrupt_passes_through_setup(start):
    home, _ = start("@hookimpl\ndef setup(): raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        home.start()


def test_a_setup_that_never_yields_is_a_fault(start):
    home, _ = start("@hookimpl\ndef setup():\n    if not log:\n        return\n    yield {}\n")
    assert str(fault(home.start)) == "engine scan: setup: ended without a yield"


def test_a_setup_that_yields_twice_is_logged_when_it_ends_and_closed(start, caplog):
    home, log = start(
        "@hookimpl\ndef setup():\n"
        "    try:\n        yield {}\n        yield {}\n    finally:\n        log.append('closed')\n"
    )
    home.start()
    home.stop()
    assert caplog.messages == ["engine scan: setup failed: yielded twice"]
    assert log == ["closed"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('cannot stop')", "RuntimeError: cannot stop"),
        ("sys.exit(3)", "called sys.exit(3)"),
        ("yield {}", "yielded twice"),
    ],
)
def test_a_failing_teardown_is_logged_and_harmless_or_raised_when_strict(start, caplog, body, message):
    source = f"@hookimpl\ndef setup():\n    yield {{}}\n    {body}\n"
    home, _ = start(source)
    home.start()
    home.stop()
    assert caplog.messages == [f"engine scan: setup failed: {message}"]
    home.start()
    assert str(fault(lambda: home.stop(strict=True))) == f"engine scan: setup: {message}"


# --- update -----------------------------------------------------------------------------------------------------------


def test_update_is_followed_by_a_new_generation_of_setup(start):
    home, log = start(
        "@hookimpl\ndef setup(context):\n"
        "    log.append(f'up {dict(context.shared)}')\n"
        "    yield {'generation': len(log)}\n"
        "    log.append('down')\n"
        "@hookimpl\ndef update(context): log.append(f'update {dict(context.shared)}')\n"
    )
    home.start()
    home.update()
    assert log == ["up {}", "update {'generation': 1}", "up {}", "down"]
    assert home.context.shared == {"generation": 3}
    home.stop()
    assert log[4:] == ["down"]


@pytest.mark.parametrize("second", ["raise EngineError('new rules are broken')", "yield 5"])
def test_when_the_setup_after_an_update_fails_the_old_generation_stays(start, second):
    home, log = start(
        "@hookimpl\ndef setup():\n"
        "    log.append('up')\n"
        f"    if log.count('up') > 1:\n        {second}\n        return\n"
        "    yield {'a': 1}\n"
        "    log.append('old down')\n"
    )
    home.start()
    assert "setup: " in str(fault(home.update))
    assert log == ["up", "up"]
    assert home.context.shared == {"a": 1}
    home.stop()
    assert log == ["up", "up", "old down"]


def test_a_failing_update_leaves_the_old_generation(start):
    home, log = start(
        "@hookimpl\ndef setup():\n    yield {'a': 1}\n    log.append('down')\n"
        "@hookimpl\ndef update(): raise EngineError('mirror is down')\n"
    )
    home.start()
    assert str(fault(home.update)) == "engine scan: update: mirror is down"
    assert log == []
    assert home.context.shared == {"a": 1}


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(start):
    """The session of such an engine, not yet open, and the engine's own log."""

    def session(source: str = "") -> tuple[Session, list[object]]:
        home, log = start(source)
        return Session(home.engine, home.start()), log

    return session


@pytest.mark.parametrize("word", ["return", "yield"])
def test_open_session_makes_what_the_other_hooks_get(session, word):
    opened, _ = session(
        "@hookimpl\ndef setup(): return {'port': 7}\n"
        f"@hookimpl\ndef open_session(context): {word} ['socket', context.shared['port']]\n"
        "@hookimpl\ndef info(context, session): return EngineInfo(product=f'{session[0]} {context.engine}')\n"
        "@hookimpl\ndef commands(session): return [session.copy]\n"
    )
    with opened:
        assert opened.session == ["socket", 7]
        assert opened.info == EngineInfo(product="socket scan")
        assert opened.commands()[0]() == ["socket", 7]


def test_what_follows_the_yield_closes_the_session_once(session):
    opened, log = session("@hookimpl\ndef open_session():\n    yield 1\n    log.append('closed')\n")
    with opened:
        assert log == []
    opened.close()
    assert log == ["closed"]


def test_without_open_session_the_session_is_none_and_the_info_default(session):
    opened, _ = session()
    with opened:
        assert opened.session is None
        assert opened.info == EngineInfo()
        assert opened.commands() == ()


def test_a_failing_open_session_is_a_fault(session):
    opened, _ = session("@hookimpl\ndef open_session(): raise EngineError('socket is gone')\n")
    assert str(fault(opened.open)) == "engine scan: open_session: socket is gone"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise EngineError('who am I?')", "who am I?"),
        ("return {'product': 'x'}", "must return an EngineInfo, not a dict"),
        ("pass", "must return an EngineInfo, not a NoneType"),
        (
            "return EngineInfo(max_artifact_size=-1)",
            "info.max_artifact_size: must be a number of bytes or None, got -1",
        ),
    ],
)
def test_a_failing_info_is_a_fault_and_the_session_is_closed(session, body, message):
    opened, log = session(
        "@hookimpl\ndef open_session():\n    yield 1\n    log.append('closed')\n" + f"@hookimpl\ndef info(): {body}\n"
    )
    assert str(fault(opened.open)) == f"engine scan: info: {message}"
    assert log == ["closed"]


def test_a_failing_end_of_a_session_is_logged_or_raised_when_strict(session, caplog):
    opened, _ = session("@hookimpl\ndef open_session():\n    yield 1\n    1 / 0\n")
    opened.open().close()
    assert caplog.messages == ["engine scan: open_session failed: ZeroDivisionError: division by zero"]
    opened.open()
    error = fault(lambda: opened.close(strict=True))
    assert str(error) == "engine scan: open_session: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [len, 5]", "must return functions, not a int"),
        ("return 5", "TypeError: 'int' object is not iterable"),
        ("raise EngineError('none today')", "none today"),
    ],
)
def test_bad_commands_are_a_fault(session, body, message):
    opened, _ = session(f"@hookimpl\ndef commands(): {body}\n")
    with opened:
        assert str(fault(opened.commands)) == f"engine scan: commands: {message}"


def test_analyze_hears_of_the_deadline_through_its_context(session):
    opened, log = session("@hookimpl\ndef setup(): return {'a': 1}\n")
    artifact, bounty = Artifact.from_bytes(b"x"), Bounty.local(data=b"x")
    with opened:
        opened.analyze(artifact, bounty)
        opened.analyze(artifact, bounty, deadline=12.5)
    (_, without, _), (_, within, _) = log
    assert without.deadline == math.inf
    assert within.deadline == 12.5
    assert within.shared is without.shared


def test_analyze_returns_whatever_the_engine_returned(engine_site, spool):
    engine_site.add("raw", "from psengine_host import hookimpl\n@hookimpl\ndef analyze(): return 5\n")
    engine = load_engine(engine_site.catalog()["raw"])
    assert isinstance(engine, Engine)
    with Session(engine, context_for("raw", Settings(), spool)) as opened:
        assert opened.analyze(Artifact.from_bytes(b"x"), Bounty.local(data=b"x")) == 5


# --- the author's callbacks -------------------------------------------------------------------------------------------

CALLBACKS = """
@hookimpl
def on_success(bounty, analysis, context): log.append(("success", bounty, analysis, context))

@hookimpl
def on_error(bounty, failure, analysis, context): log.append(("error", bounty, failure, analysis, context))
"""
BOUNTY = Bounty.local(data=b"x", lifetime=timedelta(hours=1))
GOOD = Outcome(BOUNTY, "scan", Analysis.benign())
FAILED = Outcome(BOUNTY, "scan", Analysis.engine_error("boom"), Failure(FailureKind.ENGINE, "boom", "Traceback"))


def test_on_success_and_on_error_hear_of_outcomes(start):
    home, log = start(CALLBACKS)
    home.start()
    home.hear(GOOD)
    home.hear(FAILED)
    assert log == [
        ("success", BOUNTY, GOOD.analysis, home.context),
        ("error", BOUNTY, FAILED.failure, FAILED.analysis, home.context),
    ]


def test_an_engine_without_callbacks_hears_nothing(start):
    home, log = start()
    home.start()
    home.hear(GOOD)
    home.hear(FAILED)
    assert log == []


@pytest.mark.parametrize("body", ["raise RuntimeError('sink is down')", "sys.exit(1)"])
def test_a_failing_callback_is_logged_and_harmless(start, caplog, body):
    home, _ = start(f"@hookimpl\ndef on_success(): {body}\n@hookimpl\ndef on_error(): {body}\n")
    home.start()
    home.hear(GOOD)
    home.hear(FAILED)
    text = "RuntimeError: sink is down" if "raise" in body else "called sys.exit(1)"
    assert caplog.messages == [f"engine scan: on_success failed: {text}", f"engine scan: on_error failed: {text}"]


def test_with_debug_logging_a_failing_callback_shows_its_traceback(start, caplog):
    home, _ = start("@hookimpl\ndef on_success(): 1 / 0\n")
    home.start()
    with caplog.at_level(logging.DEBUG, "psengine_host.engines.running"):
        home.hear(GOOD)
    assert "Traceback (most recent call last)" in caplog.text


def test_the_job_in_hand_outside_of_any_bounty_is_the_engines(start):
    home, log = start("""
from psengine_host.job import current_job

@hookimpl
def setup():
    log.append(("setup", current_job()))
    yield {}
    log.append(("teardown", current_job()))

@hookimpl
def open_session():
    log.append(("open_session", current_job()))

@hookimpl
def info():
    log.append(("info", current_job()))
    return EngineInfo()

@hookimpl
def update():
    log.append(("update", current_job()))

@hookimpl
def commands():
    log.append(("commands", current_job()))
    return []
""")
    with Session(home.engine, home.start()) as session:
        session.commands()
        home.update()
    home.stop()
    assert [name for name, _ in log] == [
        "setup", "open_session", "info", "commands", "update", "setup", "teardown", "teardown",
    ]  # fmt: skip
    assert {job for _, job in log} == {Job("scan")}
    assert current_job() is None
