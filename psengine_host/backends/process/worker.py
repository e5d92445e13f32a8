"""A process of an engine: its home or one of its workers, as the host says; what it does is told over its channel.

Its standard output and error are the host's log, its standard input is empty. It judges one bounty at a time, in the
order in which they come.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import logging
import os
import pickle
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any, Final

import msgspec

from psengine_host.analysis import Analysis
from psengine_host.artifacts import Artifact
from psengine_host.backends.process import linux
from psengine_host.backends.process.channel_log import ChannelLog
from psengine_host.backends.process.crossing import (
    bounty_of,
    name_of,
    plain,
    registration_of,
    with_bid,
    without_long_bid,
)
from psengine_host.backends.process.frames import FrameReader, framed
from psengine_host.backends.process.messages import (
    PROTOCOL,
    FileFacts,
    FileTask,
    FromChild,
    Hear,
    Hearing,
    Load,
    Loaded,
    NotStarted,
    Open,
    Ready,
    Result,
    Retiring,
    SetUp,
    SetUpDone,
    Stop,
    Task,
    ToChild,
    Withdraw,
    Withdrawn,
    decode_to_child,
    encode,
)
from psengine_host.bounty import Bounty
from psengine_host.engines.blame import limited, reason, traceback_of
from psengine_host.engines.found import BrokenEngine, FoundEngine
from psengine_host.engines.listeners import Listener
from psengine_host.engines.loaded import Engine, load_engine, load_wrappers
from psengine_host.engines.running import Home, Session, context_for, frozen
from psengine_host.errors import ArtifactError, EngineFault, PsengineError, one_line
from psengine_host.hookspecs import Context
from psengine_host.job import Job, working_on
from psengine_host.local_bounties import bounty_for
from psengine_host.outcome import Failure, FailureKind, Outcome
from psengine_host.pipeline import EngineProfile, Judged, Prepared, checked, judge, prepare
from psengine_host.quantities import format_size
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["serve"]

_RECEIVE: Final = 1 << 18
_LONGEST: Final = (1 << 32) - 1
_LOOK: Final = 0.002
"""Seconds after which a process that has more to do looks whether some of it was withdrawn."""
_WEIGH: Final = 0.01
"""Seconds between two looks at what it uses."""
_MOST_CHILDREN: Final = 200
"""Processes that an engine may have between two bounties, dead ones that nobody has waited for included."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def serve(descriptor: int) -> None:
    """Do what the host says, until it says stop or closes the channel.

    Args:
        descriptor: The channel.
    """
    if threading.current_thread() is threading.main_thread():
        faulthandler.enable(all_threads=False)
    linux.buffer_lines_of_c()
    # Those of the keeper know its own files.
    sys.stdin = sys.__stdin__ = open(os.devnull, encoding="utf-8")  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _lines_to(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _lines_to(2)  # type: ignore[misc]
    channel = _Channel(descriptor)
    try:
        _Child(channel).run()
    finally:
        channel.end()


def _lines_to(descriptor: int) -> Any:  # noqa: ANN401 - a text file; typeshed knows more of it than io tells
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


class _Channel:
    """Messages to and from the host.

    Args:
        descriptor: The socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._reader = FrameReader(_LONGEST)
        self._sending = threading.Lock()
        self._process = os.getpid()
        self.messages: collections.deque[ToChild] = collections.deque()
        self.looked = 0.0

    def send(self, message: FromChild) -> None:
        """Send a message; from any thread."""
        self.send_encoded(encode(message))

    def send_encoded(self, payload: bytes) -> None:
        """Send an encoded message; from any thread."""
        with self._sending:
            self._socket.sendall(framed(payload))

    def try_send(self, message: FromChild) -> bool:
        """Send a message, unless this very thread is in the middle of another or this is a fork of the process."""
        if os.getpid() != self._process or not self._sending.acquire(timeout=1.0):
            return False
        try:
            self._socket.sendall(framed(encode(message)))
        except OSError:  # closed, by the host or by the engine
            return False
        finally:
            self._sending.release()
        return True

    def end(self) -> None:
        """Say that nothing more comes: what an engine left behind to be done at the end gets a moment, and no more."""
        with contextlib.suppress(OSError):  # the engine closed it, or the host is gone
            self._socket.shutdown(socket.SHUT_WR)

    def next(self) -> ToChild:
        """The next message; waits for it. An end of the channel is :class:`Stop`."""
        while not self.messages:
            if not self._receive(0):
                return Stop()
        return self.messages.popleft()

    def look(self) -> None:
        """Take in what has come, and wait for nothing."""
        with contextlib.suppress(BlockingIOError):
            while self._receive(socket.MSG_DONTWAIT):
                continue

    def _receive(self, flags: int) -> bool:
        try:
            data = self._socket.recv(_RECEIVE, flags)
        except BlockingIOError:
            self.looked = time.monotonic()
            raise
        except OSError:  # the other end is gone: any of several errors
            return False
        self.looked = time.monotonic()
        self.messages.extend(map(decode_to_child, self._reader.feed(data)))
        return bool(data)


class _Child:
    def __init__(self, channel: _Channel) -> None:
        self._channel = channel

    def run(self) -> None:
        """From the first message to the last."""
        load = self._channel.next()
        if not isinstance(load, Load):
            return
        logging.getLogger().setLevel(load.log_level)
        log = ChannelLog(self._channel.try_send)
        logging.getLogger().addHandler(log)
        try:
            self._run(load)
        finally:
            log.tell_left_out(f"psengine.engines.{load.engine[0]}")

    def _run(self, load: Load) -> None:
        with Spool(os.getcwd()) as spool:
            try:
                engine, context = _loaded(load, spool)
            except PsengineError as error:
                self._channel.send(NotStarted(one_line(error), traceback_of(error.__cause__ or error)))
                return
            sets_up = engine.has("setup") or engine.has("update")
            hears = engine.has("on_success") or engine.has("on_error")
            self._channel.send(Loaded(PROTOCOL, engine.version, sets_up, hears))
            message = self._channel.next()
            if isinstance(message, SetUp):
                _HomeProcess(self._channel, engine, context, load).run()
            elif isinstance(message, Open):
                shared = frozen(msgspec.msgpack.decode(message.shared)) if message.shared else {}
                _Worker(self._channel, engine, context.replace(shared=shared), load, spool).run()


def _loaded(load: Load, spool: Spool) -> tuple[Engine, Context]:
    if load.protocol != PROTOCOL:
        raise PsengineError(
            f"the interpreter has another version of psengine-host: it speaks protocol {PROTOCOL}, the host "
            f"{load.protocol}; install the same version for both"
        )
    wrappers = load_wrappers(registrations=[registration_of(sent) for sent in load.wrappers])
    engine = load_engine(FoundEngine(*load.engine), wrappers)
    if isinstance(engine, BrokenEngine):
        raise PsengineError(f"engine {engine.name} ({engine.origin}) is broken: {engine.reason}") from engine.error
    settings = Settings(engines={engine.name: pickle.loads(load.config)})  # noqa: S301 - the host's, which is trusted
    return engine, context_for(engine.name, settings, spool, folder=os.fsdecode(load.folder))


class _HomeProcess:
    """``setup``, the author's callbacks and the teardown."""

    def __init__(self, channel: _Channel, engine: Engine, context: Context, load: Load) -> None:
        self._channel = channel
        self._engine = engine
        self._home = Home(engine, context)
        self._load = load

    def run(self) -> None:
        try:
            shared = self._home.start().shared
        except EngineFault as error:
            self._channel.send(NotStarted(str(error), traceback_of(error)))
            return
        self._channel.send(SetUpDone(msgspec.msgpack.encode(_thawed(shared))))
        name = f"engine {self._engine.name}: on_success or on_error"
        listener = Listener(name, self._hear, self._load.observer_timeout)
        while not isinstance(message := self._channel.next(), Stop):
            if isinstance(message, Hear):
                listener.put(self._outcome(message))
        listener.close(time.monotonic() + self._load.close_timeout)
        self._home.stop()

    def _hear(self, outcome: Outcome) -> None:
        self._channel.try_send(Hearing())
        self._home.hear(outcome)

    def _outcome(self, message: Hear) -> Outcome:
        bounty = bounty_of(message.bounty)
        return Outcome(bounty, self._engine.name, with_bid(message.analysis, message.bid), message.failure)


def _thawed(value: object) -> object:
    """Deeply read-only data as msgpack takes it."""
    if hasattr(value, "items"):
        return {key: _thawed(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    return value


class _Worker:
    """``open_session``, ``info``, ``analyze`` and the end of the session."""

    def __init__(self, channel: _Channel, engine: Engine, context: Context, load: Load, spool: Spool) -> None:
        self._channel = channel
        self._session = Session(engine, context)
        self._load = load
        self._spool = spool
        self._weighed = 0.0
        self._looks_at_type = engine.takes("analyze", "bounty")

    def run(self) -> None:
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


if __name__ == "__main__":
    linux.adopt_orphans()
    serve(int(sys.argv[1]))
