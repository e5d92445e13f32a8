"""The plugin host for malware-scanning engines: what an engine's author imports, and :class:`Host` for programs.

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from psengine_host.analysis import Analysis, AnalysisMetadata, EngineInfo, Scanner, ScannerEnvironment, Verdict
    from psengine_host.artifacts import Artifact
    from psengine_host.bounty import ArtifactType, Bounty, BountyRules, Phase
    from psengine_host.errors import ArtifactError, EngineError, PsengineError
    from psengine_host.hookspecs import Context, hookimpl
    from psengine_host.host import Host
    from psengine_host.outcome import Failure, FailureKind, Outcome

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "AnalysisMetadata",
    "Artifact",
    "ArtifactError",
    "ArtifactType",
    "Bounty",
    "BountyRules",
    "Context",
    "EngineError",
    "EngineInfo",
    "Failure",
    "FailureKind",
    "Host",
    "Outcome",
    "Phase",
    "PsengineError",
    "Scanner",
    "ScannerEnvironment",
    "Verdict",
    "hookimpl",
]

_ROOMS: Final = {
    "analysis": ("Analysis", "AnalysisMetadata", "EngineInfo", "Scanner", "ScannerEnvironment", "Verdict"),
    "artifacts": ("Artifact",),
    "bounty": ("ArtifactType", "Bounty", "BountyRules", "Phase"),
    "errors": ("ArtifactError", "EngineError", "PsengineError"),
    "hookspecs": ("Context", "hookimpl"),
    "host": ("Host",),
    "outcome": ("Failure", "FailureKind", "Outcome"),
}


def __getattr__(name: str) -> object:
    for room, names in _ROOMS.items():
        if name in names:
            value: object = getattr(import_module(f"psengine_host.{room}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'psengine_host' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
