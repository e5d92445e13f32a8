"""Calls of a function that does nothing through two workers of multiprocessing.Pool: all asked for, then awaited."""

import gc
import multiprocessing
import time
from typing import Any

from rounds import serve
from tasks import CONTENTS


def noop(content: bytes) -> str:
    """Benign."""
    return "benign"


def main() -> None:
    with multiprocessing.Pool(2) as pool:
        gc.freeze()  # as for the host

        def one_round() -> dict[str, Any]:
            before = time.process_time()
            asked = [pool.apply_async(noop, (content,)) for content in CONTENTS]
            results = [each.get() for each in asked]
            return {"tasks": results.count("benign"), "cpu": time.process_time() - before}

        serve(one_round)


if __name__ == "__main__":
    main()
