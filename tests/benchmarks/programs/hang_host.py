"""A hang: how long after its limit its bounty is answered, and how long after it its process is dead.

Argument: how it hangs, ``sleep`` or ``regex``.
"""

import os
import select
import sys
import time
from typing import Any

from rounds import serve
from workers import host_of, job

LIMIT = 0.5


def main() -> None:
    with host_of(count=1, timeout=LIMIT, faulty="faulty_engine") as host:
        who, hang = job(host, b"pid"), job(host, sys.argv[1].encode())

        def one_round() -> dict[str, Any]:
            process = int(host.judge(who[0], "faulty", who[1]).result().analysis.comments[0])
            pidfd = os.pidfd_open(process)
            began = time.perf_counter()
            failure = host.judge(hang[0], "faulty", hang[1]).result(60.0).failure
            answered = time.perf_counter() - began
            dead = bool(select.select([pidfd], [], [], 60.0)[0])
            died = time.perf_counter() - began
            os.close(pidfd)
            kind = None if failure is None else failure.kind
            return {"failure": kind, "dead": dead, "answered": answered - LIMIT, "died": died - LIMIT}

        serve(one_round)


if __name__ == "__main__":
    main()
