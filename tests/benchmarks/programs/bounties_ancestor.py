"""Bounties in JSON through the ancestor: decoded, judged eagerly in this process, the answer encoded."""

import json
import sys
from typing import Any

from polyswarm_engine import BENIGN, MALICIOUS, EngineManager, bid_max, bid_median, get_artifact_bytes
from rounds import serve

engine = EngineManager("trivial", vendor="psengine")


@engine.register_analyzer
def analyze(bounty: dict[str, Any]) -> dict[str, Any]:
    if get_artifact_bytes(bounty).startswith(b"X"):
        family = {"malware_family": "X"}
        return {"verdict": MALICIOUS, "bid": bid_max(bounty), "confidence": 1.0, "metadata": family}
    return {"verdict": BENIGN, "bid": bid_median(bounty), "confidence": 0.5}


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        bounties = file.read().splitlines()
    with engine.create_backend() as backend:

        def one_round() -> dict[str, Any]:
            answers = 0
            for raw in bounties:
                answers += len(json.dumps(backend.analyze(json.loads(raw)).get())) > 0
            return {"bounties": answers, "answer": backend.analyze(json.loads(bounties[0])).get()}

        serve(one_round)


if __name__ == "__main__":
    main()
