"""The fields of a bounty, each checked by itself: taken, or refused with its name and value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from psengine_host.errors import InvalidBounty

__all__ = [
    "MAX_DURATION",
    "MAX_ID_LENGTH",
    "MAX_URL_LENGTH",
    "check_artifact_uri",
    "check_duration",
    "check_http",
    "check_id",
    "check_instant",
    "check_response_url",
    "either_mimetype",
    "either_sha256",
    "read_duration",
    "read_mimetype",
    "read_sha256",
    "read_timestamp",
    "why_no_json",
]

MAX_ID_LENGTH: Final = 128
"""Characters of an id at most; of an integer, its decimal digits."""
MAX_URL_LENGTH: Final = 16_384
"""Characters of an ``http`` or ``https`` URI at most; a ``data`` URI is limited by whoever reads it."""
MAX_DURATION: Final = 10 * 366 * 86_400
"""Seconds of a ``duration`` at most: ten years, so that no date overflows."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
_MEDIA = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_MIMETYPE = re.compile(rf"{_MEDIA}/{_MEDIA}(?:[ \t]*;[ \t]*[\x20-\x7e]*)?\Z")
"""``type/subtype`` of RFC 2045, section 5.1, with anything printable as parameters."""
_SECONDS = re.compile(r"\d{1,18}(?:\.\d{1,18})?\Z", re.ASCII)
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?\Z",
    re.ASCII | re.IGNORECASE,
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, what else breaks a line, and what UTF-8 cannot hold; spaces are taken."""


def check_id(value: object) -> None:
    """An id: a non-negative integer, or a string, of bounded length."""
    if type(value) is int:
        if value.bit_length() > 426 or value < 0:  # 10**128 has 426 bits; str() of a hostile integer is quadratic
            raise InvalidBounty("id", value, f"must be a non-negative integer of at most {MAX_ID_LENGTH} digits")
    elif type(value) is str:
        if not 0 < len(value) <= MAX_ID_LENGTH or _has_controls(value):
            raise InvalidBounty("id", value, f"must be 1 to {MAX_ID_LENGTH} printable characters")
    else:
        raise InvalidBounty("id", value, "must be an integer or a string")


def read_duration(value: object) -> int | float | None:
    """A duration in seconds, or None; some senders write a number as text."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and _SECONDS.match(value):
        value = float(value) if "." in value else int(value)
    return check_duration(value)


def check_duration(value: object) -> int | float:
    """A number of seconds from 0 to ten years."""
    if type(value) is not int and type(value) is not float:
        raise InvalidBounty("duration", value, "must be a number of seconds")
    if not 0 <= value <= MAX_DURATION:  # false for NaN as well
        raise InvalidBounty("duration", value, f"must be from 0 to {MAX_DURATION} seconds")
    return value


def read_timestamp(field: str, value: object) -> datetime | None:
    """An ISO 8601 date and time as an aware one in UTC, or None; a naive one means UTC."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _TIMESTAMP.match(value):
        raise InvalidBounty(field, value, "must be an ISO 8601 date and time")
    try:
        instant = datetime.fromisoformat(value.upper())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidBounty(field, value, "is no date and time that exists") from None


def check_instant(field: str, value: object) -> None:
    """An aware datetime in UTC."""
    if not isinstance(value, datetime) or value.tzinfo is not UTC:
        raise InvalidBounty(field, value, "must be an aware datetime in UTC")


def either_sha256(wire: Mapping[str, object], metadata: Mapping[str, object]) -> str | None:
    """The hash at top level or under ``metadata``; two that differ are refused, since neither can be believed."""
    top, nested = wire.get("sha256"), metadata.get("sha256")
    if top is None:
        return None if nested is None else read_sha256(nested, "metadata.sha256")
    value = read_sha256(top, "sha256")
    if nested is not None and read_sha256(nested, "metadata.sha256") != value:
        raise InvalidBounty("metadata.sha256", nested, f"differs from sha256 ({value})")
    return value


def either_mimetype(wire: Mapping[str, object], metadata: Mapping[str, object]) -> str | None:
    """The type at top level, else under ``metadata``: one type has many names, and nothing hangs on the sender's."""
    top, nested = wire.get("mimetype"), metadata.get("mimetype")
    if top is None:
        return None if nested is None else read_mimetype(nested, "metadata.mimetype")
    if nested is not None:
        read_mimetype(nested, "metadata.mimetype")
    return read_mimetype(top, "mimetype")


def read_sha256(value: object, field: str) -> str:
    """64 hexadecimal digits, in lower case."""
    if type(value) is not str or not _SHA256.match(value):
        raise InvalidBounty(field, value, "must be 64 hexadecimal digits")
    return value.lower()


def read_mimetype(value: object, field: str) -> str:
    """A mimetype, with or without parameters."""
    if type(value) is not str or len(value) > 255 or not _MIMETYPE.match(value):
        raise InvalidBounty(field, value, "must be a mimetype (type/subtype) of at most 255 characters")
    return value


def _has_controls(text: str) -> bool:
    # What is printable holds none of them, and that is found out at a fraction of the pattern's time.
    return not text.isprintable() and _CONTROLS.search(text) is not None


def _scheme_of(uri: str) -> str:
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def check_artifact_uri(uri: object, *, file_allowed: bool) -> None:
    """A URI that an artifact may have; ``file:`` only where it is allowed."""
    if type(uri) is not str:  # exactly: what JSON is made of
        raise InvalidBounty("artifact_uri", uri, "must be a string")
    scheme = _scheme_of(uri)
    if scheme == "data":
        if "," not in uri:
            raise InvalidBounty("artifact_uri", uri, "is no data: URI: a comma must stand before the data")
        if _has_controls(uri):
            raise InvalidBounty("artifact_uri", uri, "must hold no control characters")
    elif scheme in ("http", "https"):
        check_http("artifact_uri", uri)
    elif scheme == "file":
        if not file_allowed:
            raise InvalidBounty("artifact_uri", uri, "file: is only taken from the local command line")
        if not uri[5:].startswith("///"):
            raise InvalidBounty("artifact_uri", uri, "must be file:/// and an absolute path")
        if _has_controls(uri):
            raise InvalidBounty("artifact_uri", uri, "must hold no control characters; percent-encode them")
    else:
        raise InvalidBounty("artifact_uri", uri, "must be an http, https or data URI")


def check_response_url(url: object) -> None:
    """An ``http`` or ``https`` URL."""
    if type(url) is not str:
        raise InvalidBounty("response_url", url, "must be a string or null")
    if _scheme_of(url) not in ("http", "https"):
        raise InvalidBounty("response_url", url, "must be an http or https URL")
    check_http("response_url", url)


def check_http(field: str, uri: str) -> None:
    """Refuse what is no URL with a host, or cannot be one.

    Args:
        field: Where it stands, for the message.
        uri: A text that begins with ``http:`` or ``https:``.

    Raises:
        InvalidBounty: It is too long, holds spaces or control characters, or names no host.
    """
    if len(uri) > MAX_URL_LENGTH:
        raise InvalidBounty(field, uri, f"must be at most {MAX_URL_LENGTH} characters")
    if _UNPRINTABLE.search(uri):
        raise InvalidBounty(field, uri, "must hold no spaces or control characters")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidBounty(field, uri, f"is no URL ({error})") from None
    if not host:
        raise InvalidBounty(field, uri, "names no host")


def why_no_json(error: Exception) -> str:
    """Why bytes are no JSON, for a message.

    Args:
        error: What decoding them raised.
    """
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, UnicodeError):
        return "is not UTF-8"
    return f"is no valid JSON ({error})"
