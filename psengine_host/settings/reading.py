"""The layers of the settings, each laid over the one before: defaults, file, environment, options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from psengine_host.errors import SettingsError, nearest, printable_name
from psengine_host.settings.files import load_file
from psengine_host.settings.kinds import Mistakes
from psengine_host.settings.origins import DEFAULT, Origin, Problem
from psengine_host.settings.sections import KINDS, SECTIONS, Settings, config_path
from psengine_host.settings.variables import CONFIG_VARIABLE, LENIENT, SHORTEST_BEGINNING, VARIABLES, misspelt
from psengine_host.settings.workers import TIMEOUT_OF_ONE, WorkerSettings, unknown_of_engine

__all__ = ["Examined", "examine", "file_of", "settle", "warn"]

_DEEPEST: Final = 64
"""How deep an engine's table may be nested."""
_RIVALS: Final = (("webhook.secret", "webhook.secret_file"),)
"""Settings of which one is enough: that of the last layer which has one takes the place of the other."""

AnySettings = TypeVar("AnySettings", bound=Settings)


class Examined:
    """What all layers say, and what is wrong with it.

    Attributes:
        path: The settings file.
        found: Whether it is there.
        values: The values that are set, by setting; ``engines`` and ``workers.engines``, the tables of single engines,
            are two of them.
        origins: Where each value comes from, the defaults too; of ``engines`` by table (``engines.yara``), of
            ``workers.engines`` by setting (``workers.yara.count``).
        problems: Every mistake.
        warnings: What is odd and harms nothing, in one line each.
        passed_over: The same, of variables that the log tells of itself.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.found = False
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Origin] = dict.fromkeys(KINDS, DEFAULT)
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.passed_over: list[str] = []

    def lay(self, origin: Origin, key: str, value: object, folder: str) -> None:
        """Lay one value over what is there, or note why it cannot be."""
        try:
            self.values[key] = KINDS[key].parse(value, folder)
        except ValueError as error:
            if key in LENIENT and origin.layer == "environment":
                self.passed_over.append(f"{origin.name}: {error}; passed over")
            else:
                self._refuse(origin, key, error)
        else:
            self.origins[key] = origin

    def lay_worker(self, origin: Origin, engine: str, table: Mapping[str, Any], folder: str) -> None:
        """Lay down what ``[workers.ENGINE]`` says, or note why it cannot be."""
        own = self.values.setdefault("workers.engines", {}).setdefault(engine, {})
        for name, value in table.items():
            key = f"workers.{engine}.{name}"
            if name not in WorkerSettings.ENGINE_KINDS:
                self.problems.append(Problem(origin, key, unknown_of_engine(name, engine)))
                continue
            try:
                own[name] = WorkerSettings.ENGINE_KINDS[name].parse(value, folder)
            except ValueError as error:
                self._refuse(origin, key, error)
            else:
                self.origins[key] = origin

    def _refuse(self, origin: Origin, key: str, error: ValueError) -> None:
        reasons = error.reasons if isinstance(error, Mistakes) else (str(error),)
        self.problems += [Problem(origin, key, reason) for reason in reasons]


def examine(
    config: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Examined:
    """Read all layers, and find every mistake.

    Args:
        config: As of :meth:`~psengine_host.settings.Settings.read`.
        environ: As of ``read``.
        options: As of ``read``.
    """
    environ = os.environ if environ is None else environ
    path, named = file_of(config, environ)
    examined = Examined(path)
    _lay_file(examined, required=named)
    _lay_variables(examined, environ)
    _lay_options(examined, options or {})
    return examined


def file_of(config: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The settings file, whether it is there or not.

    Args:
        config: As of :meth:`~psengine_host.settings.Settings.read`.
        environ: The environment.

    Returns:
        Its path, and whether somebody named it.
    """
    if config is None:
        variable = environ.get(CONFIG_VARIABLE, "")
        config = variable if variable.strip() else None
    return os.fspath(config_path() if config is None else config), config is not None


def warn(examined: Examined) -> None:
    """Log what is odd and harms nothing.

    Args:
        examined: What all layers say.
    """
    if examined.warnings:
        import logging

        for warning in examined.warnings:
            logging.getLogger("psengine_host.settings").warning("%s", warning)


def settle(kind: type[AnySettings], examined: Examined) -> AnySettings:
    """The settings, where nothing is wrong with them.

    Args:
        kind: The class to make.
        examined: What all layers say.

    Raises:
        SettingsError: Something is wrong; the first mistake, and how many more there are.
    """
    if examined.problems:
        first, *others = examined.problems
        more = f" (and {len(others)} more; 'psengine config check' tells all)" if others else ""
        raise SettingsError(f"{first}{more}")
    arguments: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for key, value in examined.values.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else arguments)[name] = value
    for section, values in sections.items():
        arguments[section] = SECTIONS[section](**values)
    return kind(**arguments)


# --- the file ---------------------------------------------------------------------------------------------------------


def _lay_file(examined: Examined, *, required: bool) -> None:
    origin = Origin("file", examined.path)
    try:
        table, folder = load_file(examined.path, required=required)
    except SettingsError as error:
        examined.found = True
        examined.problems.append(Problem(origin, "", str(error)))
        return
    examined.found = folder is not None or required
    values: dict[str, object] = {}
    for key, value in _leaves(examined, origin, table, folder or ""):
        values[key] = value
        examined.lay(origin, key, value, folder or "")
    for one, other in _RIVALS:
        if one in values and other in values:
            examined.problems.append(Problem(origin, one, f"cannot be set beside {other}; choose one"))


def _leaves(examined: Examined, origin: Origin, table: Mapping[str, Any], folder: str) -> Iterator[tuple[str, object]]:
    """The settings in a file, each by its dotted name; what is none is noted, what is an engine's is laid down."""
    for name, value in table.items():
        if name in KINDS:
            yield name, value
        elif name != "engines" and name not in SECTIONS:
            examined.problems.append(Problem(origin, name or '""', _unknown(name)))
        elif not isinstance(value, dict):
            # The value is not shown: it may be what was meant for a secret.
            examined.problems.append(Problem(origin, name, f"must be a table, got {_type(value)}"))
        elif name == "engines":
            _lay_engines(examined, origin, value)
        else:
            for key, inner in value.items():
                setting = f"{name}.{key}"
                # What a table is named after is an engine, though a setting may have that name too (sandbox).
                if name == "workers" and isinstance(inner, dict):
                    examined.lay_worker(origin, key, inner, folder)
                elif setting in KINDS:
                    yield setting, inner
                else:
                    examined.problems.append(Problem(origin, setting, _unknown(key, name)))


def _lay_engines(examined: Examined, origin: Origin, tables: Mapping[str, Any]) -> None:
    engines = {}
    for engine, table in tables.items():
        key = f"engines.{engine}"
        if not isinstance(table, dict):
            examined.problems.append(Problem(origin, key, f"must be a table, got {_type(table)}"))
        elif _deeper_than(table, _DEEPEST):
            examined.problems.append(Problem(origin, key, f"is nested deeper than {_DEEPEST}"))
        else:
            engines[engine] = table
            examined.origins[key] = origin
    examined.values["engines"] = engines


def _deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _type(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


def _unknown(name: str, section: str = "") -> str:
    """Why there is no such setting, with the nearest one, or the one of that name elsewhere."""
    if (section, name) == ("workers", "timeout"):
        return TIMEOUT_OF_ONE
    here = SECTIONS[section].KINDS if section else (*Settings.KINDS, *SECTIONS, "engines")
    elsewhere = [setting for setting in KINDS if setting.rpartition(".")[2] == name]
    offer = nearest(name, here) or _offered(elsewhere[:1])
    offer = offer or _offered(_longer(name, here)) or _offered(_longer(name, KINDS))
    if section == "workers" and not offer:
        offer = "; what is for one engine is a table, [workers.NAME]"
    return f"no such setting{offer}"


def _longer(name: str, known: Iterable[str]) -> list[str]:
    """The known names of which this is the beginning: ``proxy`` for ``proxy_from_environment``."""
    if len(name) < SHORTEST_BEGINNING:
        return []
    return [setting for setting in known if setting.rpartition(".")[2].startswith(f"{name}_")]


def _offered(names: list[str]) -> str:
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""


# --- the environment and options --------------------------------------------------------------------------------------


def _lay_variables(examined: Examined, environ: Mapping[str, str]) -> None:
    said = []
    for key, variable in VARIABLES.items():
        text = environ.get(variable)
        if not text or not text.strip():
            continue
        value = KINDS[key].of_text(text)
        if value != []:  # nothing but commas
            said.append((key, Origin("environment", variable), value))
    _lay_over(examined, said)
    examined.warnings += [
        f"{printable_name(name)}: no such variable; did you mean {meant!r}?" for name, meant in misspelt(environ)
    ]


def _lay_options(examined: Examined, options: Mapping[str, object]) -> None:
    said = []
    for key, value in options.items():
        origin = Origin("option", key)
        if value is None:
            continue
        if key in KINDS:
            said.append((key, origin, KINDS[key].of_text(value) if isinstance(value, str) else value))
        else:
            examined.problems.append(Problem(origin, key, f"no such setting{nearest(key, KINDS)}"))
    _lay_over(examined, said)


def _lay_over(examined: Examined, said: list[tuple[str, Origin, object]]) -> None:
    """Lay a layer over the file: relative paths in it count from the working directory."""
    keys = {key for key, _, _ in said}
    for one, other in _RIVALS:
        if one in keys and other in keys:
            origin = next(origin for key, origin, _ in said if key == one)
            examined.problems.append(Problem(origin, one, f"cannot be set beside {other}; choose one"))
        for key, rival in ((one, other), (other, one)):
            if key in keys and rival not in keys and examined.values.pop(rival, None) is not None:
                examined.origins[rival] = DEFAULT
    for key, origin, value in said:
        examined.lay(origin, key, value, "")
