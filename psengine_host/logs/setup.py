"""Setting up: one handler at the root, its level and format, and everything back as it was."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from psengine_host.logs.secrets import secrets_in, secrets_of
from psengine_host.logs.standard_error import StandardError

if TYPE_CHECKING:
    from psengine_host.logs.masks import Masks
    from psengine_host.settings import Settings

__all__ = ["LIBRARIES", "Log", "level_number", "set_up_logs"]

LIBRARIES: Final = (
    "aiohttp",
    "amqp",
    "asyncio",
    "botocore",
    "charset_normalizer",
    "concurrent",
    "filelock",
    "httpcore",
    "httpx",
    "kombu",
    "markdown_it",
    "requests",
    "tenacity",
    "urllib3",
)
"""Libraries that tell of their own workings: heard from warnings on, below that only where everything is asked for."""

EVERYTHING: Final = 1
"""The level at which the libraries are heard too."""
_BY_VERBOSITY: Final = {1: logging.INFO, 2: logging.DEBUG, -1: logging.ERROR, -2: logging.CRITICAL}
_FORMATS: Final = ("text", "json")

logger = logging.getLogger("psengine_host.logs")


class Log:
    """The log of this program, on standard error. Made by :func:`set_up_logs`; a ``with`` block closes it at its end.

    Args:
        level: The level that options or environment ask for, or None.
        log_format: The format that the environment asks for, or None.
        secrets: Values that must not be seen.
    """

    def __init__(self, level: int | None, log_format: str | None, secrets: Iterable[str]) -> None:
        self._level = level
        self._format = log_format
        self._json = log_format == "json"
        self._secrets = set(secrets)
        self._masks: Masks | None = None
        self._handler = _Owned(self, self._lines)
        self._before: _Before | None = None

    def apply(self, level: str | int, log_format: str) -> None:
        """Use what a settings file says, where neither options nor the environment said otherwise.

        Args:
            level: A level's name or number; one that is none is told as a warning.
            log_format: ``text`` or ``json``.
        """
        if self._before is None:
            return
        number = level_number(level)
        self._use(
            (number or logging.WARNING) if self._level is None else self._level,
            log_format if self._format is None else self._format,
        )
        if number is None and self._level is None:
            logger.warning("[log] level: %s", _no_level(level))

    def follow(self, settings: Settings) -> None:
        """Use what settings say of the log, and hide the secrets in them.

        Args:
            settings: The settings of the program.
        """
        self.mask(secrets_in(settings))
        self.apply(settings.log.level, settings.log.format)

    def mask(self, secrets: Iterable[str]) -> None:
        """Hide these values wherever they stand in a message, a field or a traceback.

        Args:
            secrets: The values; those shorter than 4 characters cannot be hidden.
        """
        added = set(secrets)
        self._secrets |= added
        if self._masks is not None:
            self._masks.add(added)

    def masked(self, text: str) -> str:
        """A text as the log would show it, for what is told without it: a traceback, an error's message.

        Args:
            text: Any text.
        """
        return self._the_masks()(text)

    @property
    def is_json(self) -> bool:
        """Whether records are lines of JSON."""
        return self._json

    def complain(self, message: str, error: BaseException | None = None) -> None:
        """Write why the program ends, as a record of the logger ``psengine``, whatever the level.

        Args:
            message: One line.
            error: What was raised, for its traceback; None where that is not asked for.
        """
        raised = None if error is None else (type(error), error, error.__traceback__)
        self._handler.handle(logging.LogRecord("psengine", logging.ERROR, __file__, 0, "%s", (message,), raised))

    def close(self) -> None:
        """Put everything back as it was before; closing twice is harmless."""
        if self._before is None:
            return
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()
        self._before.restore()
        self._before = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        root = logging.getLogger()
        for handler in root.handlers[:]:
            if isinstance(handler, _Owned):
                handler.log.close()
        self._before = _Before()
        root.addHandler(self._handler)
        warnings.showwarning = _logging_warnings(warnings.showwarning)
        self._use(logging.WARNING if self._level is None else self._level, self._format or "text")

    def _use(self, level: int, log_format: str) -> None:
        if self._json != (log_format == "json"):
            self._json = not self._json
            self._handler.setFormatter(None)
        logging.getLogger().setLevel(level)
        if self._before is not None:
            self._before.calm(level)

    def _lines(self) -> logging.Formatter:
        if self._json:
            from psengine_host.logs.json_lines import JsonLines

            return JsonLines(self._the_masks())
        from psengine_host.logs.text_lines import TextLines

        return TextLines(self._the_masks())

    def _the_masks(self) -> Masks:
        if self._masks is None:
            from psengine_host.logs.masks import Masks

            self._masks = Masks(self._secrets)
        return self._masks


class _Owned(StandardError):
    def __init__(self, log: Log, lines: Callable[[], logging.Formatter]) -> None:
        super().__init__(lines)
        self.log = log


class _Before:
    """How logging and warnings were."""

    def __init__(self) -> None:
        self._level = logging.getLogger().level
        self._showwarning = warnings.showwarning
        # A level that a library's user has chosen is theirs.
        self._unset = [one for one in map(logging.getLogger, LIBRARIES) if one.level == logging.NOTSET]

    def calm(self, level: int) -> None:
        for library in self._unset:
            library.setLevel(logging.NOTSET if level < logging.DEBUG else logging.WARNING)

    def restore(self) -> None:
        logging.getLogger().setLevel(self._level)
        for library in self._unset:
            library.setLevel(logging.NOTSET)
        warnings.showwarning = self._showwarning


def set_up_logs(*, verbosity: int = 0, debug: bool = False, environ: Mapping[str, str] | None = None) -> Log:
    """Send the log to standard error: lines for people, or with ``LOG_FORMAT=json`` one object a line.

    What ``LOG_LEVEL`` or ``LOG_FORMAT`` say that cannot be is told as a warning, and the default is used. Done again,
    the new one takes the place of the old. Handlers of others are left alone.

    Args:
        verbosity: 1 logs info, 2 debug, 3 everything, the workings of libraries included; -1 errors, -2 what is
            critical; 0 what ``LOG_LEVEL`` says (a name or a number), else warnings.
        debug: Log debug messages, unless the verbosity says otherwise.
        environ: The environment; the process's by default.

    Returns:
        The log: to apply settings to, to tell secrets, and to close where the program goes on without it.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("LOG_LEVEL", "").strip()
    wanted = environ.get("LOG_FORMAT", "").strip().lower()
    level = level_number(named) if named else None
    log = Log(
        _by_options(verbosity, debug=debug) or level,
        wanted if wanted in _FORMATS else None,
        secrets_of(environ),
    )
    log._open()
    if named and level is None:
        logger.warning("LOG_LEVEL: %s", _no_level(named))
    if wanted and wanted not in _FORMATS:
        logger.warning("LOG_FORMAT: %r is no format (text or json); text is used", wanted[:40])
    return log


def level_number(level: str | int) -> int | None:
    """The number of a level.

    Args:
        level: A name that ``logging`` knows, in any case, or a number from 0 (everything) on, as text or not.

    Returns:
        The number, 1 or more, or None where it is no level.
    """
    if isinstance(level, str):
        name = level.strip()
        number = int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else None
        if number is None:
            number = logging.getLevelNamesMapping().get(name.upper())
    else:
        number = level if type(level) is int and level >= 0 else None
    return None if number is None else max(number, EVERYTHING)  # at the root, 0 would mean that as well


def _by_options(verbosity: int, *, debug: bool) -> int | None:
    if verbosity > 2:
        return EVERYTHING
    level = _BY_VERBOSITY.get(max(verbosity, -2))
    if debug and verbosity >= 0:
        return logging.DEBUG
    return level


def _no_level(level: object) -> str:
    return f"{str(level)[:40]!r} is no level (debug, info, warning, error, critical or a number); warning is used"


def _logging_warnings(otherwise: Callable[..., None]) -> Callable[..., None]:
    """What Python calls to show a warning: here one line of the log."""

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,  # noqa: ANN401 - Python's signature
        line: str | None = None,
    ) -> None:
        if file is not None:
            otherwise(message, category, filename, lineno, file, line)
            return
        text = " ".join(str(message).split())
        logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, text, filename, lineno)

    return showwarning
