import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.cli.globs import matcher


def matches(pattern: str, path: str) -> bool:
    return matcher([pattern])(path.rpartition("/")[2], path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.exe", "a.exe"),
        ("*.exe", "deep/er/a.exe"),
        ("*.exe", ".exe"),
        ("*", ".hidden"),
        ("a?c", "x/abc"),
        ("/a.txt", "a.txt"),
        ("./a.txt", "a.txt"),
        ("docs/*.txt", "docs/a.txt"),
        ("**/a.txt", "a.txt"),
        ("**/a.txt", "x/y/a.txt"),
        ("docs/**", "docs/x/y"),
        ("docs/**/a.txt", "docs/a.txt"),
        ("docs/**/a.txt", "docs/x/y/a.txt"),
        ("**/x/**", "a/x/b"),
        ("a**z", "a b z"),
        ("[a-c]1", "b1"),
        ("[!a-c]1", "d1"),
        ("[]]", "]"),
        ("[!]]", "a"),
        ("[a-]", "-"),
        ("[", "["),
        ("a[b", "a[b"),
        ("(a|b)+$", "(a|b)+$"),
        ("*", "line\nbreak"),
        ("a\udcff*", "a\udcffb"),
        ("\\d", "\\d"),
    ],
)
def test_it_matches(pattern, path):
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.exe", "a.EXE"),
        ("*.exe", "a.exe.txt"),
        ("*.exe", "a.exe\n"),
        ("/a.txt", "x/a.txt"),
        ("docs/*.txt", "docs/x/a.txt"),
        ("docs/*.txt", "x/docs/a.txt"),
        ("docs/a?b", "docs/a/b"),
        ("docs/a[!x]b", "docs/a/b"),
        ("docs/a[/]b", "docs/a/b"),
        ("docs/a[.-0]b", "docs/a/b"),
        ("docs/**", "docs"),
        ("docs/**/a.txt", "docs/xa.txt"),
        ("**/a.txt", "xa.txt"),
        ("[a-c]1", "d1"),
        ("[c-a]", "b"),
        ("a.c", "abc"),
        ("", "a"),
    ],
)
def test_it_does_not_match(pattern, path):
    assert not matches(pattern, path)


def test_several_patterns_match_if_one_does():
    match = matcher(["*.exe", "docs/**", "*.dll"])
    assert match("a.dll", "x/a.dll")
    assert match("a.txt", "docs/a.txt")
    assert not match("a.txt", "x/a.txt")


def test_no_patterns_are_no_matcher():
    assert matcher([]) is None


@given(st.text("ab[]!-*?^\\.&|~\n"), st.text("ab[]!-^\\.&|~\n"))
def test_names_match_as_the_standard_library_says(pattern, name):
    assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@given(st.lists(st.text("a/[]!-*?^\\"), min_size=1))
def test_no_pattern_is_invalid(patterns):
    assert matcher(patterns)("a", "x/a") in (True, False)
