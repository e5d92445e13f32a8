"""``python -m psengine_host`` and the ``psengine`` script."""

from __future__ import annotations

import sys

from psengine_host.cli.program import end_program


def main() -> None:
    """Run ``psengine`` with the arguments of this process, and end it."""
    from psengine_host.cli.root import psengine

    sys.exit(end_program(psengine))


if __name__ == "__main__":
    main()
