"""The files below a folder, in a fixed order, with the memory of one listing."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Listing", "Skipped", "reason", "walk"]

_PATH_MAX = 4095
"""Bytes of a path that Linux takes in one call (``PATH_MAX``, less the final NUL)."""

_NAME_MAX = 255
"""Bytes of a file name that Linux takes (``NAME_MAX``)."""


@dataclasses.dataclass(slots=True)
class Skipped:
    """What was found below folders and not scanned, for a note to the user.

    Attributes:
        symlinked_folders: Symbolic links to folders; following them could go in circles.
        broken_symlinks: Symbolic links to nothing, or to each other.
        special_files: Devices, sockets, FIFOs, and links to such.
        excluded: Files that ``--include`` or ``--exclude`` left out; an excluded folder counts as one.
    """

    symlinked_folders: int = 0
    broken_symlinks: int = 0
    special_files: int = 0
    excluded: int = 0

    def __str__(self) -> str:
        """``2 symbolic links to folders, 1 special file``; empty if nothing was skipped."""
        counts = (
            (self.symlinked_folders, "symbolic link to a folder", "symbolic links to folders"),
            (self.broken_symlinks, "broken symbolic link", "broken symbolic links"),
            (self.special_files, "special file", "special files"),
            (self.excluded, "excluded", "excluded"),
        )
        return ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in counts if count)


@dataclasses.dataclass(slots=True)
class Listing:
    """One folder.

    Attributes:
        prefix: What stands before each name: the folder's path with a slash.
        files: The names of the files in it.
        bad: Paths in it that cannot be scanned, each with the reason; the folder's own if it cannot be listed.
    """

    prefix: str
    files: list[str] = dataclasses.field(default_factory=list)
    bad: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def walk(
    folder: str,
    *,
    include: Callable[[str, str], bool] | None,
    exclude: Callable[[str, str], bool] | None,
    skipped: Skipped,
    in_order: bool = True,
) -> Iterator[Listing]:
    """List a folder and all folders below it, each with its files first, then those in it by name.

    Nothing recurses, so that no tree is too deep; links to folders are not followed, so that none is endless.

    Args:
        folder: The folder.
        include: Of base name and relative path: only such files; None for all.
        exclude: Of base name and relative path: no such files, and nothing below such folders.
        skipped: Counts what is left out.
        in_order: Sort the names of each folder. Counting does without.

    Yields:
        One listing a folder; also an empty one.
    """
    root = os.path.join(folder, "")
    pending = [root]
    while pending:
        prefix = pending.pop()
        listing = Listing(prefix)
        below: list[str] = []
        links: list[os.DirEntry[str]] = []
        inside = prefix[len(root) :]
        try:
            with os.scandir(prefix) as entries:
                for entry in entries:
                    _sort_out(entry, listing, below, links, skipped)
        except OSError as error:
            listing.bad.append((prefix.rstrip("/") or "/", reason(error)))
        for link in links:
            # Whatever a link leads to, one that nobody wants by its name is not looked at.
            if _unwanted(link.name, inside + link.name, include, exclude):
                skipped.excluded += 1
            else:
                _follow(link, listing, skipped)
        if exclude is not None:
            below = _kept(below, inside, exclude, False, skipped)
            listing.files = _kept(listing.files, inside, exclude, False, skipped)
        if include is not None:
            listing.files = _kept(listing.files, inside, include, True, skipped)
        _refuse_too_long(listing)
        if in_order:
            listing.files.sort()
            listing.bad.sort()
            below.sort(reverse=True)
        yield listing
        pending.extend(f"{prefix}{name}/" for name in below)


def _unwanted(
    name: str, path: str, include: Callable[[str, str], bool] | None, exclude: Callable[[str, str], bool] | None
) -> bool:
    return (exclude is not None and exclude(name, path)) or (include is not None and not include(name, path))


def _sort_out(
    entry: os.DirEntry[str], listing: Listing, below: list[str], links: list[os.DirEntry[str]], skipped: Skipped
) -> None:
    """Put one entry of a folder where it belongs. The plain cases need no system call."""
    if entry.is_file(follow_symlinks=False):
        listing.files.append(entry.name)
    elif entry.is_dir(follow_symlinks=False):
        below.append(entry.name)
    elif entry.is_symlink():
        links.append(entry)
    else:
        skipped.special_files += 1


def _follow(link: os.DirEntry[str], listing: Listing, skipped: Skipped) -> None:
    """Put a symbolic link where what it leads to belongs."""
    try:
        mode = link.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            skipped.broken_symlinks += 1
        else:
            listing.bad.append((link.path, reason(error)))
        return
    if stat.S_ISREG(mode):
        listing.files.append(link.name)
    elif stat.S_ISDIR(mode):
        skipped.symlinked_folders += 1
    else:
        skipped.special_files += 1


def _kept(
    names: list[str], inside: str, matches: Callable[[str, str], bool], wanted: bool, skipped: Skipped
) -> list[str]:
    """The names for which ``matches`` says what is wanted; the others are counted."""
    kept = [name for name in names if matches(name, inside + name) is wanted]
    skipped.excluded += len(names) - len(kept)
    return kept


def _refuse_too_long(listing: Listing) -> None:
    """Move files whose path no system call takes to the bad ones; nobody could open them."""
    length = len(os.fsencode(listing.prefix))
    if length + _NAME_MAX <= _PATH_MAX:
        return
    fitting = [name for name in listing.files if length + len(os.fsencode(name)) <= _PATH_MAX]
    if len(fitting) < len(listing.files):
        fits = set(fitting)
        too_long = OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        listing.bad.extend((listing.prefix + name, reason(too_long)) for name in listing.files if name not in fits)
        listing.files = fitting


def reason(error: OSError) -> str:
    """Why a path cannot be used, as it is said to the user.

    Args:
        error: What the system said.

    Returns:
        A few words, without the path.
    """
    known = {
        errno.ENOENT: "no such file",
        errno.ENOTDIR: "no such file",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ELOOP: "its symbolic links go in a circle",
        errno.ENAMETOOLONG: f"the name is too long (a path has at most {_PATH_MAX:,} bytes, each name {_NAME_MAX})",
    }
    return known.get(error.errno or 0) or (error.strerror or str(error)).lower()
