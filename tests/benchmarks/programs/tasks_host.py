"""Bounties through two workers of an engine that does nothing: all submitted, then all waited for."""

import gc
import time
from typing import Any

from rounds import serve
from tasks import CONTENTS
from workers import host_of, job


def main() -> None:
    with host_of(count=2, noop="noop_engine") as host:
        jobs = [job(host, content) for content in CONTENTS]
        gc.freeze()  # the jobs are no work of the host's: looking at them again and again would not be either

        def one_round() -> dict[str, Any]:
            before = time.process_time()
            futures = [host.judge(bounty, "noop", artifact) for bounty, artifact in jobs]
            outcomes = [future.result() for future in futures]
            cpu = time.process_time() - before
            benign = sum(outcome.failure is None and outcome.analysis.verdict == "benign" for outcome in outcomes)
            return {"tasks": benign, "cpu": cpu}

        serve(one_round)


if __name__ == "__main__":
    main()
