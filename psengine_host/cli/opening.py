"""Opening an input: what the command line named becomes an artifact with its bounty, or a bounty to be obtained."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final

from psengine_host.artifacts import Artifact
from psengine_host.bounty import LOCAL_LIFETIME, ArtifactType, Bounty
from psengine_host.cli.inputs import FileInput, Input, RemoteInput, StreamInput, TextInput, UrlInput
from psengine_host.cli.rows import shown_name
from psengine_host.errors import ArtifactError
from psengine_host.local_bounties import bounty_for
from psengine_host.obtaining import Obtainer
from psengine_host.quantities import format_size
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["Opener"]

_CHUNK: Final = 1 << 18


class Opener:
    """Opens inputs.

    Args:
        settings: The host's settings: the time limit of a fetch, the size of a bounty.
        spool: Where streams go.
        obtainer: Fetches artifacts.
        lifetime: How long the bounties made here live; at least the host's time limit.
        identify: Whether they name the mimetype of their artifact.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        obtainer: Obtainer,
        lifetime: timedelta = LOCAL_LIFETIME,
        *,
        identify: bool = True,
    ) -> None:
        self._timeout = settings.host.timeout
        self._max_bounty_size = settings.host.max_bounty_size
        self._obtainer = obtainer
        self._spool = spool
        self._identify = identify
        self._lifetime = max(lifetime, timedelta(seconds=self._timeout))

    def open(self, item: Input) -> tuple[Artifact, Bounty]:
        """The artifact of an input, and its local bounty. Close the artifact when done.

        Args:
            item: The input.

        Raises:
            ArtifactError: It cannot be had.
            InvalidBounty: It is a URI that cannot be one.
        """
        artifact = self._artifact(item)
        return artifact, self.bounty_of(item, artifact)

    def fetch(self, item: RemoteInput, deadline: float) -> Artifact:
        """The content of a URL. Close it when done.

        Args:
            item: The input.
            deadline: When the fetch must have ended, on the clock of ``time.monotonic``.

        Raises:
            ArtifactError: It cannot be had.
            InvalidBounty: It is a URI that cannot be one.
        """
        return self._obtainer.obtain(_provisional(item.uri, ArtifactType.FILE), deadline)

    def bounty_of(self, item: Input, artifact: Artifact) -> Bounty:
        """The local bounty of an input whose artifact is there; if it cannot be made, the artifact is closed.

        Raises:
            ArtifactError: The artifact cannot be read.
        """
        uri = _uri(item) if isinstance(item, (TextInput, RemoteInput)) else None
        try:
            return bounty_for(artifact, identify=self._identify, lifetime=self._lifetime, uri=uri)
        except BaseException:
            artifact.close()
            raise

    def read_bounty(self, item: FileInput | StreamInput) -> Bounty:
        """The bounty that a file or a stream holds in JSON.

        Args:
            item: The input.

        Raises:
            ArtifactError: It cannot be read, or is too long.
            InvalidBounty: It is no bounty.
        """
        try:
            with _stream(item) as stream:
                raw = _at_most(stream, self._max_bounty_size)
        except OSError as error:
            raise _unreadable(item, error) from error
        if raw is None:
            limit = format_size(self._max_bounty_size)
            reason = f"a bounty has at most {limit}; raise the setting host.max_bounty_size"
            raise ArtifactError(f"{shown_name(item.name)}: {reason}")
        return Bounty.decode(raw, file_allowed=True)

    def shared(self, bounty: Bounty, engines: Sequence[str]) -> Artifact | None:
        """The file of a bounty that several engines judge: fetched once, and the same bytes for all of them.

        None where the engine may fetch it itself, or where it cannot be had: then each is told so in its turn.

        Args:
            bounty: The bounty.
            engines: The engines.
        """
        if len(engines) < 2 or bounty.is_url or bounty.expired():
            return None
        try:
            return self._obtainer.obtain(bounty, time.monotonic() + self._timeout)
        except ArtifactError:
            return None

    def _artifact(self, item: Input) -> Artifact:
        if isinstance(item, FileInput):
            return Artifact.from_path(item.path, name=item.name)
        if isinstance(item, StreamInput):
            try:
                opened = _stream(item)
            except OSError as error:
                raise _unreadable(item, error) from error
            with opened as stream:
                return Artifact.from_stream(stream, self._spool, name=item.name)
        if isinstance(item, UrlInput):
            _provisional(item.uri, ArtifactType.URL)
            return Artifact.from_url(item.uri, spool=self._spool)
        if isinstance(item, (TextInput, RemoteInput)):
            deadline = time.monotonic() + self._timeout
            return self._obtainer.obtain(_provisional(_uri(item), ArtifactType.FILE), deadline)
        raise ArtifactError(f"{shown_name(item.name)}: {item.message}")


def _stream(item: FileInput | StreamInput) -> AbstractContextManager[BinaryIO]:
    """The input, open; standard input stays so afterwards, or the next file that is opened would take its place."""
    if isinstance(item, FileInput):
        return open(item.path, "rb")
    stream = item.open()
    return nullcontext(stream) if item.name == "-" else stream


def _at_most(stream: BinaryIO, limit: int) -> bytes | None:
    """All of a stream, or None where that is more than the limit; then no more than the limit has been in memory."""
    with contextlib.suppress(OSError, ValueError):  # not a file
        if os.fstat(stream.fileno()).st_size > limit:
            return None
    content = bytearray()
    while chunk := stream.read(_CHUNK):
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def _uri(item: TextInput | RemoteInput) -> str:
    return item.text if isinstance(item, TextInput) else item.uri


def _provisional(uri: str, artifact_type: ArtifactType) -> Bounty:
    """A bounty for a URI whose content is not known yet; checks the URI."""
    expiration = datetime.now(UTC) + timedelta(days=2)
    return Bounty(id=0, artifact_type=artifact_type, artifact_uri=uri, expiration=expiration)


def _unreadable(item: FileInput | StreamInput, error: OSError) -> ArtifactError:
    return ArtifactError(f"{shown_name(item.name)}: {(error.strerror or str(error)).lower()}")
