"""One run of ``psengine analyze``: from its options to its exit code."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import click

from psengine_host.artifacts import Artifact
from psengine_host.backends import Backend
from psengine_host.backends.local import LocalBackend
from psengine_host.cli import verbose
from psengine_host.cli.checks import CHECKS, Check
from psengine_host.cli.inputs import Kind, Skipped, count, gather
from psengine_host.cli.interrupts import Interrupts
from psengine_host.cli.parallel_scan import ParallelScan
from psengine_host.cli.program import FAILED, MALICIOUS, OK
from psengine_host.cli.progress import ProgressBar
from psengine_host.cli.resume import Done, finish_broken_line
from psengine_host.cli.rows import Row, shown_name
from psengine_host.cli.scan import Scan
from psengine_host.cli.stuck_output import StuckOutput
from psengine_host.cli.tally import Tally, plural
from psengine_host.cli.traces import print_hook
from psengine_host.cli.worker_lines import worker_lines
from psengine_host.cli.writers import JsonLinesWriter, JsonWriter, TableWriter, Writer
from psengine_host.engines.observers import load_observer
from psengine_host.host import Host
from psengine_host.settings import Settings

__all__ = ["AnalysisOptions", "run_analysis"]


@dataclasses.dataclass(slots=True, kw_only=True)
class AnalysisOptions:
    """The options of ``psengine analyze``, by the names of its help."""

    settings: Settings
    debug: bool = False
    artifacts: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    kind: str = "file"
    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files_from: Path | None = None
    output_format: str = "auto"
    only: frozenset[str] | None = None
    resume: str | None = None
    verbose: int = 0
    check_eicar: bool = False
    check_empty: bool = False
    check_wicar: bool = False
    backend: str = "local"
    identify: bool | None = None
    unordered: bool = False
    deliver: bool = False
    observers: tuple[str, ...] = ()
    trace_hooks: bool = False
    masked: Callable[[str], str] = str
    """Hides in a traceback what the log hides."""

    @property
    def checks(self) -> list[Check]:
        """The checks asked for."""
        return [check for check in CHECKS if getattr(self, check.option.removeprefix("--").replace("-", "_"))]

    @property
    def waits_for_names(self) -> bool:
        """Whether the list of inputs may still be written by somebody: a row must not wait for its next name."""
        return self.files_from is not None and not self.files_from.is_file()

    @property
    def list_of_inputs(self) -> Path | Literal["-"] | None:
        """Where more arguments are read from."""
        return "-" if self.files_from is not None and str(self.files_from) == "-" else self.files_from


def run_analysis(options: AnalysisOptions, out: IO[str]) -> int:
    """Judge everything that the options name.

    Args:
        options: The options.
        out: Where results go.

    Returns:
        0 nothing malicious, 1 something malicious, 3 something failed; 128 and the signal's number when interrupted.

    Raises:
        UsageError: What was asked for cannot be.
    """
    with StuckOutput(_descriptors(out, sys.stderr)) as stuck, Interrupts(stuck.begin) as interrupts:
        done = None if options.resume is None else Done(options.resume)
        host = Host(
            options.settings,
            observers=[load_observer(spec) for spec in options.observers],
            backend=options.backend,
            trace=print_hook if options.trace_hooks else None,
        )
        with closing(host):
            engines = [engine.name for engine in host.catalog.select(options.engines)]
            try:
                return _Run(options, host, engines, done, out, interrupts, stuck).run()
            except BaseException:
                host.cancel()  # or closing it would wait for what nobody will see
                raise


class _Run:
    def __init__(
        self,
        options: AnalysisOptions,
        host: Host,
        engines: list[str],
        done: Done | None,
        out: IO[str],
        interrupts: Interrupts,
        stuck: StuckOutput,
    ) -> None:
        self._options = options
        self._host = host
        self._engines = engines
        self._done = done
        self._out = out
        self._interrupts = interrupts
        self._stuck = stuck
        self._tally = Tally()
        self._skipped = Skipped()
        self._surprised = False
        self._finished = False
        self._writer: Writer | None = None
        self._scan = self._scan_of(host.backend)

    def run(self) -> int:
        # The list of inputs is opened here, so that a missing one is told before anything is judged.
        rows = self._rows()
        bar = ProgressBar(
            self._count,
            lambda: self._scan.current,
            skipped=self._already_there,
            terminal=self._has_room(),
            below=partial(worker_lines, self._host) if self._options.verbose else tuple,
        )
        try:
            with closing(self._scan), closing(bar) as progress, self._interruptible():
                self._writer = self._new_writer(progress)
                interrupted = self._show_all(rows, self._writer, progress)
        except KeyboardInterrupt:  # between the last row and here
            interrupted = True
        try:
            with self._interrupts.held():
                self._finish(interrupted=interrupted)
        except KeyboardInterrupt:
            with self._interrupts.held():
                self._finish(interrupted=True)
            raise
        return self._interrupts.exit_code if interrupted else self._exit_code()

    def _show_all(self, rows: Iterator[Row], writer: Writer, progress: ProgressBar) -> bool:
        """Show the rows as they come; whether an interrupt ended them."""
        interrupted = False
        try:
            for row in rows:
                with self._interrupts.held():
                    self._show(row, writer, progress)
                progress.advance()
                if self._interrupts.signal is not None:  # and the engine swallowed it
                    interrupted = True
                    break
        except KeyboardInterrupt:
            interrupted = True
        except OSError:  # nobody reads what is written
            raise
        except Exception:
            with self._interrupts.held():
                try:
                    self._show_rest(writer, progress)
                finally:
                    writer.finish(self._tally)  # what was written so far is to be read by a program
            raise
        if interrupted:
            with self._interrupts.held():
                self._show_rest(writer, progress)
        return interrupted

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def _interruptible(self) -> AbstractContextManager[None]:
        """An interrupt must reach an engine in this process at once, and must not come between locks of a backend."""
        scan = self._scan
        return self._interrupts.told(scan.wake) if isinstance(scan, ParallelScan) else nullcontext()

    def _show_rest(self, writer: Writer, progress: ProgressBar) -> None:
        """End what goes on, and show what was done of it."""
        for row in self._scan.interrupt():
            self._tally.add(row)
            self._show(row, writer, progress)
            self._stuck.advance()

    def _scan_of(self, backend: Backend) -> Scan | ParallelScan:
        """One after another where the engines are in this process, otherwise many at a time."""
        options = self._options
        here = isinstance(backend, LocalBackend)
        settled: dict[str, Any] = {
            "bounties": options.kind == "bounty",
            "deliver": options.deliver,
            "done": self._done,
            "interrupted": lambda: self._interrupts.signal is not None,
            "ahead": not options.waits_for_names,
            "identify": here if options.identify is None else options.identify,
        }
        if here:
            return Scan(self._host, self._engines, **settled)
        return ParallelScan(
            self._host,
            self._engines,
            **settled,
            identify_opened=options.identify is not False,
            in_order=not options.unordered,
            waiting=self._flush,
        )

    def _finish(self, *, interrupted: bool) -> None:
        """Write the end, once; also where an interrupt came when that was about to begin."""
        writer = self._writer
        if writer is None or self._finished:
            return
        self._finished = True
        writer.finish(self._tally)
        if self._options.verbose and not isinstance(writer, TableWriter):
            click.echo(self._tally.summary(), err=True)
        if self._done is not None and self._done.taken:
            click.echo(f"already in {self._options.resume}: {plural(self._done.taken, 'answer')}", err=True)
        elif not self._tally.artifacts and not interrupted:
            click.echo("nothing was scanned: no file was found that is wanted", err=True)
        if str(self._skipped):
            click.echo(f"not scanned: {self._skipped}", err=True)
        if interrupted:
            click.echo("interrupted", err=True)

    def _rows(self) -> Iterator[Row]:
        options = self._options
        inputs = gather(
            options.artifacts,
            kind=cast("Kind", options.kind),
            recursive=options.recursive,
            include=options.include,
            exclude=options.exclude,
            files_from=options.list_of_inputs,
            stdin=_unlocked(sys.stdin.buffer),
            skipped=self._skipped,
        )
        return self._checks_then(self._scan.rows(inputs))

    def _checks_then(self, rows: Iterator[Row]) -> Iterator[Row]:
        for check in self._options.checks:
            with check.artifact() as artifact:
                for engine in self._engines:
                    if self._done is not None and self._done.take(check.option, engine):
                        continue
                    row = self._checked(check, artifact, engine)
                    self._tally.add(row, expected=True)
                    yield row
        for row in rows:
            self._tally.add(row)
            yield row

    def _checked(self, check: Check, artifact: Artifact, engine: str) -> Row:
        began = time.perf_counter()
        row = self._scan.judge(check.option, self._host.bounty_for(artifact, identify=True), engine, artifact, began)
        row.first = engine == self._engines[0]
        if row.verdict not in check.expected or row.error is not None:
            self._surprised = True
            reason = row.problem or (row.analysis.comments[0] if row.analysis.declined else "")
            reason = f" ({reason})" if reason else ""
            expected = " or ".join(check.expected)
            click.echo(f"{check.option}: {engine} answers {row.verdict}{reason}; {expected} is right", err=True)
        return row

    def _show(self, row: Row, writer: Writer, progress: ProgressBar) -> None:
        options = self._options
        wanted = options.only is None or row.verdict.value in options.only
        if options.verbose or (options.debug and row.traceback):
            with progress.cleared():
                if options.verbose:
                    verbose.show(row)
                if options.debug and row.traceback:
                    click.echo(options.masked(row.traceback.rstrip("\n")), err=True)
        if row.error is not None and not wanted and not options.verbose:
            click.echo(f"{shown_name(row.artifact)}: {row.engine}: {row.problem}", err=True)
        if wanted:
            writer.write(row)

    def _has_room(self) -> bool | None:
        """Whether a bar may be drawn; not where JSON comes to the terminal, line by line. None: where there is one."""
        options = self._options
        json_wanted = options.output_format not in ("auto", "table") or options.resume is not None
        return False if json_wanted and self._out.isatty() else None

    def _new_writer(self, progress: ProgressBar) -> Writer:
        chosen = self._options.output_format
        if chosen == "auto":
            chosen = "table" if self._out.isatty() and self._options.resume is None else "jsonl"
        if chosen == "table":
            return TableWriter(self._out, progress.cleared, engine_width=max(map(len, [*self._engines, "Engine"])))
        if chosen == "json":
            return JsonWriter(self._out)
        if self._options.resume is not None:
            finish_broken_line(self._options.resume, self._out)
        # Each is flushed at once where the next may kill this process.
        return JsonLinesWriter(self._out, in_bursts=isinstance(self._scan, ParallelScan))

    def _count(self, stopped: Callable[[], bool]) -> int | None:
        options = self._options
        inputs = count(
            options.artifacts,
            kind=cast("Kind", options.kind),
            recursive=options.recursive,
            include=options.include,
            exclude=options.exclude,
            files_from=options.list_of_inputs,
            stopped=stopped,
        )
        if inputs is None:
            return None
        return (inputs + len(options.checks)) * len(self._engines)

    def _already_there(self) -> int:
        return 0 if self._done is None else self._done.taken

    def _exit_code(self) -> int:
        tally, done = self._tally, self._done
        if tally.malicious or (done is not None and done.malicious):
            return MALICIOUS
        if tally.errors or self._surprised or (done is not None and done.failed):
            return FAILED
        return OK


def _descriptors(*streams: IO[str]) -> Iterator[int]:
    """Those of the streams that have one: a buffer of whoever calls this in their own process has none."""
    for stream in streams:
        with suppress(OSError, ValueError, AttributeError):
            yield stream.fileno()


def _unlocked(stream: BinaryIO) -> BinaryIO:
    """Standard input without its buffer: a thread that waits in it would hold a lock that Python needs at the end."""
    raw: BinaryIO = getattr(stream, "raw", stream)
    return raw
