"""The one ARTIFACT argument of ``debug`` and ``create-bounty``: the same things as ``analyze`` takes, but folders."""

from __future__ import annotations

import sys

from psengine_host.cli.inputs import BadInput, Input, gather
from psengine_host.cli.rows import shown_name
from psengine_host.errors import ArtifactError

__all__ = ["single_input"]


def single_input(argument: str, *, url: bool) -> Input:
    """What an argument means.

    Args:
        argument: As it was given.
        url: Whether it is a URL that is itself the artifact.

    Raises:
        ArtifactError: It cannot be read.
    """
    found = gather(
        [argument],
        kind="url" if url else "file",
        recursive=False,
        include=(),
        exclude=(),
        files_from=None,
        stdin=sys.stdin.buffer,
    )
    item = next(found)
    if isinstance(item, BadInput):
        message = item.message.replace(": use -r to scan it", ", not a file")
        raise ArtifactError(f"{shown_name(item.name)}: {message}")
    return item
