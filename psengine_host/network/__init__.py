"""What leaves this machine: which addresses may be connected to, fetching artifacts, delivering answers.

``guard`` decides about addresses, ``client`` is the one place that opens connections, ``fetching`` and
``delivery`` are what is done over them, and ``fetcher`` is what the rest of the house calls. Nothing here knows an
engine, or of a bounty more than how long its URLs may be.
"""

from psengine_host.network.errors import FetchError, ForbiddenAddress, InvalidDataUri, NetworkError

__all__ = ["FetchError", "ForbiddenAddress", "InvalidDataUri", "NetworkError"]
