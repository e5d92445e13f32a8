"""What goes wrong with Wine."""

from __future__ import annotations

from psengine_host.errors import EngineError

__all__ = ["NoWine", "WineError"]


class WineError(EngineError):
    """Wine cannot be used as it is set up; an engine may let it pass, since it is an :class:`EngineError`."""


class NoWine(WineError):
    """There is no Wine on this machine."""
