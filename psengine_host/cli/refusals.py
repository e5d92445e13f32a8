"""Inputs that became no bounty: what their rows say."""

from __future__ import annotations

from psengine_host.cli.inputs import FileInput, Input, RemoteInput, StreamInput
from psengine_host.cli.rows import shown_name
from psengine_host.errors import ArtifactError, InvalidBounty, one_line

__all__ = ["refused"]


def refused(item: Input, error: ArtifactError | InvalidBounty) -> tuple[str, str]:
    """Kind and message of the error of an input that became no bounty.

    Args:
        item: The input.
        error: What was raised when it was opened.

    Returns:
        ``fetch`` or ``bounty``, and the message with the input's name.
    """
    name = shown_name(item.name)
    if isinstance(error, InvalidBounty):
        if isinstance(item, (FileInput, StreamInput)):
            return "bounty", f"{name}: {one_line(error)}"
        # A URI that cannot be one is an artifact that cannot be had.
        return "fetch", f"{name}: {error.reason}"
    message = one_line(error)
    names = [name]
    if isinstance(item, RemoteInput):
        from psengine_host.network.errors import masked

        names.append(masked(item.uri))  # what a failed fetch calls it
    return "fetch", message if message.startswith(tuple(f"{each}: " for each in names)) else f"{name}: {message}"
