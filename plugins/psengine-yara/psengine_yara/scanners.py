"""Scanners of YARA-X, each used and dropped by the thread that made it: another one's touch is an error there.

To make one for each scan takes about 0.1 ms with the pack, longer than most scans of small files, and to hand scans to
a thread of their own takes as long. So the main thread, where workers scan, keeps the scanner of the rules that it used
last; any other thread makes one for each scan. What the main thread keeps is in no session, so that sessions can be
closed, or forgotten, in any thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yara_x

__all__ = ["release", "scan"]

_kept: list[tuple[yara_x.Rules, yara_x.Scanner]] = []
"""At most one; only the main thread changes it, and it is the main thread that the interpreter ends in."""


def scan(rules: yara_x.Rules, data: bytes, seconds: int) -> yara_x.ScanResults:
    """Scan in the calling thread.

    Args:
        rules: The compiled rules.
        data: What to scan.
        seconds: How long it may take.

    Returns:
        The rules that match, and what YARA-X says beside.

    Raises:
        yara_x.TimeoutError: It took longer.
        yara_x.ScanError: YARA-X failed.
    """
    scanner = _kept_for(rules) if _in_main_thread() else _made(rules)
    try:
        scanner.set_timeout(seconds)
        return scanner.scan(data)
    finally:
        del scanner  # an error keeps local variables alive, and may end in another thread


def release(rules: yara_x.Rules) -> None:
    """Drop what is kept for rules that are done with.

    Args:
        rules: The compiled rules. In another thread than the main one nothing happens: that one drops its scanner when
            it scans with other rules, or ends.
    """
    if _in_main_thread() and _kept and _kept[0][0] is rules:
        _kept.clear()


def _in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _kept_for(rules: yara_x.Rules) -> yara_x.Scanner:
    if not _kept or _kept[0][0] is not rules:
        _kept[:] = [(rules, _made(rules))]
    return _kept[0][1]


def _made(rules: yara_x.Rules) -> yara_x.Scanner:
    import yara_x

    scanner = yara_x.Scanner(rules)
    # Which patterns matched is enough; where else they do is never shown.
    scanner.fast_scan(True)
    return scanner
