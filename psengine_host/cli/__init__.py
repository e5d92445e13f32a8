"""The command line: one small file a command."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["engine_cli"]


def engine_cli(engine: str) -> Callable[[], None]:
    """The program of one engine, for its package to offer as a script.

    In the engine's ``pyproject.toml``, where ``psengine_nanoav/program.py`` holds ``main = engine_cli("nanoav")``::

        [project.scripts]
        psengine-nanoav = "psengine_nanoav.program:main"

    Then ``psengine-nanoav analyze -v FILE`` is ``psengine analyze --engine nanoav -v FILE``, and so for ``info``,
    ``commands``, ``debug`` and ``create-bounty``.

    Args:
        engine: The engine's name.

    Returns:
        A function that runs the program with the arguments of the process, and ends it.
    """

    def main() -> None:
        import sys

        from psengine_host.cli.interrupts import die_quietly_of_interrupts

        die_quietly_of_interrupts()  # while all else is imported
        from psengine_host.cli.program import end_program
        from psengine_host.cli.root import program_of

        sys.exit(end_program(program_of(engine)))

    return main
