"""The engine's own commands, shown by ``psengine commands yara``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psengine_host import Context, EngineError
from psengine_yara.compiling import key_of
from psengine_yara.engine import collect
from psengine_yara.session import Session
from psengine_yara.verdicts import judge

__all__ = ["commands_of"]


def commands_of(context: Context, session: Session) -> Sequence[Callable[..., Any]]:
    """The commands, bound to one session.

    Args:
        context: The host's context of the engine.
        session: The loaded rules.
    """

    def scan_file(path: Path) -> list[dict[str, Any]]:
        """Name the rules that match a file, with tags and metadata.

        Args:
            path: The file.
        """
        limit = session.settings.max_artifact_size
        try:
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except OSError as error:
            raise EngineError(f"{path}: {(error.strerror or str(error)).lower()}") from error
        if len(data) > limit:
            raise EngineError(f"{path}: is larger than {limit} bytes; raise max_artifact_size in [engines.yara]")
        matched = {(each.namespace, each.rule) for each in session.scan(data, name=str(path))}
        return [rule for rule in _listed(context, session) if (rule["namespace"], rule["rule"]) in matched]

    def rules() -> list[dict[str, Any]]:
        """List all rules, private ones too, with the file each comes from, its namespace, tags and verdict."""
        return [{key: value for key, value in rule.items() if key != "metadata"} for rule in _listed(context, session)]

    return (scan_file, rules)


def _listed(context: Context, session: Session) -> list[dict[str, Any]]:
    files = collect(context, session.settings).files
    # Where the files changed since the rules were compiled, their namespaces still say where rules came from.
    same = key_of(files) == context.shared["key"]
    origins = {file.namespace: file.origin for file in files} if same else {}
    listed = []
    for rule in session.rules:
        judgement, _ = judge(rule)
        listed.append(
            {
                "rule": judgement.rule,
                "namespace": judgement.namespace,
                "source": origins.get(judgement.namespace, judgement.namespace),
                "tags": list(judgement.tags),
                "verdict": judgement.verdict.value,
                "family": judgement.family,
                "confidence": judgement.confidence,
                "metadata": dict(rule.metadata),
            }
        )
    return listed
