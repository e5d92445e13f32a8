"""Where rules come from: the pack, rule folders, and packages registered under ``yara_registry.rules``.

Every rule file becomes one :class:`RuleFile` with a namespace of its own. Whatever cannot be read is a
:class:`Skipped`, which says which file or package and why; it never stops the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

__all__ = [
    "PACKAGES_GROUP",
    "RuleFile",
    "Skipped",
    "Sources",
    "from_folders",
    "from_pack",
    "from_packages",
]

PACKAGES_GROUP: Final = "yara_registry.rules"
"""Entry-point group of packages that carry rules (the convention of the distribution ``yara-registry``)."""
SUFFIXES: Final = frozenset({".yar", ".yara"})
MAX_RULE_FILE: Final = 16 << 20
"""Bytes of a rule file at most."""


class RuleFile(msgspec.Struct, frozen=True):
    """The text of one rule file.

    Args:
        namespace: What keeps its rule names apart from those of other files.
        origin: What messages call it: its path, or the package that gave it.
        text: The rules.
    """

    namespace: str
    origin: str
    text: str


class Skipped(msgspec.Struct, frozen=True):
    """A source that was left out.

    Args:
        source: The file, folder or package.
        reason: Why, in one line.
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class Sources:
    """Rule files and what had to be left out, in the order they were found.

    Attributes:
        files: The rule files; no two have the same namespace.
        skipped: What was left out.
    """

    def __init__(self) -> None:
        self.files: list[RuleFile] = []
        self.skipped: list[Skipped] = []
        self._namespaces: set[str] = set()

    def add(self, namespace: str, origin: str, text: str) -> None:
        """Take the text of one rule file; a namespace that is there already (one file named twice) is not taken again.

        Args:
            namespace: The namespace.
            origin: What messages call it.
            text: The rules.
        """
        if namespace not in self._namespaces:
            self._namespaces.add(namespace)
            self.files.append(RuleFile(namespace, origin, text))

    def skip(self, source: str, reason: str) -> None:
        """Note that a source was left out.

        Args:
            source: The file, folder or package.
            reason: Why, in one line.
        """
        self.skipped.append(Skipped(source, reason))

    def add_path(self, path: Path, namespace: str) -> int:
        """Take a rule file, or all rule files of a folder and the folders in it.

        Args:
            path: The file (whatever its suffix) or the folder.
            namespace: Namespace of the file, or what those of the folder's files start with.

        Returns:
            How many rule files were found, whether they could be read or not.
        """
        try:
            if path.is_dir():
                found = 0
                for found, (file, name) in enumerate(self._in_folder(path), start=1):  # noqa: B007 - the count is wanted
                    self._read(file, f"{namespace}/{name}")
                return found
        except OSError as error:
            self.skip(str(path), _because(error))
            return 0
        self._read(path, namespace)
        return 1

    def _in_folder(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """The rule files of a folder in a fixed order; links to folders are not followed, so there are no loops."""

        def unreadable(error: OSError) -> None:
            self.skip(str(error.filename), _because(error))

        for parent, folders, names in os.walk(folder, onerror=unreadable):
            folders.sort()
            for name in sorted(names):
                if os.path.splitext(name)[1].lower() in SUFFIXES:
                    file = Path(parent, name)
                    yield file, file.relative_to(folder).as_posix()

    def _read(self, path: Path, namespace: str) -> None:
        try:
            # Not to block on a FIFO that somebody left in the folder.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    self.skip(str(path), "is no regular file")
                    return
                raw = stream.read(MAX_RULE_FILE + 1)
        except OSError as error:
            self.skip(str(path), _because(error))
            return
        if len(raw) > MAX_RULE_FILE:
            self.skip(str(path), f"is larger than {MAX_RULE_FILE >> 20} MiB; split it")
            return
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.skip(str(path), f"line {line}: is not UTF-8 (byte {error.start}); save it as UTF-8")
            return
        self.add(namespace.encode(errors="replace").decode(), str(path), text)


def from_pack(sources: Sources) -> None:
    """Take the rule pack of this package.

    Args:
        sources: Where to.
    """
    sources.add_path(Path(__file__).with_name("pack"), "pack")


def from_folders(sources: Sources, paths: Iterable[Path]) -> None:
    """Take rule files and folders that the operator named.

    Args:
        sources: Where to.
        paths: Files, and folders that are searched for ``*.yar`` and ``*.yara`` at any depth.
    """
    for path in paths:
        path = path.expanduser().absolute()
        if not path.exists():
            sources.skip(str(path), "no such file or folder")
        elif not sources.add_path(path, str(path)):
            sources.skip(str(path), "holds no *.yar or *.yara file")


def from_packages(sources: Sources) -> None:
    """Take the rules of packages that register under ``yara_registry.rules``.

    An entry point may be a package (its folders are searched for rule files), a module (the rule files beside it), a
    path, the text of rules, a collection of paths and texts, or a function without arguments that returns one of these.

    Args:
        sources: Where to.
    """
    for entry in sorted(metadata.entry_points(group=PACKAGES_GROUP), key=lambda entry: (_owner(entry), entry.name)):
        label = f"{_owner(entry)} ({entry.name} = {entry.value})"
        namespace = f"package/{_owner(entry)}/{entry.name}"
        try:
            given = entry.load()
            if callable(given) and not isinstance(given, ModuleType):
                given = given()
            found = _take(sources, given, namespace, label)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - somebody else's module; SystemExit at import is one of its ways
            problem = " ".join(f"{type(error).__name__}: {error}".split())
            sources.skip(label, f"cannot be loaded ({problem[:300]}); mend or remove the package")
            continue
        if not found:
            sources.skip(label, "has no *.yar or *.yara file")


def _take(sources: Sources, given: object, namespace: str, label: str) -> int:
    """Take what an entry point gave; how many rule files there were."""
    if isinstance(given, ModuleType):
        return _take_module(sources, given, namespace)
    if isinstance(given, str) and ("\n" in given or "{" in given):
        sources.add(namespace, label, given)
        return 1
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        if not path.exists():
            message = f"{path}: no such file or folder"
            raise FileNotFoundError(message)
        return sources.add_path(path, namespace)
    if isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray, dict)):
        return sum(_take(sources, each, f"{namespace}/{index}", label) for index, each in enumerate(given))
    message = f"gave a {type(given).__name__}, not a package, path, text of rules, or a list of these"
    raise TypeError(message)


def _take_module(sources: Sources, module: ModuleType, namespace: str) -> int:
    folders = getattr(module, "__path__", None)
    if folders is not None:
        names = [Path(folder) for folder in folders]
        several = len(names) > 1
        return sum(
            sources.add_path(folder, f"{namespace}/{index}" if several else namespace)
            for index, folder in enumerate(names)
        )
    file = getattr(module, "__file__", None)
    if file is None:
        return 0
    # Beside a module, not below it: at the top of site-packages everything installed is below.
    beside = [path for path in sorted(Path(file).parent.iterdir()) if path.suffix.lower() in SUFFIXES]
    return sum(sources.add_path(path, f"{namespace}/{path.name}") for path in beside)


def _owner(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "unknown distribution"


def _because(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
