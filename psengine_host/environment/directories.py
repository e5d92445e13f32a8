"""Where an engine's files are: the variables ``${ENGINE}_PATH`` to ``${ENGINE}_RUNTIME_DIR``, with defaults."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from psengine_host.environment.privacy import (
    group_access,
    make_own,
    make_private,
    read_secret,
    runtime_problem,
    secrets_problem,
)
from psengine_host.environment.variables import (
    PROGRAMS,
    VARIABLES,
    environment_prefix,
    path_in,
    working_directory,
)
from psengine_host.errors import PsengineError, printable_name

__all__ = ["EngineEnvironment", "Place"]

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """What there is to say of one directory or program of an engine.

    Attributes:
        variable: The full name of its variable.
        path: Where it is; None where that is not known: a program that is not set, or a value that is no path.
        origin: ``set`` (by the variable), ``default``, or ``unset`` (a program that has no default).
        exists: Whether it is there.
        problems: What is wrong with it, each in one line; empty where nothing is.
    """

    variable: str
    path: Path | None
    origin: str
    exists: bool
    problems: tuple[str, ...] = ()


class EngineEnvironment:
    """The directories and programs of one engine.

    Each is the engine's variable where that is set, else a folder under the host's own directories, made on first use
    with mode 0700. A relative directory counts from the working directory in which the environment was made, whatever
    the engine changes to later; ``SCANNER`` and ``UPDATER`` count from ``PATH``. A leading ``~`` is the user's home.

    Args:
        engine: The engine's name.
        environ: The environment to read; the process's by default.
        folder: Where relative paths start; the working directory by default.
    """

    __slots__ = ("_environ", "_prefix", "_warned", "_working_directory", "engine")

    def __init__(self, engine: str, environ: Mapping[str, str] | None = None, folder: str | None = None) -> None:
        self.engine = engine
        self._prefix = environment_prefix(engine)
        self._environ = os.environ if environ is None else environ
        self._working_directory = working_directory() if folder is None else folder
        self._warned: set[Path] = set()

    @property
    def path(self) -> Path:
        """Programs of the engine (``${ENGINE}_PATH``)."""
        return self._directory("PATH")

    @property
    def sdk_home(self) -> Path:
        """Libraries of the engine (``${ENGINE}_SDK_HOME``)."""
        return self._directory("SDK_HOME")

    @property
    def secrets_home(self) -> Path:
        """Licences and other secrets (``${ENGINE}_SECRETS_HOME``); :meth:`secret` reads one.

        Raises:
            PsengineError: It is open to all users, or belongs to another user than this one and root.
        """
        directory = self._directory("SECRETS_HOME")
        self._refuse("SECRETS_HOME", directory, secrets_problem(directory))
        self._warn_once("SECRETS_HOME", directory, _secrets_warnings)
        return directory

    @property
    def config_home(self) -> Path:
        """The engine's own configuration (``${ENGINE}_CONFIG_HOME``)."""
        return self._directory("CONFIG_HOME")

    @property
    def cache_home(self) -> Path:
        """What can be made again (``${ENGINE}_CACHE_HOME``)."""
        return self._directory("CACHE_HOME")

    @property
    def data_home(self) -> Path:
        """Data files of the engine (``${ENGINE}_DATA_HOME``)."""
        return self._directory("DATA_HOME")

    @property
    def state_home(self) -> Path:
        """What must survive a restart (``${ENGINE}_STATE_HOME``)."""
        return self._directory("STATE_HOME")

    @property
    def runtime_dir(self) -> Path:
        """Sockets and pipes (``${ENGINE}_RUNTIME_DIR``).

        On the first use a warning is logged where it lies among temporary files because nothing better is known, and
        where its file system lacks a feature that such a folder must have.

        Raises:
            PsengineError: It is not there, belongs to another user, or its mode is not 0700.
        """
        directory = self._directory("RUNTIME_DIR")
        self._refuse("RUNTIME_DIR", directory, runtime_problem(directory))
        self._warn_once("RUNTIME_DIR", directory, self._runtime_warnings)
        return directory

    @property
    def scanner(self) -> Path | None:
        """The scanner's program (``${ENGINE}_SCANNER``), or None."""
        return self._program("SCANNER")

    @property
    def updater(self) -> Path | None:
        """The updater's program (``${ENGINE}_UPDATER``), or None."""
        return self._program("UPDATER")

    def variable(self, name: str) -> str:
        """The full name of a variable: ``STATE_HOME`` of ``yara`` is ``YARA_STATE_HOME``."""
        return f"{self._prefix}_{name}"

    def get(self, name: str, default: str | None = None) -> str | None:
        """What a variable of the engine says, also one that only this engine has.

        Args:
            name: Without the prefix: ``RULES`` of ``yara`` is ``YARA_RULES``.
            default: What to return where the variable is not set, or empty.

        Returns:
            The variable's text as it is; nothing is made absolute, split or expanded.
        """
        return self._environ.get(self.variable(name)) or default

    def secret(self, name: str) -> bytes:
        """Read a file of ``secrets_home``, if it is kept as a secret must be.

        Args:
            name: The file's name (``licence.key``), or its path from ``secrets_home``. Links are followed, but not out
                of that folder.

        Returns:
            What is in the file, at most 16 MiB.

        Raises:
            PsengineError: There is no such file, others may read or write it, it belongs to another user than this one
                and root, or it is too large; or the folder is refused. Nothing of the content is in the message.
        """
        return read_secret(self.secrets_home, name, self.variable("SECRETS_HOME"))

    def locate(self, name: str) -> Path:
        """Where a directory variable points, without making or checking it.

        Args:
            name: One of :data:`~psengine_host.environment.DIRECTORIES`.

        Raises:
            PsengineError: The variable's value cannot be a path, or there is no default.
        """
        given = self.get(name)
        if given:
            path = path_in(self.variable(name), given)
            if path.is_absolute():
                return path
            if self._working_directory is None:
                message = f"{self.variable(name)}: {path} counts from the working directory, which has been removed"
                raise PsengineError(f"{message}; write an absolute path")
            return Path(self._working_directory, path)
        base, leaf = _DEFAULTS[name]
        try:
            home = _base(base)
        except OSError as error:  # a folder for temporary files that somebody else controls
            raise PsengineError(f"{error}; or set {self.variable(name)} to a folder of the engine") from error
        return home / "engines" / self.engine / leaf

    def places(self) -> tuple[Place, ...]:
        """Where all directories and programs are, and what is wrong with them; none is made, and nothing is refused.

        Returns:
            One for each of :data:`~psengine_host.environment.VARIABLES`, in that order.
        """
        return tuple(self._place(name) for name in VARIABLES)

    def _place(self, name: str) -> Place:
        variable = self.variable(name)
        origin = "set" if self.get(name) else "unset" if name in PROGRAMS else "default"
        try:
            path = self._program(name) if name in PROGRAMS else self.locate(name)
        except PsengineError as error:
            return Place(variable, None, origin, False, (str(error).removeprefix(f"{variable}: "),))
        if path is None:
            return Place(variable, None, origin, False)
        if not os.path.exists(path):
            problems = ["does not exist"] if origin == "set" else self._stand_in() if name == "RUNTIME_DIR" else []
            return Place(variable, path, origin, False, tuple(problems))
        return Place(variable, path, origin, True, tuple(filter(None, self._problems(name, path))))

    def _problems(self, name: str, path: Path) -> list[str]:
        if name in PROGRAMS:
            return ["is a directory, not a program" if path.is_dir() else ""]
        if name == "RUNTIME_DIR":
            refused = runtime_problem(path)
            return [refused] if refused else self._runtime_warnings(path)
        if name == "SECRETS_HOME":
            refused = secrets_problem(path)
            return [refused] if refused else _secrets_warnings(path)
        return ["" if path.is_dir() else "is not a directory"]

    def _directory(self, name: str) -> Path:
        directory = self.locate(name)
        if self.get(name):
            return directory
        try:
            if name == "RUNTIME_DIR":
                make_own(_base("runtime").parent)
            make_private(directory)
        except OSError as error:
            message = f"cannot make {directory}: {error.strerror}; set {self.variable(name)} to a folder of the engine"
            raise PsengineError(message) from error
        return directory

    def _refuse(self, name: str, directory: Path, problem: str) -> None:
        if problem:
            otherwise = "" if self.get(name) else f"; or set {self.variable(name)} to a folder of the engine"
            raise PsengineError(f"{self.variable(name)}: {printable_name(str(directory))} {problem}{otherwise}")

    def _warn_once(self, name: str, directory: Path, warnings: Callable[[Path], list[str]]) -> None:
        """Log what is not as it should be with a folder, on its first use: trying it out takes a millisecond."""
        if directory in self._warned:
            return
        self._warned.add(directory)
        for warning in warnings(directory):
            logger.warning("%s: %s %s", self.variable(name), printable_name(str(directory)), warning)

    def _runtime_warnings(self, directory: Path) -> list[str]:
        """What is not as it should be with a folder that may be used, each as the end of a sentence about it."""
        from psengine_host.environment.local_features import missing_features

        warnings = self._stand_in()
        if missing := missing_features(directory):
            lacking = ", ".join(missing)
            warnings.append(f"is not fit for sockets and pipes, it lacks: {lacking}; use a local file system")
        return warnings

    def _stand_in(self) -> list[str]:
        """What to say where the folder only stands in for one that nobody has named."""
        if self.get("RUNTIME_DIR") or not (lacking := _no_runtime_folder(_base("runtime").parent)):
            return []
        variable = self.variable("RUNTIME_DIR")
        fact = f"stands in for a better folder, since {variable} is not set and {lacking}"
        return [f"{fact}; set {variable}, or XDG_RUNTIME_DIR for all engines, to a local folder of mode 0700"]

    def _program(self, name: str) -> Path | None:
        given = self.get(name)
        if not given:
            return None
        path = path_in(self.variable(name), given)
        return path if path.is_absolute() else self.locate("PATH") / path

    def __repr__(self) -> str:
        return f"EngineEnvironment({self.engine!r})"


_DEFAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "PATH": ("data", "bin"),
    "SDK_HOME": ("data", "sdk"),
    "SECRETS_HOME": ("config", "secrets"),
    "CONFIG_HOME": ("config", ""),
    "CACHE_HOME": ("cache", ""),
    "DATA_HOME": ("data", ""),
    "STATE_HOME": ("state", ""),
    "RUNTIME_DIR": ("runtime", ""),
}


def _base(kind: str) -> Path:
    import warnings

    import platformdirs

    with warnings.catch_warnings():
        # Where XDG_RUNTIME_DIR is not set there is a fallback; its warning is for developers, not for users.
        warnings.simplefilter("ignore")
        return Path(getattr(platformdirs, f"user_{kind}_dir")("psengine"))


def _secrets_warnings(directory: Path) -> list[str]:
    warning = group_access(directory)
    return [warning] if warning else []


def _no_runtime_folder(used: Path) -> str:
    """Why the folder that stands in for ``XDG_RUNTIME_DIR`` is none, or another; empty where it is one.

    Args:
        used: What platformdirs came up with.
    """
    named = os.environ.get("XDG_RUNTIME_DIR", "").strip()
    if named and used != Path(named):
        return f"XDG_RUNTIME_DIR={printable_name(named)} is not a private folder of this user"
    # Where no login made a folder for the user, platformdirs names one after the user among the temporary files.
    if used.name == f"runtime-{os.geteuid()}":
        return "neither is XDG_RUNTIME_DIR"
    return ""
