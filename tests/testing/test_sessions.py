import os
import sys
import time
import types
from datetime import timedelta
from pathlib import Path

import pytest

from psengine_host.analysis import Analysis, EngineInfo, Verdict
from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty, BountyRules
from psengine_host.engines.loaded import ContractBroken
from psengine_host.errors import (
    ArtifactError,
    EngineBroken,
    EngineError,
    EngineFault,
    InvalidAnalysis,
    UnknownEngine,
    UsageError,
)
from psengine_host.hookspecs import hookimpl
from psengine_host.job import current_job, seconds_left
from psengine_host.outcome import FailureKind
from psengine_host.testing import RunningEngine, session
from psengine_host.toolkit.subprocesses import CommandTimeout, run_command


class Engine:
    """An engine with every hook, that tells what happened to it."""

    def __init__(self, answer=None, **failing):
        self.log = []
        self.answer = answer or Analysis.malicious("F", confidence=0.5)
        self.failing = failing

    def happens(self, what):
        self.log.append(what)
        if what in self.failing:
            raise self.failing[what]

    @hookimpl
    def setup(self, context):
        self.happens("setup")
        yield {"state": str(context.environment.state_home)}
        self.happens("teardown")

    @hookimpl
    def open_session(self, context):
        self.happens("open_session")
        yield ["session", context.shared["state"]]
        self.happens("close")

    @hookimpl
    def info(self):
        self.happens("info")
        return EngineInfo(vendor="Vendor", max_artifact_size=100)

    @hookimpl
    def analyze(self, artifact, session):
        self.happens("analyze")
        return self.answer

    @hookimpl
    def commands(self, session):
        self.happens("commands")
        return [session.copy]

    @hookimpl
    def on_success(self, analysis):
        self.happens("on_success")

    @hookimpl
    def on_error(self, failure):
        self.happens("on_error")


def test_setup_and_open_session_run_around_a_test_and_end_in_reverse():
    plugin = Engine()
    with session(plugin) as engine:
        assert isinstance(engine, RunningEngine)
        assert plugin.log == ["setup", "open_session", "info"]
        engine.analyze(b"hello")
    assert plugin.log == ["setup", "open_session", "info", "analyze", "close", "teardown"]


def test_what_a_session_offers():
    plugin = Engine()
    with session(plugin, config={"licence": "abc"}, name="nano-av") as engine:
        assert engine.name == engine.context.engine == "nano-av"
        assert engine.context.config == {"licence": "abc"}
        assert engine.context.shared == {"state": engine.session[1]}
        assert engine.session[0] == "session"
        assert engine.info.vendor == "Vendor"
        (command,) = engine.commands()
        assert command() == engine.session


@pytest.mark.parametrize("kind", ["bytes", "path", "str", "artifact"])
def test_an_analysis_is_the_one_that_would_be_sent(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    target = {"bytes": b"hello", "path": path, "str": str(path), "artifact": Artifact.from_bytes(b"hello")}[kind]
    with session(Engine()) as engine:
        analysis = engine.analyze(target)
    rules = BountyRules()
    assert (analysis.verdict, analysis.malware_family, analysis.vendor) == (Verdict.MALICIOUS, "F", "Vendor")
    assert analysis.bid == (rules.min_allowed_bid + rules.max_allowed_bid) // 2
    assert analysis.metadata.product == "engine"


def test_a_bounty_may_be_given():
    bounty = Bounty.local(data=b"hello", rules=BountyRules(min_allowed_bid=10, max_allowed_bid=20))
    with session(Engine()) as engine:
        assert engine.analyze(b"hello", bounty).bid == 15
        assert engine.process(b"hello", bounty).bounty is bounty


class Hanging:
    """An engine whose scanner never ends, and which says itself how long it may take at most: a minute."""

    @hookimpl
    def analyze(self, context):
        self.left = context.deadline - time.monotonic()
        run_command(["sleep", "60"], timeout="60s")


def test_a_scanner_that_hangs_is_ended_at_the_timeout_and_answered():
    plugin = Hanging()
    with session(plugin, timeout=0.5) as engine:
        began = time.monotonic()
        with pytest.raises(EngineFault, match="analyze: sleep 60 took longer than the 0") as caught:
            engine.analyze(b"x")
        assert isinstance(caught.value.__cause__, CommandTimeout)
        assert 0 < plugin.left <= 0.5
        outcome = engine.process(b"x")
        assert time.monotonic() - began < 30
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.comments[0] == "ERROR:TIMEOUT"


class Asked:
    """An engine that tells which bounty it is asked about, and how long it may take."""

    @hookimpl
    def analyze(self, context, bounty):
        job = current_job()
        assert (job.engine, job.bounty, job.deadline) == ("asked", bounty.id, context.deadline)
        self.left = seconds_left()
        return Analysis.benign()


@pytest.mark.parametrize(
    ("given", "least", "most"), [({}, 50, 60), ({"timeout": 100}, 90, 100), ({"timeout": 5}, 0, 5)]
)
def test_the_time_for_an_artifact_is_that_of_the_job_in_hand(given, least, most):
    plugin = Asked()
    with session(plugin, **given) as engine:
        for judge in (engine.analyze, engine.process):
            judge(b"x")
            assert least < plugin.left <= most
    assert current_job() is None


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 86_401])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(UsageError) as caught, session(Engine(), timeout=timeout):
        pytest.fail("it cannot be run")
    assert str(caught.value) == f"timeout: must be more than 0 and at most 86400 seconds, got {timeout!r}"


def test_what_the_engine_declares_not_to_take_is_declined_without_it():
    plugin = Engine()
    with session(plugin) as engine:
        assert engine.analyze(b"x" * 101).comments[0] == "SKIPPED"
        expired = Bounty.local(data=b"x", lifetime=timedelta(0))
        assert engine.analyze(b"x", expired).comments[0] == "SKIPPED:EXPIRED"
        assert engine.analyze(Artifact.from_url("http://example.com/")).comments[0] == "SKIPPED:TYPE-UNSUPPORTED"
    assert "analyze" not in plugin.log


def test_what_the_engine_itself_declines_is_no_error():
    for answer in (Analysis.encrypted(), Analysis.cannot_fetch("no DNS")):
        with session(Engine(answer)) as engine:
            assert engine.analyze(b"x").comments == answer.comments


@pytest.mark.parametrize("error", [ValueError("bad signature"), EngineError("scanner is down"), SystemExit(3)])
def test_what_analyze_raises_is_raised_with_its_cause(error):
    with session(Engine(analyze=error)) as engine, pytest.raises(EngineFault) as caught:
        engine.analyze(b"x")
    assert caught.value.__cause__ is error
    assert str(caught.value).startswith("engine engine: analyze: ")
    assert (caught.value.engine, caught.value.hook) == ("engine", "analyze")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (5, "analysis: must be an Analysis or a mapping in wire form, got 5"),
        ({"verdict": "benign", "bid": True}, "bid: must be an integer number of wei, got True"),
        (Analysis.benign(bid=10**30), "bid: must be at most the bounty's maximum 999900000000000000, got"),
    ],
)
def test_what_is_no_answer_is_raised(answer, message):
    with session(Engine(answer)) as engine, pytest.raises(EngineFault) as caught:
        engine.analyze(b"x")
    assert str(caught.value).startswith(f"engine engine: analyze: {message}")
    assert isinstance(caught.value.__cause__, InvalidAnalysis)


def test_an_interrupt_passes():
    with session(Engine(analyze=KeyboardInterrupt())) as engine, pytest.raises(KeyboardInterrupt):
        engine.analyze(b"x")


def test_an_artifact_that_cannot_be_read_is_raised(tmp_path):
    with session(Engine()) as engine:
        with pytest.raises(ArtifactError, match="gone: no such file or directory"):
            engine.analyze(tmp_path / "gone")
        with pytest.raises(ArtifactError, match="the bounty says"):
            engine.analyze(b"one", Bounty.local(data=b"another"))


def test_process_hides_nothing_from_the_callbacks():
    plugin = Engine()
    with session(plugin) as engine:
        assert engine.process(b"x").failure is None
        plugin.failing["analyze"] = RuntimeError("boom")
        outcome = engine.process(b"x")
    assert outcome.failure.kind is FailureKind.ENGINE
    assert outcome.failure.message == "RuntimeError: boom"
    assert [entry for entry in plugin.log if entry.startswith("on_")] == ["on_success", "on_error"]


@pytest.mark.parametrize(
    ("failing", "log"),
    [
        ("setup", ["setup"]),
        ("open_session", ["setup", "open_session", "teardown"]),
        ("info", ["setup", "open_session", "info", "close", "teardown"]),
    ],
)
def test_a_failing_start_is_raised_and_undone(failing, log):
    error = EngineError("no licence")
    plugin = Engine(**{failing: error})
    with pytest.raises(EngineFault) as caught, session(plugin):
        pytest.fail("the engine has not started")
    assert str(caught.value) == f"engine engine: {failing}: no licence"
    assert caught.value.__cause__ is error
    assert plugin.log == log


@pytest.mark.parametrize(("failing", "hook"), [("close", "open_session"), ("teardown", "setup")])
def test_a_failing_end_is_raised_not_logged_and_the_other_end_runs(failing, hook, caplog):
    plugin = Engine(**{failing: RuntimeError("stuck")})
    with pytest.raises(EngineFault) as caught, session(plugin):
        pass
    assert str(caught.value) == f"engine engine: {hook}: RuntimeError: stuck"
    assert plugin.log[-2:] == ["close", "teardown"]
    assert caplog.messages == []


def test_an_error_of_the_test_comes_before_a_failing_end(caplog):
    plugin = Engine(teardown=RuntimeError("stuck"))
    with pytest.raises(AssertionError, match="mine"), session(plugin):
        raise AssertionError("mine")
    assert plugin.log[-2:] == ["close", "teardown"]
    assert caplog.messages == ["engine engine: setup failed: RuntimeError: stuck"]


def test_bad_commands_are_raised():
    with session(Engine(commands=OSError("no"))) as engine, pytest.raises(EngineFault, match=r"commands: OSError: no$"):
        engine.commands()


# --- which engine, and where its files are ----------------------------------------------------------------------------


def test_an_installed_engine_goes_by_its_name(engine_site):
    engine_site.add("scan", version="4.5")
    with session("scan") as engine:
        assert engine.analyze(b"x").metadata.scanner.version == "4.5"
    with pytest.raises(UnknownEngine, match="did you mean 'scan'"), session("scna"):
        pytest.fail("there is no such engine")


@pytest.mark.parametrize(
    ("module", "name"),
    [("psengine_nano_av", "nano-av"), ("vendor.engines.psengine_Scan", "scan"), ("_9", "engine"), ("x" * 40, "x" * 32)],
)
def test_a_module_need_not_be_installed_and_is_named_for_itself(module, name):
    plugin = types.ModuleType(module)
    plugin.analyze = hookimpl(lambda: Analysis.benign())
    with session(plugin) as engine:
        assert engine.name == name
        assert engine.analyze(b"x").verdict is Verdict.BENIGN
    assert module not in sys.modules


def test_what_breaks_the_contract_is_refused_with_the_reason():
    class Misspelt:
        @hookimpl
        def analyze(self, artefact): ...

    with (
        pytest.raises(EngineBroken, match=r"analyze: no parameter is called 'artefact'; did you mean 'artifact'\?$"),
        session(Misspelt()),
    ):
        pytest.fail("it cannot be run")
    with pytest.raises(EngineBroken, match=r"the entry point names the class Engine"), session(Engine):
        pytest.fail("it cannot be run")


def test_the_engines_folders_are_temporary_and_private():
    with session(Engine()) as engine:
        home = Path(engine.session[1])
        assert home.is_dir()
        assert os.stat(home).st_mode & 0o777 == 0o700
        (home / "compiled").write_text("rules")
        scratch = engine.context.scratch
        assert scratch.is_dir()
    assert not home.exists()
    assert not scratch.exists()


def test_the_engines_folders_may_be_kept(tmp_path):
    for expected in (set(), {"state_home"}):
        with session(Engine(), directory=tmp_path) as engine:
            home = Path(engine.session[1])
            assert home == tmp_path / "state_home"
            assert {path.name for path in tmp_path.iterdir()} >= expected
    assert home.is_dir()


def test_variables_of_the_engine_win(tmp_path, monkeypatch):
    monkeypatch.setenv("ENGINE_SDK_HOME", "/opt/sdk")
    monkeypatch.setenv("ENGINE_STATE_HOME", "/not/this")
    with session(Engine(), environ={"ENGINE_STATE_HOME": str(tmp_path)}) as engine:
        assert engine.context.environment.sdk_home == Path("/opt/sdk")
        assert engine.context.environment.state_home == tmp_path
        assert "ENGINE_CONFIG_HOME" not in os.environ


# --- wrappers ---------------------------------------------------------------------------------------------------------


class Shout:
    def __init__(self, word):
        self.word = word

    @hookimpl(wrapper=True)
    def analyze(self, artifact):
        answer = yield
        return Analysis.malicious(f"{self.word} {answer.malware_family}")


def test_wrappers_lie_around_analyze_the_first_outermost():
    with session(Engine(), wrappers=[Shout("outer"), Shout("inner")]) as engine:
        assert engine.analyze(b"x").malware_family == "outer inner F"


def test_what_is_no_wrapper_is_refused():
    with (
        pytest.raises(ContractBroken, match=r"^has no hook: a wrapper has @hookimpl\(wrapper=True\) analyze$"),
        session(Engine(), wrappers=[object()]),
    ):
        pytest.fail("there is no such wrapper")
