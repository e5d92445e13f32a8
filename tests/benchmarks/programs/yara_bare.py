"""What scanning with YARA-X on two cores costs without a host: a pool, each worker with the same compiled rules.

The rules are those of psengine-yara, compiled once and handed to the workers as YARA-X writes them. Arguments: the list
of files, and ``kept`` if each worker is to keep one scanner, as psengine-yara does, instead of calling ``Rules.scan``.
"""

import io
import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

import yara_x
from psengine_yara.compiling import compile_files
from psengine_yara.sources import Sources, from_pack, from_packages
from rounds import paths, serve

FILES = paths()
CHUNK = 32

KEPT = "kept" in sys.argv[2:]

_scan: Callable[[bytes], yara_x.ScanResults] | None = None


def load(written: bytes) -> None:
    """Load the rules, once in each worker."""
    global _scan
    rules = yara_x.Rules.deserialize_from(io.BytesIO(written))
    if KEPT:
        scanner = yara_x.Scanner(rules)
        scanner.fast_scan(True)
        _scan = scanner.scan
    else:
        _scan = rules.scan


def verdicts(path: str) -> list[str]:
    """What the metadata of the rules that match says."""
    if _scan is None:
        raise RuntimeError("the worker has no rules")
    with open(path, "rb") as file:
        matches = _scan(file.read()).matching_rules
    return [str(value) for rule in matches for key, value in rule.metadata if key == "verdict"]


def main() -> None:
    sources = Sources()
    from_pack(sources)
    from_packages(sources)
    rules, _, _ = compile_files(sources.files)
    compiled = io.BytesIO()
    rules.serialize_into(compiled)
    with multiprocessing.Pool(2, load, (compiled.getvalue(),)) as pool:

        def one_round() -> dict[str, Any]:
            found = dict(zip(FILES, pool.imap(verdicts, FILES, CHUNK), strict=True))
            return {"files": len(found), "malicious": [path for path in FILES if "malicious" in found[path]]}

        serve(one_round)


if __name__ == "__main__":
    main()
