"""How many bounties, or calls, and what they are about: the same for the host and for the pools beside it."""

TASKS = 20_000
CONTENTS = [f"the artifact of task {number:06}\n".encode() * 8 for number in range(TASKS)]
"""216 bytes each."""
