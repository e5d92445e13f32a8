"""``data:`` URIs (RFC 2397): small artifacts that travel inside their bounty.

The length is checked before anything is decoded, and what is decoded is never more than the limit, so a huge URI costs
no more memory than it already has.
"""

from __future__ import annotations

import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from psengine_host.network.errors import InvalidDataUri, clean

__all__ = ["DataUri", "decode_data_uri", "encode_data_uri", "is_data_uri"]

_NAME: Final = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_MIMETYPE: Final = re.compile(rf"{_NAME}/{_NAME}\Z")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFAULT_MIMETYPE: Final = "text/plain"
_MAX_HEADER: Final = 1024
"""Characters before the comma; more is no media type."""
_SLICE: Final = 1 << 16
_SPACES: Final = {ord(space): None for space in " \t\r\n\f"}


class DataUri(msgspec.Struct, frozen=True):
    """What a ``data:`` URI carries.

    Attributes:
        mimetype: Lower case, without parameters; ``text/plain`` when the URI names none.
        data: The decoded bytes.
    """

    mimetype: str
    data: bytes


def is_data_uri(uri: str) -> bool:
    """Whether the scheme of a URI is ``data``, in any case."""
    return uri[:5].lower() == "data:"


def decode_data_uri(uri: str, max_size: int) -> DataUri:
    """Decode a ``data:`` URI.

    Args:
        uri: The whole URI. The ``charset`` and all other parameters are ignored, white space inside base64 too.
        max_size: The most bytes that may come out.

    Returns:
        The mimetype and the bytes.

    Raises:
        InvalidDataUri: No ``data:`` URI, malformed, or more than ``max_size`` bytes.
    """
    if not is_data_uri(uri):
        raise InvalidDataUri(f"not a data: URI: it starts with '{clean(uri[:20])}'")
    comma = uri.find(",", 5, 5 + _MAX_HEADER)
    if comma < 0:
        raise InvalidDataUri(f"malformed data: URI: no comma in its first {_MAX_HEADER} characters")
    mimetype, *parameters = uri[5:comma].split(";")
    mimetype = mimetype.strip().lower() or _DEFAULT_MIMETYPE
    if not _MIMETYPE.match(mimetype):
        raise InvalidDataUri(f"malformed data: URI: '{clean(mimetype)}' is no mimetype")
    if parameters and parameters[-1].strip().lower() == "base64":
        data = _from_base64(uri, comma + 1, max_size)
    else:
        data = _from_percent(uri, comma + 1, max_size)
    if len(data) > max_size:
        raise _too_large(max_size)
    return DataUri(mimetype, data)


def encode_data_uri(data: bytes, mimetype: str) -> str:
    """A ``data:`` URI in base64.

    Args:
        data: What it carries.
        mimetype: Type and subtype, without parameters.

    Raises:
        InvalidDataUri: ``mimetype`` is none.
    """
    if not _MIMETYPE.match(mimetype):
        raise InvalidDataUri(f"'{clean(mimetype)}' is no mimetype; write type/subtype, without parameters")
    return f"data:{mimetype};base64,{binascii.b2a_base64(data, newline=False).decode('ascii')}"


def _from_base64(uri: str, start: int, max_size: int) -> bytes:
    most = (max_size + 2) // 3 * 4
    length = len(uri) - start
    if length > most:
        # The surplus may be white space or escapes; more than that again is not worth a look.
        if length > 4 * most + _MAX_HEADER:
            raise _too_large(max_size)
        noise = sum(uri.count(space, start) for space in " \t\r\n\f") + 3 * uri.count("%", start)
        if length - noise > most:
            raise _too_large(max_size)
    payload = uri[start:]
    if "%" in payload:
        payload = _unescaped(payload)
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:  # white space, no padding, or not base64; also what is not ASCII
        payload = payload.translate(_SPACES)
    if not payload.endswith("="):
        payload += "=" * (-len(payload) % 4)
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:
        raise InvalidDataUri(f"malformed data: URI: not base64 ({error})") from None


def _unescaped(payload: str) -> str:
    if _BAD_ESCAPE.search(payload):
        raise InvalidDataUri("malformed data: URI: a % without two hexadecimal digits")
    # A few escapes in a long text: the standard alphabet needs them for + / = and line ends only.
    for escape, character in (("2B", "+"), ("2F", "/"), ("3D", "="), ("0D", ""), ("0A", ""), ("09", ""), ("20", "")):
        payload = payload.replace(f"%{escape}", character).replace(f"%{escape.lower()}", character)
    if "%" in payload:
        raise InvalidDataUri("malformed data: URI: not base64 (an escaped character outside its alphabet)")
    return payload


def _from_percent(uri: str, start: int, max_size: int) -> bytes:
    if len(uri) - start - 2 * uri.count("%", start) > max_size:
        raise _too_large(max_size)
    if not uri.isascii():
        raise InvalidDataUri("malformed data: URI: a character that is not ASCII and not percent-encoded")
    if (bad := _BAD_ESCAPE.search(uri, start)) is not None:
        raise InvalidDataUri(f"malformed data: URI: {uri[bad.start() : bad.start() + 3]!r} is no escape")
    if len(uri) - start <= _SLICE:
        return unquote_to_bytes(uri[start:])
    # unquote_to_bytes makes one object an escape: in slices, or 32 MB of escapes take 400 MB.
    decoded = bytearray()
    while start < len(uri):
        end = min(start + _SLICE, len(uri))
        escape = uri.rfind("%", max(start, end - 2), end)
        if escape >= 0 and end < len(uri):
            end = escape
        decoded += unquote_to_bytes(uri[start:end])
        start = end
    return bytes(decoded)


def _too_large(max_size: int) -> InvalidDataUri:
    return InvalidDataUri(f"data: URI too large: more than {max_size} bytes decoded")
