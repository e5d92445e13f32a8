"""What each section of the settings is: a frozen value, valid from birth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from psengine_host.errors import SettingsError
from psengine_host.settings.kinds import Kind

__all__ = ["Section"]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings, each checked when it is made.

    Attributes:
        PREFIX: What its settings' names begin with: ``host.``, or nothing.
        KINDS: What each setting takes.
    """

    PREFIX: ClassVar[str] = ""
    KINDS: ClassVar[Mapping[str, Kind]] = {}

    def __post_init__(self) -> None:
        for (name, kind), default in zip(self.KINDS.items(), self.__struct_defaults__, strict=False):
            value = getattr(self, name)
            if value is not default:
                try:
                    kind.check(value)
                except ValueError as error:
                    raise SettingsError(f"{self.PREFIX}{name}: {error}") from None
