"""The least that an engine does: it reads the artifact and says benign."""

from psengine_host import Analysis, Artifact, hookimpl


@hookimpl
def analyze(artifact: Artifact) -> Analysis:
    """Malicious if it begins with an X."""
    if artifact.read_bytes().startswith(b"X"):
        return Analysis.malicious("X", confidence=1.0)
    return Analysis.benign(confidence=0.5)
