"""What the metadata of rules means."""

import pytest
import yara_x
from psengine_yara.verdicts import RuleVerdict, conclude, judge


def judgement(meta="", name="sample", tags=""):
    section = f"meta: {meta}" if meta else ""
    (rule,) = yara_x.compile(f"rule {name} {tags} {{ {section} condition: true }}")
    return judge(rule)


def analysis(*metas, confidence=0.5):
    return conclude([judgement(meta, f"rule{i}")[0] for i, meta in enumerate(metas)], no_match_confidence=confidence)


def test_a_rule_without_metadata_is_malicious_by_its_own_name():
    result, problems = judgement()
    assert (result.verdict, result.family, result.confidence, result.heuristic) == ("malicious", "sample", 0.75, None)
    assert problems == ()


@pytest.mark.parametrize("verdict", list(RuleVerdict))
def test_each_verdict_is_read_in_any_case(verdict):
    assert judgement(f'verdict = "{verdict.value.upper()}"') == judgement(f'verdict = "{verdict.value}"')
    assert judgement(f'verdict = " {verdict.value} "')[0].verdict is verdict


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0", 0.0),
        ("1", 0.01),
        ("80", 0.8),
        ("100", 1.0),
        ("0.0", 0.0),
        ("0.8", 0.8),
        ("1.0", 1.0),
        ('"85"', 0.85),
        ('"0.85"', 0.85),
    ],
)
def test_a_whole_number_is_percent_and_a_fraction_is_itself(written, meant):
    result, problems = judgement(f"confidence = {written}")
    assert result.confidence == pytest.approx(meant)
    assert problems == ()


@pytest.mark.parametrize("written", ["101", "-1", "1.5", "-0.1", '"high"', "true", '"nan"', '"1e400"', '"\\xff\\xfe"'])
def test_a_confidence_that_cannot_be_is_named_and_the_default_is_taken(written):
    result, (problem,) = judgement(f"confidence = {written}")
    assert result.confidence == 0.75
    assert problem.startswith("confidence: must be a whole number from 0 to 100 or a fraction from 0.0 to 1.0, got ")


@pytest.mark.parametrize("written", ['"evil"', "7", "true", '""', '"\\xff\\xfe"'])
def test_a_verdict_that_cannot_be_is_named_and_never_staked_on(written):
    result, (problem,) = judgement(f"verdict = {written}")
    assert result.verdict == "suspicious"
    assert problem.endswith("; taken as suspicious")


@pytest.mark.parametrize("key", ["family", "malware_family"])
def test_the_family_has_two_spellings(key):
    assert judgement(f'{key} = "Example"')[0].family == "Example"


@pytest.mark.parametrize("written", ["7", '""', '"  "', "true", '"\\xff\\xfe"'])
def test_a_family_that_is_no_text_is_named_and_the_rules_name_taken(written):
    result, (problem,) = judgement(f"family = {written}")
    assert result.family == "sample"
    assert problem.startswith("family: must be a text, got ")


def test_a_text_is_one_printable_line_of_at_most_200_characters():
    long = "x" * 300
    assert judgement('family = "a\\nb\\x1b[31mc"')[0].family == "a b[31mc"
    assert judgement(f'family = "{long}"')[0].family == long[:200]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("true", True), ("false", False), ("1", True), ("0", False), ('"Yes"', True), ('"no"', False)],
)
def test_heuristic_is_true_or_false(written, meant):
    assert judgement(f"heuristic = {written}") == (judgement(f"heuristic = {written}")[0], ())
    assert judgement(f"heuristic = {written}")[0].heuristic is meant


def test_a_heuristic_that_is_neither_is_left_out():
    result, (problem,) = judgement('heuristic = "maybe"')
    assert result.heuristic is None
    assert problem == "heuristic: must be true or false, got 'maybe'; it is left out"


def test_of_a_key_that_is_there_twice_the_first_counts():
    assert judgement('family = "First" family = "Second"')[0].family == "First"


# --- several rules --------------------------------------------------------------------------------------------------


def test_no_match_is_benign_with_the_confidence_of_the_settings():
    result = analysis(confidence=0.3)
    assert (result.verdict, result.confidence, result.comments) == ("benign", 0.3, ())


def test_informational_rules_only_give_comments():
    result = analysis('verdict = "informational" confidence = 99')
    assert (result.verdict, result.confidence) == ("benign", 0.5)
    assert result.comments == ("rule rule0",)


def test_the_strongest_verdict_wins_whatever_the_confidences():
    result = analysis(
        'verdict = "benign" confidence = 100',
        'verdict = "suspicious" confidence = 99 family = "Maybe"',
        'verdict = "malicious" confidence = 10 family = "Surely"',
    )
    assert (result.verdict, result.malware_family, result.confidence) == ("malicious", "Surely", 0.1)
    assert result.comments == ("rule rule2", "rule rule1", "rule rule0")


def test_among_equals_the_highest_confidence_wins():
    result = analysis(
        'confidence = 60 family = "Less" heuristic = false', 'confidence = 90 family = "More" heuristic = true'
    )
    assert (result.malware_family, result.confidence, result.metadata.heuristic) == ("More", 0.9, True)


def test_a_benign_rule_is_benign_with_its_own_confidence():
    assert analysis('verdict = "benign" confidence = 95').confidence == 0.95


def test_suspicious_takes_family_and_confidence_too():
    result = analysis('verdict = "suspicious" confidence = 40 family = "Odd"')
    assert (result.verdict, result.malware_family, result.confidence) == ("suspicious", "Odd", 0.4)


def test_comments_name_rule_tags_and_description():
    result, _ = judgement('description = "what it shows"', tags=": one two")
    assert conclude([result], no_match_confidence=0.5).comments == ("rule sample [one two]: what it shows",)


def test_many_matches_are_counted_beyond_32():
    result = analysis(*[""] * 40)
    assert len(result.comments) == 33
    assert result.comments[-1] == "and 8 more rules"
