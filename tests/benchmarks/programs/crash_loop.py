"""How much good work is done while a worker crashes in a loop, and while it does good work as well.

Argument: ``engines``, two engines with a worker each, one of which crashes; or ``workers``, one engine with two
workers, which is given crashing bounties among the good ones without a pause. A round has a slice of time each for good
work alone (of two engines), good work on both workers, and good work beside the crashes.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from rounds import serve
from workers import host_of, job

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.host import Host
from psengine_host.outcome import Outcome

WINDOW = 32
"""Good bounties under way. Of the crashing ones there is one: two could kill both workers at a time."""
TRIES = 3
SETTLE, SLICE = 0.3, 1.0
"""Seconds before what is counted, and counted."""


class Feed:
    """Has one bounty judged again and again, so many at a time, and counts.

    Attributes:
        done: How often it was judged, or lost.
        lost: How often it was lost with its worker.
    """

    def __init__(self, host: Host, engine: str, work: tuple[Bounty, Artifact], window: int) -> None:
        self.done = 0
        self.lost = 0
        self._host, self._engine, self._work = host, engine, work
        self._window = window
        self._on = False
        self._under_way: set[Future[Outcome]] = set()

    @contextmanager
    def on(self) -> Iterator[None]:
        """Feed inside the ``with`` block; all that was fed is done at its end."""
        self._on = True
        for _ in range(self._window):
            self._submit()
        try:
            yield
        finally:
            self._on = False
            for future in list(self._under_way):
                future.result()

    def _submit(self) -> None:
        future = self._host.judge(self._work[0], self._engine, self._work[1])
        self._under_way.add(future)
        future.add_done_callback(self._ended)

    def _ended(self, future: Future[Outcome]) -> None:
        self._under_way.discard(future)
        self.done += 1
        failure = future.result().failure
        if failure is not None:
            if failure.kind != "worker-lost":
                raise AssertionError(failure)
            self.lost += 1
        if self._on:
            self._submit()


def rate(feed: Feed) -> float:
    """Bounties a second."""
    time.sleep(SETTLE)
    before, began = feed.done, time.perf_counter()
    time.sleep(SLICE)
    return (feed.done - before) / (time.perf_counter() - began)


def main() -> None:
    apart = sys.argv[1] == "engines"
    other = "bad" if apart else "good"
    names = {"good": "faulty_engine", other: "faulty_engine"}
    with host_of(count=1 if apart else 2, tries=TRIES, **names) as host:
        work, death = job(host, b"work"), job(host, b"kill")
        good, busy, crashing = (
            Feed(host, "good", work, WINDOW),
            Feed(host, other, work, WINDOW),
            Feed(host, other, death, 1),
        )

        def one_round() -> dict[str, Any]:
            rates = {}
            good.lost = 0
            if apart:
                with good.on():
                    rates["alone"] = rate(good)
                with good.on(), busy.on():
                    rates["beside_work"] = rate(good)
            else:
                with good.on():
                    rates["beside_work"] = rate(good) / 2  # of one of the two workers
            before, began = crashing.lost, time.perf_counter()
            with good.on(), crashing.on():
                rates["beside_crashes"] = rate(good)
            lost, seconds = crashing.lost - before, time.perf_counter() - began
            return {
                **rates,
                "deaths": TRIES * lost / seconds,
                "good_lost": good.lost,
                "survived": crashing.done - crashing.lost,
            }

        serve(one_round)


if __name__ == "__main__":
    main()
