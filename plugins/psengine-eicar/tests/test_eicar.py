"""The reference engine, called directly, in a session, and as the host calls it."""

import io
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import psengine_eicar
import pytest
from psengine_eicar import EICAR, analyze, info

from psengine_host import Analysis, Artifact, Bounty, Host, Verdict
from psengine_host.settings import Settings
from psengine_host.spool import Spool
from psengine_host.testing import session

MEGABYTE = 1 << 20


def test_the_string_is_the_one_of_eicar():
    # https://www.eicar.org/download-anti-malware-testfile/: 68 bytes, beginning and end as published
    assert len(EICAR) == 68
    assert EICAR.startswith(b"X5O!P%@AP[4")
    assert EICAR.endswith(b"$H+H*")


def test_the_module_itself_is_no_test_file():
    assert EICAR not in Path(psengine_eicar.__file__).read_bytes()


def test_the_whole_engine_has_fewer_than_thirty_lines():
    assert len(Path(psengine_eicar.__file__).read_text().splitlines()) < 30


@pytest.mark.parametrize(
    "content",
    [
        EICAR,
        EICAR + b"\r\n",
        b"\x00" * 1_000 + EICAR + b"\xff" * 1_000,
        *(b"a" * (MEGABYTE - before) + EICAR for before in (0, 1, 34, 67, 68)),
        b"a" * (3 * MEGABYTE) + EICAR,
    ],
    ids=[
        "alone",
        "with a line end",
        "in the middle",
        *(f"{n} before the border" for n in (0, 1, 34, 67, 68)),
        "at the end",
    ],
)
def test_the_string_is_found_wherever_it_is(content):
    assert analyze(Artifact.from_bytes(content)) == Analysis.malicious("EICAR-Test-File", confidence=1.0)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", EICAR[:-1], EICAR[1:], EICAR.lower(), EICAR[:34] + b"\n" + EICAR[34:], EICAR[:34] * 2],
    ids=["empty", "other", "end missing", "beginning missing", "lower case", "broken in two", "first half twice"],
)
def test_what_only_looks_like_it_is_benign(content):
    assert analyze(Artifact.from_bytes(content)) == Analysis.benign(confidence=0.5)


def test_a_large_file_is_streamed(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(64 * MEGABYTE)
        file.seek(0, io.SEEK_END)
        file.write(EICAR)
    assert analyze(Artifact.from_path(path)).verdict is Verdict.MALICIOUS


def test_it_says_what_it_is():
    assert (info().product, info().vendor, info().engine_version) == ("EICAR", "psengine", "1.0")


def test_in_a_session_it_bids_and_names_itself():
    with session(psengine_eicar) as engine:
        assert engine.name == "eicar"
        found = engine.analyze(EICAR)
        assert found.verdict is Verdict.MALICIOUS
        assert found.bid == Bounty.local(data=EICAR).rules.max_allowed_bid
        assert (found.vendor, found.metadata.product) == ("psengine", "EICAR")
        assert engine.analyze(b"hello").verdict is Verdict.BENIGN
        assert engine.commands() == ()


def test_the_installed_engine_is_run_by_the_host(tmp_path):
    path = tmp_path / "eicar.com"
    path.write_bytes(EICAR)
    with Host(Settings(enabled_engines=frozenset({"eicar"}))) as host:
        outcome = host.analyze(path)
        assert host.analyze(Bounty.local(data=EICAR, lifetime=timedelta(minutes=1))).analysis == outcome.analysis
    assert outcome.engine == "eicar"
    assert outcome.failure is None
    assert outcome.analysis.malware_family == "EICAR-Test-File"
    assert outcome.analysis.metadata.scanner.version == metadata.version("psengine-eicar")


def test_a_url_is_none_of_its_business():
    with session("eicar") as engine, Spool() as spool:
        analysis = engine.analyze(Artifact.from_url("http://example.com/", spool=spool))
    assert analysis.comments == ("SKIPPED:TYPE-UNSUPPORTED", "eicar takes no url artifacts")
