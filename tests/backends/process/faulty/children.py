"""Leaves processes behind, and then returns, hangs or dies: ``KIND END``."""

import os
import signal
import subprocess
import sys
import time

from psengine_host import Analysis, hookimpl

SLEEP = ["sleep", "600"]
DAEMON = """
import os, signal, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
os.closerange(0, 1024)
time.sleep(600)
"""


def note(*words):
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(" ".join(map(str, words)).encode() + b"\n")


def same_group():
    note("child", subprocess.Popen(SLEEP).pid)


def session():
    note("child", subprocess.Popen(SLEEP, start_new_session=True, env={}).pid)


def daemon():
    subprocess.run([sys.executable, "-c", DAEMON], check=True)


def stopped():
    child = subprocess.Popen(SLEEP, start_new_session=True)
    child.send_signal(signal.SIGSTOP)
    note("child", child.pid)


def tree():
    script = "sleep 600 & (setsid sleep 600 &) ; setsid sh -c 'sleep 600 & sleep 600' & wait"
    note("child", subprocess.Popen(["sh", "-c", script]).pid)


def keeps_channel():
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)


def restless(pause=0.003):
    """Has a number of its own only for a moment: each forks the next and ends."""
    if os.fork() == 0:
        while True:
            os.setsid()
            time.sleep(pause)
            if os.fork() != 0:
                os._exit(0)


def bomb():
    restless(0)


KINDS = {
    function.__name__: function
    for function in (same_group, session, daemon, stopped, tree, keeps_channel, restless, bomb)
}


@hookimpl
def analyze(artifact):
    kind, _, end = artifact.read_bytes().decode().partition(" ")
    if kind in KINDS:
        KINDS[kind]()
    note("left", os.getpid(), time.monotonic())
    if end == "hang":
        time.sleep(600)
    if end == "die":
        os._exit(1)
    return Analysis.benign()
