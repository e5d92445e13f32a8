"""A bounty made of what the command line named."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.cli.inputs import StreamInput
from psengine_host.cli.opening import Opener
from psengine_host.cli.single_input import single_input
from psengine_host.errors import ArtifactError, InvalidBounty, UsageError
from psengine_host.escapes import printable
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["MAX_INLINE", "make_bounty"]

MAX_INLINE: Final = 40 << 20
"""Bytes of a stream that a bounty carries at most: a third more as base64, and still a bounty that is read."""


def make_bounty(name: str, settings: Settings, *, url: bool, expiration: float, response_url: str | None) -> Bounty:
    """A local bounty.

    Args:
        name: The artifact: whatever ``analyze`` takes, but a folder.
        settings: The host's settings, for a fetch.
        url: Whether it is a URL that is itself the artifact.
        expiration: Seconds until the bounty expires.
        response_url: Where the answer goes, or None.

    Raises:
        UsageError: What is named cannot be in a bounty; names the field and the value.
        ArtifactError: The artifact cannot be had.
    """
    try:
        with (
            Fetcher(settings.network) as fetcher,
            Spool(max_size=settings.spool.max_size) as spool,
            Obtainer(settings, spool, fetcher) as obtainer,
        ):
            item = single_input(name, url=url)
            artifact, local = Opener(settings, spool, obtainer).open(item)
            with artifact:
                return Bounty.forge(
                    local.artifact_type,
                    _inline(artifact) if isinstance(item, StreamInput) else local.artifact_uri,
                    artifact.sha256,
                    mimetype=local.mimetype,
                    lifetime=timedelta(seconds=expiration),
                    response_url=response_url,
                )
    except InvalidBounty as error:
        raise UsageError(str(error)) from error


def _inline(artifact: Artifact) -> str:
    """A stream's bytes as a ``data:`` URI: where they are kept meanwhile is gone when this program ends."""
    from psengine_host.network.data_uris import encode_data_uri

    if artifact.size > MAX_INLINE:
        reason = f"{artifact.size:,} bytes are too many for a bounty ({MAX_INLINE >> 20} MiB); make it of a file"
        raise ArtifactError(f"{printable(artifact.name)}: {reason}")
    return encode_data_uri(artifact.read_bytes(), artifact.mimetype)
