import hashlib
import os
import stat
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from psengine_host import samples
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.errors import ArtifactError, ArtifactUnavailable
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
def obtain(spool):
    """Obtains over the loopback network, which nobody is allowed by default, at most 10,000 bytes."""
    obtainer = Obtainer(Settings(network=NetworkSettings(allow=("127.0.0.1",), max_artifact_size=10_000)), spool)
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

    def test_nothing_is_fetched_from_this_machine_by_default(self, spool, httpserver, nothing_left):
        obtainer = Obtainer(Settings(), spool)
        message = refusal(obtainer.obtain, bounty(httpserver.url_for("/a")), time.monotonic() + 20)
        assert "forbidden" in message
        assert httpserver.log == []

    def test_the_time_to_fetch_it_may_be_over(self, obtain, httpserver, nothing_left):
        assert "deadline" in refusal(obtain, bounty(httpserver.url_for("/a")), -1.0)
        assert httpserver.log == []


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
