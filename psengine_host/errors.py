"""Every error this package raises on purpose, as one tree.

::

    PsengineError
    ├── UsageError                what the caller asked for cannot be (exit code 2)
    │   ├── UnknownEngine         no engine of that name; names the nearest
    │   ├── AmbiguousEngine       several engines are installed and none was chosen
    │   └── SettingsError         a setting that is unknown, of the wrong type or out of range
    ├── InvalidValue              a value that cannot be born; names the field and the value
    │   ├── InvalidBounty
    │   ├── InvalidAnalysis
    │   └── InvalidBid
    ├── ArtifactError             an artifact that cannot be had: missing, unreadable, changed, too large
    │   ├── ArtifactUnavailable   the same, refused for its kind (device, socket, wrong scheme)
    │   └── SpoolFull             the same, because the spool has no room for it
    ├── EngineError               raised by an engine's author: the scanner is at fault
    │   └── EngineTimeout         the same, because the scanner took too long
    ├── EngineFault               raised by the host: an engine broke the contract or failed in a hook
    └── EngineBroken              an engine that cannot be loaded

Rooms add their own leaves beside what they describe (``FileTypeError`` in ``filetypes``, ``NetworkError`` in
``network``). Every message is one line that says what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "AmbiguousEngine",
    "ArtifactError",
    "ArtifactUnavailable",
    "EngineBroken",
    "EngineError",
    "EngineFault",
    "EngineTimeout",
    "InvalidAnalysis",
    "InvalidBid",
    "InvalidBounty",
    "InvalidValue",
    "PsengineError",
    "SettingsError",
    "SpoolFull",
    "UnknownEngine",
    "UsageError",
    "nearest",
    "one_line",
    "printable_name",
    "shown",
]

_SHOWN = 120
"""Characters of an offending value that an error message shows."""
_MAX_FOREIGN_LINE = 480
"""Characters of an exception's message at most, where the exception is none of ours."""
_MAX_LINE = 4096
"""Characters of a message of ours at most: room for the longest path."""


class PsengineError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(PsengineError):
    """What the caller asked for cannot be; the command line ends with exit code 2."""


class UnknownEngine(UsageError):
    """No engine of that name is installed.

    Args:
        name: The name asked for.
        known: The names there are.
    """

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(f"no engine is called {name!r}{nearest(name, self.known)}; 'psengine list-engines' shows all")

    def __reduce__(self) -> tuple[type[UnknownEngine], tuple[str, tuple[str, ...]]]:
        return type(self), (self.name, self.known)


class AmbiguousEngine(UsageError):
    """Several engines are installed and none was chosen."""


class SettingsError(UsageError):
    """A setting that is unknown, of the wrong type or out of range."""


class InvalidValue(PsengineError):
    """A value that cannot be born.

    Args:
        field: Where it stands, in the wire's spelling (``rules.max_allowed_bid``).
        value: The value as it came.
        reason: What is wrong with it, or what it must be.
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        self.field = field
        self.value = value
        self.reason = reason
        super().__init__(f"{field}: {reason}, got {shown(value)}")

    def __reduce__(self) -> tuple[type[InvalidValue], tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.reason)


class InvalidBounty(InvalidValue):
    """A bounty that cannot be taken."""


class InvalidAnalysis(InvalidValue):
    """An analysis that cannot be sent."""


class InvalidBid(InvalidValue):
    """A bid, a scale or a range that cannot be."""


class ArtifactError(PsengineError):
    """An artifact that cannot be had: missing, unreadable, changed while it was read, too large."""


class ArtifactUnavailable(ArtifactError):
    """An artifact of a kind that is not read: a device, a socket, a scheme that is not taken here."""


class SpoolFull(ArtifactError):
    """The spool has no room for an artifact: its files have the size that the setting ``spool.max_size`` allows."""


class EngineError(PsengineError):
    """For engine authors: the scanner is at fault (not running, timed out, out of memory).

    Raise it from any hook; the host answers ``unknown`` with the message as the reason.
    """


class EngineTimeout(EngineError):
    """For engine authors: the scanner took too long. Answered ``unknown`` as a timeout is, with the message."""


class EngineFault(PsengineError):
    """An engine broke the contract or failed in a hook; the cause is chained.

    Args:
        engine: The engine's name.
        hook: The hook that failed.
        message: What happened, in one line.
    """

    def __init__(self, engine: str, hook: str, message: str) -> None:
        self.engine = engine
        self.hook = hook
        self.message = message
        super().__init__(f"engine {engine}: {hook}: {message}")

    def __reduce__(self) -> tuple[type[EngineFault], tuple[str, str, str]]:
        return type(self), (self.engine, self.hook, self.message)


class EngineBroken(PsengineError):
    """An engine that cannot be loaded.

    Args:
        engine: The engine's name.
        distribution: The installed distribution, with its version.
        reason: Why, in one line.
    """

    def __init__(self, engine: str, distribution: str, reason: str) -> None:
        self.engine = engine
        self.distribution = distribution
        self.reason = reason
        super().__init__(f"engine {engine} ({distribution}) cannot be used: {reason}")

    def __reduce__(self) -> tuple[type[EngineBroken], tuple[str, str, str]]:
        return type(self), (self.engine, self.distribution, self.reason)


def shown(value: object) -> str:
    """A value as an error message shows it: one printable line of about 120 characters at most.

    Args:
        value: Anything, an engine's answer or a stranger's JSON included: however large, deep or ill-behaved it is,
            showing it costs little and raises nothing.
    """
    if type(value) is str or type(value) is bytes:
        # Cut before the repr: the value may be a data: URI of many megabytes.
        text = repr(value[:_SHOWN])
        return text if len(value) <= _SHOWN else f"{text}… ({len(value)} {'characters' if text[0] != 'b' else 'bytes'})"
    try:
        text = " ".join(_shortened(value).split())
    except (Exception, SystemExit):  # noqa: BLE001 - its own __repr__ fails, or an integer beyond sys.get_int_max_str_digits()
        text = f"an integer of {value.bit_length()} bits" if type(value) is int else f"a {type(value).__name__}"
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _shortened(value: object) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    from reprlib import Repr  # only an error needs it

    # Bounded in depth and breadth, so that no nesting exhausts the stack and no list the memory.
    brief = Repr()
    brief.maxlevel = 4
    brief.maxstring = brief.maxother = 2 * _SHOWN
    brief.maxlist = brief.maxtuple = brief.maxdict = 20
    return brief.repr(value)


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, unless it is one of ours, and its message.

    Args:
        error: Any exception, one whose own ``__str__`` fails included.
    """
    try:
        # Cut before the split: an engine's message may be as long as a file.
        message = " ".join(str(error)[: 2 * _MAX_LINE].split())
    except (Exception, SystemExit):  # noqa: BLE001 - an engine's exception may do anything when it is shown
        message = "its message cannot be shown"
    limit = _MAX_LINE if isinstance(error, PsengineError) else _MAX_FOREIGN_LINE
    if len(message) > limit:
        message = message[:limit] + "…"
    if isinstance(error, PsengineError):
        return message or type(error).__name__
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known name, or nothing."""
    import difflib  # only an error needs it

    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def printable_name(name: str) -> str:
    """A file's name on one line: it may hold anything, line ends and undecodable bytes included."""
    return name if name.isprintable() else ascii(name)
