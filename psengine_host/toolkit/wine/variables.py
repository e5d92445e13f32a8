"""The environment of a Windows program that Wine runs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from psengine_host.toolkit.wine import loader

__all__ = ["environment"]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program that Wine runs.

    ``WINEPREFIX`` is set to what holds; ``WINELOADER`` and ``WINESERVER``, if set, are made absolute. ``WINEDEBUG`` is
    ``-all`` unless set, so that Wine's own messages are not mixed into the program's errors; ``WINEDLLOVERRIDES`` takes
    .NET and the HTML engine away unless set, so that Wine does not ask, in a window that nobody sees, whether to fetch
    them. All else (``LC_ALL``, ``TZ``, ``DISPLAY``) stays as it is.

    Args:
        env: The whole environment to begin with; ``os.environ`` by default.

    Returns:
        A new dictionary. On Windows it is ``env`` as it came.

    Raises:
        WineError: ``WINELOADER`` or ``WINESERVER`` names no program, or ``WINEPREFIX`` is not absolute.
    """
    given = os.environ if env is None else env
    result = dict(given)
    if loader.ON_WINDOWS:
        return result
    result["WINEPREFIX"] = str(loader.prefix(given))
    if given.get("WINELOADER"):
        result["WINELOADER"] = str(loader.loader(given))
    if given.get("WINESERVER"):
        result["WINESERVER"] = str(loader.server(given))
    # Debian's script around Wine looks into WINEDEBUG too, and advises about packages on stderr unless it says -all.
    result["WINEDEBUG"] = given.get("WINEDEBUG") or "-all"
    result["WINEDLLOVERRIDES"] = given.get("WINEDLLOVERRIDES") or "mscoree=d;mshtml=d"
    return result
