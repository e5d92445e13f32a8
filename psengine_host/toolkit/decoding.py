"""What a program wrote, as text: whatever the bytes are, decoding them does not fail.

Undecodable bytes become U+FFFD, a byte order mark at the beginning is dropped, and lines end in a line feed.
Every other character is kept, U+0000 too: many of them say that the encoding is another (UTF-16, mostly).
"""

from __future__ import annotations

import codecs
import contextlib
import functools
from collections.abc import Callable

from psengine_host.errors import nearest, shown

__all__ = ["decode", "decoder"]

Decoder = Callable[[bytes, bool], str]
"""Decodes bytes; the flag says that they were cut, maybe within a character, which is then left out."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_FIRST_CONTROL, _LAST_CONTROL = 0x80, 0x9F
_NOT_FOR_OUTPUT = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Python's codecs of text that no program writes, and that fail on bytes whatever they are asked to do."""


def decode(data: bytes, encoding: str = "utf-8", *, cut: bool = False) -> str:
    """The text of what a program wrote.

    Args:
        data: The bytes.
        encoding: The name of an encoding, as :func:`decoder` takes it.
        cut: Whether the bytes end where they were cut: what is left of a character at the end is then left out,
            instead of being shown as undecodable.

    Raises:
        ValueError: There is no encoding of that name.
    """
    return decoder(encoding)(data, cut)


@functools.lru_cache(maxsize=32)
def decoder(encoding: str) -> Decoder:
    """The function that decodes an encoding, made once.

    Args:
        encoding: Any encoding of text that Python knows (``"utf-8"``, ``"cp1252"``, ``"cp850"``, ``"shift_jis"``), or
            ``"locale"`` for that of the process. UTF-16 and UTF-32 without a byte order mark are little-endian, as
            Windows writes them. Bytes that a Windows code page leaves undefined (0x81 in cp1252) are the control
            characters of the same number, as Windows decodes them.

    Returns:
        A function of the bytes and of whether they were cut.

    Raises:
        ValueError: There is no such encoding; names the nearest.
    """
    name = _known(encoding)
    if name == "utf-8":
        return _decode_utf_8
    if name in ("utf-16", "utf-32"):
        return functools.partial(_decode_wide, name)
    table = _table(name)
    if table is not None:
        return functools.partial(_decode_single_bytes, table)
    return functools.partial(_decode_incrementally, name)


def _known(encoding: str) -> str:
    """Python's own name of an encoding, in lower case with hyphens."""
    if not isinstance(encoding, str):
        raise ValueError(f"an encoding is named by a text, not by {type(encoding).__name__}")
    name = encoding
    if encoding.lower() == "locale":
        import locale  # only those who ask for it

        name = locale.getencoding()
    found = _looked_up(name)
    if found is None:
        raise ValueError(f"there is no encoding {shown(encoding)}{nearest(encoding.lower(), _names())}")
    return "utf-8" if found == "utf-8-sig" else found


def _looked_up(name: str) -> str | None:
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a null character, or characters that are in no name
        return None
    found = info.name.replace("_", "-")
    # Codecs from bytes to bytes ("hex", "zlib") have names too.
    return None if not info._is_text_encoding or found in _NOT_FOR_OUTPUT else found


def _names() -> list[str]:
    from encodings.aliases import aliases  # only an error needs them

    return sorted({"locale", *(name for name in {*aliases, *aliases.values()} if _looked_up(name) is not None)})


def _table(name: str) -> str | None:
    """The 256 characters of an encoding of single bytes; None for any other."""
    characters = []
    for number in range(256):
        byte = bytes([number])
        try:
            character = byte.decode(name)
        except UnicodeDecodeError as error:
            if "character maps to <undefined>" not in error.reason:
                return None
            control = _FIRST_CONTROL <= number <= _LAST_CONTROL and name.startswith("cp125")
            character = chr(number) if control else _REPLACEMENT
        if len(character) != 1:
            return None
        characters.append(character)
    return "".join(characters)


def _decode_utf_8(data: bytes, cut: bool) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _replaced("utf-8", data, cut)
    return _tidy(text)


def _decode_wide(name: str, data: bytes, cut: bool) -> str:
    little, big = (
        (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) if name == "utf-16" else (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
    )
    order = "be" if data.startswith(big) and not data.startswith(little) else "le"
    return _tidy(_replaced(f"{name}-{order}", data, cut))


def _decode_single_bytes(table: str, data: bytes, cut: bool) -> str:  # noqa: ARG001 - no character is cut
    return _tidy(codecs.charmap_decode(data, "replace", table)[0])


def _decode_incrementally(name: str, data: bytes, cut: bool) -> str:
    return _tidy(_replaced(name, data, cut))


def _replaced(name: str, data: bytes, cut: bool) -> str:
    if cut:
        # Those of ISO 2022 fail on a wrong sequence that is too long to be kept back: then nothing is left out.
        with contextlib.suppress(UnicodeError):
            # Not final: the decoder keeps back what may be the beginning of a character.
            return codecs.getincrementaldecoder(name)("replace").decode(data, False)
    return data.decode(name, "replace")


def _tidy(text: str) -> str:
    if text.startswith(_MARK):
        text = text[1:]
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
