"""The policies of a bid by name; apart from :mod:`psengine_host.bids`, so that settings load no arithmetic."""

from __future__ import annotations

import enum

__all__ = ["BidPolicy"]


class BidPolicy(enum.StrEnum):
    """How the host computes a bid where the engine gives none."""

    CONFIDENCE = "confidence"
    """The confidence rescaled into the bounty's range; without a confidence the minimum."""
    MINIMUM = "minimum"
    MEDIAN = "median"
    MAXIMUM = "maximum"
