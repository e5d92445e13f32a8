"""Reading ahead: files are read, hashed and identified before their turn comes, in a thread beside the scan's own.

Naming a file's type takes longer than all the rest that the host does for it, and libmagic works without the
interpreter's lock; so while some files are judged, others are identified. One thread does it, and the scan's own where
it would have to wait: a third would keep 10 MB more for libmagic's compiled expressions and be no faster.

Files come in small groups, because libmagic walks through 10 MB of database for each, which drives the interpreter's
code and data out of the processor's caches: what follows costs a third when it is done for several files in a row.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from psengine_host.artifacts import KEPT_IN_MEMORY, Artifact
from psengine_host.cli.inputs import FileInput, Input

if TYPE_CHECKING:
    from psengine_host.cli.fetching_ahead import Fetch

__all__ = ["Turn", "read_ahead"]

AT_FIRST: Final = 8
"""Inputs that are left alone at the beginning: a few files are not worth a thread."""
GROUP: Final = 16
"""Inputs that are read in a row."""
GROUP_BYTES: Final = 1 << 20
"""Bytes kept of one group at most, but for the file that goes beyond."""
GROUPS: Final = 4
"""Groups that are read and wait, at most; with the above, 8 MiB of files."""


class Turn:
    """One input, and what is known of it when its turn comes.

    Attributes:
        item: The input.
        engines: The names of the engines that judge it.
        artifact: Its artifact, read and identified; None where that has not been done, or failed.
        fetch: Its fetch, where that began before its turn.
        seconds: How long reading it took.
    """

    __slots__ = ("artifact", "engines", "fetch", "item", "seconds")

    def __init__(self, item: Input, engines: Sequence[str]) -> None:
        self.item = item
        self.engines = engines
        self.artifact: Artifact | None = None
        self.fetch: Fetch | None = None
        self.seconds = 0.0


def read_ahead(turns: Iterable[Turn], *, identify: bool = True) -> Iterator[Turn]:
    """The same turns in the same order, the files among them read and identified as far as memory allows.

    Only files: a stream is opened when its turn comes, and not before. A file that cannot be read has no artifact;
    whoever has it judged finds out why.

    Args:
        turns: The turns. Some are taken from it before those that went before have been judged, so it must not wait
            for anybody, as a list of files that somebody is still writing does.
        identify: Whether the files' types are named, too; otherwise they are hashed only.
    """
    turns = iter(turns)
    yield from itertools.islice(turns, AT_FIRST)
    if (first := next(turns, None)) is None:
        return
    turns = itertools.chain([first], turns)
    groups: deque[_Group] = deque()
    reader = _Reader(identify=identify)
    try:
        while True:
            while len(groups) < GROUPS and (taken := list(itertools.islice(turns, GROUP))):
                groups.append(_Group(taken))
                reader.put(groups[-1])
            if not groups:
                return
            group = groups.popleft()
            if not group.read.is_set():
                _help([group, *groups], reader)
                group.read.wait()
            while group.turns:
                yield group.turns.pop(0)
    finally:
        reader.stop()


class _Group:
    """Inputs that are read in a row, by whoever claims them first.

    Attributes:
        turns: The inputs.
        read: Set when they have been read.
    """

    __slots__ = ("_claimed", "read", "turns")

    def __init__(self, turns: list[Turn]) -> None:
        self.turns = turns
        self.read = threading.Event()
        self._claimed = threading.Lock()

    def claim(self) -> bool:
        """Whether nobody reads them yet; then it is the caller's to do."""
        return self._claimed.acquire(blocking=False)


class _Reader:
    """A thread that reads groups. Nobody waits for it: an interrupt must not hang on a slow disk."""

    def __init__(self, *, identify: bool = True) -> None:
        self.identify = identify
        self._groups: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        threading.Thread(target=self._run, name="psengine-read", daemon=True).start()

    def put(self, group: _Group) -> None:
        """Read a group when its turn comes."""
        self._groups.put(group)

    def stop(self) -> None:
        """Read no file more than the one that is being read."""
        self.stopped.set()
        self._groups.put(None)

    def _run(self) -> None:
        while (group := self._groups.get()) is not None and not self.stopped.is_set():
            if group.claim():
                try:
                    _read(group.turns, self.stopped, identify=self.identify)
                finally:  # whoever waits for it must not wait for ever
                    group.read.set()


def _help(groups: Sequence[_Group], reader: _Reader) -> None:
    """Read one group that the thread has not begun: the last, because the thread goes from the first on."""
    for group in reversed(groups):
        if group.claim():
            _read(group.turns, reader.stopped, identify=reader.identify)
            group.read.set()
            return


def _read(group: Sequence[Turn], stopped: threading.Event, *, identify: bool) -> None:
    kept = 0
    for turn in group:
        if kept >= GROUP_BYTES or stopped.is_set():
            return
        item = turn.item
        if not isinstance(item, FileInput):
            continue
        began = time.perf_counter()
        # Whatever is wrong is found out again when its turn comes, and told then.
        with contextlib.suppress(Exception):
            artifact = Artifact.from_path(item.path, name=item.name)
            known = artifact.mimetype if identify else artifact.sha256
            kept += artifact.size if known and artifact.size <= KEPT_IN_MEMORY else 0
            turn.artifact = artifact
        turn.seconds = time.perf_counter() - began
