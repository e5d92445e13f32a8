"""Bounties in JSON through the pipeline: decoded and checked, judged, enriched, observed, the answer encoded."""

import sys
import threading
from typing import Any

import msgspec
from rounds import serve

from psengine_host.bounty import Bounty
from psengine_host.engines.found import ENGINES_GROUP, FoundEngine
from psengine_host.engines.loaded import Engine, load_engine
from psengine_host.engines.observers import Observers
from psengine_host.engines.running import Home, Session, context_for
from psengine_host.hookspecs import hookimpl
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import Outcome
from psengine_host.pipeline import EngineProfile, process
from psengine_host.settings import Settings
from psengine_host.spool import Spool


class Counter:
    """An observer that counts, and tells when it has heard of as many as it was told to wait for."""

    def __init__(self) -> None:
        self.heard = 0
        self.awaited = 0
        self.complete = threading.Event()

    @hookimpl
    def on_success(self) -> None:
        self.heard += 1
        if self.heard == self.awaited:
            self.complete.set()


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        bounties = file.read().splitlines()
    settings, spool = Settings(), Spool()
    found = FoundEngine("trivial", "trivial_engine", ENGINES_GROUP, "psengine-trivial", "1.0")
    engine = load_engine(found, (), None)
    if not isinstance(engine, Engine):
        raise TypeError(engine.reason)
    home = Home(engine, context_for("trivial", settings, spool))
    obtain = Obtainer(settings, spool, Fetcher(settings.network)).obtain
    counter = Counter()
    observers = Observers([counter], lambda _: home.context, timeout=60.0, installed=False)
    with Session(engine, home.start()) as session:
        profile = EngineProfile("trivial", "1.0", session.info)

        def judged(raw: bytes) -> Outcome:
            return process(Bounty.decode(raw), session, profile, obtain)

        def one_round() -> dict[str, Any]:
            counter.heard, counter.awaited = 0, len(bounties)
            counter.complete.clear()
            answers = 0
            for raw in bounties:
                outcome = judged(raw)
                observers.notify(outcome)
                answers += len(msgspec.json.encode(outcome.answer())) > 0
            counter.complete.wait(60.0)
            return {"bounties": answers, "heard": counter.heard, "answer": judged(bounties[0]).answer()}

        serve(one_round)
    observers.close()
    home.stop()
    spool.close()


if __name__ == "__main__":
    main()
