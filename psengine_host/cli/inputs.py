"""The arguments of ``psengine analyze`` as a lazy stream of inputs. Nothing here knows engines or bounties.

What an argument is:

=======================  ==============================================================================================
argument                 with ``-t file``
=======================  ==============================================================================================
``-``                    standard input, once
``data:…``               the URI's text; its bytes are the artifact
``http://``, ``https:``  the URL's content is the artifact (with ``-t url`` the URL itself is)
``file:///path``         that file
another ``scheme://``    refused
anything else            a path: a file, a FIFO (read as a stream), or with ``-r`` a folder
=======================  ==============================================================================================

A file whose name looks like one of the URIs is given as ``./http:…``. With ``-t bounty`` every argument but ``-`` is a
path; with ``-t url`` every argument is a URL. An input that cannot be is yielded too, as :class:`BadInput`, so that one
never stops the others.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias

from psengine_host.cli.folders import Skipped, reason, walk
from psengine_host.cli.globs import matcher
from psengine_host.cli.input_lists import InputListError, check_list, list_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from psengine_host.cli.folders import Listing

__all__ = [
    "BadInput",
    "FileInput",
    "Input",
    "InputListError",
    "Kind",
    "RemoteInput",
    "Skipped",
    "StreamInput",
    "TextInput",
    "UrlInput",
    "count",
    "gather",
    "is_folder",
]

Kind: TypeAlias = Literal["file", "url", "bounty"]
"""What the arguments are, as ``-t`` says."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>//)?")


@dataclasses.dataclass(frozen=True, slots=True)
class FileInput:
    """A regular file, or a symbolic link to one.

    Attributes:
        name: As it was given or found.
        path: Where it is, for ``open``.
    """

    name: str
    path: str


@dataclasses.dataclass(frozen=True, slots=True)
class StreamInput:
    """Bytes that can be read once: standard input or a FIFO.

    Attributes:
        name: ``-``, or the FIFO's path.
        open: Opens it. A FIFO blocks until somebody writes; standard input is the stream that was handed in.
    """

    name: str
    open: Callable[[], BinaryIO]


@dataclasses.dataclass(frozen=True, slots=True)
class TextInput:
    """A ``data:`` URI, not yet decoded.

    Attributes:
        name: As it was given.
        text: The URI.
    """

    name: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteInput:
    """An ``http`` or ``https`` URL whose content is the artifact: the caller fetches it.

    Attributes:
        name: As it was given.
        uri: The URL.
    """

    name: str
    uri: str


@dataclasses.dataclass(frozen=True, slots=True)
class UrlInput:
    """A URL that is itself the artifact; nobody fetches it.

    Attributes:
        name: As it was given.
        uri: The URL, unchecked.
    """

    name: str
    uri: str


@dataclasses.dataclass(frozen=True, slots=True)
class BadInput:
    """Something that cannot be read.

    Attributes:
        name: As it was given or found.
        message: Why, and what to do, without the name.
    """

    name: str
    message: str


Input: TypeAlias = FileInput | StreamInput | TextInput | RemoteInput | UrlInput | BadInput
"""One thing to be scanned, or to be reported as impossible."""


def gather(
    arguments: Sequence[str],
    *,
    kind: Kind,
    recursive: bool,
    include: Sequence[str],
    exclude: Sequence[str],
    files_from: Path | Literal["-"] | None,
    stdin: BinaryIO,
    skipped: Skipped | None = None,
) -> Iterator[Input]:
    """All inputs, in the order of the arguments, then those of the list; folders sorted by name, files first.

    Lazy: nothing is looked at before it is asked for, and memory is bounded by one folder's listing.

    Args:
        arguments: As they were given on the command line.
        kind: What they are.
        recursive: Whether folders are scanned with all that is below them.
        include: Patterns: of the files found in folders only these. Those named as arguments are always taken.
        exclude: Patterns: of the files found in folders not these, and nothing below folders that match.
            See :func:`psengine_host.cli.globs.matcher` for the syntax of both.
        files_from: A list of more arguments, ``-`` for standard input, or None.
        stdin: Standard input, in binary.
        skipped: Counts what folders hold and is not scanned.

    Returns:
        The inputs.

    Raises:
        InputListError: At once if the list cannot be opened. One that fails later is a :class:`BadInput`.
    """
    if files_from is not None:
        check_list(files_from)
    tally = Skipped() if skipped is None else skipped
    descend = functools.partial(walk, include=matcher(include), exclude=matcher(exclude), skipped=tally)
    listed = () if files_from is None else list_entries(files_from, stdin)
    return _gathered(itertools.chain(arguments, listed), kind, descend if recursive else None, stdin, files_from == "-")


def count(
    arguments: Sequence[str],
    *,
    kind: Kind,
    recursive: bool,
    include: Sequence[str],
    exclude: Sequence[str],
    files_from: Path | Literal["-"] | None,
    stopped: Callable[[], bool] = lambda: False,
) -> int | None:
    """How many inputs :func:`gather` yields, for a progress bar. It can run in a thread beside the scan.

    Args:
        arguments: As for :func:`gather`.
        kind: As for :func:`gather`.
        recursive: As for :func:`gather`.
        include: As for :func:`gather`.
        exclude: As for :func:`gather`.
        files_from: As for :func:`gather`.
        stopped: Asked once a folder and argument: whether nobody wants the answer any more.

    Returns:
        The number as the folders are now; None if a list can be read only once (a pipe), or if it was stopped.
    """
    if files_from == "-" or (files_from is not None and not files_from.is_file()):
        return None
    total = 0
    descend = functools.partial(
        walk, include=matcher(include), exclude=matcher(exclude), skipped=Skipped(), in_order=False
    )
    listed = () if files_from is None else list_entries(files_from, io.BytesIO())
    for argument in _until_the_list_fails(itertools.chain(arguments, listed)):
        if stopped():
            return None
        path = _path_or_input(argument, kind) if isinstance(argument, str) and argument != "-" else None
        if not recursive or not isinstance(path, str) or not os.path.isdir(path):
            total += 1
            continue
        for listing in descend(path):
            if stopped():
                return None
            total += len(listing.files) + len(listing.bad)
    return total


def is_folder(argument: str, kind: Kind) -> bool:
    """Whether an argument names a folder.

    Args:
        argument: The argument.
        kind: What the arguments are.
    """
    path = _path_or_input(argument, kind) if argument != "-" else None
    return isinstance(path, str) and os.path.isdir(path)


def _gathered(
    arguments: Iterable[str],
    kind: Kind,
    descend: Callable[[str], Iterator[Listing]] | None,
    stdin: BinaryIO,
    stdin_taken: bool,
) -> Iterator[Input]:
    for argument in _until_the_list_fails(arguments):
        if isinstance(argument, BadInput):
            yield argument
            continue
        if argument == "-":
            yield _standard_input(kind, stdin, stdin_taken)
            stdin_taken = True
            continue
        path = _path_or_input(argument, kind)
        if not isinstance(path, str):
            yield path
            continue
        found = _look_at(argument, path)
        if found is not None:
            yield found
        elif descend is None:
            yield BadInput(argument, "is a folder: use -r to scan it")
        else:
            for listing in descend(path):
                prefix = listing.prefix
                for name in listing.files:
                    full = prefix + name
                    yield FileInput(full, full)
                for bad, message in listing.bad:
                    yield BadInput(bad, message)


def _until_the_list_fails(arguments: Iterable[str]) -> Iterator[str | BadInput]:
    """The arguments; a list that cannot be read to its end is a bad input after all that it named before."""
    try:
        yield from arguments
    except InputListError as error:
        yield BadInput(error.name, error.reason)


def _standard_input(kind: Kind, stdin: BinaryIO, taken: bool) -> Input:
    if kind == "url":
        return BadInput("-", "is no URL: use --files-from - to read URLs from standard input")
    if taken:
        return BadInput("-", "standard input is read only once, and it was already")
    return StreamInput("-", lambda: stdin)


def _path_or_input(argument: str, kind: Kind) -> str | Input:
    """The path that an argument means, or the input that it is without a look at the file system."""
    if not argument:
        return BadInput(argument, "is empty: name a file, a folder or a URL")
    if kind == "url":
        return UrlInput(argument, argument)
    match = _SCHEME.match(argument) if kind == "file" else None
    if match is None:
        return argument
    scheme = match["scheme"].lower()
    if scheme == "data":
        return TextInput(argument, argument)
    if scheme == "file":
        return _path_of_uri(argument)
    if match["slashes"] is None:  # a file may well be called ``a:b``
        return argument
    if scheme in ("http", "https"):
        return RemoteInput(argument, argument)
    return BadInput(argument, f"the scheme {scheme!r} is not taken: use http, https, data or file")


def _path_of_uri(uri: str) -> str | BadInput:
    """The path of a ``file:`` URI (RFC 8089): absolute, on this machine."""
    from urllib.parse import unquote_to_bytes

    rest = uri.partition(":")[2]
    host = ""
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    if host.lower() not in ("", "localhost"):
        return BadInput(uri, f"is on another machine ({host}): only files of this one are read")
    if not rest.startswith("/"):
        return BadInput(uri, "has no absolute path: write file:///folder/name, or the path alone")
    return os.fsdecode(unquote_to_bytes(os.fsencode(rest)))


def _look_at(name: str, path: str) -> Input | None:
    """What stands at a path that was named; None for a folder."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        target = _missing_target(path)
        return BadInput(
            name, reason(error) if target is None else f"is a symbolic link to {target!r}, which is missing"
        )
    except OSError as error:
        return BadInput(name, reason(error))
    except ValueError:  # a NUL, or half a surrogate pair
        return BadInput(name, "cannot be the name of a file: it holds a NUL or invalid Unicode")
    if stat.S_ISREG(mode):
        return FileInput(name, path)
    if stat.S_ISDIR(mode):
        return None
    if stat.S_ISFIFO(mode):
        return StreamInput(name, functools.partial(_opened, path))
    what = "socket" if stat.S_ISSOCK(mode) else "device"
    return BadInput(name, f"is a {what}: only files, folders, FIFOs and - (standard input) are read")


def _missing_target(path: str) -> str | None:
    """Where a symbolic link that leads nowhere points to; None if it is no link."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def _opened(path: str) -> BinaryIO:
    return open(path, "rb")
