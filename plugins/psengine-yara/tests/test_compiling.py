"""Compiling, and what becomes of compiled rules from one start to the next."""

import json
import os
from datetime import UTC, datetime

import pytest
from psengine_yara import compiling
from psengine_yara.compiling import DamagedRules, compile_files, key_of, load, prepare
from psengine_yara.sources import RuleFile

TODAY = datetime.now(UTC).date()


def rule(name="sample", condition="filesize > 3", meta="", namespace=None):
    section = f"meta: {meta}" if meta else ""
    text = f"rule {name} {{ {section} condition: {condition} }}"
    return RuleFile(namespace or f"{name}.yar", f"/rules/{namespace or name}.yar", text)


def names(rules, data=b"four"):
    return sorted((each.namespace, each.identifier) for each in rules.scan(data).matching_rules)


def blobs(folder):
    return sorted(path.name for path in folder.glob("rules-*.yarx"))


@pytest.fixture
def compiled(monkeypatch):
    """How many times rules were compiled."""
    calls = []

    def counting(files):
        calls.append(len(files))
        return compile_files(files)

    monkeypatch.setattr(compiling, "compile_files", counting)
    return calls


def test_two_files_may_have_a_rule_of_the_same_name():
    rules, files, skipped = compile_files([rule(namespace="a"), rule(namespace="b")])
    assert names(rules) == [("a", "sample"), ("b", "sample")]
    assert (len(files), skipped) == (2, [])


def test_a_broken_file_is_named_with_line_and_reason_and_skipped_as_a_whole():
    broken = RuleFile("b", "/rules/broken.yar", "rule fine { condition: true }\nrule bad { condition: $missing }\n")
    rules, files, skipped = compile_files([rule(), broken, rule("other")])
    assert names(rules) == [("other.yar", "other"), ("sample.yar", "sample")]
    assert [file.namespace for file in files] == ["sample.yar", "other.yar"]
    assert [str(each) for each in skipped] == [
        "/rules/broken.yar: line 2: unknown pattern `$missing` (this pattern is not declared in the `strings` section)"
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no rule at all", "line 1: syntax error (expecting import statement or rule definition)"),
        ('\nimport "magic"\nrule a { condition: true }', "line 2: unknown module `magic`"),
        ('include "/etc/passwd"', "line 1: include statements not allowed"),
        ("rule a { condition: x }\nrule b { condition: y }", "line 1: unknown identifier `x`"),
        ("rule a { condition: true }\nrule a { condition: true }", "line 2: duplicate rule `a`"),
    ],
)
def test_each_kind_of_error_is_one_line(text, reason):
    _, _, skipped = compile_files([RuleFile("a", "a.yar", text)])
    assert skipped[0].reason.startswith(reason)
    assert "\n" not in skipped[0].reason


def test_further_errors_of_a_file_are_counted():
    _, _, skipped = compile_files([RuleFile("a", "a.yar", "rule a { condition: x }\nrule b { condition: y }")])
    assert skipped[0].reason.endswith("; 1 more errors")


def test_private_and_global_rules_do_what_they_say_within_their_file():
    gated = RuleFile(
        "gated", "gated.yar", "global private rule gate { condition: filesize > 10 } rule in_it { condition: true }"
    )
    rules, _, _ = compile_files([gated, rule("free", "true")])
    assert names(rules) == [("free.yar", "free")]
    assert names(rules, b"more than ten") == [("free.yar", "free"), ("gated", "in_it")]


def test_rules_with_the_usual_external_variables_compile():
    rules, _, skipped = compile_files([rule(condition='filename == "" and filepath == "" and extension != "exe"')])
    assert skipped == []
    assert names(rules) == [("sample.yar", "sample")]


def test_expressions_in_yaras_own_looser_syntax_compile():
    _, _, skipped = compile_files([RuleFile("a", "a", "rule a { strings: $a = /foo{}bar\\R/ condition: $a }")])
    assert skipped == []


# --- kept -----------------------------------------------------------------------------------------------------------


def test_a_second_start_compiles_nothing(tmp_path, compiled):
    first = prepare([rule()], tmp_path)
    second = prepare([rule()], tmp_path)
    assert compiled == [1]
    assert first == second
    assert names(load(tmp_path, second.blob, second.sha256)) == [("sample.yar", "sample")]


@pytest.mark.parametrize(
    "changed",
    [
        [rule(condition="filesize > 4")],
        [rule(), rule("another")],
        [rule(namespace="moved")],
        [],
    ],
)
def test_other_rules_are_compiled(tmp_path, compiled, changed):
    prepare([rule()], tmp_path)
    prepare(changed, tmp_path)
    assert compiled == [1, len(changed)]


def test_another_yara_x_compiles_anew(monkeypatch):
    key = key_of([rule()])
    monkeypatch.setattr(compiling, "version", lambda _: "99.0")
    assert key_of([rule()]) != key


def test_rebuild_compiles_although_nothing_changed(tmp_path, compiled):
    prepare([rule()], tmp_path)
    prepare([rule()], tmp_path, rebuild=True)
    assert compiled == [1, 1]


def test_what_was_skipped_is_known_at_the_second_start_too(tmp_path, compiled):
    files = [rule(), RuleFile("b", "broken.yar", "rule")]
    assert prepare(files, tmp_path).skipped == prepare(files, tmp_path).skipped
    assert prepare(files, tmp_path).skipped[0].source == "broken.yar"
    assert len(compiled) == 1


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


@pytest.mark.parametrize("suffix", [".yarx", ".json"])
@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-9]), os.unlink],
    ids=["flipped", "emptied", "truncated", "removed"],
)
def test_a_damaged_file_is_compiled_again_not_trusted(tmp_path, compiled, suffix, damage):
    first = prepare([rule()], tmp_path)
    (kept,) = tmp_path.glob(f"rules-*{suffix}")
    damage(kept)
    second = prepare([rule()], tmp_path)
    assert compiled == [1, 1]
    assert names(load(tmp_path, second.blob, second.sha256)) == [("sample.yar", "sample")]
    assert second.key == first.key


def test_a_manifest_that_names_another_file_is_not_trusted(tmp_path, compiled):
    folder = tmp_path / "state"
    manifest = prepare([rule()], folder)
    (tmp_path / "elsewhere").write_bytes((folder / manifest.blob).read_bytes())
    (kept,) = folder.glob("rules-*.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "blob": "../elsewhere"}))
    assert prepare([rule()], folder).blob == manifest.blob
    assert compiled == [1, 1]


def test_loading_refuses_other_content_and_says_where(tmp_path):
    manifest = prepare([rule()], tmp_path)
    flip(tmp_path / manifest.blob)
    with pytest.raises(DamagedRules, match=r"rules-\w+\.yarx: its content is not what was written"):
        load(tmp_path, manifest.blob, manifest.sha256)


def test_no_part_of_a_file_is_ever_seen_and_nothing_is_left_over(tmp_path, monkeypatch):
    prepare([rule()], tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        prepare([rule("other")], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_old_rule_sets_are_swept_and_the_one_in_use_stays(tmp_path):
    in_use = prepare([rule()], tmp_path)
    for number in range(9):
        prepare([rule(f"other{number}")], tmp_path)
        for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (1_000_000 + age, 1_000_000 + age))
        prepare([rule()], tmp_path)  # as a restart does
    assert len(blobs(tmp_path)) == 4
    assert in_use.blob in blobs(tmp_path)


# --- versions and metadata --------------------------------------------------------------------------------------------


def test_the_version_is_the_newest_date_and_the_content(tmp_path):
    files = [
        rule("a", meta='date = "2024-03-09"'),
        rule("b", meta='date = "2025-01-31"'),
        rule("c", meta='date = "9999-01-01"'),
    ]
    manifest = prepare(files, tmp_path)
    assert manifest.signatures_version == f"2025.01.31-{manifest.content[:8]}"


def test_equal_rules_have_an_equal_version_wherever_they_are(tmp_path):
    meta = 'date = "2024-03-09"'
    here = prepare([rule("a", meta=meta, namespace="x"), rule("b", meta=meta, namespace="y")], tmp_path)
    there = prepare([rule("b", meta=meta, namespace="p"), rule("a", meta=meta, namespace="q")], tmp_path)
    assert here.signatures_version == there.signatures_version
    assert here.key != there.key


def test_rules_without_a_date_are_of_the_day_they_were_compiled(tmp_path):
    assert TODAY <= prepare([rule(meta='date = "last summer"')], tmp_path).released <= datetime.now(UTC).date()


def test_metadata_that_cannot_be_taken_is_a_warning_of_its_rule(tmp_path):
    manifest = prepare([rule(meta='verdict = "evil" confidence = 700')], tmp_path)
    verdict, confidence = manifest.warnings
    assert str(verdict) == (
        "/rules/sample.yar: rule sample: verdict: must be one of malicious, suspicious, benign, informational, "
        "got 'evil'; taken as suspicious"
    )
    assert str(confidence) == (
        "/rules/sample.yar: rule sample: confidence: must be a whole number from 0 to 100 or a fraction from 0.0 to 1.0"
        ", got 700; 0.5 is taken"
    )
    assert (manifest.rules, manifest.files) == (1, 1)
