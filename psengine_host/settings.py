"""Settings: ``psengine.toml`` and the environment as one frozen value, read once and handed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from psengine_host.bid_policies import BidPolicy
from psengine_host.errors import InvalidValue, SettingsError, nearest, shown

__all__ = [
    "LONGEST_TIMEOUT",
    "BidSettings",
    "HostSettings",
    "LogSettings",
    "NetworkSettings",
    "Settings",
    "SpoolSettings",
    "config_path",
]

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds an engine has for one artifact."""
LONGEST_TIMEOUT: Final = 86_400
"""Seconds that anything may be allowed: a day."""
_LONGEST_OBSERVER_TIMEOUT: Final = 3_600


def _check_seconds(name: str, value: object, most: int) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= most:  # false for NaN as well
        raise SettingsError(f"{name}: must be more than 0 and at most {most} seconds, got {shown(value)}")


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[host]``.

    Args:
        timeout: Seconds for one artifact and engine, the fetch included.
        observer_timeout: Seconds that one call of an observer may take before that observer is dropped.
        close_timeout: Seconds that the end of the host waits for deliveries and observers.
    """

    timeout: float = DEFAULT_TIMEOUT
    observer_timeout: float = 5.0
    close_timeout: float = 60.0

    def __post_init__(self) -> None:
        _check_seconds("host.timeout", self.timeout, LONGEST_TIMEOUT)
        _check_seconds("host.observer_timeout", self.observer_timeout, _LONGEST_OBSERVER_TIMEOUT)
        _check_seconds("host.close_timeout", self.close_timeout, LONGEST_TIMEOUT)


class BidSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[bids]``.

    Args:
        policy: How the host computes a bid where the engine gives none.
    """

    policy: BidPolicy = BidPolicy.CONFIDENCE


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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

    allow: tuple[str, ...] = ()
    max_artifact_size: int = 100_000_000
    connect_timeout: float = 10.0
    read_timeout: float = 15.0
    max_redirects: int = 5
    tries: int = 4
    ca_file: str | None = None
    proxy_from_environment: bool = False

    def __post_init__(self) -> None:
        if type(self.max_artifact_size) is not int or self.max_artifact_size < 0:
            reason = f"must be a number of bytes, 0 or more, got {shown(self.max_artifact_size)}"
            raise SettingsError(f"network.max_artifact_size: {reason}")
        _check_seconds("network.connect_timeout", self.connect_timeout, LONGEST_TIMEOUT)
        _check_seconds("network.read_timeout", self.read_timeout, LONGEST_TIMEOUT)
        if self.allow:
            from psengine_host.network.guard import NetworkGuard

            try:
                NetworkGuard(self.allow)
            except InvalidValue as error:
                raise SettingsError(str(error)) from None


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[spool]``.

    Args:
        max_size: Bytes of all files in the spool together at most.
    """

    max_size: int = 10_000_000_000

    def __post_init__(self) -> None:
        if type(self.max_size) is not int or self.max_size < 0:
            raise SettingsError(f"spool.max_size: must be a number of bytes, 0 or more, got {shown(self.max_size)}")


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[log]``.

    Args:
        level: From which level on messages are logged: a name or a number (``LOG_LEVEL``).
        format: ``text``, or ``json`` for one object a line (``LOG_FORMAT``).
    """

    level: str | int = "warning"
    format: Literal["text", "json"] = "text"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an operator can set.

    Args:
        host: Limits of the host.
        bids: How bids are computed.
        network: What may be connected to.
        spool: Limits of the spool.
        log: What is logged, and how.
        engines: One table an engine, handed to it as ``context.config``.
        enabled_engines: Names of the only engines to use, or None for all (``PSENGINE_ENGINES``).
        disabled_engines: Names of engines never to use (``PSENGINE_DISABLED_ENGINES``).
    """

    host: HostSettings = HostSettings()
    bids: BidSettings = BidSettings()
    network: NetworkSettings = NetworkSettings()
    spool: SpoolSettings = SpoolSettings()
    log: LogSettings = LogSettings()
    engines: dict[str, dict[str, Any]] = {}
    enabled_engines: frozenset[str] | None = None
    disabled_engines: frozenset[str] = frozenset()

    @classmethod
    def read(cls, config: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """The settings of this process: defaults, then the file, then the environment.

        Args:
            config: The file; by default ``PSENGINE_CONFIG``, else ``psengine.toml`` in the user's configuration folder.
            environ: The environment; the process's by default.

        Raises:
            SettingsError: The file is missing where it was named, or holds what cannot be; names file, key and value.
        """
        environ = os.environ if environ is None else environ
        named = config if config is not None else environ.get("PSENGINE_CONFIG") or None
        path = Path(named) if named is not None else config_path()
        table = _load(path, required=named is not None)
        for key, variable in (
            ("enabled_engines", "PSENGINE_ENGINES"),
            ("disabled_engines", "PSENGINE_DISABLED_ENGINES"),
        ):
            names = [name.strip() for name in environ.get(variable, "").split(",") if name.strip()]
            if names:
                table[key] = names
        if allow := environ.get("PSENGINE_NETWORK_ALLOW"):
            network = table.setdefault("network", {})
            if isinstance(network, dict):
                network["allow"] = [entry.strip() for entry in allow.split(",") if entry.strip()]
        try:
            settings = msgspec.convert(table, cls)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{path}: {_explain(str(error), table)}") from error
        except SettingsError as error:
            where = "PSENGINE_NETWORK_ALLOW" if allow and str(error).startswith("network.allow") else path
            raise SettingsError(f"{where}: {error}") from None
        return settings

    def uses(self, engine: str) -> bool:
        """Whether an engine of that name may be used."""
        return engine not in self.disabled_engines and (self.enabled_engines is None or engine in self.enabled_engines)


def config_path() -> Path:
    """Where ``psengine.toml`` is looked for when nothing names it."""
    import platformdirs

    return Path(platformdirs.user_config_dir("psengine")) / "psengine.toml"


def _load(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        if required:
            raise SettingsError(f"{path}: no such file; name another with --config or PSENGINE_CONFIG") from None
        return {}
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SettingsError(f"{path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from error

    import tomllib

    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 (byte {error.start})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None


_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "": Settings.__struct_fields__,
    "host": HostSettings.__struct_fields__,
    "bids": BidSettings.__struct_fields__,
    "network": NetworkSettings.__struct_fields__,
    "spool": SpoolSettings.__struct_fields__,
    "log": LogSettings.__struct_fields__,
}


def _explain(message: str, table: Mapping[str, Any]) -> str:
    """The message of msgspec with the key in the file's spelling and the nearest known name."""
    problem, _, where = message.partition(" - at `$")
    key = where.rstrip("`").lstrip(".")
    if "unknown field" in problem:
        unknown = problem.rsplit("`", 2)[-2]
        full = f"{key}.{unknown}" if key else unknown
        elsewhere = [f"{other}.{unknown}" for other, names in _KNOWN.items() if other and unknown in names]
        offer = nearest(unknown, _KNOWN.get(key, ())) or (f"; did you mean {elsewhere[0]!r}?" if elsewhere else "")
        return f"{full}: no such setting{offer}"
    if key == "bids.policy" and "enum" in problem:
        return f"{key}: must be one of {', '.join(BidPolicy)}, got {shown(table['bids']['policy'])}"
    if key == "engines[...]":  # msgspec does not name the key of a mapping
        wrong = [name for name, value in table["engines"].items() if not isinstance(value, dict)]
        key = f"engines.{wrong[0]}"
    return f"{key}: {problem[:1].lower()}{problem[1:]}" if key else problem
