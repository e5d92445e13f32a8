"""Windows programs under Wine: how they are run, what their paths are, and the server that they share."""

from psengine_host.toolkit.wine.errors import WineError, WineUnusable
from psengine_host.toolkit.wine.loader import available, command
from psengine_host.toolkit.wine.paths import as_nt_path, from_nt_path
from psengine_host.toolkit.wine.server import (
    WineserverStatus,
    ensure_wineserver,
    environment,
    kill_wineserver,
    start_persistent_wineserver,
    wineserver_status,
)

__all__ = [
    "WineError",
    "WineUnusable",
    "WineserverStatus",
    "as_nt_path",
    "available",
    "command",
    "ensure_wineserver",
    "environment",
    "from_nt_path",
    "kill_wineserver",
    "start_persistent_wineserver",
    "wineserver_status",
]
