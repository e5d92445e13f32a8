"""A bounty that kills the only worker, and as soon as it is known to be lost the next one, until that is judged.

Argument: how it dies, ``kill`` or ``exit``. A bounty is tried once, as pebble does.
"""

import sys
import time
from typing import Any

from rounds import serve
from workers import host_of, job


def main() -> None:
    with host_of(count=1, tries=1, faulty="faulty_engine") as host:
        deadly, harmless = job(host, sys.argv[1].encode()), job(host, b"harmless")
        host.judge(harmless[0], "faulty", harmless[1]).result()

        def one_round() -> dict[str, Any]:
            began = time.perf_counter()
            failure = host.judge(deadly[0], "faulty", deadly[1]).result().failure
            verdict = host.judge(harmless[0], "faulty", harmless[1]).result().analysis.verdict
            took = time.perf_counter() - began
            return {"took": took, "lost": None if failure is None else failure.kind, "verdict": verdict}

        serve(one_round)


if __name__ == "__main__":
    main()
