#!/usr/bin/env python3
"""AcmeScan: acmescan --database FILE (--version | --update | PATH). Ends with 0: clean, 1: found, 2: trouble."""

import os
import pathlib
import sys

SIGNATURES = """20240102
EICAR-Test-File=58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d
"""

sys.stdout.reconfigure(encoding="cp1252", errors="replace", newline="\r\n")
_, _, database, wanted = sys.argv
try:
    if wanted == "--update":
        pathlib.Path(f"{database}.new").write_text(SIGNATURES)
        os.replace(f"{database}.new", database)
    date, *signatures = pathlib.Path(database).read_text().split()
    if wanted in ("--version", "--update"):
        print(f"AcmeScan 2.1\nSignatures: {date} ({len(signatures)})")
        sys.exit(0)
    content = pathlib.Path(wanted).read_bytes()
except OSError as error:
    print(f"ERROR: {error}", file=sys.stderr)
    sys.exit(2)
for name, pattern in (signature.split("=") for signature in signatures):
    if bytes.fromhex(pattern) in content:
        print(f"{wanted}: FOUND {name}")
        sys.exit(1)
print(f"{wanted}: OK")
