"""The host inside programs of all kinds: notebooks, one-liners, threads, forks, and several hosts at once."""

import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from textwrap import dedent

import pytest

from psengine_host.analysis import Verdict
from psengine_host.errors import UsageError
from psengine_host.host import Host
from psengine_host.settings import Settings, WorkerSettings

PATIENCE = 60
"""Seconds that a test waits for what takes a moment on an idle machine."""

WHERE = """
    import os
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact):
        return Analysis.benign(comments=[str(os.getpid()), str(len(artifact.read_bytes()))])
"""
"""Says which process judged."""

HELD = """
    import os
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact, context):
        with open(context.config["begun"], "wb", buffering=0) as begun:
            begun.write(b"%d\\n" % os.getpid())
        with open(context.config["go"], "rb", buffering=0) as go:
            go.read(1)
        return Analysis.benign()
"""
"""Says that it has begun and ends when it may."""

PROGRAM = """
    import os
    from psengine_host.host import Host

    with Host(backend="process") as host:
        outcome = host.analyze(b"hello", engine="where")
    print(outcome.analysis.verdict, outcome.failure, outcome.analysis.comments[0] != str(os.getpid()))
"""
RIGHT = "benign None True\n"


@pytest.fixture
def python(engine_site, tmp_path):
    """Runs Python with the engines of the site, and gives what it printed; a word on stderr is a failure."""
    engine_site.add("where", WHERE)

    def run(*arguments, source="", folder=tmp_path, env=None):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=engine_site.env() if env is None else env,
            cwd=folder,
            input=dedent(source),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.stderr == ""
        assert done.returncode == 0
        return done.stdout

    return run


class Held:
    """An engine that waits in the middle of each bounty."""

    def __init__(self, folder):
        self.begun = folder / "begun"
        self.go = folder / "go"
        os.mkfifo(self.begun)
        os.mkfifo(self.go)
        self._begun = os.open(self.begun, os.O_RDWR | os.O_NONBLOCK)
        self._go = os.open(self.go, os.O_RDWR)
        self._lines = b""

    @property
    def settings(self):
        return Settings(
            engines={"held": {"begun": str(self.begun), "go": str(self.go)}}, workers=WorkerSettings(count=1)
        )

    def wait_until_begun(self):
        """The worker's process id."""
        while b"\n" not in self._lines:
            assert select.select([self._begun], [], [], PATIENCE)[0], "it did not begin"
            self._lines += os.read(self._begun, 100)
        line, _, self._lines = self._lines.partition(b"\n")
        return int(line)

    def let_go(self, count=1):
        os.write(self._go, b"." * count)

    def close(self):
        os.close(self._begun)
        os.close(self._go)


@pytest.fixture
def held(engine_site, tmp_path):
    engine_site.add("held", HELD)
    held = Held(tmp_path)
    yield held
    held.close()


def is_gone(pidfd):
    return bool(select.select([pidfd], [], [], PATIENCE)[0])


class TestPrograms:
    def test_a_script_without_a_main_guard(self, python, tmp_path):
        (tmp_path / "script.py").write_text(dedent(PROGRAM))
        assert python("script.py") == RIGHT

    def test_a_one_liner(self, python):
        assert python("-c", dedent(PROGRAM)) == RIGHT

    def test_standard_input(self, python):
        assert python("-", source=PROGRAM) == RIGHT

    def test_an_interactive_interpreter(self, python):
        # As a notebook does: there is no file, and each statement is compiled by itself.
        cells = """
            import code, os
            shell = code.InteractiveConsole({"__name__": "__main__"})
            for line in [
                "from psengine_host.host import Host",
                "host = Host(backend='process')",
                "outcome = host.analyze(b'hello', engine='where')",
                "print(outcome.analysis.verdict, outcome.failure, outcome.analysis.comments[0] != '%d')",
                "host.close()",
            ]:
                assert not shell.push(line.replace("%d", str(os.getpid())))
        """
        assert python("-", source=cells) == RIGHT

    def test_a_thread_that_ends_before_the_results_come(self, python):
        program = """
            import threading
            from psengine_host.host import Host

            futures = []
            hosts = []

            def begin():
                hosts.append(Host(backend="process"))
                futures.extend(hosts[0].submit(b"%d" % number, "where") for number in range(20))

            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()
            print({future.result().analysis.verdict.value for future in futures})
            hosts[0].close()
        """
        assert python("-", source=program) == "{'benign'}\n"

    def test_no_thread_but_the_main_one_is_needed_at_the_end(self, python):
        program = """
            import threading
            from psengine_host.host import Host
            with Host(backend="process") as host:
                host.analyze(b"x", "where")
            print([thread.name for thread in threading.enumerate()])
        """
        assert python("-", source=program) == "['MainThread']\n"

    def test_the_working_directory_may_change_and_paths_be_relative(self, python, tmp_path):
        (tmp_path / "here").mkdir()
        (tmp_path / "there").mkdir()
        (tmp_path / "here" / "file").write_bytes(b"four")
        (tmp_path / "there" / "file").write_bytes(b"eleven here")
        program = """
            import os
            from psengine_host.host import Host
            with Host(backend="process") as host:
                os.chdir("here")
                first = host.submit("file", "where")
                third = host.judge_file("file", "where")
                os.chdir("../there")
                second = host.submit("file", "where")
                fourth = host.judge_file("file", "where")
                for future in (first, second):
                    print(future.result().analysis.comments[1])
                for future in (third, fourth):
                    print(future.result().size, future.result().outcome.analysis.comments[1])
        """
        assert python("-", source=program) == "4\n11\n4 4\n11 11\n"

    def test_an_engine_in_a_relative_folder_that_the_program_put_on_the_path(self, python, engine_site, tmp_path):
        # Relative entries of sys.path mean what they meant when the host found its engines.
        program = """
            import os, sys
            sys.path.insert(0, "engine-site")
            from psengine_host.host import Host
            with Host(backend="process") as host:
                os.chdir("/")
                outcome = host.analyze(b"hello", engine="where")
            print(outcome.analysis.verdict, outcome.failure, outcome.analysis.comments[0] != str(os.getpid()))
        """
        env = engine_site.env()
        env["PYTHONPATH"] = os.pathsep.join(
            entry for entry in env["PYTHONPATH"].split(os.pathsep) if entry != str(engine_site.path)
        )
        assert python("-", source=program, env=env) == RIGHT

    def test_signals_of_the_program_stay_its_own(self, python):
        program = """
            import signal
            from psengine_host.host import Host
            before = [signal.getsignal(number) for number in signal.valid_signals()]
            with Host(backend="process") as host:
                host.analyze(b"x", "where")
                print([signal.getsignal(number) for number in signal.valid_signals()] == before)
        """
        assert python("-", source=program) == "True\n"

    def test_a_program_that_ignores_sigchld_and_has_children_of_its_own(self, python):
        program = """
            import signal, subprocess
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            from psengine_host.host import Host
            with Host(backend="process") as host:
                print(host.analyze(b"x", "where").analysis.verdict)
        """
        assert python("-", source=program) == "benign\n"


class TestForks:
    def test_a_fork_that_uses_the_host_is_told_so_and_the_host_goes_on(self, engine_site):
        engine_site.add("where", WHERE)
        with Host(backend="process", catalog=engine_site.catalog()) as host:
            assert host.analyze(b"x", "where").analysis.verdict is Verdict.BENIGN
            reader, writer = os.pipe()
            process = os.fork()
            if process == 0:
                try:
                    host.analyze(b"x", "where")
                    said = "judged"
                except UsageError as error:
                    said = str(error)
                finally:
                    host.close()
                    os.write(writer, said.encode())
                    os._exit(0)
            os.close(writer)
            with open(reader, encoding="utf-8") as pipe:
                assert select.select([pipe], [], [], PATIENCE)[0]
                assert pipe.read() == "this process is a fork of the one that made the host: make a host of its own"
            os.waitpid(process, 0)
            outcomes = [host.submit(b"%d" % number, "where") for number in range(10)]
            assert {future.result(PATIENCE).analysis.verdict for future in outcomes} == {Verdict.BENIGN}

    def test_a_fork_may_make_a_host_of_its_own_and_the_parents_stays_whole(self, python):
        program = """
            import os
            from psengine_host.host import Host
            with Host(backend="process") as host:
                host.analyze(b"x", "where")
                process = os.fork()
                if process == 0:
                    with Host(backend="process") as own:
                        print("fork:", own.analyze(b"y", "where").analysis.verdict, flush=True)
                    os._exit(0)
                os.waitpid(process, 0)
                print("parent:", host.analyze(b"z", "where").analysis.verdict)
        """
        assert python("-", source=program) == "fork: benign\nparent: benign\n"

    def test_a_fork_that_ends_as_programs_do_leaves_the_parents_engines_alone(self, python):
        program = """
            import os, sys
            from psengine_host.host import Host
            with Host(backend="process") as host:
                before = host.analyze(b"x", "where").analysis.comments[0]
                process = os.fork()
                if process == 0:
                    sys.exit(0)
                os.waitpid(process, 0)
                print(host.analyze(b"y", "where").analysis.comments[0] == before)
                print(os.path.isdir(host.spool.folder))
        """
        assert python("-", source=program) == "True\nTrue\n"


class TestSeveral:
    def test_two_hosts_have_workers_of_their_own(self, engine_site):
        engine_site.add("where", WHERE)
        catalog = engine_site.catalog()
        with (
            Host(backend="process", catalog=catalog) as first,
            Host(backend="process", catalog=catalog) as second,
        ):
            one = first.analyze(b"x", "where").analysis.comments[0]
            two = second.analyze(b"x", "where").analysis.comments[0]
            assert one != two
            first.close()
            assert second.analyze(b"y", "where").analysis.comments[0] == two

    def test_many_threads_use_one_host(self, engine_site):
        engine_site.add("where", WHERE)
        with Host(backend="process", catalog=engine_site.catalog()) as host, ThreadPoolExecutor(16) as threads:
            sizes = list(
                threads.map(lambda size: host.analyze(b"x" * size, "where").analysis.comments[1], range(1, 401))
            )
        assert sizes == [str(size) for size in range(1, 401)]

    def test_many_threads_begin_at_once(self, engine_site):
        # The keeper, the home and the workers start once, whoever comes first.
        engine_site.add("where", WHERE)
        gate = threading.Barrier(12)
        settings = Settings(workers=WorkerSettings(count=1))
        with Host(settings, backend="process", catalog=engine_site.catalog()) as host:

            def judge(number):
                gate.wait(PATIENCE)
                return host.analyze(b"%d" % number, "where").analysis.comments[0]

            with ThreadPoolExecutor(12) as threads:
                processes = set(threads.map(judge, range(12)))
        assert len(processes) == 1


class TestCancelling:
    def test_what_runs_and_what_waits_is_cancelled_and_the_worker_killed(self, held, engine_site):
        with Host(held.settings, backend="process", catalog=engine_site.catalog()) as host:
            futures = [host.submit(b"%d" % number, "held") for number in range(50)]
            worker = os.pidfd_open(held.wait_until_begun())

            host.cancel()

            done, waiting = wait(futures, PATIENCE)
            assert not waiting
            for future in done:
                with pytest.raises(CancelledError):
                    future.result()
            assert is_gone(worker)
            os.close(worker)

    def test_local_files_are_cancelled_too(self, held, engine_site, tmp_path):
        (tmp_path / "file").write_bytes(b"x")
        with Host(held.settings, backend="process", catalog=engine_site.catalog()) as host:
            futures = [host.judge_file(str(tmp_path / "file"), "held") for _ in range(50)]
            held.wait_until_begun()
            host.cancel()
            for future in futures:
                with pytest.raises(CancelledError):
                    future.result(PATIENCE)

    def test_what_waits_may_be_cancelled_by_itself(self, held, engine_site):
        with Host(held.settings, backend="process", catalog=engine_site.catalog()) as host:
            first = host.judge_file(__file__, "held")
            held.wait_until_begun()
            second, third = host.judge_file(__file__, "held"), host.judge_file(__file__, "held")
            assert second.cancel()
            held.let_go(2)
            assert first.result(PATIENCE).outcome.failure is None
            assert third.result(PATIENCE).outcome.failure is None
            assert second.cancelled()

    def test_the_host_can_be_used_after_cancel(self, held, engine_site):
        with Host(held.settings, backend="process", catalog=engine_site.catalog()) as host:
            future = host.submit(b"x", "held")
            held.wait_until_begun()
            host.cancel()
            with pytest.raises(CancelledError):
                future.result(PATIENCE)
            again = host.submit(b"y", "held")
            held.wait_until_begun()
            held.let_go()
            assert again.result(PATIENCE).analysis.verdict is Verdict.BENIGN

    def test_the_end_is_quick_after_cancel(self, engine_site):
        # Neither the session's end nor the teardown can hold it up.
        engine_site.add(
            "clinging",
            """
            import signal
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup():
                yield {}
                signal.pause()
            @hookimpl
            def open_session():
                yield 1
                signal.pause()
            @hookimpl
            def analyze(artifact):
                return Analysis.benign()
            """,
        )
        host = Host(backend="process", catalog=engine_site.catalog())
        host.analyze(b"x", "clinging")
        host.cancel()
        closing = threading.Thread(target=host.close)
        closing.start()
        closing.join(9)  # host.close_timeout is 10 s
        assert not closing.is_alive()

    def test_before_anything_was_submitted(self, engine_site):
        engine_site.add("where", WHERE)
        with Host(backend="process", catalog=engine_site.catalog()) as host:
            host.cancel()
            assert host.workers() == []
            assert host.analyze(b"x", "where").analysis.verdict is Verdict.BENIGN


class TestClosing:
    def test_what_runs_comes_to_its_end(self, held, engine_site):
        host = Host(held.settings, backend="process", catalog=engine_site.catalog())
        futures = [host.submit(b"%d" % number, "held") for number in range(5)]
        held.wait_until_begun()
        closing = threading.Thread(target=host.close)
        closing.start()
        held.let_go(5)
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert [future.result(0).analysis.verdict for future in futures] == [Verdict.BENIGN] * 5

    def test_twice_and_without_use(self, engine_site):
        engine_site.add("where", WHERE)
        host = Host(backend="process", catalog=engine_site.catalog())
        host.analyze(b"x", "where")
        host.close()
        host.close()
        unused = Host(backend="process", catalog=engine_site.catalog())
        unused.close()
        unused.close()

    def test_nothing_is_judged_afterwards(self, engine_site):
        engine_site.add("where", WHERE)
        host = Host(backend="process", catalog=engine_site.catalog())
        host.analyze(b"x", "where")
        host.close()
        with pytest.raises(UsageError, match="the host is closed: judge inside its 'with' block"):
            host.submit(b"x", "where")
        with pytest.raises(UsageError, match="the host is closed"):
            host.judge_file(__file__, "where")
        with pytest.raises(UsageError, match="the backend is closed: nothing can be judged any more"):
            host.backend.submit(host.bounty_for, "where")
        assert host.workers() == []
        host.cancel()

    def test_all_of_it_is_gone(self, held, engine_site):
        host = Host(held.settings, backend="process", catalog=engine_site.catalog())
        future = host.submit(b"x", "held")
        worker = os.pidfd_open(held.wait_until_begun())
        assert [status.state for status in host.workers()] == ["busy"]
        threads = {thread.name for thread in threading.enumerate()}
        assert "psengine-processes" in threads
        held.let_go()
        future.result(PATIENCE)
        folder = host.spool.folder
        host.close()
        assert is_gone(worker)
        os.close(worker)
        assert not os.path.exists(folder)
        assert "psengine-processes" not in {thread.name for thread in threading.enumerate()}

    def test_an_engine_killed_meanwhile_holds_up_nothing(self, held, engine_site):
        host = Host(held.settings, backend="process", catalog=engine_site.catalog())
        future = host.submit(b"x", "held")
        os.kill(held.wait_until_begun(), signal.SIGKILL)
        closing = threading.Thread(target=host.close)
        closing.start()
        held.let_go(2)
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert future.result(0).analysis.verdict is Verdict.BENIGN
