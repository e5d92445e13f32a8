"""Which Wine runs a Windows program, and with what environment.

Facts are of Wine 8.0 (``dlls/ntdll/unix/loader.c`` and ``server.c``, ``server/request.c``) and of Debian 12's packages,
whose ``wine`` and ``wineserver`` in ``/usr/bin`` are shell scripts around the programs in ``/usr/lib/wine``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from psengine_host.errors import printable_name
from psengine_host.toolkit.wine.errors import WineError, WineUnusable

__all__ = ["available", "command", "loader", "prefix", "server"]

ON_WINDOWS: Final = os.name == "nt"
"""Windows runs its programs by itself."""
_DIRECTORIES: Final = (
    "/usr/lib/wine",
    "/usr/lib64/wine",
    "/opt/wine-stable/bin",
    "/opt/wine-devel/bin",
    "/opt/wine-staging/bin",
    "/usr/local/bin",
)
"""Where distributions keep Wine beside ``PATH``: Debian and Ubuntu, Fedora, WineHQ's own packages, self-built."""
_LOADERS: Final = ("wine", "wine64", "wine-stable")
_SERVERS: Final = ("wineserver", "wineserver64", "wineserver-stable")


def available(environ: Mapping[str, str] | None = None) -> bool:
    """Whether Windows programs can be run here: on Windows itself, or with a Wine that is found.

    Args:
        environ: Where ``WINELOADER`` and ``PATH`` are looked up; ``os.environ`` by default.

    Returns:
        False also where ``WINELOADER`` names something that is no program.
    """
    if ON_WINDOWS:
        return True
    try:
        loader(environ)
    except WineError:
        return False
    return True


def command(args: Sequence[str | os.PathLike[str]], environ: Mapping[str, str] | None = None) -> list[str]:
    """The arguments that run a Windows program: those given, with Wine's loader in front.

    Args:
        args: The program (a POSIX path, or an NT path) and its arguments. They are not changed; what the program must
            find by name is for :func:`~psengine_host.toolkit.wine.as_nt_path`.
        environ: Where ``WINELOADER`` and ``PATH`` are looked up; ``os.environ`` by default.

    Returns:
        Text only, for ``subprocess``. On Windows nothing is put in front.

    Raises:
        WineError: There is no Wine, or ``WINELOADER`` names something that is no program.
    """
    words = [os.fspath(argument) for argument in args]
    return words if ON_WINDOWS else [str(loader(environ)), *words]


def loader(environ: Mapping[str, str] | None = None) -> Path:
    """Wine's loader: ``WINELOADER``, else ``wine`` or ``wine64`` in ``PATH``, else where distributions keep it.

    Args:
        environ: The variables; ``os.environ`` by default.

    Raises:
        WineError: There is no Wine, or ``WINELOADER`` names something that is no program.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("WINELOADER")
    if named:
        return _named("WINELOADER", named, environ)
    found = _in_path(_LOADERS, environ) or _in_directories(_LOADERS)
    if found is None:
        raise WineUnusable(
            "Wine is not installed: no 'wine' or 'wine64' in PATH; install it (Debian: apt-get install wine wine64) "
            "or name its program in WINELOADER"
        )
    return found


def server(environ: Mapping[str, str] | None = None) -> Path:
    """Wine's server: ``WINESERVER``, else the one beside the loader, else one in ``PATH`` or a distribution's place.

    Args:
        environ: The variables; ``os.environ`` by default.

    Raises:
        WineError: There is none, or ``WINESERVER`` or ``WINELOADER`` names something that is no program.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("WINESERVER")
    if named:
        return _named("WINESERVER", named, environ)
    program = loader(environ)
    return _companion(program, _SERVERS, environ, "wineserver")


def prefix(environ: Mapping[str, str] | None = None) -> str:
    """The folder in which Wine keeps its drives and registry: ``WINEPREFIX``, else ``~/.wine``. It may not exist yet.

    Args:
        environ: The variables; ``os.environ`` by default.

    Returns:
        An absolute path, as text: the conversion of a path takes little longer than making a ``Path``.

    Raises:
        WineUnusable: ``WINEPREFIX`` is not an absolute path, which Wine refuses; or there is no home directory.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("WINEPREFIX")
    if named:
        if named[0] != "/":
            raise WineUnusable(f"WINEPREFIX is {named!r}: Wine takes an absolute path only")
        return named
    home = environ.get("HOME") or os.path.expanduser("~")
    if not home.startswith("/"):
        raise WineUnusable("neither WINEPREFIX nor HOME is set to an absolute path; set WINEPREFIX")
    return f"{home.rstrip('/')}/.wine"


def _companion(program: Path, names: tuple[str, ...], environ: Mapping[str, str], what: str) -> Path:
    found = _beside(program, names) or _in_path(names, environ) or _in_directories(names)
    if found is None:
        raise WineUnusable(f"no {what} is beside {program}, nor in PATH; name it in {what.upper()}")
    return found


def _named(variable: str, named: str, environ: Mapping[str, str]) -> Path:
    """The program that a variable names, by its path or by a name in ``PATH``."""
    found = shutil.which(named, path=environ.get("PATH", os.defpath))
    if found is not None:
        return Path(found).absolute()
    if os.path.isdir(named):
        why = "is a folder"
    elif os.path.exists(named):
        why = "is not executable"
    else:
        why = "does not exist" if os.sep in named else "is not in PATH"
    raise WineUnusable(f"{variable} names {printable_name(named)}, which {why}; name a program of Wine, or unset it")


def _in_path(names: tuple[str, ...], environ: Mapping[str, str]) -> Path | None:
    path = environ.get("PATH", os.defpath)
    return next((Path(found).absolute() for name in names if (found := shutil.which(name, path=path))), None)


def _in_directories(names: tuple[str, ...]) -> Path | None:
    return _in_path(names, {"PATH": os.pathsep.join(_DIRECTORIES)})


def _beside(program: Path, names: tuple[str, ...]) -> Path | None:
    """A program in the loader's folder, or in that of the file that the loader is a link to."""
    folders = dict.fromkeys((str(program.parent), str(program.resolve().parent)))
    return _in_path(names, {"PATH": os.pathsep.join(folders)})
