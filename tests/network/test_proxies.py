"""Fetching and delivering through the proxies of the environment, with a real one on loopback."""

import hashlib
import io
import socket
import time
from pathlib import Path

import pytest
from yarl import URL

from psengine_host.network import FetchError
from psengine_host.network.delivery import Delivery, DeliveryStatus
from psengine_host.network.errors import BadAnswer
from psengine_host.network.fetcher import Fetcher
from psengine_host.network.proxies import Proxies
from psengine_host.settings import NetworkSettings

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b"an artifact"
SHA256 = hashlib.sha256(BODY).hexdigest()


def through_proxies(**options) -> Fetcher:
    return Fetcher(NetworkSettings(**{"proxy_from_environment": True, "tries": 1, **options}))


@pytest.fixture
def fetcher():
    with through_proxies() as fetcher:
        yield fetcher


def fetched(fetcher: Fetcher, uri: str, within: float = 20.0) -> bytes:
    destination = io.BytesIO()
    fetcher.fetch(uri, destination, deadline=time.monotonic() + within)
    return destination.getvalue()


def refused(fetcher: Fetcher, uri: str, within: float = 20.0) -> str:
    with pytest.raises(FetchError) as caught:
        fetched(fetcher, uri, within)
    return caught.value.reason


def delivered(fetcher: Fetcher, url: str, within: float = 20.0) -> Delivery:
    return fetcher.deliver(url, b'{"verdict":"benign"}', idempotency_key="key", deadline=time.monotonic() + within)


def test_http_goes_through_the_proxy_which_resolves_the_name(serve, proxy, fetcher, connects):
    server = serve(lambda c: c.answer(200, BODY))
    url = f"http://store.example:{server.port}/a%2Fb?token=%2B"
    assert fetched(fetcher, url) == BODY
    assert delivered(fetcher, url).status is DeliveryStatus.DELIVERED
    assert [request.split(b"\r\n")[0] for request in proxy.requests] == [
        f"GET {url} HTTP/1.1".encode(),
        f"POST {url} HTTP/1.1".encode(),
    ]
    assert server.requests[0].startswith(b"GET /a%2Fb?token=%2B HTTP/1.1\r\n")
    assert server.requests[1].endswith(b'{"verdict":"benign"}')
    assert {address[1] for address in connects if isinstance(address, tuple)} == {proxy.port, server.port}


def test_https_goes_through_a_tunnel_in_which_the_certificate_is_verified(serve, proxy):
    server = serve(lambda c: c.answer(200, BODY), tls=True)
    with through_proxies(allow=("127.0.0.1",)) as trusting_none:
        assert "is not trusted" in refused(trusting_none, server.url)
        assert "is not trusted" in delivered(trusting_none, server.url).reason
    with through_proxies(allow=("127.0.0.1",), ca_file=str(CERTIFICATES / "ca.pem")) as fetcher:
        assert fetched(fetcher, f"{server.url}/x?token=secret") == BODY
        assert delivered(fetcher, server.url).status is DeliveryStatus.DELIVERED
    assert {request.split(b"\r\n")[0] for request in proxy.requests} == {
        f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode()
    }
    assert b"secret" not in b"".join(proxy.requests)


@pytest.mark.parametrize("tls", [False, True])
def test_the_proxys_password_is_for_the_proxy_alone(serve, proxy, monkeypatch, tls):
    server = serve(lambda c: c.answer(200, BODY), tls=tls)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.url.replace("//", "//user:pass%20word@"))
    with through_proxies(allow=("127.0.0.1",), ca_file=str(CERTIFICATES / "ca.pem")) as fetcher:
        assert fetched(fetcher, server.url) == BODY
    assert b"\r\nproxy-authorization: basic dxnlcjpwyxnzihdvcmq=\r\n" in proxy.requests[0].lower()
    assert b"authorization" not in server.requests[0].lower()


@pytest.mark.parametrize("proxy", ["tls"], indirect=True)
@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_may_be_asked_over_tls(serve, proxy, tls):
    server = serve(lambda c: c.answer(200, BODY), tls=tls)
    with through_proxies(allow=("127.0.0.1",)) as trusting_none:
        said = refused(trusting_none, server.url)
        assert said.startswith(f"the TLS certificate of 127.0.0.1:{proxy.port} is not trusted: ")
    with through_proxies(allow=("127.0.0.1",), ca_file=str(CERTIFICATES / "ca.pem")) as fetcher:
        assert fetched(fetcher, server.url) == BODY
        assert delivered(fetcher, server.url).status is DeliveryStatus.DELIVERED
    assert len(proxy.requests) == 2 or tls
    assert len(server.requests) == 2


def test_proxies_are_used_only_where_the_setting_says_so(serve, proxy):
    server = serve(lambda c: c.answer(200, BODY))
    with Fetcher(NetworkSettings(allow=("127.0.0.1",))) as fetcher:
        assert fetched(fetcher, server.url) == BODY
        assert delivered(fetcher, server.url).delivered
    assert (proxy.connections, server.connections) == (0, 2)


# --- what may be connected to ----------------------------------------------------------------------------------------


def test_the_proxys_address_is_permitted_to_reach_the_proxy_and_for_nothing_else(serve, proxy, monkeypatch):
    victim = serve(lambda c: c.answer(200, BODY))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with through_proxies() as fetcher:
        for url in (victim.url, proxy.url):
            assert refused(fetcher, url).startswith("connecting to 127.0.0.1 is forbidden: a loopback address")
            assert delivered(fetcher, url).status is DeliveryStatus.REFUSED
    assert (victim.connections, proxy.connections) == (0, 0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("localhost", "a name of loopback"),
        ("a.LOCALHOST.", "a name of loopback"),
        ("localhost.localdomain", "a name of loopback"),
        ("ip6-localhost", "a name of loopback"),
        ("127.1", "a loopback address"),
        ("0x7f000001", "a loopback address"),
        ("017700000001", "a loopback address"),
        ("2852039166", "a link-local address"),
        ("[::ffff:10.0.0.1]", "a private address"),
        ("1.2.3.4.5", "not an address, and no name either"),
        ("store.256", "not an address, and no name either"),
    ],
)
def test_what_can_be_judged_is_judged_before_the_proxy_hears_of_it(proxy, fetcher, name, reason):
    for scheme in ("http", "https"):
        said = refused(fetcher, f"{scheme}://{name}/")
        assert f"is forbidden: {reason};" in said
        delivery = delivered(fetcher, f"{scheme}://{name}/")
        assert (delivery.status, delivery.reason) == (DeliveryStatus.REFUSED, said)
    assert proxy.connections == 0


def test_what_an_operator_allows_is_asked_for(serve, proxy):
    server = serve(lambda c: c.answer(200, BODY))
    with through_proxies(allow=(f"localhost:{server.port}", "127.0.0.0/8")) as fetcher:
        assert fetched(fetcher, f"http://localhost:{server.port}/") == BODY
        assert fetched(fetcher, server.url) == BODY
        assert "a name of loopback" in refused(fetcher, f"http://localhost:{proxy.port}/")
    assert len(proxy.requests) == 2


def test_every_hop_of_a_redirect_is_judged(serve, proxy, fetcher):
    server = serve(lambda c: c.answer(302, Location=c.path[1:]))
    for target in ("http://[::ffff:7f00:1]/", "http://0x7f.1/", "https://169.254.169.254/latest/", "//10.0.0.1/"):
        said = refused(fetcher, f"http://store.example:{server.port}/{target}")
        assert " is forbidden: " in said
    assert len(proxy.requests) == len(server.requests) == 4


# --- what the environment says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("store.example", True),
        ("example", True),
        (".example", True),
        ("other.example, Store.Example ,", True),
        ("re.example", False),
        ("store.example:80", True),
        ("store.example:81", False),
        ("store.example.org", False),
    ],
)
def test_no_proxy_names_what_is_connected_to_directly(no_proxy, direct):
    proxies = Proxies({"http": "http://proxy:3128", "no": no_proxy})
    assert (proxies.proxy_for(URL("http://store.example/")) is None) is direct


def test_no_proxy_takes_addresses_too():
    proxies = Proxies({"http": "proxy:3128", "no": "[::1]:8000,10.0.0.1"})
    assert proxies.proxy_for(URL("http://[::1]:8000/")) is None
    assert proxies.proxy_for(URL("http://10.0.0.1:99/")) is None
    assert proxies.proxy_for(URL("http://[::1]/")) == URL("http://proxy:3128/")
    for spelling in ("::1", "[::1]"):
        assert Proxies({"http": "proxy:3128", "no": spelling}).proxy_for(URL("http://[::1]/")) is None


def test_each_scheme_has_its_proxy_and_small_letters_go_first(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://capital:1")
    monkeypatch.setenv("http_proxy", "http://small:2")
    monkeypatch.setenv("HTTPS_PROXY", "https://secure")
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    proxies = Proxies.from_environment()
    assert proxies.proxy_for(URL("http://store.example/")) == URL("http://small:2/")
    assert proxies.proxy_for(URL("https://store.example/")) == URL("https://secure/")
    assert Proxies({"https": "http://p:1"}).proxy_for(URL("http://store.example/")) is None


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"all": "socks5://user:word@p:1"},
            "ALL_PROXY is not supported: set HTTPS_PROXY, or NO_PROXY for what needs none",
        ),
        (
            {"https": "socks5h://user:word@p:1"},
            "HTTPS_PROXY names a proxy of the kind 'socks5h'; only http and https are",
        ),
        ({"https": "http://"}, "HTTPS_PROXY is not the URL of a proxy: http://"),
        ({"https": "http://user:word@p:99999/"}, "HTTPS_PROXY is not the URL of a proxy: http://***@p:99999/"),
        ({"https": "http://user:word@[::1"}, "HTTPS_PROXY is not the URL of a proxy: http://***@[::1"),
    ],
)
def test_what_cannot_be_used_is_told_by_its_variable_and_without_its_password(variables, reason):
    with pytest.raises(BadAnswer) as caught:
        Proxies(variables).proxy_for(URL("https://store.example/"))
    assert str(caught.value) == f"{reason}; see the setting network.proxy_from_environment"


def test_what_cannot_be_used_loses_no_answer(proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")
    with through_proxies() as fetcher:
        reason = refused(fetcher, "http://store.example/")
        assert reason.startswith("HTTP_PROXY names a proxy of the kind 'socks5'")
        delivery = delivered(fetcher, "http://store.example/")
        assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, reason)


# --- proxies that fail -----------------------------------------------------------------------------------------------


def test_a_proxy_that_is_not_there_is_named(proxy, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HTTPS_PROXY", "http://no-such-proxy.invalid:3128")
    with through_proxies() as fetcher:
        reason = f"cannot connect to the proxy 127.0.0.1:{port}: Connection refused"
        assert refused(fetcher, "http://store.example/") == reason
        delivery = delivered(fetcher, "http://store.example/")
        assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, reason)
        assert refused(fetcher, "https://store.example/").startswith(
            "the name no-such-proxy.invalid cannot be resolved"
        )


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (407, 1), (502, 2), (503, 2)])
def test_a_proxy_that_refuses_a_tunnel_is_told_with_its_status(proxy, status, tries):
    proxy.refusal = b"HTTP/1.1 %d Because\r\nContent-Length: 0\r\n\r\n" % status
    with through_proxies(tries=2) as fetcher:
        said = refused(fetcher, "https://store.example/")
        assert said.startswith(f"the proxy refuses to connect to store.example:443: {status} Because")
        assert len(proxy.requests) == tries
        assert delivered(fetcher, "https://store.example/").status is DeliveryStatus.RETRY


def test_a_password_that_the_proxy_does_not_take_loses_no_answer(serve, proxy, monkeypatch):
    """An operator's mistake, who may mend it before the next attempt."""
    locked = serve(lambda c: c.answer(407, Proxy_Authenticate="Basic"))
    monkeypatch.setenv("HTTP_PROXY", locked.url)
    with through_proxies() as fetcher:
        reason = "the proxy wants user and password before it asks store.example:80"
        assert refused(fetcher, "http://store.example/") == reason
        delivery = delivered(fetcher, "http://store.example/")
        assert (delivery.status, delivery.reason) == (DeliveryStatus.RETRY, reason)
    assert len(locked.requests) == 2


def test_a_proxy_that_never_answers_is_left_at_the_deadline(serve, proxy, monkeypatch):
    def drip(c):
        c.drip(b"HTTP/1.1 100 Continue\r\n\r\n" if c.path.startswith("flood") else b"HTTP/1.1 200 OK\r\nX: ")

    monkeypatch.setenv("HTTPS_PROXY", serve(drip).url)
    with through_proxies() as fetcher:
        for host in ("drip.example", "flood.example"):
            began = time.monotonic()
            assert refused(fetcher, f"https://{host}/", within=0.4) == "not done by the deadline"
            assert delivered(fetcher, f"https://{host}/", within=0.4).status is DeliveryStatus.RETRY
            assert time.monotonic() - began < 10
