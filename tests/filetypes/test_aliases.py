"""One name for each type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.filetypes import canonical, names_of
from psengine_host.filetypes.aliases import ALIASES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("application/vnd.microsoft.portable-executable", "application/x-dosexec"),
        ("application/x-msdownload", "application/x-dosexec"),
        ("application/x-ms-dos-executable", "application/x-dosexec"),
        ("application/x-msdos-program", "application/x-dosexec"),
        ("application/x-java-archive", "application/java-archive"),
        ("application/x-rar", "application/vnd.rar"),
        ("application/x-rar-compressed", "application/vnd.rar"),
        ("application/x-zip-compressed", "application/zip"),
        ("application/x-compressed-zip", "application/zip"),
        ("application/x-gzip", "application/gzip"),
        ("application/vnd.debian.binary-package", "application/x-dpkg"),
        ("application/x-debian-package", "application/x-dpkg"),
        ("text/javascript", "application/javascript"),
        ("application/x-javascript", "application/javascript"),
        ("text/x-shellscript", "application/x-sh"),
        ("application/xml", "text/xml"),
        ("text/x-php", "application/x-httpd-php"),
        ("text/x-script.python", "text/x-python"),
        ("application/x-python", "text/x-python"),
        ("image/x-icon", "image/vnd.microsoft.icon"),
        ("text/json", "application/json"),
        ("text/rtf", "application/rtf"),
        ("application/vnd.adobe.flash.movie", "application/x-shockwave-flash"),
        ("font/sfnt", "font/ttf"),
        ("application/font-sfnt", "font/ttf"),
        ("application/vnd.ms-opentype", "font/otf"),
        ("application/font-woff", "font/woff"),
        ("application/x-mach-o", "application/x-mach-binary"),
        ("text/comma-separated-values", "text/csv"),
        ("application/vnd.oasis.opendocument.base", "application/vnd.oasis.opendocument.database"),
    ],
)
def test_old_and_new_names_are_one(name, expected):
    assert canonical(name) == canonical(f"{name.upper()} ;charset=binary") == expected


@pytest.mark.parametrize(
    "name",
    ["application/x-pie-executable", "application/x-sharedlib", "application/x-object", "application/x-coredump"],
)
def test_the_kinds_of_elf_stay_apart(name):
    assert canonical(name) == name


@pytest.mark.parametrize("name", ["image/png", "application/x-never-heard-of", "", "text", "text/x;y", "; charset=x"])
def test_an_unknown_name_comes_back_in_lower_case_without_parameters(name):
    assert canonical(name.upper()) == name.partition(";")[0]


def test_a_name_belongs_to_one_type_and_is_in_lower_case():
    aliases = [alias for names in ALIASES.values() for alias in names]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(ALIASES)
    assert all(alias == alias.lower() and alias.count("/") == 1 for alias in aliases)


@given(st.one_of(st.text(max_size=600), st.sampled_from([alias for names in ALIASES.values() for alias in names])))
def test_a_canonical_name_is_its_own_and_the_first_of_its_names(name):
    once = canonical(name)
    assert canonical(once) == once
    assert names_of(name)[0] == once
    assert {canonical(other) for other in names_of(name)} == {once}
