"""The log on standard error."""

import json
import logging
import sys

import pytest

from psengine_host.logs import set_up_logs


@pytest.fixture
def logged(monkeypatch, capsys):
    """Sets up the log with variables, and tells what one logger has written since."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    for variable in ("LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(variable, raising=False)

    def logged(debug=False, **variables):
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        set_up_logs(debug=debug)
        logger = logging.getLogger("psengine.engines.test")
        for level in ("debug", "info", "warning", "error"):
            getattr(logger, level)("a \x1b[2J %s", level)
        return capsys.readouterr().err.splitlines()

    yield logged
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def test_warnings_and_errors_by_default_without_what_steers_a_terminal(logged):
    assert logged() == [r"psengine: WARNING: a \x1b[2J warning", r"psengine: ERROR: a \x1b[2J error"]


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("INFO", 3), ("error", 1), ("20", 3), ("50", 0), (" warning ", 2), ("", 2)]
)
def test_the_level_by_name_or_number(logged, level, count):
    assert len(logged(LOG_LEVEL=level)) == count


def test_debug_wins(logged):
    assert len(logged(debug=True, LOG_LEVEL="error")) == 4


def test_what_is_no_level_or_format_is_said_and_the_default_used(logged):
    first, second, *rest = logged(LOG_LEVEL="loud", LOG_FORMAT="xml")
    assert first == (
        "psengine: WARNING: LOG_LEVEL: 'loud' is no level (debug, info, warning, error or a number); warning is used"
    )
    assert second == "psengine: WARNING: LOG_FORMAT: 'xml' is no format (text or json); text is used"
    assert len(rest) == 2


def test_json_is_one_object_a_line(logged):
    lines = [json.loads(line) for line in logged(LOG_FORMAT="JSON")]
    assert [line["level"] for line in lines] == ["WARNING", "ERROR"]
    assert lines[0].keys() == {"timestamp", "level", "logger", "message"}
    assert lines[0]["logger"] == "psengine.engines.test"
    assert lines[0]["message"] == "a \x1b[2J warning"


def test_setting_up_twice_writes_once(logged):
    logged()
    assert len(logged()) == 2


def test_it_follows_standard_error(logged, monkeypatch, tmp_path):
    logged()
    with open(tmp_path / "other", "w+") as other:
        monkeypatch.setattr(sys, "stderr", other)
        logging.getLogger("psengine").error("there")
        other.seek(0)
        assert other.read() == "psengine: ERROR: there\n"


def test_a_traceback_keeps_its_lines(logged, capsys):
    logged()
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("psengine").exception("failed")
    first, *traceback = capsys.readouterr().err.splitlines()
    assert first == "psengine: ERROR: failed"
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ValueError: x"
