"""Settings as people read them and as a file, with the secrets masked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, Final

from psengine_host.logs.masks import Masks
from psengine_host.secret_names import looks_secret
from psengine_host.settings.origins import DEFAULT, Origin
from psengine_host.settings.secret import MASK
from psengine_host.settings.sections import KINDS, SECTIONS, Settings
from psengine_host.settings.text_kinds import masked_url
from psengine_host.settings.variables import VARIABLES
from psengine_host.settings.workers import WorkerSettings

__all__ = ["as_lines", "as_plain", "as_toml", "masked"]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_LONGEST_DECIMAL: Final = 1 << 8_000
"""What is larger is written in hexadecimal: Python writes no decimal number of more than 4,300 digits."""


_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]{0,63}")
_IN_TEXTS: Final = Masks()


def masked(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    """An engine's value without its secrets; the same object where it holds none.

    Hidden is what stands under a telling name, follows an option with one in a list of arguments, or is hidden in a log
    whatever it is called: passwords in URLs, ``Authorization`` headers, private keys.

    Args:
        value: Whatever TOML holds.
    """
    if isinstance(value, str):
        text = _IN_TEXTS(masked_url(value))
        return value if text == value else text
    if isinstance(value, dict):
        items = {key: _masked_entry(key, item) for key, item in value.items()}
        return value if all(items[key] is value[key] for key in items) else items
    if isinstance(value, list):
        entries, told = [], ""
        for entry in value:
            entries.append(_masked_entry(told, entry))
            told = entry if isinstance(entry, str) and _OPTION.fullmatch(entry) else ""
        return value if all(new is old for new, old in zip(entries, value, strict=True)) else entries
    return value


def _masked_entry(key: str, value: Any) -> Any:  # noqa: ANN401
    # Whether there is one is no secret; what is nested below such a key is masked as a whole.
    return MASK if looks_secret(key) and not isinstance(value, bool) else masked(value)


def _of_workers(settings: Settings) -> Iterator[tuple[str, str, object]]:
    """What ``[workers.NAME]`` says: engine, setting and value."""
    for engine, table in settings.workers.engines.items():
        for name in WorkerSettings.ENGINE_KINDS:
            if name in table:
                yield engine, name, table[name]


# --- plain values and lines -------------------------------------------------------------------------------------------


def _value(settings: Settings, key: str) -> object:
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)


def as_plain(settings: Settings) -> dict[str, object]:
    """Every setting as JSON has it, by its dotted name: seconds and bytes as numbers, secrets masked.

    Args:
        settings: The settings.
    """
    plain = {}
    for key, kind in KINDS.items():
        value = _value(settings, key)
        plain[key] = None if value is None else kind.plain(value)
    for engine, name, value in _of_workers(settings):
        plain[f"workers.{engine}.{name}"] = WorkerSettings.ENGINE_KINDS[name].plain(value)
    for engine, table in settings.engines.items():
        plain[f"engines.{engine}"] = _jsonable(masked(table))
    return plain


def _jsonable(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(entry) for entry in value]
    special = isinstance(value, float) and value - value != 0  # NaN and infinities, which JSON has not
    return str(value) if special or isinstance(value, (date, time)) or _is_huge(value) else value


def as_lines(settings: Settings, origins: Mapping[str, Origin] | None = None) -> Iterator[str]:
    """Every setting on a line of its own, by its dotted name.

    Args:
        settings: The settings.
        origins: Where each comes from, to be told in brackets.
    """

    def told(key: str) -> str:
        return "" if origins is None else f"  ({origins.get(key, DEFAULT)})"

    for key in KINDS:
        value = _value(settings, key)
        text = _unset(key) if value is None else _toml_value(KINDS[key].written(value))
        yield f"{key} = {text}{told(key)}"
    for engine, name, value in _of_workers(settings):
        text = _toml_value(WorkerSettings.ENGINE_KINDS[name].written(value))
        yield f"workers.{_toml_key(engine)}.{name} = {text}{told(f'workers.{engine}.{name}')}"
    for engine, table in settings.engines.items():
        yield f"engines.{_toml_key(engine)} = {_toml_value(masked(table))}{told(f'engines.{engine}')}"


def _unset(key: str) -> str:
    return "all" if key == "enabled_engines" else "not set"


# --- TOML -------------------------------------------------------------------------------------------------------------


def as_toml(settings: Settings, origins: Mapping[str, Origin] | None = None) -> Iterator[str]:
    """A settings file that says the same, line by line. What is masked or not set stands there as a comment.

    Args:
        settings: The settings.
        origins: Where each comes from, to be told in comments.
    """
    taken = {f"workers.{engine}" for engine in settings.workers.engines}

    def line(key: str) -> str:
        kind, value, name = KINDS[key], _value(settings, key), key.rpartition(".")[2]
        told = "" if origins is None else f"  # {origins.get(key, DEFAULT)}"
        if value is None:
            return f"# {name} is {_unset(key)}{told.replace('  # ', ': ')}"
        if key in taken:  # in TOML a name is one thing
            text = _toml_value(kind.written(value))
            return f"# {name} is {text}; beside the table of the engine of that name only {VARIABLES[key]} can set it"
        return f"{'# ' if kind.secret else ''}{name} = {_toml_value(kind.written(value))}{told}"

    yield from (line(key) for key in Settings.KINDS)
    for section, held in SECTIONS.items():
        yield f"\n[{section}]"
        yield from (line(f"{section}.{name}") for name in held.KINDS)
        if held is WorkerSettings:
            yield from _worker_tables(settings, origins)
    for engine, table in settings.engines.items():
        told = "" if origins is None else f"  # {origins.get(f'engines.{engine}', DEFAULT)}"
        yield from _toml_table(("engines", engine), table, told)


def _worker_tables(settings: Settings, origins: Mapping[str, Origin] | None) -> Iterator[str]:
    tables: dict[str, list[str]] = {engine: [] for engine in settings.workers.engines}
    for engine, name, value in _of_workers(settings):
        told = "" if origins is None else f"  # {origins.get(f'workers.{engine}.{name}', DEFAULT)}"
        tables[engine].append(f"{name} = {_toml_value(WorkerSettings.ENGINE_KINDS[name].written(value))}{told}")
    for engine, lines in tables.items():
        yield f"\n[workers.{_toml_key(engine)}]"
        yield from lines


def _toml_table(path: tuple[str, ...], table: Mapping[str, Any], told: str = "") -> Iterator[str]:
    yield f"\n[{'.'.join(map(_toml_key, path))}]{told}"
    inner = []
    for key, value in table.items():
        masked = _masked_entry(key, value)
        if isinstance(value, dict) and isinstance(masked, dict):
            inner.append((key, value))
        else:
            yield f"{'' if masked is value else '# '}{_toml_key(key)} = {_toml_value(masked)}"
    for key, value in inner:
        yield from _toml_table((*path, key), value)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_text(key)


def _toml_text(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():  # the rest could move a terminal's cursor, or turn its text around
        return character
    number = ord(character)
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"


def _toml_value(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml_value, value))}]"
    return hex(value) if _is_huge(value) else repr(value)


def _is_huge(value: object) -> bool:
    return isinstance(value, int) and value > _LONGEST_DECIMAL
