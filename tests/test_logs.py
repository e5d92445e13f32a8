"""The log on standard error: what it says, in which form, what it never shows, and that it never fails."""

import dataclasses
import datetime as dt
import enum
import inspect
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
import warnings
from base64 import b64encode
from pathlib import Path
from types import MappingProxyType

import pytest

from psengine_host import Bounty, Host
from psengine_host.job import Job, working_on
from psengine_host.logs import set_up_logs
from psengine_host.logs.json_lines import OURS
from psengine_host.logs.masks import LONGEST_SECRET, Masks
from psengine_host.logs.records import LONGEST_TEXT
from psengine_host.logs.secrets import SHORTEST_GUESSED, secrets_in
from psengine_host.logs.setup import LIBRARIES, level_number
from psengine_host.settings import CelerySettings, LogSettings, NetworkSettings, Secret, Settings, WebhookSettings

KEYS = ["timestamp", "level", "logger", "message", "engine", "bounty", "delivery"]
NO_LEVEL = "'loud' is no level (debug, info, warning, error, critical or a number); warning is used"


class Written:
    """A log that was set up, and what it has written since it was last asked."""

    def __init__(self, log, capsys):
        self.log = log
        self._capsys = capsys

    @property
    def text(self):
        return self._capsys.readouterr().err

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def objects(self):
        return [json.loads(line) for line in self.lines]

    @property
    def object(self):
        (one,) = self.objects
        return one


@pytest.fixture
def log(capsys):
    """Sets up the log with options and variables; it is closed afterwards."""
    root, opened = logging.getLogger(), []

    def log(*, verbosity=0, debug=False, **variables):
        for handler in root.handlers[:]:
            if type(handler).__module__ == "_pytest.logging":
                root.removeHandler(handler)  # it fails the test for a record that cannot be formatted
        opened.append(set_up_logs(verbosity=verbosity, debug=debug, environ=variables))
        return Written(opened[-1], capsys)

    yield log
    for one in opened:
        one.close()
    assert not [handler for handler in root.handlers if type(handler).__module__.startswith("psengine_host")]


@pytest.fixture
def logger():
    return logging.getLogger("psengine_test")


def say_all(logger):
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)("so it is")


class TestLevels:
    @pytest.mark.parametrize(
        ("level", "count"),
        [
            ("debug", 5), ("INFO", 4), ("error", 2), ("critical", 1), ("20", 4), ("50", 1), ("51", 0), ("0", 5),
            ("notset", 5), (" warning ", 3), ("warn", 3), ("", 3), ("999999999", 0),
        ],
    )  # fmt: skip
    def test_by_name_or_number(self, log, logger, level, count):
        written = log(LOG_LEVEL=level)
        say_all(logger)
        assert len(written.lines) == count

    @pytest.mark.parametrize(
        ("verbosity", "debug", "count"),
        [
            (0, False, 3), (1, False, 4), (2, False, 5), (7, False, 5), (-1, False, 2), (-2, False, 1), (-9, False, 1),
            (0, True, 5), (1, True, 5), (-1, True, 2),
        ],
    )  # fmt: skip
    def test_by_options_which_win_over_the_variable_and_the_settings(self, log, logger, verbosity, debug, count):
        for variables in {}, {"LOG_LEVEL": "error"} if verbosity or debug else {}:
            written = log(verbosity=verbosity, debug=debug, **variables)
            if verbosity or debug:
                written.log.apply("critical", "text")
            say_all(logger)
            assert len(written.lines) == count

    def test_settings_are_used_where_nothing_else_says(self, log, logger):
        written = log()
        written.log.apply("info", "json")
        say_all(logger)
        assert [line["level"] for line in written.objects] == ["info", "warning", "error", "critical"]
        written.log.apply(40, "text")
        say_all(logger)
        assert written.lines == ["psengine: ERROR: so it is", "psengine: CRITICAL: so it is"]

    def test_the_variables_win_over_settings_each_for_itself(self, log, logger):
        written = log(LOG_FORMAT="text")
        written.log.apply("error", "json")
        say_all(logger)
        assert written.lines == ["psengine: ERROR: so it is", "psengine: CRITICAL: so it is"]
        written = log(LOG_LEVEL="critical")
        written.log.apply("debug", "json")
        say_all(logger)
        assert written.object["level"] == "critical"

    def test_what_is_no_level_or_format_is_said_and_the_default_used(self, log, logger):
        written = log(LOG_LEVEL="loud", LOG_FORMAT="xml")
        logger.info("no")
        assert written.lines == [
            f"psengine: WARNING: LOG_LEVEL: {NO_LEVEL}",
            "psengine: WARNING: LOG_FORMAT: 'xml' is no format (text or json); text is used",
        ]
        written = log()
        written.log.apply("loud", "text")
        assert written.lines == [f"psengine: WARNING: [log] level: {NO_LEVEL}"]

    @pytest.mark.parametrize("wrong", ["-1", "1.5", "٣", "9" * 5000, -1, True, 1.5, None])
    def test_what_is_no_level(self, wrong):
        assert level_number(wrong) is None

    @pytest.mark.parametrize(("verbosity", "heard"), [(0, False), (2, False), (3, True)])
    def test_libraries_are_heard_from_warnings_on_unless_all_is_asked_for(self, log, verbosity, heard):
        written = log(verbosity=verbosity)
        for library in LIBRARIES:
            logging.getLogger(f"{library}.inner").info("inner workings")
        assert len(written.lines) == (len(LIBRARIES) if heard else 0)
        logging.getLogger("asyncio").warning("slow")
        assert written.lines == ["psengine: WARNING: slow [asyncio]"]

    def test_a_library_whose_level_its_user_chose_keeps_it(self, log):
        library = logging.getLogger("urllib3")
        library.setLevel(logging.INFO)
        try:
            written = log(verbosity=1)
            library.info("chosen")
            assert written.lines == ["psengine: INFO: chosen [urllib3]"]
            written.log.close()
            assert library.level == logging.INFO
        finally:
            library.setLevel(logging.NOTSET)


class TestSettingUp:
    def test_importing_changes_nothing(self):
        code = (
            "import logging, warnings; shown = warnings.showwarning; import psengine_host, psengine_host.logs.setup, "
            "psengine_host.host; root = logging.getLogger(); assert root.handlers == [] and root.level == 30; "
            "assert logging.getLogger('asyncio').level == 0 and warnings.showwarning is shown"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    @pytest.mark.parametrize(("log_format", "formatter"), [("text", "text_lines"), ("json", "json_lines")])
    def test_what_formats_is_imported_by_the_first_record(self, log_format, formatter):
        code = (
            "import logging, sys; from psengine_host.logs import set_up_logs\n"
            f"late = {{'psengine_host.logs.masks', 'psengine_host.logs.{formatter}'}}\n"
            "set_up_logs().mask(['abcdef']); logging.info('no'); assert not late & sys.modules.keys()\n"
            "logging.error('see abcdef'); assert late < sys.modules.keys()\n"
        )
        environ = {**os.environ, "LOG_FORMAT": log_format}
        ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr.count("see ***")) == (0, 1)

    def test_a_host_leaves_the_log_of_its_program_alone(self, engine_site):
        engine_site.add("mild")
        root = logging.getLogger()
        before = root.handlers[:], root.level
        with Host(Settings(), catalog=engine_site.catalog()) as host:
            host.analyze(b"x")
            assert (root.handlers[:], root.level) == before
        assert (root.handlers[:], root.level) == before

    def test_twice_writes_once_and_as_the_second_says(self, log, logger):
        first = log(LOG_FORMAT="json")
        log(verbosity=1)
        logger.info("once")
        assert first.lines == ["psengine: INFO: once"]

    def test_closing_the_first_of_two_does_not_end_the_second(self, log, logger):
        first, second = log(), log()
        first.log.close()
        logger.error("there")
        assert second.lines == ["psengine: ERROR: there"]

    def test_everything_is_afterwards_as_it_was(self):
        root, mine = logging.getLogger(), logging.StreamHandler(io.StringIO())
        root.addHandler(mine)
        try:

            def state():
                levels = [logging.getLogger(library).level for library in LIBRARIES]
                return root.handlers[:], root.level, levels, warnings.showwarning

            before = state()
            with set_up_logs(debug=True, environ={}):
                assert len(root.handlers) == len(before[0]) + 1
                assert mine in root.handlers
                with set_up_logs(verbosity=-2, environ={}):
                    assert len(root.handlers) == len(before[0]) + 1
            assert state() == before
        finally:
            root.removeHandler(mine)

    def test_it_closes_once_and_settings_come_too_late(self, log, logger):
        written = log()
        written.log.close()
        written.log.close()
        written.log.apply("debug", "json")
        assert logging.getLogger().level != logging.DEBUG

    def test_records_stay_as_they_are_for_handlers_of_others(self, log, logger):
        seen = []

        class Other(logging.Handler):
            def emit(self, record):
                seen.append((record.getMessage(), record.exc_text, vars(record).keys()))

        written = log(LOG_FORMAT="json")
        other = Other()
        logging.getLogger().addHandler(other)
        try:
            logger.warning("see %s", "https://a:b@host/")
        finally:
            logging.getLogger().removeHandler(other)
        assert written.object["message"] == "see https://***@host/"
        message, exc_text, attributes = seen[0]
        assert (message, exc_text) == ("see https://a:b@host/", None)
        assert not {"engine", "bounty", "delivery"} & attributes


class TestWarnings:
    def test_are_lines_of_the_log(self, log):
        written = log(LOG_FORMAT="json")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("scan() takes\nno path any more", DeprecationWarning, stacklevel=1)
        line = written.object
        assert (line["level"], line["logger"]) == ("warning", "py.warnings")
        message = re.escape("DeprecationWarning: scan() takes no path any more (")
        assert re.fullmatch(message + rf"{re.escape(__file__)}:\d+\)", line["message"])

    def test_to_a_file_of_their_own_go_there(self, log, monkeypatch):
        file, shown = io.StringIO(), []
        monkeypatch.setattr(warnings, "showwarning", lambda *given: shown.append(given))
        written = log()
        warnings.showwarning("for the file", UserWarning, "here.py", 1, file)
        assert shown == [("for the file", UserWarning, "here.py", 1, file, None)]
        assert written.lines == []


class TestText:
    def test_what_would_steer_a_terminal_is_shown_as_an_escape(self, log, logger):
        written = log()
        logger.warning("a \x1b[2J b\rc \x9b d\u202e e\udce9 f\ud800\tg")
        assert written.lines == ["psengine: WARNING: a \\x1b[2J b\\rc \\x9b d\\u202e e\\xe9 f\\ud800\tg"]

    def test_no_message_can_look_like_the_next_record(self, log, logger):
        written = log()
        logger.warning("two\npsengine: ERROR: lines\n")
        assert written.lines == ["psengine: WARNING: two", "    psengine: ERROR: lines"]

    def test_a_traceback_is_indented(self, log, logger):
        written = log()
        try:
            raise ValueError("x\npsengine: ERROR: forged")
        except ValueError:
            logger.exception("failed")
        first, *traceback = written.lines
        assert first == "psengine: ERROR: failed"
        assert all(line.startswith("    ") for line in traceback)
        assert traceback[0] == "    Traceback (most recent call last):"
        assert traceback[-2:] == ["    ValueError: x", "    psengine: ERROR: forged"]

    def test_a_stack_is_shown(self, log, logger):
        written = log()
        logger.warning("here", stack_info=True)
        first, second, *_ = written.lines
        assert (first, second) == ("psengine: WARNING: here", "    Stack (most recent call last):")

    def test_exc_info_outside_of_an_except_block_is_nothing(self, log, logger):
        written = log()
        logger.warning("calm", exc_info=True)  # noqa: LOG014 - that is the point
        assert written.lines == ["psengine: WARNING: calm"]

    def test_engine_and_bounty_follow_the_message(self, log, logger):
        written = log()
        with working_on(Job("nano-av", 2**70, "d-1")):
            logger.warning("slow")
        with working_on(Job("nano-av")):
            logging.getLogger("vendor_sdk").warning("slow\nvery")
        logging.getLogger("psengine.engines.nano-av.updates").warning("in setup")
        logging.getLogger("vendor_sdk").warning("slow")
        logging.getLogger().warning("root")
        assert written.lines == [
            f"psengine: WARNING: slow [engine nano-av, bounty {2**70}, delivery d-1]",
            "psengine: WARNING: slow",
            "    very [engine nano-av]",
            "psengine: WARNING: in setup [engine nano-av]",
            "psengine: WARNING: slow [vendor_sdk]",
            "psengine: WARNING: root",
        ]

    def test_a_bounty_s_id_is_a_stranger_s_text(self, log, logger):
        written = log()
        with working_on(Job("nano", "7]\npsengine: ERROR: data:,forged")):
            logger.warning("so")
        assert written.lines == [r"psengine: WARNING: so [engine nano, bounty 7]\npsengine: ERROR: data:,…]"]

    def test_it_follows_standard_error(self, log, logger, monkeypatch, tmp_path):
        log()
        with open(tmp_path / "other", "w+") as other:
            monkeypatch.setattr(sys, "stderr", other)
            logger.error("there")
            other.seek(0)
            assert other.read() == "psengine: ERROR: there\n"


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


class Hostile:
    """Fails whatever is done with it."""

    def __getattribute__(self, name):
        raise RuntimeError("leave me alone")

    def __str__(self):
        raise SystemExit(7)

    __repr__ = __str__


class TestJson:
    def test_keys_and_their_order(self, log, logger):
        written = log(LOG_FORMAT="JSON")
        began = time.time()
        logger.warning("slow: %d s", 5)
        line = written.object
        assert list(line) == KEYS
        timestamp = line.pop("timestamp")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
        assert abs(dt.datetime.fromisoformat(timestamp).timestamp() - began) < 10
        assert line == {
            "level": "warning",
            "logger": "psengine_test",
            "message": "slow: 5 s",
            "engine": None,
            "bounty": None,
            "delivery": None,
        }

    def test_the_time_is_that_of_the_record_in_utc(self, log, logger, monkeypatch):
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        try:
            written = log(LOG_FORMAT="json")
            logger.handle(logging.makeLogRecord({"created": 1_700_000_000.0625, "levelno": 40, "levelname": "ERROR"}))
            logger.handle(logging.makeLogRecord({"created": 1e300, "levelno": 40, "levelname": "ERROR"}))
        finally:
            monkeypatch.undo()
            time.tzset()
        assert [line["timestamp"] for line in written.objects] == ["2023-11-14T22:13:20.062Z", "1e+300"]

    def test_the_job_in_hand_of_the_thread_that_logs(self, log, logger):
        written = log(LOG_FORMAT="json")
        with working_on(Job("nano", 2**80, "d-1")):
            logger.warning("here")
            other = threading.Thread(target=logger.warning, args=("elsewhere",))
            other.start()
            other.join()
        with working_on(Job("yara", "b-7")):
            logger.warning("there")
        logging.getLogger("psengine.engines.nano").warning("in setup")
        assert [(line["engine"], line["bounty"], line["delivery"]) for line in written.objects] == [
            ("nano", "1208925819614629174706176", "d-1"),
            (None, None, None),
            ("yara", "b-7", None),
            ("nano", None, None),
        ]

    def test_an_id_with_more_digits_than_python_writes(self, log, logger):
        written = log(LOG_FORMAT="json")
        with working_on(Job("nano", 10**5000)):
            logger.warning("here")
        assert int(written.object["bounty"], 16) == 10**5000

    def test_a_traceback_is_one_text(self, log, logger):
        written = log(LOG_FORMAT="json")
        try:
            raise ValueError("x")
        except ValueError:
            logger.exception("failed")
        line = written.object
        assert list(line) == [*KEYS, "exception"]
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("\nValueError: x")

    @pytest.mark.parametrize(
        "message", ["a\nb\r\nc", "\x1b[2J\x00\x85\u2028\u2029", "\ud800 \udce9", "\U0001f600", '"\\', ""]
    )
    def test_one_line_of_strict_json_whatever_the_message(self, log, logger, message):
        import msgspec

        written = log(LOG_FORMAT="json")
        logger.warning("%s", message)
        text = written.text
        assert text.isascii()
        assert text.count("\n") == 1
        (decoded,) = [
            msgspec.json.decode(line) for line in text.encode().splitlines()
        ]  # which takes no lone surrogates
        assert decoded["message"] == message.encode("utf-8", "backslashreplace").decode()

    def test_what_an_author_adds(self, log, logger):
        written = log(LOG_FORMAT="json")
        logger.warning(
            "scanned",
            extra={
                "seconds": 1.5, "count": 3, "names": ["a", ("b",)], "nested": {"deep": {"er": None}}, "yes": True,
                "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "colour": Colour.RED, "point": Point(1),
                "path": Path("/x"), "id": uuid.UUID(int=7), "raw": b"artifact", "kind": ValueError("why"),
                "big": 2**64, "small": -(2**63), "nan": float("nan"), "frozen": MappingProxyType({1: 2}),
            },
        )  # fmt: skip
        line = written.object
        assert list(line)[:7] == KEYS
        assert {key: line[key] for key in list(line)[7:]} == {
            "seconds": 1.5, "count": 3, "names": ["a", ["b"]], "nested": {"deep": {"er": None}}, "yes": True,
            "when": "2026-01-02T00:00:00+00:00", "colour": "red", "point": "Point(x=1)", "path": "/x",
            "id": str(uuid.UUID(int=7)), "raw": "8 bytes", "kind": "ValueError: why", "big": "18446744073709551616",
            "small": -(2**63), "nan": "nan", "frozen": {"1": 2},
        }  # fmt: skip

    def test_it_cannot_overwrite_ours(self, log, logger):
        written = log(LOG_FORMAT="json")
        theirs = {"timestamp": "never", "level": "fine", "logger": "me", "engine": "e", "bounty": 1, "delivery": 2}
        logger.error("x", extra=theirs | {"exception": "none"})
        line = written.object
        assert (line["level"], line["logger"], line["engine"]) == ("error", "psengine_test", None)
        assert line["timestamp"] != "never"
        assert {key[:-1]: line[key] for key in line if key.endswith("_")} == theirs | {"exception": "none"}

    def test_a_mapping_as_the_message(self, log, logger):
        written = log(LOG_FORMAT="json")
        logger.warning({"message": "scanned", "count": 3, "level": "x"})
        line = written.object
        assert (line["message"], line["count"], line["level"], line["level_"]) == ("scanned", 3, "warning", "x")

    def test_what_cannot_be_written_never_fails(self, log, logger):
        written = log(LOG_FORMAT="json")
        cycle: list[object] = []
        cycle.append(cycle)
        deep: list[object] = []
        for _ in range(10_000):
            deep = [deep]
        many = list(range(1000))
        logger.warning(
            "x", extra={"bad": Hostile(), "cycle": cycle, "deep": deep, "digits": 10**5000, "many": many, "\ud800": 1}
        )
        line = written.object
        assert line["message"] == "x"
        assert "cannot be shown" in line["bad"]
        assert "…" in json.dumps(line["cycle"], ensure_ascii=False)
        assert "…" in json.dumps(line["deep"], ensure_ascii=False)
        assert int(line["digits"], 16) == 10**5000
        assert line["many"][-1] == "… (1,000 items)"
        assert len(line["many"]) == 101
        assert line["\\ud800"] == 1


class TestNeverFailing:
    @pytest.mark.parametrize("log_format", ["text", "json"])
    def test_wrong_arguments_and_objects_that_fail(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        logger.warning("%d items", "three")
        logger.warning("see %s %s", Hostile(), 1)
        logger.warning(Hostile())
        logger.warning("%s")
        logger.handle(logging.makeLogRecord({"name": Hostile(), "levelno": 40, "levelname": "ERROR"}))
        text = written.text
        assert text.count("\n") == 5
        assert "Logging error" not in text
        assert "'%d items' (its arguments cannot be filled in: TypeError: %d format: a real number is req" in text
        assert "'see %s %s' (its arguments cannot be filled in: SystemExit: 7)" in text
        assert "a record that cannot be shown: SystemExit: 7" in text

    def test_an_exception_that_cannot_be_shown(self, log, logger):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("no words")

        written = log()
        try:
            raise Mute
        except Mute:
            logger.exception("failed")
        assert "Mute" in written.text

    @pytest.mark.parametrize("log_format", ["text", "json"])
    def test_a_message_of_10_mb_is_cut(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        logger.warning("begin %s end", "x" * 10_000_000)
        text = written.text
        assert len(text) < LONGEST_TEXT + 500
        assert "begin xxx" in text
        assert "10,000,010 characters" in text

    def test_of_a_long_traceback_the_end_is_shown(self, log, logger):
        written = log(LOG_FORMAT="json")
        try:
            raise ValueError("x" * 10_000_000 + " the end")
        except ValueError:
            logger.exception("failed")
        line = written.object
        assert line["exception"].endswith("xxx the end")
        assert len(line["exception"]) < LONGEST_TEXT + 500

    @pytest.mark.parametrize("how", ["full", "closed", "gone", "none"])
    def test_a_standard_error_that_cannot_be_written(self, log, logger, monkeypatch, how):
        log()
        if how == "full":
            stream = open("/dev/full", "w", buffering=1)  # noqa: SIM115
        elif how == "gone":
            reading, writing = os.pipe()
            os.close(reading)
            stream = open(writing, "w", buffering=1)  # noqa: SIM115
        else:
            stream = io.StringIO()
            stream.close()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", None if how == "none" else stream)
            logger.error("lost")
            logger.error("lost")
        if how in ("full", "gone"):
            with pytest.raises(OSError, match=r"No space|Broken pipe"):
                stream.close()

    def test_no_thread_s_line_is_torn(self, log, logger):
        written = log(LOG_FORMAT="json")
        threads = [
            threading.Thread(target=lambda: [logger.warning("y" * 500) for _ in range(50)]) for _ in range(8)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [line["message"] for line in written.objects] == ["y" * 500] * 400


SIGNATURE = "0123456789abcdef" * 4


class TestMasks:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("amqp://user:pass@broker:5672/engines is down", "amqp://***@broker:5672/engines is down"),
            ("https://token@host/x", "https://***@host/x"),
            ("via http://u:p@ss@proxy:3128", "via http://***@proxy:3128"),
            ("redis://:s/la/sh@cache/0", "redis://***@cache/0"),
            ("'socks5h://u:p@h', 'ftp://u:p@i'", "'socks5h://***@h', 'ftp://***@i'"),
            ("http://u:p@h,http://v:q@i", "http://***@h,http://***@i"),
            ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
            ("http://host:8080/user@example", "http://host:8080/user@example"),
            ("see https://host/path for more", "see https://host/path for more"),
            ("POST https://host/a/b/?nonce=abc123 failed", "POST https://host/a/b/?… failed"),
            ("https://u:p@h/?n=1", "https://***@h/?…"),
            ('"GET /a?nonce=1 HTTP/1.1" 200', '"GET /a?… HTTP/1.1" 200'),
            ("mail to a@b.c?", "mail to a@b.c?"),
            ("data:text/plain;base64,QUJD= and more", "data:text/plain;base64,…"),
            ("DATA:,X5O!P%@AP[4 'x\" y", "DATA:,…"),
            ("{'uri': 'data:;base64,QUJD'}\nnext", "{'uri': 'data:;base64,…\nnext"),
            ("cannot fetch data:a/b,…: too large", "cannot fetch data:a/b,…: too large"),
            ("the data: URI, malformed", "the data: URI, malformed"),
            ("metadata:a,b", "metadata:a,b"),
            ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
            ("{'Authorization': 'Basic dXNlcjpw'}", "{'Authorization': ***}"),
            ("(b'authorization', b'Basic dXNlcjpw')", "(b'authorization', b***)"),
            ("Proxy-Authorization=Basic dXNlcjpw;", "Proxy-Authorization=***"),
            ("Set-Cookie: session=abc; token=def", "Set-Cookie: ***"),
            ('Authorization: Digest username="me", response="abc"', "Authorization: ***"),
            (r'{"Cookie": "a=\"1\"; b=2", "n": 1}', '{"Cookie": ***, "n": 1}'),
            ("authorization, cookies and x-rays", "authorization, cookies and x-rays"),
            ("with bearer 0123456789abcdef", "with bearer ***"),
            ("X-POLYSWARM-SIGNATURE: zzz", "X-POLYSWARM-SIGNATURE: ***"),
            (f"signature {SIGNATURE} is wrong", "signature *** is wrong"),
            (f"Signature='sha256={SIGNATURE}'", "Signature='sha256=***'"),
            (f"hmac: {SIGNATURE.upper()}", "hmac: ***"),
            (f"sha256 {SIGNATURE}", f"sha256 {SIGNATURE}"),
            (f"signature Win.Trojan in {SIGNATURE}", f"signature Win.Trojan in {SIGNATURE}"),
            ("password=hunter2 user=me", "password=*** user=me"),
            ("{'api_key': 'abc', 'n': 1}", "{'api_key': ***, 'n': 1}"),
            ('"access_token":"abc"', '"access_token":***'),
            ("password='two words' user=me", "password=*** user=me"),
            ("the password: none given", "the password: none given"),
        ],
    )
    def test_what_is_hidden_without_being_told(self, text, shown):
        assert Masks()(text) == shown
        assert Masks()(f"{text}\n{text}") == f"{shown}\n{shown}"

    @pytest.mark.parametrize("secret", ["hunter2", 'quo"te\\back', "späß/+ &?", "line\nline", "\udce9\x00abc", "a.*b"])
    def test_a_secret_however_it_is_spelt(self, secret):
        from urllib.parse import quote

        masks = Masks([secret])
        raw = secret.encode("utf-8", "surrogateescape")
        for spelling in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(raw), b64encode(raw).decode()):
            assert masks(f"a {spelling} b") == "a *** b"

    def test_of_two_that_begin_alike_the_whole_is_hidden(self):
        masks = Masks(["secret"])
        masks.add(["secret-and-more", "abc", ""])
        assert masks("secret-and-more, secret, abc") == "***, ***, abc"

    @pytest.mark.parametrize(
        "unit",
        ["://", "://a:b", "://a@", "http://a:b@c?", "data:", "data:a,", "signature ", "authorization:", "bearer ", "@",
         "password=", "x-api-key='", "://a:b/" + "c" * 500, "hmac'''", "? HTTP/", "?a",
         "-----BEGIN PRIVATE KEY-----", "-----BEGIN A", "cookie='\\", 'cookie:"'],
    )  # fmt: skip
    def test_no_line_is_slow(self, unit):
        masks = Masks([f"secret{number}" for number in range(20)])
        texts = [unit * (LONGEST_TEXT // len(unit)), "@?" + unit * (LONGEST_TEXT // len(unit)) + "@?"]
        began = time.process_time()
        for text in texts:
            masks(text)
        assert time.process_time() - began < 2


@pytest.mark.parametrize("log_format", ["text", "json"])
class TestMaskedLog:
    def test_told_secrets_are_hidden_in_messages_fields_and_tracebacks(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        written.log.mask(['hunter"2', "x"])
        try:
            raise ValueError('the password is hunter"2')
        except ValueError:
            logger.exception("with %s and %r", 'hunter"2', {"p": 'hunter"2'}, extra={"f": ['hunter"2'], 'hunter"2': 1})
        text = written.text
        assert "hunter" not in text
        assert text.count("***") == (4 if log_format == "text" else 6)  # the line of the source as well

    def test_variables_that_are_secrets_by_their_names(self, log, logger, log_format):
        written = log(
            LOG_FORMAT=log_format,
            PSENGINE_WEBHOOK_SECRET="qwertyuiop",
            NANO_AV_API_KEY="letmein",
            NANO_AV_SECRETS_HOME="/etc/secrets",
        )
        logger.warning("qwertyuiop letmein /etc/secrets")
        assert "*** *** /etc/secrets" in written.text

    def test_secrets_of_the_settings(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        engines = {"nano": {"licence_key": "LICENCE-1", "inner": [{"api-key": "letmein"}], "mode": "quick scan"}}
        settings = Settings(
            webhook=WebhookSettings(secret=Secret("hunter2")), engines=engines, log=LogSettings(level="info")
        )
        assert secrets_in(settings) >= {"hunter2", "LICENCE-1", "letmein"}
        assert "quick scan" not in secrets_in(settings)
        written.log.follow(settings)
        logger.info("hunter2 LICENCE-1 letmein, quick scan")
        assert "*** *** ***, quick scan" in written.text

    def test_what_engines_tables_hold_under_telling_names(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        table = {
            "licence": "LIC-0815", "apikey": "abcdef", "tokens": ["first-one", {"name": "second"}], "key": "K1-K2-K3",
            "secret": {"inner": {"deeper": "third-one"}}, "server": "ftp://me:f%40rth-one@host/",
            "license_file": "/etc/nano.lic", "auth": "kerberos", "cache_key": "sha256 of it", "hash": "27" * 32,
        }  # fmt: skip
        written.log.follow(Settings(engines={"nano": table}))
        logger.warning("LIC-0815 abcdef first-one second K1-K2-K3 third-one f%40rth-one f@rth-one")
        logger.warning("/etc/nano.lic kerberos %s", "27" * 32)
        text = written.text
        assert "*** *** *** *** *** *** *** ***" in text
        assert f"/etc/nano.lic kerberos {'27' * 32}" in text

    def test_a_broker_s_password_by_itself(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        written.log.follow(Settings(celery=CelerySettings(broker_url=Secret("amqp://me:letmein@one;amqp://u:h@x@two"))))
        logger.warning("login refused: user me, password (letmein)")
        assert "user me, password (***)" in written.text

    def test_a_private_key_in_pem(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        key = "-----BEGIN PRIVATE KEY-----\nMIIabc+/=\nMIIdef\n-----END PRIVATE KEY-----\n"
        logger.warning("read %s and went on", key)
        logger.warning("read %r and went on", key)
        logger.warning("a cut one %s", key[:40])
        logger.warning("-----BEGIN CERTIFICATE-----\nMIIpublic\n-----END CERTIFICATE-----")
        text = written.text
        assert "MIIa" not in text
        assert "MIId" not in text
        assert text.count("and went on") == 2
        assert "MIIpublic" in text

    def test_a_cut_divides_no_secret(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        secret = "0123456789" * (LONGEST_SECRET // 10)
        written.log.mask([secret])
        content = b64encode(bytes(range(256)) * 2000).decode()
        try:
            raise ValueError("z" * 10 + f"{secret} " * 10 + "y" * 10)
        except ValueError:
            logger.exception("x" * (LONGEST_TEXT - 100) + secret + "x" * 50_000)
        logger.warning("x" * (LONGEST_TEXT - 10) + f" data:;base64,{content}")
        try:
            raise ValueError(f"data:;base64,{content}")
        except ValueError:
            logger.exception("failed")
        text = written.text
        assert "0123456789" not in text
        assert content[1000:1020] not in text

    def test_fields_that_are_secrets_by_their_names(self, log, logger, log_format):
        written = log(LOG_FORMAT=log_format)
        logger.warning("x", extra={"password": "hunter2", "headers": {"X-Signature": SIGNATURE}, "raw": b"hunter2"})
        text = written.text
        assert "hunter2" not in text
        assert SIGNATURE not in text


LEAKY = """
    import logging
    from psengine_host import Analysis, hookimpl

    logger = logging.getLogger(__name__)

    @hookimpl
    def analyze(bounty, artifact, context):
        logger.info("scanning %s for %s", bounty.artifact_uri, bounty.response_url)
        logger.info("all of it: %r", bounty, extra={"bounty_": bounty.to_wire(), "content": artifact.read_bytes()})
        context.logger.debug("path %s", artifact.path)
        if artifact.read_bytes().startswith(b"BAD"):
            raise ValueError(f"cannot scan {bounty.artifact_uri} ({bounty.response_url})")
        return Analysis.benign()
"""
"""An engine that logs all it has been given."""
NONCE = "nonce-4f1c9a"
CONTENT = "the artifact's own content, which nobody is to read in a log"


@pytest.mark.parametrize("log_format", ["text", "json"])
class TestTheRealPipeline:
    """Bounties through a host, logged at debug, by an engine that logs all that it is given."""

    @pytest.fixture
    def host(self, engine_site):
        engine_site.add("leaky", LEAKY)
        settings = Settings(network=NetworkSettings(allow=("127.0.0.1",)))
        with Host(settings, catalog=engine_site.catalog()) as host:
            yield host

    @staticmethod
    def bounty(uri, response_url=None):
        expiration = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        wire = {"id": 2**70, "artifact_uri": uri, "artifact_type": "FILE", "expiration": expiration.isoformat()}
        return Bounty.from_wire(wire | ({} if response_url is None else {"response_url": response_url}))

    @pytest.mark.parametrize("bad", ["", "BAD "])
    @pytest.mark.parametrize("encoded", [True, False])
    def test_no_content_of_a_data_uri(self, log, host, log_format, bad, encoded):
        written = log(verbosity=3, LOG_FORMAT=log_format)
        content = bad + CONTENT
        data = f";base64,{b64encode(content.encode()).decode()}" if encoded else f",{content}"
        outcome = host.analyze(self.bounty(f"data:{data}"))
        assert (outcome.failure is None) == (not bad)
        text = written.text
        assert str(2**70) in text
        assert "leaky" in text
        assert "scanning data:" in text
        for part in (CONTENT[10:20], CONTENT[-10:], b64encode(content.encode()).decode()[8:16]):
            assert part not in text

    def test_no_password_and_no_nonce_of_what_is_fetched_and_delivered(self, log, host, httpserver, log_format):
        httpserver.expect_request("/file").respond_with_data(b"BAD " + CONTENT.encode())
        httpserver.expect_request("/answer/").respond_with_data("no", status=500)
        written = log(verbosity=3, LOG_FORMAT=log_format)
        where = f"127.0.0.1:{httpserver.port}"
        uri = f"http://someone:hunter2@{where}/file?key={NONCE}"
        outcome = host.submit(self.bounty(uri, f"http://{where}/answer/?n={NONCE}")).result(timeout=60)
        host.close()  # which waits for the delivery
        assert outcome.failure is not None
        text = written.text
        assert "was not delivered" in text
        assert f"{where}/file?" + ("…" if log_format == "text" else r"\u2026") in text
        for secret in ("hunter2", "someone", NONCE, CONTENT[10:20]):
            assert secret not in text

    def test_what_fails_to_be_fetched(self, log, host, httpserver, log_format):
        written = log(verbosity=3, LOG_FORMAT=log_format)
        httpserver.expect_request("/gone").respond_with_data("no", status=404)
        outcome = host.analyze(self.bounty(f"http://u:hunter2@127.0.0.1:{httpserver.port}/gone?n={NONCE}"))
        assert outcome.failure.kind.value == "fetch"
        text = written.text + outcome.failure.message
        assert "hunter2" not in text
        assert NONCE not in text

    def test_the_job_is_named_in_each_record_of_it(self, log, host, log_format):
        written = log(verbosity=1, LOG_FORMAT=log_format)
        host.analyze(self.bounty("data:,x"))
        if log_format == "json":
            assert {(line["engine"], line["bounty"]) for line in written.objects} == {("leaky", str(2**70))}
        else:
            lines = written.lines
            assert len(lines) == 2
            assert all(line.endswith(f" [engine leaky, bounty {2**70}]") for line in lines)


class TestThePage:
    PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "logs.md").read_text(encoding="utf-8")

    def test_it_names_every_key(self):
        table = self.PAGE[self.PAGE.index("## JSON") : self.PAGE.index("The first seven")]
        assert tuple(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE)) == OURS

    def test_its_example_is_what_is_written(self, log):
        written = log(verbosity=1, LOG_FORMAT="json")
        with working_on(Job("nanoav", 7)):
            logging.getLogger("psengine.engines.nanoav").info("scanned", extra={"seconds": 1.5, "level": "deep"})
        shown = json.loads(re.search(r"```json\n(.*?)```", self.PAGE, re.DOTALL)[1])
        line = written.object
        assert list(line) == list(shown)
        assert line | {"timestamp": None} == shown | {"timestamp": None}

    def test_its_limits_are_those_that_hold(self):
        from psengine_host.logs import json_lines, masks

        assert f"after {LONGEST_TEXT:,} characters in both" in self.PAGE
        assert f"after {json_lines._LONGEST_FIELD:,} characters, a list or" in " ".join(self.PAGE.split())
        limits = f"after {json_lines._MOST_ITEMS} entries, nesting after {json_lines._DEEPEST} levels"
        assert limits in " ".join(self.PAGE.split())
        least = (
            f"at least {masks.SHORTEST_SECRET} characters, that of a variable or an engine's table {SHORTEST_GUESSED}."
        )
        assert least in " ".join(self.PAGE.split())


FORKING = """
import logging, os, signal, sys, threading
from psengine_host.logs import set_up_logs

importing, forked = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "psengine_host.logs.json_lines":
            importing.set()
            forked.wait(0.3)  # with a fork that waits for the record this is never set in time

sys.meta_path.insert(0, Slow())
set_up_logs(environ={"LOG_FORMAT": "json"})
thread = threading.Thread(target=logging.getLogger("t").warning, args=("first",))
thread.start()
importing.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    logging.getLogger("t").warning("child")
    os._exit(0)
forked.set()
thread.join()
logging.getLogger("t").warning("parent")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_while_another_thread_logs_its_first_record_logs_too():
    ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    messages = [json.loads(line)["message"] for line in ended.stderr.splitlines()]
    assert sorted(messages) == ["child", "first", "parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_does_not_wait_for_ever_for_a_stuck_standard_error():
    code = """
        import logging, os, sys, threading
        from psengine_host.logs import set_up_logs

        set_up_logs(environ={})
        threading.Thread(target=logging.getLogger().warning, args=("x" * 30_000,), daemon=True).start()
        for _ in range(3):
            threading.Thread(target=logging.getLogger().warning, args=("x" * 30_000,), daemon=True).start()
        child = os.fork()
        if child == 0:
            os._exit(7)
        os.write(1, b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
    """
    reader, writer = os.pipe()  # that nobody reads
    try:
        ended = subprocess.run(
            [sys.executable, "-c", inspect.cleandoc(code)], stdout=subprocess.PIPE, stderr=writer, timeout=60
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert ended.stdout == b"7"
