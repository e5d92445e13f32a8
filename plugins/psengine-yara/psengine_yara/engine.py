"""The engine behind the hooks: rules made ready once a host, and scanned with in each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psengine_host import EngineError
from psengine_yara.compiling import DamagedRules, Manifest, compile_files, key_of, load, prepare
from psengine_yara.session import Session
from psengine_yara.settings import YaraSettings, misspelt, read_settings
from psengine_yara.sources import Skipped, Sources, from_folders, from_pack, from_packages

if TYPE_CHECKING:
    from psengine_host import Context

__all__ = ["collect", "make_ready", "open_rules"]

_REPORTED: Final = 50
"""Left-out sources that are logged and handed on one by one; the rest is counted."""


def collect(context: Context, settings: YaraSettings) -> Sources:
    """The rule files of all sources that the settings name.

    Args:
        context: The host's context of the engine.
        settings: The engine's settings.
    """
    sources = Sources()
    if settings.pack:
        from_pack(sources)
    listed = [part for part in (context.environment.get("RULES") or "").split(os.pathsep) if part]
    named = listed or ([settings.rules] if isinstance(settings.rules, str) else list(settings.rules))
    if named:
        from_folders(sources, [Path(path) for path in named])
    else:
        folder = context.environment.data_home / "rules"
        if folder.exists():
            sources.add_path(folder, str(folder))
    if settings.packages:
        from_packages(sources)
    return sources


def make_ready(context: Context, *, rebuild: bool = False) -> dict[str, Any]:
    """Compile the rules, or find them compiled, and log every source that had to be left out.

    Args:
        context: The host's context of the engine.
        rebuild: Compile even if compiled rules of these files are there.

    Returns:
        Plain data for :func:`open_rules`: where the compiled rules are, their hash, counts, and what was left out.

    Raises:
        EngineError: There is no rule at all, a setting cannot be, or the state directory cannot be written.
    """
    settings = read_settings(context.config)
    for key, meant in misspelt(context.config).items():
        context.logger.warning("[engines.yara] %s: no such setting; did you mean %r?", key, meant)
    sources = collect(context, settings)
    folder = context.environment.state_home
    try:
        manifest = prepare(sources.files, folder, rebuild=rebuild)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"{folder}: compiled rules cannot be written ({reason}); set YARA_STATE_HOME to a writable folder"
        raise EngineError(message) from error
    skipped = [*sources.skipped, *manifest.skipped]
    _log(context, "rules skipped", skipped)
    _log(context, "rule metadata", manifest.warnings)
    if not manifest.rules:
        first = f"; {len(skipped)} were skipped, the first: {skipped[0]}" if skipped else ""
        raise EngineError(f"there is no rule to scan with: set YARA_RULES to a folder of rules{first}")
    context.logger.info(
        "%d rules of %d files are ready, version %s", manifest.rules, manifest.files, manifest.signatures_version
    )
    return _shared(folder, manifest, skipped)


def _shared(folder: Path, manifest: Manifest, skipped: list[Skipped]) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "blob": manifest.blob,
        "sha256": manifest.sha256,
        "key": manifest.key,
        "signatures_version": manifest.signatures_version,
        "signatures_date": manifest.released.isoformat(),
        "rules": manifest.rules,
        "files": manifest.files,
        "skipped": [{"source": each.source[:500], "reason": each.reason[:500]} for each in skipped[:_REPORTED]],
        "skipped_count": len(skipped),
    }


def _log(context: Context, what: str, problems: list[Skipped] | tuple[Skipped, ...]) -> None:
    for problem in problems[:_REPORTED]:
        context.logger.warning("%s: %s", what, problem)
    if len(problems) > _REPORTED:
        context.logger.warning("%s: %d more like these", what, len(problems) - _REPORTED)


def open_rules(context: Context) -> Session:
    """Load the rules that :func:`make_ready` left.

    Where they are gone or damaged the rule files are compiled again in memory, but only if they still are the same: all
    workers of one generation scan with the same rules.

    Args:
        context: The host's context, with what :func:`make_ready` returned as ``context.shared``.

    Returns:
        The session, to be used in a ``with`` block.

    Raises:
        EngineError: The compiled rules cannot be used, and the rule files are not what they were.
    """
    settings = read_settings(context.config)
    shared: Mapping[str, Any] = context.shared
    try:
        rules = load(Path(shared["folder"]), shared["blob"], shared["sha256"])
    except DamagedRules as damage:
        files = collect(context, settings).files
        if key_of(files) != shared["key"]:
            message = f"{damage}, and the rule files have changed since; run 'psengine update', or start again"
            raise EngineError(message) from damage
        context.logger.warning("%s; compiled again in memory", damage)
        rules, _, _ = compile_files(files)
    return Session(rules, settings, shared["signatures_version"], shared["signatures_date"])
