"""Obtaining: from a bounty to its artifact, wherever that is, verified against the bounty's hash."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast
from urllib.parse import unquote_to_bytes

from psengine_host.artifact_store import ArtifactStore, Holding
from psengine_host.artifacts import KEPT_IN_MEMORY, Artifact
from psengine_host.bounty import Bounty
from psengine_host.bounty_fields import check_http
from psengine_host.errors import ArtifactError, ArtifactUnavailable, InvalidBounty, PsengineError, shown
from psengine_host.settings import Settings
from psengine_host.shared_fetches import NotFetched, SharedFetches
from psengine_host.spool import Spool

if TYPE_CHECKING:
    from psengine_host.network.fetcher import Fetcher

__all__ = ["Obtainer"]

logger = logging.getLogger(__name__)

_MAX_URL: Final = 1 << 16
"""Bytes of a ``text/uri-list`` at most."""
_LONGEST: Final = 3_600.0
"""Seconds of a fetch at most, where a bounty gives more."""
_CARRIED: Final = "data: URI"


class Obtainer:
    """Gets artifacts: fetched into the spool, decoded from ``data:`` URIs, or opened where they are.

    Bytes from the network are there once, however many bounties and engines ask for them at the same time: found by the
    bounty's hash, or by being the artifact of the very same bounty. Files of the user's are never shared.

    Args:
        settings: Limits.
        spool: Where fetched artifacts go.
        fetcher: Fetches them.
    """

    def __init__(self, settings: Settings, spool: Spool, fetcher: Fetcher) -> None:
        self._settings = settings
        self._spool = spool
        self._fetcher = fetcher
        self._store = ArtifactStore(spool)
        self._fetches = SharedFetches(self._store)

    def obtain(self, bounty: Bounty, deadline: float) -> Artifact:
        """The artifact of a bounty; close it when done.

        Args:
            bounty: The job.
            deadline: When the fetch must have ended, on the clock of ``time.monotonic``; never later than the bounty
                expires.

        Raises:
            ArtifactError: It cannot be had, or is not what the bounty's hash says.
        """
        if bounty.is_url:
            return self._url(bounty)
        began = time.monotonic()
        artifact = self._file(bounty, deadline)
        artifact.obtained_in = time.monotonic() - began
        return artifact

    def close(self) -> None:
        """Let go of what was kept for the next bounty."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _file(self, bounty: Bounty, deadline: float) -> Artifact:
        uri = bounty.artifact_uri
        scheme = uri[:5].lower()
        if scheme == "data:":
            return self._carried(bounty)
        if scheme == "file:":
            if not bounty.file_allowed:
                raise ArtifactUnavailable(f"{uri}: file: is only taken from the local command line")
            artifact = Artifact.from_path(os.fsdecode(unquote_to_bytes(uri[7:])))
            artifact.check_sha256(bounty.sha256)
            return artifact
        return self._fetched(bounty, deadline)

    def _carried(self, bounty: Bounty) -> Artifact:
        """What a ``data:`` URI carries; shared, where a hash tells that it is the same."""
        data = self._decoded(bounty.artifact_uri, self._settings.network.max_artifact_size)
        artifact = Artifact.from_bytes(data, name=_CARRIED, spool=self._spool)
        if bounty.sha256 is None:
            return artifact
        artifact.check_sha256(bounty.sha256)
        return self._store.artifact(self._store.add(data, bounty.sha256, len(data)), _CARRIED)

    def _url(self, bounty: Bounty) -> Artifact:
        """The URL itself; a ``data:`` URI carries it as a ``text/uri-list``, whose remarks begin with ``#``."""
        uri = bounty.artifact_uri
        carrier: bytes | None = None
        if uri[:5].lower() == "data:":
            carrier = self._decoded(uri, _MAX_URL)
            uri = _carried_url(carrier)
        artifact = Artifact.from_url(uri, spool=self._spool)
        # Of a URL that is carried, a sender may have hashed all that carries it, down to the line's end.
        artifact.check_sha256(bounty.sha256, *([] if carrier is None else [hashlib.sha256(carrier).hexdigest()]))
        return artifact

    def _decoded(self, uri: str, limit: int) -> bytes:
        from psengine_host.network.data_uris import decode_data_uri

        try:
            return decode_data_uri(uri, limit).data
        except PsengineError as error:
            raise ArtifactError(str(error)) from error

    def _fetched(self, bounty: Bounty, deadline: float) -> Artifact:
        from psengine_host.network.errors import masked

        uri, sha256 = bounty.artifact_uri, bounty.sha256
        name = masked(uri)
        left = _LONGEST
        if self._settings.host.discard_expired_bounties:
            left = min(left, (bounty.expiration - datetime.now(UTC)).total_seconds())
        deadline = min(deadline, time.monotonic() + left)
        try:
            holding = self._store.find(sha256, bounty)
            if holding is None:
                holding = self._fetches.get((uri, sha256), deadline, lambda: self._fetch(bounty, deadline))
        except NotFetched as error:
            raise ArtifactError(f"{name}: {error.reason}") from error
        return self._store.artifact(holding, name)

    def _fetch(self, bounty: Bounty, deadline: float) -> Holding:
        """Fetch the artifact of a bounty over the network, and hold it."""
        from psengine_host.network.errors import FetchError, Unreachable, masked

        if (holding := self._store.find(bounty.sha256, bounty)) is not None:
            return holding  # another's fetch has ended between the first look and this turn
        began = time.monotonic()
        with self._spool.deposit(KEPT_IN_MEMORY) as deposit:
            destination = cast(BinaryIO, deposit)  # as much of a file as a fetch needs
            try:
                fetched = self._fetcher.fetch(bounty.artifact_uri, destination, deadline=deadline, sha256=bounty.sha256)
                kept = deposit.keep()
            except FetchError as error:
                late = isinstance(error.__cause__, (Unreachable, TimeoutError))
                raise NotFetched(error.reason, for_want_of_time=late) from error
            except OSError as error:
                raise NotFetched(f"cannot be written to the spool: {error.strerror or error}") from error
            if logger.isEnabledFor(logging.INFO):
                seconds = time.monotonic() - began
                logger.info("fetched %s: %d bytes in %.3f s", masked(bounty.artifact_uri), fetched.size, seconds)
            return self._store.add(kept, fetched.sha256, fetched.size, bounty)


def _carried_url(carrier: bytes) -> str:
    """The first URL of a ``text/uri-list`` (RFC 2483, section 5); refused unless it is ``http`` or ``https``.

    An engine is handed this URL to open it, so nobody on the network may put another scheme here either.
    """
    try:
        lines = carrier.decode().splitlines()
    except UnicodeDecodeError:
        raise ArtifactError("the data: URI of a URL artifact does not hold text in UTF-8") from None
    url = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
    if not url:
        raise ArtifactError("the data: URI of a URL artifact holds no URL")
    if url.partition(":")[0].lower() not in ("http", "https"):
        raise ArtifactUnavailable(f"the data: URI of a URL artifact must hold an http or https URL, got {shown(url)}")
    try:
        check_http("the data: URI of a URL artifact", url)
    except InvalidBounty as error:
        raise ArtifactError(str(error)) from None
    return url
