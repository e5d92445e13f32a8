"""``--trace-hooks``: every hook call, on standard error."""

from __future__ import annotations

from typing import Any, Final

import click

from psengine_host.escapes import printable

__all__ = ["print_hook"]

SHOWN: Final = 100
"""Characters of a value that are shown."""


def print_hook(engine: str, hook: str, arguments: dict[str, Any], result: object, seconds: float) -> None:
    """Print one hook call: engine, hook, arguments, result and time.

    Args:
        engine: Who implements it.
        hook: The hook.
        arguments: What it was called with.
        result: What it returned or raised.
        seconds: How long it took.
    """
    called = ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())
    ended = "raised" if isinstance(result, BaseException) else "->"
    click.echo(f"hook {engine}: {hook}({called}) {ended} {_shown(result)} [{seconds * 1e3:.3f} ms]", err=True)


def _shown(value: object) -> str:
    from psengine_host.bounty import Bounty

    text = f"Bounty({value.id})" if isinstance(value, Bounty) else repr(value)
    text = printable(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
