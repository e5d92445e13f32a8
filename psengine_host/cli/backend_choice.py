"""Where ``psengine analyze`` has bounties judged: in processes where that pays, else in its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import click

from psengine_host.cli.inputs import Kind, is_folder
from psengine_host.errors import UsageError

__all__ = ["LOCAL", "PROCESS", "choose_backend"]

LOCAL: Final = "local"
PROCESS: Final = "process"


def choose_backend(
    named: str | None,
    *,
    jobs: int | None,
    trace_hooks: bool,
    artifacts: Sequence[str],
    listed: bool,
    recursive: bool,
    kind: str,
    limited: bool,
    confined: bool,
) -> str:
    """The name of the backend.

    Args:
        named: What ``--backend`` says, or None.
        jobs: What ``--jobs`` says, or None.
        trace_hooks: Whether every hook call is shown.
        artifacts: The arguments.
        listed: Whether a list names more of them.
        recursive: Whether folders are scanned with all that is below them.
        kind: What the arguments are.
        limited: Whether ``--timeout`` asks for a limit, which only a process of its own can be held to.
        confined: Whether the settings have an engine run in a sandbox, which only a process of its own can be in.

    Raises:
        UsageError: The options exclude each other.
    """
    if trace_hooks and jobs is not None:
        raise click.UsageError("--trace-hooks shows the hooks of this process: leave out --jobs")
    if trace_hooks and named == PROCESS:
        raise click.UsageError("--trace-hooks shows the hooks of this process: leave out --backend process")
    if named == LOCAL and jobs is not None:
        raise click.UsageError("--backend local judges in one process: leave out --jobs")
    if named is not None:
        return named
    if jobs is not None:
        return PROCESS
    if trace_hooks:
        return LOCAL
    several = listed or len(artifacts) > 1
    if not several and recursive:
        several = any(is_folder(one, cast("Kind", kind)) for one in artifacts)
    return PROCESS if (several or limited or confined) and _processes_work_here() else LOCAL


def _processes_work_here() -> bool:
    from psengine_host.backends.process.linux import require_linux

    try:
        require_linux()
    except UsageError:
        return False
    return True
