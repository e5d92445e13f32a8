"""Calls of a function that does nothing through two workers of pebble: all scheduled, then all waited for."""

import gc
import time
from typing import Any

from pebble import ProcessPool
from rounds import serve
from tasks import CONTENTS


def noop(content: bytes) -> str:
    """Benign."""
    return "benign"


def main() -> None:
    with ProcessPool(max_workers=2) as pool:
        gc.freeze()  # as for the host

        def one_round() -> dict[str, Any]:
            before = time.process_time()
            futures = [pool.schedule(noop, args=(content,)) for content in CONTENTS]
            results = [future.result() for future in futures]
            return {"tasks": results.count("benign"), "cpu": time.process_time() - before}

        serve(one_round)


if __name__ == "__main__":
    main()
