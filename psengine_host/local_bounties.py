"""Local bounties: the job that is made of an artifact which nobody has put a bounty on."""

from __future__ import annotations

from datetime import timedelta

from psengine_host.artifacts import Artifact
from psengine_host.bounty import LOCAL_LIFETIME, URL_MIMETYPE, Bounty

__all__ = ["bounty_for"]


def bounty_for(
    artifact: Artifact, *, identify: bool = False, lifetime: timedelta = LOCAL_LIFETIME, uri: str | None = None
) -> Bounty:
    """The local bounty of an artifact.

    Args:
        artifact: The artifact.
        identify: Whether to name its mimetype, which costs about half a millisecond for a file.
        lifetime: How long until it expires.
        uri: Where it came from; by default where it is.

    Raises:
        ArtifactError: It cannot be read.
    """
    mimetype = URL_MIMETYPE if artifact.url is not None else artifact.mimetype if identify else None
    uri = artifact.uri if uri is None else uri
    return Bounty.forge(artifact.artifact_type, uri, artifact.sha256, mimetype=mimetype, lifetime=lifetime)
