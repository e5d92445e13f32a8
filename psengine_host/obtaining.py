"""Obtaining: from a bounty to its artifact, wherever that is, verified against the bounty's hash."""

from __future__ import annotations

import os
import time
from typing import Final
from urllib.parse import unquote_to_bytes

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.errors import ArtifactError, ArtifactUnavailable
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["Obtainer"]

_MAX_URL: Final = 1 << 16
"""Bytes of a ``text/uri-list`` at most."""


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
        artifact = self._url(bounty) if bounty.is_url else self._file(bounty, deadline)
        try:
            if bounty.sha256 is not None and artifact.sha256 != bounty.sha256:
                raise ArtifactError(f"the artifact's SHA-256 is {artifact.sha256}, the bounty says {bounty.sha256}")
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
        if uri[:5].lower() == "data:":
            try:
                lines = self._decoded(uri, _MAX_URL).decode().splitlines()
            except UnicodeDecodeError:
                raise ArtifactError("the data: URI of a URL artifact does not hold text in UTF-8") from None
            uri = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
            if not uri:
                raise ArtifactError("the data: URI of a URL artifact holds no URL")
        return Artifact.from_url(uri, spool=self._spool)

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


_LONGEST: Final = 3_600.0
"""Seconds of a fetch at most, where a bounty gives more."""
