"""Where an engine's files are: the variables ``${ENGINE}_PATH`` to ``${ENGINE}_RUNTIME_DIR``, with defaults.

:mod:`~psengine_host.environment.directories` finds them, :mod:`~psengine_host.environment.privacy` says who may get at
them, and :mod:`~psengine_host.environment.local_features` tries what a folder for sockets must be able to do.
"""

from __future__ import annotations

from psengine_host.environment.directories import EngineEnvironment, Place
from psengine_host.environment.variables import DIRECTORIES, PROGRAMS, VARIABLES, environment_prefix

__all__ = ["DIRECTORIES", "PROGRAMS", "VARIABLES", "EngineEnvironment", "Place", "environment_prefix"]
