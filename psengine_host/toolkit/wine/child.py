"""The environment of a process of Wine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from psengine_host.toolkit.wine import loader

__all__ = ["child_environment"]

_LOCALE: Final = ("LC_ALL", "LC_CTYPE", "LANG")
"""Without any of them, as services are started, Wine takes arguments for ASCII and opens no file with another name."""


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that Wine is started with; nothing is started here.

    Args:
        environ: The whole environment to begin with; ``os.environ`` by default.

    Returns:
        A new dictionary. On Windows it is ``environ`` as it came.

    Raises:
        WineError: ``WINELOADER`` or ``WINESERVER`` names no program, or ``WINEPREFIX`` is not absolute.
    """
    given = os.environ if environ is None else environ
    result = dict(given)
    if loader.ON_WINDOWS:
        return result
    result["WINEPREFIX"] = loader.prefix(given)
    if given.get("WINELOADER"):
        result["WINELOADER"] = str(loader.loader(given))
    if given.get("WINESERVER"):
        result["WINESERVER"] = str(loader.server(given))
    # Errors of "virtual" are the exception: Wine says there that it has not begun at all (wine_did_not_begin).
    # Debian's script around Wine looks into WINEDEBUG too, and advises about packages on stderr unless it says -all.
    result["WINEDEBUG"] = given.get("WINEDEBUG") or "-all,err+virtual"
    result["WINEDLLOVERRIDES"] = given.get("WINEDLLOVERRIDES") or "mscoree=d;mshtml=d"
    if not any(given.get(variable) for variable in _LOCALE):
        result["LC_CTYPE"] = "C.UTF-8"
    return result
