"""``--check-eicar``, ``--check-empty``, ``--check-wicar``: is an engine's answer the one that everybody expects?"""

from __future__ import annotations

from typing import Final

from psengine_host.analysis import Verdict
from psengine_host.artifacts import Artifact
from psengine_host.samples import eicar

__all__ = ["CHECKS", "WICAR_URL", "Check"]

WICAR_URL: Final = "http://malware.wicar.org/data/ms05_054_onload.html"
"""A URL that exists to be detected (https://www.wicar.org); it is judged, never fetched."""


class Check:
    """One check: an artifact and the verdicts that are right for it.

    Attributes:
        option: The option that asks for it; what is judged is called so in the rows.
        expected: The right verdicts.
    """

    __slots__ = ("expected", "option")

    def __init__(self, option: str, *expected: Verdict) -> None:
        self.option = option
        self.expected = expected

    def artifact(self) -> Artifact:
        """What to judge."""
        if self.option == "--check-eicar":
            return Artifact.from_bytes(eicar(), name=self.option)
        if self.option == "--check-empty":
            return Artifact.from_bytes(b"", name=self.option)
        return Artifact.from_url(WICAR_URL)


CHECKS: Final = (
    Check("--check-eicar", Verdict.MALICIOUS),
    Check("--check-empty", Verdict.BENIGN, Verdict.UNKNOWN),
    Check("--check-wicar", Verdict.MALICIOUS),
)
