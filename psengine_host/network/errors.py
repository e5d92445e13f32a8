"""The network's branch of the error tree.

::

    NetworkError
    ├── FetchError         an artifact that could not be fetched; the only error that fetching raises
    ├── InvalidDataUri     a ``data:`` URI that is malformed or too large
    ├── ForbiddenAddress   the guard refused a connection
    ├── Unreachable        no answer, or not a whole one; trying again may help
    └── BadAnswer          an answer, a URL or a peer that another try would not mend
        └── UndecodableBody
"""

from __future__ import annotations

import re

from psengine_host.errors import PsengineError

__all__ = [
    "BadAnswer",
    "FetchError",
    "ForbiddenAddress",
    "InvalidDataUri",
    "NetworkError",
    "UndecodableBody",
    "Unreachable",
    "clean",
    "masked",
]

_HIERARCHY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?([/\\]*)([^/\\]*)(.*)", re.DOTALL)
_NO_PORT = re.compile(r":[^0-9]")
_SHOWN = 200
"""Characters of a foreign text (a URL, a header, a body) that a message shows."""


class NetworkError(PsengineError):
    """Base of every error about the network."""


class ForbiddenAddress(NetworkError):
    """The guard refused a connection; no socket was opened.

    Args:
        address: The address that would have been connected to.
        reason: What kind of address it is.
        host: The name in the URL that led there, when it is known and another text than the address.
    """

    def __init__(self, address: str, reason: str, host: str | None = None) -> None:
        self.address = address
        self.reason = reason
        self.host = host
        led = f" ({clean(host)})" if host is not None and host.strip("[]") != address else ""
        super().__init__(
            f"connecting to {clean(address)}{led} is forbidden: {reason}; "
            "the setting network.allow, or PSENGINE_NETWORK_ALLOW, can permit it"
        )

    def __reduce__(self) -> tuple[type[ForbiddenAddress], tuple[str, str, str | None]]:
        return type(self), (self.address, self.reason, self.host)


class InvalidDataUri(NetworkError):
    """A ``data:`` URI that is malformed or larger than allowed."""


class Unreachable(NetworkError):
    """The other end could not be reached, or went away before its answer was whole.

    Args:
        reason: What happened, in one line.
        retry_after: Seconds that the other end asked to wait, if it did.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[Unreachable], tuple[str, float | None]]:
        return type(self), (self.reason, self.retry_after)


class BadAnswer(NetworkError):
    """A URL that cannot be asked, a peer that is not trusted or an answer that is not acceptable."""


class UndecodableBody(BadAnswer):
    """A body whose ``Content-Encoding`` is unknown, or that is not what its encoding says."""


class FetchError(NetworkError):
    """An artifact could not be fetched.

    Args:
        uri: Where from, as it was given; the message shows it without user, password and query.
        reason: Why, in one line.
    """

    def __init__(self, uri: str, reason: str) -> None:
        self.uri = uri
        self.reason = reason
        super().__init__(f"cannot fetch {masked(uri)}: {reason}")

    def __reduce__(self) -> tuple[type[FetchError], tuple[str, str]]:
        return type(self), (self.uri, self.reason)


def clean(text: str) -> str:
    """Foreign text as a message may show it: one line, nothing unprintable, at most 200 characters."""
    short = text[:_SHOWN]
    if not short.isprintable():
        short = "".join(
            character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
            for character in short
        )
    return short if len(text) <= _SHOWN else f"{short}…"


def masked(uri: str) -> str:
    """A URI as messages and logs may show it: without user, password, query, fragment and data.

    Args:
        uri: Any text, however malformed.

    Returns:
        For example ``https://***@host/path?…`` or ``data:image/png;base64,…``.
    """
    start = uri[: 4 * _SHOWN]
    if start[:5].lower() == "data:":
        return clean(start.partition(",")[0][:60]) + ",…"
    hierarchy, query, _ = start.partition("?")
    parts = _HIERARCHY.match(hierarchy.partition("#")[0])
    scheme, slashes, authority, path = parts.groups("") if parts else ("", "", "", "")
    if "@" in authority:
        authority = f"***@{authority.rpartition('@')[2]}"
    elif "@" in path and _NO_PORT.search(authority):  # a password with a slash in it
        authority, path = "***@", path.rpartition("@")[2]
    return clean(f"{scheme}{slashes}{authority}{path}") + ("?…" if query else "")
