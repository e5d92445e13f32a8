"""The drives of a prefix: which letter stands for which folder.

Wine keeps them as links ``$WINEPREFIX/dosdevices/c:``; ``z::`` and ``com1`` beside them are devices. The table is read
once, and again when that folder has changed.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Drives", "drives_of"]

_DRIVE: Final = re.compile(r"[a-zA-Z]:")


class Drives(NamedTuple):
    """The drives of one prefix.

    Attributes:
        roots: Folder and drive (``"C:"``), longest folder first. A folder is there by its path without links, and
            by the one through the prefix as it was named.
        folders: Drive to folder.
    """

    roots: tuple[tuple[str, str], ...]
    folders: dict[str, str]


def drives_of(prefix: str | Path) -> Drives:
    """The drives of a prefix.

    Args:
        prefix: The prefix's folder. Where it is not made yet, the answer is what Wine will make: ``C:`` for its
            ``drive_c``, and ``Z:`` for ``/``.
    """
    links = f"{prefix}/dosdevices"
    try:
        status = os.stat(links)
    except OSError:
        return _read(links, 0, 0)
    return _read(links, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _read(links: str, inode: int, changed: int) -> Drives:  # noqa: ARG001 - the time is there to be another key
    """The table; ``inode`` 0 stands for a folder that is not there."""
    prefix = os.path.dirname(links)
    if not inode:
        targets = {"C:": f"{prefix}/drive_c", "Z:": "/"}
    else:
        targets = {
            name.upper(): os.path.normpath(os.path.join(links, os.readlink(f"{links}/{name}")))
            for name in sorted(os.listdir(links))
            if _DRIVE.fullmatch(name) and os.path.islink(f"{links}/{name}") and os.path.isdir(f"{links}/{name}")
        }
    folders = {drive: os.path.realpath(target) for drive, target in targets.items()}
    roots: dict[str, str] = {}
    for spelling in (folders, targets):
        for drive, folder in spelling.items():  # of two drives for one folder the first letter is taken, as Wine does
            roots.setdefault(folder, drive)
    return Drives(tuple(sorted(roots.items(), key=lambda root: -len(root[0]))), folders)
