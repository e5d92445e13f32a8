"""Bounties: one artifact to judge, a deadline, bid limits and where to answer. Wire -> value, valid from birth.

The wire has grown over the years, so several spellings of one fact are taken (see ``docs/reference/wire.md``); what is
sent is always the first of them. A bounty that cannot be taken is refused with :class:`InvalidBounty`, which names the
field and the value.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final, Self

import msgspec

from psengine_host.bounty_fields import (
    check_artifact_uri,
    check_duration,
    check_id,
    check_instant,
    check_response_url,
    either_mimetype,
    either_sha256,
    read_duration,
    read_mimetype,
    read_sha256,
    read_timestamp,
    why_no_json,
)
from psengine_host.errors import InvalidBounty
from psengine_host.local_names import file_uri, local_id

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

_MAX_BID: Final = 1 << 256
"""Bids are uint256 on the chain."""
_ANY_MIMETYPE: Final = "application/octet-stream"


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


class BountyRules(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class Bounty(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
        check_id(self.id)
        check_artifact_uri(self.artifact_uri, file_allowed=self.file_allowed)
        if self.response_url is not None:
            check_response_url(self.response_url)
        if type(self.artifact_type) is not ArtifactType:
            raise InvalidBounty("artifact_type", self.artifact_type, "must be an ArtifactType")
        if type(self.phase) is not Phase:
            raise InvalidBounty("phase", self.phase, "must be a Phase")
        if not isinstance(self.rules, BountyRules):
            raise InvalidBounty("rules", self.rules, "must be BountyRules")
        check_instant("expiration", self.expiration)
        if self.tasked_at is not None:
            check_instant("tasked_at", self.tasked_at)
        if self.sha256 is not None and read_sha256(self.sha256, "sha256") != self.sha256:
            raise InvalidBounty("sha256", self.sha256, "must be lower-case")
        if self.mimetype is not None:
            read_mimetype(self.mimetype, "mimetype")
        if self.duration is not None:
            check_duration(self.duration)

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
        duration = read_duration(get("duration"))
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
            sha256=either_sha256(wire, metadata),
            mimetype=either_mimetype(wire, metadata),
            response_url=get("response_url"),
            duration=duration,
            tasked_at=read_timestamp("tasked_at", get("tasked_at")),
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
            media = read_mimetype(mimetype, "mimetype").partition(";")[0].rstrip() if mimetype else _ANY_MIMETYPE
            uri = f"data:{media};base64,{b64encode(data).decode()}"
            sha256 = sha256 or hashlib.sha256(data).hexdigest()
        else:
            uri = url or ""
            check_artifact_uri(uri, file_allowed=True)  # first: what cannot be a URL can perhaps not be encoded either
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
        sha256 = read_sha256(sha256, "sha256")
        seconds = lifetime.total_seconds()
        check_duration(seconds)  # before it is added to a date, which has an end
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


def _expiration(value: object, duration: float | None, now: datetime | None) -> datetime:
    expiration = read_timestamp("expiration", value)
    if expiration is not None:
        return expiration
    lifetime = DEFAULT_LIFETIME if duration is None else timedelta(seconds=duration)
    return (now or datetime.now(UTC)).astimezone(UTC) + lifetime
