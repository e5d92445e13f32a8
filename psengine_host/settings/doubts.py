"""What is no mistake in the settings, and probably not what was meant."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from psengine_host.errors import nearest, printable_name
from psengine_host.logs.secrets import secrets_in
from psengine_host.quantities import format_size
from psengine_host.settings.origins import DEFAULT, Origin
from psengine_host.settings.reading import Examined
from psengine_host.settings.sections import KINDS
from psengine_host.settings.surroundings import folder_doubts, misspelt_of_engines

__all__ = ["UNUSED", "doubts"]

UNUSED: Final = ("celery", "webhook")
"""Sections, and single settings, that nothing in this version uses."""
_BARE_WORKER: Final = 40_000_000
"""Bytes of memory that a worker takes with an engine that has nothing."""
_OPEN = stat.S_IRGRP | stat.S_IROTH


def doubts(examined: Examined, installed: Collection[str], environ: Mapping[str, str]) -> Iterator[str]:
    """What a check of the settings tells although nothing is wrong: one line each.

    Args:
        examined: What all layers say.
        installed: The names of the engines that are installed.
        environ: The environment.
    """
    yield from (*examined.warnings, *examined.passed_over)
    yield from misspelt_of_engines(environ, installed)
    yield from folder_doubts(environ)
    if examined.values.get("enabled_engines") == frozenset():
        yield f"{examined.origins['enabled_engines']}: enabled_engines: is empty, so that no engine is used"
    named = {name: f"engines.{name}" for name in examined.values.get("engines", ())}
    for key in ("enabled_engines", "disabled_engines"):
        named |= dict.fromkeys(sorted(examined.values.get(key) or ()), key)
    for name, key in named.items():
        if name not in installed:
            origin = examined.origins.get(key, DEFAULT)
            engine = name if re.fullmatch(r"[\w.-]+", name) else repr(name)
            where = printable_name(key) if key.startswith("engines.") else f"{key}: {engine}"
            yield f"{origin}: {where}: no such engine is installed{nearest(name, installed)}"
    yield from _of_workers(examined, installed)
    for key in KINDS:
        origin, value = examined.origins[key], examined.values.get(key)
        if origin is DEFAULT:
            continue
        if key in UNUSED or key.rpartition(".")[0] in UNUSED:
            yield f"{origin}: {key}: nothing in this version uses it"
        if key.endswith("_file") and isinstance(value, str) and not os.path.isfile(value):
            yield f"{origin}: {key}: {printable_name(value)}: no such file"
        if KINDS[key].secret and origin.layer == "file" and _is_open(examined.path):
            yield f"{origin}: {key}: others can read this file; chmod 600 it, or use the variable"
    for name, table in examined.values.get("engines", {}).items():
        if secrets_in(table) and _is_open(examined.path):
            key = f"engines.{name}"
            told = "others can read this file, and a secret in it; chmod 600 it, or use its secrets folder"
            yield f"{examined.origins[key]}: {printable_name(key)}: {told}"


def _of_workers(examined: Examined, installed: Collection[str]) -> Iterator[str]:
    tables = examined.values.get("workers.engines", {})
    for name in tables:
        if name not in installed:
            told = f"no such engine is installed{nearest(name, installed)}"
            if f"workers.{name}" in KINDS:
                told = f"is a table, and so an engine's; {told}"
            yield f"{Origin('file', examined.path)}: {printable_name(f'workers.{name}')}: {told}"
    interpreters = {"workers.python": examined.values.get("workers.python")}
    interpreters |= {f"workers.{name}.python": table.get("python") for name, table in tables.items()}
    for key, path in interpreters.items():
        if path is not None and (reason := _no_program(path)):
            yield f"{examined.origins[key]}: {printable_name(key)}: {printable_name(path)}: {reason}"
    sandboxes = {"workers.sandbox": examined.values.get("workers.sandbox")}
    sandboxes |= {f"workers.{name}.sandbox": table.get("sandbox") for name, table in tables.items()}
    for key, sandbox in sandboxes.items():
        if sandbox == "bwrap" and shutil.which("bwrap") is None:
            told = "bwrap is not installed (Debian: package bubblewrap)"
            yield f"{examined.origins[key]}: {printable_name(key)}: {told}"
    limits = {"workers.max_memory": examined.values.get("workers.max_memory")}
    limits |= {f"workers.{name}.max_memory": table.get("max_memory") for name, table in tables.items()}
    for key, limit in limits.items():
        if limit and limit < _BARE_WORKER:
            told = f"a worker takes {format_size(_BARE_WORKER)} with nothing to do, and would be replaced all the time"
            yield f"{examined.origins[key]}: {printable_name(key)}: {told}"


def _no_program(path: str) -> str:
    if not os.path.isfile(path):
        return "no such file"
    return "" if os.access(path, os.X_OK) else "cannot be executed"


def _is_open(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & _OPEN)
    except OSError:
        return False
