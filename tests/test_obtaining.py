import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from pytest_httpserver import HTTPServer

from psengine_host import samples
from psengine_host.artifacts import KEPT_IN_MEMORY
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.errors import ArtifactError, ArtifactUnavailable, SpoolFull
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.settings import NetworkSettings, Settings
from psengine_host.spool import Spool

CONTENT = b"MZ" + bytes(range(256)) * 8
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER_SHA = "0" * 64
URL = "https://x.example/page"


def bounty(uri: str, artifact_type: ArtifactType = ArtifactType.FILE, **fields: object) -> Bounty:
    expiration = datetime.now(UTC) + timedelta(seconds=60)
    return Bounty(id=1, artifact_type=artifact_type, artifact_uri=uri, expiration=expiration, **fields)


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    with Spool(folder) as spool:
        yield spool


@pytest.fixture
def obtainer_of():
    """Makes obtainers that end with the test."""
    with ExitStack() as stack:

        def make(spool: Spool, **network: object) -> Obtainer:
            settings = Settings(network=NetworkSettings(**{"allow": ("127.0.0.1",), **network}))
            fetcher = stack.enter_context(Fetcher(settings.network))
            return stack.enter_context(Obtainer(settings, spool, fetcher))

        yield make


@pytest.fixture
def obtain(spool, obtainer_of):
    """Obtains over the loopback network, which nobody is allowed by default, at most 10,000 bytes."""
    obtainer = obtainer_of(spool, max_artifact_size=10_000)
    return lambda bounty, seconds=20.0: obtainer.obtain(bounty, time.monotonic() + seconds)


@pytest.fixture
def nothing_left(spool):
    yield
    assert list(spool.folder.iterdir()) == []


def refusal(obtain, *arguments: object) -> str:
    with pytest.raises(ArtifactError) as caught:
        obtain(*arguments)
    assert str(caught.value).isprintable()
    return str(caught.value)


class TestDataUris:
    @pytest.mark.parametrize("sha256", [None, hashlib.sha256(samples.eicar()).hexdigest()])
    def test_what_they_carry(self, obtain, sha256):
        artifact = obtain(bounty(Bounty.local(data=samples.eicar()).artifact_uri, sha256=sha256))
        assert artifact.read_bytes() == samples.eicar()
        assert artifact.name == "data: URI"
        assert artifact.artifact_type is ArtifactType.FILE

    @pytest.mark.parametrize(
        ("uri", "data"),
        [("data:,", b""), ("DATA:,a%20b", b"a b"), ("data:text/plain;base64,YQ==", b"a"), ("data:;charset=x,a", b"a")],
    )
    def test_in_any_form(self, obtain, uri, data):
        assert obtain(bounty(uri)).read_bytes() == data

    def test_other_bytes_than_the_bounty_says(self, obtain, nothing_left):
        found = hashlib.sha256(b"hello").hexdigest()
        message = refusal(obtain, bounty("data:,hello", sha256=OTHER_SHA))
        assert message == f"the artifact's SHA-256 is {found}, the bounty says {OTHER_SHA}"

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("data:;base64,%%%,", "malformed data: URI: a % without two hexadecimal digits"),
            ("data:text/plain;base64,a", None),
            ("data:no mimetype,x", "malformed data: URI: 'no mimetype' is no mimetype"),
            ("data:," + "x" * 10_001, "data: URI too large: more than 10000 bytes decoded"),
        ],
    )
    def test_bad_ones(self, obtain, uri, message):
        said = refusal(obtain, bounty(uri))
        assert said == message or (message is None and said.startswith("malformed data: URI: not base64"))

    def test_the_file_of_one_goes_when_it_is_closed(self, obtain, spool, nothing_left):
        with obtain(bounty("data:,hello")) as artifact:
            assert artifact.path.parent == spool.folder
            assert artifact.path.read_bytes() == b"hello"


class TestFileUris:
    @pytest.mark.parametrize("name", [b"plain", b"with space", b"100%", b"%41", b"a?b#c", b"line\nend", b"caf\xe9\xff"])
    def test_a_local_file_of_any_name(self, obtain, tmp_path, name):
        path = os.fsencode(tmp_path) + b"/" + name
        with open(path, "wb") as file:
            file.write(CONTENT)
        artifact = obtain(Bounty.local(os.fsdecode(path)))
        assert artifact.read_bytes() == CONTENT
        assert os.fsencode(artifact.path) == path
        artifact.close()
        assert os.path.exists(path)

    @pytest.mark.parametrize("spelling", ["file://{}", "FILE://{}", "File://{}"])
    def test_the_scheme_in_any_case(self, obtain, tmp_path, spelling):
        (tmp_path / "x").write_bytes(CONTENT)
        uri = spelling.format(tmp_path / "x")
        assert obtain(bounty(uri, file_allowed=True, sha256=SHA)).read_bytes() == CONTENT

    def test_one_from_the_network_is_not_even_a_bounty_but_if_it_were(self, obtain, tmp_path):
        (tmp_path / "x").write_bytes(CONTENT)
        smuggled = bounty(f"file://{tmp_path}/x", file_allowed=True)
        # What a bounty from the network cannot be, as if the check at its birth had been forgotten.
        msgspec.structs.force_setattr(smuggled, "file_allowed", False)
        with pytest.raises(ArtifactUnavailable) as caught:
            obtain(smuggled)
        assert str(caught.value) == f"file://{tmp_path}/x: file: is only taken from the local command line"

    def test_a_file_that_has_changed_since_it_was_hashed(self, obtain, tmp_path):
        (tmp_path / "x").write_bytes(CONTENT)
        local = Bounty.local(tmp_path / "x")
        (tmp_path / "x").write_bytes(b"other")
        assert refusal(obtain, local) == (
            f"the artifact's SHA-256 is {hashlib.sha256(b'other').hexdigest()}, the bounty says {SHA}"
        )

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("/missing", "/missing: no such file or directory"),
            ("/dev/null", "/dev/null: is a device, not a file"),
            ("/dev", "/dev: is a folder, not a file"),
            ("/a%00b", r"'/a\x00b': no file can be called that (embedded null byte)"),
        ],
    )
    def test_what_is_no_file(self, obtain, path, message):
        assert refusal(obtain, bounty(f"file://{path}", file_allowed=True)) == message


class TestFetched:
    @pytest.mark.parametrize("sha256", [None, SHA])
    def test_an_artifact_lies_private_and_read_only_in_the_spool(self, obtain, spool, httpserver, nothing_left, sha256):
        httpserver.expect_request("/a").respond_with_data(CONTENT)
        with obtain(bounty(httpserver.url_for("/a"), sha256=sha256)) as artifact:
            assert artifact.read_bytes() == CONTENT
            assert artifact.path.parent == spool.folder
            assert stat.S_IMODE(artifact.path.stat().st_mode) == 0o400

    def test_its_name_hides_what_is_secret_in_its_url(self, obtain, httpserver):
        httpserver.expect_request("/a").respond_with_data(CONTENT)
        with obtain(bounty(httpserver.url_for("/a") + "?nonce=secret")) as artifact:
            assert "secret" not in artifact.name
            assert artifact.name.startswith("http://")

    def test_other_bytes_than_the_bounty_says(self, obtain, httpserver, nothing_left):
        httpserver.expect_request("/a").respond_with_data(CONTENT)
        message = refusal(obtain, bounty(httpserver.url_for("/a"), sha256=OTHER_SHA))
        assert f"its SHA-256 is {SHA}, not {OTHER_SHA}" in message

    def test_one_that_is_too_large(self, obtain, httpserver, nothing_left):
        httpserver.expect_request("/a").respond_with_data(b"x" * 10_001)
        assert "larger than the limit of 10000 bytes" in refusal(obtain, bounty(httpserver.url_for("/a")))

    def test_one_that_is_not_there(self, obtain, httpserver, nothing_left):
        httpserver.expect_request("/a").respond_with_data(b"", status=404)
        assert "404" in refusal(obtain, bounty(httpserver.url_for("/a")))

    @pytest.mark.parametrize("uri", ["http://a..b/", f"http://{'a' * 300}.example/", "http://%00/"])
    def test_a_host_that_cannot_be(self, obtain, nothing_left, uri):
        assert refusal(obtain, bounty(uri))

    def test_nothing_is_fetched_from_this_machine_by_default(self, spool, obtainer_of, httpserver, nothing_left):
        obtainer = obtainer_of(spool, allow=())
        message = refusal(obtainer.obtain, bounty(httpserver.url_for("/a")), time.monotonic() + 20)
        assert "forbidden" in message
        assert httpserver.log == []

    def test_the_time_to_fetch_it_may_be_over(self, obtain, httpserver, nothing_left):
        assert "deadline" in refusal(obtain, bounty(httpserver.url_for("/a")), -1.0)
        assert httpserver.log == []


class Source:
    """A server of any number of connections at once, which counts what it is asked."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.asked: list[str] = []
        self.hold: Callable[[str], object] = lambda _: None

    def serve(self, path: str, content: bytes, status: int = 200) -> str:
        def answer(request):
            from werkzeug import Response

            self.asked.append(path)
            self.hold(path)
            return Response(content, status)

        self.server.expect_request(path).respond_with_handler(answer)
        return self.server.url_for(path)


@pytest.fixture(scope="module")
def threaded_server():
    with HTTPServer("127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def source(threaded_server):
    threaded_server.clear()
    yield Source(threaded_server)
    threaded_server.check_assertions()


@pytest.fixture
def obtainer(spool, obtainer_of):
    return obtainer_of(spool, max_artifact_size=10_000_000)


@pytest.fixture
def get(obtainer):
    return lambda bounty, seconds=60.0: obtainer.obtain(bounty, time.monotonic() + seconds)


LARGE = os.urandom(KEPT_IN_MEMORY + 1000)
LARGE_SHA = hashlib.sha256(LARGE).hexdigest()


class TestFetchedOnce:
    def test_ten_engines_at_once(self, get, source, spool, nothing_left):
        url = source.serve("/a", LARGE)
        arrived = threading.Event()
        source.hold = lambda _: arrived.wait(60)
        with ThreadPoolExecutor(10) as pool:
            futures = [pool.submit(get, bounty(url, sha256=LARGE_SHA)) for _ in range(10)]
            arrived.set()
            artifacts = [future.result() for future in futures]
        assert source.asked == ["/a"]
        assert len({artifact.path for artifact in artifacts}) == 1
        assert spool.used == len(LARGE)
        for artifact in artifacts:
            assert artifact.read_bytes() == LARGE
            artifact.close()

    def test_ten_engines_at_once_without_a_hash(self, get, source, nothing_left):
        url = source.serve("/a", LARGE)
        job = bounty(url)
        with ThreadPoolExecutor(10) as pool:
            artifacts = [future.result() for future in [pool.submit(get, job) for _ in range(10)]]
        assert source.asked == ["/a"]
        assert len({artifact.path for artifact in artifacts}) == 1
        for artifact in artifacts:
            artifact.close()

    @pytest.mark.parametrize("announced", [True, False])
    def test_ten_engines_one_after_another(self, get, source, nothing_left, announced):
        url = source.serve("/a", CONTENT)
        job = bounty(url, sha256=SHA if announced else None)
        for _ in range(10):
            with get(job) as artifact:
                assert artifact.path.read_bytes() == CONTENT
        assert source.asked == ["/a"]

    def test_another_bounty_without_a_hash_is_fetched_anew(self, get, source, nothing_left):
        url = source.serve("/a", CONTENT)
        for _ in range(2):
            get(bounty(url)).close()
        assert source.asked == ["/a", "/a"]

    def test_a_large_one_is_fetched_anew_once_nobody_uses_it(self, get, source, nothing_left):
        url = source.serve("/a", LARGE)
        for _ in range(2):
            get(bounty(url, sha256=LARGE_SHA)).close()
        assert source.asked == ["/a", "/a"]

    def test_a_hash_that_is_held_needs_no_connection(self, get, source, nothing_left):
        with get(bounty(source.serve("/a", LARGE))), get(bounty("http://nowhere.invalid/x", sha256=LARGE_SHA)) as other:
            assert other.read_bytes() == LARGE
            assert other.name == "http://nowhere.invalid/x"

    def test_equal_bytes_of_two_urls_share_one_file(self, get, source, spool, nothing_left):
        one, two = get(bounty(source.serve("/a", LARGE))), get(bounty(source.serve("/b", LARGE)))
        assert source.asked == ["/a", "/b"]
        assert one.path == two.path
        assert spool.used == len(LARGE)
        one.close()
        assert two.read_bytes() == LARGE
        two.close()

    def test_a_data_uri_shares_with_what_was_fetched(self, get, source, nothing_left):
        uri = Bounty.local(data=CONTENT).artifact_uri
        with get(bounty(source.serve("/a", CONTENT))) as one, get(bounty(uri, sha256=SHA)) as two:
            assert one.path == two.path

    def test_a_file_is_never_shared(self, get, source, tmp_path, nothing_left):
        (tmp_path / "x").write_bytes(CONTENT)
        local = Bounty.local(tmp_path / "x")
        with get(local) as mine, get(bounty(source.serve("/a", CONTENT), sha256=SHA)) as fetched:
            assert source.asked == ["/a"]
            assert mine.path == tmp_path / "x"
            assert fetched.path != mine.path
        assert (tmp_path / "x").exists()

    def test_hash_and_size_are_those_of_the_fetch(self, get, source, monkeypatch, nothing_left):
        with get(bounty(source.serve("/a", LARGE))) as artifact, monkeypatch.context() as patched:
            patched.setattr(hashlib, "sha256", None)
            assert (artifact.sha256, artifact.size) == (LARGE_SHA, len(LARGE))

    def test_small_ones_cost_no_file(self, get, source, spool):
        with get(bounty(source.serve("/a", CONTENT), sha256=SHA)) as artifact:
            assert artifact.read_bytes() == CONTENT
            assert list(spool.folder.iterdir()) == []


class TestOthersBytes:
    def test_two_bounties_with_one_id_never_see_each_other_s_bytes(self, get, source, nothing_left):
        contents = {f"/{number}": os.urandom(KEPT_IN_MEMORY * (number % 2) + 1000) for number in range(8)}
        urls = {path: source.serve(path, content) for path, content in contents.items()}
        wrong = []

        def work(path: str) -> None:
            for turn in range(10):
                announced = hashlib.sha256(contents[path]).hexdigest() if turn % 2 else None
                with get(bounty(urls[path], sha256=announced)) as artifact:  # the id of each is 1
                    if not artifact.read_bytes() == artifact.path.read_bytes() == contents[path]:
                        wrong.append(path)

        with ThreadPoolExecutor(16) as pool:
            for future in [pool.submit(work, path) for path in contents for _ in range(2)]:
                future.result()
        assert wrong == []

    def test_other_bytes_than_announced_are_not_handed_out_to_those_who_announced_nothing_else(self, get, source):
        url = source.serve("/a", CONTENT)
        with get(bounty(url)), pytest.raises(ArtifactError) as caught:
            get(bounty(url, sha256=OTHER_SHA))
        assert str(caught.value) == f"{url}: its SHA-256 is {SHA}, not {OTHER_SHA} as announced"
        with get(bounty(url, sha256=SHA)) as artifact:
            assert artifact.read_bytes() == CONTENT

    def test_a_data_uri_with_the_hash_of_what_is_held_is_still_checked(self, get, source):
        with get(bounty(source.serve("/a", CONTENT))), pytest.raises(ArtifactError, match="the bounty says"):
            get(bounty("data:,evil", sha256=SHA))

    def test_bytes_that_changed_at_their_url_are_fetched_anew(self, get, source, nothing_left):
        url = source.serve("/a", b"before")
        get(bounty(url)).close()
        source.server.clear_all_handlers()
        source.serve("/a", b"after")
        assert get(bounty(url)).read_bytes() == b"after"

    def test_a_link_planted_in_the_spool_leads_nowhere(self, get, source, spool, tmp_path, monkeypatch):
        victim = tmp_path / "victim"
        victim.write_bytes(b"untouched")
        victim.chmod(0o644)
        names = iter(["guessed", "free"])
        (spool.folder / "guessed").symlink_to(victim)
        url = source.serve("/a", LARGE)
        monkeypatch.setattr("secrets.token_hex", lambda _: next(names))
        with pytest.raises(ArtifactError) as caught:
            get(bounty(url))
        assert str(caught.value) == f"{url}: cannot be stored: File exists"
        with get(bounty(url)) as artifact:
            assert artifact.path == spool.folder / "free"
        assert victim.read_bytes() == b"untouched"
        assert stat.S_IMODE(victim.stat().st_mode) == 0o644


class TestDeadlines:
    def test_each_caller_has_its_own(self, get, source, nothing_left):
        url = source.serve("/a", LARGE)
        arrived, go = threading.Event(), threading.Event()
        source.hold = lambda _: (arrived.set(), go.wait(60))
        with ThreadPoolExecutor(2) as pool:
            patient = pool.submit(get, bounty(url))
            assert arrived.wait(60)
            with pytest.raises(ArtifactError) as caught:
                get(bounty(url), 0.1)
            assert str(caught.value) == f"{url}: not done by the deadline"
            other = pool.submit(get, bounty(url))
            go.set()
            for future in (patient, other):
                future.result().close()
        assert source.asked == ["/a"]

    def test_an_early_one_does_not_spoil_a_later(self, get, source, nothing_left):
        url = source.serve("/a", LARGE)
        arrived, failed = threading.Event(), threading.Event()
        source.hold = lambda _: (arrived.set(), failed.wait(60))
        with ThreadPoolExecutor(2) as pool:
            early = pool.submit(get, bounty(url), 3.0)
            assert arrived.wait(60)
            late = pool.submit(get, bounty(url), 60.0)
            with pytest.raises(ArtifactError, match="not done by the deadline"):
                early.result()
            failed.set()
            with late.result() as artifact:
                assert artifact.read_bytes() == LARGE
        assert source.asked == ["/a", "/a"]

    def test_none_is_later_than_the_bounty_s_own(self, obtainer, source, nothing_left):
        url = source.serve("/a", CONTENT)
        late = threading.Event()
        source.hold = lambda _: late.wait(60)
        expiring = msgspec.structs.replace(bounty(url), expiration=datetime.now(UTC) + timedelta(seconds=0.5))
        began = time.monotonic()
        with pytest.raises(ArtifactError, match="not done by the deadline"):
            obtainer.obtain(expiring, float("inf"))
        late.set()
        assert time.monotonic() - began < 20


class TestLimits:
    def test_a_full_spool_is_told_and_leaves_nothing(self, tmp_path, source, obtainer_of):
        url = source.serve("/a", LARGE)
        (tmp_path / "small").mkdir()
        with Spool(tmp_path / "small", max_size=1_000_000) as spool:
            obtainer = obtainer_of(spool)
            with pytest.raises(
                SpoolFull,
                match=r"^the spool holds 1000000 bytes, this artifact has \d+ or more; raise ",
            ):
                obtainer.obtain(bounty(url), time.monotonic() + 60)
            assert spool.used == 0
            assert list(spool.folder.iterdir()) == []

    def test_those_of_the_settings_hold(self, spool, source, obtainer_of):
        url = source.serve("/a", b"", 503)
        message = refusal(obtainer_of(spool, tries=2).obtain, bounty(url), time.monotonic() + 60)
        assert message == f"{url}: answered 503 SERVICE UNAVAILABLE (tried 2 times)"
        assert source.asked == ["/a", "/a"]

    def test_a_url_is_named_once_and_without_its_secrets(self, get, source):
        url = source.serve("/a", b"", 404)
        assert refusal(get, bounty(f"{url}?nonce=secret")) == f"{url}?…: answered 404 NOT FOUND"

    def test_nothing_is_kept_after_the_end(self, obtainer, get, source):
        url = source.serve("/a", CONTENT)
        get(bounty(url, sha256=SHA)).close()
        obtainer.close()
        get(bounty(url, sha256=SHA)).close()
        assert source.asked == ["/a", "/a"]


def url_bounty(uri: str, **fields: object) -> Bounty:
    return bounty(uri, ArtifactType.URL, **fields)


class TestUrls:
    @pytest.mark.parametrize(
        "uri",
        [
            URL,
            f"data:text/uri-list,{URL}",
            f"DATA:text/uri-list,{URL}%0D%0A",
            f"data:text/uri-list,# a remark%0D%0A%0D%0A{URL}%0D%0Ahttps://second.example/",
            "data:text/uri-list;base64,aHR0cHM6Ly94LmV4YW1wbGUvcGFnZQ==",
        ],
    )
    def test_the_url_is_the_artifact_and_nothing_is_fetched(self, obtain, uri):
        artifact = obtain(url_bounty(uri))
        assert artifact.url == URL
        assert artifact.artifact_type is ArtifactType.URL
        assert artifact.read_bytes() == URL.encode()
        assert artifact.mimetype == "text/uri-list"

    def test_a_local_one(self, obtain):
        assert obtain(Bounty.local(url=URL)).url == URL

    @pytest.mark.parametrize("hashed", [URL, f"{URL}\r\n"])
    def test_a_hash_of_the_url_or_of_all_that_carries_it(self, obtain, hashed):
        sha256 = hashlib.sha256(hashed.encode()).hexdigest()
        assert obtain(url_bounty(f"data:text/uri-list,{URL}%0D%0A", sha256=sha256)).url == URL

    @pytest.mark.parametrize("uri", [URL, f"data:text/uri-list,{URL}%0D%0A"])
    def test_another_url_than_the_bounty_says(self, obtain, uri):
        found = hashlib.sha256(URL.encode()).hexdigest()
        message = refusal(obtain, url_bounty(uri, sha256=OTHER_SHA))
        assert message == f"the artifact's SHA-256 is {found}, the bounty says {OTHER_SHA}"

    @pytest.mark.parametrize(
        ("carried", "shown"),
        [
            ("file:///etc/passwd", "'file:///etc/passwd'"),
            ("FILE:///etc/passwd", "'FILE:///etc/passwd'"),
            ("%20file:///etc/passwd", "'file:///etc/passwd'"),
            ("ftp://x.example/", "'ftp://x.example/'"),
            ("javascript:alert(1)", "'javascript:alert(1)'"),
            ("data:,x", "'data:,x'"),
            ("x.example", "'x.example'"),
        ],
    )
    def test_what_is_carried_must_be_http_or_https(self, obtain, carried, shown):
        message = refusal(obtain, url_bounty(f"data:text/uri-list,{carried}"))
        assert message == f"the data: URI of a URL artifact must hold an http or https URL, got {shown}"

    @pytest.mark.parametrize(
        ("carried", "message"),
        [
            ("", "the data: URI of a URL artifact holds no URL"),
            ("%23 only a remark%0D%0A", "the data: URI of a URL artifact holds no URL"),
            ("%FF", "the data: URI of a URL artifact does not hold text in UTF-8"),
            ("http://", "the data: URI of a URL artifact: names no host, got 'http://'"),
            (
                "http://a b/",
                "the data: URI of a URL artifact: must hold no spaces or control characters, got 'http://a b/'",
            ),
            ("http://x.example/" + "x" * 70_000, "data: URI too large: more than 65536 bytes decoded"),
        ],
    )
    def test_what_carries_no_url(self, obtain, carried, message):
        assert refusal(obtain, url_bounty(f"data:text/uri-list,{carried}")) == message


def test_what_was_fetched_is_told_to_who_listens(httpserver, obtain, caplog):
    httpserver.expect_request("/a").respond_with_data(b"content")
    with caplog.at_level("INFO", logger="psengine_host.obtaining"):
        obtain(bounty(httpserver.url_for("/a?nonce=hidden"))).close()
    [message] = [each.getMessage() for each in caplog.records if each.name == "psengine_host.obtaining"]
    assert re.fullmatch(rf"fetched {re.escape(httpserver.url_for('/a'))}\?…: 7 bytes in \d+\.\d{{3}} s", message)
