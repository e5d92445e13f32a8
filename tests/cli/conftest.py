"""The program as its users run it: a process, with pipes or a terminal, and engines made for the test."""

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROW_KEYS = ["artifact", "engine", "bounty", "analysis", "error", "seconds"]

JUDGE = """
    from psengine_host import Analysis, EngineError, hookimpl

    @hookimpl
    def analyze(artifact):
        data = artifact.read_bytes()
        if b"X5O!P%@AP" in data or b"MALICIOUS" in data or b"wicar" in data:
            return Analysis.malicious("Test.Family", confidence=1.0)
        if b"SUSPICIOUS" in data:
            return Analysis.suspicious("Test.Doubt")
        if b"ENCRYPTED" in data:
            return Analysis.encrypted()
        if b"NEVER-FETCHED" in data:
            return Analysis.cannot_fetch("a part of it is elsewhere")
        if b"FAULT" in data:
            raise EngineError("the scanner is not running")
        return Analysis.benign(confidence=0.5)
"""
"""An engine that goes by words in the artifact."""


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of standard output, each checked to be a row and nothing else."""
        rows = [json.loads(line) for line in self.out.splitlines()]
        assert all(list(row) == ROW_KEYS for row in rows)
        assert all(row["error"] is None or list(row["error"]) == ["kind", "message"] for row in rows)
        return rows

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.rows
        return row

    @property
    def verdicts(self) -> dict[str, str]:
        return {row["artifact"]: row["analysis"]["verdict"] for row in self.rows}

    @property
    def usage_error(self) -> str:
        """The last line of standard error, of a run that did nothing."""
        assert self.code == 2
        assert not self.out
        return self.err.splitlines()[-1]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder that runs are started in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def judge(engine_site) -> str:
    """The name of the one engine installed: it goes by words."""
    engine_site.add("judge", JUDGE)
    return "judge"


class Program:
    """``psengine`` in a process of its own."""

    def __init__(self, environment: Callable[..., dict[str, str]], work: Path) -> None:
        self._environment = environment
        self.work = work
        self.spools = work.parent / "spools"
        self.spools.mkdir()
        self.started: list[subprocess.Popen[bytes]] = []

    def env(self, **variables: str) -> dict[str, str]:
        # PYTHONUNBUFFERED would hide what is lost or late in a buffer.
        places = {"TMPDIR": str(self.spools), "TMPPREFIX": str(self.spools)}
        return self._environment(PYTHONUNBUFFERED="", **places | variables)

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[bytes]":
        env = options.pop("env", None) or {}
        command = options.pop("command", [sys.executable, "-m", "psengine_host"])
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*command, *map(_argument, arguments)], cwd=self.work, env=self.env(**env), **pipes)
        self.started.append(process)
        return process

    def __call__(self, *arguments: object, stdin: bytes | None = None, **options: Any) -> Ended:
        if stdin is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*arguments, **options)
        out, err = process.communicate(stdin, timeout=60)
        return self.ended(process.returncode, out, err)

    def ended(self, code: int, out: bytes, err: bytes) -> Ended:
        text = (err or b"").decode("utf-8", "replace")
        assert "unexpected error" not in text
        assert list(self.spools.iterdir()) == [], "the spool was left behind"
        return Ended(code, (out or b"").decode("utf-8", "surrogateescape"), text)

    def interrupted(self, process: "subprocess.Popen[bytes]", ready: Path, *numbers: signal.Signals) -> Ended:
        """Wait until the engine has made a file, send signals, and wait for the end."""
        wait_for(ready.exists, process)
        for number in numbers:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return self.ended(process.returncode, out, err)


def wait_for(happened: Callable[[], bool], process: "subprocess.Popen[bytes] | None" = None) -> None:
    limit = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < limit
        assert process is None or process.poll() is None, "it ended before it was ready"
        select.select([], [], [], 0.01)


def _argument(argument: object) -> str | bytes:
    return argument if isinstance(argument, (str, bytes)) else str(argument)


@pytest.fixture
def psengine(engine_site, work) -> Iterator[Program]:
    """Runs ``psengine`` with the engines of ``engine_site``, in ``work``."""
    program = Program(engine_site.env, work)
    yield program
    for process in program.started:
        if process.poll() is None:
            process.kill()
            process.wait(60)  # not for the end of its output: whoever it left behind may hold that
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Terminal:
    """A pseudo-terminal of a given size, and what a person in front of it sees."""

    def __init__(self, columns: int = 100) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (50, columns))
        self.raw = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:  # how Linux says that nobody has the other end any more
                    raise
                return
            if not data:
                return
            self.raw += data

    def close(self) -> None:
        """The program has ended: read what is left."""
        if self.slave >= 0:
            os.close(self.slave)
            self._thread.join(20)
            os.close(self.master)
            self.slave = -1

    @property
    def text(self) -> str:
        """Everything written, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*m", "", self.raw.decode())

    @property
    def screen(self) -> list[str]:
        """The lines that stay, after all that was overwritten and erased."""
        lines, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.text):
            if token == "\r":
                column = 0
            elif token == "\n":
                row += 1
                if row == len(lines):
                    lines.append("")
            elif token.startswith("\x1b["):
                if token.endswith("A"):
                    row = max(0, row - int(token[2:-1] or 1))
                elif token.endswith("K"):
                    lines[row] = "" if token[2:-1] == "2" else lines[row][:column]
                else:
                    assert token in ("\x1b[?25l", "\x1b[?25h"), token
            else:
                lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + len(token) :]
                column += len(token)
        return [line.rstrip() for line in lines]


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Makes pseudo-terminals."""
    made: list[Terminal] = []

    def make(columns: int = 100) -> Terminal:
        made.append(Terminal(columns))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Site:
    """A web server on loopback that remembers what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.requests.append((self.command, self.path, dict(self.headers), body))
                status, page = site.pages.get(self.path, (404, b"no such page"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Nothing on the tests' standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on 127.0.0.1; reach it with ``PSENGINE_NETWORK_ALLOW=127.0.0.1``."""
    site = Site()
    yield site
    site.close()


@pytest.fixture
def within(engine_site, work, monkeypatch, capsys) -> Iterator[Callable[..., Ended]]:
    """Runs ``psengine`` in this process: the same command line, without the start of an interpreter."""
    import logging

    from psengine_host.cli.program import run_program
    from psengine_host.cli.root import psengine as group

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    monkeypatch.chdir(work)

    def run(*arguments: object) -> Ended:
        monkeypatch.setenv("PSENGINE_ENGINES", ",".join(engine_site.engines))
        capsys.readouterr()
        code = run_program(group, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    yield run
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
