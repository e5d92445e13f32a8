"""What can go wrong with a command, as one tree below :class:`~psengine_host.errors.EngineError`.

::

    EngineError
    └── CommandError              whatever is wrong with a command
        ├── InvalidCommand        the call is wrong: arguments, environment, encoding, limits; nothing was started
        ├── CommandNotStarted     the program is no program, may not be run, or the system has no room for it
        │   └── CommandNotFound   there is no such program
        ├── CommandTimeout        it took too long and was ended, or there was no time left to start it
        └── CommandFailed         it ended with an exit code that was not expected, or by a signal

An author who catches none of them has the bounty answered ``unknown`` with the message as the reason: a
:class:`CommandTimeout` as a timeout, the others as a fault of the scanner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psengine_host.errors import EngineError, EngineTimeout

if TYPE_CHECKING:
    from psengine_host.toolkit.completed_command import CompletedCommand

__all__ = [
    "CommandError",
    "CommandFailed",
    "CommandNotFound",
    "CommandNotStarted",
    "CommandTimeout",
    "InvalidCommand",
]


class CommandError(EngineError):
    """Something is wrong with a command.

    Args:
        message: What, in one line, secrets masked.
        command: The command as one line, shortened, secrets masked.
    """

    def __init__(self, message: str, command: str = "") -> None:
        self.command = command
        super().__init__(message)


class InvalidCommand(CommandError):
    """The call is wrong; nothing was started."""


class CommandNotStarted(CommandError):
    """The program could not be started."""


class CommandNotFound(CommandNotStarted):
    """There is no such program."""


class CommandTimeout(CommandError, EngineTimeout):
    """The command took too long and was ended with all that it had started; or it was not started for want of time.

    Args:
        message: Which limit it was, in one line, secrets masked.
        command: The command as one line, shortened, secrets masked.
        result: What it had written until then; None where it was not started. Its ``returncode`` is that of a program
            ended by a signal, mostly.
    """

    def __init__(self, message: str, command: str = "", result: CompletedCommand | None = None) -> None:
        self.result = result
        super().__init__(message, command)


class CommandFailed(CommandError):
    """The command ended with an exit code that was not expected, or by a signal.

    Args:
        message: Exit code or signal and the last of what it wrote, in one line, secrets masked.
        command: The command as one line, shortened, secrets masked.
        result: The command as it ended; None where its exit code is lost.
    """

    def __init__(self, message: str, command: str = "", result: CompletedCommand | None = None) -> None:
        self.result = result
        super().__init__(message, command)
