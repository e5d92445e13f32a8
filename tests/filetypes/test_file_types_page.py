"""The page docs/reference/file-types.md says what the code does."""

import re
from pathlib import Path

import pytest

from psengine_host.analysis import EngineInfo
from psengine_host.filetypes import __all__ as public_names
from psengine_host.filetypes import all_categories, identify_bytes
from psengine_host.filetypes.aliases import ALIASES
from psengine_host.filetypes.libmagic import READ_LIMIT

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "file-types.md").read_text(encoding="utf-8")


def section(title):
    return re.split(r"^## ", PAGE, flags=re.MULTILINE)[[*re.findall(r"^## (.+)$", PAGE, re.MULTILINE)].index(title) + 1]


def rows(text):
    """The cells of the first table in the text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_categories_is_the_code():
    documented = [
        (name, *names(slug), sorted(names(mimetypes))) for name, slug, mimetypes in rows(section("Categories"))
    ]
    *table, office = all_categories()
    assert documented == [(one.name, one.slug, sorted(one.mimetypes)) for one in table]
    assert office.name == "office"
    assert "one category more, `office`" in section("Categories")


def test_the_table_of_names_is_the_code():
    documented = {names(name)[0]: tuple(names(others)) for name, others in rows(section("Names of one type"))}
    assert documented == dict(ALIASES)


def test_the_fields_of_an_engines_declaration_exist():
    documented = [names(field)[0] for field, _, _ in rows(section("What an engine declares"))]
    assert documented == ["artifact_types", "mimetypes", "categories", "max_artifact_size"]
    assert set(documented) <= set(EngineInfo.__struct_fields__)


def test_every_public_name_is_on_the_page():
    assert [name for name in public_names if name != "Category" and f"`{name}" not in PAGE] == []


def test_the_limit_is_the_codes():
    assert READ_LIMIT == 1 << 20
    assert "The first 1 MiB of the file." in PAGE


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_run(code):
    space = {}
    exec(compile(code, "file-types.md", "exec"), space)
    if "info" in space:
        assert space["info"]().max_artifact_size == 32 << 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"$a = New-Object Net.WebClient\n", "text/plain"),
        (b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson"),
        (b"#!/usr/bin/perl\nprint 1;\n", "text/x-perl"),
        (b"@echo off\r\necho hello\r\n", "text/x-msdos-batch"),
    ],
)
def test_what_cannot_be_told_is_on_the_page_as_it_is(content, said):
    assert identify_bytes(content) == said
    assert f"`{said}`" in section("What it cannot tell")
