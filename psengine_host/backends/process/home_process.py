"""What an engine's home does in its own process."""

from __future__ import annotations

import time

import msgspec

from psengine_host.backends.process.channel import Channel
from psengine_host.backends.process.crossing import bounty_of, with_bid
from psengine_host.backends.process.messages import Hear, Hearing, Load, NotStarted, SetUpDone, Stop
from psengine_host.engines.blame import traceback_of
from psengine_host.engines.listeners import Listener
from psengine_host.engines.loaded import Engine
from psengine_host.engines.running import Home
from psengine_host.errors import EngineFault
from psengine_host.hookspecs import Context
from psengine_host.outcome import Outcome

__all__ = ["HomeProcess"]


class HomeProcess:
    """``setup``, the author's callbacks and the teardown.

    Args:
        channel: The channel to the host.
        engine: The engine.
        context: Its context before ``setup``.
        load: What the host said first.
    """

    def __init__(self, channel: Channel, engine: Engine, context: Context, load: Load) -> None:
        self._channel = channel
        self._engine = engine
        self._home = Home(engine, context)
        self._load = load

    def run(self) -> None:
        """From ``setup`` to the teardown."""
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
