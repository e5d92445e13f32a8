"""An engine that does what the artifact says: it works, it dies, it hangs."""

import hashlib
import os
import re
import signal
import time

from psengine_host import Analysis, Artifact, hookimpl

MATERIAL = bytes(600_000)
"""What is hashed for a bounty that means work; it takes about a millisecond, or half of one with SHA instructions."""
REPEATS = 2
ENDLESS = re.compile(r"(a+)+b")
"""Takes for ever over a row of a's, and holds the interpreter's lock."""


@hookimpl
def analyze(artifact: Artifact) -> Analysis:
    """What the artifact says: ``work``, ``pid``, ``kill``, ``exit``, ``sleep`` or ``regex``; nothing otherwise."""
    match artifact.read_bytes():
        case b"work":
            for _ in range(REPEATS):
                hashlib.sha256(MATERIAL).digest()
        case b"pid":
            return Analysis.benign(confidence=1.0, comments=[str(os.getpid())])
        case b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"exit":
            os._exit(1)
        case b"sleep":
            time.sleep(3_600)
        case b"regex":
            ENDLESS.match("a" * 64)
    return Analysis.benign(confidence=1.0)
