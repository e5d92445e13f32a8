"""Ports that nobody uses, for a daemon that an engine starts.

Prefer a Unix socket in ``context.environment.runtime_dir``: nobody else on the machine gets at that one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from psengine_host.errors import EngineError, shown

__all__ = ["free_port", "reserved_port"]


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at the moment.

    Until the daemon listens on it, anybody else may take it: let the daemon choose one itself where it can tell which
    (port 0), or use :func:`reserved_port`.

    Args:
        host: The address of this machine that the daemon will listen on, IPv4 or IPv6.

    Raises:
        EngineError: There is no such address on this machine.
    """
    with reserved_port(host) as port:
        return port


@contextmanager
def reserved_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A TCP port that no other program is given, while a daemon starts that listens on it.

    The daemon must listen with ``SO_REUSEADDR``, as most do. Others who ask the system for any port, as
    :func:`free_port` does, get another one; who asks for this very one with ``SO_REUSEADDR`` gets it.

    Args:
        host: The address of this machine that the daemon will listen on, IPv4 or IPv6.

    Yields:
        The port.

    Raises:
        EngineError: There is no such address on this machine.
    """
    if "\0" in host:  # the system would take what stands before it
        raise EngineError(f"no port on {shown(host)}: it has a NUL in it")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        holder = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise EngineError(f"no port on {shown(host)}: {_reason(error)}") from error
    with holder:
        try:
            holder.bind(address)
            # Afterwards: the system is to choose a port of which nobody has even a part.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port: int = holder.getsockname()[1]
        except OSError as error:
            raise EngineError(f"no port on {shown(host)}: {_reason(error)}; name an address of this machine") from error
        yield port


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
