"""YARA rules as an engine, on YARA-X. Only the hooks are here; importing this loads no rule and no YARA-X."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from psengine_host import Analysis, Artifact, Context, EngineInfo, hookimpl

if TYPE_CHECKING:
    from psengine_yara.session import Session


@hookimpl
def setup(context: Context) -> dict[str, Any]:
    """Compile the rules into the state directory, or find them there; what was left out is logged and returned."""
    from psengine_yara.engine import make_ready

    return make_ready(context)


@hookimpl
def open_session(context: Context) -> Iterator[Session]:
    """Load the compiled rules, for as long as the session lasts."""
    from psengine_yara.engine import open_rules

    with open_rules(context) as session:
        yield session


@hookimpl
def analyze(artifact: Artifact, context: Context, session: Session) -> Analysis:
    """Scan the artifact; the metadata of the rules that match decides."""
    from psengine_yara.verdicts import conclude

    matches = session.scan(artifact.read_bytes(), name=artifact.name, deadline=context.deadline)
    return conclude(matches, no_match_confidence=session.settings.no_match_confidence)


@hookimpl
def info(session: Session) -> EngineInfo:
    """YARA-X and the version of the rules: their newest date and a hash of their content."""
    from importlib.metadata import version

    return EngineInfo(
        product="YARA-X",
        engine_version=version("yara-x"),
        signatures_version=session.signatures_version,
        signatures_date=date.fromisoformat(session.signatures_date),
        max_artifact_size=session.settings.max_artifact_size,
    )


@hookimpl
def update(context: Context) -> None:
    """Read all rule files again and compile them anew."""
    from psengine_yara.engine import make_ready

    make_ready(context, rebuild=True)


@hookimpl
def commands(context: Context, session: Session) -> Sequence[Callable[..., Any]]:
    """``scan_file`` and ``rules``."""
    from psengine_yara.listing import commands_of

    return commands_of(context, session)
