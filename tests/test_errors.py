import copy
import enum
import pickle

import pytest

from psengine_host import errors
from psengine_host.errors import (
    AmbiguousEngine,
    ArtifactError,
    ArtifactUnavailable,
    EngineBroken,
    EngineError,
    EngineFault,
    InvalidAnalysis,
    InvalidBid,
    InvalidBounty,
    InvalidValue,
    PsengineError,
    SettingsError,
    UnknownEngine,
    UsageError,
    nearest,
    one_line,
    shown,
)

EVERY_ERROR = [
    UsageError("say which"),
    UnknownEngine("yra", ["yara", "eicar"]),
    AmbiguousEngine("two are installed"),
    SettingsError("psengine.toml: host.timeout: no"),
    InvalidBounty("id", True, "must be an integer"),
    InvalidAnalysis("bid", 1.5, "must be an integer"),
    InvalidBid("term", "x", "is no term"),
    ArtifactError("x: no such file or directory"),
    ArtifactUnavailable("x: is a device, not a file"),
    EngineError("licence expired"),
    EngineFault("yara", "analyze", "returned None"),
    EngineBroken("yara", "psengine-yara 1.0", "no analyze"),
]


class TestTheTree:
    @pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
    def test_one_except_clause_catches_whatever_the_package_raises(self, error):
        assert isinstance(error, PsengineError)

    def test_it_is_as_the_docstring_draws_it(self):
        drawn = {}
        path = []
        for line in (errors.__doc__ or "").splitlines():
            name = line.lstrip(" │├└─").split(" ")[0]
            if isinstance(vars(errors).get(name), type):
                depth = (len(line) - len(line.lstrip(" │├└─"))) // 4
                path[depth - 1 :] = [name]
                drawn[name] = path[-2] if len(path) > 1 else "Exception"
        real = {
            name: value.__bases__[0].__name__
            for name, value in vars(errors).items()
            if isinstance(value, type) and issubclass(value, PsengineError)
        }
        assert drawn == real

    @pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
    def test_every_error_survives_a_copy_with_what_it_knows(self, error, copied):
        twin = copied(error)
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


class TestMessages:
    def test_an_invalid_value_names_field_reason_and_value(self):
        error = InvalidValue("rules.max_allowed_bid", -1, "must not be negative")
        assert str(error) == "rules.max_allowed_bid: must not be negative, got -1"
        assert (error.field, error.value, error.reason) == ("rules.max_allowed_bid", -1, "must not be negative")

    def test_an_unknown_engine_is_told_the_nearest(self):
        assert str(UnknownEngine("yra", ["yara", "eicar"])) == (
            "no engine is called 'yra'; did you mean 'yara'?; 'psengine list-engines' shows all"
        )

    def test_an_engine_unlike_any_other_is_told_none(self):
        assert str(UnknownEngine("q", ["yara"])) == "no engine is called 'q'; 'psengine list-engines' shows all"

    def test_a_fault_names_engine_and_hook(self):
        assert str(EngineFault("yara", "analyze", "returned None")) == "engine yara: analyze: returned None"

    def test_a_broken_engine_names_its_distribution(self):
        assert str(EngineBroken("yara", "psengine-yara 1.0", "no analyze hook")) == (
            "engine yara (psengine-yara 1.0) cannot be used: no analyze hook"
        )

    def test_nothing_like_it_suggests_nothing(self):
        assert nearest("timeuot", ["timeout", "policy"]) == "; did you mean 'timeout'?"
        assert nearest("xyz", ["timeout", "policy"]) == ""


class Ill:
    def __repr__(self):
        raise ZeroDivisionError

    __str__ = __repr__


class Leaving:
    def __repr__(self):
        raise SystemExit(3)


class Chatty:
    def __repr__(self):
        return "two\nlines \x1b[31m\ud800"


class Colour(enum.StrEnum):
    RED = "red"


class TestShown:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "None"),
            (True, "True"),
            (-1, "-1"),
            (2**256, str(2**256)),
            (0.1, "0.1"),
            ("a\nb", r"'a\nb'"),
            ("\ud800", r"'\ud800'"),
            (b"\xff", r"b'\xff'"),
            ([1, "x", None], "[1, 'x', None]"),
            ({"a": [1]}, "{'a': [1]}"),
            ("x" * 121, f"'{'x' * 120}'… (121 characters)"),
            (b"x" * 121, f"b'{'x' * 120}'… (121 bytes)"),
            (10**200, f"1{'0' * 119}… (201 characters)"),
            (10**5000, "an integer of 16610 bits"),
            (Leaving(), "a Leaving"),
            (Chatty(), r"two lines \x1b[31m\ud800"),
            (Colour.RED, "<Colour.RED: 'red'>"),
        ],
        ids=lambda value: f"{type(value).__name__}",
    )
    def test_any_value_is_one_short_printable_line(self, value, text):
        assert shown(value) == text
        assert shown(value).isprintable()

    @pytest.mark.parametrize(("value", "begin"), [(Ill(), "<Ill instance at 0x"), ([Ill()], "[<Ill instance at 0x")])
    def test_a_value_that_cannot_be_printed_is_shown_by_its_type(self, value, begin):
        assert shown(value).startswith(begin)

    def test_a_value_nested_too_deeply_to_be_printed_is_shown(self):
        nested: list = []
        for _ in range(100_000):
            nested = [nested]
        with pytest.raises(RecursionError):
            repr(nested)
        assert shown(nested) == "[[[[[...]]]]]"
        while nested:  # freed from the outside in: otherwise this too recurses
            nested = nested.pop()

    def test_a_huge_list_costs_no_more_than_its_beginning(self):
        assert shown(list(range(10**6))) == f"{list(range(20))}"[:-1] + ", ...]"


class Mute(Exception):
    def __str__(self):
        raise ZeroDivisionError


class TestOneLine:
    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ValueError("bad"), "ValueError: bad"),
            (ValueError("two\n  lines"), "ValueError: two lines"),
            (ValueError(), "ValueError"),
            (EngineError("licence\nexpired"), "licence expired"),
            (EngineError(), "EngineError"),
            (Mute(), "Mute: its message cannot be shown"),
            (KeyError("x"), "KeyError: 'x'"),
            (ValueError("x" * 1000), f"ValueError: {'x' * 480}…"),
            (EngineError("x" * 10**7), f"{'x' * 4096}…"),
        ],
        ids=lambda value: value[:20] if isinstance(value, str) else None,
    )
    def test_any_exception_is_one_line_of_bounded_length(self, error, line):
        assert one_line(error) == line
