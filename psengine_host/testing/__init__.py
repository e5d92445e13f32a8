"""For tests of engines: :func:`~psengine_host.testing.sessions.session` runs one engine around a test."""

from psengine_host.testing.sessions import RunningEngine, session

__all__ = ["RunningEngine", "session"]
