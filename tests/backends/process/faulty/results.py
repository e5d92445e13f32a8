"""Answers what its artifact names: right, wrong, too much, or nothing that can be sent."""

import decimal
import enum
import os
import signal
import threading
import types
from collections.abc import Mapping
from datetime import date

import msgspec

from psengine_host import Analysis, EngineError, Verdict, hookimpl
from psengine_host.analysis import AnalysisMetadata


class Lying(Mapping):
    def __getitem__(self, key):
        raise SystemExit(4)

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 1


class Text(str):
    def __str__(self):
        raise RuntimeError("nobody is to look at this")


class Number(int):
    pass


class Colour(enum.Enum):
    RED = "malicious"


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("neither at this")

    __repr__ = __str__


class SubAnalysis(Analysis, frozen=True):
    more: object = None


def wire(**fields):
    return {"verdict": "malicious", **fields}


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def cyclic():
    value = {}
    value["metadata"] = value
    return value


def forced(field, value):
    """An analysis that was tampered with after its birth."""
    analysis = Analysis.malicious("Family")
    msgspec.structs.force_setattr(analysis, field, value)
    return analysis


def forced_metadata(value):
    metadata = AnalysisMetadata()
    msgspec.structs.force_setattr(metadata, "comments", value)
    return forced("metadata", metadata)


def raising(error):
    raise error


def blowing_up():
    return blowing_up()


def die_while_sending(size):
    """The kill comes when the main thread is in the middle of the send, or a little before or after it."""
    threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return Analysis.benign(comments=["x" * size])


ANSWERS = {
    # What keeps the contract.
    "mapping": lambda: wire(metadata={"malware_family": "Family", "confidence": 0.5}, bid=10**17),
    "proxy": lambda: types.MappingProxyType(wire(metadata={"malware_family": "Family"})),
    "text_subclass": lambda: wire(vendor=Text("Vendor")),
    "long_bid": lambda: Analysis.malicious("Family", bid=10**30),
    "longest_bid": lambda: Analysis.malicious("Family", bid=2**256 - 1),
    "bid_of_64_bits": lambda: Analysis.malicious("Family", bid=2**63),
    "bid_of_65_bits": lambda: Analysis.malicious("Family", bid=2**64),
    "subclass": lambda: SubAnalysis(verdict=Verdict.MALICIOUS, more=object()),
    "200_KB": lambda: Analysis.benign(comments=["é" * 100_000]),
    "nearly_too_long": lambda: Analysis.benign(comments=["x" * 1_040_000]),
    "control_characters": lambda: Analysis.malicious("A\x00\x1b[2J\n\u202eB"),
    "unknown_keys": lambda: wire(metadata={"x": object(), "malware_family": "Family"}, y=deep()),
    # What does not.
    "none": lambda: None,
    "text": lambda: "malicious",
    "verdict": lambda: Verdict.MALICIOUS,
    "true": lambda: True,
    "number": lambda: 1.5,
    "list": lambda: [Analysis.benign()],
    "generator": lambda: (Analysis.benign() for _ in range(1)),
    "class": lambda: Analysis,
    "object": object,
    "empty": dict,
    "lying": Lying,
    "cyclic": cyclic,
    "deep": lambda: wire(metadata=deep()),
    "deep_comments": lambda: wire(metadata={"comments": deep()}),
    "unknown_verdict": lambda: {"verdict": "evil"},
    "enum_verdict": lambda: {"verdict": Colour.RED},
    "nan_confidence": lambda: wire(confidence=float("nan")),
    "infinite_confidence": lambda: wire(confidence=float("inf")),
    "bool_confidence": lambda: wire(confidence=True),
    "decimal_confidence": lambda: wire(confidence=decimal.Decimal("0.5")),
    "bool_bid": lambda: wire(bid=True),
    "bid_subclass": lambda: wire(bid=Number(10**17)),
    "float_bid": lambda: wire(bid=1e18),
    "text_bid": lambda: wire(bid="1000000000000000000"),
    "negative_bid": lambda: wire(bid=-1),
    "bid_over_maximum": lambda: wire(bid=10**19),
    "bid_under_minimum": lambda: wire(bid=1),
    "bid_of_5000_digits": lambda: wire(bid=10**5_000),
    "lone_surrogate": lambda: Analysis.malicious("\ud800"),
    "date_family": lambda: wire(metadata={"malware_family": date(2026, 1, 1)}),
    "10_MB": lambda: Analysis.benign(comments=["x" * 10_000_000]),
    "10_MB_mapping": lambda: wire(metadata={"comments": ["x" * 1_000] * 10_000}),
    "10_MB_forced": lambda: forced_metadata(("x" * 10_000_000,)),
    "2_MB_forced": lambda: forced_metadata(("x" * 1_000_000, "y" * 1_000_000)),
    "unserialisable": lambda: forced_metadata((object(),)),
    "surrogate_forced": lambda: forced_metadata(("\ud800",)),
    "bid_forced": lambda: forced("bid", "garbage"),
    "verdict_forced": lambda: forced("verdict", "evil"),
    "confidence_forced": lambda: forced("confidence", float("nan")),
    "vendor_forced": lambda: forced("vendor", 5),
    # What raises.
    "engine_error": lambda: raising(EngineError("the scanner said no")),
    "unspeakable": lambda: raising(Unspeakable()),
    "long_message": lambda: raising(RuntimeError("x" * 10_000_000)),
    "surrogate_message": lambda: raising(RuntimeError("\ud800")),
    "keyboard_interrupt": lambda: raising(KeyboardInterrupt()),
    "generator_exit": lambda: raising(GeneratorExit()),
    "base_exception": lambda: raising(BaseException("base")),
    "stop_iteration": lambda: raising(StopIteration()),
    "group": lambda: raising(BaseExceptionGroup("several", [SystemExit(1), ValueError()])),
    "memory": lambda: raising(MemoryError()),
    "recursion": blowing_up,
    # What dies.
    "die_while_sending": lambda: die_while_sending(200_000),
    "die_while_sending_1_MB": lambda: die_while_sending(1_000_000),
}


@hookimpl
def analyze(artifact):
    name = artifact.read_bytes().decode()
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(f"analyze {name}\n".encode())
    answer = ANSWERS.get(name)
    return Analysis.benign(comments=[name]) if answer is None else answer()
