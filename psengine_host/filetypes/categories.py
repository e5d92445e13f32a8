"""The categories of PolySwarm's table, and which files an engine takes.

The table is the one of the README of polyswarm_engine, section "Categories & Mimetypes". Its compositions (``linux``
is "elf +" …) are written as compositions here too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from psengine_host.errors import UsageError, nearest
from psengine_host.filetypes.aliases import canonical, names_of

__all__ = ["CATEGORIES", "Category", "UnknownCategory", "all_categories", "categories_of", "category", "takes"]

_LONGEST = 256
"""Characters of a mimetype whose answer is worth remembering."""

_ELF = frozenset(
    {
        "application/x-executable",
        # The table knows only the name above; libmagic tells these kinds apart, and they are ELF all the same.
        "application/x-coredump",
        "application/x-object",
        "application/x-pie-executable",
        "application/x-sharedlib",
    }
)
_MACH_O = frozenset({"application/x-mach-binary", "application/octet-stream"})
_PE = frozenset({"application/x-dosexec"})

CATEGORIES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "android": frozenset({"application/vnd.android.package-archive"}),
        "archives": frozenset(
            {
                "application/gzip",
                "application/java-archive",
                "application/octet-stream",
                "application/vnd.rar",
                "application/x-7z-compressed",
                "application/x-bzip2",
                "application/x-compressed-zip",
                "application/x-tar",
                "application/x-xz",
                "application/zip",
            }
        ),
        "elf": _ELF,
        "flash": frozenset({"application/x-shockwave-flash"}),
        "font": frozenset(
            {
                "application/vnd.ms-fontobject",
                "application/vnd.oasis.opendocument.text",  # as the table has it
                "font/otf",
                "font/ttf",
                "font/woff",
                "font/woff2",
            }
        ),
        "linux": _ELF | {"application/octet-stream", "application/x-cpio", "application/x-dpkg", "application/x-rpm"},
        "mach-o": _MACH_O,
        "office (abiword)": frozenset({"application/x-abiword"}),
        "office (etc)": frozenset({"text/calendar"}),
        "office (ms)": frozenset(
            {
                "application/msword",
                "application/vnd.ms-excel",
                "application/vnd.ms-excel.addin.macroEnabled.12",
                "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
                "application/vnd.ms-excel.sheet.macroEnabled.12",
                "application/vnd.ms-excel.template.macroEnabled.12",
                "application/vnd.ms-powerpoint",
                "application/vnd.ms-powerpoint.addin.macroEnabled.12",
                "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
                "application/vnd.ms-powerpoint.slideshow.macroEnabled.12",
                "application/vnd.ms-word.document.macroEnabled.12",
                "application/vnd.ms-word.template.macroEnabled.12",
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
                "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
                "application/vnd.openxmlformats-officedocument.presentationml.template",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
            }
        ),
        "office (open)": frozenset(
            {
                "application/vnd.oasis.opendocument.chart",
                "application/vnd.oasis.opendocument.chart-template",
                "application/vnd.oasis.opendocument.database",
                "application/vnd.oasis.opendocument.formula",
                "application/vnd.oasis.opendocument.graphics",
                "application/vnd.oasis.opendocument.graphics-template",
                "application/vnd.oasis.opendocument.image",
                "application/vnd.oasis.opendocument.image-template",
                "application/vnd.oasis.opendocument.presentation",
                "application/vnd.oasis.opendocument.presentation-template",
                "application/vnd.oasis.opendocument.spreadsheet",
                "application/vnd.oasis.opendocument.spreadsheet-template",
                "application/vnd.oasis.opendocument.text",
                "application/vnd.oasis.opendocument.text-master",
                "application/vnd.oasis.opendocument.text-template",
                "application/vnd.oasis.opendocument.text-web",
                "application/vnd.openofficeorg.extension",
            }
        ),
        "osx": _MACH_O | {"application/octet-stream"},
        "pdf": frozenset({"application/octet-stream", "application/pdf", "text/plain"}),
        "pe": _PE,
        "rtf": frozenset({"application/rtf", "text/plain"}),
        "text & script": frozenset(
            {
                "application/javascript",
                "application/json",
                "application/vnd.coffeescript",
                "application/x-csh",
                "application/x-httpd-php",
                "application/x-sh",
                "text/html",
                "text/plain",
                "text/x-python",
                "text/xml",
            }
        ),
        "winnt": _PE | {"application/octet-stream", "image/vnd.microsoft.icon", "text/plain"},
    }
)
"""Name of a category, as the table writes it and in its order -> the mimetypes in it."""


class UnknownCategory(UsageError):
    """No category has that name; the message suggests the nearest."""


class Category(NamedTuple):
    """One category of files.

    Attributes:
        name: As the table writes it: ``office (ms)``.
        slug: The same for command lines and settings: ``office-ms``.
        mimetypes: Canonical names of the types in it.
    """

    name: str
    slug: str
    mimetypes: frozenset[str]


def _slug(name: str) -> str:
    """``text & script``, ``Text_Script`` and ``text-script`` are one: words in lower case with hyphens between."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def all_categories() -> tuple[Category, ...]:
    """The categories in the order of the table, and last ``office``: all four office ones together."""
    return tuple(_by_slug().values())


@lru_cache(maxsize=1)
def _by_slug() -> Mapping[str, Category]:
    found = {_slug(name): Category(name, _slug(name), mimetypes) for name, mimetypes in CATEGORIES.items()}
    office = frozenset[str]().union(*(one.mimetypes for slug, one in found.items() if slug.startswith("office-")))
    return MappingProxyType(found | {"office": Category("office", "office", office)})


def category(name: str) -> Category:
    """The category of a name.

    Args:
        name: As the table writes it (``office (ms)``) or for command lines (``office-ms``), in any case, or ``office``.

    Raises:
        UnknownCategory: When there is none; the message names the nearest and all.
    """
    known = _by_slug()
    found = known.get(_slug(name))
    if found is None:
        message = f"unknown category {name!r}{nearest(_slug(name), known)} (known: {', '.join(known)})"
        raise UnknownCategory(message)
    return found


def categories_of(mimetype: str) -> tuple[str, ...]:
    """Names of the categories that a type is in, in the order of the table; empty when it is in none.

    Args:
        mimetype: Any name of the type.
    """
    name = canonical(mimetype)
    return tuple(title for title, mimetypes in CATEGORIES.items() if name in mimetypes)


def takes(mimetype: str, mimetypes: Collection[str], categories: Collection[str]) -> bool:
    """Whether an engine that declares these mimetypes and categories takes a file of this type.

    A file is taken when one of the mimetypes or one of the categories has it. An engine that declares neither takes
    everything. A declared mimetype may be any name of the type, and may hold ``*`` for any characters (``text/*``); a
    pattern matches a file when it matches any name of its type, so ``text/*`` takes JavaScript.

    Args:
        mimetype: Of the file, any name.
        mimetypes: What the engine takes, by type.
        categories: What the engine takes, by category.

    Raises:
        UnknownCategory: When a category has no such name.
    """
    # Tuples and frozen sets are looked up as they are: this is asked for every bounty.
    types = mimetypes if isinstance(mimetypes, tuple | frozenset) else tuple(mimetypes)
    groups = categories if isinstance(categories, tuple | frozenset) else tuple(categories)
    if len(mimetype) > _LONGEST:  # from the network, and not worth keeping
        return _taken(canonical(mimetype), types, groups)
    return _remembered(mimetype, types, groups)


def _taken(
    mimetype: str, mimetypes: tuple[str, ...] | frozenset[str], categories: tuple[str, ...] | frozenset[str]
) -> bool:
    exact, pattern = _declared(mimetypes, categories)
    if exact is None:
        return True
    if canonical(mimetype) in exact:
        return True
    return pattern is not None and any(pattern.fullmatch(name.lower()) for name in names_of(mimetype))


_remembered = lru_cache(maxsize=8192)(_taken)


@lru_cache(maxsize=512)
def _declared(
    mimetypes: tuple[str, ...] | frozenset[str], categories: tuple[str, ...] | frozenset[str]
) -> tuple[frozenset[str] | None, re.Pattern[str] | None]:
    """Canonical names, and one pattern for all wildcards; no names at all (None) when everything is taken."""
    if not mimetypes and not categories:
        return None, None
    exact = {canonical(one) for one in mimetypes if "*" not in one}
    for one in categories:
        exact.update(canonical(mimetype) for mimetype in category(one).mimetypes)
    wild = [re.escape(canonical(one)).replace(r"\*", ".*") for one in mimetypes if "*" in one]
    return frozenset(exact), re.compile("|".join(wild)) if wild else None
