"""One artifact through all hooks of one engine, every call shown, the engine's own traceback."""

from __future__ import annotations

import sys
import traceback
from typing import IO

import click

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.cli import verbose
from psengine_host.cli.opening import Opener
from psengine_host.cli.program import FAILED, MALICIOUS, OK
from psengine_host.cli.rows import Row, encode
from psengine_host.cli.running_engine import open_session
from psengine_host.cli.single_input import single_input
from psengine_host.cli.traces import print_hook
from psengine_host.engines.running import Home, Session
from psengine_host.errors import EngineBroken, EngineFault
from psengine_host.network.fetcher import Fetcher
from psengine_host.obtaining import Obtainer
from psengine_host.outcome import FailureKind, Outcome
from psengine_host.pipeline import EngineProfile, conclude, judge, prepare
from psengine_host.settings import Settings
from psengine_host.spool import Spool

__all__ = ["debug"]


def debug(engine: str, name: str, settings: Settings, *, url: bool, pdb: bool, out: IO[str]) -> int:
    """Judge one artifact with every hook call shown on standard error.

    Args:
        engine: The engine's name.
        name: The artifact: whatever ``analyze`` takes, but a folder.
        settings: The host's settings.
        url: Whether it is a URL that is itself the artifact.
        pdb: Whether to enter the debugger where the engine raised.
        out: Where the row goes, as JSON.

    Returns:
        0 nothing malicious, 1 malicious, 3 the engine failed.

    Raises:
        UnknownEngine: There is no such engine.
        ArtifactError: The artifact cannot be read.
    """
    item = single_input(name, url=url)
    with (
        Fetcher(settings.network) as fetcher,
        Spool(max_size=settings.spool.max_size) as spool,
        Obtainer(settings, spool, fetcher) as obtainer,
    ):
        artifact, bounty = Opener(settings, spool, obtainer).open(item)
        with artifact:
            try:
                with open_session(engine, settings, print_hook) as (home, session):
                    outcome = _judged(artifact, bounty, home, session, settings, pdb=pdb)
            except (EngineBroken, EngineFault) as error:
                cause = error.__cause__
                if cause is not None:
                    traceback.print_exception(cause, file=sys.stderr)
                    if pdb:
                        _post_mortem(cause)
                click.echo(f"psengine: {error}", err=True)
                return FAILED
            row = Row.of_outcome(item.name, outcome, outcome.timings.total, artifact.size)
    verbose.show(row)
    out.write(encode(row.to_wire()) + "\n")
    if row.verdict.value == "malicious":
        return MALICIOUS
    return OK if row.error is None else FAILED


def _judged(
    artifact: Artifact, bounty: Bounty, home: Home, session: Session, settings: Settings, *, pdb: bool
) -> Outcome:
    profile = EngineProfile(home.engine.name, home.engine.version, session.info)
    prepared = prepare(bounty, profile, _has_artifact, artifact=artifact, timeout=settings.host.timeout)
    judged = judge(prepared, session) if prepared.answer is None else prepared.answered()
    outcome = conclude(prepared, judged, profile, settings.bids.policy)
    if judged.error is not None and outcome.failure is not None and outcome.failure.kind is FailureKind.ENGINE:
        traceback.print_exception(judged.error, file=sys.stderr)
        if pdb:
            _post_mortem(judged.error)
    home.hear(outcome)
    return outcome


def _has_artifact(_bounty: object, _deadline: float) -> Artifact:
    raise ValueError("the artifact is there already")


def _post_mortem(error: BaseException) -> None:
    import pdb  # noqa: T100 - it is what --pdb is for

    if error.__traceback__ is not None:
        pdb.post_mortem(error.__traceback__)
