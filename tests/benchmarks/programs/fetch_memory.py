"""One thing that is too large, and the process's peak resident memory above what it had before.

Arguments: ``fetch`` and a URL, ``bounty`` and a file (``-`` for standard input), or ``data`` and a number of bytes.
Measured by the process itself, after it has done the same with something small.
"""

import io
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from psengine_host.artifacts import KEPT_IN_MEMORY
from psengine_host.cli.inputs import FileInput, StreamInput
from psengine_host.cli.opening import Opener
from psengine_host.errors import PsengineError
from psengine_host.host import Host
from psengine_host.network.errors import FetchError
from psengine_host.network.fetcher import Fetcher
from psengine_host.settings import NetworkSettings, Settings
from psengine_host.spool import Spool

SETTINGS = Settings(network=NetworkSettings(allow=("127.0.0.1",), tries=1))
SMALL = b'{"id": 1, "artifact_type": "file", "artifact_uri": "data:,small", "duration": 30}'


def kib(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measured(attempt: Callable[[], object]) -> None:
    """Print what an attempt took at most, and how it failed."""
    idle = kib("VmRSS")
    reason = "it did not fail"
    try:
        attempt()
    except FetchError as error:
        reason = error.reason
    except PsengineError as error:
        reason = str(error)
    print(json.dumps({"kib": kib("VmHWM") - idle, "reason": reason}))


def fetching(url: str, warm: str) -> None:
    with Spool() as spool, Fetcher(SETTINGS.network) as fetcher:

        def fetch(uri: str) -> None:
            with spool.deposit(KEPT_IN_MEMORY) as deposit:
                fetcher.fetch(uri, cast(BinaryIO, deposit), deadline=time.monotonic() + 300)

        fetch(warm)
        measured(lambda: fetch(url))


def reading(name: str) -> None:
    with Host(SETTINGS) as host:
        opener = Opener(SETTINGS, host.spool, host.obtainer)
        opener.read_bounty(StreamInput("small", lambda: io.BytesIO(SMALL)))
        if name == "-":
            measured(lambda: opener.read_bounty(StreamInput("-", lambda: sys.stdin.buffer)))
        else:
            measured(lambda: opener.read_bounty(FileInput(name, name)))


def main() -> None:
    what, argument = sys.argv[1:]
    if what == "fetch":
        fetching(argument, f"{argument.rpartition('/')[0]}/1000/0")
    elif what == "data":
        fetching("data:;base64,".ljust(int(argument) // 3 * 4, "A"), "data:,small")
    else:
        reading(argument)


if __name__ == "__main__":
    main()
