"""What crosses to an engine's processes and back: values here, messages there.

Integers of more than 64 bits, which msgpack has not, cross as text: a bid in digits beside its analysis, a bounty with
such bounds or such an id as its JSON.
"""

from __future__ import annotations

from typing import Final

import msgspec

from psengine_host.analysis import Analysis, AnalysisMetadata
from psengine_host.bounty import Bounty
from psengine_host.engines.found import Registration

__all__ = [
    "CARRIED",
    "bounty_of",
    "name_of",
    "plain",
    "registered",
    "registration_of",
    "sent_bounty",
    "sent_name",
    "with_bid",
    "without_long_bid",
]

CARRIED: Final = 1 << 16
"""Bytes of an artifact that cross in the message itself; more are in a file."""
_WORD: Final = 1 << 63


def sent_name(name: str) -> bytes:
    """What is sent of a name, which may hold undecodable bytes as lone surrogates."""
    return name.encode("utf-8", "surrogatepass")


def name_of(sent: bytes) -> str:
    """The name that was sent."""
    return sent.decode("utf-8", "surrogatepass")


def sent_bounty(bounty: Bounty) -> Bounty | bytes:
    """What is sent of a bounty: itself, or its JSON where msgpack has no integers of its size."""
    rules = bounty.rules
    number = bounty.id
    if rules.max_allowed_bid < _WORD and (type(number) is str or -_WORD < number < _WORD):  # type: ignore[operator]
        return bounty
    return b"%d" % bounty.file_allowed + bounty.encode()


def bounty_of(sent: Bounty | bytes) -> Bounty:
    """The bounty that was sent."""
    return sent if isinstance(sent, Bounty) else Bounty.decode(sent[1:], file_allowed=sent[:1] == b"1")


def plain(analysis: Analysis) -> Analysis:
    """The analysis itself, or what it says where its class is the engine's own, which may have anything besides."""
    metadata = analysis.metadata
    if type(analysis) is Analysis and type(metadata) is AnalysisMetadata:
        return analysis
    return Analysis(
        verdict=analysis.verdict,
        bid=analysis.bid,
        confidence=analysis.confidence,
        vendor=analysis.vendor,
        author=analysis.author,
        metadata=AnalysisMetadata(
            product=metadata.product,
            malware_family=metadata.malware_family,
            comments=metadata.comments,
            heuristic=metadata.heuristic,
            scanner=metadata.scanner,
        ),
    )


def without_long_bid(analysis: Analysis) -> tuple[Analysis, str | None]:
    """An analysis as msgpack can have it, and its bid in digits where that is too long."""
    if analysis.bid is None or analysis.bid < _WORD:
        return analysis, None
    return msgspec.structs.replace(analysis, bid=None), str(analysis.bid)


def with_bid(analysis: Analysis, bid: str | None) -> Analysis:
    """The analysis with the bid that was sent beside it.

    Raises:
        ValueError: Those are no digits, or too many.
        InvalidAnalysis: It cannot have that bid.
    """
    return analysis if bid is None else msgspec.structs.replace(analysis, bid=int(bid))


def registered(registration: Registration) -> tuple[str, str, str, str, str]:
    """What is sent of a registration."""
    return (
        registration.name,
        registration.value,
        registration.group,
        registration.distribution,
        registration.version,
    )


def registration_of(sent: tuple[str, str, str, str, str]) -> Registration:
    """The registration that was sent."""
    return Registration(*sent)
