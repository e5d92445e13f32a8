"""``psengine analyze``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from psengine_host.cli.durations import Duration
from psengine_host.cli.engine_names import EngineName
from psengine_host.cli.globs import is_empty
from psengine_host.cli.program import engine_prints_to_stderr
from psengine_host.cli.root import State

__all__ = ["command"]

MOST_JOBS = 1_024
PATIENCE = 5.0
"""Seconds that inputs wait for an engine that cannot start, where the settings do not say: a person waits for them."""
VERDICTS = ("malicious", "suspicious", "benign", "unknown")


class Verdicts(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A comma-separated list of verdicts."""

    name = "verdicts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:  # noqa: ANN401
        """Split and check."""
        if isinstance(value, frozenset):
            return value
        chosen = frozenset(part.strip().lower() for part in str(value).split(","))
        unknown = chosen.difference(VERDICTS)
        if unknown:
            self.fail(f"{', '.join(sorted(unknown))!r} is no verdict; there are {', '.join(VERDICTS)}", param, ctx)
        return chosen


class Jobs(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A number of worker processes."""

    name = "jobs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Check."""
        text = str(value).strip()
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= MOST_JOBS):
            self.fail(f"must be a whole number from 1 to {MOST_JOBS:,}, got {str(value)!r}", param, ctx)
        return int(text)


class Glob(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A pattern for the names of files."""

    name = "glob"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Check."""
        if is_empty(value):
            self.fail(f"{value!r} matches no file; name a pattern, such as '*.exe'", param, ctx)
        return str(value)


@click.command("analyze", epilog="Exit codes: 0 nothing malicious, 1 something malicious, 2 usage, 3 something failed.")
@click.option(
    "-e", "--engine", "engines", multiple=True, type=EngineName(), help="Engine to use, or 'all'; repeatable."
)
@click.option(
    "-t",
    "--artifact-type",
    "kind",
    type=click.Choice(["file", "url", "bounty"], case_sensitive=False),
    default="file",
    show_default=True,
    help="What the arguments are: files to judge, URLs to judge, or files that hold a bounty in JSON.",
)
@click.option("-r", "--recursive", is_flag=True, help="Scan folders with all that is below them.")
@click.option(
    "--include", multiple=True, type=Glob(), metavar="GLOB", help="Of the files in folders, only these; repeatable."
)
@click.option(
    "--exclude", multiple=True, type=Glob(), metavar="GLOB", help="Of the files in folders, not these; repeatable."
)
@click.option(
    "--files-from",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read more arguments from a file ('-': standard input), separated by newlines or NULs.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["auto", "table", "json", "jsonl"], case_sensitive=False),
    default="auto",
    show_default=True,
    help="auto: a table on a terminal, else JSON Lines.",
)
@click.option("--only", type=Verdicts(), metavar="VERDICTS", help="Show only these verdicts (malicious,suspicious).")
@click.option("--resume", metavar="FILE", help="Skip what this earlier JSON Lines output already has.")
@click.option("-v", "--verbose", count=True, help="Show each bounty and analysis on standard error.")
@click.option("--check-eicar", is_flag=True, help="Is the EICAR test file malicious?")
@click.option("--check-empty", is_flag=True, help="Is an empty file benign or unknown?")
@click.option(
    "--check-wicar", "--check-exploit-url", "check_wicar", is_flag=True, help="Is the WICAR test URL malicious?"
)
@click.option(
    "-j",
    "--jobs",
    type=Jobs(),
    metavar="N",
    help="Worker processes for each engine; otherwise, with several artifacts, one for each core.",
)
@click.option(
    "--backend",
    metavar="NAME",
    help="Where bounties are judged: 'process' (otherwise so for several artifacts) or 'local' (for one).",
)
@click.option("--unordered", is_flag=True, help="Show rows as they come, not in the order of the artifacts.")
@click.option(
    "--identify/--no-identify",
    default=None,
    help="Name each file's type in its bounty, which takes 0.5 ms; otherwise only with the backend 'local'.",
)
@click.option("--timeout", type=Duration(), help="Time for an artifact and engine: seconds, or such as 30s or 2min.")
@click.option("--deliver", is_flag=True, help="With -t bounty: send each answer to its response_url, once.")
@click.option(
    "--observer",
    "observers",
    multiple=True,
    metavar="MODULE:ATTRIBUTE",
    help="Call this with each outcome; repeatable.",
)
@click.option("--trace-hooks", is_flag=True, help="Show every hook call on standard error.")
@click.argument("artifacts", nargs=-1, type=click.Path(readable=False))
@click.pass_obj
def command(state: State, /, artifacts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401 - click's options
    """Judge artifacts: files, folders (-r), '-' (standard input), FIFOs, data: URIs, URLs or bounties."""
    if state.engine is not None and set(options["engines"]) - {state.engine}:
        raise click.UsageError(f"this is the program of engine {state.engine}: use psengine for others")
    checks = [name for name in ("check_eicar", "check_empty", "check_wicar") if options[name]]
    if not artifacts and options["files_from"] is None and not checks:
        raise click.UsageError("nothing to analyze: name files, folders with -r, '-' or a URL (see --help)")
    if options["deliver"] and options["kind"] != "bounty":
        raise click.UsageError("--deliver needs -t bounty: only a bounty has a response_url")
    if options["resume"] is not None and options["only"] is not None:
        raise click.UsageError("--resume needs every row that was made: leave out --only")
    if options["resume"] is not None and options["output_format"] not in ("auto", "jsonl"):
        raise click.UsageError("--resume needs JSON Lines: --format jsonl")
    from psengine_host.cli.analysis_run import AnalysisOptions, run_analysis
    from psengine_host.cli.backend_choice import choose_backend

    jobs = options.pop("jobs")
    timeout = options.pop("timeout")
    settings = state.settings(
        {"host.timeout": timeout, "workers.count": jobs}, otherwise={"workers.patience": PATIENCE}
    )
    options["backend"] = choose_backend(
        options["backend"],
        jobs=jobs,
        trace_hooks=options["trace_hooks"],
        artifacts=artifacts,
        listed=options["files_from"] is not None,
        recursive=options["recursive"],
        kind=options["kind"],
        limited=timeout is not None,
        confined=settings.workers.is_confined,
    )
    chosen = AnalysisOptions(settings=settings, debug=state.debug, artifacts=artifacts, **options)
    if state.log is not None:
        chosen.masked = state.log.masked
    if state.engine is not None and not chosen.engines:
        chosen.engines = (state.engine,)
    with engine_prints_to_stderr() as out:
        return run_analysis(chosen, out)
