"""The least that fetching with requests does: one session whose connection is kept, each body hashed.

Arguments: the server's URL, the size of an artifact, how many of them.
"""

import hashlib
import sys
from typing import Any

import requests
from rounds import serve

URL, SIZE, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def main() -> None:
    with requests.Session() as session:

        def one_round() -> dict[str, Any]:
            hashes = set()
            for number in range(COUNT):
                answer = session.get(f"{URL}/{SIZE}/{number}", timeout=60)
                answer.raise_for_status()
                hashes.add(hashlib.sha256(answer.content).hexdigest())
            return {"artifacts": COUNT, "hashes": sorted(hashes)}

        serve(one_round)


if __name__ == "__main__":
    main()
