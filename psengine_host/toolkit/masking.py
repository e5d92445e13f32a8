"""Secrets of a command, kept out of what is shown of it: error messages, ``repr`` and the log."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

__all__ = ["MASK", "Masking", "looks_secret"]

MASK: Final = "***"
"""What stands in the place of a secret."""

_SHOWN_ARGUMENT = 160
"""Characters of one argument at most, with its beginning and end: the end of a path tells most."""
_SHOWN_COMMAND = 400
"""Characters of a command at most."""
_SHORTEST_GUESSED = 6
"""Characters that a secret has at least where nobody has named it: masking every ``true`` would hide what happened."""
_LONG_WORDS = "password|passwd|passphrase|passcode|secret|token|credential|authorization"
"""What tells also at the end of another word, as in ``authtoken``."""
_WORDS = f"{_LONG_WORDS}|pass|pwd|auth|cookie|key|(?:api|access|private|licen[cs]e|serial|product|activation)[-_]?key"
_TELLING = re.compile(rf"(?:(?:^|[^a-z])(?:{_WORDS})|(?:{_LONG_WORDS}))s?(?:[^a-z]|$)", re.IGNORECASE)
_CAMEL_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OPTION = re.compile(
    r"(?P<name>(?:--?|/)?[a-z_][\w-]{0,63})(?:(?P<sign>[=:])(?P<value>.*))?", re.IGNORECASE | re.DOTALL
)
"""An option of Unix or Windows, or an assignment, with or without its value."""
_USER_INFO = re.compile(r"://([^/?#\s]*)@")


def looks_secret(name: str) -> bool:
    """Whether a variable of that name (``NANOAV_LICENSE_KEY``, ``DB_PASSWORD``) most likely holds a secret."""
    return _TELLING.search(_CAMEL_HUMP.sub("-", name).replace("_", "-")) is not None


class Masking:
    """What is to be hidden of one command.

    Args:
        arguments: The command's arguments. The value of an option with a telling name (``--password=…``,
            ``--api-key …``, ``/licensekey:…``), of an assignment (``TOKEN=…``), and user and password in a URL are
            secrets.
        secrets: Secrets that somebody has named.
        environ: The environment of the command: values of variables with telling names are secrets.
    """

    __slots__ = ("_arguments", "_environ", "_found", "_named")

    def __init__(
        self, arguments: Sequence[str], secrets: Iterable[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        self._arguments = arguments
        self._named = tuple(secrets)
        self._environ = environ or {}
        self._found: tuple[list[str], re.Pattern[str] | None] | None = None

    def _secrets(self) -> tuple[list[str], re.Pattern[str] | None]:
        """All secrets and a pattern of them; looked for when something is shown, which is seldom."""
        if self._found is None:
            guessed = [*_in_arguments(self._arguments), *_in_environment(self._environ)]
            found = {*filter(None, self._named), *(value for value in guessed if len(value) >= _SHORTEST_GUESSED)}
            # The longest first: one secret may be the beginning of another.
            secrets = sorted(found, key=len, reverse=True)
            self._found = secrets, re.compile("|".join(map(re.escape, secrets))) if secrets else None
        return self._found

    def masked(self, text: str, *, cut: bool = False) -> str:
        """A text without the secrets, and without user and password in any URL.

        Args:
            text: Any text.
            cut: Whether the text ends where it was cut: the beginning of a secret at the end is hidden too.
        """
        secrets, pattern = self._secrets()
        text = _without_user_info(text if pattern is None else pattern.sub(MASK, text))
        if cut:
            for secret in secrets:
                length = next((n for n in range(min(len(secret), len(text)), 0, -1) if text.endswith(secret[:n])), 0)
                if length:
                    return text[:-length] + MASK
        return text

    def command(self) -> str:
        """The command as one line of a shell, masked and shortened."""
        words, hidden = [], False
        for argument in self._arguments:
            words.append(MASK if hidden else _word(self.masked(_masked_argument(argument))))
            hidden = _names_next(argument)
        line = " ".join(words)
        return line if len(line) <= _SHOWN_COMMAND else f"{line[:_SHOWN_COMMAND]}… ({len(words)} words)"


def _in_arguments(arguments: Sequence[str]) -> list[str]:
    """The secret values among arguments; one that begins with a hyphen is another option, not a value."""
    found, hidden = [], False
    for argument in arguments:
        if hidden and not argument.startswith("-"):
            found.append(argument)
        hidden = _names_next(argument)
        option = _telling(argument)
        if option is not None and option["value"]:
            found.append(option["value"].strip())
        found += [info.partition(":")[2] for info in _USER_INFO.findall(argument)]
    return found


def _in_environment(environ: Mapping[str, str]) -> list[str]:
    """The secret values of an environment; the working directory's variables are called PWD too."""
    return [
        value
        for name, value in environ.items()
        if looks_secret(name) and name not in ("PWD", "OLDPWD") and not _is_place(value)
    ]


def _is_place(value: str) -> bool:
    """Whether a value only says where something is: ``NANOAV_SECRETS_HOME``, ``SSH_AUTH_SOCK``."""
    return value.startswith("/") and "\0" not in value and os.path.exists(value)


def _telling(argument: str) -> re.Match[str] | None:
    option = _OPTION.fullmatch(argument)
    return option if option is not None and looks_secret(option["name"]) else None


def _names_next(argument: str) -> bool:
    """Whether an argument is an option whose secret is the argument after it."""
    option = _telling(argument)
    return option is not None and option["sign"] is None and argument[0] in "-/"


def _masked_argument(argument: str) -> str:
    option = _telling(argument)
    if option is not None and option["value"]:
        return f"{option['name']}{option['sign']}{MASK}"
    return _without_user_info(argument)


def _without_user_info(text: str) -> str:
    return _USER_INFO.sub(f"://{MASK}@", text)


def _word(argument: str) -> str:
    if len(argument) > _SHOWN_ARGUMENT:
        half = _SHOWN_ARGUMENT // 2
        argument = f"{argument[:half]}…{argument[-half:]}"
    if not argument.isprintable():
        return ascii(argument)
    plain = argument.replace(MASK, "x")
    return argument if shlex.quote(plain) == plain else shlex.quote(argument)  # no quotes for the mask's sake
