"""The loop of ``psengine analyze`` over a list of files: Scan, tally and JSON Lines, into nothing."""

import os
from typing import Any

from rounds import paths, serve

from psengine_host.cli.inputs import FileInput
from psengine_host.cli.scan import Scan
from psengine_host.cli.tally import Tally
from psengine_host.cli.writers import JsonLinesWriter
from psengine_host.host import Host

FILES = paths()


def main() -> None:
    with Host() as host, open(os.devnull, "w", encoding="utf-8", errors="surrogateescape") as nowhere:

        def one_round() -> dict[str, Any]:
            tally, writer, malicious = Tally(), JsonLinesWriter(nowhere), []
            for row in Scan(host, ["eicar"], ahead=True).rows(FileInput(path, path) for path in FILES):
                tally.add(row)
                writer.write(row)
                if row.verdict.value == "malicious":
                    malicious.append(row.artifact)
            return {"files": tally.artifacts, "bytes": tally.bytes, "errors": tally.errors, "malicious": malicious}

        serve(one_round)


if __name__ == "__main__":
    main()
