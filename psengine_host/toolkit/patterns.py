"""Names and what stands for them, found in what a scanner printed.

Every pattern is searched once, from the beginning of the text or from where the one before ended: the time grows with
the length of the text, whatever is in it, as long as the patterns themselves are harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from psengine_host.errors import EngineError, one_line, shown

__all__ = ["PatternError", "find_named"]

Regex = str | re.Pattern[str]


class PatternError(EngineError):
    """A pattern that cannot be searched; the message names it."""


def find_named(
    text: str,
    patterns: Mapping[str, Regex] | Iterable[Regex],
    *,
    in_order: bool = False,
    fold_spaces: bool = False,
) -> dict[str, str]:
    r"""Find what several patterns name in a text.

    Patterns that are text have ``re.MULTILINE``: ``^`` and ``$`` are the ends of lines. Compiled ones keep their flags.
    A line that ends as in Windows ends with ``\n`` alone before anything is searched.

    Args:
        text: What to search.
        patterns: By name: a pattern with one group, whose text is the value, or with none, and its whole match is. Or
            patterns with named groups, ``(?P<name>...)``; each group that took part in the match is a value.
        in_order: Whether each pattern is searched from where the last match ended, in the order they are given. One
            that is not found is passed over.
        fold_spaces: Whether a run of blanks and tabs counts as one blank, in the text and in patterns that are text.
            The values come out so, too. Line ends are kept.

    Returns:
        By name, the value of its first match. A name that several patterns have is that of the first of them, as they
        are given, that is found. Names that are not found are not there.

    Raises:
        PatternError: A pattern is no regular expression, is one for bytes, or has not the groups it needs.
        TypeError: The text is not text, or the patterns are one piece of text.
    """
    if not isinstance(text, str):
        raise TypeError(f"find_named searches text, not {type(text).__name__}; decode it first")
    if isinstance(patterns, (str, bytes, re.Pattern)):
        raise TypeError(f"find_named takes patterns by name, or a list of them, not one {type(patterns).__name__}")
    text = text.replace("\r\n", "\n")
    if fold_spaces:
        text = _folded(text)
    found: dict[str, str] = {}
    position = 0
    for name, pattern in list(_compiled(patterns, fold_spaces=fold_spaces)):
        match = pattern.search(text, position if in_order else 0)
        if match is None:
            continue
        position = match.end()
        for key, value in [(name, match[pattern.groups])] if name is not None else match.groupdict().items():
            if value is not None:
                found.setdefault(key, value)
    return found


def _compiled(
    patterns: Mapping[str, Regex] | Iterable[Regex], *, fold_spaces: bool
) -> Iterator[tuple[str | None, re.Pattern[str]]]:
    """Each pattern, compiled and checked, with its name; without one where it has named groups."""
    if isinstance(patterns, Mapping):
        for name, regex in patterns.items():
            pattern = _compile(regex, f"pattern {shown(name)}", fold_spaces=fold_spaces)
            if pattern.groups > 1:
                message = f"pattern {shown(name)} has {pattern.groups} groups, and one at most can be the value"
                raise PatternError(f"{message}; write (?:...) for the others: {shown(pattern.pattern)}")
            yield name, pattern
        return
    for number, regex in enumerate(patterns, 1):
        pattern = _compile(regex, f"pattern {number}", fold_spaces=fold_spaces)
        if not pattern.groupindex:
            raise PatternError(f"pattern {number} has no named group; write (?P<name>...): {shown(pattern.pattern)}")
        yield None, pattern


def _compile(regex: Regex, which: str, *, fold_spaces: bool) -> re.Pattern[str]:
    if isinstance(regex, re.Pattern):
        if not isinstance(regex.pattern, str):
            raise PatternError(f"{which} is for bytes, and what is searched is text: {shown(regex.pattern)}")
        return regex
    if not isinstance(regex, str):
        raise PatternError(f"{which} is no regular expression: {shown(regex)}")
    try:
        return re.compile(_folded(regex) if fold_spaces else regex, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        reason = str(error) if isinstance(error, re.error) else one_line(error)
        raise PatternError(f"{which} is no regular expression: {reason}: {shown(regex)}") from error


def _folded(text: str) -> str:
    # Only what changes is replaced: most blanks stand alone.
    return re.sub(r"[ \t]{2,}|\t", " ", text)
