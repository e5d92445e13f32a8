"""The engine's settings: the table ``[engines.yara]`` as one frozen value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from psengine_host import EngineError

__all__ = ["YaraSettings", "misspelt", "read_settings"]


class YaraSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator can set in ``[engines.yara]``.

    Args:
        rules: Rule files and folders; the variable ``YARA_RULES`` goes before them.
        pack: Whether the rule pack of this package is used.
        packages: Whether rules of packages that register under ``yara_registry.rules`` are used.
        max_artifact_size: Bytes of an artifact at most: an artifact is read into memory as a whole.
        scan_timeout: Seconds that a scan may take; a bounty that has less time left has less.
        no_match_confidence: Confidence, from 0.0 to 1.0, of the answer ``benign`` when no rule has a verdict.
    """

    rules: tuple[str, ...] | str = ()
    pack: bool = True
    packages: bool = True
    max_artifact_size: Annotated[int, msgspec.Meta(gt=0)] = 64 << 20
    scan_timeout: Annotated[float, msgspec.Meta(gt=0)] = 45.0
    no_match_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


_LIKE_ENOUGH: Final = 0.75
"""Similarity from which an unknown key counts as a misspelt one of ours; the host may have keys of its own there."""


def read_settings(config: Mapping[str, Any]) -> YaraSettings:
    """The settings from the engine's table.

    Args:
        config: ``context.config``. Keys that are none of ours are left to the host.

    Returns:
        The settings, with defaults where the table says nothing.

    Raises:
        EngineError: A value cannot be; names the key.
    """
    ours = {key: value for key, value in config.items() if key in YaraSettings.__struct_fields__}
    try:
        return msgspec.convert(ours, YaraSettings)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$.")
        raise EngineError(f"[engines.yara] {where.rstrip('`')}: {problem[:1].lower()}{problem[1:]}") from error


def misspelt(config: Mapping[str, Any]) -> dict[str, str]:
    """Keys that look like a misspelt one of ours, each with the key that was probably meant.

    Args:
        config: ``context.config``.
    """
    found = {}
    for key in config:
        if key not in YaraSettings.__struct_fields__:
            nearest = difflib.get_close_matches(key, YaraSettings.__struct_fields__, n=1, cutoff=_LIKE_ENOUGH)
            if nearest:
                found[key] = nearest[0]
    return found
