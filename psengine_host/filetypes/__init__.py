"""What kind of file an artifact is, and which kinds an engine takes.

Three parts: :mod:`~psengine_host.filetypes.libmagic` names the type of a file or of bytes,
:mod:`~psengine_host.filetypes.aliases` maps the many names of one type to one, and
:mod:`~psengine_host.filetypes.categories` groups types as PolySwarm's table does. Importing this package loads
neither libmagic nor its database; the first identification does.
"""

from __future__ import annotations

from psengine_host.filetypes.aliases import canonical, names_of
from psengine_host.filetypes.categories import (
    CATEGORIES,
    Category,
    UnknownCategory,
    all_categories,
    categories_of,
    category,
    takes,
)
from psengine_host.filetypes.libmagic import FileTypeError, identify_bytes, identify_descriptor, identify_path

__all__ = [
    "CATEGORIES",
    "Category",
    "FileTypeError",
    "UnknownCategory",
    "all_categories",
    "canonical",
    "categories_of",
    "category",
    "identify_bytes",
    "identify_descriptor",
    "identify_path",
    "names_of",
    "takes",
]
