"""The table ``[engines.yara]``."""

import pytest
from psengine_yara.settings import YaraSettings, misspelt, read_settings

from psengine_host import EngineError


def test_an_empty_table_gives_the_defaults():
    assert read_settings({}) == YaraSettings()


def test_what_is_set_is_read_and_the_hosts_own_keys_are_left_alone():
    settings = read_settings({"rules": ("a", "b"), "pack": False, "scan_timeout": 5, "workers": 4})
    assert (settings.rules, settings.pack, settings.scan_timeout) == (("a", "b"), False, 5.0)
    assert misspelt({"rules": "a", "workers": 4}) == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rules": 7}, r"\[engines.yara\] rules: expected `str \| array`, got `int`"),
        ({"pack": "yes"}, r"\[engines.yara\] pack: expected `bool`, got `str`"),
        ({"max_artifact_size": 0}, r"\[engines.yara\] max_artifact_size: expected `int` >= 1"),
        ({"max_artifact_size": 1.5}, r"\[engines.yara\] max_artifact_size: expected `int`, got `float`"),
        ({"scan_timeout": 0}, r"\[engines.yara\] scan_timeout: expected `float` > 0.0"),
        ({"no_match_confidence": 1.5}, r"\[engines.yara\] no_match_confidence: expected `float` <= 1.0"),
    ],
)
def test_a_value_that_cannot_be_is_named(config, message):
    with pytest.raises(EngineError, match=message):
        read_settings(config)


def test_a_misspelt_key_is_told_from_one_of_the_hosts():
    assert misspelt({"rule": "a", "max_artefact_size": 1, "interpreter": "x"}) == {
        "rule": "rules",
        "max_artefact_size": "max_artifact_size",
    }
