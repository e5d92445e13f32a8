"""What goes on when a host is killed with SIGKILL, and how the reference says to find it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from psengine_host.toolkit.polling import poll

PAGE = Path(__file__).parents[2] / "docs/reference/toolkit.md"

ENGINE = """
    import subprocess

    from psengine_host import Analysis, hookimpl
    from psengine_host.toolkit.subprocesses import run_command

    @hookimpl
    def setup(context):
        folder = context.environment.state_home
        daemon = subprocess.Popen(["sleep", "600"])
        (folder / "daemon").write_text(str(daemon.pid))
        yield
        daemon.terminate()
        daemon.wait()

    @hookimpl
    def analyze(context):
        folder = context.environment.state_home
        run_command(["sh", "-c", "echo $$ > program.new && mv program.new program && exec sleep 600"], cwd=folder)
        return Analysis.benign()
"""


def alive(number):
    """Whether a process is there and no zombie, which a container without an init would keep."""
    try:
        line = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return line[line.rfind(")") + 2] not in "ZX"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_what_a_killed_host_leaves_behind_is_found_as_the_reference_says(engine_site, tmp_path):
    engine_site.add("kept", ENGINE)
    (listing,) = re.findall(r"^ *\$ (grep .* /proc/\[0-9\]\*/environ)$", PAGE.read_text(), re.MULTILINE)
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "file").write_bytes(b"content")
    command = [sys.executable, "-m", "psengine_host", "analyze", "-e", "kept", str(tmp_path / "file")]
    environment = engine_site.env(KEPT_STATE_HOME=str(state), TMPDIR=str(tmp_path))
    numbers = []
    host = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        poll((state / "program").exists, timeout=60, what="the program")
        program, daemon = numbers = [int((state / name).read_text()) for name in ("program", "daemon")]
        host.kill()
        assert host.wait(timeout=60) == -signal.SIGKILL
        found = subprocess.run(listing, shell=True, capture_output=True, text=True, timeout=60, check=False)
        assert found.stderr == ""
        assert f"/proc/{program}/environ" in found.stdout.splitlines()
        assert f"/proc/{daemon}/environ" not in found.stdout.splitlines()
        assert alive(program)
        assert alive(daemon)
    finally:
        host.kill()
        host.wait(timeout=60)
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    poll(lambda: not any(map(alive, numbers)), timeout=60, what="the end of both")
