"""What goes wrong with Wine."""

from __future__ import annotations

from psengine_host.errors import EngineError

__all__ = ["WineError", "WineUnusable"]


class WineError(EngineError):
    """Wine cannot be used as it is set up; an engine may let it pass, since it is an :class:`EngineError`."""


class WineUnusable(WineError):
    """Wine is not installed, is named wrongly, or refuses its prefix: nothing can be run until that is put right."""
