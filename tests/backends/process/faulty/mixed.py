"""A bit of everything: ``KIND NUMBER`` dies, hangs, raises, answers rubbish, leaves something behind, or is good."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time

from psengine_host import Analysis, hookimpl


def spoil():
    os.write(3, struct.pack("<I", 10) + b"garbage!!!")


def half():
    os.write(3, struct.pack("<I", 500_000) + bytes(1_000))
    os._exit(1)


def stray():
    subprocess.Popen(["sleep", "600"], start_new_session=True)


def leave_a_killer():
    threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGKILL)).start()


def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


DOES = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "exit": lambda: os._exit(0),
    "hang": hang,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raise": lambda: 1 / 0,
    "sys_exit": sys.exit,
    "spoil": spoil,
    "half": half,
    "close": lambda: os.close(3),
    "stray": stray,
    "killer": leave_a_killer,
    "slow": lambda: time.sleep(0.03),
}


@hookimpl
def analyze(artifact):
    kind, _, number = artifact.read_bytes().decode().partition(" ")
    if kind in DOES:
        DOES[kind]()
    if kind == "none":
        return None
    size = 200_000 if kind == "large" else 100
    return Analysis.malicious(f"Family-{number}", comments=[number * size])
