"""URLs are fetched before their turn: in order, a few at once, and none that hangs holds up the others for long."""

import threading
import time

import pytest

from psengine_host.artifacts import Artifact
from psengine_host.cli.fetching_ahead import AT_ONCE, fetch_ahead
from psengine_host.cli.inputs import FileInput, RemoteInput
from psengine_host.cli.reading_ahead import Turn
from psengine_host.errors import ArtifactError, SpoolFull

ALLOW = {"PSENGINE_NETWORK_ALLOW": "127.0.0.1"}


def turns(*names: str) -> list[Turn]:
    items = [
        RemoteInput(name, name) if name.startswith("http") else FileInput(name, f"/nowhere/{name}") for name in names
    ]
    return [Turn(item, ("any",)) for item in items]


def fetchers() -> int:
    return sum(thread.name == "psengine-fetch" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    limit = time.monotonic() + 20
    while fetchers():
        assert time.monotonic() < limit, "a thread that fetches was left behind"
        time.sleep(0.005)


class Web:
    """Where artifacts come from: each name its own, when it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hold = threading.Event()
        self.held: set[str] = set()
        self.failing: dict[str, Exception] = {}
        self.changed = threading.Condition()
        self.closed: list[str] = []

    def obtain(self, item: RemoteInput, deadline: float) -> Artifact:
        with self.changed:
            self.asked.append(item.name)
            self.changed.notify_all()
        if item.name in self.held:
            assert self.hold.wait(max(0.0, min(deadline - time.monotonic(), 30)))
        if item.name in self.failing:
            raise self.failing[item.name]
        return Watched.of(self, item.name)

    def wait_until_asked(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, 20)


class Watched(Artifact):
    """An artifact that says when it is closed."""

    @classmethod
    def of(cls, web: Web, name: str) -> "Watched":
        artifact = cls.from_bytes(name.encode(), name=name)
        artifact.web = web
        artifact.room = None
        return artifact

    def close(self) -> None:
        if self.web is not None:
            self.web.closed.append(self.name)
        if self.room is not None:
            self.room, room = None, self.room
            room.give_back()
        super().close()


@pytest.fixture
def web():
    web = Web()
    yield web
    web.hold.set()


def test_the_order_is_kept_and_no_more_than_a_few_are_under_way(web):
    names = [f"http://{number}" for number in range(20)]
    given = turns(*names)
    running = fetch_ahead(given, web.obtain, 30)
    first = next(running)
    web.wait_until_asked(AT_ONCE)
    assert sorted(web.asked) == sorted(names[:AT_ONCE])
    assert first.fetch.result(20).read_bytes() == b"http://0"
    for number, turn in enumerate(running, 1):
        assert turn is given[number]
        with turn.fetch.result(20) as artifact:
            assert artifact.read_bytes() == names[number].encode()
    assert sorted(web.asked) == sorted(names)
    assert fetchers() <= AT_ONCE


def test_files_pass_at_once_where_no_url_is_before_them(web):
    passed = []

    def endless():
        for number in range(100):
            passed.append(number)
            yield turns(f"file-{number}")[0]

    running = fetch_ahead(endless(), web.obtain, 30)
    for number in range(5):
        assert next(running).fetch is None
        assert len(passed) == number + 1
    running.close()
    assert web.asked == []


def test_files_between_urls_keep_their_place(web):
    given = turns("a", "http://1", "b", "http://2", "c")
    assert [turn.item.name for turn in fetch_ahead(given, web.obtain, 30)] == ["a", "http://1", "b", "http://2", "c"]
    assert [turn.fetch is None for turn in given] == [True, False, True, False, True]


def test_an_error_is_told_at_its_turn_and_only_there(web):
    web.failing["http://1"] = ArtifactError("no such page")
    contents = []
    for turn in fetch_ahead(turns("http://0", "http://1", "http://2"), web.obtain, 30):
        try:
            with turn.fetch.result(20) as artifact:
                contents.append(artifact.read_bytes())
        except ArtifactError as error:
            contents.append(str(error))
    assert contents == [b"http://0", "no such page", b"http://2"]


class Room:
    """A spool with too little room: each artifact takes one place until it is closed."""

    def __init__(self, web: Web, places: int) -> None:
        self.web = web
        self.places = places
        self.taken = 0
        self.lock = threading.Lock()

    def obtain(self, item: RemoteInput, deadline: float) -> Artifact:
        wanted = 9 if "huge" in item.name else 1
        with self.lock:
            if self.taken + wanted > self.places:
                raise SpoolFull("the spool is full")
            self.taken += wanted
        artifact = self.web.obtain(item, deadline)
        artifact.room = self
        return artifact

    def give_back(self) -> None:
        with self.lock:
            self.taken -= 1


def results(running, seconds: float = 20) -> list[str]:
    found = []
    for turn in running:
        try:
            with turn.fetch.result(seconds) if turn.fetch else Watched.of(None, turn.item.name) as artifact:
                found.append(artifact.name)
        except ArtifactError as error:
            found.append(str(error))
    return found


def test_where_there_is_room_for_one_only_each_is_fetched_in_its_turn(web):
    names = [f"http://{number}" for number in range(30)]
    given = turns(*names)
    room = Room(web, 1)
    assert results(fetch_ahead(given, room.obtain, 30)) == names
    assert room.taken == 0
    assert sum(turn.fetch is not None for turn in given) <= 2 * AT_ONCE


def test_what_is_still_under_way_gives_its_room_to_the_turn_that_needs_it(web):
    names = ["http://0", *(f"http://hanging-{number}" for number in range(AT_ONCE - 1))]
    web.held.update(names[1:])
    room = Room(web, 2)
    running = fetch_ahead(turns(*names), room.obtain, 30)
    next(running).fetch.result(20)  # kept open: one place is left, and one of the others hangs in it
    web.wait_until_asked(2)
    taken = web.asked[1]
    turn = next(turn for turn in running if turn.item.name != taken)
    timer = threading.Timer(0.1, web.hold.set)
    timer.start()
    assert turn.fetch.result(20).name == turn.item.name
    timer.join()
    running.close()


def test_one_that_does_not_fit_alone_either_is_an_error_and_the_others_are_fetched_ahead_again(web):
    names = [f"http://{number}" for number in range(40)]
    names[3] = "http://huge"
    given = turns(*names)
    expected = [*names]
    expected[3] = "the spool is full"
    room = Room(web, AT_ONCE)
    assert results(fetch_ahead(given, room.obtain, 30)) == expected
    assert room.taken == 0
    assert all(turn.fetch for turn in given)
    assert len(web.asked) <= len(names) + AT_ONCE


def test_those_that_hang_are_given_up_and_the_others_are_fetched(web):
    hanging = [f"http://hanging-{number}" for number in range(AT_ONCE + 2)]
    web.held.update(hanging)
    names = [*hanging, *(f"http://{number}" for number in range(4))]
    results = []
    for turn in fetch_ahead(turns(*names), web.obtain, 30):
        try:
            with turn.fetch.result(0.02 if turn.item.name in web.held else 20) as artifact:
                results.append(artifact.name)
        except ArtifactError as error:
            results.append(str(error))
    assert results == [f"{name}: not fetched in 0.02 s" for name in hanging] + names[len(hanging) :]
    web.hold.set()
    limit = time.monotonic() + 20
    while not set(hanging) <= set(web.closed):  # what came too late is let go
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_what_a_turn_waited_counts_and_not_what_was_fetched_meanwhile(web):
    web.held.add("http://1")
    running = fetch_ahead(turns("http://0", "http://1"), web.obtain, 30)
    assert next(running).fetch.result(20).obtained_in < 10
    web.wait_until_asked(2)
    turn = next(running)
    timer = threading.Timer(0.1, web.hold.set)
    timer.start()
    assert 0.05 < turn.fetch.result(20).obtained_in < 15
    timer.join()


def test_an_end_in_the_middle_lets_everything_go(web):
    names = [f"http://{number}" for number in range(20)]
    web.held.add("http://5")
    running = fetch_ahead(turns(*names), web.obtain, 30)
    next(running).fetch.result(20).close()
    web.wait_until_asked(AT_ONCE)
    running.close()
    web.hold.set()
    limit = time.monotonic() + 20
    while sorted(web.closed) != sorted(names[:AT_ONCE]):
        assert time.monotonic() < limit
        time.sleep(0.005)


class TestInAScan:
    def test_urls_and_files_in_one_run_give_the_same_rows_as_alone(self, psengine, judge, site, work):
        for number in range(30):
            site.pages[f"/{number}"] = (200, b"MALICIOUS" if number % 7 == 0 else b"fine")
        (work / "a").write_bytes(b"MALICIOUS")
        arguments = [f"{site.url}/{number}" for number in range(30)]
        arguments[10:10] = ["a", f"{site.url}/gone", "data:,x"]
        rows = psengine("analyze", *arguments, env=ALLOW).rows
        assert [row["artifact"] for row in rows] == arguments
        for row in rows:
            alone = psengine("analyze", row["artifact"], env=ALLOW).row if row["error"] else None
            if alone is not None:
                assert row["error"] == alone["error"]
            elif row["artifact"].startswith(site.url):
                number = int(row["artifact"].rpartition("/")[2])
                assert row["analysis"]["verdict"] == ("malicious" if number % 7 == 0 else "benign")
                assert row["bounty"]["artifact_uri"] == row["artifact"]

    def test_each_url_is_asked_once_for_all_engines(self, psengine, engine_site, judge, site):
        engine_site.add("mild")
        site.pages |= {f"/{number}": (200, b"%d" % number) for number in range(12)}
        ended = psengine("analyze", "-e", "all", *(f"{site.url}{path}" for path in site.pages), env=ALLOW)
        assert len(ended.rows) == 24
        assert sorted(path for _, path, *_ in site.requests) == sorted(site.pages)

    def test_a_spool_that_holds_one_at_a_time_is_room_enough(self, psengine, judge, site):
        site.pages |= {f"/{number}": (200, b"%d" % number * (1_200_000 // len(str(number)))) for number in range(16)}
        env = {**ALLOW, "PSENGINE_SPOOL_MAX_SIZE": "1500000"}
        ended = psengine("analyze", *(f"{site.url}{path}" for path in site.pages), env=env)
        assert [row["error"] for row in ended.rows] == [None] * 16
        assert ended.code == 0
