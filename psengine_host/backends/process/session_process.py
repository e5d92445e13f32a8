"""What a worker of an engine does in its own process: it judges bounties one at a time, in the order they come in."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Final

import msgspec

from psengine_host.analysis import Analysis
from psengine_host.artifacts import Artifact
from psengine_host.backends.process import linux
from psengine_host.backends.process.channel import Channel
from psengine_host.backends.process.crossing import bounty_of, name_of, plain, without_long_bid
from psengine_host.backends.process.messages import (
    FileFacts,
    FileTask,
    Load,
    NotStarted,
    Ready,
    Result,
    Retiring,
    Stop,
    Task,
    ToChild,
    Withdraw,
    Withdrawn,
    encode,
)
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import limited, reason, traceback_of
from psengine_host.engines.loaded import Engine
from psengine_host.engines.running import Session
from psengine_host.errors import ArtifactError, EngineFault, one_line
from psengine_host.hookspecs import Context
from psengine_host.job import Job, working_on
from psengine_host.local_bounties import bounty_for
from psengine_host.outcome import Failure, FailureKind
from psengine_host.pipeline import EngineProfile, Judged, Prepared, checked, judge, prepare
from psengine_host.quantities import format_size
from psengine_host.spool import Spool

__all__ = ["SessionProcess"]

_LOOK: Final = 0.002
"""Seconds after which a process that has more to do looks whether some of it was withdrawn."""
_WEIGH: Final = 0.01
"""Seconds between two looks at what it uses."""
_MOST_CHILDREN: Final = 200
"""Processes that an engine may have between two bounties, dead ones that nobody has waited for included."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class SessionProcess:
    """``open_session``, ``info``, ``analyze`` and the end of the session.

    Args:
        channel: The channel to the host.
        engine: The engine.
        context: Its context after ``setup``.
        load: What the host said first.
        spool: Where a file goes that is made of an artifact's bytes.
    """

    def __init__(self, channel: Channel, engine: Engine, context: Context, load: Load, spool: Spool) -> None:
        self._channel = channel
        self._session = Session(engine, context)
        self._load = load
        self._spool = spool
        self._weighed = 0.0
        self._looks_at_type = engine.takes("analyze", "bounty")

    def run(self) -> None:
        """From the session's beginning to its end."""
        try:
            self._session.open()
        except EngineFault as error:
            self._channel.send(NotStarted(str(error), traceback_of(error)))
            return
        engine = self._session.engine
        self._profile = EngineProfile(engine.name, engine.version, self._session.info)
        self._channel.send(Ready(self._session.info))
        channel = self._channel
        while True:
            message = channel.next()
            if isinstance(message, (Task, FileTask)):
                channel.send_encoded(self._encoded(self._done(message)))
                now = time.monotonic()
                if channel.messages and now - channel.looked > _LOOK:
                    channel.look()
                    self._withdraw()
                if now - self._weighed > _WEIGH and self._is_spent(now):
                    break
            elif isinstance(message, Withdraw):
                channel.send(Withdrawn(()))  # all of it has been begun, or done
            elif isinstance(message, Stop):
                break
        self._session.close()

    def _withdraw(self) -> None:
        """Forget what the host does not want done here any more."""
        messages = self._channel.messages
        withdrawn = {number for message in messages if isinstance(message, Withdraw) for number in message.numbers}
        if not withdrawn:
            return
        kept: list[ToChild] = []
        dropped = []
        for message in messages:
            if isinstance(message, (Task, FileTask)) and message.number in withdrawn:
                dropped.append(message.number)
            elif not isinstance(message, Withdraw):
                kept.append(message)
        messages.clear()
        messages.extend(kept)
        self._channel.send(Withdrawn(tuple(dropped)))

    def _is_spent(self, now: float) -> bool:
        """Whether it is to be replaced, which the host is told then."""
        self._weighed = now
        try:
            with open("/proc/self/statm", "rb") as file:
                resident = int(file.read().split()[1]) * _PAGE
        except OSError as error:  # the engine has left no descriptor to open it with
            why = f"its memory cannot be looked at: {one_line(error)}"
        else:
            if self._load.max_memory and resident > self._load.max_memory:
                why = f"it used more than {format_size(self._load.max_memory)} of memory"
            elif (children := len(linux.children_of(os.getpid()))) > _MOST_CHILDREN:
                # Daemons that have ended stay as zombies: which of its children the engine waits for, nobody can know.
                why = f"it has {children} processes that nobody waited for"
            else:
                return False
        self._channel.send(Retiring(why))
        return True

    def _done(self, task: Task | FileTask) -> Result:
        try:
            return self._judge_file(task) if isinstance(task, FileTask) else self._judge(task)
        except KeyboardInterrupt:  # nobody can press Ctrl-C here
            failure = Failure(FailureKind.ENGINE, "raised KeyboardInterrupt by itself")
        except ArtifactError as error:  # the host's file is not what it was
            failure = Failure(FailureKind.FETCH, reason(error))
        return Result(task.number, 0.0, failure=failure)

    def _judge(self, task: Task) -> Result:
        began = time.monotonic()
        bounty = bounty_of(task.bounty)
        deadline = began + task.limit
        prepared = Prepared(bounty, began, deadline if task.expires is None else min(deadline, task.expires))
        with Artifact.from_handover(task.artifact, self._spool) as artifact:
            prepared.artifact = artifact
            if task.delivery is None:
                judged = judge(prepared, self._session)
            else:
                with working_on(Job(self._profile.name, bounty.id, task.delivery)):
                    judged = judge(prepared, self._session)
        return self._result(task.number, bounty, judged)

    def _judge_file(self, task: FileTask) -> Result:
        began = time.monotonic()
        try:
            artifact = Artifact.from_path(os.fsdecode(task.path), name=name_of(task.name))
            identify = task.identify or self._looks_at_type or self._profile.by_type
            bounty = bounty_for(artifact, identify=identify, lifetime=timedelta(seconds=task.lifetime))
        except ArtifactError as error:
            return Result(task.number, 0.0, unreadable=limited(str(error)), prepare=time.monotonic() - began)
        with artifact:
            prepared = prepare(
                bounty, self._profile, _nowhere, artifact=artifact, timeout=task.limit, discard_expired=False
            )
            prepared.deadline = began + task.limit
            declined = prepared.answer is not None
            judged = prepared.answered() if declined else judge(prepared, self._session)
            facts = FileFacts(bounty.sha256 or "", artifact.size, bounty.mimetype, bounty.expiration.timestamp())
        spent = prepared.seconds if declined else time.monotonic() - began - judged.seconds
        return self._result(task.number, bounty, judged, declined=declined, file=facts, spent=spent)

    def _result(
        self,
        number: int,
        bounty: Bounty,
        judged: Judged,
        *,
        declined: bool = False,
        file: FileFacts | None = None,
        spent: float = 0.0,
    ) -> Result:
        analysis: Analysis | None = None
        bid: str | None = None
        failure = judged.failure
        if failure is None or declined:
            try:
                analysis, bid = without_long_bid(plain(checked(judged.answer, bounty)))
            except BaseException as error:  # noqa: BLE001 - InvalidAnalysis, or what a value raises when it is looked at
                failure = Failure(FailureKind.ENGINE, reason(error))
        return Result(
            number, judged.seconds, analysis, bid, failure, declined=declined, file=file, prepare=max(0.0, spent)
        )

    def _encoded(self, result: Result) -> bytes:
        try:
            payload = encode(result)
        except Exception as error:  # noqa: BLE001 - an analysis of a class of the engine's own, or tampered with
            message = f"answered what cannot be sent: {reason(error)}"
            failure = Failure(FailureKind.ENGINE, message)
            return encode(msgspec.structs.replace(result, analysis=None, bid=None, failure=failure))
        if len(payload) <= self._load.max_result:
            return payload
        message = (
            f"answered with {len(payload)} bytes, more than the {self._load.max_result} that a result may have "
            "(setting workers.max_result_size)"
        )
        failure = Failure(FailureKind.ENGINE, message)
        return encode(msgspec.structs.replace(result, analysis=None, bid=None, failure=failure))


def _nowhere(bounty: Bounty, _deadline: float) -> Artifact:
    raise ArtifactError(f"bounty {bounty.id}: the artifact of a local file is not fetched")
