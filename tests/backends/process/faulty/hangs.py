"""Never comes back, in the way that its artifact names; says ``benign`` to all else."""

import collections
import ctypes
import hashlib
import itertools
import os
import re
import signal
import struct
import threading
import time
from collections.abc import Mapping

from psengine_host import Analysis, hookimpl

CHANNEL = 3


def sleep():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(600)


def all_signals_blocked():
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    while True:
        time.sleep(600)


def swallow():
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def regex():
    re.match(r"(a+)+$", "a" * 64 + "b")


def c_loop_with_gil():
    collections.deque(itertools.repeat(None), maxlen=0)


def c_loop_without_gil():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def pause_with_gil():
    library = ctypes.PyDLL(None)
    while True:
        library.pause()


def deadlock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def stop_group():
    if os.fork() == 0:
        time.sleep(600)
    os.killpg(0, signal.SIGSTOP)


def read_for_ever():
    reader, _ = os.pipe()
    os.read(reader, 1)


def print_for_ever():
    while True:
        print("to and fro")


def half_a_frame():
    os.write(CHANNEL, struct.pack("<I", 200_000) + bytes(100_000))
    time.sleep(600)


def log_for_ever(logger):
    while True:
        logger.warning("to and fro")


class Endless(Mapping):
    """An answer that hangs who looks at it."""

    def __getitem__(self, key):
        time.sleep(600)

    def __iter__(self):
        return itertools.repeat("verdict")

    def __len__(self):
        return 1


WAYS = {
    function.__name__: function
    for function in (
        sleep,
        all_signals_blocked,
        swallow,
        regex,
        c_loop_with_gil,
        c_loop_without_gil,
        pause_with_gil,
        deadlock,
        stop,
        stop_group,
        read_for_ever,
        print_for_ever,
        half_a_frame,
    )
}


@hookimpl
def analyze(artifact, context):
    text = artifact.read_bytes().decode()
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(f"began {text} {os.getpid()} {time.monotonic()}\n".encode())
    if text == "log_for_ever":
        log_for_ever(context.logger)
    if text == "endless_answer":
        return Endless()
    if text in WAYS:
        WAYS[text]()
    return Analysis.benign(comments=[text])
