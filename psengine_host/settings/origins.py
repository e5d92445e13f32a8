"""Where a setting's value comes from, and what is wrong with it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from psengine_host.errors import printable_name

__all__ = ["DEFAULT", "Origin", "Problem"]


class Origin(msgspec.Struct, frozen=True):
    """Where a value comes from.

    Attributes:
        layer: Which of the four layers.
        name: The file's path, the variable's name or the option's key; empty for a default.
    """

    layer: Literal["default", "file", "environment", "option"]
    name: str = ""

    def __str__(self) -> str:
        if self.layer == "option":
            return f"option {self.name}"
        return printable_name(self.name) if self.name else self.layer


DEFAULT: Final = Origin("default")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one setting.

    Attributes:
        origin: Where it was said.
        key: The setting, or empty where the file as a whole is meant.
        reason: What is wrong, and what it must be.
    """

    origin: Origin
    key: str
    reason: str

    def __str__(self) -> str:
        # An option's key says where it stands.
        where = f"{self.origin}: " if self.origin.layer != "option" else "option "
        return f"{where}{printable_name(self.key)}: {self.reason}" if self.key else f"{where}{self.reason}"
