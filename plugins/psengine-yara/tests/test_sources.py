"""Where rules come from, and what is said of what cannot be read."""

import importlib
import os
import socket
import sys

import pytest
from psengine_yara.sources import PACKAGES_GROUP, Sources, from_folders, from_pack, from_packages

RULE = "rule sample { condition: filesize > 100MB }"


@pytest.fixture
def sources():
    return Sources()


def origins(sources):
    return [file.origin for file in sources.files]


def skipped(sources):
    return [str(each) for each in sources.skipped]


def test_the_pack_is_found(sources):
    from_pack(sources)
    assert {file.namespace for file in sources.files} >= {"pack/eicar.yar", "pack/pdf.yar"}
    assert sources.skipped == []


def test_a_folder_is_searched_at_any_depth_for_both_suffixes_in_any_case(sources, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    names = ("b.yar", "a.yara", "deep/er/c.YAR")
    for name in names:
        (tmp_path / name).write_text(RULE)
    (tmp_path / "notes.txt").write_text("not a rule")
    from_folders(sources, [tmp_path])
    assert origins(sources) == [str(tmp_path / name) for name in ("a.yara", "b.yar", "deep/er/c.YAR")]
    assert len({file.namespace for file in sources.files}) == 3
    assert sources.skipped == []


def test_a_file_that_is_named_is_taken_whatever_its_suffix(sources, tmp_path):
    file = tmp_path / "rules.txt"
    file.write_text(RULE)
    from_folders(sources, [file])
    assert origins(sources) == [str(file)]


def test_a_file_named_twice_is_taken_once(sources, tmp_path):
    (tmp_path / "a.yar").write_text(RULE)
    from_folders(sources, [tmp_path, tmp_path])
    assert len(sources.files) == 1


def test_a_loop_of_links_ends_and_a_link_to_a_file_is_taken(sources, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "original.txt").write_text(RULE)
    (tmp_path / "link.yar").symlink_to(tmp_path / "original.txt")
    from_folders(sources, [tmp_path])
    assert origins(sources) == [str(tmp_path / "link.yar")]


def test_a_byte_order_mark_is_no_part_of_the_rules(sources, tmp_path):
    (tmp_path / "a.yar").write_bytes(b"\xef\xbb\xbf" + RULE.encode())
    from_folders(sources, [tmp_path])
    assert sources.files[0].text == RULE


def test_what_cannot_be_read_is_named_and_the_rest_is_taken(sources, tmp_path):
    (tmp_path / "good.yar").write_text(RULE)
    (tmp_path / "latin.yar").write_bytes(b"// first line\n// caf\xe9\n" + RULE.encode())
    (tmp_path / "gone.yar").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo.yar")
    from_folders(sources, [tmp_path, tmp_path / "missing"])
    assert origins(sources) == [str(tmp_path / "good.yar")]
    assert skipped(sources) == [
        f"{tmp_path}/fifo.yar: is no regular file",
        f"{tmp_path}/gone.yar: no such file or directory",
        f"{tmp_path}/latin.yar: line 2: is not UTF-8 (byte 20); save it as UTF-8",
        f"{tmp_path}/missing: no such file or folder",
    ]


def test_a_socket_and_a_huge_file_are_named(sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.yar")
        with open("huge.yar", "wb") as huge:
            huge.truncate(17 << 20)
        from_folders(sources, [tmp_path])
    assert sources.files == []
    assert skipped(sources)[0] == f"{tmp_path}/huge.yar: is larger than 16 MiB; split it"
    assert skipped(sources)[1].startswith(f"{tmp_path}/s.yar: no such device")


def test_a_folder_without_rules_is_named(sources, tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    from_folders(sources, [tmp_path])
    assert skipped(sources) == [f"{tmp_path}: holds no *.yar or *.yara file"]


# --- packages -------------------------------------------------------------------------------------------------------


class Site:
    """A folder of installed distributions on ``sys.path``."""

    def __init__(self, folder):
        self.folder = folder

    def install(self, name, value, **files):
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{PACKAGES_GROUP}]\nrules = {value}\n")
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield Site(folder)
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
        if any(str(place).startswith(str(folder)) for place in places):
            del sys.modules[name]
    importlib.invalidate_caches()


def test_a_package_gives_the_rule_files_in_its_folder(site, sources):
    site.install(
        "sample-rules", "sample_rules.pack",
        **{"sample_rules/__init__.py": "", "sample_rules/pack/__init__.py": "", "sample_rules/pack/deep/a.yar": RULE,
           "sample_rules/outside.yar": RULE},
    )  # fmt: skip
    from_packages(sources)
    assert origins(sources) == [str(site.folder / "sample_rules/pack/deep/a.yar")]
    assert sources.files[0].namespace == "package/sample-rules/rules/deep/a.yar"


def test_a_folder_without_init_is_a_package_too(site, sources):
    site.install("bare-rules", "bare_rules", **{"bare_rules/a.yara": RULE})
    from_packages(sources)
    assert origins(sources) == [str(site.folder / "bare_rules/a.yara")]


def test_a_module_gives_the_rule_files_beside_it_but_none_below(site, sources):
    site.install(
        "beside-rules", "beside.module",
        **{"beside/__init__.py": "", "beside/module.py": "", "beside/a.yar": RULE, "beside/below/b.yar": RULE},
    )  # fmt: skip
    from_packages(sources)
    assert origins(sources) == [str(site.folder / "beside/a.yar")]


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("pathlib.Path(__file__).parent / 'data'", 2),
        ("str(pathlib.Path(__file__).parent / 'data' / 'a.yar')", 1),
        ("'rule text_of_mine { condition: filesize > 1GB }'", 1),
        ("[pathlib.Path(__file__).parent / 'data', 'rule another { condition: filesize > 1GB }']", 3),
    ],
)
@pytest.mark.parametrize("called", [True, False])
def test_paths_and_texts_are_taken_from_a_function_or_a_variable(site, sources, expression, count, called):
    body = f"import pathlib\nGIVEN = {expression}\ndef give():\n    return GIVEN\n"
    site.install(
        "giving-rules", f"giving:{'give' if called else 'GIVEN'}",
        **{"giving/__init__.py": body, "giving/data/a.yar": RULE, "giving/data/b.yar": RULE},
    )  # fmt: skip
    from_packages(sources)
    assert sources.skipped == []
    assert len(sources.files) == count
    assert len({file.namespace for file in sources.files}) == count


@pytest.mark.parametrize(
    ("value", "body", "reason"),
    [
        ("broken_rules", "import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("broken_rules", "raise SystemExit(3)", "SystemExit: 3"),
        ("broken_rules:missing", "", "AttributeError: module 'broken_rules' has no attribute 'missing'"),
        ("broken_rules:number", "number = 7", "TypeError: gave a int, not a package, path, text of rules"),
        ("broken_rules:give", "def give(): return '/no/such/folder'", "FileNotFoundError: /no/such/folder: no such"),
        ("broken_rules:give", "def give(needed): return ''", "TypeError: give() missing 1 required"),
        ("not_there_at_all", "", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    ],
)
def test_a_broken_package_is_named_with_its_reason_and_the_others_are_taken(site, sources, value, body, reason):
    site.install("broken-rules", value, **{"broken_rules/__init__.py": body})
    site.install("good-rules", "good_rules", **{"good_rules/a.yar": RULE})
    from_packages(sources)
    assert origins(sources) == [str(site.folder / "good_rules/a.yar")]
    (message,) = skipped(sources)
    assert message.startswith(f"broken-rules (rules = {value}): cannot be loaded ({reason}")
    assert message.endswith("mend or remove the package")


def test_a_package_without_rules_is_named(site, sources):
    site.install("empty-rules", "empty_rules", **{"empty_rules/__init__.py": ""})
    from_packages(sources)
    assert skipped(sources) == ["empty-rules (rules = empty_rules): has no *.yar or *.yara file"]
