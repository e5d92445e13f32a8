"""Which engines are installed: metadata only, nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Final, TypeVar, overload

from psengine_host.engines.blame import reason as reason_of
from psengine_host.errors import AmbiguousEngine, UnknownEngine, UsageError

__all__ = [
    "ENGINES_GROUP",
    "OBSERVERS_GROUP",
    "WRAPPERS_GROUP",
    "BrokenEngine",
    "Catalog",
    "FoundEngine",
    "Registration",
    "find_engines",
    "find_registrations",
]

ENGINES_GROUP: Final = "psengine.engines"
OBSERVERS_GROUP: Final = "psengine.observers"
WRAPPERS_GROUP: Final = "psengine.wrappers"

RESERVED_NAMES: Final = frozenset({"all", "metrics", "status", "healthz", "readyz"})
"""Names of routes, and the word that means every engine."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_VALUE = re.compile(r"[\w.]+\s*(?::\s*[\w.]+\s*)?(?:\[.*\]\s*)?\Z")

T = TypeVar("T")


class Registration:
    """One entry point of an installed distribution.

    Attributes:
        name: The entry point's name.
        value: What it points to, ``module`` or ``module:attribute``.
        group: The entry-point group.
        distribution: The distribution's name.
        version: The distribution's version.
    """

    __slots__ = ("distribution", "group", "name", "value", "version")

    def __init__(self, name: str, value: str, group: str, distribution: str, version: str) -> None:
        self.name = name
        self.value = value
        self.group = group
        self.distribution = distribution
        self.version = version

    @property
    def origin(self) -> str:
        """Distribution and version, as messages name them."""
        return f"{self.distribution} {self.version}".strip()

    def load(self) -> object:
        """Import what it points to; raises whatever the import raises."""
        if not _VALUE.match(self.value):
            raise ImportError(f"the entry point says {self.value!r}, which is neither module nor module:attribute")
        return metadata.EntryPoint(self.name, self.value, self.group).load()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registration) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.value!r}, {self.origin!r})"

    def _key(self) -> tuple[str, ...]:
        return self.name, self.value, self.group, self.distribution, self.version


class FoundEngine(Registration):
    """An engine that is installed; nothing of it has been imported."""

    __slots__ = ()


class BrokenEngine(Registration):
    """An engine that cannot be used.

    Attributes:
        reason: Why, in one line.
        error: What was raised, or None.
    """

    __slots__ = ("error", "reason")

    def __init__(self, found: Registration, reason: str, error: BaseException | None = None) -> None:
        super().__init__(found.name, found.value, found.group, found.distribution, found.version)
        self.reason = reason
        self.error = error


class Catalog(Mapping[str, "FoundEngine | BrokenEngine"]):
    """The installed engines by name, in order of name.

    Args:
        engines: The engines; names are unique.
        excluded: Names of engines that are installed and that the settings exclude, for messages.
    """

    def __init__(self, engines: Iterable[FoundEngine | BrokenEngine], excluded: Iterable[str] = ()) -> None:
        self._engines = {engine.name: engine for engine in sorted(engines, key=lambda engine: engine.name)}
        self._excluded = tuple(sorted(excluded))

    def __getitem__(self, name: str) -> FoundEngine | BrokenEngine:
        try:
            return self._engines[name]
        except KeyError:
            if name in self._excluded:
                raise UsageError(f"engine {name} is excluded by {_EXCLUDING}") from None
            raise UnknownEngine(name, self._engines) from None

    @overload
    def get(self, name: str, /) -> FoundEngine | BrokenEngine | None: ...
    @overload
    def get(self, name: str, /, default: FoundEngine | BrokenEngine | T) -> FoundEngine | BrokenEngine | T: ...
    def get(self, name: str, /, default: object = None) -> object:
        """The engine of a name, or the default: unlike ``catalog[name]`` this raises nothing."""
        return self._engines.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._engines

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    def select(self, names: Iterable[str] = ()) -> list[FoundEngine | BrokenEngine]:
        """The engines asked for, in the order asked for, each once.

        Args:
            names: Names; ``all`` means every one; none at all means the only one installed.

        Raises:
            UnknownEngine: There is no engine of a name.
            AmbiguousEngine: No name was given, and there is not exactly one engine.
            UsageError: The settings exclude an engine that was asked for.
        """
        chosen: dict[str, FoundEngine | BrokenEngine] = {}
        for name in names:
            if name.lower() == "all":
                if not self._engines:
                    raise self._none()
                chosen.update(self._engines)
            else:
                chosen[name] = self[name]
        if chosen:
            return list(chosen.values())
        if not self._engines:
            raise self._none()
        if len(self._engines) > 1:
            message = (
                f"several engines are installed: choose with --engine {' or '.join(self._engines)}, or --engine all"
            )
            raise AmbiguousEngine(message)
        return list(self._engines.values())

    def _none(self) -> AmbiguousEngine:
        if self._excluded:
            return AmbiguousEngine(f"every installed engine ({', '.join(self._excluded)}) is excluded by {_EXCLUDING}")
        return AmbiguousEngine(_NONE_INSTALLED)


_EXCLUDING: Final = "PSENGINE_ENGINES or PSENGINE_DISABLED_ENGINES, or by the same settings in psengine.toml"
_NONE_INSTALLED: Final = "no engine is installed; install one, for example: pip install psengine-eicar"


def find_engines(path: list[str] | None = None) -> Catalog:
    """The engines that are installed, found by their entry points in group ``psengine.engines``.

    A name that is not allowed and one that two distributions register are refused: they are in the catalog as broken
    engines, with the reason. No two allowed names share their environment variables, so of ``nano-av`` and ``nano_av``,
    both ``NANO_AV_…``, only the first can run.

    Args:
        path: Where to look, as ``sys.path``; that by default.
    """
    by_name: dict[str, list[Registration]] = {}
    for registration in find_registrations(ENGINES_GROUP, path):
        by_name.setdefault(registration.name, []).append(registration)
    engines: list[FoundEngine | BrokenEngine] = []
    for name, claims in by_name.items():
        claim = claims[0]
        reason = None
        if not _NAME.match(name):
            reason = (
                f"the name {name!r} is not allowed: lower-case letters, digits and hyphens, a letter first, 32 at most"
            )
        elif name in RESERVED_NAMES:
            reason = f"the name {name!r} is reserved"
        elif len(claims) > 1:
            owners = " and ".join(sorted(other.origin for other in claims))
            claim = Registration(name, claim.value, claim.group, owners, "")
            reason = f"two distributions register the name {name!r}: {owners}; uninstall one"
        if reason is None:
            engines.append(FoundEngine(name, claim.value, claim.group, claim.distribution, claim.version))
        else:
            engines.append(BrokenEngine(claim, reason))
    return Catalog(engines)


def find_registrations(group: str, path: list[str] | None = None) -> list[Registration]:
    """The entry points of a group, each with its distribution, in order of path, then name.

    A distribution that is found twice counts once, as the import system would have it. One whose metadata cannot be
    read is logged and left out, so that it does not take the others with it.

    Args:
        group: The entry-point group.
        path: Where to look, as ``sys.path``; that by default.
    """
    registrations = []
    seen = set()
    distributions = metadata.distributions() if path is None else metadata.distributions(path=path)
    for distribution in distributions:
        try:
            key = _key(distribution)
            if key in seen:
                continue
            seen.add(key)
            text = distribution.read_text("entry_points.txt")
            if not text or group not in text:
                continue
            name, version = _name_and_version(distribution)
            registrations += [
                Registration(entry.name, entry.value, group, name, version)
                for entry in metadata.EntryPoints(distribution.entry_points).select(group=group)
            ]
        except Exception as error:  # noqa: BLE001 - a damaged distribution, in any of the ways there are
            import logging  # not needed to list engines

            where = getattr(distribution, "_path", "a distribution")
            logging.getLogger(__name__).error(
                "%s: its metadata cannot be read (%s); reinstall it", where, reason_of(error)
            )
    return registrations


def _key(distribution: metadata.Distribution) -> str:
    """What tells two distributions apart: the name that begins its folder's, ``name-version.dist-info``.

    One that is installed from its own folder (``pip install -e``) may be on the path twice: ``name.egg-info`` there.

    The folder's name is read off instead of METADATA, which would be opened for every installed distribution.
    """
    folder = getattr(distribution, "_path", None)  # of those of the standard library's finder; others have metadata
    name = folder.name.removesuffix(".egg-info").partition("-")[0] if folder is not None else distribution.name
    return re.sub(r"[-_.]+", "-", name).lower()


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """Name and version off the first header lines: parsing the whole of METADATA as e-mail costs fifty times more."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    found = {"name": "", "version": ""}
    for line in text.splitlines():
        if not line:
            break
        key, _, value = line.partition(":")
        if key.lower() in found:
            found[key.lower()] = value.strip()
            if all(found.values()):
                break
    return found["name"] or "unnamed", found["version"]
