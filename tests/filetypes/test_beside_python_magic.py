"""The host works beside other modules called ``magic``, and leaves them working."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from psengine_host.filetypes import libmagic

ROOT = Path(libmagic.__file__).parents[2]
WHEEL = Path(str(distribution("python-magic-standalone").locate_file("")))
IDENTIFY = "from psengine_host.filetypes import identify_bytes\nprint(identify_bytes(b'%PDF-1.7'))\n"

# python-magic 0.4.27 at import: the first library of that name which the dynamic linker finds, else an error.
LIKE_PYTHON_MAGIC = """\
import ctypes
try:
    libmagic = ctypes.CDLL("libmagic.so.1")
except OSError:
    raise ImportError("failed to find libmagic.  Check your installation")
"""

WHICH = """\
import ctypes
import magic

class Info(ctypes.Structure):
    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("at", ctypes.c_void_p),
    ]

info = Info()
ctypes.CDLL(None).dladdr(ctypes.cast(magic.libmagic.magic_open, ctypes.c_void_p), ctypes.byref(info))
print(info.file.decode())
"""


def installed(folder):
    """A folder with the wheel's files, as ``pip install --target`` makes one."""
    folder.mkdir()
    for name in ("magic", *(found.name for found in WHEEL.glob("python_magic_standalone-*.dist-info"))):
        shutil.copytree(WHEEL / name, folder / name)
    return folder


def run(code, *path, cwd=None, **environment):
    """Run code in an interpreter without site-packages, so that only the wheel in ``path`` is installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)]), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def test_a_module_called_magic_that_breaks_when_imported_is_not_imported(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "magic.py").write_text("raise ImportError('this is another module of that name')\n")
    site = installed(tmp_path / "site")
    assert "another module of that name" in run("import magic", tmp_path / "first", site)
    assert run(IDENTIFY, tmp_path / "first", site) == "application/pdf"


def test_python_magic_installed_over_the_wheel_changes_nothing(tmp_path):
    site = installed(tmp_path / "site")
    for replaced in (site / "magic").glob("*.py*"):
        replaced.unlink()
    (site / "magic" / "__init__.py").write_text("raise ImportError('failed to find libmagic')\n")
    (site / "python_magic-0.4.27.dist-info").mkdir()
    (site / "python_magic-0.4.27.dist-info" / "METADATA").write_text("Name: python-magic\nVersion: 0.4.27\n")
    assert "failed to find libmagic" in run("import magic", site)
    assert run(IDENTIFY, site) == "application/pdf"


def test_python_magic_alone_is_not_taken_for_the_wheel(tmp_path):
    site = installed(tmp_path / "site")
    (info,) = site.glob("python_magic_standalone-*.dist-info")
    (info / "METADATA").write_text("Name: python-magic\nVersion: 0.4.27\n")
    info.rename(site / "python_magic-0.4.27.dist-info")
    assert "FileTypeError: python-magic-standalone is not installed" in run(IDENTIFY, site)


@pytest.mark.parametrize("ours_first", [True, False])
def test_who_asks_for_the_systems_library_later_gets_the_systems(tmp_path, ours_first):
    site = installed(tmp_path / "site")
    (tmp_path / "system").mkdir()
    shutil.copy(WHEEL / "magic" / "libmagic.so.1", tmp_path / "system" / "libmagic.so.1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "magic.py").write_text(LIKE_PYTHON_MAGIC)
    code = IDENTIFY + WHICH if ours_first else WHICH + IDENTIFY
    said = run(code, tmp_path / "other", site, LD_LIBRARY_PATH=str(tmp_path / "system")).splitlines()
    assert sorted(said) == sorted(["application/pdf", str(tmp_path / "system" / "libmagic.so.1")])


@pytest.mark.parametrize("entry", ["", "."])
def test_a_library_in_the_current_directory_is_never_loaded(tmp_path, entry):
    samples = installed(tmp_path / "samples")
    shutil.copy(samples / "magic" / "libmagic.so.1", samples / "libmagic.so.1")
    site = installed(tmp_path / "site")
    loaded = "print(*sorted({line.split()[-1] for line in open('/proc/self/maps') if 'magic' in line}), sep='\\n')"
    # python -c puts the current directory first on the search path; LD_LIBRARY_PATH names it once more.
    said = run(IDENTIFY + loaded, site, cwd=samples, LD_LIBRARY_PATH=f"/nonexistent:{entry}")
    assert said.splitlines()[0] == "application/pdf"
    assert f"{site}/magic/libmagic.so.1" in said
    assert str(samples) not in said


def test_a_wheel_only_in_the_current_directory_is_not_found(tmp_path):
    samples = installed(tmp_path / "samples")
    assert "FileTypeError: python-magic-standalone is not installed" in run(IDENTIFY, cwd=samples)
    assert "FileTypeError: python-magic-standalone is not installed" in run(IDENTIFY, samples, cwd=samples)


def test_the_current_directory_counts_when_the_host_itself_comes_from_it(tmp_path):
    together = installed(tmp_path / "together")
    shutil.copytree(ROOT / "psengine_host", together / "psengine_host")
    assert run(IDENTIFY, together, cwd=together) == "application/pdf"


def test_the_current_directory_may_have_been_removed(tmp_path):
    site = installed(tmp_path / "site")
    gone = "import os, tempfile\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\nos.rmdir(folder)\n"
    assert run(gone + IDENTIFY, site) == "application/pdf"
