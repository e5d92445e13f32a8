"""Sizes and durations as people write them."""

from __future__ import annotations

import decimal
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (10**30, 10**30),
        ("0", 0),
        ("1000000", 1_000_000),
        ("100 MB", 100_000_000),
        ("100MB", 100_000_000),
        (" 100  mb ", 100_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("512k", 512_000),
        ("512Ki", 524_288),
        ("512 KiB", 524_288),
        ("2 TB", 2 * 10**12),
        ("1 TiB", 1 << 40),
        ("7 B", 7),
        ("0.001 kB", 1),
        (".5 kB", 500),
    ],
)
def test_sizes(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    [
        -1,
        True,
        1.5,
        None,
        "",
        " ",
        "MB",
        "100 megs",
        "1e9",
        "-5 MB",
        "1,000",
        "0x10",
        "1 2",
        "1 MB 2",
        "inf",
        "nan",
        "٣ MB",
        "1.00000000000000000000000000000000001 kB",
        "1000000000000000000000000000000.1 B",
        math.nan,
        [],
        b"1",
    ],
)
def test_what_is_no_size(value):
    with pytest.raises(ValueError, match=r"is no size"):
        parse_size(value)


@pytest.mark.parametrize("value", ["9" * 5_000, 10**5_000 * -1], ids=["text", "number"])
def test_a_size_of_thousands_of_digits_is_told_in_a_line(value):
    with pytest.raises(ValueError, match=r"is no size") as caught:
        parse_size(value)
    assert len(str(caught.value)) < 300


def test_a_size_that_is_no_whole_number_of_bytes():
    with pytest.raises(ValueError, match=r"^'1\.5' is no size: it is not a whole number of bytes$"):
        parse_size("1.5")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (30, 30),
        (0.25, 0.25),
        ("0", 0),
        ("30", 30),
        ("30s", 30),
        ("1.5 s", 1.5),
        ("250ms", 0.25),
        ("2 min", 120),
        ("2m", 120),
        ("1h 30m", 5_400),
        ("1h30m", 5_400),
        ("1 hour 5 seconds", 3_605),
        ("1d", 86_400),
        ("1s 250ms", 1.25),
        ("0.1s", 0.1),
    ],
)
def test_durations(value, seconds):
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        -1, -0.5, math.inf, math.nan, 10**400, True, None, "", " ", "s", "soon", "-5s", "1e3", "inf", "nan", "5 5",
        "1h 30", "30m 1h", "5s 5s", "1:30", [], b"5", "9" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match=r"is no duration") as caught:
        parse_duration(value)
    assert len(str(caught.value)) < 300


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_in_any_unit_that_holds_it_is_exact(count):
    for unit, factor in (("B", 1), ("kB", 1000), ("MiB", 1 << 20), ("TB", 10**12)):
        assert parse_size(f"{count} {unit}") == count * factor


@given(st.text(max_size=80))
def test_text_is_a_quantity_or_an_error_in_one_line(text):
    for parse in (parse_size, parse_duration):
        try:
            value = parse(text)
        except ValueError as error:
            message = str(error)
        else:
            assert value >= 0
            continue
        assert "\n" not in message


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1024, "1 KiB"),
        (1500, "1.5 kB"),
        (1_000_000, "1 MB"),
        (100_000_000, "100 MB"),
        (10_000_000_000, "10 GB"),
        (1_610_612_736, "1.5 GiB"),
        (16 << 20, "16 MiB"),
        (2 * 10**12, "2 TB"),
        (1 << 50, "1024 TiB"),
        (1_234_567, "1234567 B"),
    ],
)
def test_how_a_size_is_written(size, text):
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (0.001, "1ms"),
        (1.5, "1.5s"),
        (30, "30s"),
        (60.0, "1m"),
        (90, "1m 30s"),
        (5_400, "1h 30m"),
        (86_400, "1d"),
        (1e-05, "0.00001s"),
        (5e-324, "5e-324"),
    ],
)
def test_how_a_duration_is_written(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=1 << 60))
def test_what_is_written_of_a_size_is_read_as_that_size(size):
    assert parse_size(format_size(size)) == size


@given(st.floats(min_value=0, max_value=1e9))
def test_what_is_written_of_a_duration_is_read_as_that_duration(seconds):
    text = format_duration(seconds)
    assert parse_duration(float(text) if text[-1].isdigit() else text) == seconds


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=0, max_value=10**9 - 1))
def test_no_context_of_decimal_arithmetic_changes_what_is_read(whole, fraction):
    with decimal.localcontext(prec=2):
        assert parse_size(f"{whole}.{fraction:09}GB") == whole * 10**9 + fraction
        assert parse_duration(f"{whole}.{fraction:09}s") == float(f"{whole}.{fraction:09}")
