"""Limits of what one process of an engine may use, kept by the kernel: setrlimit(2)."""

from __future__ import annotations

import math
import resource
import sys
from typing import Final

import msgspec

__all__ = ["Limits"]

_GRACE: Final = 1
"""Seconds of CPU time between SIGXCPU, whose name says what happened, and SIGKILL for what lives on."""


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """Limits of one process; what it starts inherits them, each process on its own account.

    There is never a core file: it would hold the artifact, and fill the disk.

    Args:
        address_space: Bytes of address space; beyond them memory cannot be had (``MemoryError``). 0 for no limit.
        cpu_time: Seconds of CPU time of all threads, rounded up to whole ones; the process then gets ``SIGXCPU``, and a
            second later ``SIGKILL``. 0 for no limit.
        max_file_size: Bytes of a file that is written; beyond them writing fails (``EFBIG``), or where ``SIGXFSZ`` is
            not ignored, as Python does, kills. 0 for no limit.
        open_files: Descriptors open at a time; beyond them opening fails (``EMFILE``). 0 for no limit.
    """

    address_space: int = 0
    cpu_time: float = 0.0
    max_file_size: int = 0
    open_files: int = 0

    def apply(self) -> None:
        """Put them on the calling process, for good: it cannot raise them again (root can).

        A limit that is lower already stays.

        Raises:
            OSError: The kernel refuses.
        """
        _lower(resource.RLIMIT_CORE, 0)
        if self.address_space > 0:
            _lower(resource.RLIMIT_AS, self.address_space)
        if self.cpu_time > 0:
            seconds = sys.maxsize if math.isinf(self.cpu_time) else math.ceil(self.cpu_time)
            _lower(resource.RLIMIT_CPU, seconds, _GRACE)
        if self.max_file_size > 0:
            _lower(resource.RLIMIT_FSIZE, self.max_file_size)
        if self.open_files > 0:
            _lower(resource.RLIMIT_NOFILE, self.open_files)


def _lower(kind: int, value: int, grace: int = 0) -> None:
    soft, hard = map(_number, resource.getrlimit(kind))
    hard = min(value + grace, hard)
    resource.setrlimit(kind, (_limit(min(value, soft, hard)), _limit(hard)))


def _number(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _limit(number: int) -> int:
    return resource.RLIM_INFINITY if number >= sys.maxsize else number
