"""Lines for programs: one JSON object a record, in strict JSON and ASCII."""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time
from typing import Any, Final

from pythonjsonlogger.core import merge_record_extra
from pythonjsonlogger.json import JsonFormatter

from psengine_host.errors import one_line
from psengine_host.job import current_job
from psengine_host.logs.masks import MASK, Masks
from psengine_host.logs.records import bounty_of, cut, engine_of, exception_of, message_of
from psengine_host.secret_names import surely_secret

__all__ = ["JsonLines"]

OURS: Final = ("timestamp", "level", "logger", "message", "engine", "bounty", "delivery", "exception")
"""Keys that nothing an author adds may overwrite."""
_LONGEST_FIELD: Final = 4096
"""Characters of one text that an author adds."""
_MOST_ITEMS: Final = 100
_DEEPEST: Final = 6
_SAFE_INTEGER: Final = 1 << 63
_SECRET_KEYS: Final = ("authorization", "signature", "cookie")
"""How more names of secrets end."""


class JsonLines(JsonFormatter):
    """One object a line: ``timestamp``, ``level``, ``logger``, ``message``, ``engine``, ``bounty``, ``delivery``.

    All seven are always there; the last three are null where nothing is being worked on. ``exception`` is there where
    a record has a traceback. What a caller adds with ``extra=`` follows; under a name of ours with ``_`` at its end.

    Args:
        masks: What must not be seen.
    """

    def __init__(self, masks: Masks) -> None:
        super().__init__("%(message)s")
        self._masks = masks

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        job = current_job()
        fields: dict[str, Any] = {
            "timestamp": _timestamp(record.created),
            "level": _text(str(record.levelname).lower()),
            "logger": _text(str(record.name)),
            "message": _text(message_of(record, self._masks)),
            "engine": self._id(engine_of(record, job)),
            "bounty": None if job is None else self._id(bounty_of(job)),
            "delivery": None if job is None else self._id(job.delivery),
        }
        exception = exception_of(record, self._masks)
        if exception:
            fields["exception"] = _text(exception)
        extras: dict[Any, Any] = {}
        if issubclass(type(record.msg), Mapping):  # isinstance would ask the object itself, which may fail
            extras.update(record.msg)  # type: ignore[arg-type]
            fields["message"] = self._field(extras.pop("message", ""))
        merge_record_extra(record, extras, self.reserved_attrs)
        for key, value in extras.items():
            name, plain = self.added(key, value)
            fields[f"{name}_" if name in OURS else name] = plain
        return str(self.serialize_log_record(fields))

    def added(self, key: object, value: object) -> tuple[str, Any]:
        """What an author adds to a record, as JSON can hold it.

        Args:
            key: Its name.
            value: Anything.

        Returns:
            The name and the value.
        """
        name = self._name(key)
        return name, self._named(name, value, 0)

    def _id(self, text: str | None) -> str | None:
        return None if text is None else _text(self._masks(text))

    def _name(self, key: object) -> str:
        return _text(cut(key if isinstance(key, str) else one_value(key), self._masks, 128))

    def _named(self, name: str, value: object, depth: int) -> Any:  # noqa: ANN401 - JSON
        """A value that has a name: what is called a password is hidden whatever it is."""
        if value is not None and (name.lower().endswith(_SECRET_KEYS) or surely_secret(name)):
            return MASK
        return self._field(value, depth)

    def _field(self, value: object, depth: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Anything as what JSON can hold, of bounded size; nothing that an author adds can fail."""
        try:
            return self._plain(value, depth)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an object may do anything when it is looked at
            return f"a {type(value).__name__} that cannot be shown: {_text(one_line(error))}"

    def _plain(self, value: object, depth: int) -> Any:  # noqa: ANN401 - JSON
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return _text(cut(str(value), self._masks, _LONGEST_FIELD))
        if isinstance(value, enum.Enum):
            return self._field(value.value, depth + 1) if depth < _DEEPEST else str(value)
        if isinstance(value, int):
            # Beyond 64 bits most readers lose digits, or the line.
            return int(value) if -_SAFE_INTEGER <= value < _SAFE_INTEGER else one_value(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"{len(value):,} bytes"  # which may be an artifact's
        if isinstance(value, (datetime, date, time)):
            return value.isoformat()
        if isinstance(value, (Mapping, list, tuple, AbstractSet)) and depth >= _DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            fields: dict[str, Any] = {}
            for key, item in list(value.items())[:_MOST_ITEMS]:
                name = self._name(key)
                fields[name] = self._named(name, item, depth + 1)
            return fields | ({"…": f"{len(value):,} items"} if len(value) > _MOST_ITEMS else {})
        if isinstance(value, (list, tuple, AbstractSet)):
            items = [self._field(item, depth + 1) for item in list(value)[:_MOST_ITEMS]]
            return items + ([f"… ({len(value):,} items)"] if len(value) > _MOST_ITEMS else [])
        if isinstance(value, BaseException):
            return _text(cut(one_line(value), self._masks, _LONGEST_FIELD))
        return _text(cut(str(value), self._masks, _LONGEST_FIELD))


def one_value(value: object) -> str:
    """A value as text, an integer with more digits than Python turns into text included."""
    try:
        return str(value)
    except ValueError:
        return hex(value) if isinstance(value, int) else f"a {type(value).__name__}"


def _text(text: str) -> str:
    """The text with what UTF-8 cannot hold shown as escapes: most readers of JSON refuse lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _timestamp(seconds: float) -> str:
    """RFC 3339, UTC, with milliseconds; of a record that came from elsewhere with no time that there is, as it is."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError, TypeError):
        return str(seconds)
