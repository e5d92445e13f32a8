"""What crosses between the host and the processes of an engine: msgpack, decoded into these structs and nothing else.

Both ends are of one installation; an interpreter of another one is found out by the protocol's number.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from psengine_host.analysis import Analysis, EngineInfo
from psengine_host.artifacts import Handover
from psengine_host.bounty import Bounty
from psengine_host.errors import PsengineError
from psengine_host.outcome import Failure

__all__ = [
    "PROTOCOL",
    "FileFacts",
    "FileTask",
    "FromChild",
    "Hear",
    "Hearing",
    "Load",
    "Loaded",
    "Logged",
    "Misplaced",
    "NotStarted",
    "Open",
    "Ready",
    "Result",
    "Retiring",
    "SetUp",
    "SetUpDone",
    "Stop",
    "Task",
    "ToChild",
    "Withdraw",
    "Withdrawn",
    "decode_from_child",
    "decode_to_child",
    "encode",
]

PROTOCOL: Final = 1
"""The number of this protocol; raise it with any change to what crosses."""


class Misplaced(PsengineError):
    """A child has sent what it may not send at this point; the message says what, after 'it'."""


Registered: TypeAlias = tuple[str, str, str, str, str]
"""A registration: name, value, group, distribution, version."""


# --- host to child --------------------------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Load the engine; answered with :class:`Loaded` or :class:`NotStarted`.

    Args:
        protocol: The number of the host's protocol.
        engine: The engine's registration.
        wrappers: Those of the wrappers of ``analyze``.
        config: The engine's table of the settings, pickled: the host is trusted, and TOML has dates.
        log_level: From which level on records are wanted.
        max_result: Bytes of a result at most.
        max_memory: Bytes resident after which the process asks to be replaced; 0: never.
        close_timeout: Seconds that the author's callbacks have at the end.
        observer_timeout: Seconds that one call of a callback may take.
        folder: Where relative paths in the engine's variables start: the host's working directory.
    """

    protocol: int
    engine: Registered
    wrappers: tuple[Registered, ...]
    config: bytes
    log_level: int
    max_result: int
    max_memory: int
    close_timeout: float
    observer_timeout: float
    folder: bytes


class SetUp(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Be the engine's home: run ``setup``; answered with :class:`SetUpDone` or :class:`NotStarted`."""


class Open(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Be a worker: run ``open_session`` and ``info``; answered with :class:`Ready` or :class:`NotStarted`.

    Args:
        shared: What ``setup`` returned, as msgpack.
    """

    shared: bytes


class Task(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Judge a bounty; answered with :class:`Result`.

    Args:
        number: Its number, for the answer.
        limit: Seconds that it may take from its beginning.
        expires: When an answer is too late, whenever it begins, on the clock of ``time.monotonic``, which is one for
            all processes of a machine; None: never.
        bounty: The bounty; in JSON where msgpack has no integers of its size.
        delivery: The id of the webhook's delivery, for log records.
        artifact: The artifact.
    """

    number: int
    limit: float
    expires: float | None
    bounty: Bounty | bytes
    delivery: str | None
    artifact: Handover


class FileTask(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Open a local file, make its bounty and judge that; answered with :class:`Result`.

    Args:
        number: As of :class:`Task`.
        limit: As of :class:`Task`.
        path: The file.
        name: What to call it in messages.
        identify: Whether its type is wanted by somebody else than the engine.
        lifetime: Seconds until the bounty expires.
    """

    number: int
    limit: float
    path: bytes
    name: bytes
    identify: bool
    lifetime: float


class Withdraw(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Do not begin these tasks; answered with :class:`Withdrawn`.

    Args:
        numbers: Their numbers.
    """

    numbers: tuple[int, ...]


class Hear(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Call the author's callbacks with an outcome; answered with :class:`Hearing` when it is its turn.

    Args:
        bounty: As of :class:`Task`.
        analysis: The analysis, its bid apart.
        bid: The bid in digits: it may have more than 64 bits.
        failure: Why it was not judged.
    """

    bounty: Bounty | bytes
    analysis: Analysis
    bid: str | None
    failure: Failure | None


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """End the session, or tear down what ``setup`` made, and exit."""


ToChild: TypeAlias = Load | SetUp | Open | Task | FileTask | Withdraw | Hear | Stop

# --- child to host --------------------------------------------------------------------------------------------------


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The engine is loaded.

    Args:
        protocol: The number of the child's protocol.
        version: The version of its distribution.
        sets_up: Whether it has ``setup`` or ``update``, and so needs a home.
        hears: Whether it has ``on_success`` or ``on_error``, which run in a home as well.
    """

    protocol: int
    version: str
    sets_up: bool
    hears: bool


class NotStarted(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The engine cannot be loaded, or ``setup``, ``open_session`` or ``info`` failed.

    Args:
        reason: Why, in one line.
        traceback: The traceback.
    """

    reason: str
    traceback: str


class SetUpDone(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """``setup`` has run.

    Args:
        shared: What it returned, as msgpack.
    """

    shared: bytes


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The worker takes tasks.

    Args:
        info: What the engine says of itself.
    """

    info: EngineInfo


class FileFacts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a worker found out of a file that it opened.

    Args:
        sha256: Its SHA-256.
        size: Bytes.
        mimetype: Its type, where somebody wanted to know.
        expiration: When its bounty expires, in seconds since 1970.
    """

    sha256: str
    size: int
    mimetype: str | None
    expiration: float


class Result(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """What became of one task.

    Args:
        number: Its number.
        seconds: How long the engine took.
        analysis: What it answered, checked; its bid apart if that has more than 64 bits.
        bid: Such a bid, in digits.
        failure: Why there is no answer, or why the answer is one of the host's own.
        declined: Whether the engine was not asked: the artifact is of a type or size that it does not take.
        file: Of a :class:`FileTask`: what the file is.
        unreadable: Of a :class:`FileTask`: why it cannot be read.
        prepare: Of a :class:`FileTask`: seconds for opening, hashing and identifying.
    """

    number: int
    seconds: float
    analysis: Analysis | None = None
    bid: str | None = None
    failure: Failure | None = None
    declined: bool = False
    file: FileFacts | None = None
    unreadable: str | None = None
    prepare: float = 0.0


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """These tasks were not begun, and will not be.

    Args:
        numbers: Their numbers.
    """

    numbers: tuple[int, ...]


class Retiring(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The process wants to be replaced; it begins nothing more.

    Args:
        reason: Why, in one line.
    """

    reason: str


class Logged(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A log record.

    Args:
        level: Its level.
        logger: The name of its logger.
        message: Its message.
        traceback: The traceback that goes with it, or an empty text.
        bounty: The id of the bounty in hand, as text.
        delivery: The id of the webhook's delivery in hand.
        left_out: How many records before it were left out because there were too many; with the level 0 that is all.
        added: What its author added with ``extra=``, as JSON, or nothing.
    """

    level: int
    logger: str
    message: str
    traceback: str = ""
    bounty: str | None = None
    delivery: str | None = None
    left_out: int = 0
    added: bytes = b""


class Hearing(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The author's callbacks are being called with the next outcome; it is theirs now, whatever becomes of them."""


FromChild: TypeAlias = Loaded | NotStarted | SetUpDone | Ready | Result | Withdrawn | Retiring | Logged | Hearing

encode: Final = msgspec.msgpack.Encoder().encode
"""A message as bytes."""
decode_to_child: Final = msgspec.msgpack.Decoder(ToChild).decode
"""What the host sent; the child trusts it."""
decode_from_child: Final = msgspec.msgpack.Decoder(FromChild).decode
"""What a child sent; raises ``msgspec.MsgspecError`` for what is no such message."""
