"""What libmagic 5.46 cannot tell from the start of a file, told from a few more bytes.

Each rule here answers a case that the tests show: libmagic names the type of a ZIP container by its first entries, and
gives up on one larger than what it reads (``application/octet-stream``); it knows no Flash film packed with LZMA, no C
shell script, few scripts started through ``env``, and no AbiWord document. Everything else is left as libmagic says it.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable

__all__ = ["refined"]

ReadAt = Callable[[int, int], bytes]
"""``read_at(size, offset)``: up to ``size`` bytes from there."""

_ZIP_TAIL = 22 + 0xFFFF
"""Bytes at the end of a ZIP file in which its end record starts (APPNOTE 4.3.16: 22 and a comment up to 65,535)."""

_ZIP_DIRECTORY = 1 << 20
"""Bytes of a ZIP file's directory that are looked at: some 10,000 entries."""

_OOXML = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)

_SHELL = re.compile(rb"#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-\S+[ \t]+)*)?(?:\S*/)?(t?csh|(?:ba|da|z|a|k|mk)?sh)(?:\s|$)")
_ABIWORD = re.compile(rb"<(?:abiword|awml)[\s>]")


def refined(mimetype: str, read_at: ReadAt, size: int) -> str:
    """A better name than libmagic's where a cheap and certain one exists.

    Args:
        mimetype: Canonical name of what libmagic said.
        read_at: Reads the content, ``read_at(size, offset)``.
        size: Of the content, in bytes.

    Returns:
        A canonical mimetype; the same when there is nothing better.
    """
    rule = _RULES.get(mimetype)
    return rule(mimetype, read_at, size) if rule else mimetype


def _unknown(mimetype: str, read_at: ReadAt, size: int) -> str:
    """Content that libmagic has no name for."""
    head = read_at(13, 0)
    if head.startswith(b"ZWS") and head.endswith(b"\x5d"):  # SWF specification 19: LZMA properties after 12 bytes
        return "application/x-shockwave-flash"
    return _container(mimetype, read_at, size)


def _container(mimetype: str, read_at: ReadAt, size: int) -> str:
    """A ZIP container by the names in its directory, whatever their order."""
    if read_at(4, 0) != b"PK\x03\x04":
        return mimetype
    directory = _zip_directory(read_at, size)
    if _has(directory, b"AndroidManifest.xml") and (
        _has(directory, b"classes.dex") or _has(directory, b"resources.arsc")
    ):
        return "application/vnd.android.package-archive"
    if _has(directory, b"[Content_Types].xml"):
        for folder, name in _OOXML:
            if _has(directory, folder, whole=False):
                return name
    if _has(directory, b"META-INF/MANIFEST.MF"):
        return "application/java-archive"
    return "application/zip" if mimetype == "application/octet-stream" else mimetype


def _zip_directory(read_at: ReadAt, size: int) -> bytes:
    """The central directory, or nothing when the file has none that can be found."""
    base = max(0, size - _ZIP_TAIL)
    tail = read_at(_ZIP_TAIL, base)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        return b""
    length, start = struct.unpack_from("<II", tail, end + 12)
    zip64 = tail.rfind(b"PK\x06\x06", 0, end)
    if 0xFFFFFFFF in (length, start) and zip64 >= 0 and len(tail) - zip64 >= 56:
        length, start = struct.unpack_from("<QQ", tail, zip64 + 40)
        end = zip64
    # Offsets lie when something was put before the archive; where the directory ends does not.
    for offset in (start, base + end - length):
        if 0 <= offset < size:
            directory = read_at(min(length, _ZIP_DIRECTORY), offset)
            if directory.startswith(b"PK\x01\x02"):
                return directory
    return b""


def _has(directory: bytes, name: bytes, *, whole: bool = True) -> bool:
    """Whether an entry has this name (or, not ``whole``, a name that starts with it)."""
    at = directory.find(name)
    while at >= 0:
        # A header of 46 bytes stands before each name (APPNOTE 4.3.12), with the name's length at 28.
        header = at - 46
        if header >= 0 and directory.startswith(b"PK\x01\x02", header):
            (length,) = struct.unpack_from("<H", directory, header + 28)
            if length == len(name) or (not whole and length > len(name)):
                return True
        at = directory.find(name, at + 1)
    return False


def _script(mimetype: str, read_at: ReadAt, size: int) -> str:
    """Shell scripts by their first line: to libmagic the C shell is a shell as any, and some scripts are plain text."""
    head = read_at(min(size, 128), 0)
    shell = _SHELL.match(head) if head.startswith(b"#!") else None
    if shell is None:
        return mimetype
    return "application/x-csh" if shell[1].endswith(b"csh") else "application/x-sh"


def _markup(mimetype: str, read_at: ReadAt, size: int) -> str:
    """AbiWord's documents are XML to libmagic."""
    return "application/x-abiword" if _ABIWORD.search(read_at(min(size, 2048), 0)) else mimetype


_RULES: dict[str, Callable[[str, ReadAt, int], str]] = {
    "application/octet-stream": _unknown,
    "application/zip": _container,
    "application/java-archive": _container,
    "application/x-sh": _script,
    "text/plain": _script,
    "text/xml": _markup,
}


def reader(fd: int) -> ReadAt:
    """Reads a descriptor without moving its position."""
    return lambda size, offset: os.pread(fd, size, offset)
