"""Analyses: what an engine says of an artifact. Value -> wire, valid from birth; and what an engine says of itself."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final, Self

import msgspec

from psengine_host.bounty import ArtifactType
from psengine_host.bounty_fields import why_no_json
from psengine_host.errors import InvalidAnalysis

__all__ = [
    "MAX_TEXT",
    "Analysis",
    "AnalysisMetadata",
    "Comment",
    "EngineInfo",
    "Scanner",
    "ScannerEnvironment",
    "Verdict",
]

MAX_TEXT: Final = 1 << 20
"""Characters of one text at most, and of all comments together; more is an engine gone wrong, not an answer."""
_MAX_BID: Final = 1 << 256


def _check_type(value: object, field: str, expected: type) -> None:
    if value is not None and not isinstance(value, expected):
        raise InvalidAnalysis(field, value, f"must be a {expected.__name__}")


def _check_texts(struct: msgspec.Struct, prefix: str, fields: tuple[str, ...]) -> None:
    for field in fields:
        value = getattr(struct, field)
        if value is not None:
            _check_text(value, f"{prefix}.{field}" if prefix else field)
            if type(value) is not str:
                msgspec.structs.force_setattr(struct, field, _plain(value))


def _check_text(value: object, field: str, index: int | None = None) -> None:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            reason = f"must be at most {MAX_TEXT} characters"
        elif value.isascii() or _is_encodable(value):
            return
        else:
            reason = "must be text that UTF-8 can hold (lone surrogates it cannot)"
    else:
        reason = "must be a string"
    raise InvalidAnalysis(field if index is None else f"{field}[{index}]", value, reason)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: str) -> str:
    """The text as an exact ``str``: a subclass (an XML library's, numpy's) could not be put on the wire."""
    return str.__str__(value)


class Verdict(enum.StrEnum):
    """The conclusion; the value is the wire's spelling."""

    BENIGN = "benign"
    MALICIOUS = "malicious"
    SUSPICIOUS = "suspicious"
    UNKNOWN = "unknown"

    @property
    def takes_bid(self) -> bool:
        """Whether an assertion of this verdict carries a bid; the others always carry 0."""
        return self is Verdict.MALICIOUS or self is Verdict.BENIGN


_VERDICTS: Final[Mapping[object, Verdict]] = {verdict.value: verdict for verdict in Verdict}


class Comment(enum.StrEnum):
    """The comments that say why an answer is no judgement; the value is the wire's spelling."""

    SKIPPED = "SKIPPED"
    ENCRYPTED = "SKIPPED:ENCRYPTED"
    UNSUPPORTED = "SKIPPED:TYPE-UNSUPPORTED"
    CANNOT_FETCH = "SKIPPED:CANNOT-FETCH"
    UNSAFE_DECOMPRESSION = "SKIPPED:DECOMPRESSION-UNSAFE"
    EXPIRED = "SKIPPED:EXPIRED"
    TIMEOUT = "ERROR:TIMEOUT"
    ENGINE = "ERROR:ENGINE"
    WORKER_LOST = "ERROR:WORKER-LOST"


class ScannerEnvironment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where the scanner ran.

    Args:
        operating_system: Such as ``Linux``.
        architecture: Such as ``x86_64``.
    """

    operating_system: str | None = None
    architecture: str | None = None

    def __post_init__(self) -> None:
        _check_texts(self, "metadata.scanner.environment", ("operating_system", "architecture"))


class Scanner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The versions behind an analysis.

    Args:
        version: Version of the engine's package.
        vendor_version: Version of the vendor's scanner.
        signatures_version: Version of the vendor's signatures.
        environment: Where the scanner ran.
    """

    version: str | None = None
    vendor_version: str | None = None
    signatures_version: str | None = None
    environment: ScannerEnvironment | None = None

    def __post_init__(self) -> None:
        _check_texts(self, "metadata.scanner", ("version", "vendor_version", "signatures_version"))
        _check_type(self.environment, "metadata.scanner.environment", ScannerEnvironment)


class AnalysisMetadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is said beside the verdict.

    Args:
        product: Name of the scanner product.
        malware_family: The vendor's name for what was found.
        comments: Free remarks, in order; the reasons of :class:`Comment` among them.
        heuristic: Whether the verdict comes from a heuristic.
        scanner: The versions behind the analysis.
    """

    product: str | None = None
    malware_family: str | None = None
    comments: tuple[str, ...] = ()
    heuristic: bool | None = None
    scanner: Scanner | None = None

    def __post_init__(self) -> None:
        _check_texts(self, "metadata", ("product", "malware_family"))
        if type(self.comments) is not tuple:
            raise InvalidAnalysis("metadata.comments", self.comments, "must be a tuple of strings")
        size = 0
        exact = True
        for index, comment in enumerate(self.comments):
            _check_text(comment, "metadata.comments", index)
            size += len(comment)
            exact = exact and type(comment) is str
        if not exact:
            msgspec.structs.force_setattr(self, "comments", tuple(_plain(comment) for comment in self.comments))
        if size > MAX_TEXT:
            raise InvalidAnalysis("metadata.comments", size, f"must be at most {MAX_TEXT} characters in all")
        if self.heuristic is not None and type(self.heuristic) is not bool:
            raise InvalidAnalysis("metadata.heuristic", self.heuristic, "must be true or false")
        _check_type(self.scanner, "metadata.scanner", Scanner)


_NO_METADATA: Final = AnalysisMetadata()


class Analysis(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an engine says of one artifact.

    Use the constructors (:meth:`malicious`, :meth:`benign`, :meth:`unsupported`, …) rather than the class itself.

    Args:
        verdict: The conclusion.
        bid: The stake in wei, or None to let the host compute it; suspicious and unknown take none.
        confidence: From 0.0 to 1.0, or None.
        vendor: The vendor's name.
        author: The author's name or key.
        metadata: What is said beside the verdict.

    Raises:
        InvalidAnalysis: Any of them cannot be.
    """

    verdict: Verdict
    bid: int | None = None
    confidence: float | None = None
    vendor: str | None = None
    author: str | None = None
    metadata: AnalysisMetadata = _NO_METADATA

    def __post_init__(self) -> None:
        if type(self.verdict) is not Verdict:
            raise InvalidAnalysis("verdict", self.verdict, "must be a Verdict")
        if self.bid is not None:
            if type(self.bid) is not int:
                raise InvalidAnalysis("bid", self.bid, "must be an integer number of wei")
            if not 0 <= self.bid < _MAX_BID:
                raise InvalidAnalysis("bid", self.bid, "must be from 0 to 2**256 - 1 wei")
            if self.bid and not self.verdict.takes_bid:
                raise InvalidAnalysis("bid", self.bid, f"must be 0 for {self.verdict.value}")
        if self.confidence is not None:
            if not isinstance(self.confidence, (int, float)) or isinstance(self.confidence, bool):
                raise InvalidAnalysis("confidence", self.confidence, "must be a number from 0.0 to 1.0")
            if not 0.0 <= self.confidence <= 1.0:  # false for NaN as well
                raise InvalidAnalysis("confidence", self.confidence, "must be from 0.0 to 1.0")
            if type(self.confidence) is not float and type(self.confidence) is not int:
                # A subclass, such as numpy's, could not be put on the wire.
                msgspec.structs.force_setattr(self, "confidence", float(self.confidence))
        if self.vendor is not None or self.author is not None:
            _check_texts(self, "", ("vendor", "author"))
        if not isinstance(self.metadata, AnalysisMetadata):
            raise InvalidAnalysis("metadata", self.metadata, "must be AnalysisMetadata")

    # --- judgements -------------------------------------------------------------------------------------------------

    @classmethod
    def malicious(
        cls,
        malware_family: str | None = None,
        *,
        confidence: float | None = None,
        bid: int | None = None,
        comments: Iterable[str] = (),
        heuristic: bool | None = None,
    ) -> Self:
        """The artifact is malware.

        Args:
            malware_family: The vendor's name for it.
            confidence: From 0.0 to 1.0.
            bid: The stake in wei; by default the host computes it from the confidence.
            comments: Free remarks.
            heuristic: Whether the verdict comes from a heuristic.
        """
        metadata = AnalysisMetadata(malware_family=malware_family, comments=_comments(comments), heuristic=heuristic)
        return cls(verdict=Verdict.MALICIOUS, confidence=confidence, bid=bid, metadata=metadata)

    @classmethod
    def benign(
        cls,
        *,
        confidence: float | None = None,
        bid: int | None = None,
        comments: Iterable[str] = (),
        heuristic: bool | None = None,
    ) -> Self:
        """The artifact is harmless; arguments as of :meth:`malicious`."""
        metadata = AnalysisMetadata(comments=_comments(comments), heuristic=heuristic)
        return cls(verdict=Verdict.BENIGN, confidence=confidence, bid=bid, metadata=metadata)

    @classmethod
    def suspicious(
        cls,
        malware_family: str | None = None,
        *,
        confidence: float | None = None,
        comments: Iterable[str] = (),
        heuristic: bool | None = None,
    ) -> Self:
        """The artifact may be malware; carries no bid. Arguments as of :meth:`malicious`."""
        metadata = AnalysisMetadata(malware_family=malware_family, comments=_comments(comments), heuristic=heuristic)
        return cls(verdict=Verdict.SUSPICIOUS, confidence=confidence, metadata=metadata)

    @classmethod
    def unknown(cls, *comments: str) -> Self:
        """No judgement, with the reasons as comments; carries no bid."""
        return cls(verdict=Verdict.UNKNOWN, metadata=AnalysisMetadata(comments=comments))

    # --- declined ---------------------------------------------------------------------------------------------------

    @classmethod
    def skipped(cls, *reasons: str) -> Self:
        """The engine does not judge this artifact: ``SKIPPED``."""
        return cls.unknown(Comment.SKIPPED.value, *reasons)

    @classmethod
    def unsupported(cls, *reasons: str) -> Self:
        """The engine does not judge artifacts of this type: ``SKIPPED:TYPE-UNSUPPORTED``."""
        return cls.unknown(Comment.UNSUPPORTED.value, *reasons)

    @classmethod
    def encrypted(cls, *reasons: str) -> Self:
        """The artifact is encrypted, for example an archive with a password: ``SKIPPED:ENCRYPTED``."""
        return cls.unknown(Comment.ENCRYPTED.value, *reasons)

    @classmethod
    def unsafe_decompression(cls, *reasons: str) -> Self:
        """The artifact would unpack to more than is safe; suspicious: ``SKIPPED:DECOMPRESSION-UNSAFE``."""
        metadata = AnalysisMetadata(comments=(Comment.UNSAFE_DECOMPRESSION.value, *reasons))
        return cls(verdict=Verdict.SUSPICIOUS, metadata=metadata)

    @classmethod
    def cannot_fetch(cls, *reasons: str) -> Self:
        """The artifact could not be had: ``SKIPPED:CANNOT-FETCH``."""
        return cls.unknown(Comment.CANNOT_FETCH.value, *reasons)

    @classmethod
    def expired(cls, *reasons: str) -> Self:
        """The bounty had expired before it was judged: ``SKIPPED:EXPIRED``."""
        return cls.unknown(Comment.EXPIRED.value, *reasons)

    # --- failed -----------------------------------------------------------------------------------------------------

    @classmethod
    def engine_error(cls, *reasons: str) -> Self:
        """The engine failed or broke the contract: ``ERROR:ENGINE``."""
        return cls.unknown(Comment.ENGINE.value, *reasons)

    @classmethod
    def timed_out(cls, *reasons: str) -> Self:
        """The engine took longer than its limit: ``ERROR:TIMEOUT``."""
        return cls.unknown(Comment.TIMEOUT.value, *reasons)

    @classmethod
    def worker_lost(cls, *reasons: str) -> Self:
        """The engine's process died: ``ERROR:WORKER-LOST``."""
        return cls.unknown(Comment.WORKER_LOST.value, *reasons)

    # --- what was said ----------------------------------------------------------------------------------------------

    @property
    def malware_family(self) -> str | None:
        """The vendor's name for what was found."""
        return self.metadata.malware_family

    @property
    def comments(self) -> tuple[str, ...]:
        """The remarks, in order."""
        return self.metadata.comments

    @property
    def declined(self) -> bool:
        """Whether the first remark is one of the ``SKIPPED`` reasons."""
        comments = self.metadata.comments
        return bool(comments) and (comments[0] == "SKIPPED" or comments[0].startswith("SKIPPED:"))

    # --- the wire ---------------------------------------------------------------------------------------------------

    @classmethod
    def decode(cls, raw: bytes | str) -> Self:
        """An analysis from JSON.

        Raises:
            InvalidAnalysis: It is no JSON object, or a field cannot be taken.
        """
        try:
            wire = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
            raise InvalidAnalysis("analysis", raw[:80], why_no_json(error)) from error
        return cls.from_wire(wire)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """An analysis from a mapping in wire form; unknown keys are kept out of the way.

        ``confidence`` is taken at top level or under ``metadata``.

        Raises:
            InvalidAnalysis: A field is missing or cannot be taken.
        """
        if not isinstance(wire, Mapping):
            raise InvalidAnalysis("analysis", wire, "must be an object")
        verdict = _VERDICTS.get(spelt) if isinstance(spelt := wire.get("verdict"), str) else None
        if verdict is None:
            raise InvalidAnalysis("verdict", wire.get("verdict"), f"must be one of {', '.join(Verdict)}")
        metadata = _object(wire, "metadata", "metadata")
        scanner = _object(metadata, "scanner", "metadata.scanner")
        environment = _object(scanner, "environment", "metadata.scanner.environment")
        confidence = wire.get("confidence")
        if confidence is None:
            confidence = metadata.get("confidence")
        return cls(
            verdict=verdict,
            bid=wire.get("bid"),
            confidence=confidence,
            vendor=wire.get("vendor"),
            author=wire.get("author"),
            metadata=AnalysisMetadata(
                product=metadata.get("product"),
                malware_family=metadata.get("malware_family"),
                comments=_comments(metadata.get("comments", ())),
                heuristic=metadata.get("heuristic"),
                scanner=Scanner(
                    version=scanner.get("version"),
                    vendor_version=scanner.get("vendor_version"),
                    signatures_version=scanner.get("signatures_version"),
                    environment=ScannerEnvironment(
                        operating_system=environment.get("operating_system"),
                        architecture=environment.get("architecture"),
                    )
                    if scanner.get("environment") is not None
                    else None,
                )
                if metadata.get("scanner") is not None
                else None,
            ),
        )

    def to_wire(self) -> dict[str, Any]:
        """The analysis as the wire has it; unset fields are left out, the confidence stands in both its places."""
        wire: dict[str, Any] = {"verdict": self.verdict.value}
        if self.bid is not None:
            wire["bid"] = self.bid
        if self.confidence is not None:
            wire["confidence"] = self.confidence
        if self.vendor is not None:
            wire["vendor"] = self.vendor
        if self.author is not None:
            wire["author"] = self.author
        source = self.metadata
        metadata: dict[str, Any] = {}
        if source.product is not None:
            metadata["product"] = source.product
        if source.malware_family is not None:
            metadata["malware_family"] = source.malware_family
        if source.comments:
            metadata["comments"] = list(source.comments)
        if source.heuristic is not None:
            metadata["heuristic"] = source.heuristic
        if self.confidence is not None:
            metadata["confidence"] = self.confidence
        if source.scanner is not None:
            metadata["scanner"] = msgspec.to_builtins(source.scanner)
        if metadata:
            wire["metadata"] = metadata
        return wire

    def encode(self) -> bytes:
        """The analysis as JSON, in UTF-8, integers exact."""
        return msgspec.json.encode(self.to_wire())


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself, once per worker.

    Args:
        product: Name of the scanner product; by default the engine's name.
        vendor: The vendor's name.
        author: The author's name or key.
        engine_version: Version of the vendor's scanner.
        signatures_version: Version of the vendor's signatures.
        signatures_date: Day of the signatures.
        artifact_types: Artifact types taken; files only by default.
        mimetypes: Mimetypes taken, aliases and wildcards (``text/*``) included; empty, with no category: all.
        categories: Categories taken, by the names of ``psengine categories``.
        max_artifact_size: Bytes of an artifact at most, or None for no limit; a larger one is answered ``SKIPPED``.

    Raises:
        InvalidAnalysis: Any of them cannot be.
    """

    product: str | None = None
    vendor: str | None = None
    author: str | None = None
    engine_version: str | None = None
    signatures_version: str | None = None
    signatures_date: date | None = None
    artifact_types: frozenset[ArtifactType] = frozenset({ArtifactType.FILE})
    mimetypes: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    max_artifact_size: int | None = None

    def __post_init__(self) -> None:
        _check_texts(self, "info", ("product", "vendor", "author", "engine_version", "signatures_version"))
        if self.signatures_date is not None and not isinstance(self.signatures_date, date):
            raise InvalidAnalysis("info.signatures_date", self.signatures_date, "must be a date")
        if isinstance(self.signatures_date, datetime):
            msgspec.structs.force_setattr(self, "signatures_date", self.signatures_date.date())
        for field in ("artifact_types", "mimetypes", "categories"):
            given = getattr(self, field)
            if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
                raise InvalidAnalysis(f"info.{field}", given, "must be a collection of strings")
            values = tuple(given)
            for value in values:
                _check_text(value, f"info.{field}")
            values = tuple(_plain(value) for value in values)
            if field == "artifact_types":
                try:
                    values = tuple(ArtifactType(value.lower()) for value in values)
                except ValueError:
                    raise InvalidAnalysis(f"info.{field}", given, "must hold 'file' or 'url'") from None
                if not values:
                    raise InvalidAnalysis(f"info.{field}", given, "must name at least one artifact type")
            if field == "categories" and values:
                from psengine_host.filetypes import UnknownCategory, category

                try:
                    for value in values:
                        category(value)
                except UnknownCategory as error:
                    raise InvalidAnalysis("info.categories", given, str(error)) from None
            msgspec.structs.force_setattr(self, field, frozenset(values))
        size = self.max_artifact_size
        if size is not None and (type(size) is not int or size < 0):
            raise InvalidAnalysis("info.max_artifact_size", size, "must be a number of bytes or None")


def _comments(comments: object) -> tuple[str, ...]:
    if comments is None:
        return ()
    if isinstance(comments, (str, bytes, Mapping)) or not isinstance(comments, Iterable):
        raise InvalidAnalysis("metadata.comments", comments, "must be a list of strings")
    return tuple(comments)


def _object(wire: Mapping[str, object], key: str, field: str) -> Mapping[str, Any]:
    value = wire.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidAnalysis(field, value, "must be an object")
    return value
