"""Settings: ``psengine.toml``, the environment and options as one frozen value, read once and handed down."""

from psengine_host.settings.kinds import LONGEST_TIMEOUT
from psengine_host.settings.origins import Origin
from psengine_host.settings.secret import Secret
from psengine_host.settings.sections import (
    BidSettings,
    CelerySettings,
    HostSettings,
    LogSettings,
    NetworkSettings,
    Settings,
    SpoolSettings,
    WebhookSettings,
    config_path,
)
from psengine_host.settings.workers import WorkerSettings

__all__ = [
    "LONGEST_TIMEOUT",
    "BidSettings",
    "CelerySettings",
    "HostSettings",
    "LogSettings",
    "NetworkSettings",
    "Origin",
    "Secret",
    "Settings",
    "SpoolSettings",
    "WebhookSettings",
    "WorkerSettings",
    "config_path",
]
