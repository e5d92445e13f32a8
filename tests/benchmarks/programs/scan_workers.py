"""The loop of ``psengine analyze -j 2`` over a list of files, into nothing.

Arguments: the list, the engine, and ``identify`` if types are wanted.
"""

import os
import sys
from typing import Any

from rounds import paths, serve

from psengine_host.cli.inputs import FileInput
from psengine_host.cli.parallel_scan import ParallelScan
from psengine_host.cli.tally import Tally
from psengine_host.cli.writers import JsonLinesWriter
from psengine_host.engines.found import find_engines
from psengine_host.host import Host
from psengine_host.settings import Settings, WorkerSettings

FILES = paths()
ENGINE = sys.argv[2]
IDENTIFY = "identify" in sys.argv[3:]


def main() -> None:
    settings = Settings(workers=WorkerSettings(count=2))
    with (
        Host(settings, backend="process", catalog=find_engines()) as host,
        open(os.devnull, "w", encoding="utf-8", errors="surrogateescape") as nowhere,
    ):

        def one_round() -> dict[str, Any]:
            tally, writer, malicious = Tally(), JsonLinesWriter(nowhere), []
            scan = ParallelScan(host, [ENGINE], ahead=True, identify=IDENTIFY)
            for row in scan.rows(FileInput(path, path) for path in FILES):
                tally.add(row)
                writer.write(row)
                if row.verdict.value == "malicious":
                    malicious.append(row.artifact)
            scan.close()
            return {"files": tally.artifacts, "bytes": tally.bytes, "errors": tally.errors, "malicious": malicious}

        serve(one_round)


if __name__ == "__main__":
    main()
