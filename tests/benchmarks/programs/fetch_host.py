"""The host's fetcher, its guard and its spool, with as many fetches under way as a scan that reads ahead has.

Arguments: the server's URL, the size of an artifact, how many of them.
"""

import sys
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, BinaryIO, cast

from rounds import serve

from psengine_host.artifacts import KEPT_IN_MEMORY
from psengine_host.network.fetcher import Fetcher
from psengine_host.network.fetching import Fetched
from psengine_host.settings import NetworkSettings
from psengine_host.spool import Deposit, Spool

URL, SIZE, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
UNDER_WAY = 16


def main() -> None:
    with Spool() as spool, Fetcher(NetworkSettings(allow=("127.0.0.1",))) as fetcher:

        def one_round() -> dict[str, Any]:
            hashes = set()
            waiting: deque[tuple[Deposit, Future[Fetched]]] = deque()

            def take() -> None:
                deposit, future = waiting.popleft()
                with deposit:
                    hashes.add(future.result().sha256)
                    assert len(deposit.keep()) == SIZE

            for number in range(COUNT):
                deposit = spool.deposit(KEPT_IN_MEMORY)
                future = fetcher.submit_fetch(
                    f"{URL}/{SIZE}/{number}", cast(BinaryIO, deposit), deadline=time.monotonic() + 60
                )
                waiting.append((deposit, future))
                if len(waiting) == UNDER_WAY:
                    take()
            while waiting:
                take()
            return {"artifacts": COUNT, "hashes": sorted(hashes)}

        serve(one_round)


if __name__ == "__main__":
    main()
