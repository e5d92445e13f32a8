"""Reading ``psengine.toml``, whatever stands in its place."""

from __future__ import annotations

import os
import re
import stat
import time
from typing import Any, Final

from psengine_host.errors import SettingsError

__all__ = ["LONGEST_FILE", "load_file"]

LONGEST_FILE: Final = 1 << 20
"""Bytes of a settings file at most."""
_PIPE_PATIENCE: Final = 10.0
"""Seconds that whoever writes into a pipe (``--config <(…)``) may take."""
_TWICE: Final = (
    (r"Cannot (?:declare|redefine namespace) \((.*?),?\)(?: twice)?", "the table [{}] is there twice; make it one"),
    (
        r"Cannot mutate immutable namespace \((.*?),?\)",
        "the table [{}] is written in {{ }}, so that nothing can be added to it elsewhere",
    ),
    (r"Cannot overwrite a value", "a setting or a table is there twice, or one is both; leave one out"),
    (r"Duplicate inline table key '(.*?)'", "the setting {} is there twice; leave one out"),
)
"""What ``tomllib`` says where a name is used again, which speaks of its own workings, and plain words for it."""
_PART: Final = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_LONG_KEY: Final = re.compile(rf"(?<![\w-])(?:{_PART}\.[ \t]*){{100}}")
"""A key of more than 100 parts: tomllib takes minutes for one of 100,000."""


def load_file(path: str, *, required: bool) -> tuple[dict[str, Any], str | None]:
    """The tables of a settings file.

    Args:
        path: The file. A pipe is read to its end, but one that nobody writes into is refused; the null device is an
            empty file.
        required: Whether it must be there.

    Returns:
        The tables, and the folder that relative paths in them count from: the file's, or None where they come through
        a pipe.

    Raises:
        SettingsError: It is not there, cannot be read, or is no TOML; says why, without the file's name.
    """
    try:
        raw, is_file = _read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not required:
            return {}, None
        if isinstance(error, NotADirectoryError):
            raise SettingsError("not a directory") from None
        raise SettingsError("no such file; name another with --config or PSENGINE_CONFIG") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SettingsError((getattr(error, "strerror", None) or str(error)).lower()) from None
    if len(raw) > LONGEST_FILE:
        raise SettingsError(f"is longer than {LONGEST_FILE} bytes; is it the right file?")
    return _parsed(raw), os.path.dirname(os.path.abspath(path)) if is_file else None


def _read(path: str) -> tuple[bytes, bool]:
    # Not blocking: opening a pipe would wait for whoever opens its other end, and nobody may ever do so.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return _up_to(descriptor), True
        if stat.S_ISFIFO(status.st_mode):
            return _through_pipe(descriptor), False
        if stat.S_ISDIR(status.st_mode):
            raise SettingsError("is a directory")
        if status.st_rdev == os.stat(os.devnull).st_rdev:
            return b"", False
        raise SettingsError("is no regular file")
    finally:
        os.close(descriptor)


def _up_to(descriptor: int) -> bytes:
    parts, left = [], LONGEST_FILE + 1
    while left and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _through_pipe(descriptor: int) -> bytes:
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + _PIPE_PATIENCE
    parts, left = [], LONGEST_FILE + 1
    while left:
        try:
            part = os.read(descriptor, left)
        except BlockingIOError:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise SettingsError(f"is a pipe whose writer took longer than {_PIPE_PATIENCE:g} s") from None
            continue
        if not part:
            break
        parts.append(part)
        left -= len(part)
    if not parts:
        raise SettingsError("is a pipe that nobody writes into")
    return b"".join(parts)


def _parsed(raw: bytes) -> dict[str, Any]:
    import tomllib

    try:
        text = raw.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        raise SettingsError(f"is not UTF-8 (byte {error.start})") from None
    if _LONG_KEY.search(text):
        raise SettingsError("a key has more than 100 parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_in_plain_words(str(error))) from None
    except RecursionError:
        raise SettingsError("is nested too deeply") from None
    except ValueError:  # of int(): a number of more digits than Python reads
        raise SettingsError("holds a number of thousands of digits") from None


def _in_plain_words(message: str) -> str:
    """What the parser says, with the place that it names; as it is where that is plain enough."""
    for pattern, words in _TWICE:
        if found := re.match(pattern, message):
            key = ".".join(re.findall(r"'([^']*)'", found[1])) or found[1] if found.groups() else ""
            return words.format(key) + message[found.end() :]
    return message
