"""The categories, against an independent copy of PolySwarm's table."""

import re
import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.errors import UsageError
from psengine_host.filetypes import (
    CATEGORIES,
    UnknownCategory,
    all_categories,
    canonical,
    categories_of,
    category,
    names_of,
    takes,
)

TABLE = Path(__file__).parent / "data" / "categories-table.md"
ELF_KINDS = {
    "application/x-pie-executable",
    "application/x-sharedlib",
    "application/x-object",
    "application/x-coredump",
}


def table():
    """Category -> mimetypes, with "elf +" and the like spelt out, read from the copy of the table."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in TABLE.read_text().splitlines()[2:]
    ]
    own = {name: set(re.findall(r"`([^`]+)`", cell)) for name, cell in rows}
    parts = {name: re.findall(r"([a-z-]+) \+", cell) for name, cell in rows}
    assert parts["linux"] == ["elf"]
    assert parts["osx"] == ["mach-o"]
    assert parts["winnt"] == ["pe"]
    return {name: own[name].union(*(own[part] for part in parts[name])) for name in own}


def test_the_categories_are_those_of_the_table_in_its_order():
    assert list(CATEGORIES) == list(table())
    assert len(CATEGORIES) == 17


@pytest.mark.parametrize("name", list(table()))
def test_a_category_has_the_mimetypes_of_the_table_and_no_other_but_the_kinds_of_elf(name):
    more = ELF_KINDS if name in {"elf", "linux"} else set()
    assert set(CATEGORIES[name]) == table()[name] | more


@pytest.mark.parametrize("name", sorted(set().union(*table().values())))
def test_every_name_of_the_table_is_canonical_whatever_its_case(name):
    expected = "application/zip" if name == "application/x-compressed-zip" else name
    assert canonical(name) == canonical(name.upper()) == canonical(f" {name.title()} ; charset=binary") == expected
    assert categories_of(name) == tuple(title for title, mimetypes in table().items() if expected in mimetypes)


def test_categories_cannot_be_changed():
    with pytest.raises(TypeError):
        CATEGORIES["pe"] = frozenset()
    with pytest.raises(AttributeError):
        CATEGORIES["pe"].add("text/plain")


@pytest.mark.parametrize(
    ("spelling", "name", "slug"),
    [
        ("office (ms)", "office (ms)", "office-ms"),
        ("office-ms", "office (ms)", "office-ms"),
        ("Office_MS", "office (ms)", "office-ms"),
        ("OFFICE (OPEN)", "office (open)", "office-open"),
        ("office-abiword", "office (abiword)", "office-abiword"),
        ("office-etc", "office (etc)", "office-etc"),
        ("text & script", "text & script", "text-script"),
        ("Text-Script", "text & script", "text-script"),
        ("Mach-O", "mach-o", "mach-o"),
        ("PE", "pe", "pe"),
    ],
)
def test_a_category_is_found_by_the_tables_name_and_by_the_one_for_command_lines(spelling, name, slug):
    found = category(spelling)
    assert (found.name, found.slug, found.mimetypes) == (name, slug, CATEGORIES[name])


def test_office_is_all_four_office_categories_together():
    four = [mimetypes for name, mimetypes in CATEGORIES.items() if name.startswith("office (")]
    assert len(four) == 4
    assert category("office").mimetypes == frozenset().union(*four)
    assert [one.name for one in all_categories()] == [*CATEGORIES, "office"]
    assert len({one.slug for one in all_categories()}) == 18


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ofice-ms", "did you mean 'office-ms'?"), ("andriod", "did you mean 'android'?"), ("macho", "'mach-o'?")],
)
def test_an_unknown_category_names_the_nearest_and_all(name, hint):
    with pytest.raises(UnknownCategory) as caught:
        category(name)
    message = str(caught.value)
    assert message.startswith(f"unknown category {name!r}; ")
    assert hint in message
    assert "known: android, archives, elf," in message
    assert "\n" not in message
    assert isinstance(caught.value, UsageError)


def test_an_unknown_category_that_is_near_nothing_suggests_nothing():
    with pytest.raises(UnknownCategory, match=r"^unknown category '' \(known: android"):
        category("")


def test_octet_stream_is_in_all_the_categories_in_which_the_table_has_it():
    assert categories_of("application/octet-stream") == ("archives", "linux", "mach-o", "osx", "pdf", "winnt")
    assert categories_of("application/x-sharedlib") == ("elf", "linux")
    assert categories_of("image/png") == ()


@pytest.mark.parametrize(
    ("mimetype", "mimetypes", "categories", "expected"),
    [
        ("application/pdf", (), (), True),
        ("", (), (), True),
        ("application/pdf", ("application/pdf",), (), True),
        ("application/pdf", ("Application/X-PDF; v=1",), (), True),
        ("application/x-pdf", ("application/pdf",), (), True),
        ("image/png", ("application/pdf",), (), False),
        ("application/vnd.microsoft.portable-executable", (), ("pe",), True),
        ("application/x-msdownload", ("application/x-ms-dos-executable",), (), True),
        ("application/x-dosexec", (), ("winnt",), True),
        ("application/x-dosexec", (), ("elf", "pdf"), False),
        ("application/x-pie-executable", (), ("elf",), True),
        ("application/x-coredump", (), ("linux",), True),
        ("application/x-pie-executable", ("application/x-executable",), (), False),
        ("application/zip", (), ("archives",), True),
        ("application/zip", ("application/x-compressed-zip",), (), True),
        ("application/vnd.ms-word.document.macroenabled.12", (), ("OFFICE",), True),
        (
            "APPLICATION/VND.MS-WORD.DOCUMENT.MACROENABLED.12",
            ("application/vnd.ms-word.document.macroEnabled.12",),
            (),
            True,
        ),
        ("text/x-perl", ("text/*",), (), True),
        ("text/x-perl", ("TEXT/*",), (), True),
        ("application/javascript", ("text/*",), (), True),
        ("text/javascript", ("application/*",), (), True),
        ("application/x-dosexec", ("text/*",), (), False),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", ("application/vnd.ms-excel*",), (), True),
        ("application/vndxms-excel", ("application/vnd.ms-excel*",), (), False),
        ("xtext/plain", ("text/*",), (), False),
        ("image/png", ("*/*",), (), True),
        ("image/png", ("text/*", "image/*"), (), True),
        ("image/png", ("text/*",), ("pe",), False),
        ("application/x-dosexec", ("text/*",), ("pe",), True),
        ("", ("text/*",), ("pe",), False),
    ],
)
def test_an_engine_takes_what_it_declares_by_any_name(mimetype, mimetypes, categories, expected):
    for kind in (tuple, list, set, frozenset):
        assert takes(mimetype, kind(mimetypes), kind(categories)) is expected


def test_an_unknown_category_in_a_declaration_is_an_error_every_time():
    for _ in range(2):
        with pytest.raises(UnknownCategory, match="did you mean 'winnt'"):
            takes("application/pdf", (), ("wint",))


@given(st.sampled_from(sorted(set().union(*CATEGORIES.values()))), st.data())
def test_all_names_of_a_type_are_taken_alike(mimetype, data):
    name = data.draw(st.sampled_from(names_of(mimetype)))
    declared = data.draw(st.sampled_from(names_of(mimetype)))
    assert takes(name, (declared,), ())
    assert takes(name, (), categories_of(mimetype)[:1])
    assert categories_of(name) == categories_of(mimetype)


@given(st.text(max_size=400), st.lists(st.text(max_size=20), max_size=4))
def test_no_mimetype_and_no_declaration_is_odd_enough_to_raise(mimetype, declared):
    assert takes(mimetype, declared, ()) in {True, False}
    assert takes(mimetype, [*declared, mimetype], ())


def test_a_mimetype_of_a_megabyte_is_answered_and_not_kept():
    from psengine_host.filetypes.categories import _remembered

    before = _remembered.cache_info().currsize
    assert takes("text/" + "x" * (1 << 20), ("text/*",), ())
    assert takes("text/plain;" + "x" * (1 << 20), (), ("text-script",))
    assert _remembered.cache_info().currsize == before


def test_asking_again_costs_less_than_two_microseconds():
    declared = tuple(sorted(CATEGORIES["office (ms)"])), ("pe", "winnt")
    fastest = min(timeit.repeat(lambda: takes("application/pdf", *declared), number=10_000, repeat=5)) / 10_000
    assert fastest < 2e-6, f"{fastest * 1e6:.2f} µs"
