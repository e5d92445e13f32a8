"""The loop of a scan that judges many at once, with a host whose judgements end when the test says so."""

import io
import queue
import threading
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace

import pytest

from psengine_host import Analysis, ArtifactError
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.cli import intake, opening_ahead, parallel_scan
from psengine_host.cli.inputs import BadInput, FileInput, RemoteInput, StreamInput, TextInput, UrlInput
from psengine_host.cli.interrupts import Interrupted
from psengine_host.cli.parallel_scan import ParallelScan
from psengine_host.cli.resume import Done
from psengine_host.host import Host
from psengine_host.outcome import Outcome, Timings
from psengine_host.settings import NetworkSettings, Settings, SpoolSettings

NAMES = [f"file{number:03}" for number in range(100)]
FILES = [FileInput(name, f"/nowhere/{name}") for name in NAMES]


class HeldHost:
    """The parts of a host that a scan uses. What is judged ends when the test says so: the backend is what is faked.

    Everything that is asked of it is in ``asked``; ``on_ask`` is called after each question.
    """

    def __init__(self, **sections):
        self._host = Host(Settings(**sections))
        self.settings, self.spool, self.obtainer = self._host.settings, self._host.spool, self._host.obtainer
        self.asked: list[SimpleNamespace] = []
        self.on_ask = lambda _: None
        self.cancelled = False
        self.most_at_once: dict[str, int] = {}

    def judge_file(self, path, engine, *, name, identify):
        return self._ask(name=name, engine=engine, path=path, identify=identify, bounty=None, artifact=None)

    def judge(self, bounty, engine, artifact=None):
        return self._ask(name=bounty.artifact_uri, engine=engine, bounty=bounty, artifact=artifact)

    def _ask(self, **question):
        question = SimpleNamespace(**question, future=Future())
        self.asked.append(question)
        engine = question.engine
        at_once = sum(1 for one in self.asked if one.engine == engine and not one.future.done())
        self.most_at_once[engine] = max(self.most_at_once.get(engine, 0), at_once)
        self.on_ask(question)
        return question.future

    def cancel(self):
        self.cancelled = True
        for question in self.asked:
            question.future.cancel()

    def close(self):
        self._host.close()


def answer(question, verdict=Analysis.benign):
    """End a judgement."""
    bounty = question.bounty or Bounty.forge(ArtifactType.FILE, f"file://{question.path}", "0" * 64)
    outcome = Outcome(bounty, question.engine, verdict(), timings=Timings(judge=0.25))
    question.future.set_result((outcome, 7) if question.bounty is None else outcome)


def fail(question, error):
    question.future.set_exception(error)


@pytest.fixture
def make():
    """Makes a scan and its host; ``ends`` says how each judgement ends: by default at once."""
    made = []

    def make(*engines, ends=answer, sections=None, **options):
        host = HeldHost(**(sections or {}))
        host.on_ask = ends
        scan = ParallelScan(host, engines or ("one",), **{"ahead": True} | options)
        made.append((scan, host))
        return scan, host

    yield make
    for scan, host in made:
        scan.close()
        host.close()


def named(rows):
    return [(row.artifact, row.engine) for row in rows]


class Backwards:
    """Nothing is judged before everything has been asked; then all but the last end in the reverse order."""

    def __init__(self, number):
        self.questions = []
        self.number = number

    def __call__(self, question):
        self.questions.append(question)
        if len(self.questions) == self.number:
            for one in [*reversed(self.questions[:-1]), question]:
                answer(one)


class TestOrder:
    def test_rows_come_in_the_order_of_the_inputs_and_of_the_engines_for_each(self, make):
        scan, _ = make("one", "two", ends=Backwards(200))
        rows = list(scan.rows(FILES))
        assert named(rows) == [(name, engine) for name in NAMES for engine in ("one", "two")]
        assert [row.first for row in rows[:4]] == [True, False, True, False]

    def test_unordered_they_come_as_they_are_done(self, make):
        scan, _ = make("one", "two", in_order=False, ends=Backwards(200))
        rows = list(scan.rows(FILES))
        *before, last = [(name, engine) for name in NAMES for engine in ("one", "two")]
        assert named(rows) == [*reversed(before), last]
        assert [row.first for row in rows] == [True, *[True, False] * 99, False]

    def test_a_row_is_handed_out_before_the_next_is_done(self, make):
        scan, host = make(ends=lambda question: answer(question) if question.name == NAMES[0] else None)
        assert next(scan.rows(FILES)).artifact == NAMES[0]
        assert not host.asked[1].future.done()

    def test_it_is_known_whose_row_is_awaited(self, make):
        scan, _ = make(ends=lambda question: answer(question) if question.name < NAMES[1] else None)
        assert scan.current == ""
        rows = scan.rows(FILES)
        next(rows)
        assert list(scan.interrupt()) == []
        assert scan.current == NAMES[1]


class TestBounds:
    def test_so_many_are_on_their_way_and_a_slow_engine_holds_up_the_others_only_beyond_that(self, make, monkeypatch):
        monkeypatch.setattr(parallel_scan, "IN_ORDER", 40)
        monkeypatch.setattr(parallel_scan, "SUBMITTED", 8)
        slow = []

        def ends(question):
            if question.engine == "quick" or slow is None:
                answer(question)
                return
            slow.append(question)

        scan, host = make("slow", "quick", ends=ends)
        taken, rows = [], []

        def inputs():
            for item in FILES:
                taken.append(item)
                if len(taken) == 40:
                    release()
                assert len(taken) - len(rows) // 2 <= 40
                yield item

        def release():
            """Only now, that the quick one is 39 ahead, the slow one begins to answer."""
            nonlocal slow
            assert [question.engine for question in host.asked].count("quick") == 39
            assert len(slow) == 8
            waiting, slow = slow, None
            for question in waiting:
                answer(question)

        rows += scan.rows(inputs())
        assert named(rows) == [(name, engine) for name in NAMES for engine in ("slow", "quick")]
        assert host.most_at_once == {"slow": 8, "quick": 1}

    def test_what_is_done_and_waits_for_its_turn_counts_too(self, make, monkeypatch):
        monkeypatch.setattr(parallel_scan, "IN_ORDER", 40)
        taken = []

        def inputs():
            for item in FILES:
                taken.append(item)
                yield item

        def waiting():
            """The scan waits: all that it may take in is done but for the first."""
            assert len(taken) == 40
            host.on_ask = answer
            answer(host.asked[0])

        scan, host = make(ends=lambda question: question.name != NAMES[0] and answer(question), waiting=waiting)
        assert [row.artifact for row in scan.rows(inputs())] == NAMES

    @pytest.mark.parametrize("in_order", [True, False])
    def test_what_is_taken_in_waits_for_what_is_handed_out(self, make, monkeypatch, in_order):
        monkeypatch.setattr(parallel_scan, "IN_ORDER", 30)
        monkeypatch.setattr(parallel_scan, "UNORDERED", 50)
        taken = []
        all_taken = threading.Event()

        def inputs():
            for item in FILES:
                taken.append(item)
                if len(taken) == (30 if in_order else 50):
                    all_taken.set()
                yield item

        scan, host = make(ends=lambda _: None, in_order=in_order)

        def end():
            assert all_taken.wait(20)
            host.on_ask = answer
            for question in list(host.asked):
                if not question.future.done():
                    answer(question)

        thread = threading.Thread(target=end)
        thread.start()
        rows = []
        for row in scan.rows(inputs()):
            rows.append(row)
            assert len(taken) - len(rows) < (30 if in_order else 50)
        thread.join(20)
        assert sorted(named(rows)) == [(name, "one") for name in NAMES]


class TestSlowLists:
    def test_a_row_waits_for_no_other_name(self, make):
        go_on = threading.Event()

        def inputs():
            yield FILES[0]
            assert go_on.wait(20)
            yield from FILES[1:3]

        scan, _ = make(ahead=False)
        rows = scan.rows(inputs())
        assert next(rows).artifact == NAMES[0]
        go_on.set()
        assert [row.artifact for row in rows] == NAMES[1:3]

    def test_it_is_read_no_further_than_there_is_room(self, make, monkeypatch):
        monkeypatch.setattr(intake, "WAITING", 10)
        monkeypatch.setattr(parallel_scan, "IN_ORDER", 5)
        taken = []

        def inputs():
            for item in FILES:
                taken.append(item)
                yield item

        scan, _ = make(ahead=False)
        rows = []
        for row in scan.rows(inputs()):
            rows.append(row)
            assert len(taken) - len(rows) <= 5 + 10 + 1
        assert [row.artifact for row in rows] == NAMES

    def test_what_reading_it_raises_is_raised_and_what_came_before_is_not_lost(self, make):
        def inputs():
            yield from FILES[:2]
            raise RuntimeError("a bug")

        scan, _ = make(ahead=False)
        rows = scan.rows(inputs())
        before = []
        with pytest.raises(RuntimeError, match="a bug"):
            before += rows
        assert [row.artifact for row in [*before, *scan.interrupt()]] == NAMES[:2]


class TestRows:
    def test_what_a_row_of_a_file_says(self, make):
        scan, host = make(ends=lambda question: answer(question, lambda: Analysis.malicious("Test")), identify=True)
        [row] = scan.rows(FILES[:1])
        [question] = host.asked
        assert (question.path, question.name, question.identify) == ("/nowhere/file000", "file000", True)
        assert (row.artifact, row.engine, row.error, row.size, row.first) == ("file000", "one", None, 7, True)
        assert row.analysis.malware_family == "Test"
        assert row.seconds == 0.25  # the engine's own, without the time in the queue

    def test_a_file_that_cannot_be_read_is_an_error_of_its_own(self, make):
        def ends(question):
            if question.name == NAMES[0]:
                fail(question, ArtifactError("file000: permission denied"))
            else:
                answer(question)

        scan, _ = make(ends=ends)
        rows = list(scan.rows([*FILES[:2], BadInput("gone", "no such file")]))
        assert [row.error for row in rows] == [
            ("fetch", "file000: permission denied"),
            None,
            ("fetch", "gone: no such file"),
        ]

    def test_what_the_backend_cancels_by_itself_is_an_error_too(self, make):
        scan, _ = make(ends=lambda question: question.future.cancel())
        [row] = scan.rows(FILES[:1])
        assert row.error == ("engine", "was cancelled by the backend")

    def test_what_nobody_expected_is_raised(self, make):
        scan, _ = make(ends=lambda question: fail(question, ZeroDivisionError("a bug")))
        with pytest.raises(ZeroDivisionError, match="a bug"):
            list(scan.rows(FILES))

    def test_an_interrupt_that_an_engine_raises_by_itself_stops_nobody(self, make):
        def ends(question):
            if question.name == NAMES[0]:
                raise KeyboardInterrupt
            answer(question)

        scan, _ = make(ends=ends, interrupted=lambda: False)
        assert [row.error for row in scan.rows(FILES[:2])] == [("engine", "raised KeyboardInterrupt by itself"), None]
        stop = []

        def stopping(question):
            stop.append(question)
            raise KeyboardInterrupt

        scan, _ = make(ends=stopping, interrupted=lambda: bool(stop))
        with pytest.raises(Interrupted):
            list(scan.rows(FILES[:2]))

    def test_what_an_earlier_run_has_is_left_out(self, make, tmp_path):
        (tmp_path / "out").write_text(
            '{"artifact":"file000","engine":"two","analysis":{}}\n{"artifact":"file001","engine":"one","analysis":{}}\n'
            '{"artifact":"file001","engine":"two","analysis":{}}\n'
        )
        done = Done(str(tmp_path / "out"))
        scan, host = make("one", "two", done=done)
        rows = list(scan.rows(FILES[:3]))
        assert named(rows) == [("file000", "one"), ("file002", "one"), ("file002", "two")]
        assert [row.first for row in rows] == [True, True, False]
        assert (len(host.asked), done.taken) == (3, 3)


class TestOpenedByTheHost:
    def test_streams_and_data_uris_are_artifacts_until_the_last_engine_is_done(self, make):
        seen = []

        def ends(question):
            if question.artifact is not None:
                seen.append((question.engine, question.artifact.read_bytes()))
            answer(question)

        scan, host = make("one", "two", ends=ends)
        inputs = [StreamInput("-", lambda: io.BytesIO(b"a stream")), FILES[0], TextInput("data:,text", "data:,text")]
        rows = list(scan.rows(inputs))
        assert [row.artifact for row in rows] == ["-", "-", "file000", "file000", "data:,text", "data:,text"]
        assert sorted(seen) == sorted((one, data) for one in ("one", "two") for data in (b"a stream", b"text"))
        assert [row.size for row in rows] == [8, 8, 7, 7, 4, 4]
        assert list(host.spool.folder.iterdir()) == []

    def test_bounties_do_not_expire_in_the_queue_and_name_no_type_that_nobody_wants(self, make):
        scan, host = make(identify_opened=False)
        list(scan.rows([TextInput("data:,text", "data:,text")]))
        bounty = host.asked[0].bounty
        assert (bounty.duration, bounty.mimetype) == (86_400, None)
        scan, host = make()  # the engine may ask for it, and here nobody knows
        list(scan.rows([TextInput("data:,text", "data:,text")]))
        assert host.asked[0].bounty.mimetype == "text/plain"

    def test_urls_and_what_is_none(self, make):
        scan, host = make()
        good, bad = scan.rows([UrlInput("http://x.test/", "http://x.test/"), UrlInput("no url", "no url")])
        assert (good.error, host.asked[0].artifact.url) == (None, "http://x.test/")
        assert bad.error == ("fetch", "no url: must be an http, https or data URI")
        assert len(host.asked) == 1

    def test_a_stream_that_nobody_writes_holds_up_no_other_row(self, make):
        written = threading.Event()

        class Slow(io.BytesIO):
            def read(self, *size):
                assert written.wait(20)
                return super().read(*size)

        scan, _ = make(in_order=False)
        rows = scan.rows([StreamInput("-", lambda: Slow(b"late")), *FILES[:2]])
        assert [next(rows).artifact, next(rows).artifact] == NAMES[:2]
        written.set()
        assert [row.artifact for row in rows] == ["-"]

    def test_so_many_are_open_at_a_time(self, make, monkeypatch):
        monkeypatch.setattr(opening_ahead, "OPEN", 3)
        opened = threading.Semaphore(0)
        scan, host = make(ends=lambda _: opened.release())
        most = 0

        def end():
            nonlocal most
            for number in range(20):
                assert opened.acquire(timeout=20)
                most = max(most, sum(1 for one in host.asked if not one.future.done()))
                answer(host.asked[number])

        thread = threading.Thread(target=end)
        thread.start()
        rows = list(scan.rows([TextInput(f"data:,{number}", f"data:,{number}") for number in range(20)]))
        thread.join(20)
        assert [row.artifact for row in rows] == [f"data:,{number}" for number in range(20)]
        assert 1 <= most <= 3

    def test_a_stream_has_all_the_room_since_it_can_be_read_only_once(self, make):
        asked = queue.SimpleQueue()
        scan, _ = make(ends=asked.put, sections={"spool": SpoolSettings(max_size=2_000_000)})
        content = bytes(1_500_000)

        def end():
            for _ in range(3):
                answer(asked.get(timeout=20))

        thread = threading.Thread(target=end)
        thread.start()
        inputs = [StreamInput(name, lambda: io.BytesIO(content)) for name in ("a", "b", "c")]
        assert [(row.error, row.size) for row in scan.rows(inputs)] == [(None, len(content))] * 3
        thread.join(20)

    def test_what_has_no_room_beside_the_others_waits_for_them(self, make):
        asked = queue.SimpleQueue()
        scan, _ = make(ends=asked.put, sections={"spool": SpoolSettings(max_size=4_000_000)})
        uri = f"data:,{'x' * 1_500_000}"

        def end():
            for _ in range(5):
                answer(asked.get(timeout=20))

        thread = threading.Thread(target=end)
        thread.start()
        rows = list(scan.rows([TextInput(name, uri) for name in "abcde"]))
        thread.join(20)
        assert [(row.artifact, row.error, row.size) for row in rows] == [(name, None, 1_500_000) for name in "abcde"]

    def test_the_next_urls_are_fetched_meanwhile(self, make, site):
        uris = [f"{site.url}/page?{number}" for number in range(4)]
        site.pages.update({f"/page?{number}": (200, b"%d" % number) for number in range(4)})
        ends = threading.Semaphore(0)
        seen = []

        def answered(question):
            seen.append(question.artifact.read_bytes())
            answer(question)
            ends.release()

        network = NetworkSettings(allow=("127.0.0.1",))
        scan, _ = make(ends=answered, sections={"network": network}, ahead=False)

        def inputs():
            yield from (RemoteInput(uri, uri) for uri in uris[:3])
            for _ in range(3):  # a list that somebody writes: the fourth is named when the others have been judged
                assert ends.acquire(timeout=20)
            yield RemoteInput(uris[3], uris[3])

        rows = list(scan.rows(inputs()))
        assert [(row.artifact, row.error) for row in rows] == [(uri, None) for uri in uris]
        assert seen == [b"0", b"1", b"2", b"3"]


class TestInterrupt:
    def test_what_is_complete_and_in_order_is_handed_out_and_the_rest_is_cancelled(self, make):
        scan, host = make(ends=lambda _: None)
        rows = scan.rows(FILES[:6])

        def end():
            for number in (0, 3):
                answer(host.asked[number])

        host.on_ask = lambda _: end() if len(host.asked) == 6 else None
        assert next(rows).artifact == NAMES[0]
        for number in (1, 2, 5):
            answer(host.asked[number])
        assert [row.artifact for row in scan.interrupt()] == NAMES[1:4]
        assert host.cancelled
        with pytest.raises(CancelledError):
            host.asked[4].future.result()

    def test_who_waits_for_an_engine_is_woken_and_raises_where_nothing_is_half_done(self, make):
        interrupts = []
        scan, host = make(ends=lambda _: None, interrupted=lambda: bool(interrupts))

        def waiting():
            interrupts.append(True)
            scan.wake()

        scan._waiting = waiting
        with pytest.raises(Interrupted):
            next(scan.rows(FILES[:6]))
        assert len(host.asked) == 6
        with pytest.raises(Interrupted):
            scan.judge("a check", Bounty.local(data=b"x"), "one", None, 0.0)

    def test_unordered_all_that_is_complete(self, make):
        scan, host = make(in_order=False)
        host.on_ask = lambda _: answer(host.asked[0]) if len(host.asked) == 6 else None
        next(scan.rows(FILES[:6]))
        answer(host.asked[5])
        assert [row.artifact for row in scan.interrupt()] == [NAMES[5]]


class TestDeliveries:
    @pytest.fixture
    def bounty_file(self, tmp_path):
        bounty = Bounty.local(data=b"x", response_url="http://x.test/answer")
        (tmp_path / "bounty").write_bytes(bounty.encode())
        return FileInput("bounty", str(tmp_path / "bounty"))

    def test_the_row_waits_for_the_delivery_and_others_do_not(self, make, bounty_file):
        delivered = threading.Event()
        told = []

        def deliver(outcome):
            assert delivered.wait(20)
            told.append(outcome.bounty.response_url)
            return SimpleNamespace(status="refused", reason="answered 410")

        scan, host = make(bounties=True, deliver=True, in_order=False)
        host.deliver = deliver
        rows = scan.rows([bounty_file, BadInput("gone", "no such file")])
        assert next(rows).artifact == "gone"
        assert told == []
        delivered.set()
        [row] = rows
        assert row.error == ("delivery", "not delivered: answered 410")
        assert told == ["http://x.test/answer"]

    def test_what_was_not_delivered_before_an_interrupt_has_no_row(self, make, bounty_file):
        never = threading.Event()
        under_way = threading.Event()

        def deliver(_):
            under_way.set()
            assert never.wait(20)
            raise AssertionError

        scan, host = make(bounties=True, deliver=True)
        host.deliver = deliver
        rows = scan.rows([BadInput("gone", "no such file"), bounty_file, BadInput("gone", "no such file")])
        assert next(rows).artifact == "gone"
        assert list(scan.interrupt()) == []
        never.set()
