"""What a Google-style docstring says: what the function does, and what each argument is."""

from __future__ import annotations

import dataclasses
import re

__all__ = ["Description", "describe"]

_SECTION = re.compile(
    r"(args|arguments|parameters|keyword args|keyword arguments|other parameters|attributes|returns?|yields?|raises|"
    r"warns|warnings?|notes?|examples?|references|see also|todo|tip|important):",
    re.IGNORECASE,
)
"""The section headers of the Google style (those that Sphinx's napoleon takes)."""

_ARGUMENTS = frozenset(
    {"args", "arguments", "parameters", "keyword args", "keyword arguments", "other parameters"},
)

_ARGUMENT = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)")
"""``name: text``, ``name (type): text`` or ``*names: text``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Description:
    """What a docstring says.

    Attributes:
        text: Everything before the first section, paragraphs kept; empty without a docstring.
        arguments: What each argument is, on one line each, by the name it has in the signature.
    """

    text: str
    arguments: dict[str, str]


def describe(docstring: str | None) -> Description:
    """Take a docstring apart.

    Args:
        docstring: As ``inspect.getdoc`` returns it: without the indentation of the code; or None.

    Returns:
        Its text and its arguments. Text that follows no style at all is text.
    """
    text: list[str] = []
    arguments: dict[str, list[str]] = {}
    section: str | None = None
    indent: int | None = None
    current: list[str] | None = None
    for line in (docstring or "").splitlines():
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        if depth == 0 and _SECTION.fullmatch(stripped):
            section, indent, current = stripped[:-1].lower(), None, None
        elif section is None:
            text.append(line)
        elif section in _ARGUMENTS and stripped:
            indent = depth if indent is None else indent
            entry = _ARGUMENT.fullmatch(stripped) if depth <= indent else None
            if entry is not None:
                current = arguments.setdefault(entry["name"], [])
                current.append(entry["text"])
            elif current is not None:
                current.append(stripped)
    return Description(
        "\n".join(text).strip(),
        {name: " ".join(filter(None, lines)) for name, lines in arguments.items()},
    )
