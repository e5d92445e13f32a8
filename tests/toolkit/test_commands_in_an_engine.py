"""What becomes of a bounty whose engine lets an error of a command pass."""

import time
from datetime import timedelta

import pytest

from psengine_host import Analysis, EngineError, FailureKind, Verdict, hookimpl
from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.errors import EngineTimeout
from psengine_host.testing import session
from psengine_host.toolkit.subprocesses import CommandTimeout, run_command


class Runs:
    """An engine whose scanner is one command."""

    def __init__(self, args, **options):
        self.args = args
        self.options = options

    @hookimpl
    def analyze(self, artifact):
        run_command([*self.args], **self.options).check()
        return Analysis.benign()


def processed(args, bounty=None, **options):
    with session(Runs(args, **options)) as engine:
        return engine.process(b"content", bounty)


def test_a_command_that_takes_too_long_is_answered_as_a_timeout():
    outcome = processed(["sleep", "60"], timeout=0.2)
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.bid == 0
    assert outcome.analysis.comments == (
        "ERROR:TIMEOUT",
        "sleep 60 took longer than its limit of 0.2 s and was ended",
    )
    assert "CommandTimeout" in outcome.failure.traceback


def test_a_command_ends_with_the_bounty():
    artifact = Artifact.from_bytes(b"content")
    lifetime = timedelta(seconds=3)
    bounty = Bounty.forge(artifact.artifact_type, artifact.uri, artifact.sha256, lifetime=lifetime)
    began = time.monotonic()
    outcome = processed(["sleep", "60"], bounty, timeout="50s")
    assert time.monotonic() - began < 30
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert "that were left for the bounty" in outcome.failure.message


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["sh", "-c", "echo no licence >&2; exit 9"], "ended with exit code 9: no licence"),
        (["sh", "-c", "kill -SEGV $$"], "was ended by SIGSEGV"),
        (["no-such-scanner"], "there is no program 'no-such-scanner' in PATH"),
        (["scan", 1], "word 1 of the command must be text or a path, and is of type int"),
    ],
)
def test_other_errors_are_faults_of_the_engine(args, reason):
    outcome = processed(args)
    assert outcome.failure.kind is FailureKind.ENGINE
    assert outcome.analysis.verdict is Verdict.UNKNOWN
    assert outcome.analysis.comments[0] == "ERROR:ENGINE"
    assert reason in outcome.analysis.comments[1]


def test_secrets_are_in_no_answer():
    script = "echo void licence $1 >&2; exit 1"
    outcome = processed(["sh", "-c", script, "sh", "--licence-key=K-123-456", "K-123-456"])
    assert outcome.analysis.comments[1].endswith("ended with exit code 1: void licence --licence-key=***")
    assert "K-123" not in outcome.failure.message + outcome.failure.traceback


class SaysSo:
    """An engine whose author knows himself that it took too long."""

    @hookimpl
    def analyze(self):
        raise EngineTimeout("the cloud did not answer within 5 s")


def test_an_author_may_say_that_it_took_too_long():
    with session(SaysSo()) as engine:
        outcome = engine.process(b"content")
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert outcome.analysis.comments == ("ERROR:TIMEOUT", "the cloud did not answer within 5 s")


def test_an_author_may_catch_it_as_any_error_of_the_scanner():
    with pytest.raises(EngineError):
        run_command(["sleep", "60"], timeout=0.1)
    assert issubclass(CommandTimeout, EngineTimeout)
