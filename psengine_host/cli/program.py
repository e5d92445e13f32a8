"""Running the command line: exit codes, one-line errors, and the streams."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Final

import click

from psengine_host.errors import PsengineError, UsageError, one_line

__all__ = ["FAILED", "INTERRUPTED", "MALICIOUS", "OK", "PIPE_CLOSED", "USAGE", "engine_prints_to_stderr", "run_program"]

OK: Final = 0
MALICIOUS: Final = 1
"""Something was malicious."""
USAGE: Final = 2
"""What was asked for cannot be."""
FAILED: Final = 3
"""Some artifact or engine failed."""
INTERRUPTED: Final = 130
"""Ctrl-C: 128 + SIGINT."""
PIPE_CLOSED: Final = 141
"""The reader of the output went away: 128 + SIGPIPE."""


def run_program(command: click.Command, arguments: list[str] | None = None) -> int:
    """Run a command line to its exit code; whatever is raised becomes one line on stderr.

    Args:
        command: The command.
        arguments: Its arguments; those of the process by default.

    Returns:
        The exit code.
    """
    try:
        result = command.main(arguments, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return PIPE_CLOSED
    except PsengineError as error:
        _complain(error)
        return USAGE if isinstance(error, UsageError) else FAILED
    except Exception as error:  # noqa: BLE001 - never a traceback at a user
        _complain(error, "unexpected error, please report it (--debug shows where): ")
        return FAILED


def _complain(error: Exception, prefix: str = "") -> None:
    if _debugging():
        import traceback

        traceback.print_exception(error)
    click.echo(f"psengine: {prefix}{one_line(error)}", err=True)


def _debugging() -> bool:
    return "--debug" in sys.argv[1:] or os.environ.get("PSENGINE_DEBUG", "") not in ("", "0")


def _forget_stdout() -> None:
    """Let the interpreter's last flush of stdout go nowhere, or it would complain of the closed pipe again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def engine_prints_to_stderr() -> Iterator[IO[str]]:
    """Keep standard output for the host: whatever an engine prints meanwhile, C code too, goes to standard error.

    Yields:
        The real standard output, for what the command has to say.
    """
    stdout = sys.stdout
    stdout.flush()
    try:
        descriptor = stdout.fileno()
    except (OSError, ValueError):  # not a file: a test's buffer
        descriptor = -1
    if descriptor < 0:
        with contextlib.redirect_stdout(sys.stderr):
            yield stdout
        return
    kept = os.dup(descriptor)
    try:
        os.dup2(sys.stderr.fileno(), descriptor)
        with open(kept, "w", encoding="utf-8", errors="surrogateescape", newline="", closefd=False) as out:
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    yield out
            except BrokenPipeError:
                _forget(kept)
                raise
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _forget(descriptor: int) -> None:
    """Let what is still buffered for a descriptor go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
