"""A command that has ended: its exit code and what it wrote."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Self

from psengine_host.toolkit.command_errors import CommandFailed
from psengine_host.toolkit.masking import Masking

__all__ = ["CompletedCommand", "excerpt"]

_EXCERPT = 400
"""Characters of what a program wrote that an error message shows."""
_EXCERPT_LINES = 5
_TAIL = 1 << 14
"""Characters from the end in which these lines are looked for: a list of millions takes much memory."""


@dataclass(frozen=True, slots=True, repr=False)
class CompletedCommand:
    """A command that has ended.

    Attributes:
        args: What was started, as it was: under Wine with the loader before it. Secrets are in it; the ``repr`` of the
            command hides them.
        returncode: The exit code, or the negative number of the signal that ended it.
        stdout: What it wrote to standard output, decoded, with a line feed as the end of lines.
        stderr: What it wrote to standard error, likewise.
        stdout_bytes: Standard output as it was written.
        stderr_bytes: Standard error as it was written.
        stdout_truncated: Whether it wrote more than ``max_output`` to standard output; the rest is lost.
        stderr_truncated: Whether it wrote more than ``max_output`` to standard error; the rest is lost.
        seconds: How long it ran, on the monotonic clock.
    """

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    stdout_bytes: bytes
    stderr_bytes: bytes
    stdout_truncated: bool
    stderr_truncated: bool
    seconds: float
    _masking: Masking = field(compare=False)

    @property
    def lines(self) -> list[str]:
        """The lines of standard output without their ends; an empty line at the very end is none."""
        # Not splitlines(): a file's name in the output may hold U+2028 or U+0085, which are no ends of lines here.
        lines = self.stdout.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines

    @property
    def succeeded(self) -> bool:
        """Whether the exit code is 0."""
        return self.returncode == 0

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it (``"SIGSEGV"``), or None."""
        return signal_name(-self.returncode) if self.returncode < 0 else None

    def check(self, *accepted: int) -> Self:
        """The command itself, if it ended as expected.

        Args:
            *accepted: Exit codes that are expected (a scanner's ``0`` and ``1``, say); only 0 where none is given.

        Returns:
            The command, so that calls can follow: ``run_command([…]).check(0, 1).lines``.

        Raises:
            CommandFailed: It ended with another exit code, or by a signal.
        """
        if self.returncode in (accepted or (0,)):
            return self
        command = self._masking.command()
        how = f"was ended by {self.signal}" if self.returncode < 0 else f"ended with exit code {self.returncode}"
        raise CommandFailed(f"{command} {how}{excerpt(self, self._masking)}", command, self)

    def __repr__(self) -> str:
        """The command, masked, and how it ended; not what it wrote, which may be anything."""
        cut = " and more" if self.stdout_truncated or self.stderr_truncated else ""
        return (
            f"<CompletedCommand {self._masking.command()}: returncode {self.returncode}, "
            f"{len(self.stdout_bytes)} + {len(self.stderr_bytes)} bytes{cut}, {self.seconds:.3f} s>"
        )


def signal_name(number: int) -> str:
    """The name of a signal, or ``"signal 99"`` for one without."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def excerpt(command: CompletedCommand, masking: Masking) -> str:
    """The last lines that a command wrote, to standard error if anything, for an error message: ``": a | b"``.

    Args:
        command: The command.
        masking: What to hide.
    """
    for text, cut in ((command.stderr, command.stderr_truncated), (command.stdout, command.stdout_truncated)):
        # Without the null characters of UTF-16 taken for UTF-8, between which a secret would not be recognised; and
        # masked as a whole: a secret must not be cut into two halves that are shown.
        tail = masking.masked(text.replace("\0", ""), cut=cut)[-_TAIL:]
        lines = [line for line in tail.split("\n") if line.strip()][-_EXCERPT_LINES:]
        if lines:
            shown = " | ".join(" ".join(line.split()) for line in lines)
            shown = "".join(
                character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown
            )
            return f": {shown}" if len(shown) <= _EXCERPT else f": …{shown[-_EXCERPT:]}"
    return ""
