"""Writes down what it does, in which process; ``slow`` waits until it may go on, ``sleep SECONDS`` takes that long."""

import os
import select
import time

from psengine_host import Analysis, hookimpl

JOURNAL = os.environ["JOURNAL"]


def note(*words):
    with open(JOURNAL, "ab", buffering=0) as journal:
        journal.write(" ".join(map(str, words)).encode() + b"\n")


@hookimpl
def open_session(context):
    note("open", os.getpid())
    yield os.getpid()
    note("close", os.getpid())


@hookimpl
def analyze(artifact, context, session):
    text = artifact.read_bytes().decode()
    note("analyze", session, os.getpid(), text)
    what, _, seconds = text.partition(" ")
    if what == "slow":
        with open(context.config["gate"], "rb", buffering=0) as gate:
            gate.read(1)
    elif what == "sleep":
        select.select([], [], [], float(seconds))
    elif what == "until-deadline":
        select.select([], [], [], max(0.0, context.deadline - time.monotonic()) + 600)
    return Analysis.benign(comments=[text, str(os.getpid())])
