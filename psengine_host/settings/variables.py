"""The environment variables of the settings: one name each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from psengine_host.settings.sections import KINDS, SECTIONS

__all__ = ["CONFIG_VARIABLE", "LENIENT", "SHORTEST_BEGINNING", "VARIABLES", "misspelt"]

CONFIG_VARIABLE: Final = "PSENGINE_CONFIG"

_NAMED: Final = {
    "enabled_engines": "PSENGINE_ENGINES",
    "disabled_engines": "PSENGINE_DISABLED_ENGINES",
    "host.discard_expired_bounties": "PSENGINE_DISCARD_EXPIRED_BOUNTIES",
    "log.level": "LOG_LEVEL",
    "log.format": "LOG_FORMAT",
    "celery.broker_url": "PSENGINE_BROKER_URL",
    "celery.broker_vhost": "PSENGINE_BROKER_VHOST",
    "celery.worker_concurrency": "PSENGINE_WORKER_CONCURRENCY",
    "celery.delivery_task": "PSENGINE_DELIVERY_TASK",
}
"""Variables that have a name of their own: that of the wire format's environment, shared with other programs."""


def _usual(setting: str) -> str:
    return f"PSENGINE_{setting.replace('.', '_').upper()}"


VARIABLES: Final[Mapping[str, str]] = {setting: _NAMED.get(setting, _usual(setting)) for setting in KINDS}
"""The variable of each setting."""

LENIENT: Final = ("log.level", "log.format")
"""Settings whose variables belong to other programs too: what cannot be in them is passed over, never an error."""

SHORTEST_BEGINNING: Final = 3
"""Characters of a name at least, for it to be taken as the beginning of a longer one."""

_OTHERS: Final = (CONFIG_VARIABLE, "PSENGINE_DEBUG")
_PREFIX: Final = "PSENGINE_"
_ALIKE: Final = 0.8
"""How much alike two names must be. Much: there are variables of tests, of wrappers, and of other versions."""


def misspelt(names: Iterable[str]) -> list[tuple[str, str]]:
    """Variables that look like a misspelt one of ours.

    Args:
        names: The names of all variables there are.

    Returns:
        Each such name with the one that was probably meant.
    """
    known = {*VARIABLES.values(), *_OTHERS}
    unknown = [name for name in names if name.startswith(_PREFIX) and name not in known]
    if not unknown:
        return []
    import difflib

    meant = {_usual(setting): variable for setting, variable in VARIABLES.items()} | {name: name for name in known}
    # Without the prefix: all that begin with it are alike.
    endings = {name.removeprefix(_PREFIX): variable for name, variable in meant.items()}
    found = []
    for name in sorted(unknown):
        alike = difflib.get_close_matches(name.removeprefix(_PREFIX)[:64], endings, n=1, cutoff=_ALIKE)
        longer = alike or [ending for ending in endings if _begins(name.removeprefix(_PREFIX), ending)]
        if longer:
            found.append((name, endings[longer[0]]))
    return found


def _begins(name: str, known: str) -> bool:
    """Whether a name is the beginning of a known one, section and all: ``NETWORK_PROXY``, not ``NETWORK``."""
    section, _, rest = name.partition("_")
    return section.lower() in SECTIONS and len(rest) >= SHORTEST_BEGINNING and known.startswith(f"{name}_")
