"""Homes and sessions: setup once per host, shared data, callbacks, and what ends where and when."""

import os
import signal
import threading
import time

import pytest

from psengine_host.analysis import Verdict
from psengine_host.backends.process import standing
from psengine_host.host import Host
from psengine_host.outcome import FailureKind

PATIENCE = 60

FULL = """
    import os
    import signal
    from psengine_host import Analysis, EngineError, EngineInfo, hookimpl

    def note(*words):
        with open(os.environ["JOURNAL"], "a") as journal:
            journal.write(" ".join(map(str, (*words, os.getpid()))) + "\\n")

    @hookimpl
    def setup(context):
        note("setup")
        yield {
            "pid": os.getpid(),
            "nested": {"list": [1, [2.5, None]], "bytes": b"\\x00\\xff"},
            "text": "gr\\u00fcn",
            "big": 2**63,
        }
        note("teardown")

    @hookimpl
    def open_session(context):
        note("open")
        yield os.getpid()
        note("close")

    @hookimpl
    def info(session):
        note("info")
        return EngineInfo(product="Full")

    @hookimpl
    def analyze(artifact, context, session):
        assert session == os.getpid()
        word = artifact.read_bytes().decode()
        note("analyze", word)
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "hang":
            signal.pause()
        if word == "fail":
            raise EngineError("as it was told to")
        if word == "repr":
            return Analysis.benign(comments=[repr(context.shared), str(os.getpid())])
        if word == "write":
            told = []
            for change in (
                lambda: context.shared.__setitem__("new", 1),
                lambda: context.shared["nested"].__setitem__("new", 1),
                lambda: context.shared["nested"]["list"].append(1),
                lambda: context.shared["nested"]["list"][1].append(1),
                lambda: setattr(context, "shared", {}),
            ):
                try:
                    change()
                except (AttributeError, TypeError) as error:
                    told.append(type(error).__name__)
            return Analysis.benign(comments=told)
        return Analysis.benign()

    @hookimpl
    def on_success(bounty, analysis, context):
        note("success", bounty.id, analysis.verdict, context.shared["text"])

    @hookimpl
    def on_error(bounty, failure, analysis):
        note("error", bounty.id, failure.kind, analysis.verdict)
"""


@pytest.fixture
def full(engine_site, journal):
    """Installs the engine that has all hooks."""
    engine_site.add("full", FULL)


@pytest.fixture
def quick_retries(monkeypatch):
    """What failed is started again after 50 ms rather than a second."""
    monkeypatch.setattr(standing, "FIRST_BACKOFF", 0.05)


def pids(lines):
    return [int(line[-1]) for line in lines]


class TestSetup:
    def test_runs_once_in_a_process_of_its_own_and_is_torn_down_there_after_all_sessions(
        self, full, process_host, journal
    ):
        host = process_host(count=2, max_tasks_per_worker=5)
        outcomes = [host.submit(b"%d" % number, "full") for number in range(40)]
        assert {outcome.result(PATIENCE).failure for outcome in outcomes} == {None}
        host.close()

        (home,) = pids(journal.of("setup"))
        assert pids(journal.of("teardown")) == [home]
        workers = pids(journal.of("open"))
        assert len(workers) == len(set(workers)) >= 8
        assert home not in (*workers, os.getpid())
        assert sorted(pids(journal.of("close"))) == sorted(workers)
        assert sorted(pids(journal.of("info"))) == sorted(workers)
        assert set(pids(journal.of("analyze"))) <= set(workers)
        words = [line[0] for line in journal.lines()]
        assert words[0] == "setup"
        assert words[-1] == "teardown"
        assert words.index("open") > words.index("setup")

    def test_shared_data_is_the_same_in_every_worker_those_that_replace_the_dead_too(self, full, process_host):
        host = process_host(count=1, tries=1)
        seen = []
        for _ in range(4):
            seen.append(host.analyze(b"repr", "full").analysis.comments)
            assert host.analyze(b"die", "full").failure.kind is FailureKind.WORKER_LOST
        assert len({shared for shared, _ in seen}) == 1
        assert len({process for _, process in seen}) == 4
        assert r"b'\x00\xff'" in seen[0][0]
        assert "(1, (2.5, None))" in seen[0][0]
        assert str(2**63) in seen[0][0]

    def test_shared_data_is_what_the_local_backend_gives(self, full, process_host, engine_site):
        with Host(catalog=engine_site.catalog()) as local:
            expected = local.analyze(b"repr", "full").analysis.comments[0]
        found = process_host(count=1).analyze(b"repr", "full").analysis.comments[0]
        home = found.split("'pid': ")[1].split(",")[0]
        assert found.replace(home, str(os.getpid())) == expected

    def test_shared_data_is_deeply_read_only(self, full, process_host):
        outcome = process_host(count=1).analyze(b"write", "full")
        assert outcome.failure is None
        assert len(outcome.analysis.comments) == 5

    @pytest.mark.parametrize(
        ("shared", "message"),
        [
            ("__import__('datetime').date(2026, 1, 1)", "date"),
            ("{1, 2}", "set"),
            ("object()", "object"),
            ("'x' * (1 << 20)", "1048576; keep it in a file"),
            ("{1: 2}", "not text"),
            ("2**64", "plain data"),
        ],
    )
    def test_what_is_no_plain_data_of_a_mebibyte_is_refused_as_with_the_local_backend(
        self, shared, message, engine_site, process_host
    ):
        engine_site.add(
            "sharing",
            f"""
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup(): return {{"shared": {shared}}}
            @hookimpl
            def analyze(artifact): return Analysis.benign()
            """,
        )
        outcome = process_host(count=1, patience=0.0).analyze(b"x", "sharing")
        assert outcome.failure.kind is FailureKind.UNAVAILABLE
        assert outcome.failure.message.startswith("engine sharing: setup: ")
        assert message in outcome.failure.message
        with Host(catalog=engine_site.catalog()) as local:
            expected = local.analyze(b"x", "sharing").failure.message
        assert outcome.failure.message.partition(" at 0x")[0] == expected.partition(" at 0x")[0]

    def test_nearly_a_mebibyte_reaches_the_workers(self, engine_site, process_host):
        engine_site.add(
            "sharing",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup(): return {"shared": b"x" * ((1 << 20) - 100)}
            @hookimpl
            def analyze(artifact, context):
                return Analysis.benign(comments=[str(len(context.shared["shared"]))])
            """,
        )
        outcome = process_host(count=2).analyze(b"x", "sharing")
        assert outcome.failure is None
        assert outcome.analysis.comments == (str((1 << 20) - 100),)

    def test_is_torn_down_after_a_failed_start_too(self, engine_site, process_host, journal):
        engine_site.add("full", FULL.replace('note("open")', 'raise EngineError("no session")'))
        host = process_host(count=1, patience=0.0)
        assert host.analyze(b"x", "full").failure.message == "engine full: open_session: no session"
        host.close()
        assert pids(journal.of("teardown")) == pids(journal.of("setup")) != []

    def test_what_it_began_is_torn_down_if_what_it_yields_is_refused(self, engine_site, process_host, journal):
        engine_site.add("full", FULL.replace('"big": 2**63', '"big": {1, 2}'))
        host = process_host(count=1, patience=0.0)
        assert host.analyze(b"x", "full").failure.kind is FailureKind.UNAVAILABLE
        assert pids(journal.of("teardown")) == pids(journal.of("setup")) != []

    def test_a_daemon_of_it_lives_until_the_teardown(self, engine_site, process_host, journal, alive):
        engine_site.add(
            "daemon",
            """
            import os, subprocess
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup():
                daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
                yield {"daemon": daemon.pid}
                with open(os.environ["JOURNAL"], "a") as journal:
                    journal.write(f"teardown {daemon.poll()}\\n")
            @hookimpl
            def analyze(context):
                if os.path.exists(os.environ["JOURNAL"] + ".die"):
                    os.unlink(os.environ["JOURNAL"] + ".die")
                    os.abort()
                return Analysis.benign(comments=[str(context.shared["daemon"])])
            """,
        )
        host = process_host(count=1, max_tasks_per_worker=1)
        daemon = int(host.analyze(b"1", "daemon").analysis.comments[0])
        journal.path.with_name("journal.die").touch()
        for number in range(3):
            assert int(host.analyze(b"%d" % number, "daemon").analysis.comments[0]) == daemon
        assert alive(daemon)
        host.close()
        assert journal.of("teardown") == [["None"]], "it ran until then"
        assert not alive(daemon)


class TestDeathOfTheHome:
    def test_it_is_started_anew_and_the_workers_are_replaced(self, full, process_host, journal, quick_retries, until):
        host = process_host(count=2)
        before = host.analyze(b"repr", "full").analysis.comments
        (home,) = pids(journal.of("setup"))

        os.kill(home, signal.SIGKILL)
        until(lambda: host.workers() == [])
        outcomes = [host.submit(b"repr", "full") for _ in range(10)]

        second = {outcome.result(PATIENCE).analysis.comments[0] for outcome in outcomes}
        assert len(second) == 1
        assert before[0] not in second, "what the new home shared"
        homes = pids(journal.of("setup"))
        assert len(homes) == 2
        assert f"'pid': {homes[1]}" in second.pop()
        host.close()
        assert pids(journal.of("teardown")) == homes[1:]

    def test_what_a_worker_is_at_work_on_comes_to_its_end(
        self, engine_site, process_host, journal, quick_retries, until, caplog
    ):
        gate = f"{journal.path}.gate"
        os.mkfifo(gate)
        engine_site.add("full", FULL.replace("signal.pause()", f"open({gate!r}).read()"))
        host = process_host(count=1)
        slow = host.submit(b"hang", "full")
        until(lambda: journal.of("analyze"))
        os.kill(*pids(journal.of("setup")), signal.SIGKILL)
        until(lambda: "its home died of SIGKILL" in caplog.text)
        later = host.submit(b"later", "full")
        with open(gate, "w"):
            pass
        assert slow.result(PATIENCE).failure is None
        assert later.result(PATIENCE).failure is None
        assert len(journal.of("setup")) == 2
        by_word = {line[1]: line[-1] for line in journal.lines() if line[0] == "analyze"}
        assert by_word["hang"] != by_word["later"]

    def test_is_told_with_its_signal(self, full, process_host, journal, quick_retries, until, caplog):
        host = process_host(count=1)
        host.analyze(b"x", "full")
        os.kill(*pids(journal.of("setup")), signal.SIGKILL)
        until(lambda: "engine full: its home died of SIGKILL; it is started anew, and then its workers" in caplog.text)
        assert host.analyze(b"y", "full").failure is None


class TestCallbacks:
    def test_hear_of_every_end_in_the_home(self, full, process_host, journal):
        host = process_host(count=1, timeout=1.0, tries=2)
        good = host.submit(b"good", "full").result(PATIENCE)
        failed = host.submit(b"fail", "full").result(PATIENCE)
        died = host.submit(b"die", "full").result(PATIENCE)
        late = host.submit(b"hang", "full").result(PATIENCE)
        host.close()

        (home,) = pids(journal.of("setup"))
        assert journal.of("success") == [[str(good.bounty.id), "benign", "grün", str(home)]]
        assert journal.of("error") == [
            [str(failed.bounty.id), "engine", "unknown", str(home)],
            [str(died.bounty.id), "worker-lost", "unknown", str(home)],
            [str(late.bounty.id), "timeout", "unknown", str(home)],
        ]
        words = [line[0] for line in journal.lines()]
        assert words[-1] == "teardown", "they hear of all before it"

    def test_hear_of_local_files_too(self, full, process_host, journal, tmp_path):
        (tmp_path / "file").write_bytes(b"good")
        host = process_host(count=1)
        outcome = host.judge_file(str(tmp_path / "file"), "full").result(PATIENCE).outcome
        host.close()
        assert [line[0] for line in journal.of("success")] == [str(outcome.bounty.id)]

    CALLING = """
        import os
        import signal
        from psengine_host import Analysis, hookimpl

        def note(word):
            with open(os.environ["JOURNAL"], "a") as journal:
                journal.write(f"{{word}} {{os.getpid()}}\\n")

        {setup}

        @hookimpl
        def analyze(artifact):
            note("analyze")
            return Analysis.benign()

        @hookimpl
        def on_success(bounty):
            note("success")
            {body}
    """
    SETUP = """
        @hookimpl
        def setup():
            return {"some": "thing"}
    """

    @pytest.mark.parametrize("setup", [SETUP, ""], ids=["with setup", "without setup"])
    @pytest.mark.parametrize(
        "body",
        [
            "raise LookupError('of the callback')",
            "signal.pause()",
            "os.kill(os.getpid(), signal.SIGKILL)",
            "os._exit(0)",
            "raise SystemExit(1)",
            "os.closerange(0, 100)",
        ],
    )
    def test_one_that_goes_wrong_changes_no_outcome(
        self, setup, body, engine_site, process_host, journal, quick_retries, until
    ):
        engine_site.add("calling", self.CALLING.format(setup=setup.strip(), body=body))
        host = process_host(count=1)
        outcomes = [host.submit(b"%d" % number, "calling") for number in range(10)]
        assert [outcome.result(PATIENCE).failure for outcome in outcomes] == [None] * 10
        assert {outcome.result().analysis.verdict for outcome in outcomes} == {Verdict.BENIGN}
        until(lambda: journal.of("success"))
        host.cancel()  # the one that hangs would be waited for

    def test_one_that_dies_disturbs_no_worker_where_nothing_was_set_up(
        self, engine_site, process_host, journal, quick_retries, until, caplog
    ):
        engine_site.add("calling", self.CALLING.format(setup="", body="os._exit(0)"))
        host = process_host(count=1)
        for number in range(5):
            assert host.analyze(b"%d" % number, "calling").failure is None
            until(lambda number=number: caplog.text.count("its home exited with code 0; it is started anew") > number)
        assert len(set(pids(journal.of("analyze")))) == 1, "one worker judged them all"
        homes = pids(journal.of("success"))
        assert len(set(homes)) == len(homes) == 5, "each was heard by a home of its own"

    @pytest.mark.parametrize("setup", [SETUP, ""], ids=["with setup", "without setup"])
    def test_a_home_that_dies_has_missed_nothing_but_what_it_died_over(
        self, setup, engine_site, process_host, journal, quick_retries, until
    ):
        body = """
            if not os.path.exists(os.environ["JOURNAL"] + ".died"):
                os.mkdir(os.environ["JOURNAL"] + ".died")
                os._exit(0)
            note(f"heard {bounty.id}")
        """
        engine_site.add("calling", self.CALLING.format(setup=setup.strip(), body=body.strip()))
        host = process_host(count=1)
        outcomes = [host.submit(b"%d" % number, "calling") for number in range(50)]
        numbers = [str(outcome.result(PATIENCE).bounty.id) for outcome in outcomes]
        until(lambda: len(journal.of("heard")) >= 49)
        host.close()
        assert [number for number, _ in journal.of("heard")] == numbers[1:]
        assert len(set(pids(journal.of("success")))) == 2

    def test_one_that_hangs_is_dropped_and_told_at_the_end(self, engine_site, journal, caplog):
        from psengine_host.settings import HostSettings, Settings, WorkerSettings

        engine_site.add("calling", self.CALLING.format(setup="", body="signal.pause()"))
        settings = Settings(host=HostSettings(observer_timeout=0.3), workers=WorkerSettings(count=1))
        began = time.monotonic()
        with Host(settings, backend="process", catalog=engine_site.catalog()) as host:
            for number in range(5):
                assert host.analyze(b"%d" % number, "calling").failure is None
        assert time.monotonic() - began < PATIENCE / 2
        callbacks = "engine calling: on_success or on_error"
        assert f"{callbacks} took longer than 0.3 s over one outcome and is dropped" in caplog.text
        assert f"{callbacks} missed 4 outcomes" in caplog.text
        assert len(journal.of("success")) == 1


class TestPlaces:
    def test_wrappers_run_in_the_workers_and_observers_in_the_host(self, engine_site, process_host, journal):
        engine_site.add(
            "wrapping",
            """
            import os
            from psengine_host import hookimpl
            @hookimpl(wrapper=True)
            def analyze(artifact):
                with open(os.environ["JOURNAL"], "a") as journal:
                    journal.write(f"wrapper {os.getpid()}\\n")
                return (yield)
            """,
            group="psengine.wrappers",
        )
        engine_site.add("full", FULL)
        heard = []

        class Observer:
            from psengine_host import hookimpl

            @hookimpl
            def on_success(self, bounty, analysis):
                heard.append((os.getpid(), bounty.id, analysis.verdict))

        host = process_host(count=1, observers=[Observer()])
        outcome = host.analyze(b"good", "full")
        host.close()
        assert pids(journal.of("wrapper")) == pids(journal.of("analyze"))
        assert heard == [(os.getpid(), outcome.bounty.id, Verdict.BENIGN)]

    def test_nothing_of_an_engine_is_imported_in_the_host(self, full, process_host):
        import sys

        host = process_host(count=1)
        assert host.analyze(b"x", "full").failure is None
        assert "psengine_test_full" not in sys.modules

    def test_an_engine_that_has_nothing_to_do_at_home_has_none(self, engine_site, process_host, processes):
        engine_site.add(
            "plain",
            """
            import os
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact): return Analysis.benign(comments=[str(os.getpid())])
            """,
        )
        host = process_host(count=1)
        worker = int(host.analyze(b"x", "plain").analysis.comments[0])
        assert processes(host) == [worker]

    def test_no_process_starts_before_the_first_bounty(self, full, engine_site, process_host, processes, journal):
        engine_site.add("plain")
        host = process_host(count=1)
        assert processes(host) == []
        host.analyze(b"x", "plain")
        assert journal.lines() == [], "another engine's bounty starts only that engine"

    def test_scratch_is_private_to_each_worker_and_gone_afterwards(self, engine_site, process_host):
        engine_site.add(
            "scratching",
            """
            import os
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact, context):
                (context.scratch / "file").write_bytes(b"x" * 10)
                open("in the working directory", "w").close()
                return Analysis.benign(comments=[str(context.scratch), os.getcwd()])
            """,
        )
        host = process_host(count=1, max_tasks_per_worker=1)
        found = [host.analyze(b"%d" % number, "scratching").analysis.comments for number in range(2)]
        host.close()
        assert len({folder for folder, _ in found}) == len({folder for _, folder in found}) == 2
        for folder in (folder for both in found for folder in both):
            assert not os.path.exists(folder)


class TestSessions:
    def test_ends_when_the_worker_is_replaced_and_at_the_close(self, full, process_host, journal, until):
        host = process_host(count=1, max_tasks_per_worker=2)
        for number in range(5):
            assert host.analyze(b"%d" % number, "full").failure is None
        until(lambda: len(journal.of("close")) == 2)
        host.close()
        assert pids(journal.of("open")) == pids(journal.of("close")) == pids(journal.of("info"))
        assert len(journal.of("open")) == 3
        judged = pids(journal.of("analyze"))
        assert [judged.count(worker) for worker in pids(journal.of("open"))] == [2, 2, 1]

    def test_one_whose_end_hangs_is_killed_in_time(self, engine_site, journal):
        from psengine_host.settings import HostSettings, Settings, WorkerSettings

        engine_site.add(
            "clinging",
            """
            import signal
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def open_session():
                yield 1
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    signal.pause()
            @hookimpl
            def analyze(artifact): return Analysis.benign()
            """,
        )
        settings = Settings(host=HostSettings(close_timeout=0.5), workers=WorkerSettings(count=1))
        host = Host(settings, backend="process", catalog=engine_site.catalog())
        assert host.analyze(b"x", "clinging").failure is None
        closing = threading.Thread(target=host.close)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive()

    def test_one_whose_end_raises_is_told(self, engine_site, process_host, journal, caplog):
        engine_site.add("full", FULL.replace('note("close")', 'raise LookupError("at the end")'))
        host = process_host(count=1)
        assert host.analyze(b"x", "full").failure is None
        host.close()
        assert "engine full: open_session failed: LookupError: at the end" in caplog.text
