"""How the result of an engine's own function is printed."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import math
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["print_result", "render_result"]

_END = object()


def render_result(result: object, *, indent: int | None = 2) -> str | bytes | None:
    """A function's result as it is printed. It never raises: what has no better form is shown by its ``repr``.

    Text and bytes are printed as they are. Mappings, sequences, sets, dataclasses, named tuples and msgspec structs
    are JSON: integers exact, paths and enumerations of text by their text, other enumerations by name, times in ISO
    8601, time spans in seconds, bytes in hexadecimal, not-a-number and the infinities as text.

    Args:
        result: What the function returned.
        indent: Spaces a level of JSON; None puts it on one line.

    Returns:
        What to print, without a line end of its own; None for a result of None.
    """
    if result is None or isinstance(result, bytes):
        return result
    if isinstance(result, bytearray | memoryview):
        return bytes(result)
    try:
        plain = _plain(result)
        # A string alone is printed without quotation marks; JSON's spelling serves numbers and true and false.
        return plain if isinstance(plain, str) else _json(plain, indent)
    except Exception:  # noqa: BLE001 - the object is the author's: any of its methods may raise anything
        return _representation(result)


def print_result(thunk: Callable[[], object], call: Callable[[Callable[[], Any]], Any]) -> None:
    """Run an engine's function and print its result.

    An iterator's items are printed as they come, one by one, JSON on one line each (JSON Lines).

    Args:
        thunk: Runs the function.
        call: Runs each piece of the engine's code: the function itself and every step of an iterator it returns.
            Nothing is printed inside it.
    """
    result = call(thunk)
    if not isinstance(result, collections.abc.Iterator):
        _print(render_result(result))
        return
    try:
        while (item := call(lambda: next(result, _END))) is not _END:
            _print(render_result(item, indent=None))
    finally:
        close = getattr(result, "close", None)
        if close is not None:  # a generator that was left half-way (a closed pipe) ends now, not at some later time
            call(close)


def _print(rendered: str | bytes | None) -> None:
    if isinstance(rendered, bytes):
        click.echo(rendered, nl=False)
    elif rendered is not None:
        end = "" if rendered.endswith("\n") else "\n"
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            rendered.encode(encoding)
        except UnicodeEncodeError:
            click.echo(_forced(rendered + end, encoding), nl=False)
        else:
            click.echo(rendered + end, nl=False)


def _forced(text: str, encoding: str) -> bytes:
    """Text that the output's encoding lacks: file names as the bytes they are, anything else with backslashes."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace")


def _json(plain: object, indent: int | None) -> str:
    import json

    text = json.dumps(plain, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair is valid in JSON only as an escape
        return json.dumps(plain, indent=indent, ensure_ascii=True, allow_nan=False)
    return text


def _plain(value: object) -> object:
    """A value in JSON's own types."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, str) else value.name
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    return _plain_structure(value)


def _plain_structure(value: object) -> object:
    """A structure in JSON's own types; anything else by its ``repr``."""
    if callable(to_wire := getattr(value, "to_wire", None)) and not isinstance(value, type):
        return _plain(to_wire())  # an analysis, a bounty: as it is sent
    if isinstance(value, collections.abc.Mapping):
        return _plain_mapping(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(type(value), "__struct_fields__"):
        return _plain_struct(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain_mapping(value._asdict())
    if isinstance(value, collections.abc.Set):
        items = [_plain(item) for item in value]
        return sorted(items, key=lambda item: (type(item).__name__, str(item)))
    if isinstance(value, collections.abc.Sequence):
        return [_plain(item) for item in value]
    return _representation(value)


def _plain_mapping(value: collections.abc.Mapping[Any, Any]) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        name = _plain(key)
        name = name if isinstance(name, str) else str(name)
        if name in plain:  # 1 and "1": JSON would show only one of them
            raise ValueError(f"two keys are {name!r}")
        plain[name] = _plain(item)
    return plain


def _plain_struct(value: object) -> dict[str, object]:
    """A msgspec struct by the names it has on the wire, without the fields that were left out."""
    import msgspec

    kind: Any = type(value)
    pairs = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    items = ((name, getattr(value, field)) for field, name in pairs)
    return {name: _plain(item) for name, item in items if item is not msgspec.UNSET}


def _representation(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the object is the author's: its __repr__ may raise anything
        return f"<{type(value).__name__} that cannot be shown>"
