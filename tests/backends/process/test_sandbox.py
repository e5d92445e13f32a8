"""The sandbox, from the inside and the outside: real listeners, files, descriptors and signals."""

import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from psengine_host.backends.process import sandbox
from psengine_host.backends.process.sandbox import bubblewrap, require_bubblewrap, signal_of
from psengine_host.errors import UsageError

NOBODY = 65534
MINUTE = 60


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def inside(bwrap, scratch):
    """Runs a Python script in the sandbox; what it prints as JSON."""

    def run(script, *arguments, **options):
        command = bubblewrap([sys.executable, "-c", script, *map(str, arguments)], scratch=str(scratch), **options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTE, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


WRITE = """
import json, sys
def write(path):
    try:
        with open(path, "ab") as file:
            file.write(b"x")
    except OSError as error:
        return error.errno
    return 0
print(json.dumps([write(path) for path in sys.argv[1:]]))
"""

CONNECT = """
import json, socket, sys
def connect(family, address):
    with socket.socket(family) as one:
        one.settimeout(20)
        return one.connect_ex(address)
"""


@pytest.mark.system("bubblewrap")
class TestFiles:
    def test_all_are_read_only_but_those_in_scratch(self, inside, scratch, tmp_path):
        outside = tmp_path / "outside"
        outside.write_bytes(b"before")
        new = tmp_path / "new"
        home = Path.home() / f"psengine-test-{os.getpid()}"
        temporary = Path(tempfile.gettempdir()) / f"psengine-test-{os.getpid()}"
        within = scratch / "file"
        paths = [outside, new, home, temporary, "/etc/passwd", "/dev/new", "/proc/self/comm", within]
        assert inside(WRITE, *paths) == [errno.EROFS] * 7 + [0]
        assert outside.read_bytes() == b"before"
        assert [path.exists() for path in (new, home, temporary)] == [False] * 3
        assert within.read_bytes() == b"x"

    def test_they_cannot_be_renamed_removed_or_made_others(self, inside, tmp_path):
        outside = tmp_path / "outside"
        outside.write_bytes(b"before")
        script = """
import json, os, sys
outside, errors = sys.argv[1], []
for change in (os.remove, lambda path: os.rename(path, "here"), lambda path: os.chmod(path, 0o777), os.utime,
               lambda path: os.truncate(path, 0), lambda path: os.link(path, "here"),
               lambda path: os.mkdir(path + "-folder")):
    try:
        change(outside)
        errors.append(0)
    except OSError as error:
        errors.append(error.errno)
print(json.dumps(errors))
"""
        # A rename or a link into scratch would cross from one mount to another.
        allowed = {errno.EROFS, errno.EXDEV}
        assert set(inside(script, outside)) <= allowed
        assert outside.read_bytes() == b"before"

    def test_what_is_outside_can_be_read(self, inside, tmp_path):
        spool = tmp_path / "spool"
        spool.mkdir(mode=0o700)
        (spool / "artifact").write_bytes(b"content")
        assert inside("import json, sys; print(json.dumps(open(sys.argv[1]).read()))", spool / "artifact") == "content"

    def test_what_is_put_there_later_can_be_read(self, bwrap, scratch, tmp_path):
        script = "import sys; print(1, flush=True); input(); print(open(sys.argv[1]).read())"
        command = bubblewrap([sys.executable, "-c", script, str(tmp_path / "late")], scratch=str(scratch))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "1\n"
            (tmp_path / "late").write_text("content")
            assert process.communicate("\n", timeout=MINUTE)[0] == "content\n"

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's file")
    def test_root_can_read_the_files_of_others(self, inside, tmp_path):
        (tmp_path / "private").write_bytes(b"content")
        os.chown(tmp_path / "private", NOBODY, NOBODY)
        (tmp_path / "private").chmod(0o600)
        script = "import json, sys; print(json.dumps(open(sys.argv[1]).read()))"
        assert inside(script, tmp_path / "private") == "content"

    def test_scratch_is_the_current_folder_and_that_for_temporary_files(self, inside, scratch):
        script = "import json, os, tempfile; print(json.dumps([os.getcwd(), tempfile.mkdtemp(prefix='made')]))"
        folder, made = inside(script)
        assert folder == str(scratch)
        assert Path(made).parent == scratch
        assert Path(made).is_dir()

    def test_scratch_behind_a_link(self, bwrap, scratch, tmp_path):
        (tmp_path / "link").symlink_to(scratch)
        command = bubblewrap(["touch", "made", str(tmp_path / "link/too")], scratch=str(tmp_path / "link"))
        subprocess.run(command, timeout=MINUTE, check=True)
        assert sorted(os.listdir(scratch)) == ["made", "too"]

    def test_folders_in_dev_are_seen_if_they_are_named(self, inside):
        script = """
import json, os, sys
folder = sys.argv[1]
try:
    open(folder + "/new", "w")
except OSError as error:
    print(json.dumps([os.listdir(folder) if os.path.exists(folder) else None, error.errno]))
"""
        with tempfile.TemporaryDirectory(dir="/dev/shm") as spool:
            (Path(spool) / "artifact").touch()
            assert inside(script, spool) == [None, errno.ENOENT]
            assert inside(script, spool, readable=[spool]) == [["artifact"], errno.EROFS]

    def test_scratch_in_a_folder_that_is_named(self, inside, scratch, tmp_path):
        assert inside(WRITE, scratch / "file", tmp_path / "new", readable=[tmp_path]) == [0, errno.EROFS]

    def test_a_command_of_the_toolkit_runs(self, inside):
        script = """
import json
from psengine_host.toolkit.subprocesses import run_command
print(json.dumps(run_command(["sh", "-c", "sleep 600 & echo hello > file; cat file"]).stdout))
"""
        assert inside(script) == "hello\n"

    def test_scratch_in_dev(self, bwrap):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            subprocess.run(bubblewrap(["touch", "made"], scratch=folder), timeout=MINUTE, check=True)
            assert os.listdir(folder) == ["made"]

    def test_locks_and_shared_memory_work_and_have_an_end(self, inside):
        script = """
import json, multiprocessing, os
from multiprocessing import shared_memory
with multiprocessing.Lock():
    block = shared_memory.SharedMemory(create=True, size=1000)
block.close(); block.unlink()
written = 0
try:
    with open("/dev/shm/much", "wb", buffering=0) as file:
        while written < 200_000_000:
            written += file.write(bytes(1_000_000))
except OSError as error:
    print(json.dumps([written < 70_000_000, error.errno]))
"""
        assert inside(script) == [True, errno.ENOSPC]


@pytest.mark.system("bubblewrap")
class TestNetwork:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_a_listener_outside_hears_nothing(self, inside, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as listener:
            try:
                listener.bind((address, 0))
            except OSError:
                assert family == socket.AF_INET6, "there is no IPv4"
                return
            listener.listen()
            listener.setblocking(False)
            where = listener.getsockname()[:2]
            script = f"{CONNECT}\nprint(json.dumps(connect({int(family)}, {where!r})))"
            assert inside(script) == errno.ECONNREFUSED
            assert accepted(listener) == 0
            with socket.create_connection(where, timeout=20):  # without the sandbox it would
                assert accepted(listener) == 1

    def test_no_datagram_gets_out(self, inside):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("127.0.0.1", 0))
            where = listener.getsockname()
            script = f"""
import json, socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", {where!r})
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))
except OSError as error:
    print(json.dumps(error.errno))
"""
            assert inside(script) == errno.ENETUNREACH
            assert select.select([listener], [], [], 0)[0] == []

    def test_nothing_but_a_loopback_interface(self, inside):
        assert inside("import json, socket; print(json.dumps(socket.if_nameindex()))") == [[1, "lo"]]

    def test_abstract_unix_sockets_are_out_of_reach(self, inside):
        name = f"\0psengine-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen()
            listener.setblocking(False)
            assert inside(f"{CONNECT}\nprint(json.dumps(connect(socket.AF_UNIX, {name!r})))") == errno.ECONNREFUSED
            assert accepted(listener) == 0

    def test_unix_sockets_with_a_path_are_within_reach(self, inside):
        # How a worker speaks with a daemon of its engine's home.
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/socket")
            listener.listen()
            listener.setblocking(False)
            script = f"{CONNECT}\nprint(json.dumps(connect(socket.AF_UNIX, {folder + '/socket'!r})))"
            assert inside(script) == 0
            assert accepted(listener) == 1


def accepted(listener):
    count = 0
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


@pytest.mark.system("bubblewrap")
class TestPrivileges:
    def test_other_processes_are_out_of_sight_and_reach(self, inside):
        script = """
import json, os, sys
try:
    os.kill(int(sys.argv[1]), 0)
except OSError as error:
    print(json.dumps([error.errno, len([name for name in os.listdir("/proc") if name.isdigit()]) < 5]))
"""
        assert inside(script, os.getpid()) == [errno.ESRCH, True]

    def test_nothing_can_be_mounted_anew(self, inside, tmp_path):
        script = """
import ctypes, json, os
c = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT_BIND, CLONE_NEWUSER_NEWNS = 0x1000 | 0x20, 0x10000000 | 0x20000
def outcome(code):
    return ctypes.get_errno() if code else 0
errors = [outcome(c.mount(b"none", place, None, MS_REMOUNT_BIND, None)) for place in (b"/", b"/proc", b"/dev")]
if c.unshare(CLONE_NEWUSER_NEWNS) == 0:  # root in a user namespace of its own
    errors += [outcome(c.mount(b"none", place, None, MS_REMOUNT_BIND, None)) for place in (b"/", b"/proc", b"/dev")]
    errors += [outcome(c.umount2(b"/proc", 2))]
try:
    open("/etc/psengine-test", "w")
    errors.append(0)
except OSError as error:
    errors.append(error.errno)
print(json.dumps(errors))
"""
        errors = inside(script)
        assert set(errors[:-1]) <= {errno.EPERM, errno.EACCES, errno.EINVAL}
        assert errors[-1] == errno.EROFS

    def test_capabilities(self, inside):
        script = """
import json
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
print(json.dumps([int(status["CapEff"], 16), int(status["CapPrm"], 16), int(status["NoNewPrivs"])]))
"""
        effective, permitted, no_new = inside(script)
        dac_read_search = 1 << 2
        assert effective == permitted
        assert permitted & ~dac_read_search == 0
        assert no_new == 1

    def test_devices_are_the_harmless_ones(self, inside):
        names = set(inside("import json, os; print(json.dumps(os.listdir('/dev')))"))
        assert {"null", "zero", "urandom", "shm"} <= names
        assert names <= {
            *("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "core", "fd"),
            *("stdin", "stdout", "stderr", "console"),
        }

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
    def test_for_a_user_without_privileges(self, bwrap):
        script = """
import os, subprocess, sys
from psengine_host.backends.process.sandbox import bubblewrap
os.setgroups([]); os.setgid(65534); os.setuid(65534)
script = 'touch "$TMPDIR/made"; touch "$1" 2>&1; head -c 1 /dev/zero | wc -c; cat /proc/net/dev | tail -n +3 | wc -l'
os.execvp("bwrap", bubblewrap(["sh", "-c", script, "sh", sys.argv[2]], scratch=sys.argv[1]))
"""
        with tempfile.TemporaryDirectory() as parent:
            os.chmod(parent, 0o777)
            folder = Path(parent) / "scratch"
            folder.mkdir()
            os.chown(folder, NOBODY, NOBODY)
            done = subprocess.run(
                [sys.executable, "-c", script, folder, f"{parent}/new"],
                capture_output=True,
                text=True,
                timeout=MINUTE,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            refused, zeros, interfaces = done.stdout.splitlines()
            assert refused.endswith("Read-only file system")
            assert (zeros, interfaces) == ("1", "1")
            assert os.listdir(parent) == ["scratch"]
            assert os.listdir(folder) == ["made"]


CHANNEL = """
import os, socket
channel = socket.socket(fileno=int(os.environ["CHANNEL"]))
"""


@pytest.fixture
def started(bwrap, scratch):
    """Starts a Python script with a channel in the sandbox, in a session of its own; its process and our end."""
    running = []

    def start(script):
        ours, theirs = socket.socketpair()
        ours.settimeout(MINUTE)
        with theirs:
            process = subprocess.Popen(
                bubblewrap([sys.executable, "-c", CHANNEL + script], scratch=str(scratch)),
                env={**os.environ, "CHANNEL": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        running.append((process, ours))
        return process, ours

    yield start
    for process, ours in running:
        ours.close()
        process.kill()
        process.wait(timeout=MINUTE)


@pytest.mark.system("bubblewrap")
class TestProcesses:
    def test_the_channel_works_both_ways_and_ends_with_the_command(self, started):
        process, channel = started("channel.sendall(channel.recv(100).upper())")
        channel.sendall(b"hello")
        assert channel.recv(100) == b"HELLO"
        assert channel.recv(100) == b"", "bubblewrap itself must hold no end of it"
        assert process.wait(timeout=MINUTE) == 0

    def test_no_session_is_made(self, started):
        process, channel = started("import time; channel.sendall(b'x'); channel.recv(1)")
        assert channel.recv(1) == b"x"
        groups = {os.getpgid(one) for one in descendants(process.pid)}
        assert groups == {process.pid}
        assert len(descendants(process.pid)) == 3  # bubblewrap, its init, and the command

    @pytest.mark.parametrize("kill", [os.killpg, os.kill], ids=["group", "process"])
    def test_killing_it_ends_everything_inside(self, started, kill):
        process, channel = started(
            """
import signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    channel.sendall(b"x")
    time.sleep(600)  # a grandchild in a session of its own; it holds the channel open as long as it lives
os.wait()
channel.sendall(b"x")
time.sleep(600)
"""
        )
        assert channel.recv(1) + channel.recv(1) == b"xx"
        inside = [os.pidfd_open(one) for one in descendants(process.pid)]
        try:
            assert len(inside) == 4
            kill(process.pid, signal.SIGKILL)
            assert channel.recv(1) == b""
            assert all(select.select([one], [], [], MINUTE)[0] for one in inside)
        finally:
            for one in inside:
                os.close(one)
        assert signal_of(process.wait(timeout=MINUTE)) == signal.SIGKILL

    def test_it_ends_with_its_parent(self, bwrap, scratch):
        script = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
input()
"""
        command = bubblewrap(["sh", "-c", "echo begun; sleep 600; :"], scratch=str(scratch))
        parent = subprocess.Popen(
            [sys.executable, "-c", script, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with parent:
            assert parent.stdout.readline() == "begun\n"
            parent.kill()
            assert parent.stdout.read() == ""  # the sleeper has it too, and has ended when this does

    def test_what_the_command_leaves_behind_ends_with_it(self, started):
        process, channel = started(
            """
import time
if os.fork() == 0:
    os.setsid()
    channel.sendall(b"x")
    time.sleep(600)
channel.recv(1)
os._exit(7)
"""
        )
        assert channel.recv(1) == b"x"
        channel.sendall(b"x")
        assert process.wait(timeout=MINUTE) == 7
        assert channel.recv(1) == b""

    @pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT", "SIGXCPU", "SIGTERM"])
    def test_the_signal_that_ended_the_command_is_told(self, started, name):
        number = getattr(signal, name)
        process, _ = started(
            f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.kill(os.getpid(), {int(number)})"
        )
        status = process.wait(timeout=MINUTE)
        assert status == 128 + number
        assert signal_of(status) == number

    def test_memory_is_counted_from_outside(self, started):
        from psengine_host.backends.process.memory import resident

        process, channel = started("held = bytearray(b'x') * 50_000_000; channel.sendall(b'x'); channel.recv(1)")
        assert channel.recv(1) == b"x"
        assert resident(process.pid) > 50_000_000


def descendants(process):
    """A process and all below it."""
    found = [process]
    for one in found:
        for thread in os.listdir(f"/proc/{one}/task"):
            found += map(int, Path(f"/proc/{one}/task/{thread}/children").read_text().split())
    return found


@pytest.mark.parametrize(
    ("status", "number"),
    [(0, None), (1, None), (127, None), (128, None), (139, 11), (137, 9), (-9, 9), (-11, 11), (192, 64), (193, None)],
)
def test_signal_of(status, number):
    assert signal_of(status) == number


class TestWhereItCannotBe:
    @pytest.fixture(autouse=True)
    def nothing_remembered(self):
        sandbox._tried.cache_clear()
        yield
        sandbox._tried.cache_clear()

    @pytest.fixture
    def fake(self, tmp_path, monkeypatch):
        """Puts a program in the place of bubblewrap."""

        def put(script):
            (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "bwrap").chmod(0o755)
            monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

        return put

    def test_it_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError) as caught:
            bubblewrap(["true"], scratch=str(tmp_path))
        assert str(caught.value) == (
            'sandbox = "bwrap" in [workers] needs bubblewrap, and there is no bwrap in PATH: '
            'install it (Debian: apt-get install bubblewrap), or set sandbox = "none" in [workers]'
        )

    def test_namespaces_are_forbidden(self, fake):
        fake("echo warning >&2; printf 'bwrap: No permissions to create \\033new namespace\\n' >&2; exit 1")
        with pytest.raises(UsageError) as caught:
            require_bubblewrap()
        assert str(caught.value) == (
            'sandbox = "bwrap" in [workers] does not work on this machine '
            "(bwrap: No permissions to create \\x1bnew namespace): "
            'permit user namespaces to the service or the container, or set sandbox = "none" in [workers]'
        )

    def test_it_says_nothing(self, fake):
        fake("exit 3")
        with pytest.raises(UsageError, match=r"does not work on this machine \(it ends with exit code 3\): "):
            require_bubblewrap()

    def test_it_is_no_program(self, fake, tmp_path):
        fake("")
        (tmp_path / "bwrap").write_bytes(b"\x7fELF")
        with pytest.raises(UsageError, match=r"does not work on this machine \(.*Exec format error.*\): "):
            require_bubblewrap()

    def test_an_error_is_not_remembered(self, fake, tmp_path):
        fake("exit 3")
        with pytest.raises(UsageError):
            require_bubblewrap()
        fake("exit 0")
        assert require_bubblewrap() == str(tmp_path / "bwrap")

    def test_success_is(self, fake, tmp_path):
        fake(f"echo x >> {tmp_path}/tries")
        for _ in range(3):
            bubblewrap(["true"], scratch=str(tmp_path))
            require_bubblewrap()
        assert (tmp_path / "tries").read_text() == "x\n"

    @pytest.mark.skipif(os.getuid() != 0, reason="only root is given a second way")
    def test_root_without_the_right_to_make_namespaces_gets_a_user_namespace(self, fake):
        fake('case "$*" in *--unshare-user*) exit 0;; esac; exit 1')
        assert "--unshare-user" in bubblewrap(["true"], scratch="/")

    @pytest.mark.system("bubblewrap")
    @pytest.mark.skipif(os.getuid() != 0, reason="only root can take rights from itself")
    def test_that_way_works(self, bwrap, scratch):
        setpriv = shutil.which("setpriv")
        assert setpriv is not None, "util-linux has it"
        script = """
import os, sys
from psengine_host.backends.process.sandbox import bubblewrap
command = bubblewrap(["sh", "-c", "touch made; touch /etc/psengine-test 2>&1"], scratch=sys.argv[1])
assert "--unshare-user" in command, command
os.execvp(command[0], command)
"""
        done = subprocess.run(
            [setpriv, "--bounding-set=-sys_admin", sys.executable, "-c", script, scratch],
            capture_output=True,
            text=True,
            timeout=MINUTE,
            check=False,
        )
        assert done.stdout.endswith("Read-only file system\n"), done.stderr
        assert os.listdir(scratch) == ["made"]
