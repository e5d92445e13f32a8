"""The rule pack: every rule has a sample and a look-alike, and nothing on this machine is a hit."""

import os
import random
import re
import stat
import sys
import sysconfig
from datetime import date
from pathlib import Path

import pytest
import yara_x
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psengine_yara.sources import SUFFIXES
from psengine_yara.verdicts import RuleVerdict, conclude, judge

SYSTEM = ("/usr/bin", "/usr/lib", "/usr/share", "/etc")
SYSTEM_FILES = 4000
LARGEST = 16 << 20
PATTERN = re.compile(r"^\s+(\$\w+) = /(.*)/([is]*)(?: ascii| wide)*\s*$", re.MULTILINE)


def public_rules(pack):
    return {name for text in pack.texts for name in re.findall(r"^rule (\w+)", text, re.MULTILINE)}


def test_the_sample_is_matched(pair_of, pairs, pack):
    assert pair_of in {rule.identifier for rule in pack.matches(pairs[pair_of][0])}


def test_other_forms_of_it_are_matched(another, pack):
    rule, sample = another
    assert rule in {match.identifier for match in pack.matches(sample)}


def test_the_look_alike_is_not_matched_and_is_benign(pair_of, pairs, pack):
    matches = pack.matches(pairs[pair_of][1])
    assert pair_of not in {rule.identifier for rule in matches}
    assert conclude([judge(rule)[0] for rule in matches], no_match_confidence=0.5).verdict == "benign"


def test_every_rule_has_its_pair_and_every_pair_its_rule(pairs, pack):
    assert public_rules(pack) == set(pairs)


def test_there_are_at_least_25_rules_each_with_a_name_of_its_own(pack):
    assert len(public_rules(pack)) >= 25
    assert len(pack.names) == len(set(pack.names))


def test_every_rule_says_what_it_is(pack):
    rules, _ = compiled(pack)
    for rule in rules:
        if rule.identifier not in public_rules(pack):
            continue
        metadata = dict(rule.metadata)
        judgement, problems = judge(rule)
        assert problems == (), rule.identifier
        assert metadata.keys() >= {"description", "verdict", "family", "confidence", "author", "date"}, rule.identifier
        assert judgement.verdict == metadata["verdict"]
        assert judgement.family == metadata["family"] != rule.identifier
        assert judgement.description == metadata["description"], "a description of one line, at most 200 characters"
        assert date.fromisoformat(metadata["date"])
        assert rule.tags, rule.identifier


def compiled(pack):
    """The rules of the pack as YARA-X takes them at its strictest, and its warnings."""
    compiler = yara_x.Compiler(includes_enabled=False)
    for index, text in enumerate(pack.texts):
        compiler.new_namespace(str(index))
        compiler.add_source(text)
    warnings = compiler.warnings()
    return compiler.build(), warnings


def test_the_pack_is_strict_and_has_no_slow_pattern(pack):
    _, warnings = compiled(pack)
    # EICAR is written in hexadecimal on purpose.
    assert [warning["text"] for warning in warnings if warning["code"] != "text_as_hex"] == []


def test_no_rule_file_holds_what_a_scanner_would_remove(pairs, pack):
    for text in pack.texts:
        assert pairs["EICAR_Test_File"][0].strip() not in text.encode()


def test_neither_nothing_nor_zeros_nor_noise_of_a_samples_size_match(pair_of, pairs, pack):
    size = len(pairs[pair_of][0])
    for data in (b"", bytes(size), random.Random(size).randbytes(size)):
        assert [rule.identifier for rule in pack.matches(data)] == []


@pytest.mark.parametrize(
    "token", ["powershell ", "http://", "DDE ", "PK\x03\x04", "$_GET[", "<svg ", "<input ", "<Relationship ", "wget "]
)
def test_a_file_made_to_be_slow_is_scanned_in_bearable_time(pack, token):
    # About half a second: gaps in regular expressions are bounded tightly, for each start of a match pays for its gap.
    assert pack.matches(token.encode() * ((1 << 20) // len(token)), seconds=20) == ()


@pytest.mark.timeout(300)
def test_yara_x_takes_every_regular_expression_as_python_does(pack):
    # Some that are right by the book find nothing in YARA-X 1.23: repetitions that overlap with what follows them.
    patterns = [match for text in pack.texts for match in PATTERN.findall(text)]
    assert len(patterns) > 200
    for name, expression, flags in patterns:
        check_regular_expression(name, expression, flags)


def check_regular_expression(name, expression, flags):
    rules = yara_x.compile(f"rule r {{ strings: {name} = /{expression}/{flags} condition: {name} }}")
    python = re.compile(
        expression, re.ASCII | (re.IGNORECASE if "i" in flags else 0) | (re.DOTALL if "s" in flags else 0)
    )

    @settings(max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(st.from_regex(python, fullmatch=True, alphabet=st.characters(max_codepoint=255)))
    def is_found(text):
        data = text.encode("latin-1")
        # A word boundary at the end may need a character after it, or none.
        assert rules.scan(data).matching_rules or rules.scan(data + b"\n").matching_rules, (name, expression)

    is_found()


def regular_files(*roots):
    """Regular files under the roots, each once, without our own package and without other people's YARA rules."""
    ours = Path(__file__).resolve().parents[1]
    seen = set()
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "psengine_yara" and Path(folder, name) != ours)
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix in SUFFIXES:
                    continue
                try:
                    state = path.lstat()
                except OSError:
                    continue
                if (
                    stat.S_ISREG(state.st_mode)
                    and state.st_size <= LARGEST
                    and (state.st_dev, state.st_ino) not in seen
                ):
                    seen.add((state.st_dev, state.st_ino))
                    yield path


def hits(pack, paths):
    scanned, found = 0, []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError:
            continue
        scanned += 1
        found += [f"{rule.identifier}: {path}" for rule in pack.matches(data)]
    return scanned, found


@pytest.mark.timeout(300)
def test_no_system_file_is_a_hit(pack):
    paths = list(regular_files(*SYSTEM))
    chosen = random.Random(20261125).sample(paths, min(SYSTEM_FILES, len(paths)))
    scanned, found = hits(pack, chosen)
    assert found == []
    assert scanned > 100


@pytest.mark.timeout(300)
def test_no_file_of_pythons_library_is_a_hit(pack):
    paths = sysconfig.get_paths()
    scanned, found = hits(pack, regular_files(paths["stdlib"], paths["purelib"], sys.prefix + "/bin"))
    assert found == []
    assert scanned > 500


def test_the_page_lists_every_rule_with_its_verdict_and_confidence(pack):
    page = Path(__file__).resolve().parents[3] / "docs" / "reference" / "yara.md"
    if not page.exists():
        pytest.skip("the host's documentation is not here")
    rules, _ = compiled(pack)
    text = page.read_text()
    for rule in rules:
        if rule.identifier in public_rules(pack):
            said, _ = judge(rule)
            assert f"| `{said.rule}` | {said.verdict} | {said.confidence:g} | {said.description} |" in text
    assert text.count("\n| `") - len(public_rules(pack)) == text.partition("## The pack")[0].count("\n| `")
    assert f"{len(public_rules(pack))} rules" in text


def test_informational_rules_are_the_exception(pack):
    rules, _ = compiled(pack)
    verdicts = [judge(rule)[0].verdict for rule in rules if rule.identifier in public_rules(pack)]
    assert verdicts.count(RuleVerdict.INFORMATIONAL) <= 2
    assert verdicts.count(RuleVerdict.MALICIOUS) > len(verdicts) / 2
