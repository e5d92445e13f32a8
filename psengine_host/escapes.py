"""Text from anywhere, made fit for one line of a terminal, a log or a table."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, keep: str = "") -> str:
    r"""The text on one line: control characters, line ends, bidirectional marks and undecodable bytes shown as escapes.

    Args:
        text: Any text; a file's name may hold bytes that are not UTF-8, which Python keeps as lone surrogates.
        keep: Characters that stay as they are.

    Returns:
        For example ``a\nb`` with a backslash and an n, and ``\xe9`` for an undecodable byte.
    """
    if text.isprintable():
        return text
    parts = []
    for character in text:
        if character.isprintable() or character in keep:
            parts.append(character)
        elif "\udc80" <= character <= "\udcff":
            parts.append(f"\\x{ord(character) - 0xDC00:02x}")
        else:
            parts.append(character.encode("unicode_escape", "surrogatepass").decode())
    return "".join(parts)
