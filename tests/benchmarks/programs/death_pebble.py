"""A call that kills pebble's only worker, and as soon as it is known to be lost the next one, until that is done.

Argument: how it dies, ``kill`` or ``exit``.
"""

import os
import signal
import sys
import time
from typing import Any

from pebble import ProcessExpired, ProcessPool
from rounds import serve


def analyze(content: bytes) -> str:
    """Die, if the content says so."""
    if content == b"kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if content == b"exit":
        os._exit(1)
    return "benign"


def main() -> None:
    deadly = sys.argv[1].encode()
    with ProcessPool(max_workers=1) as pool:
        pool.schedule(analyze, args=(b"harmless",)).result()

        def one_round() -> dict[str, Any]:
            began = time.perf_counter()
            expired = isinstance(pool.schedule(analyze, args=(deadly,)).exception(), ProcessExpired)
            verdict = pool.schedule(analyze, args=(b"harmless",)).result()
            took = time.perf_counter() - began
            return {"took": took, "lost": "worker-lost" if expired else None, "verdict": verdict}

        serve(one_round)


if __name__ == "__main__":
    main()
