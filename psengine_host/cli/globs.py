"""``--include`` and ``--exclude``: patterns for the names of files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["is_empty", "matcher"]


def is_empty(pattern: str) -> bool:
    """Whether a pattern can match no file, because there is nothing in it.

    Args:
        pattern: The pattern.
    """
    return not pattern.removeprefix("./").removeprefix("/")


def matcher(patterns: Iterable[str]) -> Callable[[str, str], bool] | None:
    """One function for several patterns.

    A pattern without a slash is matched against the base name; one with a slash against the path relative to the
    folder that was given (a slash in front only says so). ``*`` and ``?`` do not cross a slash, ``**`` does, and
    ``**/`` stands for no folder too. ``[a-z]`` and ``[!a-z]`` are sets. A leading dot is nothing special: malware
    likes hidden files. Upper and lower case differ.

    Args:
        patterns: The patterns; a file matches if one of them does.

    Returns:
        A function of the base name and the relative path; None without patterns.
    """
    names: list[str] = []
    paths: list[str] = []
    for pattern in patterns:
        bare = pattern.removeprefix("./")
        (paths if "/" in bare else names).append(_translated(bare.removeprefix("/")))
    by_name = re.compile("|".join(names)).fullmatch if names else None
    by_path = re.compile("|".join(paths)).fullmatch if paths else None
    if by_name is not None and by_path is not None:
        return lambda name, path: by_name(name) is not None or by_path(path) is not None
    if by_name is not None:
        return lambda name, path: by_name(name) is not None  # noqa: ARG005
    if by_path is not None:
        return lambda name, path: by_path(path) is not None  # noqa: ARG005
    return None


def _translated(pattern: str) -> str:
    """The regular expression of one pattern, for ``fullmatch``."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**/", position) and (position == 0 or pattern[position - 1] == "/"):
            parts.append("(?:[^/]+/)*")
            position += 3
        elif pattern.startswith("**", position):
            parts.append("(?s:.*)")
            position += 2
        elif pattern[position] == "*":
            parts.append("[^/]*")
            position += 1
        elif pattern[position] == "?":
            parts.append("[^/]")
            position += 1
        elif pattern[position] == "[" and (end := _end_of_set(pattern, position)) is not None:
            parts.append(_translated_set(pattern[position + 1 : end]))
            position = end + 1
        else:
            parts.append(re.escape(pattern[position]))
            position += 1
    return "(?:" + "".join(parts) + ")"


def _end_of_set(pattern: str, start: int) -> int | None:
    """Where the set that begins at ``start`` ends; None if it does not, and the bracket means itself."""
    first = start + 2 if pattern.startswith("[!", start) else start + 1
    end = pattern.find("]", first + 1)  # a bracket that stands first is a member
    return None if end < 0 else end


def _translated_set(members: str) -> str:
    """``[a-z]`` without its brackets; a range that runs backwards holds nothing, as in a shell."""
    negated = members.startswith("!")
    members = members[1:] if negated else members
    ranges: list[str] = []
    position = 0
    while position < len(members):
        low = high = members[position]
        if members[position + 1 : position + 2] == "-" and position + 2 < len(members):
            high = members[position + 2]
            position += 2
        position += 1
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    inside = "".join(ranges)
    if negated:
        return f"[^/{inside}]"
    return f"(?!/)[{inside}]" if inside else "(?!)"
