"""Which addresses pass, and how the guard knows on whose behalf."""

import asyncio
import pickle
import socket

import pytest

from psengine_host.errors import InvalidValue
from psengine_host.network import ForbiddenAddress, NetworkError
from psengine_host.network.guard import NetworkGuard

FORBIDDEN = {
    "0.0.0.0": "this network",
    "0.1.2.3": "this network",
    "10.255.0.1": "a private address",
    "100.64.0.1": "a shared (carrier-grade NAT) address",
    "100.100.100.200": "a shared (carrier-grade NAT) address",
    "127.0.0.1": "a loopback address",
    "127.255.255.254": "a loopback address",
    "168.63.129.16": "a cloud platform's internal service",
    "169.254.169.254": "a link-local address",
    "172.16.0.1": "a private address",
    "172.31.255.255": "a private address",
    "192.0.0.8": "an address reserved for protocols",
    "192.0.0.192": "an address reserved for protocols",
    "192.0.2.1": "a documentation address",
    "192.88.99.1": "a 6to4 relay",
    "192.168.1.1": "a private address",
    "198.19.255.255": "a benchmarking address",
    "198.51.100.7": "a documentation address",
    "203.0.113.7": "a documentation address",
    "224.0.0.1": "a multicast address",
    "239.255.255.250": "a multicast address",
    "240.0.0.1": "a reserved address",
    "255.255.255.255": "the broadcast address",
    "::": "the unspecified address",
    "::1": "a loopback address",
    "::7f00:1": "an IPv4-compatible address",
    "::8.8.8.8": "an IPv4-compatible address",
    "::ffff:127.0.0.1": "a loopback address",
    "::ffff:a9fe:a9fe": "a link-local address",
    "::ffff:0:127.0.0.1": "not a global unicast address",
    "64:ff9b::7f00:1": "the NAT64 form of 127.0.0.1, a loopback address",
    "64:ff9b::10.0.0.1": "the NAT64 form of 10.0.0.1, a private address",
    "64:ff9b:1::8.8.8.8": "a local-use NAT64 address",
    "64:ff9b:1::7f00:1": "a local-use NAT64 address",
    "100::1": "not a global unicast address",
    "2001:0:7f00:1::": "the Teredo form of 127.0.0.1, a loopback address",
    "2001:0:808:808::f5ff:fffe": "the Teredo form of 10.0.0.1, a private address",
    "2001:2::1": "an address reserved for protocols",
    "2001:10::1": "an address reserved for protocols",
    "2001:20::1": "an address reserved for protocols",
    "2001:db8::1": "a documentation address",
    "2002:7f00:1::": "the 6to4 form of 127.0.0.1, a loopback address",
    "2002:a9fe:a9fe::1": "the 6to4 form of 169.254.169.254, a link-local address",
    "2002:808:808::5efe:10.0.0.1": "the ISATAP form of 10.0.0.1, a private address",
    "2606:4700::5efe:10.0.0.1": "the ISATAP form of 10.0.0.1, a private address",
    "2606:4700::200:5efe:10.0.0.1": "the ISATAP form of 10.0.0.1, a private address",
    "2a00:1450:4001:81b:0:5efe:7f00:1": "the ISATAP form of 127.0.0.1, a loopback address",
    "2a00:1450:4001:81b:200:5efe:a9fe:a9fe": "the ISATAP form of 169.254.169.254, a link-local address",
    "fe80::5efe:8.8.8.8": "a link-local address",
    "2001:db8::200:5efe:8.8.8.8": "a documentation address",
    "3fff::1": "a documentation address",
    "4000::1": "not a global unicast address",
    "5f00::1": "not a global unicast address",
    "fc00::1": "a unique local (private) address",
    "fd00:ec2::254": "a unique local (private) address",
    "fe80::1": "a link-local address",
    "fe80::1%1": "an address with a zone",
    "2606:4700::1111%eth0": "an address with a zone",
    "fec0::1": "a site-local address",
    "ff02::1": "a multicast address",
    "localhost": "not an address",
    "127.1": "not an address",
    "0x7f000001": "not an address",
    "": "not an address",
}

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "2001:0:808:808::f7f7:f7f7",
    "2606:4700::5efe:8.8.8.8",
    "2606:4700::200:5efe:8.8.8.8",
    "2002:808:808::5efe:1.1.1.1",
    "2606:4700::5eff:10.0.0.1",
    "2606:4700::100:5efe:10.0.0.1",
]


@pytest.mark.parametrize(("address", "reason"), FORBIDDEN.items())
def test_what_is_not_globally_routable_unicast_is_refused(address, reason):
    with pytest.raises(ForbiddenAddress) as caught:
        NetworkGuard().check(address, None)
    assert (caught.value.address, caught.value.reason) == (address, reason)
    assert isinstance(caught.value, NetworkError)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address):
    NetworkGuard().check(address, "example.com")


def test_the_message_names_the_address_the_host_and_the_way_out():
    with pytest.raises(ForbiddenAddress) as caught:
        NetworkGuard().check("169.254.169.254", "evil.example")
    assert str(caught.value) == (
        "connecting to 169.254.169.254 (evil.example) is forbidden: a link-local address; "
        "the setting network.allow, or PSENGINE_NETWORK_ALLOW, can permit it"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def allowed(guard: NetworkGuard, address: str, host: str | None = None, port: int | None = None) -> bool:
    try:
        guard.check(address, host, port)
    except ForbiddenAddress:
        return False
    return True


def test_networks_and_addresses_allow_their_addresses_whatever_name_led_there():
    guard = NetworkGuard(["10.1.0.0/16", "192.168.7.7", "fd00:1::/32", "::1"])
    assert allowed(guard, "10.1.255.255", "any.example")
    assert allowed(guard, "::ffff:10.1.0.1")  # the same endpoint in another spelling
    assert allowed(guard, "192.168.7.7")
    assert allowed(guard, "fd00:1::5")
    assert allowed(guard, "::1")
    assert not allowed(guard, "10.2.0.1")
    assert not allowed(guard, "192.168.7.8")
    assert not allowed(guard, "fd00:2::1")
    assert not allowed(guard, "127.0.0.1")


def test_a_tunnel_to_an_allowed_address_ends_elsewhere_and_stays_refused():
    guard = NetworkGuard(["127.0.0.1"])
    assert not allowed(guard, "64:ff9b::7f00:1")
    assert not allowed(guard, "2002:7f00:1::")
    assert not allowed(guard, "2606:4700::5efe:127.0.0.1")
    assert allowed(NetworkGuard(["64:ff9b::/96"]), "64:ff9b::7f00:1")


def test_a_host_allows_its_addresses_for_that_host_alone():
    guard = NetworkGuard(["Store.Internal.", "bücher.internal"])
    assert allowed(guard, "10.9.9.9", "store.internal")
    assert allowed(guard, "10.9.9.9", "STORE.internal.")
    assert allowed(guard, "fd00::1", "xn--bcher-kva.internal")
    assert not allowed(guard, "10.9.9.9", "evil.example")
    assert not allowed(guard, "10.9.9.9", "store.internal.evil.example")
    assert not allowed(guard, "10.9.9.9", "a.store.internal")
    assert not allowed(guard, "10.9.9.9", None)


def test_an_entry_with_a_port_allows_that_port_alone():
    guard = NetworkGuard(["store.internal:9000", "10.0.0.1:80", "[fd00::1]:443"])
    assert allowed(guard, "10.9.9.9", "store.internal", 9000)
    assert not allowed(guard, "10.9.9.9", "store.internal", 22)
    assert not allowed(guard, "10.9.9.9", "store.internal")
    assert allowed(guard, "10.0.0.1", "x", 80)
    assert not allowed(guard, "10.0.0.1", "x", 81)
    assert allowed(guard, "fd00::1", None, 443)
    assert not allowed(guard, "fd00::1", None, 444)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "  ",
        "http://store.internal",
        "10.0.0.0/33",
        "store.internal/24",
        "store.internal:port",
        "store.internal:0",
        "store.internal:65536",
        "store.internal:",
        "[::1]9000",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "*.internal",
        "-a.internal",
        "a..b",
        "a b",
        "ü" * 70,
        7,
        None,
    ],
)
def test_a_malformed_entry_is_an_error_that_names_it(entry):
    with pytest.raises(InvalidValue) as caught:
        NetworkGuard(["10.0.0.0/8", entry])
    assert caught.value.value == entry
    assert str(caught.value).startswith("network.allow: ")
    assert "\n" not in str(caught.value)


def test_a_network_with_host_bits_is_shown_as_it_should_be():
    with pytest.raises(
        InvalidValue, match=r"has bits set beyond its prefix; write 10\.1\.0\.0/16, got '10\.1\.2\.3/16'"
    ):
        NetworkGuard(["10.1.2.3/16"])


def test_one_text_is_no_list_of_entries():
    with pytest.raises(InvalidValue, match="must be a list of entries"):
        NetworkGuard("10.1.0.0/16")


def row(address: str, port: int = 80, family: int = socket.AF_INET) -> tuple:
    endpoint = (address, port) if family == socket.AF_INET else (address, port, 0, 0)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", endpoint


def test_the_socket_factory_makes_no_socket_for_a_forbidden_address():
    guard = NetworkGuard()
    with guard.attempting("evil.example") as attempt:
        with pytest.raises(PermissionError, match=r"127\.0\.0\.1 \(evil\.example\) is forbidden") as caught:
            guard.socket_factory(row("127.0.0.1"))
        assert isinstance(caught.value.__cause__, ForbiddenAddress)
        with pytest.raises(PermissionError, match="zone"):
            guard.socket_factory((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1", 80, 0, 3)))
        with pytest.raises(PermissionError, match="not an internet address"):
            guard.socket_factory((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/run/docker.sock", 0)))
    assert [error.address for error in attempt.refused] == ["127.0.0.1", "2606:4700::1%3", "('/run/docker.sock', 0)"]
    assert attempt.opened == 0


def test_the_socket_factory_makes_the_socket_that_was_asked_for():
    guard = NetworkGuard()
    with guard.attempting("one.one.one.one") as attempt, guard.socket_factory(row("1.1.1.1")) as made:
        assert (made.family, made.type, made.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    assert attempt.opened == 1
    assert attempt.refused == []


def test_without_a_request_no_host_of_the_allow_list_applies():
    guard = NetworkGuard(["store.internal"])
    with pytest.raises(PermissionError):
        guard.socket_factory(row("10.0.0.1"))
    with guard.attempting("store.internal"), guard.socket_factory(row("10.0.0.1")):
        pass
    with pytest.raises(PermissionError):
        guard.socket_factory(row("10.0.0.1"))


def test_concurrent_requests_never_see_each_others_host():
    guard = NetworkGuard(["store.internal"])
    turn = asyncio.Event

    async def connects(host: str, mine: asyncio.Event, theirs: asyncio.Event) -> bool:
        with guard.attempting(host):
            mine.set()
            await theirs.wait()  # both are inside their block now

            async def race() -> bool:  # as happy eyeballs do: in a task of its own
                try:
                    guard.socket_factory(row("10.0.0.1")).close()
                except PermissionError:
                    return False
                return True

            return await asyncio.create_task(race())

    async def both() -> list[bool]:
        first, second = turn(), turn()
        return await asyncio.gather(connects("store.internal", first, second), connects("evil.example", second, first))

    assert asyncio.run(both()) == [True, False]
