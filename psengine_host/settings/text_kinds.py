"""What a setting takes that is a text: names, paths, addresses, secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from psengine_host.errors import InvalidValue, shown
from psengine_host.settings.kinds import Kind, Mistakes
from psengine_host.settings.secret import MASK, Secret

__all__ = ["Addresses", "BrokerUrl", "FilePath", "Names", "SecretText", "TaskTemplate", "Text", "masked_url"]

_TASK_TYPE: Final = "{task_type}"


class Text(Kind):
    """A text.

    Args:
        longest: Characters at most.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.range = f"1 to {longest} characters"

    def check(self, value: object) -> None:
        """Not empty, not too long, on one line."""
        if not isinstance(value, str) or not 0 < len(value) <= self.longest or not value.isprintable():
            raise ValueError(f"must be a text of 1 to {self.longest} printable characters, got {shown(value)}")


class TaskTemplate(Kind):
    """The name of a task, with ``{task_type}`` in it."""

    range = f"with `{_TASK_TYPE}` in it"

    def check(self, value: object) -> None:
        """With ``{task_type}`` and no other braces."""
        if not isinstance(value, str) or _TASK_TYPE not in value or re.search(r"[{}\s]", value.replace(_TASK_TYPE, "")):
            raise ValueError(f"must hold {_TASK_TYPE}, and neither other braces nor blanks, got {shown(value)}")


class FilePath(Kind):
    """A file, as an absolute path."""

    type = "path"
    range = "a file"

    def parse(self, value: object, folder: str) -> str:
        """Relative ones count from ``folder``, and ``~`` is the user's home."""
        self.check(value)
        try:
            return os.path.abspath(os.path.join(folder, os.path.expanduser(str(value))))
        except OSError:
            raise ValueError(f"{shown(value)} is relative, and the working directory is gone") from None

    def check(self, value: object) -> None:
        """A text that can be a file's name."""
        if not isinstance(value, str) or not value or "\0" in value or not _is_text(value):
            raise ValueError(f"must be the path of a file, got {shown(value)}")


class Names(Kind):
    """Names of engines."""

    type = "list of texts"
    range = "names of engines"

    def of_text(self, text: str) -> object:
        """Separated by commas."""
        return [name.strip() for name in text.split(",") if name.strip()]

    def parse(self, value: object, folder: str) -> object:  # noqa: ARG002
        """As a set."""
        return frozenset(_texts(value))

    def check(self, value: object) -> None:
        """Texts; not one text, whose letters would be taken for names."""
        _texts(value)

    def written(self, value: object) -> object:
        """As a list in order."""
        return sorted(_texts(value))

    plain = written


class Addresses(Kind):
    """Hosts, addresses and networks."""

    type = "list of texts"
    range = "hosts, addresses, networks ([forms](../explanation/network.md#what-an-operator-can-allow))"
    of_text = Names.of_text

    def parse(self, value: object, folder: str) -> tuple[str, ...]:  # noqa: ARG002
        """As they are written."""
        self.check(value)
        return tuple(_texts(value))

    def check(self, value: object) -> None:
        """Each one that the network's guard takes."""
        entries, reasons = _sorted_out(value)
        reasons += filter(None, map(_refused_address, entries))
        if reasons:
            raise Mistakes(reasons)

    def written(self, value: object) -> object:
        """As a list."""
        return _texts(value)

    plain = written


class SecretText(Kind):
    """A secret."""

    range = "not empty"
    secret = True

    def of_text(self, text: str) -> object:
        """As it is: blanks may belong to it."""
        return text

    def parse(self, value: object, folder: str) -> Secret:  # noqa: ARG002
        """Nothing of it is told where it cannot be."""
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str) or not value.strip() or not _is_text(value):
            raise ValueError("must be a text that is not empty")
        if value == MASK:
            raise ValueError("is the mask that 'psengine config show' writes; write the secret itself")
        return Secret(value)

    def check(self, value: object) -> None:
        """A :class:`Secret`."""
        if not isinstance(value, Secret):
            raise ValueError("must be a psengine_host.settings.Secret")

    def written(self, value: object) -> object:  # noqa: ARG002
        """Masked."""
        return MASK

    plain = written


class BrokerUrl(SecretText):
    """The URL of a message broker, or several for failover, separated by semicolons; it may hold a password."""

    type = "URL"
    schemes: Final = ("amqp", "amqps", "redis", "rediss", "redis+socket")
    range = ", ".join(f"`{scheme}:`" for scheme in schemes)

    def of_text(self, text: str) -> object:
        """Without blanks around it."""
        return text.strip()

    def parse(self, value: object, folder: str) -> Secret:  # noqa: ARG002
        """Nothing of it is told where it cannot be."""
        text = value.reveal() if isinstance(value, Secret) else value
        if not isinstance(text, str) or not _is_text(text) or not all(map(self._is_url, text.split(";"))):
            schemes = ", ".join(self.schemes)
            raise ValueError(f"must be a URL such as amqp://user:password@host:5672 (schemes: {schemes})")
        if f":{MASK}@" in text or f"?{MASK}" in text:
            raise ValueError("holds the mask that 'psengine config show' writes; write the password itself")
        return Secret(text)

    def check(self, value: object) -> None:
        """A :class:`Secret` that is such a URL."""
        super().check(value)
        self.parse(value, "")

    def _is_url(self, text: str) -> bool:
        from urllib.parse import urlsplit

        try:
            url = urlsplit(text)
            port = url.port  # a ValueError where it is none
        except ValueError:
            return False
        if url.scheme not in self.schemes or re.search(r"\s", text):
            return False
        return bool(url.path) if url.scheme == "redis+socket" else bool(url.hostname) and port != 0

    def written(self, value: object) -> object:
        """With its password masked."""
        return masked_url(value.reveal()) if isinstance(value, Secret) else MASK

    plain = written


def masked_url(text: str) -> str:
    """A text in which the passwords and queries of URLs are masked.

    Args:
        text: Any text; several URLs in it are all masked.
    """
    if "://" not in text:
        return text
    # Up to the last @: a password may hold anything. What is masked too much hurts nobody.
    text = re.sub(r"(://[^\s/?#:@]*):\S*@", rf"\1:{MASK}@", text)
    text = re.sub(r"(://)[^\s/?#@:]+@", rf"\1{MASK}@", text)  # a user alone is mostly a token
    return re.sub(r"(://[^\s?]*\?)\S+", rf"\1{MASK}", text)


def _texts(value: object) -> list[str]:
    entries, reasons = _sorted_out(value)
    if reasons:
        raise Mistakes(reasons)
    return entries


def _sorted_out(value: object) -> tuple[list[str], list[str]]:
    """The texts in a list, and what is wrong with each entry that is none."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of texts, got {shown(value)}")
    entries, reasons = [], []
    for entry in value:
        if isinstance(entry, str) and _is_text(entry):
            entries.append(entry)
        else:
            reasons.append(f"must be a list of texts, and one is {shown(entry)}")
    return entries, reasons


def _refused_address(entry: str) -> str:
    from psengine_host.network.guard import NetworkGuard

    try:
        NetworkGuard([entry])
    except InvalidValue as error:
        return f"{error.reason}, got {shown(entry)}"
    return ""


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: what a variable holds of other bytes cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
