"""Logs: set up in one place, once, by whoever runs the program; never at import.

A program that uses this package as a library has its own log: nothing here touches it unless it calls
:func:`set_up_logs`, and then only one handler is added, which :meth:`Log.close` takes away again.
"""

from psengine_host.logs.setup import Log, set_up_logs

__all__ = ["Log", "set_up_logs"]
