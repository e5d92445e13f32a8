"""The standard streams: whose they are while engines run, and what becomes of them when something is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, Final

__all__ = [
    "PipeClosed",
    "engine_prints_to_stderr",
    "forget_output",
    "forgive_stderr",
    "open_missing_streams",
    "output_failed",
    "seal_stdout",
    "telling_closed_pipes",
]

_PATIENCE: Final = 5.0
"""Seconds that a standard error which is full for the moment may take until it has room again."""
_STREAMS: Final = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


class PipeClosed(Exception):
    """Who read the output went away. Not an ``OSError``: click would end with 1, which means malicious."""


@contextlib.contextmanager
def telling_closed_pipes() -> Iterator[None]:
    """Raise :class:`PipeClosed` for a ``BrokenPipeError``."""
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosed from error


def open_missing_streams() -> None:
    """Open what the caller closed (``2>&-``), so that no file an engine opens becomes a standard stream."""
    for name, descriptor, mode in _STREAMS:
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - it lives as long as the process


class _Patient(io.FileIO):
    """A descriptor that somebody made not blocking: it is shared with a terminal, or with a service manager's pipe.

    What cannot be written within the patience is dropped, and so is all that follows until there is room again.
    """

    _waits = True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        with memoryview(data).cast("B") as view:
            written = 0
            while written < len(view):
                count: int | None = super().write(view[written:])
                if count is not None:
                    self._waits = True
                    written += count
                elif not self._has_room():
                    self._waits = False
                    break
            return len(view)

    def _has_room(self) -> bool:
        import select

        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        return bool(poll.poll(_PATIENCE * 1000 if self._waits else 0))


class _Forgiving(io.TextIOWrapper):
    """Standard error that may be full or closed: what it cannot take is dropped, and changes no exit code."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        _point_nowhere(self.fileno())
        super().flush()  # what the buffer holds still


def forgive_stderr() -> None:
    """From now on, let nothing that is written to standard error fail: neither notes, nor the log, nor complaints."""
    descriptor = _descriptor(sys.stderr)
    if descriptor is not None:
        binary = io.BufferedWriter(_Patient(descriptor, "wb", closefd=False))
        sys.stderr = _Forgiving(binary, sys.stderr.encoding, "backslashreplace", line_buffering=True)


@contextlib.contextmanager
def engine_prints_to_stderr() -> Iterator[IO[str]]:
    """Keep standard output for the host: whatever an engine prints meanwhile, C code too, goes to standard error.

    Yields:
        The real standard output, for what the command has to say.
    """
    stdout = sys.stdout
    stdout.flush()
    descriptor, errors = _descriptor(stdout), _descriptor(sys.stderr)
    if descriptor is None or errors is None:  # no file: a buffer of whoever calls this in their own process
        with contextlib.redirect_stdout(sys.stderr):
            yield stdout
        return
    kept = os.dup(descriptor)
    try:
        os.dup2(errors, descriptor)
        with open(kept, "w", encoding="utf-8", errors="surrogateescape", newline="", closefd=False) as out:
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    yield out
            except OSError:
                if _cannot_be_written(out):
                    _point_nowhere(kept)  # else the end of this block raises the same again
                raise
    finally:
        with contextlib.suppress(OSError, ValueError):
            stdout.flush()  # an engine may have kept sys.__stdout__
        _flush_c_streams()
        os.dup2(kept, descriptor)
        os.close(kept)


def seal_stdout() -> None:
    """Send what is printed from now on to standard error: the program has said what it had to say.

    An engine's ``atexit`` functions, threads and C buffers get their turn after the program's end.
    """
    descriptor, errors = _descriptor(sys.stdout), _descriptor(sys.stderr)
    if descriptor is not None and errors is not None:
        os.dup2(errors, descriptor)


def output_failed(error: OSError) -> bool:
    """Whether an error is one of writing to a stream: disk full, quota, file too large, device at fault."""
    import errno

    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def forget_output() -> None:
    """Let the interpreter's last flush of the streams go nowhere, or it would complain of the same again."""
    for stream in (sys.stdout, sys.stderr):
        descriptor = _descriptor(stream)
        if descriptor is not None and _cannot_be_written(stream):
            _point_nowhere(descriptor)
            with contextlib.suppress(OSError, ValueError):
                stream.flush()  # now: once stdout is sealed, what is still in the buffer would go to stderr


def _descriptor(stream: IO[str]) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _cannot_be_written(stream: IO[str]) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return True
    return False


def _point_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _flush_c_streams() -> None:
    """Write out what C code printed: it would follow at the process's end, when the descriptor is ours again."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
