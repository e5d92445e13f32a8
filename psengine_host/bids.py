"""Bids: what an engine stakes on its answer, exact integers of wei (1 NCT = 10**18 wei).

No float ever touches a bid: a scale's value is turned into an exact ratio first and the division rounds down, so a bid
is never above the maximum, over any range.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from psengine_host.bid_policies import BidPolicy
from psengine_host.bounty import BountyRules
from psengine_host.errors import InvalidBid, nearest

__all__ = [
    "DNI_SCALE",
    "WEI_PER_NCT",
    "BidPolicy",
    "bid_by_policy",
    "confidence_to_bid",
    "dni_to_bid",
    "maximum_bid",
    "median_bid",
    "minimum_bid",
    "nct_to_wei",
    "rescale_to_bid",
    "wei_to_nct",
]

WEI_PER_NCT: Final = 10**18

Number = int | float | Decimal | Fraction

_MAX_WEI: Final = (1 << 256) - 1
"""Amounts are uint256 on the chain."""
_MAX_EXPONENT: Final = 400
"""Powers of ten of a decimal at most: beyond every float and every amount, and cheap to compute with exactly."""

DNI_SCALE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "almost no chance": 5,
        "remote": 5,
        "very unlikely": 15,
        "highly improbable": 15,
        "unlikely": 30,
        "improbable": 30,
        "roughly even chance": 50,
        "roughly even odds": 50,
        "likely": 70,
        "probable": 70,
        "very likely": 85,
        "highly probable": 85,
        "almost certain": 95,
        "nearly certain": 95,
    }
)
"""Terms of likelihood -> 0-100.

Source: Intelligence Community Directive 203, *Analytic Standards*, section D.6.e(2)(a).
"""

_DNI_VARIANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "improbably": "improbable",
        "probably": "probable",
        "almost certainly": "almost certain",
        "very improbable": "highly improbable",
        "very probable": "highly probable",
    }
)
"""Other spellings: those in brackets in the directive's own table, and two that people mix up."""

_NOT_SPECIFIED: Final = "not specified"


def minimum_bid(rules: BountyRules) -> int:
    """The lowest bid taken, in wei."""
    return rules.min_allowed_bid


def median_bid(rules: BountyRules) -> int:
    """The middle of the range, rounded down, in wei."""
    return (rules.min_allowed_bid + rules.max_allowed_bid) // 2


def maximum_bid(rules: BountyRules) -> int:
    """The highest bid taken, in wei."""
    return rules.max_allowed_bid


def rescale_to_bid(value: Number, rules: BountyRules, low: Number = 0, high: Number = 100) -> int:
    """A value of a linear scale as a bid.

    ``min + (value - low) * (max - min) / (high - low)``, exact, rounded down.

    Args:
        value: From ``low`` to ``high``, both inclusive.
        rules: The bounds of the bid, in wei.
        low: Lower end of the scale; becomes the minimum bid.
        high: Upper end of the scale; becomes the maximum bid.

    Returns:
        The bid in wei, never below the minimum, never above the maximum.

    Raises:
        InvalidBid: The value lies outside the scale or is no finite number, or the scale is empty.
    """
    exact, bottom, top = _exact("value", value), _exact("low", low), _exact("high", high)
    if bottom >= top:
        raise InvalidBid("low", low, f"must be below the scale's high end ({high})")
    if not bottom <= exact <= top:
        raise InvalidBid("value", value, f"must be from {low} to {high}")
    share = (exact - bottom) / (top - bottom)
    span = rules.max_allowed_bid - rules.min_allowed_bid
    return rules.min_allowed_bid + span * share.numerator // share.denominator


def confidence_to_bid(confidence: float, rules: BountyRules) -> int:
    """A confidence of 0.0 to 1.0 as a bid in wei, exact.

    The same as ``rescale_to_bid(confidence, rules, 0, 1)``, faster.

    Args:
        confidence: From 0.0 to 1.0.
        rules: The bounds of the bid, in wei.

    Raises:
        InvalidBid: The confidence lies outside 0.0 to 1.0.
    """
    if not isinstance(confidence, (float, int)) or isinstance(confidence, bool):
        raise InvalidBid("confidence", confidence, "must be a number")
    if not 0.0 <= confidence <= 1.0:  # false for NaN as well
        raise InvalidBid("confidence", confidence, "must be from 0.0 to 1.0")
    numerator, denominator = confidence.as_integer_ratio()
    span = rules.max_allowed_bid - rules.min_allowed_bid
    return rules.min_allowed_bid + span * numerator // denominator


def dni_to_bid(term: str, rules: BountyRules) -> int | None:
    """A term of likelihood as a bid.

    Args:
        term: One of the seven steps of ICD 203 by either of its names (``"Very Likely"``, ``"highly probable"``), or
            both as the scale's table writes them (``"Very Likely / Highly Probable"``); case, spaces, hyphens and
            underscores do not matter. ``"not specified"`` is taken too.
        rules: The bounds of the bid, in wei.

    Returns:
        The bid in wei, or None for "not specified": then no bid is given and the host's policy applies.

    Raises:
        InvalidBid: No such term; the nearest is named.
    """
    if not isinstance(term, str):
        raise InvalidBid("term", term, "must be a string")
    steps = {_dni_step(part, term) for part in term.split("/")}
    if len(steps) != 1:
        raise InvalidBid("term", term, "names more than one step of the scale")
    step = steps.pop()
    return None if step is None else rescale_to_bid(step, rules)


def bid_by_policy(policy: BidPolicy, confidence: float | None, rules: BountyRules) -> int:
    """The bid for an answer whose engine gave none, in wei.

    Args:
        policy: How to compute it.
        confidence: The engine's confidence, 0.0 to 1.0, or None.
        rules: The bounds of the bid, in wei.

    Raises:
        InvalidBid: There is no such policy, or the confidence lies outside 0.0 to 1.0.
    """
    if policy is BidPolicy.CONFIDENCE:
        return rules.min_allowed_bid if confidence is None else confidence_to_bid(confidence, rules)
    if policy is BidPolicy.MINIMUM:
        return minimum_bid(rules)
    if policy is BidPolicy.MEDIAN:
        return median_bid(rules)
    if policy is BidPolicy.MAXIMUM:
        return maximum_bid(rules)
    raise InvalidBid("policy", policy, f"must be a BidPolicy ({', '.join(BidPolicy)})")


def nct_to_wei(nct: str | Decimal | Fraction | float) -> int:
    """An amount of NCT in wei, exact.

    Args:
        nct: The amount. A string or a Decimal is taken by its digits; a float by its shortest decimal form
            (``0.0625`` is 62500000000000000 wei, ``0.1`` is exactly 10**17).

    Raises:
        InvalidBid: It is no finite number, negative, finer than one wei, or more than 2**256 - 1 wei.
    """
    exact = _exact("nct", nct)
    if isinstance(nct, float):
        exact = Fraction(Decimal(float.__repr__(nct)))  # a subclass, such as numpy's, has a repr of its own
    wei = exact * WEI_PER_NCT
    if wei < 0:
        raise InvalidBid("nct", nct, "must not be negative")
    if wei > _MAX_WEI:
        raise InvalidBid("nct", nct, "must be at most 2**256 - 1 wei")
    if wei.denominator != 1:
        raise InvalidBid("nct", nct, "is finer than one wei (10**-18 NCT)")
    return wei.numerator


def wei_to_nct(wei: int) -> Decimal:
    """An amount of wei in NCT, exact.

    Args:
        wei: The amount, at least 0.

    Raises:
        InvalidBid: It is no integer, negative, or more than 2**256 - 1.
    """
    if type(wei) is not int or not 0 <= wei <= _MAX_WEI:
        raise InvalidBid("wei", wei, "must be an integer from 0 to 2**256 - 1")
    return Decimal(wei).scaleb(-18, Context(prec=max(1, len(str(wei)))))


def _dni_step(part: str, term: str) -> int | None:
    words = " ".join(part.replace("-", " ").replace("_", " ").split()).casefold()
    if words == _NOT_SPECIFIED:
        return None
    step = DNI_SCALE.get(_DNI_VARIANTS.get(words, words))
    if step is None:
        raise InvalidBid("term", term, f"is no term of the scale{nearest(words, [*DNI_SCALE, _NOT_SPECIFIED])}")
    return step


def _exact(field: str, value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal, Fraction)):
        raise InvalidBid(field, value, "must be a number")
    try:
        number = Decimal(value) if isinstance(value, str) else value
        if isinstance(number, Decimal) and number.is_finite() and _digits(number) > _MAX_EXPONENT:
            raise InvalidBid(field, value, f"must lie between 10**-{_MAX_EXPONENT} and 10**{_MAX_EXPONENT}")
        return Fraction(number)
    except (ValueError, OverflowError, InvalidOperation):
        raise InvalidBid(field, value, "must be a finite number") from None


def _digits(number: Decimal) -> int:
    """How far the first or the last digit is from the decimal point, at most: what an exact ratio would cost."""
    last = number.as_tuple().exponent
    return max(abs(number.adjusted()), abs(last) if isinstance(last, int) else 0)
