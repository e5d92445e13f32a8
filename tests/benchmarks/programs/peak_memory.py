"""Run ``psengine`` with all arguments but the first, and write the process's peak resident memory, in KiB, into that.

Measured by the process itself: what a parent is told of its child includes the parent's own size at the fork.
"""

import re
import sys
from pathlib import Path

from psengine_host.__main__ import main

if __name__ == "__main__":
    told = Path(sys.argv.pop(1))
    try:
        main()
    finally:
        told.write_text(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
