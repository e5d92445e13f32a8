"""Files that come with an engine's package: rules, tables, a licence text; also where the package is in a zip."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType

from psengine_host.errors import EngineError, shown

__all__ = ["ResourceError", "read_resource", "resource_path"]


class ResourceError(EngineError):
    """A packaged file that cannot be had; the message names package and file."""


def read_resource(package: str | ModuleType, *names: str) -> bytes:
    """The content of a file that comes with a package.

    Args:
        package: The package, or its name (``"psengine_nano"``); it is imported.
        names: The file's name, or its path, in one piece with slashes or in several.

    Raises:
        ResourceError: There is no such package, or no such file in it.
    """
    resource, where = _resource(package, names)
    try:
        return resource.read_bytes()
    except OSError as error:
        raise ResourceError(f"cannot read {where}: {error.strerror or error}") from error


@contextmanager
def resource_path(package: str | ModuleType, *names: str) -> Iterator[Path]:
    """A path to a file or a folder that comes with a package, for programs that want one.

    It is the file itself where the package is installed as files, as it nearly always is. From a zip it is a copy in a
    private folder, which is removed at the end of the ``with`` block; a copy is not executable.

    Args:
        package: The package, or its name (``"psengine_nano"``); it is imported.
        names: The name, or the path, in one piece with slashes or in several.

    Yields:
        The path.

    Raises:
        ResourceError: There is no such package, or no such file in it, or it cannot be copied.
    """
    resource, where = _resource(package, names)
    with ExitStack() as stack:
        if isinstance(resource, Path):
            path = resource
        else:
            import tempfile

            try:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="psengine-resource-")))
                path = folder / resource.name
                _copy(resource, path)
            except OSError as error:
                raise ResourceError(f"cannot copy {where}: {error.strerror or error}") from error
        yield path


def _resource(package: str | ModuleType, names: tuple[str, ...]) -> tuple[Traversable, str]:
    """A packaged file that is there, and what to call it in an error."""
    from importlib.resources import files

    module = _imported(package)
    parts = [part for name in names for part in name.split("/")]
    if not parts or any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        raise ResourceError(
            f"{shown('/'.join(names))} names no file in package {module.__name__}: write a path from it"
        )
    path = "/".join(parts)
    resource = files(module)
    for part in parts:
        resource = resource.joinpath(part)
    if not _is_there(resource):
        message = f"package {module.__name__} has no file {shown(path)}"
        raise ResourceError(f"{message}; see that it is among the package's data when it is built")
    return resource, f"{shown(path)} of package {module.__name__}"


def _is_there(resource: Traversable) -> bool:
    try:
        return resource.is_file() or resource.is_dir()
    except OSError:  # a name that is too long for the file system
        return False


def _imported(package: str | ModuleType) -> ModuleType:
    if isinstance(package, ModuleType):
        module = package
    else:
        try:
            module = importlib.import_module(package)
        except (ImportError, ValueError, TypeError) as error:
            raise ResourceError(f"package {shown(package)} cannot be imported: {error}") from error
    if not hasattr(module, "__path__"):
        message = f"{module.__name__} is a single module, which has no files beside it"
        raise ResourceError(f"{message}; make it a package: a folder with __init__.py")
    return module


def _copy(resource: Traversable, path: Path) -> None:
    if resource.is_dir():
        path.mkdir(mode=0o700)
        for item in resource.iterdir():
            _copy(item, path / item.name)
    else:
        path.write_bytes(resource.read_bytes())
