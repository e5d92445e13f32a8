"""The reference engine: malicious if the EICAR test string is anywhere in the artifact."""

from base64 import b64decode

from psengine_host import Analysis, Artifact, EngineInfo, hookimpl

# Encoded, so that no virus scanner takes this module for the test file itself.
EICAR = b64decode("WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=")


@hookimpl
def analyze(artifact: Artifact) -> Analysis:
    """Search the artifact for the string, one megabyte at a time."""
    tail = b""
    with artifact.open() as stream:
        while chunk := stream.read(1 << 20):
            if EICAR in tail + chunk:
                return Analysis.malicious("EICAR-Test-File", confidence=1.0)
            tail = chunk[1 - len(EICAR) :]
    return Analysis.benign(confidence=0.5)


@hookimpl
def info() -> EngineInfo:
    """Name the product and its vendor."""
    return EngineInfo(product="EICAR", vendor="psengine", engine_version="1.0")
