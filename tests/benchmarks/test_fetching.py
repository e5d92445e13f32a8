"""Artifacts a second from a server on loopback, beside requests, and the memory that hostile ones take."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

PROGRAMS = Path(__file__).parent / "programs"
ROUNDS = 11
ALLOWED = 40 * 1024
"""KiB of peak memory above that of a process that has fetched something small: 40 MiB."""
CARRIED = 500_000_000
"""Bytes of the ``data:`` URI."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "fetch_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.stdin.close()
    process.stdout.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize(("size", "count", "bound"), [(1_000_000, 200, 1.0), (1_000, 2_000, 2.0)], ids=["1 MB", "1 KB"])
def test_artifacts_are_fetched_as_fast_as_with_requests(size, count, bound, server, program, in_turns, figure):
    host = program("fetch_host.py", server, str(size), str(count))
    other = program("fetch_requests.py", server, str(size), str(count))
    ours, theirs = host.round(), other.round()
    assert ours["artifacts"] == theirs["artifacts"] == count
    assert ours["hashes"] == theirs["hashes"]
    assert len(ours["hashes"]) == 1

    def seconds(of: Any) -> float:
        result = of.round()
        assert result["artifacts"] == count
        return float(result["seconds"])

    rounds = in_turns(ROUNDS, host=lambda: seconds(host), requests=lambda: seconds(other))
    ratio = rounds.ratio("requests", "host")
    figure(
        f"fetching {count:,} artifacts of {size:,} bytes",
        f"{count / rounds.median('host'):,.0f} artifacts/s",
        f"requests, a bare loop: {count / rounds.median('requests'):,.0f} artifacts/s",
        f"{ratio:.1f} times its artifacts",
        f"at least {bound:g}",
    )
    assert ratio >= bound


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def peak() -> Callable[..., tuple[int, str]]:
    """``peak(what, argument)``: KiB at most above idle, and how it ended."""

    def measure(what: str, argument: str, stdin: BinaryIO | None = None) -> tuple[int, str]:
        command = [sys.executable, str(PROGRAMS / "fetch_memory.py"), what, argument]
        ended = subprocess.run(command, stdin=stdin, stdout=subprocess.PIPE, check=True, text=True)
        told = json.loads(ended.stdout)
        return int(told["kib"]), str(told["reason"])

    return measure


@pytest.mark.parametrize(
    ("path", "what", "reason"),
    [
        ("announced", "1 GB, announced, under a limit of 100 MB", "larger than the limit of 100000000 bytes: "),
        ("chunked", "1 GB in chunks without a length, under 100 MB", "larger than the limit of 100000000 bytes; "),
        ("unframed", "1 GB until the connection ends, under 100 MB", "larger than the limit of 100000000 bytes; "),
        ("bomb", "a gzip bomb of 300 KB to 300 MB, under 100 MB", "larger than the limit of 100000000 bytes once "),
    ],
    ids=["announced", "chunked", "unframed", "bomb"],
)
def test_memory_stays_flat_whatever_a_server_sends(path, what, reason, server, peak, figure):
    kib, ended = peak("fetch", f"{server}/{path}")
    assert ended.startswith(reason)
    figure(f"memory: {what}", f"{kib / 1024:+.1f} MiB", "a small artifact", "", "at most +40 MiB")
    assert kib <= ALLOWED


@pytest.fixture
def bounty(tmp_path) -> Path:
    """A bounty whose artifact, of 500 MB, is in its ``data:`` URI."""
    path = tmp_path / "bounty.json"
    block = base64.b64encode(bytes(750_000))
    with path.open("wb") as file:
        file.write(b'{"id": 1, "artifact_type": "file", "duration": 30, "artifact_uri": "data:;base64,')
        for _ in range(CARRIED // 750_000 + 1):
            file.write(block)
        file.write(b'"}')
    return path


@pytest.mark.parametrize("how", ["file", "pipe"])
def test_memory_stays_flat_when_a_bounty_is_too_large(how, peak, figure, bounty):
    if how == "file":
        kib, ended = peak("bounty", str(bounty))
    else:
        with subprocess.Popen(["cat", str(bounty)], stdout=subprocess.PIPE) as piping:
            kib, ended = peak("bounty", "-", piping.stdout)
    assert ended.endswith("a bounty has at most 32 MB; raise the setting host.max_bounty_size")
    what = f"memory: a bounty with a data: URI of 500 MB, from a {how}, under 32 MB"
    figure(what, f"{kib / 1024:+.1f} MiB", "a small bounty", "", "at most +40 MiB")
    assert kib <= ALLOWED


def test_memory_stays_flat_when_a_data_uri_is_too_large(peak, figure):
    kib, ended = peak("data", str(CARRIED))
    assert ended == "data: URI too large: more than 100000000 bytes decoded"
    what = "memory: a data: URI of 500 MB that is in memory, under 100 MB"
    figure(what, f"{kib / 1024:+.1f} MiB", "the URI itself", "", "at most +40 MiB")
    assert kib <= ALLOWED
