"""``psengine-yara``: the engine's own program, which is ``psengine`` with ``--engine yara`` everywhere."""

from psengine_host.cli import engine_cli

__all__ = ["main"]

main = engine_cli("yara")
