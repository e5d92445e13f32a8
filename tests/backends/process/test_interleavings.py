"""Moments that hardly ever meet, brought about on purpose: a death, a withdrawal and an end at the same time."""

import collections
import http.server
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from psengine_host.artifacts import Artifact
from psengine_host.backends.process import standing
from psengine_host.backends.process.child import Child
from psengine_host.backends.process.fleet import Fleet
from psengine_host.backends.process.messages import Withdraw
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.errors import UsageError
from psengine_host.host import Host
from psengine_host.outcome import FailureKind
from psengine_host.settings import HostSettings, NetworkSettings, Settings, WorkerSettings

PATIENCE = 60

LINKS = """
    import os
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact, context):
        folder = os.getcwd()
        if "to" in context.config:
            os.rename(folder, folder + "-away")
            os.symlink(context.config["to"], folder)
        return Analysis.benign(comments=[folder])
"""

AFTER_THE_END = """
import hashlib
import threading
from psengine_host.bounty import ArtifactType, Bounty
from psengine_host.host import Host

host = Host(backend="process")

def run():
    threading.main_thread().join()
    bounty = Bounty.forge(ArtifactType.FILE, "data:,hello", hashlib.sha256(b"hello").hexdigest())
    outcome = host.judge(bounty, "links").result(30)
    print(outcome.analysis.verdict, outcome.failure is not None)
    host.close()

threading.Thread(target=run).start()
"""


def test_a_new_worker_that_dies_before_it_is_given_what_another_died_over(
    faulty, process_host, monkeypatch, until, alive
):
    faulty("deaths")
    host = process_host(count=1)
    give = Fleet._give
    killed = []

    def late(fleet, worker, chosen, now):
        if chosen[0].tries and not killed:
            killed.append(worker.child.process)
            os.kill(killed[0], signal.SIGKILL)
            until(lambda: not alive(killed[0]))
        return give(fleet, worker, chosen, now)

    monkeypatch.setattr(Fleet, "_give", late)

    outcome = host.submit(b"once kill", "deaths").result(PATIENCE)

    assert killed
    assert outcome.failure is None
    assert host.analyze(b"fine", "deaths").failure is None


def test_a_worker_that_leaves_and_gives_back_the_last_that_it_had_is_let_go(faulty, process_host, until, tmp_path):
    faulty("order")
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    host = process_host(count=2, engines={"order": {"gate": str(tmp_path / "gate")}})
    fleet = None
    for future in [host.submit(b"quick", "order") for _ in range(300)]:
        future.result(PATIENCE)
    fleet = host.backend._fleets["order"]
    withdrawing = []
    send = Child.send

    def noted(child, message):
        send(child, message)
        if isinstance(message, Withdraw) and message.numbers:
            # Its home is lost at this very moment, say.
            withdrawing.append(child)
            fleet._crew.release_all()

    Child.send = noted
    try:
        texts = [b"slow" if number == 20 else b"%d" % number for number in range(100)]
        futures = [host.submit(text, "order") for text in texts]
        until(lambda: withdrawing)
        os.write(gate, b"x")
        for future in futures:
            assert future.result(PATIENCE).failure is None
        left = withdrawing[0]
        until(lambda: fleet._crew.of(left) is None, 9)
    finally:
        Child.send = send
        os.close(gate)


def test_of_many_that_wait_many_can_be_cancelled_at_once(faulty, process_host, until, tmp_path, monkeypatch):
    spent = []
    sweep = Fleet._sweep

    def timed(fleet, now):
        began = time.thread_time()
        sweep(fleet, now)
        spent.append(time.thread_time() - began)

    monkeypatch.setattr(Fleet, "_sweep", timed)
    faulty("order")
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    host = process_host(count=1, engines={"order": {"gate": str(tmp_path / "gate")}})
    slow = host.submit(b"slow", "order")
    until(lambda: [status.state for status in host.workers()] == ["busy"])
    with Artifact.from_bytes(b"quick") as artifact:
        bounty = host.bounty_for(artifact)
        futures = [host.judge(bounty, "order", artifact) for _ in range(30_000)]
        until(lambda: len(host.backend._fleets["order"]._backlog.queue) == 30_000)
        for future in futures[15_000:]:
            future.cancel()
        until(lambda: len(host.backend._fleets["order"]._backlog.queue) == 15_000)
        host.cancel()
    os.write(gate, b"x")
    os.close(gate)
    assert slow.cancelled()
    assert max(spent) < 3.0  # each for itself takes a minute


def test_what_fails_when_it_is_taken_in_ends_too(faulty, process_host, monkeypatch, caplog):
    faulty("order")
    host = process_host(count=1)
    assert host.analyze(b"1", "order").failure is None

    def broken(fleet, pending):
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(Fleet, "_prepare", broken)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            host.submit(b"2", "order").result(PATIENCE)

    assert "engine order: what was submitted could not be taken in" in caplog.text
    assert host.analyze(b"3", "order").failure is None


def too_long(_artifact, _most):
    raise OverflowError("too long an integer")


def test_what_cannot_be_sent_takes_nothing_with_it(faulty, process_host, monkeypatch):
    faulty("order")
    host = process_host(count=1)
    with Artifact.from_bytes(b"quick") as artifact:
        bounty = host.bounty_for(artifact)
        assert host.judge(bounty, "order", artifact).result(PATIENCE).failure is None
        monkeypatch.setattr(Artifact, "handover", too_long)
        futures = [host.judge(bounty, "order", artifact) for _ in range(50)]
        outcomes = [future.result(PATIENCE) for future in futures]

    assert {outcome.failure.kind for outcome in outcomes} == {FailureKind.FETCH}
    assert "too long an integer" in outcomes[0].failure.message


def test_an_engine_whose_turn_fails_does_not_take_the_turn_of_others(faulty, process_host, monkeypatch, caplog):
    faulty("order", "deaths")
    host = process_host(count=1)
    assert host.analyze(b"1", "order").failure is None
    tick = Fleet.tick

    def broken(fleet, now):
        if fleet.name == "order":
            raise RuntimeError("a fault of ours")
        return tick(fleet, now)

    with monkeypatch.context() as patched:
        patched.setattr(Fleet, "tick", broken)
        assert host.submit(b"fine", "deaths").result(PATIENCE).failure is None

    assert "engine order: the process backend failed, and goes on" in caplog.text
    assert host.analyze(b"2", "order").failure is None


def test_large_messages_are_not_given_ahead_in_great_numbers(faulty, process_host, until, tmp_path):
    faulty("order")
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    host = process_host(count=1, engines={"order": {"gate": str(tmp_path / "gate")}})
    for future in [host.submit(b"quick", "order") for _ in range(300)]:
        future.result(PATIENCE)
    uri = "data:;x=" + "x" * 1_000_000 + ",quick"
    fleet = host.backend._fleets["order"]
    with Artifact.from_bytes(b"quick") as artifact, Artifact.from_bytes(b"slow") as slow:
        futures = [host.judge(host.bounty_for(slow), "order", slow)]
        large = Bounty.forge(ArtifactType.FILE, uri, artifact.sha256)
        futures += [host.judge(large, "order", artifact) for _ in range(40)]
        until(lambda: fleet._backlog.queue)
        held = [sum(map(len, child._waiting)) for child in fleet._crew.children]
        os.write(gate, b"x")
        outcomes = [future.result(PATIENCE) for future in futures]
    os.close(gate)

    assert max(held) < 4_000_000
    assert all(outcome.failure is None for outcome in outcomes)


def test_what_is_judged_while_the_host_closes_is_delivered_however_long_that_took(faulty, engine_site, no_process_left):
    faulty("order")
    heard = []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            threading.Event().wait(0.3)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Nothing."""

    settings = Settings(
        host=HostSettings(close_timeout=1.0),
        network=NetworkSettings(allow=("127.0.0.1",)),
        workers=WorkerSettings(count=1),
    )
    delivered = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with Host(settings, backend="process", catalog=engine_site.catalog()) as host:
                url = f"http://127.0.0.1:{server.server_port}/"
                told = host._delivered
                host._delivered = lambda future, outcome: (delivered.append(future.result()), told(future, outcome))
                host.submit(Bounty.local(data=b"sleep 1.5", response_url=url, lifetime=timedelta(minutes=5)), "order")
        finally:
            server.shutdown()
            serving.join()

    assert len(heard) == 1
    assert [delivery.reason for delivery in delivered if not delivery.delivered] == []


def test_who_closes_while_another_does_waits_for_it(faulty, process_host, until, tmp_path):
    faulty("order")
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    host = process_host(count=1, engines={"order": {"gate": str(tmp_path / "gate")}})
    slow = host.submit(b"slow", "order")
    until(lambda: [status.state for status in host.workers()] == ["busy"])
    order = []

    def close(name):
        host.close()
        order.append((name, slow.done(), host.spool._folder is not None and host.spool._folder.exists()))

    closers = [threading.Thread(target=close, args=(name,)) for name in ("first", "second")]
    for closer in closers:
        closer.start()
    closers[1].join(0.5)
    assert not order
    os.write(gate, b"x")
    for closer in closers:
        closer.join(PATIENCE)
    os.close(gate)

    assert slow.result().failure is None
    assert [done for _, done, _ in order] == [True, True]


def test_a_signal_handler_that_closes_in_the_middle_of_closing_takes_nothing_away(
    faulty, process_host, monkeypatch, until, tmp_path
):
    faulty("order")
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    host = process_host(count=1, engines={"order": {"gate": str(tmp_path / "gate")}})
    slow = host.submit(b"slow", "order")
    until(lambda: [status.state for status in host.workers()] == ["busy"])
    spool = host.spool.folder
    seen = []

    def handler(_number, _frame):
        host.close()
        seen.append((slow.done(), spool.exists()))
        os.write(gate, b"x")

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    closing = threading.Event()
    close = host.backend.close
    monkeypatch.setattr(host.backend, "close", lambda: (closing.set(), close()))

    def send():
        closing.wait(PATIENCE)
        until(lambda: host.backend._fleets["order"]._closing)
        signal.pthread_kill(main, signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        host.close()
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
        os.close(gate)

    assert seen == [(False, True)]
    assert slow.result().failure is None


def test_a_host_that_cannot_be_closed_from_a_callback_stays_open(faulty, process_host):
    faulty("order")
    host = process_host(count=1)
    refused = []
    heard = threading.Event()

    def close(_future):
        try:
            host.close()
        except UsageError as error:
            refused.append(str(error))
        heard.set()

    host.submit(b"1", "order").add_done_callback(close)
    assert heard.wait(PATIENCE)

    assert refused == ["a callback of a future cannot close the host: leave that to who made it"]
    assert host.spool.folder.exists()
    assert host.analyze(b"2", "order").failure is None


def test_a_close_that_is_interrupted_kills_what_is_left(faulty, process_host, monkeypatch, until, processes, tmp_path):
    faulty("order")
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    host = process_host(count=1, engines={"order": {"gate": str(tmp_path / "gate")}})
    slow = host.submit(b"slow", "order")
    until(lambda: [status.state for status in host.workers()] == ["busy"])
    main = threading.get_ident()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    sender = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    sender.start()

    with pytest.raises(KeyboardInterrupt):
        host.close()

    sender.join()
    os.close(gate)
    assert slow.cancelled()
    assert not host.backend._loop.thread.is_alive()


def test_a_link_in_the_place_of_a_workers_folder_is_removed_and_not_followed(
    engine_site, process_host, tmp_path, until
):
    mine = tmp_path / "mine"
    (mine / "inside").mkdir(parents=True)
    (mine / "inside").chmod(0o755)
    mine.chmod(0o755)
    engine_site.add("links", LINKS)
    host = process_host(count=1, max_tasks_per_worker=1, engines={"links": {"to": str(mine)}})

    outcome = host.analyze(b"1", "links")
    assert outcome.failure is None
    folder = Path(outcome.analysis.comments[0])
    until(lambda: not folder.is_symlink())

    assert folder.parent == host.spool.folder
    assert (mine / "inside").stat().st_mode & 0o777 == 0o755
    assert mine.stat().st_mode & 0o777 == 0o755


def test_a_thread_that_goes_on_when_the_program_has_ended_is_served(engine_site, tmp_path):
    engine_site.add("links", LINKS)
    done = subprocess.run(
        [sys.executable, "-c", AFTER_THE_END],
        env=engine_site.env(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert (done.stdout, done.stderr) == ("benign False\n", "")


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 6, 8])
def test_a_host_that_can_open_no_more_files_leaves_none_open(faulty, process_host, monkeypatch, until, most):
    faulty("order")
    monkeypatch.setattr(standing, "FIRST_BACKOFF", 0.05)
    host = process_host(count=1)
    assert host.spool.folder.exists()
    assert host.analyze(b"0", "order").failure is None
    before = set(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    child = host.backend._fleets["order"]._crew.children[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 1 + most, hard))
    try:
        os.kill(child.process, signal.SIGKILL)
        until(lambda: child.fate)
        future = host.submit(b"1", "order")
        until(lambda: future.done() or host.backend._fleets["order"]._standing.failures >= 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert future.result(PATIENCE).failure is None
    until(lambda: len(os.listdir("/proc/self/fd")) <= len(before))


def test_what_does_not_fit_in_the_socket_is_cut_without_copies():
    """A message of 32 MB to a reader that takes little at a time costs no seconds of the loop."""
    reads, child = socket.socketpair()
    told = Child.__new__(Child)
    told._waiting = collections.deque()
    told._closed = False
    told._channel = child
    told._loop = SimpleNamespace(also_writable=lambda *_: None)
    child.setblocking(False)
    spent = 0.0
    data = b"x" * 32_000_000
    with reads, child:
        told.send_framed(data)
        got = 0
        while got < len(data):
            got += len(reads.recv(1 << 14))
            began = time.thread_time()
            told._flush()
            spent += time.thread_time() - began

    assert spent < 1.0


def test_a_path_that_no_file_can_have_is_an_error_of_the_path(faulty, process_host, journal):
    faulty("order")
    host = process_host(count=1)

    with pytest.raises(Exception, match="null"):
        host.judge_file("a\0b", "order").result(PATIENCE)

    assert host.analyze(b"1", "order").failure is None
