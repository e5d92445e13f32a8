"""``python -m psengine_host`` and the ``psengine`` script."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run ``psengine`` with the arguments of this process, and end it."""
    _import_nothing_from_the_working_directory()
    from psengine_host.cli.interrupts import die_quietly_of_interrupts

    die_quietly_of_interrupts()  # while all else is imported
    from psengine_host.cli.program import end_program
    from psengine_host.cli.root import psengine

    sys.exit(end_program(psengine))


def _import_nothing_from_the_working_directory() -> None:
    """``python -m`` puts the working directory first on the path, and that may be a folder of malware.

    Only where this package itself is not there: a checkout may be run in place.
    """
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        working = os.getcwd()
    except OSError:  # it has been removed: nothing can be imported from it either
        return
    if os.path.realpath(here) != os.path.realpath(working) and sys.path and sys.path[0] in ("", working):
        del sys.path[0]


if __name__ == "__main__":
    main()
