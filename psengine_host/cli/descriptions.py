"""What ``list-engines`` and ``info`` say of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psengine_host.engines.found import BrokenEngine, FoundEngine

if TYPE_CHECKING:  # listing engines is to cost next to nothing
    from psengine_host.analysis import EngineInfo

__all__ = ["describe_found", "describe_info"]


def describe_found(engine: FoundEngine | BrokenEngine) -> dict[str, Any]:
    """An engine of which nothing has been imported.

    Args:
        engine: The engine.

    Returns:
        ``name``, ``distribution``, ``version``, ``status`` (``found`` or ``broken``), ``reason`` (None unless broken)
        and ``artifact_types`` (None: only the loaded engine knows).
    """
    broken = isinstance(engine, BrokenEngine)
    return {
        "name": engine.name,
        "distribution": engine.distribution,
        "version": engine.version,
        "status": "broken" if broken else "found",
        "reason": engine.reason if isinstance(engine, BrokenEngine) else None,
        "artifact_types": None,
    }


def describe_info(info: EngineInfo) -> dict[str, Any]:
    """What an engine says of itself.

    Args:
        info: What its ``info`` hook returned.

    Returns:
        Product, vendor, versions and what it takes; what it does not say is left out.
    """
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
