"""Running the command line: exit codes and one-line errors."""

from __future__ import annotations

import sys
from typing import Final

import click

from psengine_host.cli.interrupts import Interrupts, complain_of_no_lost_interrupt, end_soon
from psengine_host.cli.root import State
from psengine_host.cli.streams import (
    PipeClosed,
    engine_prints_to_stderr,
    forget_output,
    forgive_stderr,
    open_missing_streams,
    output_failed,
    seal_stdout,
)
from psengine_host.errors import PsengineError, UsageError, one_line

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "MALICIOUS",
    "OK",
    "PIPE_CLOSED",
    "USAGE",
    "end_program",
    "engine_prints_to_stderr",
    "run_program",
]

OK: Final = 0
MALICIOUS: Final = 1
"""Something was malicious."""
USAGE: Final = 2
"""What was asked for cannot be."""
FAILED: Final = 3
"""Some artifact or engine failed."""
INTERRUPTED: Final = 130
"""Ctrl-C: 128 + SIGINT. SIGTERM and SIGHUP count likewise."""
PIPE_CLOSED: Final = 141
"""The reader of the output went away: 128 + SIGPIPE."""


def end_program(command: click.Command) -> int:
    """Run a command line with the arguments of this process, which ends with the exit code that this returns.

    Args:
        command: The command.

    Returns:
        The exit code.
    """
    open_missing_streams()
    forgive_stderr()
    complain_of_no_lost_interrupt()
    interrupts = Interrupts()
    code = _to_exit_code(command, None, State(), interrupts)  # the log stays: engines' functions at exit log too
    if interrupts.signal is not None:
        end_soon(code)
    seal_stdout()
    return code


def run_program(command: click.Command, arguments: list[str] | None = None) -> int:
    """Run a command line to its exit code; whatever is raised becomes one line on stderr.

    The log and the handlers of signals are afterwards as they were before.

    Args:
        command: The command.
        arguments: Its arguments; those of the process by default.

    Returns:
        The exit code; 128 and the signal's number where SIGINT, SIGTERM or SIGHUP ended the command, after all that
        it had to clean up.
    """
    state = State()
    try:
        return _to_exit_code(command, arguments, state, Interrupts())
    finally:
        if state.log is not None:
            state.log.close()


def _to_exit_code(command: click.Command, arguments: list[str] | None, state: State, interrupts: Interrupts) -> int:
    try:
        with interrupts:
            return _run(command, arguments, state, interrupts)
    except KeyboardInterrupt:  # when all was done but to give the signals back
        interrupts.__exit__()
        return interrupts.exit_code


def _run(command: click.Command, arguments: list[str] | None, state: State, interrupts: Interrupts) -> int:
    try:
        result = command.main(arguments, standalone_mode=False, obj=state)
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return interrupts.exit_code
    except (PipeClosed, BrokenPipeError):
        forget_output()
        return PIPE_CLOSED
    except PsengineError as error:
        _complain(error, state)
        return USAGE if isinstance(error, UsageError) else FAILED
    except Exception as error:  # noqa: BLE001 - never a traceback at a user
        if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
            _complain(error, state, "no more threads can be started: raise the limit of processes (ulimit -u)")
        elif isinstance(error, OSError) and output_failed(error):
            forget_output()
            _complain(error, state, f"the output cannot be written: {(error.strerror or str(error)).lower()}")
        else:
            where = "--debug shows where"
            _complain(error, state, f"unexpected error, please report it ({where}): {_masked(one_line(error), state)}")
        return FAILED


def _complain(error: Exception, state: State, message: str | None = None) -> None:
    message = one_line(error) if message is None else message
    if state.log is not None and state.log.is_json:
        state.log.complain(message, error if state.debug else None)
        return
    if state.debug:
        import traceback

        click.echo(_masked("".join(traceback.format_exception(error)), state), err=True, nl=False)
    click.echo(f"psengine: {message}", err=True)


def _masked(text: str, state: State) -> str:
    """A foreign text without secrets: what is on standard error is kept as a log by whoever runs this as a service."""
    return text if state.log is None else state.log.masked(text)
