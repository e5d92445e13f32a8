"""What the programs share: set up once, then one round a line of standard input, each answered with a line of JSON.

So that two programs can be measured in turns, each in a process of its own that is warm.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(one_round: Callable[[], dict[str, Any]]) -> None:
    """Answer each line with the seconds of a round and what the round returns; the first line tells of being ready."""
    out = sys.stdout
    sys.stdout = sys.stderr  # the answers' stream is for answers alone
    print(json.dumps({"ready": True}), file=out, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        result = one_round()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, **result}), file=out, flush=True)


def paths() -> list[str]:
    """The files of the list that the first argument names, separated by NULs."""
    with open(sys.argv[1], encoding="utf-8", errors="surrogateescape", newline="") as listed:
        return listed.read().split("\0")
