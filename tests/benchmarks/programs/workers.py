"""What the programs share that use the process backend: a host with given engines, and bounties that live long."""

import logging
from datetime import timedelta

from psengine_host.artifacts import Artifact
from psengine_host.bounty import Bounty
from psengine_host.engines.found import ENGINES_GROUP, Catalog, FoundEngine
from psengine_host.host import Host
from psengine_host.local_bounties import bounty_for
from psengine_host.settings import HostSettings, Settings, WorkerSettings

LIFETIME = timedelta(days=1)


def host_of(*, count: int, timeout: float = 60.0, tries: int = 3, **engines: str) -> Host:
    """A host with engines of this folder in the process backend.

    Args:
        count: Workers of each engine.
        timeout: Seconds for one artifact.
        tries: Tries of a bounty whose worker died.
        **engines: Engine's name -> its module.
    """
    logging.getLogger("psengine_host").addHandler(logging.NullHandler())  # each death is a warning
    settings = Settings(host=HostSettings(timeout=timeout), workers=WorkerSettings(count=count, tries=tries))
    found = [FoundEngine(name, module, ENGINES_GROUP, f"psengine-{name}", "1.0") for name, module in engines.items()]
    return Host(settings, backend="process", catalog=Catalog(found))


def job(host: Host, content: bytes) -> tuple[Bounty, Artifact]:
    """A bounty and its artifact, which is in memory."""
    artifact = Artifact.from_bytes(content, spool=host.spool)
    return bounty_for(artifact, lifetime=LIFETIME), artifact
