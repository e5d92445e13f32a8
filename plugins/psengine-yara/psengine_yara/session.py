"""What a worker scans with: loaded rules, and the settings for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from psengine_host import EngineError
from psengine_yara.scanners import release, scan
from psengine_yara.settings import YaraSettings
from psengine_yara.verdicts import Judgement, judge

if TYPE_CHECKING:
    import yara_x

__all__ = ["Session"]


@dataclass(frozen=True, slots=True)
class Session:
    """Loaded rules and what to scan with; for any number of threads, and closed in whichever.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        release(self.rules)

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
        seconds = max(1, int(limit))  # YARA-X takes whole seconds
        try:
            results = scan(self.rules, data, seconds)
        except yara_x.TimeoutError as error:
            message = (
                f"{name}: the scan of {len(data)} bytes took longer than {seconds} s; "
                "raise scan_timeout in [engines.yara], or find the slow rule"
            )
            raise EngineError(message) from error
        except yara_x.ScanError as error:
            raise EngineError(f"{name}: the scan failed: {' '.join(str(error).split())}") from error
        return tuple(judge(rule)[0] for rule in results.matching_rules)
