"""Some of its artifacts start a thread that kills the worker at a random moment, over whatever it is at work on then.

An artifact is ``NUMBER EVERY SIZE``; one in EVERY is deadly. The answer is NUMBER, and SIZE characters made of it.
"""

import os
import random
import signal
import threading
import time

from psengine_host import Analysis, hookimpl

RANDOM = random.Random(os.urandom(8))
LATEST = 0.004
"""Seconds until the kill at most: now over the deadly one itself, now over a later one, now in the middle of a send."""


def die(delay, way):
    time.sleep(delay)
    if way == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == 1:
        os._exit(0)
    else:
        os.kill(os.getpid(), signal.SIGSEGV)


@hookimpl
def analyze(artifact):
    number, every, size = map(int, artifact.read_bytes().split())
    if number % every == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        threading.Thread(target=die, args=(RANDOM.uniform(0, LATEST), RANDOM.randrange(3)), daemon=True).start()
    return Analysis.malicious(f"Family-{number}", comments=[(f"{number}," * size)[:size]])
