"""Where an engine's files are: the variables ``${ENGINE}_PATH`` to ``${ENGINE}_RUNTIME_DIR``, with defaults."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from psengine_host.errors import PsengineError

__all__ = ["DIRECTORIES", "VARIABLES", "EngineEnvironment", "environment_prefix"]

DIRECTORIES: Final = (
    "PATH",
    "SDK_HOME",
    "SECRETS_HOME",
    "CONFIG_HOME",
    "CACHE_HOME",
    "DATA_HOME",
    "STATE_HOME",
    "RUNTIME_DIR",
)
"""The variables that name a directory, each behind the engine's prefix."""
VARIABLES: Final = (*DIRECTORIES, "SCANNER", "UPDATER")
"""The variables that every engine has, each behind the engine's prefix."""


def environment_prefix(engine: str) -> str:
    """The prefix of an engine's variables: ``nano-av`` has ``NANO_AV``."""
    return engine.upper().replace("-", "_")


class EngineEnvironment:
    """The directories and programs of one engine.

    Each is the engine's variable where that is set (relative: against the working directory; ``SCANNER`` and
    ``UPDATER``: against ``PATH``), else a folder under the host's own directories, made on first use with mode 0700.

    Args:
        engine: The engine's name.
        environ: The environment to read; the process's by default.
    """

    __slots__ = ("_environ", "_prefix", "engine")

    def __init__(self, engine: str, environ: Mapping[str, str] | None = None) -> None:
        self.engine = engine
        self._prefix = environment_prefix(engine)
        self._environ = os.environ if environ is None else environ

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
        """Licences and other secrets (``${ENGINE}_SECRETS_HOME``)."""
        return self._directory("SECRETS_HOME")

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
        """Sockets and pipes (``${ENGINE}_RUNTIME_DIR``)."""
        return self._directory("RUNTIME_DIR")

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

    def locate(self, name: str) -> Path:
        """Where a directory variable points, without making it.

        Args:
            name: One of :data:`DIRECTORIES`.
        """
        given = self.get(name)
        if given:
            return Path(given).absolute()
        base, leaf = _DEFAULTS[name]
        try:
            home = _base(base)
        except OSError as error:  # a folder for temporary files that somebody else controls
            raise PsengineError(f"{error}; or set {self.variable(name)} to a folder of the engine") from error
        return home / "engines" / self.engine / leaf

    def _directory(self, name: str) -> Path:
        directory = self.locate(name)
        if self.get(name):
            return directory
        try:
            if name == "RUNTIME_DIR":
                _make_own(_base("runtime").parent)
            _make_private(directory)
        except OSError as error:
            message = f"cannot make {directory}: {error.strerror}; set {self.variable(name)} to a folder of the engine"
            raise PsengineError(message) from error
        return directory

    def _program(self, name: str) -> Path | None:
        given = self.get(name)
        if not given:
            return None
        path = Path(given)
        return path if path.is_absolute() else self.path / path

    def __repr__(self) -> str:
        return f"EngineEnvironment({self.engine!r})"


def _make_own(directory: Path) -> None:
    """Make sure of a folder that nobody else controls: without a login it lies, by a known name, among other users'."""
    _make_private(directory)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, f"{directory} is a link, belongs to somebody else or is open to others")


def _make_private(directory: Path) -> None:
    """Make a folder and all that is missing above it, each with mode 0700; ``parents=True`` would open those to all."""
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(directory))


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
