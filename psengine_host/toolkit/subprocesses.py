"""Run a scanner that is a program: within limits, to the end of all it starts, and never through a shell.

::

    from psengine_host.toolkit.subprocesses import run_command

    scan = run_command([scanner, "--no-summary", artifact.path], timeout="20s").check(0, 1)
    for line in scan.lines:
        ...
"""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from psengine_host.errors import shown
from psengine_host.job import seconds_left
from psengine_host.quantities import parse_duration, parse_size
from psengine_host.toolkit.command_environment import command_environment
from psengine_host.toolkit.command_errors import (
    CommandError,
    CommandFailed,
    CommandNotFound,
    CommandNotStarted,
    CommandTimeout,
    InvalidCommand,
)
from psengine_host.toolkit.completed_command import CompletedCommand, excerpt
from psengine_host.toolkit.decoding import Decoder, decoder
from psengine_host.toolkit.exchange import Exchange
from psengine_host.toolkit.masking import Masking
from psengine_host.toolkit.process_groups import MARK_VARIABLE, ProcessGroup, put_mark

__all__ = [
    "CommandError",
    "CommandFailed",
    "CommandNotFound",
    "CommandNotStarted",
    "CommandTimeout",
    "CompletedCommand",
    "InvalidCommand",
    "run_command",
]

Argument = str | os.PathLike[str]

_WINE_STARTS: Final = 5
"""How often Wine is started where it has ended before it began."""
_GRACE: Final = 0.4
"""Seconds between SIGTERM and SIGKILL, so that all is over within a second of the limit."""

logger = logging.getLogger(__name__)


class _Limit(NamedTuple):
    """When a command is ended, on the clock of ``time.monotonic``, and what to say of it then."""

    until: float
    over: str
    already_over: str


class _Command(NamedTuple):
    args: list[str]
    environ: dict[str, str]
    cwd: str | None
    data: bytes | None
    max_output: int
    decode: Decoder
    masking: Masking


def run_command(
    args: Sequence[Argument],
    *,
    timeout: float | str = 30,
    wine: bool = False,
    encoding: str = "utf-8",
    max_output: int | str = "16 MB",
    env: Mapping[str, str | None] | None = None,
    cwd: Argument | None = None,
    input: bytes | None = None,  # noqa: A002 - as in the standard library
    secrets: Iterable[str] = (),
    check: bool = False,
    deadline: float | None = None,
) -> CompletedCommand:
    """Run a program to its end.

    When this returns or raises, the program and all that it started are gone: what stayed in its process group, and
    what left it. A program that is to go on (a daemon) is started in ``setup`` with ``subprocess.Popen`` instead.

    The program gets a session of its own, without a terminal, and nothing on standard input unless ``input`` says so.
    It may be called from any thread.

    Args:
        args: The program and its arguments, as they are to arrive; nothing is split, expanded or quoted. A program
            without a slash is looked for in ``PATH`` (of ``env``, if it has one); a relative one counts from ``cwd``.
        timeout: Seconds it may take, or text (``"30s"``, ``"2 min"``). The time that is left for the bounty in hand
            (:func:`psengine_host.job.seconds_left`) is a limit too, whichever is shorter.
        wine: Whether it is a Windows program, to be run under Wine.
        encoding: How it writes text: any encoding of Python's, or ``"locale"``. Windows programs mostly write
            ``"cp1252"``, ``"cp850"`` (on a console) or ``"utf-16"``. What cannot be decoded becomes U+FFFD.
        max_output: Bytes kept of each of standard output and standard error, or text (``"16 MB"``). A program that
            writes more may go on; the rest is read and dropped, and the result says so.
        env: Variables to set, or with None to remove, beside those of this process. ``PSENGINE_*``, which hold secrets
            of the host, are passed on only if they are named here.
        cwd: The working directory; this process's by default.
        input: What it is to read from standard input.
        secrets: Texts that no error, ``repr`` or log may show. Values of options, variables and URLs that look like
            secrets are hidden too.
        check: Whether an exit code other than 0 is an error; ``.check(0, 1)`` on the result takes others.
        deadline: When it is ended at the latest, on the clock of ``time.monotonic``.

    Returns:
        How it ended, and what it wrote.

    Raises:
        InvalidCommand: An argument of this function is wrong; nothing was started.
        CommandNotFound: There is no such program.
        CommandNotStarted: The program may not be run, or is none.
        CommandTimeout: It took too long and was ended, or there was no time left to start it.
        CommandFailed: It ended with an exit code other than 0 and ``check`` is set, or the exit code is lost.
    """
    named = _named(secrets)
    words = _words(args, named)
    try:
        environ = command_environment(env)
        if deadline is not None and not _is_time(deadline):
            raise ValueError(f"deadline: must be a number on the clock of time.monotonic, not {shown(deadline)}")
        if wine:
            from psengine_host.toolkit import wine as wine_programs  # most engines have no Windows program

            environ = wine_programs.environment(environ, deadline=deadline)
            program, words = words[0], wine_programs.command(words, environ)
        seconds = parse_duration(timeout)
        if not seconds:
            raise ValueError("timeout: must be more than 0 seconds")
        command = _Command(
            words,
            environ,
            _folder(cwd),
            _input(input),
            parse_size(max_output),
            decoder(encoding),
            Masking(words, named, environ),
        )
        limit = _limit(seconds, deadline)
    except (ValueError, TypeError) as error:
        masking = Masking(words, named)
        line = masking.command()
        raise InvalidCommand(f"{line} was not started: {masking.masked(str(error))}", line) from error
    if wine:
        _check_windows_program(program, command)
    result = _run_under_wine(command, limit) if wine else _run(command, limit)
    if wine:
        _check_that_wine_ran_it(command, result)
    return result.check() if check else result


def _named(secrets: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(secrets, Iterable):
        raise InvalidCommand(f"secrets: must be texts, and not of type {type(secrets).__name__}")
    named = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    for secret in named:
        if not isinstance(secret, str):
            raise InvalidCommand(f"secrets: must be texts, and one is of type {type(secret).__name__}")
    return named


def _words(args: Sequence[Argument], secrets: tuple[str, ...]) -> list[str]:
    if isinstance(args, (str, bytes, os.PathLike)):
        raise InvalidCommand("a command is a list of its words, not one text: write ['scan', '--fast', path]")
    if not isinstance(args, Iterable):
        raise InvalidCommand(f"a command is a list of its words, not of type {type(args).__name__}")
    words = []
    for number, argument in enumerate(args):
        word = argument if isinstance(argument, str) else None
        if isinstance(argument, os.PathLike):
            word = os.fspath(argument)
        if not isinstance(word, str):
            kind = type(argument).__name__
            raise InvalidCommand(f"word {number} of the command must be text or a path, and is of type {kind}")
        if "\0" in word:
            line = shown(Masking([word], secrets).command())
            raise InvalidCommand(f"word {number} of the command holds a null character: {line}")
        words.append(word)
    if not words or not words[0]:
        raise InvalidCommand("a command needs the name of its program")
    return words


def _folder(cwd: Argument | None) -> str | None:
    folder = None if cwd is None else os.fspath(cwd)
    if folder is not None and (not isinstance(folder, str) or "\0" in folder):
        raise ValueError(f"cwd: {shown(folder)} is no path")
    return folder


def _input(data: bytes | None) -> bytes | None:
    if data is None:
        return None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)  # whatever a view's items are, and as it is now
    raise TypeError(f"input: must be bytes, and is of type {type(data).__name__}")


def _check_windows_program(program: str, command: _Command) -> None:
    from psengine_host.toolkit.windows_programs import why_not_run

    why = why_not_run(program, command.cwd, command.environ)
    if why is not None:
        line = command.masking.command()
        kind = CommandNotFound if why[0] else CommandNotStarted
        raise kind(f"{line} was not started: {shown(command.masking.masked(program))} {why[1]}", line)


def _run_under_wine(command: _Command, limit: _Limit) -> CompletedCommand:
    """Run it, and again where Wine has ended before it began, within the same limit."""
    from psengine_host.toolkit.windows_programs import wine_did_not_begin

    result = _run(command, limit)
    for _ in range(_WINE_STARTS - 1):
        if not wine_did_not_begin(result.returncode, result.stderr):
            break
        result = _run(command, limit)
    return result


def _check_that_wine_ran_it(command: _Command, result: CompletedCommand) -> None:
    from psengine_host.toolkit.windows_programs import what_wine_says

    said = what_wine_says(result.returncode, result.stdout, result.stderr)
    if said is not None:
        line = command.masking.command()
        raise CommandNotStarted(f"{line} was not run by Wine, which says: {command.masking.masked(said)}", line)


def _limit(seconds: float, deadline: float | None) -> _Limit:
    now = time.monotonic()
    limits = [_Limit(now + seconds, f"its limit of {seconds:g} s", f"its limit of {seconds:g} s is over")]
    left = seconds_left()
    if left < math.inf:
        over = f"the {left:.1f} s that were left for the bounty"
        limits.append(_Limit(now + left, over, "the time for the bounty is over"))
    if deadline is not None:
        over = f"its deadline, {deadline - now:.1f} s after its start,"
        limits.append(_Limit(deadline, over, "its deadline is over"))
    return min(limits)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
    except OverflowError:  # an integer that no clock reaches
        return False


def _run(command: _Command, limit: _Limit) -> CompletedCommand:
    began = time.monotonic()
    if limit.until <= began:
        line = command.masking.command()
        raise CommandTimeout(f"{line} was not started: {limit.already_over}", line)
    try:
        exchange = Exchange(command.data, command.max_output)
    except OSError as error:  # no file descriptor is left
        raise _not_started(command, error) from error
    try:
        in_time, code = _follow(command, exchange, limit.until)
    finally:
        exchange.close()
    result = _result(command, exchange, -signal.SIGKILL if code is None else code, time.monotonic() - began)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%r", result)
    if not in_time:
        line = command.masking.command()
        message = f"{line} took longer than {limit.over} and was ended{excerpt(result, command.masking)}"
        raise CommandTimeout(message, line, result)
    if code is None:
        line = command.masking.command()
        raise CommandFailed(
            f"{line} ended, and its exit code is lost: this process ignores SIGCHLD, or reaps any child", line
        )
    return result


def _follow(command: _Command, exchange: Exchange, until: float) -> tuple[bool, int | None]:
    """Start the program and see it to its end; whether that came in time, and its exit code, if there is one."""
    mark = put_mark(command.environ, os.environ.get(MARK_VARIABLE))
    process = group = code = None
    try:
        process = _start(command, exchange)
        group = ProcessGroup(process.pid, mark)
        exchange.started()
        in_time = exchange.run(group, until)
    finally:  # an interrupt ends them too, also one before anybody knows the number of the process
        group = group or ProcessGroup(process.pid if process else None, mark)
        try:
            _end(command, group, exchange)
            exchange.drain()
        finally:
            code = _reaped(group)
            if process is not None:
                process.returncode = -signal.SIGKILL if code is None else code  # so that Popen does not look for it
            group.close()
    return in_time, code


def _end(command: _Command, group: ProcessGroup, exchange: Exchange) -> None:
    """End what is left of a command, and log why a daemon is gone, which its author may wonder about."""
    ended = group.ended()
    left = {} if ended and group.is_alone() else group.members()
    if ended and not left:
        return
    if ended and logger.isEnabledFor(logging.INFO):
        ids = shown(sorted(left))
        logger.info("%s left processes behind, which are ended with it: %s", command.masking.command(), ids)
    group.end(_GRACE, exchange.serve)
    remaining = sorted(group.members()) if group.ended() else [group.leader, *group.members()]
    if remaining:
        logger.warning("%s cannot be ended, nor what it started: %s", command.masking.command(), shown(remaining))


def _reaped(group: ProcessGroup) -> int | None:
    try:
        return group.reap()
    except ChildProcessError:
        return None


def _result(command: _Command, exchange: Exchange, code: int, seconds: float) -> CompletedCommand:
    out, err = exchange.out, exchange.err
    stdout, stderr = out.content(), err.content()
    return CompletedCommand(
        args=tuple(command.args),
        returncode=code,
        stdout=command.decode(stdout, out.truncated),
        stderr=command.decode(stderr, err.truncated),
        stdout_bytes=stdout,
        stderr_bytes=stderr,
        stdout_truncated=out.truncated,
        stderr_truncated=err.truncated,
        seconds=seconds,
        _masking=command.masking,
    )


def _start(command: _Command, exchange: Exchange) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - no shell; what is run is the engine author's to say
            command.args,
            stdin=subprocess.DEVNULL if exchange.stdin is None else exchange.stdin,
            stdout=exchange.stdout,
            stderr=exchange.stderr,
            env=command.environ,
            cwd=command.cwd,
            start_new_session=True,
        )
    except (OSError, UnicodeError) as error:
        raise _not_started(command, error) from error


def _not_started(command: _Command, error: Exception) -> CommandNotStarted:
    line = command.masking.command()
    program = shown(command.masking.masked(command.args[0]))
    number = error.errno if isinstance(error, OSError) else None
    kind = CommandNotStarted
    reason = getattr(error, "strerror", None) or str(error)
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        kind, reason = _not_found(command, program, missing=number != errno.EACCES)
    elif number == errno.ENOEXEC:
        reason = f"{program} is no program that this system runs; run a Windows program with wine=True"
    elif number == errno.EAGAIN:
        reason = "this user may have no more processes; see ulimit -u, and the limit of the container"
    elif number == errno.E2BIG:
        reason = "its arguments and environment are too long; hand over a list in a file"
    return kind(f"{line} was not started: {reason}", line)


def _not_found(command: _Command, program: str, *, missing: bool) -> tuple[type[CommandNotStarted], str]:
    """What is not there, or may not be used: the folder, the program, or what that is run by."""
    import shutil  # only an error needs it

    name = command.args[0]
    if os.sep in name:
        name = os.path.join(command.cwd or "", name)
    found = shutil.which(name, mode=os.F_OK, path=command.environ.get("PATH", os.defpath))
    if command.cwd is not None and not os.path.isdir(command.cwd):
        return CommandNotStarted, f"the working directory {shown(command.masking.masked(command.cwd))} is no folder"
    if os.path.isdir(found or name):
        return CommandNotStarted, f"{program} is a folder"
    if not missing:
        why = "may not be executed by this user; see its mode, and those of the folders above it"
        return CommandNotStarted, f"{program} {why}"
    if found is not None:
        why = "is run by is missing (the program in its first line, or the system's loader)"
        return CommandNotStarted, f"what {program} {why}"
    where = "" if os.sep in name else " in PATH"
    return CommandNotFound, f"there is no program {program}{where}; install it, or name it with its whole path"
