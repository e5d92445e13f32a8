"""Windows programs under Wine: how they are run, what their paths are, and the server that they share."""

from psengine_host.toolkit.wine.errors import NoWine, WineError
from psengine_host.toolkit.wine.loader import available, command
from psengine_host.toolkit.wine.variables import environment

__all__ = ["NoWine", "WineError", "available", "command", "environment"]
