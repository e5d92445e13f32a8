"""Paths there and back, beside Wine's own winepath and beside a Windows program that opens them."""

import os
import random
import shutil
import subprocess
import time

import pytest

from psengine_host.toolkit import wine
from psengine_host.toolkit.wine.drives import drives_of

HARD_NAMES = [
    *("a*b", "a?b", 'a"b', "a<b", "a>b", "a|b", "a\x01b", "line\nend", "tab\tb"),
    *("dot.", "dots...", "blank ", "dot. ", "con", "CON.txt", "nul.exe", "prn", "lpt3.log", "COM9"),
]
"""Names that a Windows path with a drive cannot say."""
PLAIN_NAMES = [
    *("plain", "two words", " lead", "a:b", "x~1", ".hidden", "a;b", "it's", "%PATH%", "a&b", "^", "console", "nulls"),
    *("Grüße", "€", "日本", "e\u0301", "ｆ", "\U0001f600", "ß", "İ", "a.b.c", "#", "[x]", "{y}", "com10", "lpt"),
]


@pytest.fixture
def winepath(wine_prefix, wine_start):
    """Asks Wine's own winepath about many paths in one process; ``"-w"`` to NT, ``"-u"`` back."""
    wine.start_persistent_wineserver()

    def ask(direction, paths):
        command = wine.command(["winepath", direction, "-0", *paths])
        done, _ = wine_start(command, wine.environment(), 0, stdout=subprocess.PIPE)
        answers = done.stdout.decode().split("\0")
        assert len(answers) == len(paths) + 1
        return answers[:-1]

    return ask


def some_paths(prefix, seed=20):
    """Paths of all shapes: below the drives and beside them, tidy and untidy, existing and not."""
    draw = random.Random(seed)
    starts = ["/", "/tmp", str(prefix), f"{prefix}/drive_c", f"{prefix}/drive_c/windows/system32", f"{prefix}/drive_c2"]
    for _ in range(300):
        names = draw.choices([*PLAIN_NAMES, ".", ".."], k=draw.randrange(5))
        path = draw.choice(starts) + "".join(draw.choice(["/", "//"]) + name for name in names)
        yield path + draw.choice(["", "", "", "x"]) if names else path


def test_nt_paths_are_those_of_winepath(winepath, wine_prefix):
    # Of drive_c/missing/.. winepath forgets that it is on C:, and windows is a link in this prefix.
    paths = [
        path
        for path in some_paths(wine_prefix)
        if "/windows" not in path and not ("/drive_c" in path and "/.." in path)
    ]
    ours = [wine.as_nt_path(path) for path in paths]
    theirs = winepath("-w", paths)
    different = [pair for pair in zip(paths, ours, theirs, strict=True) if pair[1] != pair[2]]
    assert different == []
    assert {path[:2] for path in ours} == {"C:", "Z:"}


def test_paths_back_are_those_of_winepath(winepath, wine_prefix):
    folder = wine_prefix / "drive_c/Mixed Case"
    (folder / "Größe").mkdir(parents=True)
    (folder / "Größe/File.TXT").touch()
    rest = [
        r"mixed case\GRÖSSE\x",
        r"MIXED CASE\größe\file.txt",
        r"mixed CASE/GRÖßE",
        r"no\Such\File",
        r"a\..\mixed case",
    ]
    paths = [
        *(f"{drive}\\{below}" for drive in ("C:", "c:") for below in rest),
        *("C:", "C:\\", "z:/", r"Z:\tmp", r"Z:\..\..\x", r"\\?\Z:\tmp", r"\??\Z:\tmp\x", r"\\.\Z:\tmp\.\x"),
        *(r"\\?\unix\tmp\x", r"Z:\tmp\\x/y", r"sub\file", r"..\file", "name", r"C:name", r"\name", r"\tmp\name"),
        *(wine.as_nt_path(path) for path in some_paths(wine_prefix, seed=21)),
    ]
    ours = [os.path.realpath(wine.from_nt_path(path)) for path in paths]
    theirs = [os.path.realpath(path) for path in winepath("-u", paths)]
    assert [(path, our, their) for path, our, their in zip(paths, ours, theirs, strict=True) if our != their] == []


def test_a_windows_program_opens_what_the_path_names(winepath, windows_program, wine_start, tmp_path):
    folder = tmp_path / "files"
    files = [folder / name for name in [*PLAIN_NAMES, *HARD_NAMES]]
    files += [folder / "trailing." / "x", folder / " in" / "nul" / "x", folder / "deep" / ("d" * 200) / ("e" * 100)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content {number}")
    arguments = [wine.as_nt_path(file) for file in files]
    command = wine.command([windows_program("print_files"), *arguments])
    done, _ = wine_start(command, wine.environment(), 0, stdout=subprocess.PIPE)
    assert done.stdout.decode().split("\r\n") == [*(f"content {number}" for number in range(len(files))), ""]
    assert [wine.from_nt_path(path) for path in arguments] == files


@pytest.mark.parametrize("name", HARD_NAMES)
def test_what_a_drive_cannot_say_is_named_from_the_root(name, prefix):
    assert wine.as_nt_path(f"/tmp/{name}") == f"\\\\?\\unix\\tmp\\{name}"
    assert wine.as_nt_path(prefix / "drive_c" / name).startswith("\\\\?\\unix\\")


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """A prefix that Wine has not made: only its drives."""
    home = tmp_path / "prefix"
    (home / "dosdevices").mkdir(parents=True)
    (home / "drive_c").mkdir()
    (home / "dosdevices/c:").symlink_to("../drive_c")
    (home / "dosdevices/z:").symlink_to("/")
    (home / "dosdevices/com1").symlink_to("/dev/ttyS0")
    (home / "dosdevices/z::").symlink_to("/dev/sda1")
    monkeypatch.setenv("WINEPREFIX", str(home))
    return home


def test_the_nearest_drive_wins(prefix, tmp_path):
    assert wine.as_nt_path(prefix / "drive_c/x") == r"C:\x"
    assert wine.as_nt_path(prefix / "drive_c") == "C:\\"
    assert wine.as_nt_path(prefix / "drive_cx") == f"Z:{prefix}\\drive_cx".replace("/", "\\")
    assert wine.as_nt_path("/") == "Z:\\"


def test_a_drive_that_is_added_or_moved_counts_at_once(prefix, tmp_path):
    samples, others = tmp_path / "samples", tmp_path / "others"
    samples.mkdir()
    others.mkdir()
    before = wine.as_nt_path(samples / "x")
    (prefix / "dosdevices/d:").symlink_to(samples)
    os.utime(prefix / "dosdevices", ns=(1, 1))  # a file system's clock may stand still between two lines of a test
    assert (before[:2], wine.as_nt_path(samples / "x")) == ("Z:", r"D:\x")
    (prefix / "dosdevices/d:").unlink()
    (prefix / "dosdevices/d:").symlink_to(others)
    os.utime(prefix / "dosdevices", ns=(2, 2))
    assert wine.from_nt_path(r"d:\x") == others / "x"
    assert wine.as_nt_path(samples / "x") == before


def test_devices_and_dead_links_are_no_drives(prefix):
    (prefix / "dosdevices/e:").symlink_to("nowhere")
    (prefix / "dosdevices/f:").symlink_to("/dev/null")
    assert sorted(drives_of(prefix).folders) == ["C:", "Z:"]


def test_a_prefix_behind_a_link_has_its_drives_by_both_names(prefix, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(prefix)
    monkeypatch.setenv("WINEPREFIX", str(link))
    assert wine.as_nt_path(link / "drive_c/x") == wine.as_nt_path(prefix / "drive_c/x") == r"C:\x"
    assert wine.from_nt_path(r"C:\x") == prefix / "drive_c/x"


def test_without_a_drive_for_the_root_paths_begin_at_the_root(prefix):
    (prefix / "dosdevices/z:").unlink()
    os.utime(prefix / "dosdevices", ns=(3, 3))
    assert wine.as_nt_path("/tmp/a b") == r"\\?\unix\tmp\a b"
    assert wine.as_nt_path("/") == "\\\\?\\unix\\"


def test_a_prefix_that_is_not_made_yet_has_the_drives_that_wine_will_make(tmp_path):
    environ = {"WINEPREFIX": str(tmp_path / "later")}
    assert wine.as_nt_path(tmp_path / "later/drive_c/x", environ) == r"C:\x"
    assert wine.as_nt_path("/tmp/x", environ) == r"Z:\tmp\x"
    assert wine.from_nt_path(r"z:\tmp\x", environ) == wine.from_nt_path(r"Z:\tmp/x", environ)
    assert not (tmp_path / "later").exists()


def test_relative_paths_count_from_the_working_directory(prefix, monkeypatch):
    (prefix / "drive_c/sub").mkdir()
    monkeypatch.chdir(prefix / "drive_c/sub")
    assert wine.as_nt_path("../x") == r"C:\x"
    assert wine.as_nt_path(".") == r"C:\sub"
    assert wine.from_nt_path(r"..\x") == prefix / "drive_c/x"


def test_dots_behind_a_link_go_where_posix_goes(prefix, tmp_path):
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/inner")
    (tmp_path / "real/x").touch()
    assert wine.from_nt_path(wine.as_nt_path(tmp_path / "link/../x")) == tmp_path / "real/x"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/tmp/a\\b", r"'/tmp/a\\b' has no NT path: it holds a backslash; rename it, or scan a copy"),
        ("/tmp/\udcff", r"'/tmp/\udcff' has no NT path: it holds bytes that are not UTF-8; rename it, or scan a copy"),
        ("", "'' names no file"),
        ("/tmp/a\0b", r"'/tmp/a\x00b' names no file"),
    ],
)
def test_what_has_no_nt_path(path, said, prefix):
    with pytest.raises(wine.WineError) as caught:
        wine.as_nt_path(path)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "'' names no file"),
        ("NUL", "'NUL' is the name of a device of Windows, not of a file"),
        ("C:\\dir\\aux.txt", r"'C:\\dir\\aux.txt' is the name of a device of Windows, not of a file"),
        (r"\\server\share\x", r"'\\\\server\\share\\x' is a share or a device, not a file of a drive"),
        (r"Q:\x", r"'Q:\\x': the prefix has no drive Q:; it has C:, Z:"),
    ],
)
def test_what_is_no_path_of_a_file(path, said, prefix):
    with pytest.raises(wine.WineError) as caught:
        wine.from_nt_path(path)
    assert str(caught.value) == said


def test_no_process_is_started_for_a_path(prefix, monkeypatch):
    monkeypatch.setenv("WINELOADER", shutil.which("false"))
    assert wine.from_nt_path(wine.as_nt_path("/etc/passwd")).read_bytes()
    with pytest.raises(wine.WineError, match=r"'C:name' names no file, says winepath"):
        wine.from_nt_path("C:name")


def test_a_prefix_that_is_not_absolute_is_refused():
    with pytest.raises(wine.WineError) as caught:
        wine.as_nt_path("/tmp/x", {"WINEPREFIX": "prefix"})
    assert str(caught.value) == "WINEPREFIX is 'prefix': Wine takes an absolute path only"


def test_a_path_takes_less_than_20_microseconds(prefix, tmp_path):
    path = str(tmp_path / "artifact of a bounty.exe")

    def seconds(calls=2000):
        begun = time.perf_counter()
        for _ in range(calls):
            wine.as_nt_path(path)
        return (time.perf_counter() - begun) / calls

    assert min(seconds() for _ in range(10)) < 20e-6  # the machine may be busy with something else meanwhile
