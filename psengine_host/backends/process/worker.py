"""A process of an engine: its home or one of its workers, as the host says; what it does is told over its channel.

Its standard output and error are the host's log, its standard input is empty.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import sys
import threading
from typing import Any

import msgspec

from psengine_host.backends.process import linux
from psengine_host.backends.process.channel import Channel
from psengine_host.backends.process.channel_log import ChannelLog
from psengine_host.backends.process.crossing import registration_of
from psengine_host.backends.process.home_process import HomeProcess
from psengine_host.backends.process.messages import PROTOCOL, Load, Loaded, NotStarted, Open, SetUp
from psengine_host.backends.process.session_process import SessionProcess
from psengine_host.engines.blame import traceback_of
from psengine_host.engines.found import BrokenEngine, FoundEngine
from psengine_host.engines.loaded import Engine, load_engine, load_wrappers
from psengine_host.engines.running import context_for, frozen
from psengine_host.errors import PsengineError, one_line
from psengine_host.hookspecs import Context
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["serve"]


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
    channel = Channel(descriptor)
    try:
        _Child(channel).run()
    finally:
        channel.end()


def _lines_to(descriptor: int) -> Any:  # noqa: ANN401 - a text file; typeshed knows more of it than io tells
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


class _Child:
    def __init__(self, channel: Channel) -> None:
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
                HomeProcess(self._channel, engine, context, load).run()
            elif isinstance(message, Open):
                shared = frozen(msgspec.msgpack.decode(message.shared)) if message.shared else {}
                SessionProcess(self._channel, engine, context.replace(shared=shared), load, spool).run()


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


if __name__ == "__main__":
    linux.adopt_orphans()
    serve(int(sys.argv[1]))
