"""Writes into its worker's channel to the host what its artifact names, and then answers, waits or dies."""

import os
import struct
import sys
import threading
import time

import msgspec

from psengine_host import Analysis, EngineInfo, hookimpl
from psengine_host.backends.process.messages import (
    FileFacts,
    Loaded,
    Logged,
    NotStarted,
    Ready,
    Result,
    Retiring,
    SetUpDone,
    Withdrawn,
    encode,
)

CHANNEL = 3


def frame(payload, length=None):
    return struct.pack("<I", len(payload) if length is None else length) + payload


def forged(*messages):
    return b"".join(frame(encode(message)) for message in messages)


def in_hand():
    """The number of the task at work on, off the worker's own frames: an engine can do that too."""
    found = sys._getframe()
    while found is not None:
        task = found.f_locals.get("task")
        if hasattr(task, "number"):
            return task.number
        found = found.f_back
    raise LookupError("no task")


BENIGN = Analysis.benign()

WRITES = {
    "garbage": lambda: os.urandom(1_000),
    "text": lambda: b"hello, host\n" * 100,
    "zeros": lambda: bytes(1_000_000),
    "empty_frame": lambda: frame(b""),
    "no_msgpack": lambda: frame(b"\xc1" * 10),
    "number": lambda: frame(msgspec.msgpack.encode(5)),
    "list": lambda: frame(msgspec.msgpack.encode([1, 2, 3])),
    "unknown_tag": lambda: frame(msgspec.msgpack.encode([99])),
    "deep": lambda: frame(b"\x91" * 1_000_000 + b"\xc0"),
    "deep_map": lambda: frame(b"\x81\xa1a" * 300_000 + b"\xc0"),
    "long_list": lambda: frame(b"\xdd\xff\xff\xff\xff"),
    "too_long": lambda: frame(b"x" * 100, 3_000_000),
    "4_GB": lambda: frame(b"", 0xFFFF_FFFF),
    "half_a_length": lambda: b"\x01\x00",
    "half_a_frame": lambda: frame(bytes(100_000), 200_000),
    "of_another": lambda: forged(Result(999_999_999, 0.0, BENIGN)),
    "next_one": lambda: forged(Result(in_hand() + 1, 0.0, BENIGN)),
    "all_others": lambda: forged(*(Result(number, 0.0, BENIGN) for number in range(1_000, 2_000))),
    "negative": lambda: forged(Result(-1, 0.0, BENIGN)),
    "nan_seconds": lambda: forged(Result(in_hand(), float("nan"), BENIGN)),
    "negative_seconds": lambda: forged(Result(in_hand(), -1e9, BENIGN)),
    "endless_seconds": lambda: forged(Result(in_hand(), 9e8, BENIGN, prepare=9e8)),
    "bad_bid": lambda: forged(Result(in_hand(), 0.0, BENIGN, bid="-5")),
    "long_bid": lambda: forged(Result(in_hand(), 0.0, BENIGN, bid="9" * 1_000_000)),
    "bad_file": lambda: forged(Result(in_hand(), 0.0, BENIGN, file=FileFacts("x", -1, None, 1e300))),
    "gives_back": lambda: forged(Withdrawn(tuple(range(10_000)))),
    "gives_back_its_own": lambda: forged(Withdrawn((in_hand(),))),
    "ready_again": lambda: forged(Ready(EngineInfo())),
    "loaded_again": lambda: forged(Loaded(1, "9.9", True, True)),
    "not_started": lambda: forged(NotStarted("no", "")),
    "set_up": lambda: forged(SetUpDone(b"\xc1")),
    "retires": lambda: forged(Retiring("I am tired")),
    "logs": lambda: forged(
        Logged(10**6, "a.b.c", "hello"), Logged(-(10**18), "", "\n\x1b"), Logged(30, "x", "y" * 10**6)
    ),
    "no_result": lambda: forged(Result(in_hand(), 0.0)),
}


def ready_for_ever():
    """Would move its own deadline, if that could be done so."""
    while True:
        os.write(CHANNEL, forged(Ready(EngineInfo())))
        time.sleep(0.05)


def results_for_ever():
    while True:
        os.write(CHANNEL, forged(Result(999_999_999, 0.0, BENIGN)))
        time.sleep(0.05)


def flood():
    """Logs faster than the host may want to read."""
    data = forged(Logged(10, "flood", "x" * 1_000)) * 100
    while True:
        os.write(CHANNEL, data)


@hookimpl
def analyze(artifact):
    what, _, end = artifact.read_bytes().decode().partition(" ")
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(f"analyze {what}\n".encode())
    if what in WRITES:
        data = WRITES[what]()
        while data:
            data = data[os.write(CHANNEL, data) :]
    elif what in ("ready_for_ever", "results_for_ever", "flood"):
        globals()[what]()
    elif what == "from_thread":
        # In the middle of the worker's own frames, as likely as not.
        threading.Thread(target=lambda: os.write(CHANNEL, b"\xff" * 50_000), daemon=True).start()
        return Analysis.benign(comments=["x" * 1_000_000])
    if end == "wait":
        time.sleep(600)
    if end == "die":
        os._exit(1)
    return Analysis.benign(comments=[what])
