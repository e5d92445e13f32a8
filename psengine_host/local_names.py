"""What a local artifact is called: the id of its bounty, and the URI of its file."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote_from_bytes

__all__ = ["file_uri", "local_id"]

_NAMESPACES: Final = {
    # uuid5(uuid5(fafee1eb-ee7d-4b31-bee5-1547bd26c731, "FILE" or "URL"), sha256): the namespaces as raw bytes
    "file": bytes.fromhex("b379081429ac50b3808d8f6b361d21fe"),
    "url": bytes.fromhex("eedf52464c5f5b2a9c02a8cc4c328347"),
}
_PLAIN_PATH = re.compile(r"(?:/(?!\.{0,2}(?:/|\Z))[A-Za-z0-9_.~-]+)+\Z")
"""An absolute path that is its own URI: nothing in it to quote or to resolve."""


def local_id(artifact_type: str, sha256: str) -> int:
    """The id of a local bounty, 0 to 2**32 - 1: the low 32 bits of a name-based UUID (RFC 9562, version 5).

    The namespaces differ by artifact type, so a file that contains a URL is not mistaken for the URL. The last four
    bytes of a version 5 UUID are bytes 12 to 15 of the SHA-1 of namespace and name, untouched by version and variant.

    Args:
        artifact_type: ``file`` or ``url``.
        sha256: SHA-256 of the artifact, 64 lower-case hexadecimal digits.
    """
    from hashlib import sha1  # it loads OpenSSL, and whoever only lists engines needs neither

    digest = sha1(_NAMESPACES[artifact_type] + sha256.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[12:16], "big")


def file_uri(path: str | os.PathLike[str]) -> str:
    """The ``file:`` URI of a path (RFC 8089), made absolute; any byte a name may hold is percent-encoded."""
    if type(path) is str and _PLAIN_PATH.match(path):
        return f"file://{path}"
    path = os.fsdecode(path)
    folder, name = os.path.split(path)
    if ".." in (*folder.split("/"), name):
        # What is above a folder that is a link is found by following the link, not by cutting off its name.
        absolute = os.path.realpath(path) if name in ("", ".", "..") else os.path.join(os.path.realpath(folder), name)
    else:
        absolute = os.path.abspath(path)
    return "file://" + quote_from_bytes(os.fsencode(absolute))
