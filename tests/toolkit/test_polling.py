import pickle
import re
import socket
import subprocess
import sys
import time

import pytest

from psengine_host.errors import EngineError
from psengine_host.job import Job, working_on
from psengine_host.toolkit.polling import PollTimeout, poll


class Answers:
    """Returns, or raises, one thing after the other, the last for ever; counts, and notes when it was called."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.times: list[float] = []

    def __call__(self) -> object:
        self.times.append(time.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


class TestSuccess:
    def test_the_first_value_that_is_true_is_returned(self):
        answers = Answers(None, 0, "", [], "ready", "later")
        assert poll(answers, step=0.001) == "ready"
        assert len(answers.times) == 5

    def test_a_value_that_is_right_at_once_costs_no_pause(self):
        began = time.monotonic()
        assert poll(lambda: 7, step=60) == 7
        assert time.monotonic() - began < 10

    def test_until_says_what_is_right(self):
        assert poll(Answers(3, 2, 0, 1), until=lambda value: value == 0, step=0.001) == 0

    def test_a_real_daemon_that_takes_a_moment(self):
        program = (
            "import socket, sys\n"
            "server = socket.socket(); server.bind(('127.0.0.1', 0)); print(server.getsockname()[1], flush=True)\n"
            "sys.stdin.readline(); server.listen(); sys.stdin.readline()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as daemon:
            port = int(daemon.stdout.readline())
            refused = []

            def connect() -> socket.socket:
                try:
                    return socket.create_connection(("127.0.0.1", port), timeout=10)
                except ConnectionRefusedError:
                    refused.append(port)
                    if len(refused) == 3:
                        daemon.stdin.write("listen\n")
                        daemon.stdin.flush()
                    raise

            with poll(connect, retry_on=ConnectionRefusedError, step="5ms", timeout="30s", what="the daemon"):
                assert len(refused) >= 3
            daemon.stdin.write("end\n")

    def test_exceptions_that_mean_not_yet(self):
        assert poll(Answers(ConnectionError(), KeyError(1), True), retry_on=(OSError, LookupError), step=0.001) is True


class TestOthersPass:
    @pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3), PermissionError("no")])
    def test_an_exception_that_is_not_named_passes_at_once(self, error):
        answers = Answers(False, error)
        with pytest.raises(type(error)) as caught:
            poll(answers, step=0.001, retry_on=(ConnectionError, LookupError))
        assert caught.value is error
        assert len(answers.times) == 2

    def test_an_exception_of_until_passes_at_once(self):
        answers = Answers(1)
        with pytest.raises(ZeroDivisionError):
            poll(answers, until=lambda value: value / 0, step=0.001, retry_on=ArithmeticError)
        assert len(answers.times) == 1


class TestTimeout:
    def test_it_says_what_how_long_how_often_and_what_came_last(self):
        answers = Answers(0)
        with pytest.raises(PollTimeout) as caught:
            poll(answers, step=0.001, tries=3, what="clamd")
        error = caught.value
        assert (error.what, error.tries, error.value, error.error, error.ended) == ("clamd", 3, 0, None, "tries")
        assert str(error) == (
            f"waited {error.seconds:.3g} s for clamd in vain (3 tries, the most allowed); the last returned 0"
        )
        assert len(answers.times) == 3
        assert isinstance(error, EngineError)

    def test_the_last_exception_is_in_it_and_is_its_cause(self):
        refused = ConnectionRefusedError(111, "Connection refused")
        with pytest.raises(PollTimeout) as caught:
            poll(Answers(None, refused), step=0.001, tries=2, retry_on=OSError)
        assert str(caught.value).endswith(
            "(2 tries, the most allowed); the last raised ConnectionRefusedError: [Errno 111] Connection refused"
        )
        assert caught.value.error is caught.value.__cause__ is refused
        assert caught.value.value is None

    def test_one_try_is_one(self):
        with pytest.raises(PollTimeout, match=r"\(1 try, the most allowed\)"):
            poll(bool, tries=1)

    def test_the_function_s_name_says_what_was_waited_for(self):
        def daemon_is_up() -> bool:
            return False

        with pytest.raises(PollTimeout, match="s for daemon_is_up in vain"):
            poll(daemon_is_up, tries=1)
        with pytest.raises(PollTimeout, match=r"s for <.*Answers object at .*> in vain"):
            poll(Answers(False), tries=1)

    @pytest.mark.parametrize("timeout", [0.05, "50ms"])
    def test_the_time_is_not_overshot_by_a_pause_and_the_last_call_is_at_its_end(self, timeout):
        answers = Answers(False)
        began = time.monotonic()
        with pytest.raises(PollTimeout, match=r"\(2 tries, until the timeout\)"):
            poll(answers, step=3600, timeout=timeout)
        assert answers.times[-1] - began >= 0.05
        assert time.monotonic() - began < 10

    def test_a_deadline_ends_it(self):
        with pytest.raises(PollTimeout, match=r"\(2 tries, until the deadline\)"):
            poll(Answers(False), step=3600, deadline=time.monotonic() + 0.01)

    def test_one_that_has_passed_leaves_one_call(self):
        answers = Answers(False)
        with pytest.raises(PollTimeout, match=r"\(1 try, until the deadline\)"):
            poll(answers, deadline=time.monotonic() - 1)
        assert len(answers.times) == 1
        assert poll(lambda: "right", deadline=time.monotonic() - 1) == "right"

    def test_the_bounty_in_hand_ends_it(self):
        began = time.monotonic()
        with (
            working_on(Job("clam", bounty=1, deadline=began + 0.05)),
            pytest.raises(PollTimeout, match=r"\(2 tries, until the deadline of the bounty\)"),
        ):
            poll(Answers(False), step=3600, timeout=None)
        assert time.monotonic() - began < 10

    def test_it_survives_pickling(self):
        with pytest.raises(PollTimeout) as caught:
            poll(Answers(OSError(2, "gone")), tries=1, retry_on=OSError, what="x")
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.tries, again.error.errno) == (str(caught.value), 1, 2)

    def test_a_huge_value_makes_a_short_message(self):
        with pytest.raises(PollTimeout) as caught:
            poll(lambda: "x" * 10_000_000, until=lambda _: False, tries=1)
        assert len(str(caught.value)) < 400


class TestPauses:
    def test_they_are_as_long_as_the_step(self):
        answers = Answers(0, 0, 0, 1)
        poll(answers, step="20ms")
        assert all(pause >= 0.02 for pause in answers.pauses)

    def test_they_grow_by_the_backoff_up_to_the_longest(self, monkeypatch):
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        with pytest.raises(PollTimeout):
            poll(Answers(0), step=0.5, backoff=2, max_step="3s", tries=6)
        assert pauses == [0.5, 1, 2, 3, 3]

    def test_they_grow_for_ever_without_going_wrong(self, monkeypatch):
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        with pytest.raises(PollTimeout):
            poll(Answers(0), step=1, backoff=10, timeout=None, deadline=time.monotonic() + 3600, tries=2000)
        assert len(pauses) == 1999
        assert max(pauses) <= 3600

    def test_the_first_is_no_longer_than_the_longest(self, monkeypatch):
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        with pytest.raises(PollTimeout):
            poll(Answers(0), step=5, max_step=1, tries=3)
        assert pauses == [1, 1]


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"timeout": None},
                "poll would go on for ever: give it a timeout, a finite deadline, or a number of tries",
            ),
            ({"timeout": None, "deadline": float("inf")}, "poll would go on for ever: "),
            ({"step": 0}, "step: it must be more than 0 seconds"),
            ({"step": -1}, "step: -1 is no duration: it must be 0 seconds or more"),
            ({"step": "5 parsecs"}, "step: '5 parsecs' is no duration; write a number of seconds"),
            ({"timeout": "soon"}, "timeout: 'soon' is no duration"),
            ({"max_step": 0}, "max_step: it must be more than 0 seconds"),
            ({"deadline": float("nan")}, "deadline: it must be a number on the clock of time.monotonic, got nan"),
            ({"max_step": "x"}, "max_step: 'x' is no duration"),
            ({"backoff": 0.5}, "backoff: it must be 1 or more, and finite, got 0.5"),
            ({"backoff": float("nan")}, "backoff: it must be 1 or more, and finite, got nan"),
            ({"backoff": float("inf")}, "backoff: it must be 1 or more, and finite, got inf"),
            ({"tries": 0}, "tries: it must be 1 or more, got 0"),
        ],
    )
    def test_they_are_refused_before_the_first_call(self, arguments, message):
        answers = Answers(True)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            poll(answers, **arguments)
        assert answers.times == []

    def test_no_timeout_is_fine_with_tries(self):
        assert poll(Answers(0, 1), timeout=None, tries=2, step=0.001) == 1


def test_tenacity_is_not_imported_before_it_is_needed():
    program = "import sys; import psengine_host.toolkit.polling; print('tenacity' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
