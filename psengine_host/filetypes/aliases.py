"""The many names of one mimetype, mapped to one.

The canonical name of a type is the one of PolySwarm's table of categories; for a type that the table does not have
it is the name that the IANA registry, or else libmagic 5.46, uses. The other names come from older releases of
libmagic, the shared MIME database of freedesktop.org, the WHATWG MIME Sniffing standard (JavaScript) and what web
servers and mail programs send.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

__all__ = ["ALIASES", "canonical", "names_of"]

_LONGEST = 256
"""Characters of a name worth remembering: RFC 6838 allows 127 each side of the slash."""

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # Programs. Old libmagic called all that starts with MZ x-dosexec; 5.46 has a name for each kind.
        "application/x-dosexec": (
            "application/vnd.microsoft.portable-executable",
            "application/x-msdownload",
            "application/x-ms-dos-executable",
            "application/x-msdos-program",
            "application/x-ms-ne-executable",
            "application/x-ms-w3-executable",
            "application/x-ms-w4-executable",
            "application/x-lx-executable",
            "application/x-winexe",
            "application/x-exe",
            "application/exe",
            "application/dos-exe",
            "application/msdos-windows",
        ),
        "application/x-mach-binary": (
            "application/x-mach-o",
            "application/x-mach-o-executable",
            "application/x-mach-executable",
            "application/x-macho",
        ),
        "application/vnd.android.package-archive": ("application/x-apk", "application/apk"),
        "application/x-shockwave-flash": (
            "application/vnd.adobe.flash.movie",
            "application/x-shockwave-flash2-preview",
            "application/futuresplash",
            "application/x-futuresplash",
        ),
        # Archives and packages.
        "application/java-archive": ("application/x-java-archive", "application/x-jar", "application/jar"),
        "application/zip": (
            "application/x-zip",
            "application/x-zip-compressed",
            "application/x-compressed-zip",
            "application/zip-compressed",
        ),
        "application/gzip": (
            "application/x-gzip",
            "application/x-gunzip",
            "application/x-gzip-compressed",
            "application/gzip-compressed",
            "application/gzipped",
        ),
        "application/vnd.rar": ("application/x-rar", "application/x-rar-compressed", "application/rar"),
        "application/x-7z-compressed": ("application/x-7z", "application/7z", "application/x-7zip-compressed"),
        "application/x-bzip2": ("application/bzip2", "application/x-bz2", "application/x-bzip2-compressed"),
        "application/x-xz": ("application/xz", "application/x-xz-compressed"),
        "application/x-tar": ("application/tar", "application/x-gtar", "application/x-ustar"),
        "application/x-cpio": ("application/cpio",),
        "application/x-rpm": ("application/x-redhat-package-manager", "application/rpm"),
        "application/x-dpkg": (
            "application/vnd.debian.binary-package",
            "application/x-debian-package",
            "application/x-deb",
            "application/deb",
        ),
        # Text and scripts.
        "application/javascript": (
            "text/javascript",
            "application/x-javascript",
            "text/x-javascript",
            "application/ecmascript",
            "application/x-ecmascript",
            "text/ecmascript",
            "text/x-ecmascript",
            "text/jscript",
            "text/livescript",
            *(f"text/javascript1.{minor}" for minor in range(6)),
        ),
        "application/json": ("text/json", "text/x-json", "application/x-json"),
        "application/x-ndjson": ("application/ndjson", "application/jsonl", "application/x-jsonlines"),
        "application/x-httpd-php": ("text/x-php", "text/php", "application/x-php", "application/php"),
        "application/x-sh": ("text/x-shellscript", "application/x-shellscript", "text/x-sh", "application/x-bash"),
        "application/x-csh": ("text/x-csh", "text/x-script.csh"),
        "text/x-python": (
            "text/x-script.python",
            "text/x-script.phyton",  # as libmagic 5.3x spelt it
            "text/x-python3",
            "application/x-python",
        ),
        "application/vnd.coffeescript": ("text/coffeescript", "text/x-coffeescript", "application/coffeescript"),
        "text/xml": ("application/xml", "application/x-xml", "text/x-xml"),
        "text/csv": ("text/x-csv", "application/csv", "application/x-csv", "text/comma-separated-values"),
        # Documents.
        "application/pdf": ("application/x-pdf", "application/acrobat", "application/vnd.pdf"),
        "application/rtf": ("text/rtf", "application/x-rtf"),
        "application/msword": (
            "application/vnd.ms-word",
            "application/vnd.msword",
            "application/x-msword",
            "application/doc",
        ),
        "application/vnd.ms-excel": (
            "application/msexcel",
            "application/x-msexcel",
            "application/x-ms-excel",
            "application/x-excel",
            "application/excel",
        ),
        "application/vnd.ms-powerpoint": (
            "application/mspowerpoint",
            "application/x-mspowerpoint",
            "application/powerpoint",
        ),
        "application/vnd.oasis.opendocument.database": ("application/vnd.oasis.opendocument.base",),
        "application/x-abiword": ("application/abiword",),
        "text/calendar": ("text/x-vcalendar", "application/ics"),
        # Fonts and icons. libmagic 5.46 says sfnt for TrueType, and Microsoft's name for OpenType with CFF outlines.
        "font/ttf": (
            "font/sfnt",
            "application/font-sfnt",
            "application/x-font-ttf",
            "application/x-font-truetype",
            "font/truetype",
            "application/x-font-sfn",
        ),
        "font/otf": (
            "application/vnd.ms-opentype",
            "application/x-font-otf",
            "application/x-font-opentype",
            "font/opentype",
            "application/font-otf",
        ),
        "font/woff": ("application/font-woff", "application/x-font-woff"),
        "font/woff2": ("application/font-woff2", "application/x-font-woff2"),
        "application/vnd.ms-fontobject": ("application/x-font-eot", "font/eot"),
        "image/vnd.microsoft.icon": ("image/x-icon", "image/ico", "image/icon", "image/x-ico", "application/ico"),
        # Nothing known about the bytes, or no bytes.
        "application/octet-stream": ("application/x-octet-stream", "application/binary", "application/x-binary"),
        "application/x-empty": ("inode/x-empty",),
    }
)
"""Canonical name -> its other names, all in lower case."""

_SPELT_WITH_CAPITALS = (
    "application/vnd.ms-excel.addin.macroEnabled.12",
    "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
    "application/vnd.ms-excel.sheet.macroEnabled.12",
    "application/vnd.ms-excel.template.macroEnabled.12",
    "application/vnd.ms-powerpoint.addin.macroEnabled.12",
    "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
    "application/vnd.ms-powerpoint.slideshow.macroEnabled.12",
    "application/vnd.ms-powerpoint.template.macroEnabled.12",
    "application/vnd.ms-word.document.macroEnabled.12",
    "application/vnd.ms-word.template.macroEnabled.12",
)
"""Canonical names that are not in lower case: a mimetype has no case, but the registry and the table write these so."""


@lru_cache(maxsize=1)
def _to_canonical() -> Mapping[str, str]:
    """Every known other spelling -> canonical name; made at first use."""
    other = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    return other | {name.lower(): name for name in _SPELT_WITH_CAPITALS}


def _bare(mimetype: str) -> str:
    """The type and subtype alone, in lower case."""
    return mimetype.partition(";")[0].strip().lower()


def canonical(mimetype: str) -> str:
    """The one name of a mimetype: parameters stripped, lower case, old and vendor names replaced.

    Args:
        mimetype: Any name, such as ``Text/RTF; charset=us-ascii``.

    Returns:
        The canonical name (``application/rtf``). A name that is not known comes back in lower case without its
        parameters; names are never refused, because a bounty may carry anything.
    """
    if len(mimetype) > _LONGEST:  # from the network, and not worth keeping
        return _canonical(_bare(mimetype))
    return _remembered(mimetype)


def _canonical(bare: str) -> str:
    return _to_canonical().get(bare, bare)


@lru_cache(maxsize=4096)
def _remembered(mimetype: str) -> str:
    return _canonical(_bare(mimetype))


def names_of(mimetype: str) -> tuple[str, ...]:
    """Every name that means the same type, the canonical one first.

    Args:
        mimetype: Any name of the type.
    """
    name = canonical(mimetype)
    return (name, *ALIASES.get(name, ()))
