"""Nothing that a command starts outlives it, whatever it does to get away."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from psengine_host.settings.variables import misspelt
from psengine_host.toolkit import process_groups, subprocesses
from psengine_host.toolkit.subprocesses import CommandTimeout, run_command

SLEEPER = ': > "$1"; sleep 600; :'
STUBBORN = f"trap '' TERM; {SLEEPER}"
PYTHON = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
DAEMON = f"""
import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir("/")
null = os.open(os.devnull, os.O_RDWR)
for number in range(3): os.dup2(null, number)
os.execlp("sh", "sh", "-c", {SLEEPER!r}, "sh", sys.argv[1])
"""


def until(condition):
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit, "waited for a minute"
        time.sleep(0.01)
    return value


class Marked:
    """Processes that have a word of this test among their arguments."""

    def __init__(self, folder):
        self.word = uuid.uuid4().hex
        self.begun = folder / f"begun-{self.word}"

    def shell(self, script, sleeper=SLEEPER, **options):
        """A script in which ``$SLEEPER`` says that it has begun, and sleeps."""
        script = script.replace("$SLEEPER", 'sh -c "$2" sh "$1"')
        return run_command(["sh", "-c", script, "sh", self.begun, sleeper, DAEMON], **options)

    def timed_out(self, script, sleeper=SLEEPER):
        """The same, for so long that the sleeper has begun; how long that was, and how it ended."""
        for limit in (0.4, 2, 10, 60):
            began = time.monotonic()
            with pytest.raises(CommandTimeout) as caught:
                self.shell(script, sleeper, timeout=limit)
            if self.begun.exists():
                return time.monotonic() - began - limit, caught.value.result
        raise AssertionError("a shell did not start within a minute")

    def alive(self):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != str(os.getpid()):
                try:
                    words, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_bytes()
                except OSError:
                    continue
                if self.word.encode() in words and state.rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
                    found.append(int(entry.name))
        return found


@pytest.fixture
def marked(tmp_path):
    marked = Marked(tmp_path)
    yield marked
    for process in marked.alive():
        os.kill(process, signal.SIGKILL)


@pytest.fixture(params=["pidfd", "no pidfd"])
def with_and_without_pidfd(request, monkeypatch):
    """Older kernels and some sandboxes have no process descriptors."""
    if request.param == "no pidfd":

        def refused(*_):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(os, "pidfd_open", refused)
    return request.param


WAIT = 'while ! [ -e "$1" ]; do sleep 0.01; done'


class TestOnATimeout:
    @pytest.mark.parametrize(
        "script",
        [
            "exec $SLEEPER",
            "$SLEEPER & sleep 600",
            "$SLEEPER | cat",
            "setsid $SLEEPER & sleep 600",
            "setsid setsid $SLEEPER >/dev/null 2>&1 & sleep 600",
            "(setsid $SLEEPER &) ; sleep 600",
            "env -i setsid $SLEEPER & sleep 600",
            "exec >&- 2>&-; exec $SLEEPER",
            "$SLEEPER & kill -STOP $$",
            "trap '' TERM; $SLEEPER & sleep 600; sleep 600",
            f'{sys.executable} -c "$3" "$1"; sleep 600',
        ],
    )
    def test_all_are_ended_within_a_second(self, script, marked):
        late, _ = marked.timed_out(script)
        assert marked.alive() == []
        assert late < 1 + 5  # the machine may be busy

    @pytest.mark.usefixtures("with_and_without_pidfd")
    @pytest.mark.parametrize(
        "script",
        [
            "exec $SLEEPER",
            "$SLEEPER & sleep 600",
            "setsid $SLEEPER & sleep 600",
            "env -i setsid $SLEEPER & sleep 600",  # known by its parent only, which heeds SIGTERM
        ],
    )
    def test_who_ignores_sigterm_too(self, script, marked):
        late, _ = marked.timed_out(script, STUBBORN)
        assert marked.alive() == []
        assert late < 1 + 5

    @pytest.mark.usefixtures("with_and_without_pidfd")
    def test_there_is_time_to_clean_up(self, marked, tmp_path):
        lock = tmp_path / "lock"
        script = f'trap "rm {lock}; echo cleaned; exit 3" TERM; touch {lock} "$1"; while :; do sleep 0.01; done'
        _, result = marked.timed_out(script)
        assert not lock.exists()
        assert (result.stdout, result.returncode) == ("cleaned\n", 3)

    def test_what_it_writes_while_it_ends_does_not_hold_it(self, marked):
        script = 'trap "head -c 300000 /dev/zero; exit 5" TERM; touch "$1"; while :; do sleep 0.01; done'
        _, result = marked.timed_out(script)
        assert (result.returncode, len(result.stdout)) == (5, 300_000)

    def test_a_program_that_starts_others_as_fast_as_it_can(self, marked):
        marked.timed_out("trap '' TERM; while :; do setsid $SLEEPER & sleep 0.005; done")
        assert marked.alive() == []


@pytest.mark.usefixtures("with_and_without_pidfd")
class TestAtTheEnd:
    @pytest.mark.parametrize(
        ("script", "sleeper"),
        [
            (f"$SLEEPER & {WAIT}; echo done", SLEEPER),
            (f"setsid $SLEEPER & {WAIT}; echo done", SLEEPER),
            (f"$SLEEPER & {WAIT}; echo done", STUBBORN),
            (f'{sys.executable} -c "$3" "$1"; {WAIT}; echo done', SLEEPER),
            (f"(trap '' HUP; $SLEEPER <&- >/dev/null 2>&1 &); {WAIT}; echo done", SLEEPER),
        ],
    )
    def test_what_it_left_behind_is_ended(self, script, sleeper, marked):
        done = marked.shell(script, sleeper, timeout=60)
        assert (done.stdout, done.returncode) == ("done\n", 0)
        assert done.seconds < 50
        assert marked.alive() == []

    def test_the_log_says_that_something_was_left_behind(self, marked, caplog):
        caplog.set_level(logging.INFO, logger=subprocesses.__name__)
        script = f"setsid $SLEEPER & echo $!; {WAIT}"
        child = int(marked.shell(script, timeout=60).stdout)
        (record,) = [record for record in caplog.records if record.levelno == logging.INFO]
        said, _, ids = record.getMessage().partition(" left processes behind, which are ended with it: ")
        assert said.startswith("sh -c ")
        assert child in json.loads(ids)

    def test_who_goes_on_writing_does_not_hold_the_call(self, marked):
        script = f"(while :; do echo noise; done) & $SLEEPER & {WAIT}; echo done"
        assert marked.shell(script, timeout=60, max_output="1 MB").seconds < 50
        assert marked.alive() == []

    def test_what_it_wrote_last_is_not_lost(self):
        for _ in range(20):
            assert len(run_command(["head", "-c", "60000", "/dev/zero"]).stdout_bytes) == 60_000

    def test_other_processes_are_left_alone(self, marked):
        bystander = subprocess.Popen(["sh", "-c", SLEEPER, "sh", marked.begun], start_new_session=True)
        try:
            until(marked.begun.exists)
            run_command(["sh", "-c", "setsid sleep 600 & echo done"], timeout=60)
            assert bystander.poll() is None
        finally:
            os.killpg(bystander.pid, signal.SIGKILL)
            bystander.wait()

    def test_other_commands_are_left_alone(self, marked, tmp_path):
        results = []
        script = f'touch "$1"; while ! [ -e {tmp_path}/go ]; do sleep 0.01; done; echo over'
        thread = threading.Thread(target=lambda: results.append(marked.shell(script, timeout=100)))
        thread.start()
        until(marked.begun.exists)
        with pytest.raises(CommandTimeout):
            run_command(["sh", "-c", "setsid sleep 600 & sleep 600"], timeout=0.3)
        (tmp_path / "go").touch()
        thread.join(100)
        assert results[0].stdout == "over\n"

    def test_a_shared_wineserver_is_left_alone(self, tmp_path):
        server = tmp_path / "wineserver"
        server.symlink_to("/bin/sleep")
        running = 'until [ "$(cat /proc/$!/comm)" = wineserver ]; do sleep 0.01; done; echo $!'
        done = run_command(["sh", "-c", f"setsid {server} 600 >/dev/null 2>&1 & {running}"], timeout=60)
        pid = int(done.stdout)
        try:
            assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(bytes(server))
        finally:
            os.kill(pid, signal.SIGKILL)


class TestInterrupts:
    def test_ctrl_c_ends_all_and_is_raised(self, marked, tmp_path):
        program = tmp_path / "program.py"
        script = 'setsid sh -c "$2" sh "$1.2" & exec sh -c "$2" sh "$1"'
        program.write_text(
            "from psengine_host.toolkit.subprocesses import run_command\n"
            "try:\n"
            f"    run_command(['sh', '-c', {script!r}, 'sh', {str(marked.begun)!r}, {STUBBORN!r}], timeout=100)\n"
            "except KeyboardInterrupt:\n"
            "    print('interrupted', flush=True)\n"
        )
        host = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, env=PYTHON)
        until(lambda: marked.begun.exists() and Path(f"{marked.begun}.2").exists())
        host.send_signal(signal.SIGINT)
        assert host.communicate(timeout=60)[0] == "interrupted\n"
        assert marked.alive() == []

    def test_an_interrupt_while_it_starts_leaves_nothing(self, marked, monkeypatch):
        class Interrupted(subprocess.Popen):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
                until(marked.begun.exists)
                self.returncode = 0
                raise KeyboardInterrupt

        monkeypatch.setattr(subprocess, "Popen", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            marked.shell("exec $SLEEPER", timeout=60)
        assert marked.alive() == []


class TestMarks:
    def test_a_command_within_a_command_belongs_to_both(self, marked):
        """What an engine's command starts is ended with the command that the engine itself runs in."""
        inner = (
            "import sys; from psengine_host.toolkit.subprocesses import run_command; "
            f"run_command(['sh', '-c', {SLEEPER!r}, 'sh', sys.argv[1]], timeout=100)"
        )
        # The inner host is killed at once, so that nothing but the mark leads from the outer command to the sleeper.
        outer = f'"$0" -c "$2" "$1" & {WAIT}; kill -9 $!; sleep 600'
        for limit in (2, 20, 60):
            with pytest.raises(CommandTimeout):
                run_command(["sh", "-c", outer, sys.executable, marked.begun, inner], timeout=limit, env=PYTHON)
            if marked.begun.exists():
                break
        assert marked.begun.exists()
        assert marked.alive() == []

    def test_a_host_within_a_command_does_not_take_the_mark_for_a_setting(self):
        assert misspelt([process_groups.MARK_VARIABLE]) == []

    def test_the_mark_is_another_each_time(self):
        marks = {run_command(["sh", "-c", "echo $PSENGINE_COMMAND"]).stdout for _ in range(3)}
        assert len(marks) == 3

    def test_a_process_id_that_has_become_another_s_is_not_signalled(self):
        victim = subprocess.Popen(["sleep", "600"])
        try:
            started = process_groups._process(victim.pid).started
            process_groups._signal_one(victim.pid, started - 1, signal.SIGKILL)
            assert victim.poll() is None
            process_groups._signal_one(victim.pid, started, signal.SIGKILL)
            assert victim.wait(60) == -signal.SIGKILL
        finally:
            victim.kill()
            victim.wait()


def test_an_exit_code_that_is_lost_is_no_success(tmp_path):
    """Where SIGCHLD is ignored the kernel throws exit codes away; a scanner's 1 must not become a 0."""
    program = tmp_path / "program.py"
    program.write_text(
        "import signal\n"
        "from psengine_host.toolkit.subprocesses import CommandFailed, run_command\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "try:\n"
        "    run_command(['sh', '-c', 'exit 1'])\n"
        "except CommandFailed as error:\n"
        "    print(error)\n"
    )
    printed = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, env=PYTHON, timeout=60, check=True
    )
    assert printed.stdout == (
        "sh -c 'exit 1' ended, and its exit code is lost: this process ignores SIGCHLD, or reaps any child\n"
    )
    assert printed.stderr == ""


def test_without_proc_the_group_is_ended_still(monkeypatch, marked):
    real = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path, **options: "1" if path == "/proc/self" else real(path, **options))
    marked.timed_out("$SLEEPER & sleep 600")
    until(lambda: not marked.alive())
