"""A server on loopback that costs as little as a server can: answers that are ready, any number of connections.

``GET /SIZE/NUMBER`` answers so many bytes, the same for every number; the other paths are those of a hostile server.
The first line of its output is its port; it ends with its standard input.
"""

import asyncio
import gzip
import random
import sys
from collections.abc import Iterator
from itertools import repeat

SIZES = (1_000, 1_000_000)
HUGE = 1_000_000_000
BLOCK = bytes(1 << 20)
OK = b"HTTP/1.1 200 OK\r\n"


def artifact(size: int) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % size + random.Random(size).randbytes(size)


def bomb() -> bytes:
    body = gzip.compress(bytes(300_000_000), compresslevel=9)
    return OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


ARTIFACTS = {str(size).encode(): artifact(size) for size in SIZES}


def endless(path: bytes) -> Iterator[bytes]:
    """The answer of a hostile server, block by block."""
    count = HUGE // len(BLOCK) + 1
    if path == b"announced":
        yield OK + b"Content-Length: %d\r\n\r\n" % (count * len(BLOCK))
        yield from repeat(BLOCK, count)
    elif path == b"unframed":
        yield OK + b"\r\n"
        yield from repeat(BLOCK, count)
    elif path == b"chunked":
        yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
        yield from repeat(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK), count)
        yield b"0\r\n\r\n"
    else:
        yield bomb()


class Server(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.rest: Iterator[bytes] = iter(())
        self.wanted = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            request, _, self.received = self.received.partition(b"\r\n\r\n")
            path = request.split(b" ", 2)[1].split(b"/")[1]
            ready = ARTIFACTS.get(path)
            if ready is not None:
                self.transport.write(ready)
            else:
                self.rest = endless(path)
                self.resume_writing()

    def pause_writing(self) -> None:
        self.wanted = False

    def resume_writing(self) -> None:
        self.wanted = True
        for block in self.rest:
            self.transport.write(block)
            if not self.wanted:
                return

    def connection_lost(self, error: Exception | None) -> None:
        self.rest = iter(())


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
