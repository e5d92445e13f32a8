"""``--files-from``: a list of inputs, read as a stream."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, Literal

from psengine_host.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["InputListError", "check_list", "list_entries"]

_CHUNK = 1 << 16
"""Bytes read at a time, and those of a pipe in which the first NUL must stand."""

_ENTRY_MAX = 1 << 24
"""Bytes of one entry at most: far beyond any path, and room for a ``data:`` URI."""


class InputListError(UsageError):
    """A list of inputs that cannot be read.

    Args:
        name: The option with the list, as it was given.
        reason: What is wrong with it, and what to do.

    Attributes:
        name: As given.
        reason: As given.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def check_list(source: Path | Literal["-"]) -> None:
    """Refuse a list that cannot be read, before anything is scanned. A pipe is left untouched.

    Args:
        source: The list, ``-`` for standard input.

    Raises:
        InputListError: It is missing, a folder, or may not be read.
    """
    if source == "-":
        return
    try:
        if source.is_fifo():
            return
        with source.open("rb"):
            return
    except OSError as error:
        raise _unreadable(source, error) from error


def list_entries(source: Path | Literal["-"], stdin: BinaryIO) -> Iterator[str]:
    """The entries of a list, one by one; the list is never in memory as a whole.

    A NUL anywhere makes the list NUL-separated (``find -print0``), otherwise each line is an entry and may end with
    CR LF. In a file all of it is searched for a NUL; of a pipe, which can be read only once, the first 64 KiB. Empty
    entries are left out. Bytes that are no UTF-8 are kept as Python keeps them in file names (``surrogateescape``).

    Args:
        source: The list, ``-`` for standard input.
        stdin: Standard input.

    Yields:
        Each entry.

    Raises:
        InputListError: The list cannot be read, or an entry has more than 16 MiB. It says which entry, empty ones
            counted; those before it have been given.
    """
    with contextlib.ExitStack() as stack:
        try:
            stream = stdin if source == "-" else stack.enter_context(source.open("rb", buffering=0))
        except OSError as error:
            raise _unreadable(source, error) from error
        yield from _entries(stream, source)


def _entries(stream: BinaryIO, source: Path | Literal["-"]) -> Iterator[str]:
    # What is there now, where the stream can: a list that is still being written is scanned meanwhile.
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    try:
        separator, pending = _separator(stream, read)
    except OSError as error:
        raise _unreadable(source, error) from error
    number = 1
    while True:
        *complete, pending = pending.split(separator)
        yield from _decoded(complete, separator)
        number += len(complete)
        if len(pending) > _ENTRY_MAX:
            reason = f"entry {number:,} has more than {_ENTRY_MAX >> 20} MiB: is it a list of files?"
            raise InputListError(_name(source), reason)
        try:
            chunk = read(_CHUNK)
        except OSError as error:
            raise _unreadable(source, error, f"from entry {number:,} on ") from error
        if not chunk:
            yield from _decoded([pending], separator)
            return
        pending += chunk


def _separator(stream: BinaryIO, read: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """What separates the entries, and what had to be read of a pipe to know it."""
    if stream.seekable():
        start = stream.tell()
        found = any(b"\0" in chunk for chunk in iter(lambda: read(_CHUNK), b""))
        stream.seek(start)
        return (b"\0" if found else b"\n"), b""
    seen = b""
    while b"\0" not in seen and len(seen) < _CHUNK:
        chunk = read(_CHUNK)
        if not chunk:
            break
        seen += chunk
    return (b"\0" if b"\0" in seen else b"\n"), seen


def _decoded(entries: list[bytes], separator: bytes) -> Iterator[str]:
    for entry in entries:
        text = os.fsdecode(entry if separator == b"\0" else entry.removesuffix(b"\r"))
        if text:
            yield text


def _name(source: Path | Literal["-"]) -> str:
    return f"--files-from {source}"


def _unreadable(source: Path | Literal["-"], error: OSError, where: str = "") -> InputListError:
    reason = f"cannot be read {where}({error.strerror}): name a file with one input a line"
    return InputListError(_name(source), reason)
