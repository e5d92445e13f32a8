import logging
import os
import pickle
import signal
import sys
import threading
import time
from array import array
from contextlib import contextmanager
from pathlib import Path

import pytest

from psengine_host.errors import EngineError, EngineTimeout
from psengine_host.job import Job, working_on
from psengine_host.quantities import parse_size
from psengine_host.toolkit import subprocesses
from psengine_host.toolkit.subprocesses import (
    CommandError,
    CommandFailed,
    CommandNotFound,
    CommandNotStarted,
    CommandTimeout,
    InvalidCommand,
    run_command,
)


def shell(script, **options):
    return run_command(["sh", "-c", script], **options)


def python(source, **options):
    return run_command([sys.executable, "-c", source], **options)


@contextmanager
def nothing_left():
    """No child, descriptor or thread more than before."""

    def now():
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        return children, sorted(os.listdir("/proc/self/fd")), threading.active_count()

    before = now()
    yield
    assert now() == before


class TestWhatCameOfIt:
    def test_exit_code_and_both_outputs(self):
        with nothing_left():
            done = shell("echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
        assert (done.stdout_bytes, done.stderr_bytes) == (b"out\n", b"err\n")
        assert done.args == ("sh", "-c", "echo out; echo err >&2; exit 3")
        assert not done.succeeded
        assert not done.stdout_truncated
        assert not done.stderr_truncated
        assert 0 < done.seconds < 30

    def test_arguments_arrive_as_they_are(self):
        words = ["a b", "$HOME", "*", "'", '"', "`id`", ";", "", "\\", "\n", "ü", os.fsdecode(b"\xff")]
        done = python("import sys; sys.stdout.buffer.write(b'|'.join(map(__import__('os').fsencode, sys.argv[1:])))")
        assert done.stdout == ""
        done = run_command(["printf", "%s|", *words])
        assert done.stdout_bytes == b"|".join(map(os.fsencode, words)) + b"|"

    def test_paths_are_arguments(self, tmp_path):
        (tmp_path / "a file").write_bytes(b"content")
        assert run_command([Path("/bin/cat"), tmp_path / "a file"]).stdout == "content"

    def test_lines_end_where_the_program_ended_them(self):
        done = run_command(["printf", "one\\r\\n\\r\\na\\342\\200\\250b\\302\\205c\\nlast"])
        assert done.lines == ["one", "", "a\u2028b\x85c", "last"]
        assert run_command(["printf", "one\\n"]).lines == ["one"]
        assert run_command(["true"]).lines == []

    @pytest.mark.parametrize(
        ("written", "encoding", "text"),
        [
            (r"gr\366\337er\r\n", "cp1252", "größer\n"),
            (r"\377\376a\0\r\0\n\0", "utf-16", "a\n"),
            (r"a\377", "utf-8", "a\ufffd"),
        ],
    )
    def test_output_is_decoded_as_it_is_said_to_be_written(self, written, encoding, text):
        assert run_command(["printf", written], encoding=encoding).stdout == text

    def test_the_name_of_the_signal_that_ended_it(self):
        done = shell("kill -SEGV $$")
        assert (done.returncode, done.signal) == (-signal.SIGSEGV, "SIGSEGV")
        assert run_command(["true"]).signal is None
        realtime = shell(f"kill -{signal.SIGRTMIN + 3} $$")
        assert realtime.signal == f"signal {signal.SIGRTMIN + 3}"

    def test_it_is_not_changed(self):
        with pytest.raises(AttributeError):
            run_command(["true"]).returncode = 1

    def test_its_repr_says_how_it_ended_and_not_what_it_wrote(self):
        shown = repr(run_command(["printf", "%s", "--token=abcdef", "loud"]))
        assert shown.startswith("<CompletedCommand printf %s --token=*** loud: returncode 0, 18 + 0 bytes, ")

    def test_it_has_no_terminal_and_nothing_to_read(self):
        assert shell("cat; tty; (: < /dev/tty) 2>/dev/null || echo none").stdout == "not a tty\nnone\n"

    def test_it_runs_in_the_folder_that_is_named(self, tmp_path):
        program = tmp_path / "here"
        program.write_text("#!/bin/sh\npwd\n")
        program.chmod(0o755)
        assert run_command(["./here"], cwd=tmp_path).lines == [str(tmp_path.resolve())]


class TestInput:
    def test_what_it_reads(self):
        assert run_command(["cat"], input=b"\0\xff").stdout_bytes == b"\0\xff"
        assert run_command(["cat"], input=b"").stdout_bytes == b""

    def test_more_than_pipes_hold_goes_in_and_out(self):
        data = os.urandom(1 << 20) * 5
        with nothing_left():
            assert run_command(["cat"], input=data).stdout_bytes == data

    def test_a_program_that_does_not_read_it(self):
        with nothing_left():
            assert run_command(["true"], input=b"x" * (1 << 20)).returncode == 0
            assert shell("exec <&-; echo done", input=b"x" * (1 << 20)).stdout == "done\n"

    def test_a_program_that_reads_it_too_slowly_is_ended(self):
        with nothing_left(), pytest.raises(CommandTimeout):
            run_command(["sleep", "60"], input=b"x" * (1 << 20), timeout=0.2)

    @pytest.mark.parametrize(
        ("view", "read"),
        [
            (memoryview(array("i", range(100_000))), array("i", range(100_000)).tobytes()),
            (memoryview(b"abcdef")[::2], b"ace"),
            (bytearray(b"abc"), b"abc"),
        ],
    )
    def test_a_view_of_whatever_items_is_read_whole(self, view, read):
        assert run_command(["cat"], input=view).stdout_bytes == read

    def test_it_is_bytes(self):
        with pytest.raises(InvalidCommand, match="cat was not started: input: must be bytes, and is of type str"):
            run_command(["cat"], input="text")


class TestEnvironment:
    @pytest.mark.parametrize(
        ("variable", "value"), [("LC_ALL", "C"), ("LC_ALL", "de_DE.UTF-8"), ("TZ", "America/Los_Angeles"), ("TZ", "")]
    )
    def test_locale_and_time_zone_are_passed_on_unchanged(self, variable, value, monkeypatch):
        monkeypatch.setenv(variable, value)
        assert shell(f'printf "%s" "${{{variable}-unset}}"').stdout == value

    @pytest.mark.parametrize("variable", ["LC_ALL", "TZ"])
    def test_and_not_forced_where_they_are_not_set(self, variable, monkeypatch):
        monkeypatch.delenv(variable, raising=False)
        assert shell(f'printf "%s" "${{{variable}-unset}}"').stdout == "unset"

    def test_variables_are_set_and_removed(self, monkeypatch):
        monkeypatch.setenv("KEPT", "kept")
        monkeypatch.setenv("GONE", "gone")
        done = shell('echo "$KEPT ${GONE-none} $NEW"', env={"NEW": "new", "GONE": None, "NEVER": None})
        assert done.stdout == "kept none new\n"

    def test_secrets_of_the_host_stay_in_it(self, monkeypatch):
        monkeypatch.setenv("PSENGINE_WEBHOOK_SECRET", "s3cret")
        monkeypatch.setenv("PSENGINE_BROKER_URL", "amqp://user:pass@host")
        monkeypatch.setenv("NANOAV_LICENCE", "mine")
        names = {line.partition("=")[0] for line in run_command(["env"]).lines}
        assert {name for name in names if name.startswith("PSENGINE_")} == {"PSENGINE_COMMAND"}
        assert "NANOAV_LICENCE" in names

    def test_but_for_what_is_named(self, monkeypatch):
        monkeypatch.setenv("PSENGINE_CONFIG", "/etc/psengine.toml")
        given = {"PSENGINE_CONFIG": os.environ["PSENGINE_CONFIG"]}
        assert shell("echo $PSENGINE_CONFIG", env=given).stdout == "/etc/psengine.toml\n"

    def test_the_program_is_looked_for_in_its_own_path(self, tmp_path):
        program = tmp_path / "only-here"
        program.write_text("#!/bin/sh\necho found\n")
        program.chmod(0o755)
        assert run_command(["only-here"], env={"PATH": f"{tmp_path}:/bin"}).stdout == "found\n"

    @pytest.mark.parametrize(
        ("env", "message"),
        [
            ({"KEY=hunter2": "x"}, "env: 'KEY=***' is no name of a variable"),
            ({"": "x"}, "env: '' is no name of a variable"),
            ({"LEVEL": 3}, "env: LEVEL must be text, or None to remove it, and is of type int"),
            ({"PASSWORD": "a\0b"}, "env: PASSWORD holds a null character"),
        ],
    )
    def test_what_no_variable_can_be_is_refused(self, env, message):
        with pytest.raises(InvalidCommand) as caught:
            run_command(["true"], env=env)
        assert str(caught.value) == f"true was not started: {message}"


class TestMaxOutput:
    def test_what_is_beyond_is_dropped_and_the_program_goes_on(self):
        done = shell("yes | head -c 3000000; echo end >&2; exit 7", max_output="1 MB")
        assert (len(done.stdout_bytes), done.stdout_truncated) == (1_000_000, True)
        assert (done.stderr, done.stderr_truncated, done.returncode) == ("end\n", False, 7)

    @pytest.mark.parametrize(("limit", "kept", "truncated"), [(4, b"1234", False), (3, b"123", True), (0, b"", True)])
    def test_the_limit_is_exact(self, limit, kept, truncated):
        for stream in ("", " >&2"):
            done = shell(f"printf 1234{stream}", max_output=limit)
            assert (done.stdout_bytes + done.stderr_bytes) == kept
            assert (done.stdout_truncated or done.stderr_truncated) is truncated

    def test_a_cut_within_a_character(self):
        assert run_command(["printf", "a€"], max_output=3).stdout == "a"

    @pytest.mark.parametrize(("limit", "megabytes"), [("1 MB", 10), ("16 MB", 90)])
    def test_an_endless_writer_takes_no_memory(self, limit, megabytes):
        """What is kept is there as bytes and as text, and once more while it is made; nothing grows beyond."""
        source = (
            "import resource\n"
            "from psengine_host.toolkit.subprocesses import CommandTimeout, run_command\n"
            "run_command(['true'])\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try:\n"
            f"    run_command(['yes', 'no'], timeout=3, max_output={limit!r}, secrets=['maybe'])\n"
            "except CommandTimeout as error:\n"
            "    assert error.result.stdout_truncated\n"
            "    print(len(error.result.stdout_bytes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        done = python(source, env={"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=100).check()
        kept, kilobytes = map(int, done.stdout.split())
        assert kept == parse_size(limit)
        assert kilobytes < megabytes * 1000


class TestLimits:
    def test_a_program_that_takes_too_long_is_ended(self):
        with nothing_left(), pytest.raises(CommandTimeout) as caught:
            shell("echo begun; echo 'still at it' >&2; exec sleep 60", timeout=0.3)
        script = "sh -c 'echo begun; echo '\"'\"'still at it'\"'\"' >&2; exec sleep 60'"
        assert str(caught.value) == f"{script} took longer than its limit of 0.3 s and was ended: still at it"
        assert caught.value.command == script
        assert caught.value.result.stdout == "begun\n"
        assert caught.value.result.signal == "SIGTERM"

    @pytest.mark.parametrize(("timeout", "text"), [("200ms", "0.2 s"), (1, "1 s"), ("0.25", "0.25 s")])
    def test_the_limit_is_written_as_people_write_it(self, timeout, text):
        with pytest.raises(CommandTimeout, match=rf"^sleep 60 took longer than its limit of {text} and was ended$"):
            run_command(["sleep", "60"], timeout=timeout)

    def test_the_bounty_s_time_is_a_limit(self):
        with working_on(Job("nano", deadline=time.monotonic() + 0.3)), pytest.raises(CommandTimeout) as caught:
            run_command(["sleep", "60"])
        assert str(caught.value) == "sleep 60 took longer than the 0.3 s that were left for the bounty and was ended"

    def test_the_shorter_limit_holds(self):
        with (
            working_on(Job("nano", deadline=time.monotonic() + 60)),
            pytest.raises(CommandTimeout, match=r"its limit of 0\.2 s"),
        ):
            run_command(["sleep", "60"], timeout=0.2, deadline=time.monotonic() + 60)

    def test_a_deadline_that_is_given_is_a_limit(self):
        with pytest.raises(CommandTimeout, match=r"its deadline, 0\.3 s after its start, and was ended"):
            run_command(["sleep", "60"], deadline=time.monotonic() + 0.3)

    def test_what_would_be_too_late_is_not_started(self, tmp_path):
        with working_on(Job("nano", deadline=time.monotonic() - 1)), pytest.raises(CommandTimeout) as caught:
            run_command(["touch", tmp_path / "begun"])
        assert str(caught.value) == f"touch {tmp_path}/begun was not started: the time for the bounty is over"
        with pytest.raises(CommandTimeout, match="was not started: its deadline is over"):
            run_command(["touch", tmp_path / "begun"], deadline=time.monotonic())
        assert caught.value.result is None
        assert not (tmp_path / "begun").exists()

    def test_a_limit_that_is_over_before_the_start(self):
        with pytest.raises(CommandTimeout, match=r"^true was not started: its limit of 1e-09 s is over$"):
            run_command(["true"], timeout=1e-9)

    def test_one_that_ends_in_time_is_not_late(self):
        with working_on(Job("nano", deadline=time.monotonic() + 60)):
            assert run_command(["true"]).succeeded


class TestCheck:
    def test_an_exit_code_that_was_not_expected(self):
        with pytest.raises(CommandFailed) as caught:
            shell("echo one; echo two >&2; echo >&2; echo '  three  four' >&2; exit 2", check=True)
        assert str(caught.value).endswith("ended with exit code 2: two | three four")
        assert caught.value.result.returncode == 2

    def test_expected_codes_pass(self):
        done = shell("exit 1")
        assert done.check(0, 1) is done
        with pytest.raises(CommandFailed, match=r"^sh -c 'exit 1' ended with exit code 1$"):
            done.check(0, 2)

    def test_without_errors_the_output_s_last_lines_are_shown(self):
        with pytest.raises(CommandFailed, match=r"exit code 1: 3 \| 4 \| 5 \| 6 \| 7$"):
            shell("seq 7; exit 1", check=True)

    def test_a_signal_is_never_expected(self):
        with pytest.raises(CommandFailed, match=r"^sh -c 'kill -KILL \$\$' was ended by SIGKILL$"):
            shell("kill -KILL $$").check(0, 1, 2)

    def test_the_message_is_one_short_printable_line(self):
        with pytest.raises(CommandFailed) as caught:
            shell("head -c 100000 /dev/zero | tr '\\0' x >&2; printf '\\033[31mred\\007' >&2; exit 1", check=True)
        message = str(caught.value)
        assert message.isprintable()
        assert len(message) < 700
        assert message.endswith("�[31mred�")

    def test_secrets_are_in_no_message_and_no_repr(self, caplog):
        caplog.set_level(logging.DEBUG)
        with pytest.raises(CommandFailed) as caught:
            shell(
                'echo "no licence $KEY for $0 in hidden" >&2; exit 1',
                env={"KEY": "K-123-456"},
                secrets=["hidden"],
                check=True,
            )
        assert str(caught.value) == (
            "sh -c 'echo \"no licence $KEY for $0 in ***\" >&2; exit 1' ended with exit code 1: "
            "no licence *** for sh in ***"
        )
        for shown in (repr(caught.value), repr(caught.value.result), caught.value.command, caplog.text):
            assert "hidden" not in shown
            assert "K-123" not in shown
        assert caught.value.result.stderr == "no licence K-123-456 for sh in hidden\n"

    def test_a_secret_written_in_another_encoding_is_hidden_too(self):
        done = shell('printf "no licence $KEY" | iconv -t UTF-16LE', env={"KEY": "hunter2"})
        assert done.stdout.startswith("n\0o\0")
        with pytest.raises(CommandFailed, match=r"exit code 0: no licence \*\*\*$"):
            done.check(3)

    def test_a_secret_in_an_option_is_hidden(self, tmp_path):
        for folder in (tmp_path / "hunter2", f"{tmp_path}/hunter2\0"):
            with pytest.raises(CommandError, match=r"\*\*\*") as caught:
                run_command(["true"], cwd=folder, secrets="hunter2")
            assert "hunter2" not in str(caught.value)

    def test_one_secret_may_be_given_as_it_is(self):
        assert "hunter2" not in repr(run_command(["echo", "hunter2"], secrets="hunter2"))


class TestWhatCannotBeStarted:
    def test_a_program_that_there_is_not(self):
        with nothing_left(), pytest.raises(CommandNotFound) as caught:
            run_command(["no-such-scanner", "--fast"])
        assert str(caught.value) == (
            "no-such-scanner --fast was not started: there is no program 'no-such-scanner' in PATH; install it, or "
            "name it with its whole path"
        )

    def test_a_path_that_there_is_not(self, tmp_path):
        with pytest.raises(CommandNotFound, match=f"there is no program '{tmp_path}/scan'; install it"):
            run_command([tmp_path / "scan"])

    def test_a_path_from_the_working_directory_that_there_is_not(self, tmp_path, monkeypatch):
        (tmp_path / "scan").symlink_to("/bin/true")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CommandNotFound, match=r"there is no program '\./scan'; install it"):
            run_command(["./scan"], cwd=tmp_path / "elsewhere")

    def test_a_file_that_is_not_executable(self, tmp_path):
        (tmp_path / "scan").write_text("#!/bin/sh\n")
        with (
            nothing_left(),
            pytest.raises(CommandNotStarted, match="scan' may not be executed by this user; see its mode"),
        ):
            run_command([tmp_path / "scan"])

    def test_a_folder(self, tmp_path):
        with pytest.raises(CommandNotStarted, match=f"'{tmp_path}' is a folder"):
            run_command([tmp_path])

    def test_a_file_that_is_no_program(self, tmp_path):
        program = tmp_path / "scan.exe"
        program.write_bytes(b"MZ\0\0")
        program.chmod(0o755)
        with pytest.raises(
            CommandNotStarted, match="is no program that this system runs; run a Windows program with wine"
        ):
            run_command([program])

    def test_a_script_whose_interpreter_is_missing(self, tmp_path):
        program = tmp_path / "scan"
        program.write_text("#!/no/such/shell\n")
        program.chmod(0o755)
        with pytest.raises(CommandNotStarted, match="is run by is missing") as caught:
            run_command([program])
        assert not isinstance(caught.value, CommandNotFound)

    def test_a_working_directory_that_there_is_not(self, tmp_path):
        with pytest.raises(
            CommandNotStarted, match=f"true was not started: the working directory '{tmp_path}/x' is no folder"
        ):
            run_command(["true"], cwd=tmp_path / "x")

    def test_too_many_arguments(self):
        with nothing_left(), pytest.raises(CommandNotStarted, match="hand over a list in a file"):
            run_command(["true", *(["x" * 100_000] * 100)])

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ("scan --fast", "a command is a list of its words, not one text: write ['scan', '--fast', path]"),
            (b"scan", "a command is a list of its words, not one text: write ['scan', '--fast', path]"),
            (Path("scan"), "a command is a list of its words, not one text: write ['scan', '--fast', path]"),
            (None, "a command is a list of its words, not of type NoneType"),
            ([], "a command needs the name of its program"),
            ([""], "a command needs the name of its program"),
            (["scan", 3], "word 1 of the command must be text or a path, and is of type int"),
            (["scan", b"x"], "word 1 of the command must be text or a path, and is of type bytes"),
            (["scan", None], "word 1 of the command must be text or a path, and is of type NoneType"),
            (["scan", "--password=a\0b"], "word 1 of the command holds a null character: '--password=***'"),
        ],
    )
    def test_what_is_no_command(self, args, message):
        with pytest.raises(InvalidCommand) as caught:
            run_command(args)
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"timeout": 0}, "timeout: must be more than 0 seconds"),
            ({"timeout": "soon"}, "'soon' is no duration"),
            ({"timeout": None}, "None is no duration"),
            ({"timeout": float("inf")}, "inf is no duration"),
            ({"max_output": "much"}, "'much' is no size"),
            ({"max_output": -1}, "-1 is no size"),
            ({"encoding": "utf_9"}, "there is no encoding 'utf_9'; did you mean 'utf_8'?"),
            ({"deadline": float("nan")}, "deadline: must be a number on the clock of time.monotonic, not nan"),
            ({"deadline": 10**400}, "deadline: must be a number on the clock of time.monotonic, not 1000"),
            ({"deadline": True}, "deadline: must be a number on the clock of time.monotonic, not True"),
            ({"deadline": "10s"}, "deadline: must be a number on the clock of time.monotonic, not '10s'"),
            ({"env": ["A=B"]}, "env: must be a mapping, and is of type list"),
            ({"cwd": "a\0b"}, "cwd: 'a\\x00b' is no path"),
            ({"cwd": 3}, "expected str, bytes or os.PathLike object, not int"),
        ],
    )
    def test_options_that_cannot_be(self, options, message):
        with pytest.raises(InvalidCommand) as caught:
            run_command(["true", "--token=abc"], **options)
        assert str(caught.value).startswith(f"true --token=*** was not started: {message}")

    def test_secrets_that_are_no_text(self):
        with pytest.raises(InvalidCommand, match=r"^secrets: must be texts, and one is of type bytes$"):
            run_command(["true"], secrets=[b"hunter2"])
        with pytest.raises(InvalidCommand, match=r"^secrets: must be texts, and not of type NoneType$"):
            run_command(["true"], secrets=None)

    @pytest.mark.parametrize("free", range(12))
    def test_without_descriptors_there_is_an_error_or_a_result(self, free):
        """However many there are: never a hang, a traceback of the system's, or something left behind."""
        source = (
            "import os, resource\n"
            "from psengine_host.toolkit.subprocesses import CommandNotStarted, run_command\n"
            "run_command(['true'])\n"
            "used = len(os.listdir('/proc/self/fd')) - 1\n"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, (used + {free}, 4096))\n"
            "try:\n"
            "    print(run_command(['echo', 'done']).stdout, end='')\n"
            "except CommandNotStarted as error:\n"
            "    print(error)\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
            "assert len(os.listdir('/proc/self/fd')) - 1 == used\n"
        )
        done = python(source, env={"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=100).check()
        assert done.stdout in ("done\n", "echo done was not started: Too many open files\n")
        assert done.stderr == ""

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes a user without other processes")
    def test_without_room_for_a_process(self):
        source = (
            "import os, resource\n"
            "from psengine_host.toolkit.subprocesses import CommandNotStarted, run_command\n"
            "run_command(['true'])\n"
            "os.setgid(54321), os.setuid(54321)\n"
            "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
            "try:\n"
            "    run_command(['echo', 'done'])\n"
            "except CommandNotStarted as error:\n"
            "    print(error)\n"
        )
        done = python(source, env={"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=100).check()
        assert done.stdout.startswith("echo done was not started: this user may have no more processes; see ulimit -u")

    def test_an_argument_that_no_program_can_get(self):
        with nothing_left(), pytest.raises(CommandNotStarted, match="surrogates not allowed"):
            run_command(["true", "\ud800"])


class TestErrors:
    def test_all_are_errors_of_the_engine(self):
        for kind in (InvalidCommand, CommandNotStarted, CommandNotFound, CommandTimeout, CommandFailed):
            assert issubclass(kind, CommandError)
            assert issubclass(kind, EngineError)
            assert issubclass(kind, EngineTimeout) is (kind is CommandTimeout)

    def test_they_survive_a_copy_with_what_they_know(self):
        with pytest.raises(CommandFailed) as caught:
            shell("echo out; exit 1", check=True)
        twin = pickle.loads(pickle.dumps(caught.value))
        assert str(twin) == str(caught.value)
        assert twin.command == caught.value.command
        assert twin.result == caught.value.result
        assert twin.result.stdout == "out\n"


def test_many_at_once_from_threads():
    with nothing_left():
        results = {}

        def work(number):
            results[number] = [shell(f"echo {number}; exit {number}").returncode for _ in range(10)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert results == {number: [number] * 10 for number in range(8)}


def test_a_run_is_logged_for_who_asks(caplog):
    caplog.set_level(logging.DEBUG, logger=subprocesses.__name__)
    shell("exit 4")
    assert [record.getMessage().split(", ")[0] for record in caplog.records] == [
        "<CompletedCommand sh -c 'exit 4': returncode 4"
    ]
