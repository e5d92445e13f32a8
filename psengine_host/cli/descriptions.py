"""What ``list-engines`` and ``info`` say of an engine."""

from __future__ import annotations

from typing import Any

from psengine_host.analysis import EngineInfo
from psengine_host.engines.found import BrokenEngine, FoundEngine

__all__ = ["describe_found", "describe_info"]


def describe_found(engine: FoundEngine | BrokenEngine) -> dict[str, Any]:
    """An engine of which nothing has been imported."""
    described: dict[str, Any] = {"name": engine.name, "distribution": engine.distribution, "version": engine.version}
    if isinstance(engine, BrokenEngine):
        return described | {"status": "broken", "reason": engine.reason}
    return described | {"status": "found"}


def describe_info(info: EngineInfo) -> dict[str, Any]:
    """What an engine says of itself; unset fields are left out."""
    described: dict[str, Any] = {
        "product": info.product,
        "vendor": info.vendor,
        "author": info.author,
        "engine_version": info.engine_version,
        "signatures_version": info.signatures_version,
        "signatures_date": None if info.signatures_date is None else info.signatures_date.isoformat(),
        "artifact_types": sorted(artifact_type.value for artifact_type in info.artifact_types),
        "mimetypes": sorted(info.mimetypes),
        "categories": sorted(info.categories),
        "max_artifact_size": info.max_artifact_size,
    }
    return {key: value for key, value in described.items() if value not in (None, [])}
