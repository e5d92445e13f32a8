"""An engine's own functions as commands, made from their signatures, annotations and docstrings.

::

    def scan_file(path: Path, *, deep: bool = False, limit: int = 10) -> dict[str, object]: ...

becomes ``scan-file [--deep/--no-deep] [--limit INTEGER] PATH``. The rules:

====================================  =======================================================================
parameter                             on the command line
====================================  =======================================================================
positional, no default                a required argument
positional, with a default            an optional argument (an option if it follows one that takes any number)
``*args``                             any number of arguments
keyword-only                          ``--long-option``, required without a default
keyword-only ``bool``                 ``--deep/--no-deep``
keyword-only list, tuple, set, …      an option that may be given several times
``tuple[int, str]``                   two values together
``**kwargs``                          refused: a command line needs names
====================================  =======================================================================

What is not given has the function's own default, which need not be anything that a command line could give. An
argument that begins with a dash goes after ``--``.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from psengine_host.cli.function_docs import describe
from psengine_host.cli.function_parameters import (
    UnsupportedSignature,
    dashed,
    explained,
    parameters_of,
    underscores_too,
)
from psengine_host.cli.function_results import print_result, render_result
from psengine_host.errors import PsengineError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "DuplicateCommand",
    "UnsupportedSignature",
    "command_from_function",
    "group_from_functions",
    "one_line_errors",
    "render_result",
]

_T = TypeVar("_T")


class DuplicateCommand(PsengineError):
    """Two functions that would be the same command."""


class FunctionCommand(click.Command):
    """A command whose help explains its arguments too, not only its options."""

    argument_help: Mapping[str, str] = MappingProxyType({})
    """What each argument is, by parameter name."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments that are explained, then the options."""
        rows = [
            (param.make_metavar(ctx), self.argument_help[param.name])
            for param in self.get_params(ctx)
            if isinstance(param, click.Argument) and param.name is not None and self.argument_help.get(param.name)
        ]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)


class FunctionsGroup(click.Group):
    """Commands in the order they were declared in, with dashes or underscores in their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of declaration."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, ``scan-file`` and ``scan_file`` alike."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, dashed(cmd_name))


def command_from_function(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    call: Callable[[Callable[[], Any]], Any] | None = None,
) -> click.Command:
    """Make a command of a function.

    Args:
        function: Any callable with a signature: a function, a bound method, a ``functools.partial``.
        name: The command's name; by default the function's, with dashes for underscores.
        call: Runs each piece of the engine's code (the function, and every step of an iterator that it returns) and
            returns what it returned: the place for ``--debug``, for a log, for a time limit. By default
            :func:`one_line_errors`.

    Returns:
        A command that parses, calls the function once and prints its result (:func:`render_result`).

    Raises:
        UnsupportedSignature: The function takes what a command line cannot give.
    """
    label = _label(function)
    name = _command_name(function, label) if name is None else name
    signature = _signature(function, label)
    description = describe(inspect.getdoc(_target(function)))
    explanations = {
        parameter.name: explained(description.arguments.get(parameter.name, ""), parameter)
        for parameter in signature.parameters.values()
    }
    parts = parameters_of(signature, label, explanations)
    run = call or one_line_errors

    def callback(**values: Any) -> None:  # noqa: ANN401 - what click converted
        bound = signature.bind_partial()
        for part in parts:
            value = values[part.parameter.name]
            # Not given is None, or () where any number can be: then the function's own default holds.
            if value is not None and value != ():
                bound.arguments[part.parameter.name] = value if part.collect is None else part.collect(value)
        bound.apply_defaults()
        print_result(lambda: function(*bound.args, **bound.kwargs), run)

    command = FunctionCommand(
        name,
        callback=callback,
        params=[part.on_command_line for part in parts],
        help=description.text or None,
        context_settings={"token_normalize_func": underscores_too(parts)},
    )
    command.argument_help = explanations
    return command


def group_from_functions(
    name: str,
    functions: Iterable[Callable[..., Any]],
    *,
    help: str | None = None,  # noqa: A002 - click's word for it
    call: Callable[[Callable[[], Any]], Any] | None = None,
) -> click.Group:
    """Make a group of commands of several functions.

    Args:
        name: The group's name.
        functions: The functions, in the order they are listed in.
        help: What the group's help says first.
        call: As in :func:`command_from_function`, for all of them.

    Returns:
        The group.

    Raises:
        UnsupportedSignature: A function takes what a command line cannot give.
        DuplicateCommand: Two functions would be the same command.
    """
    group = FunctionsGroup(name, help=help)
    labels: dict[str, str] = {}
    for function in functions:
        command = command_from_function(function, call=call)
        command_name = command.name or ""
        if command_name in labels:
            raise DuplicateCommand(
                f"{name}: two functions would be the command {command_name!r}: {labels[command_name]} and "
                f"{_label(function)}: rename one of them"
            )
        labels[command_name] = _label(function)
        group.add_command(command)
    return group


def one_line_errors(thunk: Callable[[], _T]) -> _T:
    """Run a function; what it raises becomes one line on stderr and exit code 1.

    Args:
        thunk: The call.

    Returns:
        What it returned.

    Raises:
        click.ClickException: The function raised; the cause is chained.
    """
    try:
        return thunk()
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        context = click.get_current_context(silent=True)
        where = f"{context.info_name}: " if context is not None and context.info_name else ""
        raise click.ClickException(f"{where}{one_line(error)}") from error


def _target(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that was written, under partials and decorators."""
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    if inspect.isroutine(target) or inspect.isclass(target):
        return target
    written: Callable[..., Any] = type(target).__call__  # an object with a __call__ method
    return written


def _label(function: Callable[..., Any]) -> str:
    """How errors name a function."""
    target = _target(function)
    return f"{getattr(target, '__module__', None) or 'builtins'}.{getattr(target, '__qualname__', repr(target))}()"


def _command_name(function: Callable[..., Any], label: str) -> str:
    written = getattr(_target(function), "__name__", "")
    name = dashed(written)
    if not name or written in ("<lambda>", "__call__"):
        raise UnsupportedSignature(label, "has no name of its own: define it with def, or give the command a name")
    return name


def _signature(function: Callable[..., Any], label: str) -> inspect.Signature:
    """The signature with its annotations evaluated; one that cannot be evaluated says nothing."""
    target = _target(function)
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise UnsupportedSignature(label, "is asynchronous: wrap it in a function that calls asyncio.run()")
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise UnsupportedSignature(label, "has no signature that can be read: wrap it in a function") from error
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    names = getattr(target, "__globals__", None) or vars(module or builtins)
    parameters = [
        parameter.replace(annotation=_evaluated(parameter.annotation, names))
        for parameter in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters)


def _evaluated(annotation: object, names: dict[str, Any]) -> object:
    if not isinstance(annotation, str):
        return annotation
    try:
        # One by one, not with eval_str=True: one name that only type checkers import would lose all annotations.
        return eval(annotation, names)  # noqa: S307 - the engine's own code, as the interpreter evaluates it
    except Exception:  # noqa: BLE001 - an annotation may be any expression, and fail in any way
        return inspect.Parameter.empty
