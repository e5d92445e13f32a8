"""``psengine commands yara``."""

import pytest

from psengine_host import EngineError

OWN = (
    'rule own : tag { meta: family = "Own" note = 7 condition: filesize == 3 } private rule hidden { condition: true }'
)


@pytest.fixture
def commands(running, places):
    folder = places / "data" / "rules"
    folder.mkdir()
    (folder / "own.yar").write_text(OWN)

    def of(**config):
        return {each.__name__: each for each in running(**config).commands()}

    return of


def test_there_are_two_with_descriptions(commands):
    offered = commands()
    assert list(offered) == ["scan_file", "rules"]
    assert all(function.__doc__ for function in offered.values())


def test_scan_file_names_the_rules_with_tags_and_metadata(commands, places):
    file = places / "three"
    file.write_bytes(b"abc")
    (found,) = commands()["scan_file"](file)
    assert found == {
        "rule": "own",
        "namespace": f"{places}/data/rules/own.yar",
        "source": f"{places}/data/rules/own.yar",
        "tags": ["tag"],
        "verdict": "malicious",
        "family": "Own",
        "confidence": 0.75,
        "metadata": {"family": "Own", "note": 7},
    }


def test_scan_file_of_a_file_without_hits_is_empty(commands, places):
    file = places / "four"
    file.write_bytes(b"abcd")
    assert commands()["scan_file"](file) == []


def test_scan_file_says_what_is_wrong_with_the_file(commands, places):
    scan_file = commands(max_artifact_size=10)["scan_file"]
    (places / "large").write_bytes(bytes(11))
    with pytest.raises(EngineError, match="missing: no such file or directory"):
        scan_file(places / "missing")
    with pytest.raises(EngineError, match="data: is a directory"):
        scan_file(places / "data")
    with pytest.raises(
        EngineError, match=r"large: is larger than 10 bytes; raise max_artifact_size in \[engines.yara\]"
    ):
        scan_file(places / "large")


def test_rules_lists_every_rule_with_its_source(commands, places):
    listed = commands()["rules"]()
    by_name = {each["rule"]: each for each in listed}
    assert by_name["own"]["source"] == f"{places}/data/rules/own.yar"
    assert by_name["EICAR_Test_File"]["namespace"] == "pack/eicar.yar"
    assert by_name["EICAR_Test_File"]["source"].endswith("psengine_yara/pack/eicar.yar")
    assert by_name["EICAR_Test_File"]["tags"] == ["test"]
    assert "hidden" in by_name
    assert all("metadata" not in each for each in listed)


def test_rules_names_namespaces_where_the_files_have_changed(commands, places):
    offered = commands()
    (places / "data/rules/own.yar").write_text("rule other { condition: true }")
    by_name = {each["rule"]: each for each in offered["rules"]()}
    assert by_name["own"]["source"] == f"{places}/data/rules/own.yar"
    assert by_name["EICAR_Test_File"]["source"] == "pack/eicar.yar"
