"""From the metadata of the rules that matched to one analysis."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from psengine_host import Analysis

if TYPE_CHECKING:
    import yara_x

__all__ = ["Judgement", "RuleVerdict", "conclude", "judge"]


class RuleVerdict(enum.StrEnum):
    """What a match of a rule means; the value is the spelling in ``meta``. The strongest comes first."""

    MALICIOUS = "malicious"
    SUSPICIOUS = "suspicious"
    BENIGN = "benign"
    INFORMATIONAL = "informational"


_STRENGTH: Final[Mapping[RuleVerdict, int]] = {verdict: place for place, verdict in enumerate(RuleVerdict)}
_CONFIDENCE: Final[Mapping[RuleVerdict, float]] = {
    RuleVerdict.MALICIOUS: 0.75,
    RuleVerdict.SUSPICIOUS: 0.5,
    RuleVerdict.BENIGN: 0.75,
    RuleVerdict.INFORMATIONAL: 0.5,
}
"""Confidence of a rule that states none, or one that cannot be read."""
_MAX_TEXT: Final = 200
"""Characters of a family or description at most."""
_MAX_RULES: Final = 32
"""Matching rules that the comments name; the rest is counted."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule says when it matches.

    Args:
        rule: The rule's name.
        namespace: The namespace of its file.
        tags: Its tags.
        verdict: What a match means.
        family: The malware family; the rule's name where it states none.
        confidence: From 0.0 to 1.0.
        heuristic: Whether the rule is a heuristic, or None where it does not say.
        description: What the rule says of itself, or None.
    """

    rule: str
    namespace: str
    tags: tuple[str, ...]
    verdict: RuleVerdict
    family: str
    confidence: float
    heuristic: bool | None
    description: str | None


def judge(rule: yara_x.Rule) -> tuple[Judgement, tuple[str, ...]]:
    """Read a rule's metadata. Of a key that is there twice the first counts.

    Args:
        rule: A rule, of compiled rules or of a scan.

    Returns:
        What the rule says, and what is wrong with its metadata: one line for each value that was not taken.
    """
    values: dict[str, Any] = {}
    for key, value in rule.metadata:
        values.setdefault(key, _decoded(value))
    problems: list[str] = []
    verdict = _verdict(values.get("verdict"), problems)
    judgement = Judgement(
        rule=rule.identifier,
        namespace=rule.namespace,
        tags=tuple(rule.tags),
        verdict=verdict,
        family=_family(values, problems) or rule.identifier,
        confidence=_confidence(values.get("confidence"), verdict, problems),
        heuristic=_heuristic(values.get("heuristic"), problems),
        description=_text(values.get("description")),
    )
    return judgement, tuple(problems)


def conclude(judgements: Iterable[Judgement], *, no_match_confidence: float) -> Analysis:
    """One analysis of all rules that matched: the strongest verdict wins, among equals the highest confidence.

    Args:
        judgements: What the matching rules say.
        no_match_confidence: Confidence of ``benign`` when no rule, or only informational ones, matched.

    Returns:
        The analysis; its comments name the rules, strongest first.
    """
    ranked = sorted(judgements, key=lambda each: (_STRENGTH[each.verdict], -each.confidence, each.rule, each.namespace))
    comments = _comments(ranked)
    if not ranked or ranked[0].verdict is RuleVerdict.INFORMATIONAL:
        return Analysis.benign(confidence=no_match_confidence, comments=comments)
    first = ranked[0]
    if first.verdict is RuleVerdict.BENIGN:
        return Analysis.benign(confidence=first.confidence, comments=comments, heuristic=first.heuristic)
    make = Analysis.malicious if first.verdict is RuleVerdict.MALICIOUS else Analysis.suspicious
    return make(first.family, confidence=first.confidence, comments=comments, heuristic=first.heuristic)


def _comments(ranked: Sequence[Judgement]) -> list[str]:
    comments = []
    for judgement in ranked[:_MAX_RULES]:
        tags = f" [{' '.join(judgement.tags)}]" if judgement.tags else ""
        description = f": {judgement.description}" if judgement.description else ""
        comments.append(f"rule {judgement.rule}{tags}{description}")
    if len(ranked) > _MAX_RULES:
        comments.append(f"and {len(ranked) - _MAX_RULES} more rules")
    return comments


def _decoded(value: object) -> object:
    r"""A text that was written with ``\x`` escapes comes as bytes."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def _verdict(value: object, problems: list[str]) -> RuleVerdict:
    if value is None:
        return RuleVerdict.MALICIOUS
    try:
        return RuleVerdict(value.strip().lower() if isinstance(value, str) else "")
    except ValueError:
        # Not malicious: what nobody could read must not be staked on.
        problems.append(f"verdict: must be one of {', '.join(RuleVerdict)}, got {_shown(value)}; taken as suspicious")
        return RuleVerdict.SUSPICIOUS


def _family(values: Mapping[str, object], problems: list[str]) -> str | None:
    for key in ("family", "malware_family"):
        value = values.get(key)
        if value is None:
            continue
        text = _text(value)
        if text is not None:
            return text
        problems.append(f"{key}: must be a text, got {_shown(value)}; the rule's name is taken")
    return None


def _confidence(value: object, verdict: RuleVerdict, problems: list[str]) -> float:
    """Whole numbers are percent, numbers with a point are from 0.0 to 1.0; texts count as what is written in them."""
    number = value
    if isinstance(value, str):
        try:
            number = float(value) if "." in value else int(value)
        except ValueError:
            number = None
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 100:
        return number / 100
    if isinstance(number, float) and 0.0 <= number <= 1.0:
        return number
    default = _CONFIDENCE[verdict]
    if value is not None:
        problems.append(
            f"confidence: must be a whole number from 0 to 100 or a fraction from 0.0 to 1.0, got {_shown(value)}; "
            f"{default} is taken"
        )
    return default


def _heuristic(value: object, problems: list[str]) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    spelt = str(value).strip().lower()
    if spelt in {"true", "1", "yes"}:
        return True
    if spelt in {"false", "0", "no"}:
        return False
    problems.append(f"heuristic: must be true or false, got {_shown(value)}; it is left out")
    return None


def _text(value: object) -> str | None:
    """A text as one line of at most 200 characters, or None for anything else and for nothing."""
    if not isinstance(value, str):
        return None
    line = "".join(character for character in " ".join(value.split()) if character.isprintable())
    return line[:_MAX_TEXT] or None


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
