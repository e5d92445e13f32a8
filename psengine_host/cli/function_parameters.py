"""What stands on the command line for each parameter of a function: arguments and options."""

from __future__ import annotations

import dataclasses
import enum
import os
from typing import TYPE_CHECKING, Any

import click

from psengine_host.cli.function_types import Accepted, accepted
from psengine_host.errors import PsengineError, shown

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Iterable

__all__ = ["CommandParameter", "UnsupportedSignature", "dashed", "explained", "parameters_of", "underscores_too"]


class UnsupportedSignature(PsengineError):
    """A function that no command can be made of.

    Args:
        function: Its name and where it is.
        reason: What is in the way, and what to write instead.
    """

    def __init__(self, function: str, reason: str) -> None:
        self.function = function
        self.reason = reason
        super().__init__(f"{function}: {reason}")


@dataclasses.dataclass(frozen=True, slots=True)
class CommandParameter:
    """A parameter of the function and what stands for it on the command line.

    Attributes:
        parameter: Of the function.
        collect: Makes the collection that the function takes of the values that were given; None for one value.
        on_command_line: The argument or option, which has the same name.
    """

    parameter: inspect.Parameter
    collect: Callable[[Iterable[Any]], Any] | None
    on_command_line: click.Parameter


def dashed(name: str) -> str:
    """A Python name as the command line spells it."""
    return name.strip("_").replace("_", "-")


def parameters_of(
    signature: inspect.Signature, label: str, explanations: dict[str, str]
) -> tuple[CommandParameter, ...]:
    """What stands on the command line for each parameter.

    Args:
        signature: Of the function, its annotations evaluated.
        label: How errors name the function.
        explanations: What the help says of each parameter, by name.

    Returns:
        One for each parameter, in the order of the signature.

    Raises:
        UnsupportedSignature: A parameter is of a kind that a command line cannot give.
    """
    parts: list[CommandParameter] = []
    taken: dict[str, str] = {"help": "--help itself"}
    variadic: str | None = None
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise UnsupportedSignature(
                label, f"**{parameter.name} has no names for a command line: make each a keyword-only parameter"
            )
        accepts = _accepts(parameter)
        # A single optional argument after any number of them would take the last of those.
        optional_after_many = variadic is not None and parameter.default is not parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY or optional_after_many:
            option = _option(parameter, accepts, explanations[parameter.name])
            _refuse_taken(option, parameter, label, taken)
            parts.append(CommandParameter(parameter, accepts.collect, option))
            continue
        if parameter.kind is parameter.VAR_POSITIONAL or accepts.collect is not None:
            _refuse_groups(parameter, accepts, label)
            if variadic is not None:
                raise UnsupportedSignature(
                    label,
                    f"{variadic} and {parameter.name} both take any number of arguments: make one keyword-only",
                )
            variadic = parameter.name
        parts.append(CommandParameter(parameter, accepts.collect, _argument(parameter, accepts)))
    return tuple(parts)


def _accepts(parameter: inspect.Parameter) -> Accepted:
    """By the annotation; without one by the type of the default."""
    if parameter.annotation is not parameter.empty:
        return accepted(parameter.annotation)
    if parameter.default is parameter.empty or parameter.default is None:
        return accepted(str)
    return accepted(type(parameter.default))


def _refuse_groups(parameter: inspect.Parameter, accepts: Accepted, label: str) -> None:
    nested = parameter.kind is parameter.VAR_POSITIONAL and accepts.collect is not None
    if nested or accepts.type.is_composite:
        raise UnsupportedSignature(
            label, f"{parameter.name} takes any number of groups of values: a command line has no brackets for them"
        )


def _argument(parameter: inspect.Parameter, accepts: Accepted) -> click.Argument:
    many = parameter.kind is parameter.VAR_POSITIONAL or accepts.collect is not None
    argument = click.Argument(
        [parameter.name],
        type=accepts.type,
        nargs=-1 if many else None,
        required=parameter.kind is not parameter.VAR_POSITIONAL and parameter.default is parameter.empty,
    )
    argument.name = parameter.name  # click makes it lower-case
    return argument


def _option(parameter: inspect.Parameter, accepts: Accepted, explanation: str) -> click.Option:
    long = f"--{dashed(parameter.name).lower()}"
    required = parameter.default is parameter.empty
    # Not given must be None; but since click 8.3 a default of None satisfies a required option.
    default: dict[str, Any] = {} if required else {"default": None}
    return click.Option(
        [f"{long}/--no-{long[2:]}" if accepts.is_bool else long, parameter.name],
        type=accepts.type,
        required=required,
        multiple=accepts.collect is not None,
        help=explanation or None,
        **default,
    )


def _refuse_taken(option: click.Option, parameter: inspect.Parameter, label: str, taken: dict[str, str]) -> None:
    for spelling in (*option.opts, *option.secondary_opts):
        name = spelling.removeprefix("--")
        if name in taken or not name:
            holder = taken.get(name, "nothing")
            raise UnsupportedSignature(label, f"{parameter.name} would be {spelling}, which is {holder}: rename it")
        taken[name] = f"that of {parameter.name}"


def underscores_too(parts: tuple[CommandParameter, ...]) -> Callable[[str], str]:
    """A ``token_normalize_func`` that takes ``--dry_run`` for ``--dry-run``.

    Args:
        parts: The parameters of the command.

    Returns:
        A function that changes nothing but the options' own names.
    """
    dashed: dict[str, str] = {}
    for part in parts:
        if isinstance(part.on_command_line, click.Option):
            name = part.parameter.name
            long = part.on_command_line.opts[0].removeprefix("--")
            dashed |= {name: long, f"no_{name}": f"no-{long}"}

    def normalize(token: str) -> str:
        return dashed.get(token, token)

    return normalize


def explained(text: str, parameter: inspect.Parameter) -> str:
    """What the help says of a parameter.

    Args:
        text: What the docstring says.
        parameter: Of the function.

    Returns:
        The text, and the default if that can be shown in a few words.
    """
    default = parameter.default
    if isinstance(default, enum.Enum):
        shown_default = default.name.lower()
    elif isinstance(default, bool):
        shown_default = "yes" if default else "no"
    elif isinstance(default, int | float):
        shown_default = shown(default)
    elif isinstance(default, str | os.PathLike) and str(default):
        shown_default = str(default)
    elif isinstance(default, list | tuple) and default and all(isinstance(item, str | int | float) for item in default):
        shown_default = ", ".join(map(str, default))
    else:
        return text
    return f"{text}  [default: {shown_default}]".strip()
