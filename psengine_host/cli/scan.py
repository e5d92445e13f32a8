"""The loop of ``psengine analyze``: inputs in, rows out, one after another and in order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from psengine_host.artifacts import Artifact
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.cli.inputs import BadInput, FileInput, Input, RemoteInput, StreamInput, TextInput, UrlInput
from psengine_host.cli.resume import Done
from psengine_host.cli.rows import Row
from psengine_host.errors import ArtifactError, InvalidBounty, PsengineError, one_line
from psengine_host.host import Host
from psengine_host.outcome import Outcome

__all__ = ["Scan"]

MAX_BOUNTY_FILE: Final = 64 << 20
"""Bytes of a bounty file at most; a bounty may carry its artifact in a ``data:`` URI."""


class Scan:
    """Has each input judged by each engine.

    Args:
        host: The host.
        engines: The engines' names, in order.
        bounties: Whether the inputs are files that hold a bounty in JSON.
        deliver: Whether to send each bounty's answer to its ``response_url``.
        done: What an earlier run has written already.
    """

    def __init__(
        self,
        host: Host,
        engines: Sequence[str],
        *,
        bounties: bool = False,
        deliver: bool = False,
        done: Done | None = None,
    ) -> None:
        self._host = host
        self._engines = tuple(engines)
        self._bounties = bounties
        self._deliver = deliver
        self._done = done
        self.current = ""

    def rows(self, inputs: Iterable[Input]) -> Iterator[Row]:
        """One row an input and engine, in order. What fails is a row too; only the user's interrupt is raised."""
        for item in inputs:
            engines = self._engines
            if self._done is not None:
                engines = tuple(engine for engine in engines if not self._done.has(item.name, engine))
                if not engines:
                    continue
            self.current = item.name
            yield from self._judged(item, engines)

    def _judged(self, item: Input, engines: Sequence[str]) -> Iterator[Row]:
        if isinstance(item, BadInput):
            for engine in engines:
                yield Row.of_error(item.name, engine, "fetch", f"{item.name}: {item.message}")
            return
        began = time.perf_counter()
        artifact: Artifact | None = None
        try:
            if self._bounties and isinstance(item, (FileInput, StreamInput)):
                bounty = self._bounty_in(item)
            else:
                artifact = self._artifact(item)
                bounty = self._host.bounty_for(artifact, identify=True)
                if isinstance(item, (TextInput, RemoteInput)):
                    bounty = _from(bounty, item.text if isinstance(item, TextInput) else item.uri)
        except (ArtifactError, InvalidBounty) as error:
            if artifact is not None:
                artifact.close()
            kind = "bounty" if isinstance(error, InvalidBounty) else "fetch"
            message = one_line(error)
            if kind == "bounty":
                message = f"{item.name}: {message}"
            seconds = time.perf_counter() - began
            for engine in engines:
                yield Row.of_error(item.name, engine, kind, message, seconds)
            return
        try:
            for engine in engines:
                outcome = self._host.judge(bounty, engine, artifact).result()
                now = time.perf_counter()
                yield self._row(item.name, outcome, now - began, artifact)
                began = time.perf_counter()
        finally:
            if artifact is not None:
                artifact.close()

    def _row(self, name: str, outcome: Outcome, seconds: float, artifact: Artifact | None) -> Row:
        row = Row.of_outcome(name, outcome, seconds, 0 if artifact is None else artifact.size)
        if self._deliver:
            problem = self._delivered(outcome)
            if problem is not None and row.error is None:
                row.error = ("delivery", problem)
        return row

    def _delivered(self, outcome: Outcome) -> str | None:
        """Why the answer was not delivered, or None."""
        from psengine_host.network.delivery import DeliveryStatus

        try:
            delivery = self._host.deliver(outcome)
        except PsengineError as error:
            return one_line(error)
        return None if delivery.status is DeliveryStatus.DELIVERED else f"not delivered: {delivery.reason}"

    def _artifact(self, item: Input) -> Artifact:
        spool = self._host.spool
        if isinstance(item, FileInput):
            return Artifact.from_path(item.path, name=item.name)
        if isinstance(item, StreamInput):
            try:
                stream = item.open()
            except OSError as error:
                raise ArtifactError(f"{item.name}: {(error.strerror or str(error)).lower()}") from error
            return Artifact.from_stream(stream, spool, name=item.name)
        if isinstance(item, UrlInput):
            _provisional(item.uri, ArtifactType.URL)
            return Artifact.from_url(item.uri, spool=spool)
        if isinstance(item, (TextInput, RemoteInput)):
            uri = item.text if isinstance(item, TextInput) else item.uri
            deadline = time.monotonic() + self._host.settings.host.timeout
            return self._host.obtainer.obtain(_provisional(uri, ArtifactType.FILE), deadline)
        raise ArtifactError(f"{item.name}: cannot be read")

    def _bounty_in(self, item: FileInput | StreamInput) -> Bounty:
        try:
            with open(item.path, "rb") if isinstance(item, FileInput) else item.open() as stream:
                raw = stream.read(MAX_BOUNTY_FILE + 1)
        except OSError as error:
            raise ArtifactError(f"{item.name}: {(error.strerror or str(error)).lower()}") from error
        if len(raw) > MAX_BOUNTY_FILE:
            raise ArtifactError(f"{item.name}: more than {MAX_BOUNTY_FILE} bytes is no bounty")
        return Bounty.decode(raw, file_allowed=True)


def _provisional(uri: str, artifact_type: ArtifactType) -> Bounty:
    """A bounty for a URI whose content is not known yet; checks the URI."""
    from datetime import UTC, datetime

    expiration = datetime.now(UTC) + timedelta(days=1)
    return Bounty(id=0, artifact_type=artifact_type, artifact_uri=uri, expiration=expiration)


def _from(bounty: Bounty, uri: str) -> Bounty:
    """The bounty with the URI that its artifact was given by."""
    import msgspec

    return msgspec.structs.replace(bounty, artifact_uri=uri)
