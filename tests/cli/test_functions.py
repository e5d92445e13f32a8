import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, NewType, Optional

import click
import msgspec
import pytest
from click.testing import CliRunner

import psengine_host
from psengine_host.analysis import Analysis
from psengine_host.cli.functions import (
    DuplicateCommand,
    UnsupportedSignature,
    command_from_function,
    group_from_functions,
    render_result,
)
from psengine_host.errors import PsengineError

HERE = __name__


class Depth(enum.Enum):
    SHALLOW = 1
    VERY_DEEP = 2


class Colour(enum.StrEnum):
    RED = "dark-red"


class Nameless:
    def __call__(self): ...


class Point(NamedTuple):
    x: int
    y: int | None


@pytest.fixture
def run():
    """Runs a function as a command; returns the arguments it was called with, or click's result on an error."""

    def run(function, *arguments):
        return CliRunner().invoke(command_from_function(function), arguments)

    return run


@pytest.fixture
def values(run):
    """The value that a function's only result was, by its repr."""

    def values(function, *arguments):
        seen = []

        @functools.wraps(function)
        def recorded(*args, **kwargs):
            seen.append(function(*args, **kwargs))

        result = run(recorded, *arguments)
        assert result.exit_code == 0, result.output
        assert result.output == ""
        (value,) = seen
        return value

    return values


class TestParameters:
    def test_positional_without_a_default_is_a_required_argument(self, run, values):
        def scan(path: Path, limit: int):
            return path, limit

        assert values(scan, "a/b", "7") == (Path("a/b"), 7)
        missing = run(scan, "a/b")
        assert missing.exit_code == 2
        assert "Missing argument 'LIMIT'" in missing.output

    def test_positional_with_a_default_is_an_optional_argument(self, values):
        def scan(path: str, limit: int = 3, *, x: int = 0):
            return path, limit

        assert values(scan, "a") == ("a", 3)
        assert values(scan, "a", "5") == ("a", 5)

    def test_the_function_s_own_default_object_is_passed_on(self, values):
        default = object()

        def scan(first=default, *, second: int = default):
            return first, second

        assert values(scan) == (default, default)

    def test_positional_only_parameters_are_passed_by_position(self, values):
        def scan(a: int, b: int = 2, /, c: int = 3):
            return a, b, c

        assert values(scan, "1") == (1, 2, 3)
        assert values(scan, "7", "8", "9") == (7, 8, 9)

    def test_keyword_only_is_an_option(self, run, values):
        def scan(*, time_limit: float, name: str = "x"):
            return time_limit, name

        assert values(scan, "--time-limit", "1.5") == (1.5, "x")
        assert values(scan, "--name=y", "--time-limit=2") == (2.0, "y")
        missing = run(scan)
        assert missing.exit_code == 2
        assert "Missing option '--time-limit'" in missing.output

    def test_underscores_are_taken_for_dashes_in_options_but_not_in_values(self, values):
        def scan(*, dry_run: bool = False, mode: Literal["dry_run", "wet_run"] = "wet_run"):
            return dry_run, mode

        assert values(scan, "--dry_run", "--mode", "wet_run") == (True, "wet_run")
        assert values(scan, "--no_dry_run", "--mode", "dry_run") == (False, "dry_run")
        assert values(scan, "--dry-run") == (True, "wet_run")

    def test_words_that_python_reserves_lose_their_trailing_underscore(self, values):
        def scan(*, class_: str, Limit: int = 0):
            return class_, Limit

        assert values(scan, "--class", "a", "--limit", "3") == ("a", 3)

    def test_variadic_arguments_are_typed(self, run, values):
        def scan(first: str, *rest: int, deep: bool = False):
            return first, rest, deep

        assert values(scan, "a") == ("a", (), False)
        assert values(scan, "a", "1", "2", "--deep") == ("a", (1, 2), True)
        assert "'x' is not a valid integer" in run(scan, "a", "x").output

    def test_a_positional_list_takes_any_number(self, run, values):
        def scan(paths: list[Path], target: str):
            return paths, target

        assert values(scan, "a", "b", "c") == ([Path("a"), Path("b")], "c")
        assert run(scan, "only").exit_code == 2

    def test_what_is_optional_after_any_number_of_arguments_is_an_option(self, values):
        def scan(paths: Sequence[str], mode: str = "fast", level: int = 1):
            return paths, mode, level

        assert values(scan, "a", "b") == (["a", "b"], "fast", 1)
        assert values(scan, "a", "--level", "9", "b") == (["a", "b"], "fast", 9)

    def test_a_bool_option_is_a_flag_with_its_contrary(self, run, values):
        def scan(*, deep: bool = True, certain: bool, maybe: bool | None = None):
            return deep, certain, maybe

        assert values(scan, "--certain") == (True, True, None)
        assert values(scan, "--no-deep", "--no-certain", "--no-maybe") == (False, False, False)
        assert "Missing option '--certain'" in run(scan).output

    def test_a_bool_argument_is_a_word(self, run, values):
        def scan(deep: bool, loud: bool = False):
            return deep, loud

        assert values(scan, "true") == (True, False)
        assert values(scan, "no", "yes") == (False, True)
        assert "'maybe' is not a valid boolean" in run(scan, "maybe").output

    @pytest.mark.parametrize(
        ("annotation", "default", "expected"),
        [
            (list[int], [], [1, 2]),
            (tuple[int, ...], (), (1, 2)),
            (set[int], None, {1, 2}),
            (frozenset[int] | None, None, frozenset({1, 2})),
            (Sequence[int], (), [1, 2]),
            (Iterable[int], (), [1, 2]),
            (list, None, ["1", "2"]),
        ],
    )
    def test_an_option_for_several_values_is_repeated(self, values, annotation, default, expected):
        def scan(*, item: annotation = default):
            return item

        assert values(scan) == default
        found = values(scan, "--item", "1", "--item", "2")
        assert found == expected
        assert type(found) is type(expected)

    def test_a_fixed_tuple_takes_its_values_together(self, values):
        def scan(*, between: tuple[int, str] = (0, ""), pairs: list[tuple[str, int]] = ()):
            return between, pairs

        assert values(scan) == ((0, ""), ())
        assert values(scan, "--between", "3", "x", "--pairs", "a", "1", "--pairs", "b", "2") == (
            (3, "x"),
            [("a", 1), ("b", 2)],
        )

    def test_a_fixed_tuple_is_several_arguments(self, values):
        def scan(point: tuple[int, int], other: tuple[int, int] = (8, 9)):
            return point, other

        assert values(scan, "1", "2") == ((1, 2), (8, 9))
        assert values(scan, "1", "2", "3", "4") == ((1, 2), (3, 4))

    def test_names_that_the_wrapper_might_use_itself_are_free(self, values):
        def scan(function: str, signature: str, parts: str, call: str, self: str, *, ctx: str, name: str):
            return function + signature + parts + call + self + ctx + name

        assert values(scan, *"abcde", "--ctx", "f", "--name", "g") == "abcdefg"

    def test_names_that_differ_only_in_case_stay_apart(self, values):
        def scan(x: int, X: int):
            return x, X

        assert values(scan, "1", "2") == (1, 2)

    def test_an_argument_that_begins_with_a_dash_follows_two_dashes(self, values):
        def scan(number: int):
            return number

        assert values(scan, "--", "-5") == -5


class TestAnnotations:
    def test_bytes_are_those_of_the_command_line(self, values):
        def scan(raw: bytes):
            return raw

        assert values(scan, os.fsdecode(b"a\xff\xc3\xa9")) == b"a\xff\xc3\xa9"

    def test_a_path_may_be_missing_and_of_any_bytes(self, values):
        def scan(path: Path, *, other: os.PathLike[str] | None = None):
            return path, other

        name = os.fsdecode(b"no\xff\nsuch")
        assert values(scan, name, "--other", "b") == (Path(name), Path("b"))

    def test_an_enumeration_is_given_by_name_in_any_case(self, run, values):
        def scan(depth: Depth, *, colour: Colour = Colour.RED):
            return depth, colour

        assert values(scan, "very_deep") == (Depth.VERY_DEEP, Colour.RED)
        assert values(scan, "Shallow", "--colour", "Red") == (Depth.SHALLOW, Colour.RED)
        wrong = run(scan, "deeper")
        assert wrong.exit_code == 2
        assert "'deeper' is not one of 'shallow', 'very_deep'" in wrong.output

    def test_a_literal_keeps_the_type_of_its_values(self, run, values):
        def scan(level: Literal[1, 2, "all"], *, mode: Literal["a", "B"] | None = None):
            return level, mode

        assert values(scan, "2") == (2, None)
        assert values(scan, "all", "--mode", "B") == ("all", "B")
        assert "'b' is not one of 'a', 'B'" in run(scan, "1", "--mode", "b").output

    def test_wrappings_for_type_checkers_are_looked_through(self, values):
        Level = NewType("Level", int)

        def scan(a: Annotated[int, "one"], b: Level, c: Optional[int], *, d: Annotated[list[Level] | None, 1] = None):  # noqa: UP045
            return a, b, c, d

        assert values(scan, "1", "2", "3", "--d", "4") == (1, 2, 3, [4])

    def test_of_a_union_the_first_type_that_takes_the_value_is_used(self, run, values):
        def scan(level: int | Depth, *, name: int | str = 0, several: str | list[str] = ""):
            return level, name, several

        assert values(scan, "1", "--name", "x", "--several", "a") == (1, "x", ["a"])
        assert values(scan, "SHALLOW", "--name", "3") == (Depth.SHALLOW, 3, "")
        assert "'x' is not a valid integer. 'x' is not one of 'shallow'" in run(scan, "x").output

    def test_without_an_annotation_the_default_says_the_type(self, values):
        def scan(path, limit=10, *, deep=False, where=Path("/"), depth=Depth.SHALLOW, nothing=None):
            return path, limit, deep, where, depth, nothing

        assert values(scan, "a") == ("a", 10, False, Path("/"), Depth.SHALLOW, None)
        found = values(scan, "1", "2", "--deep", "--where", "w", "--depth", "very_deep", "--nothing", "5")
        assert found == ("1", 2, True, Path("w"), Depth.VERY_DEEP, "5")

    def test_annotations_that_say_nothing_to_a_command_line_are_text(self, values):
        class Odd: ...

        def scan(a: Odd, b: dict[str, int], c: "type[int]", *, d: list[list[int]], e: 3 = None):
            return a, b, c, d, e

        assert values(scan, "1", "2", "3", "--d", "4", "--e", "5") == ("1", "2", "3", ["4"], "5")

    def test_an_annotation_that_cannot_be_evaluated_does_not_spoil_the_others(self, values):
        def scan(a: "Missing", b: "int", c: "int | 'nope'", *, d: "os.nope | None" = None):  # noqa: F821
            return a, b, c, d

        assert values(scan, "1", "2", "3", "--d", "4") == ("1", 2, "3", "4")


class TestCallables:
    def test_bound_methods_partials_objects_and_decorated_functions(self, values):
        class Scanner:
            def scan(self, path: Path, limit: int = 1):
                """Scan with the scanner."""
                return path, limit

            def __call__(self, count: int):
                """Count."""
                return count

        def scan(prefix: str, path: Path, *, deep: bool = False):
            """Scan in part."""
            return prefix, path, deep

        @functools.wraps(scan)
        def decorated(*args, **kwargs):
            return scan(*args, **kwargs)

        method = command_from_function(Scanner().scan)
        assert (method.name, method.help) == ("scan", "Scan with the scanner.")
        assert values(Scanner().scan, "a", "2") == (Path("a"), 2)
        part = command_from_function(functools.partial(scan, "p"))
        assert (part.name, part.help) == ("scan", "Scan in part.")
        assert values(decorated, "p", "a", "--deep") == ("p", Path("a"), True)
        seen = []
        command = command_from_function(
            functools.partial(scan, "p", deep=True), call=lambda thunk: seen.append(thunk())
        )
        assert CliRunner().invoke(command, ["a", "--no-deep"]).exit_code == 0
        assert seen == [("p", Path("a"), False)]
        counter = command_from_function(Scanner(), name="count", call=lambda thunk: seen.append(thunk()))
        assert (counter.name, counter.help) == ("count", "Count.")
        assert CliRunner().invoke(counter, ["3"]).exit_code == 0
        assert seen[-1] == 3

    def test_the_name_has_dashes(self):
        def _scan_one_file(): ...

        assert command_from_function(_scan_one_file).name == "scan-one-file"
        assert command_from_function(_scan_one_file, name="other_name").name == "other_name"

    @pytest.mark.parametrize("nameless", [lambda: None, Nameless()])
    def test_what_has_no_name_needs_one(self, nameless):
        with pytest.raises(UnsupportedSignature, match="has no name of its own: define it with def, or give"):
            command_from_function(nameless)
        assert command_from_function(nameless, name="given").name == "given"


class TestRefusals:
    def refusal(self, function) -> str:
        with pytest.raises(UnsupportedSignature) as caught:
            command_from_function(function)
        assert isinstance(caught.value, PsengineError)
        where, _, message = str(caught.value).partition("(): ")
        assert where == f"{function.__module__}.{function.__qualname__}"
        return message

    def test_any_keyword_argument(self):
        def scan(path: str, **options: int): ...

        assert self.refusal(scan) == ("**options has no names for a command line: make each a keyword-only parameter")

    def test_two_that_take_any_number(self):
        def scan(first: list[str], *second: str): ...

        assert self.refusal(scan) == ("first and second both take any number of arguments: make one keyword-only")

    @pytest.mark.parametrize("annotation", [list[tuple[int, int]], set[tuple[str, str]]])
    def test_any_number_of_groups(self, annotation):
        def scan(items: annotation): ...

        def scan_all(*items: annotation): ...

        def scan_pairs(*items: tuple[int, int]): ...

        message = "items takes any number of groups of values: a command line has no brackets for them"
        assert [self.refusal(function) for function in (scan, scan_all, scan_pairs)] == [message] * 3

    def test_the_name_of_the_help_option(self):
        def scan(*, help: str = ""): ...  # noqa: A002

        assert self.refusal(scan) == "help would be --help, which is --help itself: rename it"

    def test_two_options_of_one_name(self):
        def scan(*, deep: bool = False, no_deep: int = 0): ...

        def scan_class(*, class_: int = 0, _class: int = 0): ...

        def scan_nameless(*, _: int = 0): ...

        assert self.refusal(scan) == "no_deep would be --no-deep, which is that of deep: rename it"
        assert self.refusal(scan_class) == "_class would be --class, which is that of class_: rename it"
        assert self.refusal(scan_nameless) == "_ would be --, which is nothing: rename it"

    def test_asynchronous_functions(self):
        async def scan(): ...

        async def results():
            yield 1

        message = "is asynchronous: wrap it in a function that calls asyncio.run()"
        assert [self.refusal(scan), self.refusal(results)] == [message, message]

    def test_functions_without_a_signature(self):
        with pytest.raises(UnsupportedSignature) as caught:
            command_from_function(max)
        assert str(caught.value) == "builtins.max(): has no signature that can be read: wrap it in a function"


class TestHelp:
    def test_the_docstring_explains_the_command_its_arguments_and_its_options(self, run):
        def scan_file(path: Path, level: int = 3, *names: str, time_limit: float = 1.5, deep: bool = False, token: str):
            """Scan one file.

            It is read once,
            from the start.

            Args:
                path (Path): What to scan.
                level: How closely
                    to look.
                *names: Names
                    of rules: all of them by default.
                time_limit: Seconds at most.
                token: What: the key.

            Returns:
                Nothing that anybody reads.
            """

        shown = run(scan_file, "--help").output
        assert shown.splitlines() == [
            "Usage: scan-file [OPTIONS] PATH [LEVEL] [NAMES]...",
            "",
            "  Scan one file.",
            "",
            "  It is read once, from the start.",
            "",
            "Arguments:",
            "  PATH        What to scan.",
            "  [LEVEL]     How closely to look.  [default: 3]",
            "  [NAMES]...  Names of rules: all of them by default.",
            "",
            "Options:",
            "  --time-limit FLOAT  Seconds at most.  [default: 1.5]",
            "  --deep / --no-deep  [default: no]",
            "  --token TEXT        What: the key.  [required]",
            "  --help              Show this message and exit.",
        ]

    def test_no_docstring_and_no_arguments(self, run):
        def scan(): ...

        assert run(scan, "--help").output.splitlines() == [
            "Usage: scan [OPTIONS]",
            "",
            "Options:",
            "  --help  Show this message and exit.",
        ]

    @pytest.mark.parametrize(
        ("default", "expected"),
        [
            (Depth.VERY_DEEP, "[default: very_deep]"),
            (["a", "b"], "[default: a, b]"),
            (Path("/x"), "[default: /x]"),
            pytest.param(10**5000, "[default: an integer of 16610 bits]", id="huge"),
            (object(), None),
            ("", None),
            ([], None),
            (None, None),
        ],
    )
    def test_defaults_are_shown_where_they_can_be(self, run, default, expected):
        def scan(*, option=default):
            """Scan.

            Args:
                option: Text.
            """

        shown = " ".join(run(scan, "--help").output.split())
        assert (expected or "Text. --help") in shown
        assert ("[default" in shown) == (expected is not None)

    def test_a_docstring_of_another_style_is_shown_as_text(self, run):
        def scan(path):
            """Scan.

            :param path: what to scan
            """

        assert ":param path: what to scan" in run(scan, "--help").output


class TestErrors:
    def test_what_the_function_raises_is_one_line_and_exit_code_1(self, run):
        def scan_file():
            raise ValueError("line one\nline two")

        result = run(scan_file)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == "Error: scan-file: ValueError: line one line two\n"
        assert isinstance(result.exception, SystemExit)

    def test_click_s_own_errors_and_exits_pass(self, run):
        def refuse():
            raise click.UsageError("not so")

        def leave():
            click.get_current_context().exit(7)

        refused = run(refuse)
        assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (2, "Error: not so")
        assert run(leave).exit_code == 7

    def test_a_call_of_one_s_own_sees_the_exception_and_the_result(self):
        seen = []

        def call(thunk):
            try:
                result = thunk()
            except Exception as error:
                seen.append(error)
                raise
            seen.append(result)
            return {"wrapped": result}

        def scan(number: int):
            return 10 // number

        command = command_from_function(scan, call=call)
        assert json.loads(CliRunner().invoke(command, ["5"]).stdout) == {"wrapped": 2}
        failed = CliRunner().invoke(command, ["0"])
        assert isinstance(failed.exception, ZeroDivisionError)
        assert seen == [2, failed.exception]

    def test_an_iterator_that_fails_half_way_has_printed_what_came_before(self, run):
        def scan():
            yield "one"
            raise OSError("disk on fire")

        result = run(scan)
        assert (result.exit_code, result.stdout) == (1, "one\n")
        assert result.stderr == "Error: scan: OSError: disk on fire\n"


class TestResults:
    def test_nothing_text_and_bytes(self, run):
        assert run(command_of(None)).stdout == ""
        assert run(command_of("text")).stdout == "text\n"
        assert run(command_of("lines\n")).stdout == "lines\n"
        assert run(command_of("")).stdout == "\n"
        assert run(command_of(b"\x00\xff")).stdout_bytes == b"\x00\xff"
        assert run(command_of(bytearray(b"x"))).stdout_bytes == b"x"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (True, "true"),
            (10**30, "1" + "0" * 30),
            (0.5, "0.5"),
            (float("nan"), "nan"),
            (Path("a/b"), "a/b"),
            (Depth.VERY_DEEP, "VERY_DEEP"),
            (Colour.RED, "dark-red"),
            (dt.datetime(2024, 5, 6, 7, 8, tzinfo=dt.UTC), "2024-05-06T07:08:00+00:00"),
            (dt.date(2024, 5, 6), "2024-05-06"),
            (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (decimal.Decimal("1.10"), "1.10"),
        ],
    )
    def test_a_single_value_is_printed_without_quotation_marks(self, value, expected):
        assert render_result(value) == expected

    def test_structures_are_json_with_exact_values(self):
        @dataclasses.dataclass
        class Rule:
            name: str
            path: Path
            found: set[str]

        class Wire(msgspec.Struct, rename={"type_": "type"}):
            type_: str
            bid: int
            missing: str | msgspec.UnsetType = msgspec.UNSET

        result = {
            "bid": 10**18 + 1,
            "big": 2**300,
            "rules": [Rule("é", Path("/r"), {"b", "a"})],
            Depth.SHALLOW: Wire("file", 2**70),
            "point": Point(1, None),
            7: (b"\xde\xad", dt.timedelta(minutes=1), Colour.RED, Depth.SHALLOW),
            "odd": [float("inf"), collections.deque([1]), {1, 2}],
        }
        rendered = render_result(result)
        assert '\n  "bid": 1000000000000000001,\n' in rendered
        assert '"é"' in rendered
        assert json.loads(rendered) == {
            "bid": 10**18 + 1,
            "big": 2**300,
            "rules": [{"name": "é", "path": "/r", "found": ["a", "b"]}],
            "SHALLOW": {"type": "file", "bid": 2**70},
            "point": {"x": 1, "y": None},
            "7": ["dead", 60.0, "dark-red", "SHALLOW"],
            "odd": ["inf", [1], [1, 2]],
        }

    def test_an_analysis_is_printed_as_it_is_sent(self):
        analysis = Analysis.malicious("EICAR-Test-File", confidence=1.0)
        assert json.loads(render_result(analysis)) == analysis.to_wire()

    def test_what_json_cannot_say_is_shown_by_its_repr(self):
        class Odd:
            def __repr__(self):
                return "<odd>"

        circle = []
        circle.append(circle)
        deep = []
        for _ in range(100_000):
            deep = [deep]
        assert render_result(Odd()) == "<odd>"
        assert json.loads(render_result({"odd": Odd()})) == {"odd": "<odd>"}
        assert render_result(circle) == "[[...]]"
        assert render_result({1: "a", "1": "b"}) == "{1: 'a', '1': 'b'}"
        assert render_result(deep) == "<list that cannot be shown>"
        assert render_result([10**5000]) == "<list that cannot be shown>"

    def test_objects_that_raise_in_every_method_are_survived(self):
        class Hostile(dict):
            def items(self):
                raise RuntimeError("no items")

            def __repr__(self):
                raise RuntimeError("no repr")

        assert render_result(Hostile(a=1)) == "<Hostile that cannot be shown>"
        assert render_result([Hostile(a=1)]) == "<list that cannot be shown>"

    def test_an_iterator_is_printed_item_by_item_as_it_comes(self):
        script = (
            "import sys\n"
            "from psengine_host.cli.functions import command_from_function\n"
            "def scan():\n"
            "    yield {'a': [1, 2]}\n"
            "    yield 'text'\n"
            "    yield None\n"
            "    yield sys.stdin.readline().strip()\n"
            "command_from_function(scan)()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=Path(psengine_host.__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            # These lines arrive while the generator waits for its input.
            assert process.stdout.readline() == '{"a": [1, 2]}\n'
            assert process.stdout.readline() == "text\n"
            process.stdin.write("later\n")
            process.stdin.flush()
            assert process.stdout.readline() == "later\n"
        assert process.returncode == 0

    def test_a_generator_is_ended_when_nobody_reads_on(self):
        script = (
            "import sys\n"
            "from psengine_host.cli.functions import command_from_function\n"
            "def scan():\n"
            "    try:\n"
            "        while True:\n"
            "            yield 'y' * 1000\n"
            "    finally:\n"
            "        sys.stderr.write('ended')\n"
            "command_from_function(scan)()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=Path(psengine_host.__file__).parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline() == b"y" * 1000 + b"\n"
            process.stdout.close()
            assert process.stderr.read() == b"ended"
        assert process.returncode == 1

    def test_file_names_of_any_bytes_are_printed_as_those_bytes(self, run):
        name = os.fsdecode(b"a\xff")
        assert run(command_of(name)).stdout_bytes == b"a\xff\n"
        assert run(command_of("\ud800")).stdout_bytes == b"\\ud800\n"
        assert json.loads(run(command_of([name])).stdout) == [name]

    def test_an_open_file_is_printed_line_by_line_and_closed(self, run):
        stream = io.StringIO("one\ntwo\n")
        assert isinstance(stream, Iterator)
        assert run(command_of(stream)).stdout == "one\ntwo\n"
        assert stream.closed


def command_of(result):
    def give():
        return result

    return give


class TestGroups:
    def test_commands_stand_in_the_order_they_were_declared_in(self):
        def zebra():
            """Zebras."""

        def scan_file(path: str):
            """Scan one file."""
            return path

        group = group_from_functions("commands", [zebra, scan_file], help="Engine commands")
        shown = CliRunner().invoke(group, ["--help"]).output
        assert "Engine commands" in shown
        assert shown.index("zebra      Zebras.") < shown.index("scan-file  Scan one file.")
        for spelling in ("scan-file", "scan_file"):
            assert CliRunner().invoke(group, [spelling, "x"]).output == "x\n"
        assert "No such command 'scan'" in CliRunner().invoke(group, ["scan"]).output

    def test_two_functions_of_one_name_are_refused(self):
        def scan_file(): ...

        def _scan_file(): ...

        with pytest.raises(DuplicateCommand) as caught:
            group_from_functions("yara", [scan_file, _scan_file])
        prefix = f"{HERE}.TestGroups.test_two_functions_of_one_name_are_refused.<locals>"
        assert str(caught.value) == (
            f"yara: two functions would be the command 'scan-file': {prefix}.scan_file() and {prefix}._scan_file(): "
            "rename one of them"
        )

    def test_the_call_is_that_of_every_command(self):
        seen = []

        def call(thunk):
            seen.append("called")
            return thunk()

        def one():
            return 1

        def two():
            yield 2

        group = group_from_functions("commands", [one, two], call=call)
        assert CliRunner().invoke(group, ["one"]).output == "1\n"
        assert seen == ["called"]
        assert CliRunner().invoke(group, ["two"]).output == "2\n"
        assert len(seen) == 5  # the function, the item, the end, the close

    def test_an_empty_group_says_that_there_are_no_commands(self):
        group = group_from_functions("commands", [])
        assert CliRunner().invoke(group, ["scan"]).exit_code == 2
