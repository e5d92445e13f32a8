"""The engine behind the hooks: rules made ready once a host, and scanned with in each worker."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psengine_host import EngineError
from psengine_yara.compiling import DamagedRules, Manifest, compile_files, key_of, load, prepare
from psengine_yara.settings import YaraSettings, misspelt, read_settings
from psengine_yara.sources import Skipped, Sources, from_folders, from_pack, from_packages
from psengine_yara.verdicts import Judgement, judge

if TYPE_CHECKING:
    import yara_x

    from psengine_host import Context

__all__ = ["Session", "collect", "make_ready", "open_rules"]

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
    # Not context.environment alone: YARA_RULES is a list of paths, which none of the host's variables is.
    listed = [part for part in os.environ.get("YARA_RULES", "").split(os.pathsep) if part]
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


@dataclass(slots=True)
class Session:
    """Loaded rules and what to scan with.

    Attributes:
        rules: The compiled rules.
        settings: The engine's settings.
        signatures_version: Version of the rules.
        signatures_date: Day of the rules, ISO.
    """

    rules: yara_x.Rules
    settings: YaraSettings
    signatures_version: str
    signatures_date: str
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def scan(self, data: bytes, *, name: str, deadline: float | None = None) -> tuple[Judgement, ...]:
        """What the rules that match say.

        Args:
            data: The artifact's bytes. Not its path: YARA-X maps files, and one that is cut short meanwhile would end
                the process.
            name: What to call the artifact in messages.
            deadline: On the monotonic clock, when the answer must be there.

        Returns:
            One judgement a matching rule; private rules are not among them.

        Raises:
            EngineError: The scan took too long, or YARA-X failed.
        """
        import yara_x

        limit = self.settings.scan_timeout
        if deadline is not None:
            limit = min(limit, deadline - time.monotonic())
        if limit <= 0:
            raise EngineError(f"{name}: no time was left to scan it")
        scanner = self._scanner()
        seconds = max(1, int(limit))  # YARA-X takes whole seconds
        scanner.set_timeout(seconds)
        try:
            results = scanner.scan(data)
        except yara_x.TimeoutError as error:
            message = (
                f"{name}: the scan of {len(data)} bytes took longer than {seconds} s; "
                "raise scan_timeout in [engines.yara], or find the slow rule"
            )
            raise EngineError(message) from error
        except yara_x.ScanError as error:
            raise EngineError(f"{name}: the scan failed: {' '.join(str(error).split())}") from error
        return tuple(judge(rule)[0] for rule in results.matching_rules)

    def _scanner(self) -> yara_x.Scanner:
        """This thread's scanner: YARA-X panics when one is used by another thread than made it."""
        import yara_x

        scanner: yara_x.Scanner | None = getattr(self._local, "scanner", None)
        if scanner is None:
            scanner = yara_x.Scanner(self.rules)
            # Which patterns matched is enough; where else they do is never shown.
            scanner.fast_scan(True)
            self._local.scanner = scanner
        return scanner


def open_rules(context: Context) -> Session:
    """Load the rules that :func:`make_ready` left.

    Where they are gone or damaged the rule files are compiled again in memory, but only if they still are the same: all
    workers of one generation scan with the same rules.

    Args:
        context: The host's context, with what :func:`make_ready` returned as ``context.shared``.

    Returns:
        The session.

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
