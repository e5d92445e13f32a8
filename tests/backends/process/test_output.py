"""What a process prints, as lines of the log: however it comes, whatever it is, and however much."""

import itertools
import json
import logging
import os
import subprocess
import sys
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.backends.process.output import BURST, LONGEST_LINE, RATE, OutputLog
from psengine_host.logs import set_up_logs


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


class Told(logging.Handler):
    """The messages of one engine's logger."""

    def __init__(self, engine="loud", level=logging.INFO):
        super().__init__()
        self.messages = []
        self.logger = logging.getLogger(f"psengine.engines.{engine}.output")
        self.level_of_logger = level

    def emit(self, record):
        self.messages.append(record.getMessage())

    def __enter__(self):
        self.logger.addHandler(self)
        self.logger.setLevel(self.level_of_logger)
        self.logger.propagate = False
        return self

    def __exit__(self, *_):
        self.logger.removeHandler(self)
        self.logger.setLevel(logging.NOTSET)
        self.logger.propagate = True


def told(*chunks, clock=None):
    with Told() as log:
        output = OutputLog("loud", "w", clock=clock or Clock())
        for chunk in chunks:
            output.feed(chunk)
        output.close()
    return log.messages


def left_out(lines, size):
    return f"w: {lines} of output ({size} bytes) left out: more than {RATE} a second"


class TestLines:
    def test_each_begins_with_where_it_comes_from(self):
        assert told(b"one\ntwo\n") == ["w: one", "w: two"]

    def test_the_last_one_needs_no_end(self):
        assert told(b"one\ntw", b"o") == ["w: one", "w: two"]

    def test_they_are_told_when_they_end_and_not_later(self):
        with Told() as log:
            output = OutputLog("loud", "w", clock=Clock())
            output.feed(b"one\ntw")
            assert log.messages == ["w: one"]
            output.feed(b"o\n")
            assert log.messages == ["w: one", "w: two"]

    def test_closing_twice_tells_once(self):
        with Told() as log:
            output = OutputLog("loud", "w", clock=Clock())
            output.feed(b"x" * 10 + b"\n" * (BURST + 5) + b"last")
            output.close()
            messages = list(log.messages)
            output.close()
        assert log.messages == messages

    def test_blank_ones_are_not_told(self):
        assert told(b"\n \n\r\none\n\n\t\n") == ["w: one"]

    def test_the_ends_of_lines_of_windows(self):
        assert told(b"one\r", b"\ntwo\r\n") == ["w: one", "w: two"]

    def test_nothing(self):
        assert told() == told(b"") == told(b"\n") == []


class TestWhateverItIs:
    @pytest.mark.parametrize(
        ("printed", "shown"),
        [
            (b"\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
            (b"50%\r100%\b\b", r"50%\r100%\x08\x08"),
            (b"a\0b", r"a\x00b"),
            (b"\xff\xfe \xc3", r"\xff\xfe \xc3"),
            ("é 漢 😀".encode(), "é 漢 😀"),
            ("\u202etxt.exe\u2028next\x85\x9b31m".encode(), r"\u202etxt.exe\u2028next\x85\x9b31m"),
            (b"\xed\xb2\x80", r"\xed\xb2\x80"),
            (b"a\tb", "a\tb"),
            (b"100% %s %(x)s {}", "100% %s %(x)s {}"),
        ],
    )
    def test_what_is_shown(self, printed, shown):
        assert told(printed + b"\n") == [f"w: {shown}"]

    @given(st.binary(max_size=3_000))
    def test_any_bytes_make_lines_that_steer_no_terminal(self, printed):
        for message in told(printed):
            assert message.replace("\t", "").isprintable()
            message.encode()

    def test_a_forged_record_stays_within_its_line(self):
        printed = b"x\npsengine: ERROR: all is lost\r\x1b[1Apsengine: INFO: fine\n"
        assert told(printed) == ["w: x", r"w: psengine: ERROR: all is lost\r\x1b[1Apsengine: INFO: fine"]


PIECES = st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b"\r\n",
        b"word ",
        "é".encode(),
        b"\xff",
        b"x" * 900,
        b"y " * 2_100,
        b"z\n" * (BURST - 3),
        b"q\n" * 60,
    ]
)
PRINTED = st.lists(PIECES, max_size=14).map(b"".join)


class TestHoweverItComes:
    @given(PRINTED, st.lists(st.integers(0, 6_000), max_size=12))
    def test_any_split_of_chunks_gives_the_same_lines(self, printed, places):
        places = sorted({0, len(printed), *(place % (len(printed) + 1) for place in places)})
        chunks = [printed[start:end] for start, end in itertools.pairwise(places)]
        assert told(*chunks) == told(printed)

    @given(st.lists(PIECES, max_size=6).map(b"".join))
    def test_byte_by_byte(self, printed):
        assert told(*(printed[place : place + 1] for place in range(len(printed)))) == told(printed)

    @given(PRINTED)
    def test_every_line_is_told_or_counted(self, printed):
        lines = printed.removesuffix(b"\n").split(b"\n") if printed else []
        first, rest = lines[:BURST], lines[BURST:]
        messages = told(printed)
        if rest:
            words = "1 line" if len(rest) == 1 else f"{len(rest):,} lines"
            assert messages.pop() == left_out(words, f"{sum(map(len, rest)):,}")
        assert len(messages) == sum(bool(line.strip()) for line in first)


class TestLongLines:
    def test_one_of_the_longest_is_told_whole(self):
        assert told(b"x" * LONGEST_LINE + b"\n") == ["w: " + "x" * LONGEST_LINE]

    def test_a_longer_one_is_cut_and_says_how_long_it_was(self):
        length = LONGEST_LINE + 1
        assert told(b"x" * length + b"\nnext\n") == [f"w: {'x' * LONGEST_LINE}… ({length:,} bytes)", "w: next"]

    def test_it_is_cut_between_words(self):
        # The beginning of a password would not be known for one, and not be hidden.
        line = b"word " * (LONGEST_LINE // 5 - 1) + b"key hunter2hunter2hunter2"
        assert told(line) == [f"w: {'word ' * (LONGEST_LINE // 5 - 1)}key… ({len(line):,} bytes)"]

    def test_it_is_cut_between_characters(self):
        line = b"x" + "é".encode() * LONGEST_LINE
        [message] = told(line)
        assert message == f"w: x{'é' * ((LONGEST_LINE - 1) // 2)}… ({len(line):,} bytes)"

    def test_spaces_alone_have_a_length_too(self):
        [message] = told(b" " * 5_000 + b"\n")
        assert message.endswith("… (5,000 bytes)")

    def test_one_without_end_takes_no_memory(self):
        chunk = b"x" * 65_536
        with Told() as log:
            output = OutputLog("loud", "w", clock=Clock())
            output.feed(chunk)
            tracemalloc.start()
            for _ in range(1_600):
                output.feed(chunk)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            output.close()
        assert peak < 3 * LONGEST_LINE
        assert log.messages == [f"w: {'x' * LONGEST_LINE}… ({1_601 * 65_536:,} bytes)"]


class TestMuch:
    def test_a_burst_is_told_whole(self):
        messages = told(b"x\n" * BURST)
        assert messages == ["w: x"] * BURST

    def test_more_than_that_is_counted(self):
        assert told(b"x\n" * BURST + b"yy\n" * 12_345)[BURST:] == [left_out("12,345 lines", "24,690")]

    def test_one_more(self):
        assert told(b"x\n" * BURST + b"yy")[BURST:] == [left_out("1 line", "2")]

    def test_lines_are_told_again_after_a_second_with_the_count_before_them(self):
        clock = Clock()
        with Told() as log:
            output = OutputLog("loud", "w", clock=clock)
            output.feed(b"x\n" * (BURST + 7))
            clock.now += 0.9
            output.feed(b"too soon\n")
            assert len(log.messages) == BURST
            clock.now += 0.2
            output.feed(b"again\n")
        assert log.messages[BURST:] == [left_out("8 lines", "15"), "w: again"]

    def test_the_count_is_told_when_nothing_more_comes(self):
        clock = Clock()
        with Told() as log:
            output = OutputLog("loud", "w", clock=clock)
            output.feed(b"x\n" * (BURST + 7))
            clock.now += 1.1
            output.feed(b"")
        assert log.messages[BURST:] == [left_out("7 lines", "7")]

    def test_a_steady_stream_below_the_rate_is_told_whole(self):
        clock = Clock()
        with Told() as log:
            output = OutputLog("loud", "w", clock=clock)
            for _ in range(RATE * 60):
                output.feed(b"x\n")
                clock.now += 1.05 / RATE
        assert log.messages == ["w: x"] * (RATE * 60)

    def test_a_flood_is_told_at_the_rate_and_every_line_is_accounted_for(self):
        clock = Clock()
        with Told() as log:
            output = OutputLog("loud", "w", clock=clock)
            for _ in range(600):  # a minute
                output.feed(b"x\n" * 10_000)
                clock.now += 0.1
            output.close()
        notices = [message for message in log.messages if message != "w: x"]
        counted = sum(int(message.split()[1].replace(",", "")) for message in notices)
        lines = len(log.messages) - len(notices)
        assert lines + counted == 6_000_000
        assert BURST + 58 * RATE <= lines <= BURST + 61 * RATE
        assert len(notices) <= 61

    def test_the_part_of_a_line_that_came_before_counts(self):
        assert told(b"x\n" * BURST, b"abc", b"def\ng")[BURST:] == [left_out("2 lines", "7")]

    def test_a_line_that_was_begun_in_a_flood_is_told_if_it_ends_later(self):
        clock = Clock()
        with Told() as log:
            output = OutputLog("loud", "w", clock=clock)
            output.feed(b"x\n" * (BURST + 1) + b"begun ")
            clock.now += 2
            output.feed(b"and ended\n")
        assert log.messages[BURST:] == [left_out("1 line", "1"), "w: begun and ended"]

    @pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
    @pytest.mark.parametrize(
        "piece", [b"x" * 70 + b"\n", b"\n", b"\x1b[1m", b"\0\xff\n"], ids=["70", "0", "none", "bad"]
    )
    def test_a_hundred_megabytes_take_little_time(self, piece, level):
        chunk = (piece * 65_536)[:65_536]
        with Told(level=level) as log:
            output = OutputLog("loud", "w")
            began = time.process_time()
            for _ in range(1_600):
                output.feed(chunk)
            output.close()
            spent = time.process_time() - began
        assert spent < 2
        assert bool(log.messages) == (level == logging.INFO)


class TestInTheLog:
    def test_text_names_the_engine(self, capsys):
        with set_up_logs(verbosity=1, environ={}):
            OutputLog("nanoav", "worker 2", clock=Clock()).feed(b"loading \x1b[31msignatures\n")
        assert capsys.readouterr().err == ("psengine: INFO: worker 2: loading \\x1b[31msignatures [engine nanoav]\n")

    def test_json_names_the_engine(self, capsys):
        with set_up_logs(verbosity=1, environ={"LOG_FORMAT": "json"}):
            OutputLog("nanoav", "home", clock=Clock()).feed(b'{"a": "\xff"}\n')
        line = json.loads(capsys.readouterr().err)
        assert (line["engine"], line["level"], line["message"]) == ("nanoav", "info", 'home: {"a": "\\xff"}')
        assert line["logger"] == "psengine.engines.nanoav.output"

    def test_secrets_are_hidden(self, capsys):
        with set_up_logs(verbosity=1, environ={}) as log:
            log.mask(["hunter2hunter2"])
            OutputLog("nanoav", "home", clock=Clock()).feed(b"the key is hunter2hunter2\n")
        assert "the key is *** [engine nanoav]" in capsys.readouterr().err

    def test_without_a_wish_for_it_nothing_is_told(self, capsys):
        with set_up_logs(environ={}):
            output = OutputLog("nanoav", "home", clock=Clock())
            output.feed(b"x\n" * 1_000)
            output.close()
        assert capsys.readouterr().err == ""


def test_what_c_and_python_and_programs_print_through_a_pipe():
    script = """
import ctypes, os, subprocess, sys
print("from Python", flush=True)
sys.stderr.write("an error\\n"); sys.stderr.flush()
c = ctypes.CDLL(None)
c.printf(b"from C %d\\n", 7); c.fflush(None)
os.write(2, b"a descriptor\\n")
subprocess.run(["sh", "-c", "echo a program; printf 'no end'"])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with Told() as log:
        output = OutputLog("loud", "w")
        while chunk := os.read(process.stdout.fileno(), 65_536):
            output.feed(chunk)
        output.close()
    process.communicate(timeout=60)
    assert log.messages == [
        *("w: from Python", "w: an error", "w: from C 7", "w: a descriptor", "w: a program", "w: no end")
    ]
