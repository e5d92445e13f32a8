"""A value that nothing shows by accident."""

from __future__ import annotations

from typing import Final

__all__ = ["MASK", "Secret"]

MASK: Final = "***"
"""What stands in the place of a secret, however long that is."""


class Secret:
    """A secret: its ``str``, ``repr`` and format are masked, so that no log, message or traceback tells it.

    Two secrets are equal where their values are. JSON and msgpack refuse it: what is to be written down is revealed
    first, on purpose. A pickle holds it, so that settings can be handed to a process of one's own.

    Args:
        value: The secret itself, not empty.

    Raises:
        ValueError: It is empty, or no text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise ValueError("a secret must be a text that is not empty")
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))
