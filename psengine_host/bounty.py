"""Bounties: one artifact to judge, a deadline, bid limits and where to answer. Wire -> value, valid from birth.

The wire has grown over the years, so several spellings of one fact are taken (see ``docs/reference/wire.md``); what is
sent is always the first of them. A bounty that cannot be taken is refused with :class:`InvalidBounty`, which names the
field and the value.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final, Self
from urllib.parse import quote_from_bytes, urlsplit

import msgspec

from psengine_host.errors import InvalidBounty

__all__ = [
    "DEFAULT_LIFETIME",
    "LOCAL_LIFETIME",
    "LOCAL_MAX_ALLOWED_BID",
    "LOCAL_MIN_ALLOWED_BID",
    "URL_MIMETYPE",
    "ArtifactType",
    "Bounty",
    "BountyRules",
    "Phase",
    "file_uri",
]

LOCAL_MIN_ALLOWED_BID: Final = 62_500_000_000_000_000
"""Lowest bid of a local bounty, or of one that states no rules, in wei (0.0625 NCT)."""
LOCAL_MAX_ALLOWED_BID: Final = 999_900_000_000_000_000
"""Highest bid of a local bounty, or of one that states no rules, in wei (0.9999 NCT)."""
DEFAULT_LIFETIME: Final = timedelta(seconds=90)
"""Life of a bounty that states neither an expiration nor a duration."""
LOCAL_LIFETIME: Final = timedelta(seconds=30)
"""Life of a local bounty."""
URL_MIMETYPE: Final = "text/uri-list"
"""Mimetype of every URL artifact (RFC 2483, section 5)."""

MAX_ID_LENGTH: Final = 128
"""Characters of an id at most; of an integer, its decimal digits."""
MAX_URL_LENGTH: Final = 16_384
"""Characters of an ``http`` or ``https`` URI at most; a ``data`` URI is limited by whoever reads it."""
MAX_DURATION: Final = 10 * 366 * 86_400
"""Seconds of a ``duration`` at most: ten years, so that no date overflows."""
_MAX_BID: Final = 1 << 256
"""Bids are uint256 on the chain."""
_ANY_MIMETYPE: Final = "application/octet-stream"

_NAMESPACES: Final = {
    # uuid5(uuid5(fafee1eb-ee7d-4b31-bee5-1547bd26c731, "FILE" or "URL"), sha256): the namespaces as raw bytes
    "FILE": bytes.fromhex("b379081429ac50b3808d8f6b361d21fe"),
    "URL": bytes.fromhex("eedf52464c5f5b2a9c02a8cc4c328347"),
}
_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
_MEDIA = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_MIMETYPE = re.compile(rf"{_MEDIA}/{_MEDIA}(?:[ \t]*;[ \t]*[\x20-\x7e]*)?\Z")
"""``type/subtype`` of RFC 2045, section 5.1, with anything printable as parameters."""
_SECONDS = re.compile(r"\d{1,18}(?:\.\d{1,18})?\Z", re.ASCII)
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?\Z",
    re.ASCII | re.IGNORECASE,
)
_PLAIN_PATH = re.compile(r"(?:/(?!\.{0,2}(?:/|\Z))[A-Za-z0-9_.~-]+)+\Z")
"""An absolute path that is its own URI: nothing in it to quote or to resolve."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, what else breaks a line, and what UTF-8 cannot hold; spaces are taken."""


class ArtifactType(enum.StrEnum):
    """What an artifact is; the value is the wire's spelling."""

    FILE = "file"
    URL = "url"


class Phase(enum.StrEnum):
    """Which answer is asked for: an assertion carries a bid, the vote of an arbitration does not."""

    ASSERTION = "assertion"
    ARBITRATION = "arbitration"


_PHASES: Final[Mapping[str, Phase]] = {
    "assertion": Phase.ASSERTION,
    "assertion_window": Phase.ASSERTION,
    "arbitration": Phase.ARBITRATION,
    "arbitration_window": Phase.ARBITRATION,
}


class BountyRules(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a bid, both inclusive, in wei (1 NCT = 10**18 wei).

    Args:
        min_allowed_bid: Lowest bid taken; at least 0.
        max_allowed_bid: Highest bid taken; at least ``min_allowed_bid``.

    Raises:
        InvalidBounty: A bound is no integer, negative, or the two are crossed.
    """

    min_allowed_bid: int = LOCAL_MIN_ALLOWED_BID
    max_allowed_bid: int = LOCAL_MAX_ALLOWED_BID

    def __post_init__(self) -> None:
        for field in ("min_allowed_bid", "max_allowed_bid"):
            bid = getattr(self, field)
            if type(bid) is not int:
                raise InvalidBounty(f"rules.{field}", bid, "must be an integer number of wei")
            if not 0 <= bid < _MAX_BID:
                raise InvalidBounty(f"rules.{field}", bid, "must be from 0 to 2**256 - 1 wei")
        if self.min_allowed_bid > self.max_allowed_bid:
            reason = f"must be at least rules.min_allowed_bid ({self.min_allowed_bid})"
            raise InvalidBounty("rules.max_allowed_bid", self.max_allowed_bid, reason)

    def to_wire(self) -> dict[str, int]:
        """The rules as the wire has them."""
        return {"min_allowed_bid": self.min_allowed_bid, "max_allowed_bid": self.max_allowed_bid}


_LOCAL_RULES: Final = BountyRules()


class Bounty(msgspec.Struct, frozen=True, kw_only=True):
    """One scan job.

    Args:
        id: The marketplace's id, kept as it came: an integer, or a string of at most 128 characters.
        artifact_type: A file to fetch and scan, or a URL that is itself the artifact.
        artifact_uri: Where the artifact is: ``http``, ``https`` or ``data``; ``file`` only with ``file_allowed``.
        expiration: When an answer is too late; aware, in UTC.
        rules: The bounds of the bid.
        phase: Which answer is asked for.
        sha256: SHA-256 of the artifact, 64 lower-case hexadecimal digits, or None where the sender does not say.
        mimetype: The sender's word on the artifact's type, or None.
        response_url: Where the answer goes, or None for a local bounty.
        duration: Life of the bounty in seconds as the sender stated it, or None.
        tasked_at: When the bounty was issued; aware, in UTC, or None.
        file_allowed: Whether a ``file:`` URI is taken. Never on the wire: the caller says that the bounty is local.

    Raises:
        InvalidBounty: Any of them cannot be.
    """

    id: int | str
    artifact_type: ArtifactType
    artifact_uri: str
    expiration: datetime
    rules: BountyRules = _LOCAL_RULES
    phase: Phase = Phase.ASSERTION
    sha256: str | None = None
    mimetype: str | None = None
    response_url: str | None = None
    duration: int | float | None = None
    tasked_at: datetime | None = None
    file_allowed: bool = False

    def __post_init__(self) -> None:
        # Values made in Python go through the same checks as those from the wire; the wire's are cheap to check again.
        _check_id(self.id)
        _check_artifact_uri(self.artifact_uri, file_allowed=self.file_allowed)
        if self.response_url is not None:
            _check_response_url(self.response_url)
        if type(self.artifact_type) is not ArtifactType:
            raise InvalidBounty("artifact_type", self.artifact_type, "must be an ArtifactType")
        if type(self.phase) is not Phase:
            raise InvalidBounty("phase", self.phase, "must be a Phase")
        if not isinstance(self.rules, BountyRules):
            raise InvalidBounty("rules", self.rules, "must be BountyRules")
        _check_instant("expiration", self.expiration)
        if self.tasked_at is not None:
            _check_instant("tasked_at", self.tasked_at)
        if self.sha256 is not None and _sha256(self.sha256, "sha256") != self.sha256:
            raise InvalidBounty("sha256", self.sha256, "must be lower-case")
        if self.mimetype is not None:
            _mimetype(self.mimetype, "mimetype")
        if self.duration is not None:
            _check_duration(self.duration)

    @property
    def is_url(self) -> bool:
        """Whether the artifact is a URL, not a file."""
        return self.artifact_type is ArtifactType.URL

    @property
    def is_vote(self) -> bool:
        """Whether the answer is a vote, which carries no bid."""
        return self.phase is Phase.ARBITRATION

    def expired(self, now: datetime | None = None) -> bool:
        """Whether an answer would be too late.

        Args:
            now: The aware time to compare with; the present by default.
        """
        return self.expiration <= (now or datetime.now(UTC))

    # --- the wire ---------------------------------------------------------------------------------------------------

    @classmethod
    def decode(
        cls, raw: bytes | bytearray | memoryview | str, *, file_allowed: bool = False, now: datetime | None = None
    ) -> Self:
        """A bounty from JSON.

        Args:
            raw: The body, strict UTF-8.
            file_allowed: Whether a ``file:`` URI is taken; only for bounties that come from the local user.
            now: What a missing expiration counts from; the present by default.

        Raises:
            InvalidBounty: It is no JSON object, or a field cannot be taken.
        """
        try:
            wire = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
            raise InvalidBounty(
                "bounty", bytes(raw[:80]) if not isinstance(raw, str) else raw[:80], why_no_json(error)
            ) from error
        return cls.from_wire(wire, file_allowed=file_allowed, now=now)

    @classmethod
    def from_wire(cls, wire: object, *, file_allowed: bool = False, now: datetime | None = None) -> Self:
        """A bounty from decoded JSON, in any spelling seen in the wild.

        Args:
            wire: The object; unknown fields are kept out of the way.
            file_allowed: Whether a ``file:`` URI is taken; only for bounties that come from the local user.
            now: What a missing expiration counts from; the present by default.

        Raises:
            InvalidBounty: A field is missing or cannot be taken.
        """
        if not isinstance(wire, Mapping):
            raise InvalidBounty("bounty", wire, "must be a JSON object")
        get = wire.get
        metadata = get("metadata")
        if metadata is None:
            metadata = {}
        elif not isinstance(metadata, Mapping):
            raise InvalidBounty("metadata", metadata, "must be an object or null")
        duration = _duration(get("duration"))
        bounty_id = get("id")
        if bounty_id is None:
            bounty_id = get("guid")
        if bounty_id is None:
            raise InvalidBounty("id", None, "is missing; an integer or a string is needed")
        uri = get("artifact_uri")
        if uri is None:
            uri = get("artifact_url")
        if uri is None:
            raise InvalidBounty("artifact_uri", None, "is missing; a URI is needed")
        return cls(
            id=bounty_id,
            artifact_type=_artifact_type(get("artifact_type")),
            artifact_uri=uri,
            expiration=_expiration(get("expiration"), duration, now),
            rules=_rules(get("rules")),
            phase=_phase(get("phase")),
            sha256=_either_sha256(wire, metadata),
            mimetype=_either_mimetype(wire, metadata),
            response_url=get("response_url"),
            duration=duration,
            tasked_at=_timestamp("tasked_at", get("tasked_at")),
            file_allowed=file_allowed,
        )

    def to_wire(self) -> dict[str, Any]:
        """The bounty as the wire has it; unset fields are left out, times are ISO 8601 in UTC."""
        wire: dict[str, Any] = {
            "id": self.id,
            "artifact_uri": self.artifact_uri,
            "artifact_type": self.artifact_type.value,
        }
        if self.sha256 is not None:
            wire["sha256"] = self.sha256
        if self.mimetype is not None:
            wire["mimetype"] = self.mimetype
        wire["expiration"] = self.expiration.isoformat()
        if self.response_url is not None:
            wire["response_url"] = self.response_url
        wire["phase"] = self.phase.value
        if self.duration is not None:
            wire["duration"] = self.duration
        if self.tasked_at is not None:
            wire["tasked_at"] = self.tasked_at.isoformat()
        wire["rules"] = self.rules.to_wire()
        return wire

    def encode(self) -> bytes:
        """The bounty as JSON, in UTF-8, integers exact."""
        return msgspec.json.encode(self.to_wire())

    # --- local bounties ---------------------------------------------------------------------------------------------

    @classmethod
    def local(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        data: bytes | None = None,
        stream: BinaryIO | None = None,
        url: str | None = None,
        sha256: str | None = None,
        mimetype: str | None = None,
        rules: BountyRules = _LOCAL_RULES,
        lifetime: timedelta = LOCAL_LIFETIME,
        response_url: str | None = None,
        phase: Phase = Phase.ASSERTION,
        now: datetime | None = None,
    ) -> Self:
        """Forge a bounty from exactly one of a file, bytes, a stream or a URL.

        The same artifact always has the same id, and a file that contains a URL differs from the URL.

        Args:
            path: A file; its URI is ``file:``.
            data: Bytes; they travel in a ``data:`` URI.
            stream: Read to its end; then as ``data``.
            url: A URL that is itself the artifact.
            sha256: SHA-256 of the artifact where it is known already; computed by default.
            mimetype: The artifact's type where it is known; for a URL always ``text/uri-list``.
            rules: The bounds of the bid; by default 0.0625 to 0.9999 NCT.
            lifetime: How long until it expires; 30 s by default.
            response_url: Where an answer goes.
            phase: Which answer is asked for.
            now: What the lifetime counts from; the present by default.

        Raises:
            InvalidBounty: Not exactly one artifact, or a value that cannot be.
            OSError: The file cannot be read.
        """
        import hashlib

        given = [
            name
            for name, value in (("path", path), ("data", data), ("stream", stream), ("url", url))
            if value is not None
        ]
        if len(given) != 1:
            raise InvalidBounty("artifact", given, "exactly one of path, data, stream or url is needed")
        artifact_type = ArtifactType.FILE
        if stream is not None:
            data = stream.read()
        if path is not None:
            uri = file_uri(path)
            if sha256 is None:
                with open(path, "rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        elif data is not None:
            from base64 import b64encode

            # Without its parameters, which may hold the comma that ends the URI's header.
            media = _mimetype(mimetype, "mimetype").partition(";")[0].rstrip() if mimetype else _ANY_MIMETYPE
            uri = f"data:{media};base64,{b64encode(data).decode()}"
            sha256 = sha256 or hashlib.sha256(data).hexdigest()
        else:
            uri = url or ""
            _check_artifact_uri(uri, file_allowed=True)  # first: what cannot be a URL can perhaps not be encoded either
            sha256 = sha256 or hashlib.sha256(uri.encode()).hexdigest()
            artifact_type, mimetype = ArtifactType.URL, URL_MIMETYPE
        return cls.forge(
            artifact_type,
            uri,
            sha256,
            mimetype=mimetype,
            rules=rules,
            lifetime=lifetime,
            response_url=response_url,
            phase=phase,
            now=now,
        )

    @classmethod
    def forge(
        cls,
        artifact_type: ArtifactType,
        artifact_uri: str,
        sha256: str,
        *,
        mimetype: str | None = None,
        rules: BountyRules = _LOCAL_RULES,
        lifetime: timedelta = LOCAL_LIFETIME,
        response_url: str | None = None,
        phase: Phase = Phase.ASSERTION,
        now: datetime | None = None,
    ) -> Self:
        """A local bounty for an artifact whose URI and hash are known.

        Args:
            artifact_type: File or URL.
            artifact_uri: Where the artifact is; ``file:`` is taken.
            sha256: SHA-256 of the artifact, 64 hexadecimal digits.
            mimetype: The artifact's type, where it is known.
            rules: The bounds of the bid.
            lifetime: How long until it expires.
            response_url: Where an answer goes.
            phase: Which answer is asked for.
            now: What the lifetime counts from; the present by default.

        Raises:
            InvalidBounty: A value that cannot be.
        """
        sha256 = _sha256(sha256, "sha256")
        seconds = lifetime.total_seconds()
        _check_duration(seconds)  # before it is added to a date, which has an end
        return cls(
            id=local_id(artifact_type, sha256),
            artifact_type=artifact_type,
            artifact_uri=artifact_uri,
            expiration=(datetime.now(UTC) if now is None else now.astimezone(UTC)) + lifetime,
            rules=rules,
            phase=phase,
            sha256=sha256,
            mimetype=mimetype,
            response_url=response_url,
            duration=int(seconds) if seconds.is_integer() else seconds,
            file_allowed=True,
        )


def local_id(artifact_type: ArtifactType, sha256: str) -> int:
    """The id of a local bounty, 0 to 2**32 - 1: the low 32 bits of a name-based UUID (RFC 9562, version 5).

    The namespaces differ by artifact type, so a file that contains a URL is not mistaken for the URL. The last four
    bytes of a version 5 UUID are bytes 12 to 15 of the SHA-1 of namespace and name, untouched by version and variant.

    Args:
        artifact_type: File or URL.
        sha256: SHA-256 of the artifact, 64 lower-case hexadecimal digits.
    """
    from hashlib import sha1  # it loads OpenSSL, and whoever only lists engines needs neither

    digest = sha1(_NAMESPACES[artifact_type.name] + sha256.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[12:16], "big")


def file_uri(path: str | os.PathLike[str]) -> str:
    """The ``file:`` URI of a path (RFC 8089), made absolute; any byte a name may hold is percent-encoded."""
    if type(path) is str and _PLAIN_PATH.match(path):
        return f"file://{path}"
    path = os.fsdecode(path)
    folder, name = os.path.split(path)
    if ".." in (*folder.split("/"), name):
        # What is above a folder that is a link is found by following the link, not by cutting off its name.
        absolute = os.path.realpath(path) if name in ("", ".", "..") else os.path.join(os.path.realpath(folder), name)
    else:
        absolute = os.path.abspath(path)
    return "file://" + quote_from_bytes(os.fsencode(absolute))


# --- one function a field ---------------------------------------------------------------------------------------------


def _check_id(value: object) -> None:
    if type(value) is int:
        if value.bit_length() > 426 or value < 0:  # 10**128 has 426 bits; str() of a hostile integer is quadratic
            raise InvalidBounty("id", value, f"must be a non-negative integer of at most {MAX_ID_LENGTH} digits")
    elif type(value) is str:
        if not 0 < len(value) <= MAX_ID_LENGTH or _has_controls(value):
            raise InvalidBounty("id", value, f"must be 1 to {MAX_ID_LENGTH} printable characters")
    else:
        raise InvalidBounty("id", value, "must be an integer or a string")


def _artifact_type(value: object) -> ArtifactType:
    if isinstance(value, str):
        lowered = value.lower()
        if lowered == "file":
            return ArtifactType.FILE
        if lowered == "url":
            return ArtifactType.URL
    raise InvalidBounty("artifact_type", value, "must be 'file' or 'url'")


def _phase(value: object) -> Phase:
    if value is None:
        return Phase.ASSERTION
    phase = _PHASES.get(value.lower()) if isinstance(value, str) else None
    if phase is None:
        raise InvalidBounty("phase", value, f"must be one of {', '.join(_PHASES)}")
    return phase


def _rules(value: object) -> BountyRules:
    # An empty list is what some senders' languages make of an empty mapping.
    if value is None or value in ({}, []):
        return _LOCAL_RULES
    if not isinstance(value, Mapping):
        raise InvalidBounty("rules", value, "must be an object, an empty list or null")
    low = value.get("min_allowed_bid")
    high = value.get("max_allowed_bid")
    if low is None and high is None:
        return _LOCAL_RULES
    # The bound that is stated moves the other one's default out of its way; one that cannot be is blamed itself.
    if low is None:
        low = min(LOCAL_MIN_ALLOWED_BID, high) if type(high) is int and high >= 0 else 0
    elif high is None:
        high = max(LOCAL_MAX_ALLOWED_BID, low) if type(low) is int else LOCAL_MAX_ALLOWED_BID
    return BountyRules(min_allowed_bid=low, max_allowed_bid=high)  # type: ignore[arg-type]  # checked at birth


def _duration(value: object) -> int | float | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and _SECONDS.match(value):
        value = float(value) if "." in value else int(value)
    return _check_duration(value)


def _check_duration(value: object) -> int | float:
    if type(value) is not int and type(value) is not float:
        raise InvalidBounty("duration", value, "must be a number of seconds")
    if not 0 <= value <= MAX_DURATION:  # false for NaN as well
        raise InvalidBounty("duration", value, f"must be from 0 to {MAX_DURATION} seconds")
    return value


def _expiration(value: object, duration: float | None, now: datetime | None) -> datetime:
    expiration = _timestamp("expiration", value)
    if expiration is not None:
        return expiration
    lifetime = DEFAULT_LIFETIME if duration is None else timedelta(seconds=duration)
    return (now or datetime.now(UTC)).astimezone(UTC) + lifetime


def _timestamp(field: str, value: object) -> datetime | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _TIMESTAMP.match(value):
        raise InvalidBounty(field, value, "must be an ISO 8601 date and time")
    try:
        instant = datetime.fromisoformat(value.upper())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidBounty(field, value, "is no date and time that exists") from None


def _check_instant(field: str, value: object) -> None:
    if not isinstance(value, datetime) or value.tzinfo is not UTC:
        raise InvalidBounty(field, value, "must be an aware datetime in UTC")


def _either_sha256(wire: Mapping[str, object], metadata: Mapping[str, object]) -> str | None:
    """The hash at top level or under ``metadata``; two that differ are refused, since neither can be believed."""
    top, nested = wire.get("sha256"), metadata.get("sha256")
    if top is None:
        return None if nested is None else _sha256(nested, "metadata.sha256")
    value = _sha256(top, "sha256")
    if nested is not None and _sha256(nested, "metadata.sha256") != value:
        raise InvalidBounty("metadata.sha256", nested, f"differs from sha256 ({value})")
    return value


def _either_mimetype(wire: Mapping[str, object], metadata: Mapping[str, object]) -> str | None:
    """The type at top level, else under ``metadata``: one type has many names, and nothing hangs on the sender's."""
    top, nested = wire.get("mimetype"), metadata.get("mimetype")
    if top is None:
        return None if nested is None else _mimetype(nested, "metadata.mimetype")
    if nested is not None:
        _mimetype(nested, "metadata.mimetype")
    return _mimetype(top, "mimetype")


def _sha256(value: object, field: str) -> str:
    if type(value) is not str or not _SHA256.match(value):
        raise InvalidBounty(field, value, "must be 64 hexadecimal digits")
    return value.lower()


def _mimetype(value: object, field: str) -> str:
    if type(value) is not str or len(value) > 255 or not _MIMETYPE.match(value):
        raise InvalidBounty(field, value, "must be a mimetype (type/subtype) of at most 255 characters")
    return value


def _has_controls(text: str) -> bool:
    # What is printable holds none of them, and that is found out at a fraction of the pattern's time.
    return not text.isprintable() and _CONTROLS.search(text) is not None


def _scheme_of(uri: str) -> str:
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def _check_artifact_uri(uri: object, *, file_allowed: bool) -> None:
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


def _check_response_url(url: object) -> None:
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
