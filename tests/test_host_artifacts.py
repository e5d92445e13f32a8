"""What a host does with artifacts over the bounties and engines that it has in work."""

import hashlib
import os
import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest

from psengine_host import ArtifactType, Bounty, Host, Verdict
from psengine_host.artifacts import KEPT_IN_MEMORY
from psengine_host.outcome import FailureKind
from psengine_host.settings import NetworkSettings, Settings, SpoolSettings

ENGINES = [f"engine-{number}" for number in range(10)]
SMALL = b"the artifact of ten engines\n"
LARGE = b"x" * (KEPT_IN_MEMORY + 1)


@pytest.fixture
def parent(tmp_path, monkeypatch):
    """Where the host's spool lies."""
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setenv("TMPPREFIX", str(folder))
    return folder


@pytest.fixture
def host(engine_site, parent):
    for name in ENGINES:
        engine_site.add(
            name,
            """
            from psengine_host import Analysis, hookimpl

            @hookimpl
            def analyze(artifact):
                return Analysis.malicious(str(len(artifact.path.read_bytes())), confidence=1.0)
            """,
        )
    settings = Settings(network=NetworkSettings(allow=("127.0.0.1",)), spool=SpoolSettings(max_size=2_000_000))
    with Host(settings, catalog=engine_site.catalog()) as host:
        yield host


def bounty(uri: str, data: bytes | None = None) -> Bounty:
    expiration = datetime.now(UTC) + timedelta(minutes=5)
    sha256 = None if data is None else hashlib.sha256(data).hexdigest()
    return Bounty(id=1, artifact_type=ArtifactType.FILE, artifact_uri=uri, expiration=expiration, sha256=sha256)


def serve(httpserver, *answers: bytes) -> str:
    for data in answers:
        httpserver.expect_ordered_request("/a").respond_with_data(data)
    return httpserver.url_for("/a")


@pytest.mark.parametrize("announced", [True, False])
def test_ten_engines_judge_one_bounty_and_it_is_fetched_once(host, httpserver, announced):
    job = bounty(serve(httpserver, SMALL), SMALL if announced else None)
    for engine in ENGINES:
        outcome = host.judge(job, engine).result()
        assert outcome.analysis.verdict is Verdict.MALICIOUS
        assert outcome.analysis.metadata.malware_family == str(len(SMALL))
    assert len(httpserver.log) == 1
    assert list(host.spool.folder.iterdir()) == []


def test_a_large_one_is_fetched_once_while_the_host_holds_it(host, httpserver):
    job = bounty(serve(httpserver, LARGE), LARGE)
    with host.obtainer.obtain(job, time.monotonic() + 60):
        for engine in ENGINES:
            assert host.judge(job, engine).result().analysis.verdict is Verdict.MALICIOUS
        assert host.spool.used == len(LARGE)
    assert len(httpserver.log) == 1
    assert list(host.spool.folder.iterdir()) == []


def test_one_that_does_not_fit_is_answered_with_the_reason(host, httpserver):
    job = bounty(serve(httpserver, LARGE * 2))
    outcome = host.judge(job, ENGINES[0]).result()
    comments = outcome.analysis.metadata.comments
    assert comments[0] == "SKIPPED:CANNOT-FETCH"
    assert comments[1].startswith("the spool holds 2000000 bytes, ")
    assert list(host.spool.folder.iterdir()) == []


def test_other_bytes_than_the_bounty_s_are_not_judged(host, httpserver):
    url = serve(httpserver, b"other")
    outcome = host.judge(bounty(url, SMALL), ENGINES[0]).result()
    found, announced = hashlib.sha256(b"other").hexdigest(), hashlib.sha256(SMALL).hexdigest()
    assert outcome.analysis.metadata.comments == (
        "SKIPPED:CANNOT-FETCH",
        f"{url}: its SHA-256 is {found}, not {announced} as announced",
    )


def test_what_a_dead_host_left_is_gone_when_the_next_starts(engine_site, parent):
    left = parent / f"psengine-{secrets.token_hex(16)}"
    left.mkdir(mode=0o700)
    (left / "malware").write_bytes(b"x")
    other = parent / "psengine-mine"
    other.mkdir()
    engine_site.add("one")
    with Host(catalog=engine_site.catalog()):
        assert os.listdir(parent) == ["psengine-mine"]


def test_hosts_at_the_same_time_leave_each_other_s_spools(engine_site, parent):
    engine_site.add("one")
    with Host(catalog=engine_site.catalog()) as one:
        folder = one.spool.folder
        with Host(catalog=engine_site.catalog()) as two:
            assert two.spool.folder != folder
            assert folder.is_dir()
        assert folder.is_dir()
    assert list(parent.iterdir()) == []


WRECKS = {
    "overwritten": "os.chmod(path, 0o600); artifact.path.write_bytes(b'!')",
    "removed": "os.unlink(path)",
    "a-folder": "os.unlink(path); os.makedirs(path + '/inner')",
    "a-link": "os.unlink(path); os.symlink('/etc/hostname', path)",
}


@pytest.mark.parametrize("kept", [True, False], ids=["in-memory", "on-disk-only"])
@pytest.mark.parametrize("wreck", WRECKS)
def test_an_engine_that_spoils_its_artifact_s_file_spoils_no_other_s(
    host, engine_site, parent, httpserver, wreck, kept
):
    spoiling = "import os; from psengine_host import Analysis, hookimpl\n"
    spoiling += f"@hookimpl\ndef analyze(artifact):\n    path = str(artifact.path); {WRECKS[wreck]}\n"
    engine_site.add("spoiling", spoiling + "    return Analysis.benign(confidence=1.0)\n")
    data = SMALL if kept else LARGE
    with Host(host.settings, catalog=engine_site.catalog()) as spoilt:
        job = bounty(serve(httpserver, data), data)
        with spoilt.obtainer.obtain(job, time.monotonic() + 60) as artifact:
            first = spoilt.judge(job, "spoiling", artifact).result()
            assert (first.analysis.verdict, first.failure.kind) == (Verdict.UNKNOWN, FailureKind.FETCH)
            for engine in ENGINES[:3]:
                outcome = spoilt.judge(job, engine, artifact).result()
                if kept:
                    assert outcome.analysis.metadata.malware_family == str(len(data))
                    assert outcome.failure is None
                else:
                    assert outcome.failure is not None
        assert list(spoilt.spool.folder.iterdir()) == []
        assert spoilt.spool.used == 0
