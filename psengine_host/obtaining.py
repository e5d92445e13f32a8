"""Obtaining: from a bounty to its artifact, wherever that is, verified against the bounty's hash."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Final
from urllib.parse import unquote_to_bytes

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.bounty_fields import check_http
from psengine_host.errors import ArtifactError, ArtifactUnavailable, InvalidBounty, shown
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["Obtainer"]

_MAX_URL: Final = 1 << 16
"""Bytes of a ``text/uri-list`` at most."""
_LONGEST: Final = 3_600.0
"""Seconds of a fetch at most, where a bounty gives more."""


class Obtainer:
    """Gets artifacts: fetched into the spool, decoded from ``data:`` URIs, or opened where they are.

    Args:
        settings: Limits, and what may be connected to.
        spool: Where fetched artifacts go.
    """

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._settings = settings
        self._spool = spool

    def obtain(self, bounty: Bounty, deadline: float) -> Artifact:
        """The artifact of a bounty; close it when done.

        Args:
            bounty: The job.
            deadline: When the fetch must have ended, on the clock of ``time.monotonic``.

        Raises:
            ArtifactError: It cannot be had, or is not what the bounty's hash says.
        """
        if bounty.is_url:
            return self._url(bounty)
        began = time.monotonic()
        artifact = self._file(bounty, deadline)
        artifact.obtained_in = time.monotonic() - began
        try:
            artifact.check_sha256(bounty.sha256)
        except BaseException:
            artifact.close()
            raise
        return artifact

    def _file(self, bounty: Bounty, deadline: float) -> Artifact:
        uri = bounty.artifact_uri
        scheme = uri[:5].lower()
        if scheme == "data:":
            return Artifact.from_bytes(
                self._decoded(uri, self._settings.network.max_artifact_size), name="data: URI", spool=self._spool
            )
        if scheme == "file:":
            if not bounty.file_allowed:
                raise ArtifactUnavailable(f"{uri}: file: is only taken from the local command line")
            return Artifact.from_path(os.fsdecode(unquote_to_bytes(uri[7:])))
        return self._fetched(bounty, deadline)

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
        from psengine_host.network.errors import NetworkError

        try:
            return decode_data_uri(uri, limit).data
        except NetworkError as error:
            raise ArtifactError(str(error)) from error

    def _fetched(self, bounty: Bounty, deadline: float) -> Artifact:
        from psengine_host.network.errors import NetworkError, masked
        from psengine_host.network.fetching import FetchLimits, fetch_now
        from psengine_host.network.guard import NetworkGuard

        network = self._settings.network
        try:
            guard = NetworkGuard(network.allow)
            file, path = self._spool.create()
        except NetworkError as error:
            raise ArtifactError(str(error)) from error
        except OSError as error:
            raise ArtifactError(f"cannot write to the spool {self._spool.folder}: {error.strerror}") from error
        try:
            with file:
                fetch_now(
                    bounty.artifact_uri,
                    file,
                    limits=FetchLimits(max_size=network.max_artifact_size),
                    guard=guard,
                    deadline=min(deadline, time.monotonic() + _LONGEST),
                    sha256=bounty.sha256,
                )
            self._spool.seal(path)
        except NetworkError as error:
            self._spool.discard(path)
            raise ArtifactError(str(error)) from error
        except OSError as error:  # the last bytes are written when the file is closed
            self._spool.discard(path)
            raise ArtifactError(f"cannot write to the spool {self._spool.folder}: {error.strerror}") from error
        except BaseException:
            self._spool.discard(path)
            raise
        return Artifact.from_spooled(path, self._spool, name=masked(bounty.artifact_uri))


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
