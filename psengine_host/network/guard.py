"""Which addresses may be connected to.

A URL from outside can lead anywhere: to loopback, to the operator's own network, to a cloud's metadata service, by
a literal in an odd spelling, a redirect, or a name whose answer changes between the check and the connection. So
names and URLs are not judged here at all. The guard is asked about the very address of each connection attempt,
when its socket is made, and the socket is then connected to that address and no other.

Only globally routable unicast addresses pass, and what an operator allowed. The tables follow the IANA registries
of special-purpose addresses (RFC 6890 and its updates); ``ipaddress.is_global`` alone is not enough, since Python
3.11.7 calls ``64:ff9b::7f00:1``, ``fec0::1``, ``2002:7f00:1::``, ``::7f00:1`` and ``224.0.0.1`` global.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from psengine_host.errors import InvalidValue
from psengine_host.network.errors import ForbiddenAddress

__all__ = ["Attempt", "Attempting", "NetworkGuard", "refusal"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str | int, ...]]
"""One row of ``socket.getaddrinfo``: family, type, protocol, canonical name, socket address."""

_SPECIAL_IPV4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared (carrier-grade NAT) address"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "a cloud platform's internal service"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "an address reserved for protocols"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)

_SPECIAL_IPV6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("::/96", "an IPv4-compatible address"),
        ("64:ff9b:1::/48", "a local-use NAT64 address"),
        ("2001::/23", "an address reserved for protocols"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a unique local (private) address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only part of IPv6 that IANA assigns as global unicast."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = 0x0000_5EFE
"""The upper half of an ISATAP interface identifier (RFC 5214, section 6.1), but for the u bit."""
_U_BIT = 0x0200_0000

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_NUMERIC_LABEL = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
"""A last label that the system's resolver reads as a number, so that the name is an address in disguise."""

_LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback"}
)
"""RFC 6761, section 6.3, and what systems have in their files of hosts."""

_ALLOW = "network.allow"
_EXPECTED = "must be a host, an address or a network, such as store.internal, 10.1.2.3:9000 or 10.1.0.0/16"


@dataclass(slots=True)
class Attempt:
    """What happened to the connection attempts of one request.

    Attributes:
        host: The host of the request's URL.
        refused: The refusals of the guard, in order.
        opened: How many sockets the guard let through.
        proxy_port: Where connections lead to a proxy that the operator chose, and not to the URL's host: its port.
    """

    host: str
    proxy_port: int | None = None
    refused: list[ForbiddenAddress] = field(default_factory=list)
    opened: int = 0


_attempt: ContextVar[Attempt | None] = ContextVar("psengine_network_attempt", default=None)


@dataclass(frozen=True, slots=True)
class _Allowed:
    """One entry of the allow-list; ``port`` None means any."""

    host: str | None
    network: Network | None
    port: int | None

    def covers(self, address: Address, host: str | None, port: int | None) -> bool:
        """Whether this entry allows connecting to ``address`` on behalf of ``host``."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return host is not None and host == self.host


class Attempting:
    """A ``with`` block in which an attempt is the one in hand; entered for every request, hence no generator."""

    __slots__ = ("_attempt", "_token")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __enter__(self) -> Attempt:
        self._token = _attempt.set(self._attempt)
        return self._attempt

    def __exit__(self, *_: object) -> None:
        _attempt.reset(self._token)


class NetworkGuard:
    """Decides about every address before it is connected to; immutable, and safe to share between threads.

    Args:
        allow: What may be connected to although it is not public: host names, addresses and networks in CIDR form,
            the first two with an optional ``:port`` (IPv6 then in brackets). A host name allows whatever it resolves
            to, for URLs with that very host; an address or a network allows its addresses, whatever name led there.

    Raises:
        InvalidValue: An entry that is none of these; the message names it.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        if isinstance(allow, str):
            raise InvalidValue(_ALLOW, allow, "must be a list of entries, not one text")
        self.allow = tuple(allow)
        self._allowed = tuple(_parsed(entry) for entry in self.allow)

    def __repr__(self) -> str:
        return f"NetworkGuard(allow={self.allow!r})"

    def check(self, address: str, host: str | None, port: int | None = None) -> None:
        """Pass an address, or raise.

        Args:
            address: The address in the form that a socket takes (never a name).
            host: The host of the URL on whose behalf it would be connected to, or None if there is none.
            port: The port; entries of the allow-list that name a port need it.

        Raises:
            ForbiddenAddress: It is not globally routable unicast, and nothing in the allow-list covers it.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            raise ForbiddenAddress(address, "not an address", host) from None
        if isinstance(parsed, IPv6Address) and parsed.scope_id is None:
            # The same endpoint in another spelling, unlike the tunnels below, which end somewhere else.
            parsed = parsed.ipv4_mapped or parsed
        if self._allowed:
            name = None if host is None else _normal(host)
            if any(entry.covers(parsed, name, port) for entry in self._allowed):
                return
        if (reason := refusal(parsed)) is not None:
            raise ForbiddenAddress(address, reason, host)

    def check_unresolved(self, host: str, port: int | None = None) -> None:
        """Pass a host that somebody else (a proxy) resolves and connects to, or raise.

        Names pass, since nobody here knows what they will resolve to, but for those of loopback. Addresses are judged,
        in all the spellings that some resolver reads as one.

        Args:
            host: The host of the URL.
            port: Its port.

        Raises:
            ForbiddenAddress: It is an address that is not globally routable unicast, or a name of loopback, and nothing
                in the allow-list covers it.
        """
        name = _normal(host)
        if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
            if not any(entry.host == name and entry.port in (None, port) for entry in self._allowed):
                raise ForbiddenAddress(host, "a name of loopback")
            return
        try:
            self.check(str(ip_address(name)), host, port)
        except ValueError:
            if ":" not in name and not _NUMERIC_LABEL.match(name.rpartition(".")[2]):
                return
            try:
                address = socket.inet_ntoa(socket.inet_aton(name))  # 127.1, 0x7f000001, 017700000001
            except OSError:
                raise ForbiddenAddress(host, "not an address, and no name either") from None
            self.check(address, host, port)

    def attempting(self, host: str, proxy_port: int | None = None) -> Attempting:
        """Tell the guard on whose behalf connections are made inside a ``with`` block.

        The host travels in a context variable, which ``asyncio`` copies into the tasks that race the addresses
        of a host, so that concurrent requests over one connector never see each other's host. Outside such a
        block the host is unknown and no host name of the allow-list applies.

        Args:
            host: The host of the URL that is about to be asked; or of the proxy, if one is.
            proxy_port: The port of the proxy, if one is asked: the host may then have any address, on that port alone.

        Returns:
            The block, which yields the record of what was refused and what was opened.
        """
        return Attempting(Attempt(host, proxy_port))

    def socket_factory(self, address_info: AddressInfo) -> socket.socket:
        """Make the socket of one connection attempt, for ``aiohttp.TCPConnector(socket_factory=...)``.

        Args:
            address_info: The row of ``getaddrinfo`` that will be connected to.

        Returns:
            A socket that is not connected yet.

        Raises:
            PermissionError: The guard refuses the address; the ``ForbiddenAddress`` is its cause. It is an
                ``OSError`` because that is what makes the connector go on with the other addresses of the host.
        """
        family, kind, protocol, _, endpoint = address_info
        attempt = _attempt.get()
        try:
            if attempt is None or attempt.proxy_port is None or attempt.proxy_port != endpoint[1]:
                self._check_endpoint(family, endpoint, None if attempt is None else attempt.host)
        except ForbiddenAddress as error:
            if attempt is not None:
                attempt.refused.append(error)
            raise PermissionError(errno.EACCES, str(error)) from error
        if attempt is not None:
            attempt.opened += 1
        return socket.socket(family, kind, protocol)

    def _check_endpoint(self, family: int, endpoint: tuple[str | int, ...], host: str | None) -> None:
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise ForbiddenAddress(str(endpoint), "not an internet address", host)
        address, port = str(endpoint[0]), int(endpoint[1])
        if family == socket.AF_INET6 and len(endpoint) > 3 and endpoint[3] and "%" not in address:
            address = f"{address}%{endpoint[3]}"
        self.check(address, host, port)


def refusal(address: Address) -> str | None:
    """Why an address is not globally routable unicast, or None if it is.

    IPv4 addresses inside IPv6 ones (mapped, NAT64, 6to4, Teredo, ISATAP) are unwrapped and judged themselves.
    """
    if isinstance(address, IPv4Address):
        return _refusal_ipv4(address)
    if address.scope_id is not None:
        return "an address with a zone"
    if (wrapped := _embedded(address)) is not None:
        return _refusal_inside(*wrapped) or _refusal_isatap(address)
    for network, reason in _SPECIAL_IPV6:
        if address in network:
            return reason
    if address not in _GLOBAL_UNICAST or not address.is_global:
        return "not a global unicast address"
    return _refusal_isatap(address)


def _refusal_isatap(address: IPv6Address) -> str | None:
    """Why the IPv4 address in an ISATAP interface identifier, under whatever prefix, refuses the whole, if it does."""
    value = int(address)
    if (value >> 32) & 0xFFFFFFFF & ~_U_BIT != _ISATAP:
        return None
    return _refusal_inside("the ISATAP form", (IPv4Address(value & 0xFFFFFFFF),))


def _refusal_inside(form: str, inner: tuple[IPv4Address, ...]) -> str | None:
    reasons = ((ipv4, _refusal_ipv4(ipv4)) for ipv4 in inner)
    return next((f"{form} of {ipv4}, {reason}" for ipv4, reason in reasons if reason is not None), None)


def _refusal_ipv4(address: IPv4Address) -> str | None:
    for network, reason in _SPECIAL_IPV4:
        if address in network:
            return reason
    return None if address.is_global else "not a global unicast address"


def _embedded(address: IPv6Address) -> tuple[str, tuple[IPv4Address, ...]] | None:
    """The form and the IPv4 addresses that a packet to this address ends at, if it is such a form.

    RFC 4291 (mapped), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo: server, and client inverted).
    """
    value = int(address)
    low = IPv4Address(value & 0xFFFFFFFF)
    if address in _MAPPED:
        return "the mapped form", (low,)
    if address in _NAT64:
        return "the NAT64 form", (low,)
    if address in _6TO4:
        return "the 6to4 form", (IPv4Address((value >> 80) & 0xFFFFFFFF),)
    if address in _TEREDO:
        return "the Teredo form", (IPv4Address((value >> 64) & 0xFFFFFFFF), IPv4Address(~value & 0xFFFFFFFF))
    return None


def _normal(host: str) -> str:
    """A host as it is compared: lower case, no brackets, no dot at the end, non-ASCII names in their IDNA form."""
    name = host.strip().strip("[]").lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def _parsed(entry: str) -> _Allowed:
    """One entry of the allow-list.

    Raises:
        InvalidValue: It is none of the forms.
    """
    text = entry.strip() if isinstance(entry, str) else ""
    if not text or "://" in text:
        raise InvalidValue(_ALLOW, entry, _EXPECTED)
    if "/" in text:
        return _Allowed(None, _network(entry, text), None)
    host, port = _split_port(entry, text)
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        name = _normal(host)
        if not _HOST_NAME.match(name) or _NUMERIC_LABEL.match(name.rpartition(".")[2]):
            raise InvalidValue(_ALLOW, entry, _EXPECTED) from None
        return _Allowed(name, None, port)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return _Allowed(None, ip_network(address), port)


def _network(entry: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        try:
            nearest = ip_network(text, strict=False)
        except ValueError:
            raise InvalidValue(_ALLOW, entry, _EXPECTED) from error
        raise InvalidValue(_ALLOW, entry, f"has bits set beyond its prefix; write {nearest}") from error


def _split_port(entry: str, text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, _, rest = text.partition("]")
        host += "]"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        rest = f":{port}"
    else:
        host, rest = text, ""
    if not rest:
        return host, None
    digits = rest[1:]
    if rest[0] != ":" or not (digits.isascii() and digits.isdecimal()) or not 0 < int(digits[:6]) < 65536:
        raise InvalidValue(_ALLOW, entry, f"has no port between 1 and 65535 after the host; {_EXPECTED}")
    return host, int(digits)
