"""What the command line accepts for an annotation of a function's parameter."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import os
import pathlib
import types
import typing
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Accepted", "accepted"]


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """What the command line accepts for one parameter.

    Attributes:
        type: Converts one value.
        collect: For an annotation that takes any number of values: makes the collection. Otherwise None.
        is_bool: Whether it is yes or no, which an option spells ``--deep/--no-deep``.
    """

    type: click.ParamType[Any]
    collect: Callable[[Iterable[Any]], Any] | None = None
    is_bool: bool = False


class _Bytes(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """The very bytes of the command line."""

    name = "bytes"

    def convert(self, value: str | bytes, param: click.Parameter | None, ctx: click.Context | None) -> bytes:  # noqa: ARG002
        """Undo what Python did to decode the argument."""
        return value if isinstance(value, bytes) else os.fsencode(value)


class _FirstOf(click.ParamType):  # type: ignore[type-arg]
    """The first of several types that takes the value, in the order of the annotation."""

    def __init__(self, alternatives: tuple[click.ParamType[Any], ...]) -> None:
        self.alternatives = alternatives
        self.name = "|".join(alternative.name for alternative in alternatives)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Ask each alternative."""
        reasons = []
        for alternative in self.alternatives:
            try:
                return alternative.convert(value, param, ctx)
            except click.BadParameter as error:
                reasons.append(error.message)
        raise click.BadParameter(" ".join(reasons), ctx=ctx, param=param)


_PLAIN: dict[Any, click.ParamType[Any]] = {
    bool: click.BOOL,
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    bytes: _Bytes(),
}

_COLLECTIONS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
}


def accepted(annotation: object) -> Accepted:
    """What the command line accepts for an annotation.

    Args:
        annotation: An evaluated annotation. ``Annotated``, ``NewType``, ``Final``, type aliases and ``| None`` are
            looked through. Of a union the first alternative that takes a value is used. An enumeration is given by the
            name of a member, in any case; a ``Literal`` as it is written.

    Returns:
        What is accepted; text for an annotation that says nothing to a command line.
    """
    annotation = _bare(annotation)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union([alternative for alternative in arguments if alternative is not types.NoneType])
    if origin is typing.Literal:
        choices = [choice for choice in arguments if choice is not None]
        return Accepted(click.Choice(choices) if choices else click.STRING)
    container = origin or annotation
    if container is tuple and arguments and arguments[-1] is not Ellipsis:
        return Accepted(click.Tuple([_one(argument, groups=False) for argument in arguments]))
    if isinstance(container, type) and container in _COLLECTIONS:
        return Accepted(_one(arguments[0] if arguments else str), collect=_COLLECTIONS[container])
    return Accepted(_plain(container), is_bool=annotation is bool)


def _bare(annotation: object) -> object:
    """An annotation without what only type checkers read."""
    while True:
        if typing.get_origin(annotation) in (typing.Annotated, typing.Final, typing.ClassVar):
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # ``type X = …``, Python 3.12
            annotation = annotation.__value__  # type: ignore[attr-defined]
        elif isinstance(annotation, typing.TypeVar) and annotation.__bound__ is not None:
            annotation = annotation.__bound__
        else:
            return annotation


def _union(alternatives: list[object]) -> Accepted:
    shapes = [accepted(alternative) for alternative in alternatives]
    if not shapes:
        return Accepted(click.STRING)
    if len(shapes) == 1:
        return shapes[0]
    for shape in shapes:
        if shape.collect is not None:  # ``str | list[str]``: one value is a list of one
            return shape
    return Accepted(_FirstOf(tuple(shape.type for shape in shapes if not shape.type.is_composite)))


def _one(annotation: object, *, groups: bool = True) -> click.ParamType[Any]:
    """The type that converts one element of a collection; text for what is a collection itself."""
    shape = accepted(annotation)
    return click.STRING if shape.collect is not None or (shape.type.is_composite and not groups) else shape.type


def _plain(annotation: object) -> click.ParamType[Any]:
    """The type that converts one value of a class."""
    if not isinstance(annotation, type):
        return click.STRING
    if issubclass(annotation, enum.Enum):
        members = list(annotation)
        return click.Choice(members, case_sensitive=False) if members else click.STRING
    if issubclass(annotation, pathlib.PurePath) or annotation is os.PathLike:
        return click.Path(path_type=annotation if issubclass(annotation, pathlib.Path) else pathlib.Path)
    return _PLAIN.get(annotation, click.STRING)
