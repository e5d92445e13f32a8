"""The loop of a scan, without its command line."""

import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from psengine_host import ArtifactType, Bounty, Host
from psengine_host.cli.inputs import FileInput, RemoteInput
from psengine_host.cli.scan import Scan
from psengine_host.settings import NetworkSettings, Settings


@pytest.fixture
def store():
    """A server that counts how often its artifact is fetched."""

    class Store(BaseHTTPRequestHandler):
        fetched = 0

        def do_GET(self):
            Store.fetched += 1
            self.send_response(200 if self.path == "/artifact" else 404)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"fetched")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Store.url = f"http://127.0.0.1:{server.server_port}"
        yield Store
        server.shutdown()
        thread.join()


def rows_of(engine_site, tmp_path, uri):
    for name in ("one", "two"):
        engine_site.add(name)
    bounty = Bounty(
        id=1, artifact_type=ArtifactType.FILE, artifact_uri=uri, expiration=datetime.now(UTC) + timedelta(minutes=5)
    )
    (tmp_path / "bounty.json").write_bytes(bounty.encode())
    item = FileInput("bounty.json", str(tmp_path / "bounty.json"))
    settings = Settings(network=NetworkSettings(allow=("127.0.0.1",)))
    with Host(settings, catalog=engine_site.catalog()) as host:
        return list(Scan(host, ["one", "two"], bounties=True).rows([item]))


def test_the_artifact_of_a_bounty_is_fetched_once_for_all_engines(engine_site, tmp_path, store):
    rows = rows_of(engine_site, tmp_path, f"{store.url}/artifact")
    assert [(row.engine, row.verdict.value, row.error) for row in rows] == [
        ("one", "benign", None),
        ("two", "benign", None),
    ]
    assert store.fetched == 1
    assert rows[0].size == len(b"fetched")


def test_one_that_cannot_be_had_is_told_to_each_engine(engine_site, tmp_path, store):
    rows = rows_of(engine_site, tmp_path, f"{store.url}/gone")
    assert [(row.engine, row.error[0]) for row in rows] == [("one", "fetch"), ("two", "fetch")]


def test_a_url_that_cannot_be_fetched_is_named_once(engine_site, store):
    engine_site.add("one")
    settings = Settings(network=NetworkSettings(allow=("127.0.0.1",)))
    with Host(settings, catalog=engine_site.catalog()) as host:
        items = [RemoteInput(url, url) for url in (f"{store.url}/gone", f"{store.url}/gone?nonce=secret")]
        rows = list(Scan(host, ["one"]).rows(items))
    assert [row.error for row in rows] == [
        ("fetch", f"{store.url}/gone: answered 404 Not Found"),
        ("fetch", f"{store.url}/gone?…: answered 404 Not Found"),
    ]
