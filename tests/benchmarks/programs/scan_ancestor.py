"""The ancestor over a list of files, through what its README shows: a forged bounty, its backend, JSON.

Its tasks run eagerly, in this process (``PSENGINE_TASK_ALWAYS_EAGER=1``); the search is that of psengine-eicar.
"""

import json
import os
from typing import Any

from polyswarm_engine import BENIGN, MALICIOUS, EngineManager, bid_max, bid_median, get_artifact_stream
from polyswarm_engine.bounty import forge_local_bounty
from psengine_eicar import EICAR
from rounds import paths, serve

FILES = paths()
engine = EngineManager("eicar", vendor="psengine")


@engine.register_analyzer
def analyze(bounty: dict[str, Any]) -> dict[str, Any]:
    tail = b""
    with get_artifact_stream(bounty) as stream:
        while chunk := stream.read(1 << 20):
            if EICAR in tail + chunk:
                family = {"malware_family": "EICAR-Test-File"}
                return {"verdict": MALICIOUS, "bid": bid_max(bounty), "confidence": 1.0, "metadata": family}
            tail = chunk[1 - len(EICAR) :]
    return {"verdict": BENIGN, "bid": bid_median(bounty), "confidence": 0.5}


def main() -> None:
    with engine.create_backend() as backend, open(os.devnull, "w", encoding="utf-8") as nowhere:

        def one_round() -> dict[str, Any]:
            malicious = []
            for path in FILES:
                bounty = forge_local_bounty(path=path)
                analysis = backend.analyze(bounty).get()
                row = {"artifact": path, "engine": "eicar", "bounty": bounty, "analysis": analysis}
                nowhere.write(json.dumps(row) + "\n")
                if analysis["verdict"] == MALICIOUS:
                    malicious.append(path)
            return {"files": len(FILES), "malicious": malicious}

        serve(one_round)


if __name__ == "__main__":
    main()
