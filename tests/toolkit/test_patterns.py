import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.errors import EngineError
from psengine_host.toolkit.patterns import PatternError, find_named

OUTPUT = """\
Scanner 4.2.1  (engine 7.88)
Signatures:\t2024-05-01, 12 345 678 records

C:\\samples\\a.exe   infected:  Trojan.Win32.Kido
C:\\samples\\b.exe   infected:  Worm.Blaster
Scanned: 2
"""


class TestByName:
    def test_a_group_is_the_value_and_without_one_the_whole_match(self):
        patterns = {
            "engine": r"engine ([\d.]+)",
            "date": r"\d{4}-\d\d-\d\d",
            "count": re.compile(r"SCANNED: (\d+)", re.IGNORECASE),
        }
        assert find_named(OUTPUT, patterns) == {"engine": "7.88", "date": "2024-05-01", "count": "2"}

    def test_the_first_match_counts(self):
        assert find_named(OUTPUT, {"name": r"infected: +(\S+)"}) == {"name": "Trojan.Win32.Kido"}

    def test_what_is_not_found_is_not_there(self):
        assert find_named(OUTPUT, {"licence": "licence: (.*)", "count": r"Scanned: (\d+)"}) == {"count": "2"}

    def test_an_empty_match_is_a_match_and_a_group_that_took_no_part_is_none(self):
        assert find_named("x=\n", {"x": "x=(.*)", "y": "x=(y)?"}) == {"x": ""}

    def test_groups_that_do_not_capture_are_free(self):
        assert find_named("b 2", {"n": r"(?:a|b) (\d)"}) == {"n": "2"}

    def test_of_two_groups_none_is_chosen(self):
        with pytest.raises(PatternError) as caught:
            find_named("", {"date": r"(\d+)-(\d+)"})
        assert str(caught.value) == (
            r"pattern 'date' has 2 groups, and one at most can be the value; write (?:...) for the others: "
            r"'(\\d+)-(\\d+)'"
        )


class TestNamedGroups:
    def test_each_is_a_value(self):
        patterns = [
            r"^Scanner (?P<version>\S+) +\(engine (?P<engine>[^)]+)\)$",
            r"^(?P<file>\S+) +infected: +(?P<name>.+)$",
        ]
        assert find_named(OUTPUT, patterns) == {
            "version": "4.2.1",
            "engine": "7.88",
            "file": "C:\\samples\\a.exe",
            "name": "Trojan.Win32.Kido",
        }

    def test_the_first_pattern_that_is_found_gives_a_name_that_several_have(self):
        patterns = ["suspected: (?P<name>.*)", "infected: +(?P<name>.*)", "Scanned: (?P<name>.*)"]
        assert find_named(OUTPUT, patterns) == {"name": "Trojan.Win32.Kido"}

    def test_a_group_that_took_no_part_is_not_there(self):
        assert find_named("b", iter(["(?P<a>a)|(?P<b>b)"])) == {"b": "b"}

    def test_other_groups_do_not_matter(self):
        assert find_named("ab", ["(a)(?P<b>b)"]) == {"b": "b"}

    def test_without_one_there_is_no_name(self):
        with pytest.raises(PatternError) as caught:
            find_named("", ["(?P<a>a)", "Scanned: (.*)"])
        assert str(caught.value) == "pattern 2 has no named group; write (?P<name>...): 'Scanned: (.*)'"


class TestLines:
    def test_carets_and_dollars_are_ends_of_lines_also_of_windows(self):
        text = "version: 1\r\nresult: bad\r\n"
        assert find_named(text, {"result": "^result: (.*)$", "version": "^version: (.*)$"}) == {
            "result": "bad",
            "version": "1",
        }

    def test_compiled_patterns_keep_their_flags(self):
        assert find_named("a\nb", {"b": re.compile("^b"), "all": re.compile("a.b", re.DOTALL)}) == {"all": "a\nb"}


class TestInOrder:
    TEXT = "name: first\nsize: 1\nname: second\nsize: 2\n"

    def test_each_is_searched_after_the_one_before(self):
        patterns = {"first": "name: (.*)", "size": "size: (.*)", "second": "name: (.*)", "last": "size: (.*)"}
        assert find_named(self.TEXT, patterns, in_order=True) == {
            "first": "first",
            "size": "1",
            "second": "second",
            "last": "2",
        }
        assert find_named(self.TEXT, patterns)["second"] == "first"

    def test_what_stands_before_is_not_found_any_more(self):
        assert find_named(self.TEXT, {"size": "size: 2", "name": "name: (.*)"}, in_order=True) == {"size": "size: 2"}

    def test_one_that_is_not_found_is_passed_over(self):
        patterns = [r"(?P<a>name: \w+)", "(?P<b>missing)", r"(?P<c>name: \w+)"]
        assert find_named(self.TEXT, patterns, in_order=True) == {"a": "name: first", "c": "name: second"}

    def test_a_caret_is_a_line_s_beginning_there_too(self):
        assert find_named("a a\na", {"x": "a", "y": "^a"}, in_order=True) == {"x": "a", "y": "a"}
        assert find_named("aa", {"x": "a", "y": "^a"}, in_order=True) == {"x": "a"}


class TestFoldSpaces:
    def test_a_blank_is_any_run_of_blanks_and_tabs(self):
        patterns = {"name": r"a.exe infected: (\S+)", "date": "^Signatures: ([^,]+)"}
        assert find_named(OUTPUT, patterns) == {}
        assert find_named(OUTPUT, patterns, fold_spaces=True) == {"name": "Trojan.Win32.Kido", "date": "2024-05-01"}

    def test_a_run_in_a_pattern_is_one_too(self):
        assert find_named("a \t b", {"x": "a \t  b", "y": "a   b"}, fold_spaces=True) == {"x": "a b", "y": "a b"}

    def test_values_come_out_folded_and_lines_stay(self):
        assert find_named("x:  a\t\tb  \n  c", {"x": "x: (.*)"}, fold_spaces=True) == {"x": "a b "}

    def test_a_compiled_pattern_is_taken_as_it_is(self):
        patterns = {"x": re.compile("a  b"), "y": re.compile("a b")}
        assert find_named("a  b", patterns, fold_spaces=True) == {"y": "a b"}

    @given(st.text(alphabet=" \tab\n", max_size=40))
    def test_folding_is_that_of_every_run(self, text):
        expected = re.sub("[ \t]+", " ", text)
        assert find_named(text, {"all": re.compile(r"\A.*\Z", re.DOTALL)}, fold_spaces=True) == {"all": expected}


class TestErrors:
    @pytest.mark.parametrize(
        ("patterns", "message"),
        [
            ({"name": "(a"}, "'name' is no regular expression: missing ), unterminated subpattern at position 0: '(a'"),
            (["(?P<a>a)", "*"], "2 is no regular expression: nothing to repeat at position 0: '*'"),
            (
                {"n": "a{9999999999}"},
                "'n' is no regular expression: OverflowError: the repetition number is too large: 'a{9999999999}'",
            ),
            ({"name": b"a"}, "'name' is no regular expression: b'a'"),
            ({"name": None}, "'name' is no regular expression: None"),
            ({"name": re.compile(b"a")}, "'name' is for bytes, and what is searched is text: b'a'"),
        ],
    )
    def test_a_bad_pattern_is_named(self, patterns, message):
        with pytest.raises(PatternError) as caught:
            find_named(OUTPUT, patterns)
        assert str(caught.value) == f"pattern {message}"
        assert isinstance(caught.value, EngineError)

    def test_a_bad_pattern_is_named_also_where_one_before_is_not_found(self):
        with pytest.raises(PatternError, match="pattern 'b'"):
            find_named("", {"a": "a", "b": "("})

    def test_a_pattern_nested_too_deeply(self):
        with pytest.raises(PatternError, match="pattern 'deep' is no regular expression: RecursionError: "):
            find_named("", {"deep": "(?:" * 5000 + ")" * 5000})

    def test_a_huge_pattern_makes_a_short_message(self):
        with pytest.raises(PatternError) as caught:
            find_named("", {"huge": "(" + "a" * 1_000_000})
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("patterns", ["(?P<a>a)", b"a", re.compile("(?P<a>a)")])
    def test_one_pattern_is_no_list(self, patterns):
        with pytest.raises(TypeError, match="takes patterns by name, or a list of them, not one "):
            find_named("a", patterns)

    @pytest.mark.parametrize("text", [b"a", None, bytearray(b"a")])
    def test_bytes_are_not_searched(self, text):
        with pytest.raises(TypeError, match=r"find_named searches text, not \w+; decode it first"):
            find_named(text, {"a": "a"})


@pytest.mark.parametrize(
    "text",
    [
        " " * 10_000_000,
        " \t" * 5_000_000,
        "\r\n" * 5_000_000,
        "infected: " * 1_000_000,
        "\0" * 10_000_000,
        "x" * 10_000_000,
    ],
    ids=["blanks", "tabs", "lines", "beginnings", "nul", "x"],
)
@pytest.mark.parametrize("in_order", [False, True])
def test_ten_megabytes_take_no_longer_than_their_length(text, in_order):
    patterns = {"name": r"infected: (\w+)$", "version": r"version (\d+)", "end": "the end"}
    began = time.process_time()
    assert find_named(f"{text}\nthe end\n", patterns, in_order=in_order, fold_spaces=True) == {"end": "the end"}
    assert time.process_time() - began < 20  # squared, it would be days


def test_ten_thousand_patterns_in_order_do_not_copy_the_text():
    text = "".join(f"n{number}=v{number}\n" for number in range(10_000)) + "x" * 10_000_000
    patterns = {f"n{number}": re.compile(f"n{number}=(.*)") for number in range(0, 10_000, 10)}
    began = time.process_time()
    found = find_named(text, patterns, in_order=True)
    assert found == {f"n{number}": f"v{number}" for number in range(0, 10_000, 10)}
    assert time.process_time() - began < 20
