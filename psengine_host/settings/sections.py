"""The sections of ``psengine.toml`` as frozen values, valid from birth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import msgspec

from psengine_host.bid_policies import BidPolicy
from psengine_host.errors import SettingsError
from psengine_host.settings.kinds import Boolean, Choice, Duration, Integer, Kind, LogLevel, Size
from psengine_host.settings.origins import Origin
from psengine_host.settings.secret import Secret
from psengine_host.settings.section import Section
from psengine_host.settings.text_kinds import Addresses, BrokerUrl, FilePath, Names, SecretText, TaskTemplate, Text
from psengine_host.settings.workers import TIMEOUT_OF_ONE, WorkerSettings

__all__ = [
    "KINDS",
    "SECTIONS",
    "BidSettings",
    "CelerySettings",
    "HostSettings",
    "LogSettings",
    "NetworkSettings",
    "Section",
    "Settings",
    "SpoolSettings",
    "WebhookSettings",
    "WorkerSettings",
    "config_path",
]

_LONGEST_OBSERVER_TIMEOUT: Final = 3_600
_DEFAULT_BROKER: Final = Secret("amqp://guest:guest@localhost:5672")
"""RabbitMQ's own default, which it takes from this machine only."""


class HostSettings(Section, frozen=True, kw_only=True):
    """``[host]``.

    Args:
        timeout: Seconds for one artifact and engine, the fetch included.
        observer_timeout: Seconds that one call of an observer may take before that observer is dropped.
        close_timeout: Seconds that the end of the host waits for deliveries and observers.
        max_bounty_size: Bytes of a bounty in JSON at most; one that carries its artifact in a ``data:`` URI is large.
        discard_expired_bounties: Whether a bounty that has expired is answered without asking the engine; otherwise
            expirations are not looked at, and ``timeout`` alone limits how long a bounty takes.
    """

    PREFIX: ClassVar[str] = "host."
    KINDS: ClassVar[Mapping[str, Kind]] = {
        "timeout": Duration(),
        "observer_timeout": Duration(_LONGEST_OBSERVER_TIMEOUT),
        "close_timeout": Duration(),
        "max_bounty_size": Size(),
        "discard_expired_bounties": Boolean(),
    }

    timeout: float = 60.0
    observer_timeout: float = 5.0
    close_timeout: float = 60.0
    max_bounty_size: int = 32_000_000
    discard_expired_bounties: bool = True


class BidSettings(Section, frozen=True, kw_only=True):
    """``[bids]``.

    Args:
        policy: How the host computes a bid where the engine gives none.
    """

    PREFIX: ClassVar[str] = "bids."
    KINDS: ClassVar[Mapping[str, Kind]] = {"policy": Choice(BidPolicy, BidPolicy)}

    policy: BidPolicy = BidPolicy.CONFIDENCE


class NetworkSettings(Section, frozen=True, kw_only=True):
    """``[network]``.

    Args:
        allow: Hosts, addresses and networks that may be connected to although they are not public.
        max_artifact_size: Bytes of a fetched artifact at most.
        connect_timeout: Seconds for one connection attempt.
        read_timeout: Seconds without a single byte.
        max_redirects: Redirects followed in one try of a fetch.
        tries: Tries of a fetch in all.
        ca_file: A file of certificates (PEM) to trust beside the system's, for a private CA.
        proxy_from_environment: Whether ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are used.
    """

    PREFIX: ClassVar[str] = "network."
    KINDS: ClassVar[Mapping[str, Kind]] = {
        "allow": Addresses(),
        "max_artifact_size": Size(),
        "connect_timeout": Duration(),
        "read_timeout": Duration(),
        "max_redirects": Integer(0, 20),
        "tries": Integer(1, 100),
        "ca_file": FilePath(),
        "proxy_from_environment": Boolean(),
    }

    allow: tuple[str, ...] = ()
    max_artifact_size: int = 100_000_000
    connect_timeout: float = 10.0
    read_timeout: float = 15.0
    max_redirects: int = 5
    tries: int = 4
    ca_file: str | None = None
    proxy_from_environment: bool = False


class SpoolSettings(Section, frozen=True, kw_only=True):
    """``[spool]``.

    Args:
        max_size: Bytes of all files in the spool together at most.
    """

    PREFIX: ClassVar[str] = "spool."
    KINDS: ClassVar[Mapping[str, Kind]] = {"max_size": Size()}

    max_size: int = 10_000_000_000


class LogSettings(Section, frozen=True, kw_only=True):
    """``[log]``.

    Args:
        level: From which level on messages are logged: a name in small letters, or a number (``LOG_LEVEL``).
        format: ``text``, or ``json`` for one object a line (``LOG_FORMAT``).
    """

    PREFIX: ClassVar[str] = "log."
    KINDS: ClassVar[Mapping[str, Kind]] = {"level": LogLevel(), "format": Choice(("text", "json"))}

    level: str | int = "warning"
    format: str = "text"


class CelerySettings(Section, frozen=True, kw_only=True):
    """``[celery]``: read and checked; nothing in this version uses it.

    Args:
        broker_url: The broker's URL, with user and password (``PSENGINE_BROKER_URL``).
        broker_vhost: The broker's virtual host (``PSENGINE_BROKER_VHOST``).
        worker_concurrency: Bounties that one node judges at a time (``PSENGINE_WORKER_CONCURRENCY``).
        delivery_task: The name of the task that answers are handed to, with ``{task_type}`` in it, or None: they are
            sent to the bounty's ``response_url`` (``PSENGINE_DELIVERY_TASK``).
    """

    PREFIX: ClassVar[str] = "celery."
    KINDS: ClassVar[Mapping[str, Kind]] = {
        "broker_url": BrokerUrl(),
        "broker_vhost": Text(255),
        "worker_concurrency": Integer(1, 1_024),
        "delivery_task": TaskTemplate(),
    }

    broker_url: Secret = _DEFAULT_BROKER
    broker_vhost: str = "engines"
    worker_concurrency: int = 1
    delivery_task: str | None = None


class WebhookSettings(Section, frozen=True, kw_only=True):
    """``[webhook]``: read and checked; nothing in this version uses it.

    Args:
        secret: What signatures are checked with (``PSENGINE_WEBHOOK_SECRET``).
        secret_file: A file that holds it, in place of ``secret``.
    """

    PREFIX: ClassVar[str] = "webhook."
    KINDS: ClassVar[Mapping[str, Kind]] = {"secret": SecretText(), "secret_file": FilePath()}

    secret: Secret | None = None
    secret_file: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.secret is not None and self.secret_file is not None:
            raise SettingsError("webhook.secret: cannot be set beside webhook.secret_file; choose one")


class Settings(Section, frozen=True, kw_only=True):
    """Everything an operator can set.

    Args:
        enabled_engines: Names of the only engines to use, or None for all (``PSENGINE_ENGINES``).
        disabled_engines: Names of engines never to use (``PSENGINE_DISABLED_ENGINES``).
        host: Limits of the host.
        workers: The processes that engines work in.
        bids: How bids are computed.
        network: What may be connected to, and limits of fetches.
        spool: Limits of the spool.
        log: What is logged, and how.
        celery: How a Celery node works.
        webhook: How bounties are taken over HTTP.
        engines: One table an engine, handed to it as ``context.config``.
    """

    KINDS: ClassVar[Mapping[str, Kind]] = {"enabled_engines": Names(), "disabled_engines": Names()}

    enabled_engines: frozenset[str] | None = None
    disabled_engines: frozenset[str] = frozenset()
    host: HostSettings = HostSettings()
    workers: WorkerSettings = WorkerSettings()
    bids: BidSettings = BidSettings()
    network: NetworkSettings = NetworkSettings()
    spool: SpoolSettings = SpoolSettings()
    log: LogSettings = LogSettings()
    celery: CelerySettings = CelerySettings()
    webhook: WebhookSettings = WebhookSettings()
    engines: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers.timeout is not None:
            raise SettingsError(f"workers.timeout: {TIMEOUT_OF_ONE}")

    @classmethod
    def read(
        cls,
        config: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Self:
        """The settings of this process: defaults, then the file, then the environment, then options.

        What is odd but harms nothing, such as a misspelt variable, is logged as a warning.

        Args:
            config: The file; by default ``PSENGINE_CONFIG``, else ``psengine.toml`` in the user's configuration folder.
            environ: The environment; the process's by default.
            options: What a command line says, by setting (``{"host.timeout": 5.0}``); None as a value says nothing.

        Raises:
            SettingsError: The file is missing where it was named, or something holds what cannot be; names the file,
                variable or option, the setting and the value, and how many more mistakes there are.
        """
        return cls.read_with_origins(config, environ, options)[0]

    @classmethod
    def read_with_origins(
        cls,
        config: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> tuple[Self, Mapping[str, Origin]]:
        """As :meth:`read`, and where each value comes from.

        Args:
            config: As of :meth:`read`.
            environ: As of :meth:`read`.
            options: As of :meth:`read`.

        Returns:
            The settings, and the origin of each by its dotted name; of ``engines`` by table (``engines.yara``).

        Raises:
            SettingsError: As of :meth:`read`.
        """
        from psengine_host.settings.reading import examine, settle, warn

        examined = examine(config, environ, options)
        settings = settle(cls, examined)
        warn(examined)
        return settings, examined.origins

    def __repr__(self) -> str:
        from psengine_host.settings.writing import masked

        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = (f"{name}={masked(value) if name == 'engines' else value!r}" for name, value in fields)
        return f"{type(self).__name__}({', '.join(shown)})"

    def uses(self, engine: str) -> bool:
        """Whether an engine of that name may be used."""
        return engine not in self.disabled_engines and (self.enabled_engines is None or engine in self.enabled_engines)


SECTIONS: Final[Mapping[str, type[Section]]] = {
    section.PREFIX.rstrip("."): section
    for section in (
        HostSettings,
        WorkerSettings,
        BidSettings,
        NetworkSettings,
        SpoolSettings,
        LogSettings,
        CelerySettings,
        WebhookSettings,
    )
}
"""The sections by name, in the order of the file."""

_ALL: Final[tuple[type[Section], ...]] = (Settings, *SECTIONS.values())

KINDS: Final[Mapping[str, Kind]] = {
    f"{section.PREFIX}{name}": kind for section in _ALL for name, kind in section.KINDS.items()
}
"""Every setting by its dotted name, but for the tables of single engines."""


def config_path() -> Path:
    """Where ``psengine.toml`` is looked for when nothing names it."""
    import platformdirs

    return Path(platformdirs.user_config_dir("psengine")) / "psengine.toml"
