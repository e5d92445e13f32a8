"""The binding of libmagic: paths, descriptors, bytes, threads, forks, limits and errors."""

import concurrent.futures
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import timeit
from importlib.metadata import distribution
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.errors import PsengineError
from psengine_host.filetypes import FileTypeError, identify_bytes, identify_descriptor, identify_path, libmagic
from psengine_host.filetypes.libmagic import READ_LIMIT

ROOT = Path(libmagic.__file__).parents[2]
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
WHEEL = Path(str(distribution("python-magic-standalone").locate_file("")))


def run(code, *, path=(), cwd=None, **environment):
    """Run code in a fresh interpreter and give back what it printed."""
    everything = [*map(str, path), str(ROOT), *(entry for entry in sys.path if entry and Path(entry).is_absolute())]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(everything), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def a_copy_of_the_wheel(folder):
    """A folder with the wheel's files, as ``pip install --target`` makes one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("magic", *(found.name for found in WHEEL.glob("python_magic_standalone-*.dist-info"))):
        shutil.copytree(WHEEL / name, folder / name)
    return folder


def test_a_path_may_be_text_bytes_or_a_path_object_with_any_name(tmp_path):
    for name in (b"plain.pdf", b"with\nnewline", b"invalid \xff\xfe utf-8", b"n" * 255):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(PDF)
        assert identify_path(path) == "application/pdf"
        assert identify_path(os.fsdecode(path)) == "application/pdf"
        assert identify_path(Path(os.fsdecode(path))) == "application/pdf"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "file").write_bytes(PDF)
    (tmp_path / "link").symlink_to("file")
    assert identify_path(tmp_path / "link") == "application/pdf"


@pytest.mark.parametrize("name", ["missing", "loop", "file/below"])
def test_what_cannot_be_opened_is_the_systems_error(tmp_path, name):
    (tmp_path / "file").write_bytes(PDF)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=name):
        identify_path(tmp_path / name)


def test_an_unreadable_file_is_a_permission_error():
    # Root may read everything, so the child gives up being root; it reaches the file, and cannot read it.
    code = """
import os, sys
from psengine_host.filetypes import identify_bytes, identify_path
identify_bytes(b"loaded while everything can be read")
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(identify_path(os.environ["SECRET"]))
except OSError as error:
    print(type(error).__name__, error.filename == os.environ["SECRET"])
"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        secret = Path(folder, "secret")
        secret.write_bytes(PDF)
        secret.chmod(0)
        assert run(code, SECRET=str(secret)) == "PermissionError True"


def test_what_is_no_regular_file_is_named_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert identify_path(tmp_path) == "inode/directory"
    assert identify_path(tmp_path / "fifo") == "inode/fifo"
    assert identify_path("/dev/null") == "inode/chardevice"
    left, right = socket.socketpair()
    reading, writing = os.pipe()
    try:
        right.send(b"kept")
        os.write(writing, b"kept")
        assert identify_descriptor(left.fileno()) == "inode/socket"
        assert identify_descriptor(reading) == "inode/fifo"
        assert (left.recv(10), os.read(reading, 10)) == (b"kept", b"kept")
    finally:
        left.close()
        right.close()
        os.close(reading)
        os.close(writing)


def test_a_descriptor_is_identified_as_a_whole_and_keeps_its_position(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PDF + b"\x89PNG\r\n\x1a\n")
    with open(path, "rb", buffering=0) as file:
        for position in (0, 5, len(PDF), 10_000):
            file.seek(position)
            assert identify_descriptor(file.fileno()) == "application/pdf"
            assert file.tell() == position


def test_a_closed_or_write_only_descriptor_is_an_os_error(tmp_path):
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, PDF)
        with pytest.raises(OSError, match="Bad file descriptor"):
            identify_descriptor(fd)
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        identify_descriptor(fd)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_bytes_of_every_kind(kind):
    assert identify_bytes(kind(PDF)) == "application/pdf"
    assert identify_bytes(kind(b"")) == "application/x-empty"


def test_a_memoryview_that_is_not_contiguous_or_not_of_bytes():
    spread = bytes(byte for value in PDF for byte in (value, 0))
    assert identify_bytes(memoryview(spread)[::2]) == "application/pdf"
    padded = PDF.ljust(32)
    assert identify_bytes(memoryview(padded).cast("I")) == "application/pdf"
    assert identify_bytes(memoryview(padded).cast("B", (4, 8))) == "application/pdf"


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: b"PK\3\4" + tail)))
def test_no_content_is_odd_enough_to_raise_and_a_file_is_as_its_bytes(content):
    fd = os.memfd_create("content")
    try:
        os.write(fd, content)
        said = identify_bytes(content)
        assert identify_descriptor(fd) == said
        kind, slash, name = said.partition("/")
        assert all((kind, slash, name, said.isascii()))
        assert said == said.strip()
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "magic", [b"\x7fELF\2\1\1", b"MZ", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK\3\4", b"{", b"<?xml "]
)
def test_garbage_behind_a_known_start_is_identified_without_an_error(magic):
    import random

    chance = random.Random(7)
    for length in (1, 40, 600, 5000):
        for _ in range(20):
            assert "/" in identify_bytes(magic + chance.randbytes(length))


def test_a_file_truncated_while_it_is_open_is_what_is_left(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PDF * 1000)
    with open(path, "rb") as file:
        os.truncate(path, 0)
        assert identify_descriptor(file.fileno()) == "application/x-empty"


def test_no_more_than_the_limit_is_read_of_a_file(tmp_path):
    at_the_end = b'{"a": "' + b"x" * READ_LIMIT + b'"}'
    within = b'{"a": "' + b"x" * (READ_LIMIT - 100) + b'"}'
    for content, expected in ((within, "application/json"), (at_the_end, "text/plain")):
        (tmp_path / "file").write_bytes(content)
        assert identify_path(tmp_path / "file") == identify_bytes(content) == expected


def test_a_sparse_file_of_five_gigabytes_takes_no_more_memory_than_a_small_one(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(5 << 30)
    code = (
        "import resource\nfrom psengine_host.filetypes import identify_path, identify_bytes\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nidentify_bytes(b'x' * 1000)\n"
        f"before = peak()\nprint(identify_path({os.fspath(tmp_path / 'sparse')!r}), peak() - before < 8 * 1024)"
    )
    assert run(code) == "application/octet-stream True"


def test_nothing_is_loaded_before_the_first_identification():
    code = (
        "import sys\nimport psengine_host.filetypes as room\nmaps = lambda: open('/proc/self/maps').read()\n"
        "room.takes('application/pdf', ('text/*',), ('pe',))\n"
        "before = 'libmagic' in maps() or 'magic.mgc' in maps() or 'importlib.metadata' in sys.modules\n"
        "room.identify_bytes(b'x')\n"
        "print(before, 'libmagic.so.1' in maps(), 'magic.mgc' in maps(), 'magic' in sys.modules)"
    )
    assert run(code) == "False True True False"


def test_the_environment_does_not_choose_the_database(tmp_path):
    (tmp_path / "magic").write_text("0 string %PDF fooled\n!:mime text/fooled\n")
    code = "from psengine_host.filetypes import identify_bytes\nprint(identify_bytes(b'%PDF-1.7'))"
    for value in (str(tmp_path / "magic"), "/nonexistent", ""):
        assert run(code, MAGIC=value, HOME=str(tmp_path)) == "application/pdf"


def test_many_threads_at_once_get_the_same_answers_as_one():
    contents = [PDF, b"#!/bin/sh\n", b"<html><body>", b"\x7fELF" + bytes(60), b"MZ" + bytes(100), b"{}", b"plain"] * 40
    alone = [identify_bytes(content) for content in contents]
    start = threading.Barrier(8)

    def all_of_them(_):
        start.wait(30)
        return [identify_bytes(content) for content in contents]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(all_of_them, range(8))) == [alone] * 8


def test_no_more_sessions_are_kept_than_were_needed_at_once():
    identify_bytes(PDF)
    library = libmagic._library()
    before = len(library._free)
    for _ in range(50):
        thread = threading.Thread(target=identify_bytes, args=(PDF,))
        thread.start()
        thread.join()
    assert len(library._free) == before


def test_a_forked_child_identifies_also_when_a_thread_was_in_the_middle_of_it():
    code = """
import os, threading
from psengine_host.filetypes import identify_bytes
text, stop = b"lorem ipsum dolor " * 60000, threading.Event()
identify_bytes(text)  # the first one imports a module, and Python's own import locks do not survive a fork
def busy():
    while not stop.is_set():
        identify_bytes(text)
threads = [threading.Thread(target=busy) for _ in range(3)]
[thread.start() for thread in threads]
failed = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if identify_bytes(b"%PDF-1.7") == "application/pdf" else 1)
    failed += os.waitpid(child, 0)[1] != 0
stop.set()
[thread.join() for thread in threads]
print(failed, identify_bytes(b"%PDF-1.7"))
"""
    assert run(code) == "0 application/pdf"


def test_the_descriptor_is_closed_also_when_reading_fails(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    (tmp_path / "file").write_bytes(PDF)
    for _ in range(20):
        identify_path(tmp_path / "file")
        identify_path(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_missing_wheel_is_an_error_that_tells_how_to_repair_it(monkeypatch):
    monkeypatch.setattr(libmagic, "_trusted_path", list)
    monkeypatch.setattr(libmagic, "_library", libmagic._library.__wrapped__)
    with pytest.raises(FileTypeError) as caught:
        identify_bytes(PDF)
    assert isinstance(caught.value, PsengineError)
    assert str(caught.value) == (
        f"python-magic-standalone is not installed in {sys.prefix}; "
        "repair it with: pip install --force-reinstall python-magic-standalone"
    )


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("libmagic.so.1", None, "python-magic-standalone is installed without "),
        ("magic.mgc", None, "python-magic-standalone is installed without "),
        ("libmagic.so.1", b"not a library", "libmagic cannot be loaded: "),
        ("magic.mgc", b"not a database" * 100, "libmagic cannot use its database "),
        ("magic.mgc", b"", "cannot be used: "),
    ],
)
def test_a_damaged_wheel_is_an_error_that_tells_how_to_repair_it(tmp_path, monkeypatch, name, damage, message):
    damaged = a_copy_of_the_wheel(tmp_path / "site") / "magic" / name
    damaged.unlink()
    if damage is not None:
        damaged.write_bytes(damage)
    monkeypatch.setattr(libmagic, "_trusted_path", lambda: [str(tmp_path / "site")])
    monkeypatch.setattr(libmagic, "_library", libmagic._library.__wrapped__)
    with pytest.raises(FileTypeError) as caught:
        identify_path(__file__)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).endswith("; repair it with: pip install --force-reinstall python-magic-standalone")
    assert "\n" not in str(caught.value)


def test_a_library_without_the_functions_of_libmagic_is_an_error(tmp_path, monkeypatch):
    import _ctypes

    site = a_copy_of_the_wheel(tmp_path / "site")
    (site / "magic" / "libmagic.so.1").unlink()
    shutil.copy(_ctypes.__file__, site / "magic" / "libmagic.so.1")
    monkeypatch.setattr(libmagic, "_trusted_path", lambda: [str(site)])
    monkeypatch.setattr(libmagic, "_library", libmagic._library.__wrapped__)
    with pytest.raises(FileTypeError, match=r"cannot be used: .*magic_open.*; repair it with: pip install"):
        identify_bytes(PDF)


def test_a_database_below_a_folder_with_a_colon_works(tmp_path, monkeypatch):
    monkeypatch.setattr(libmagic, "_trusted_path", lambda: [str(a_copy_of_the_wheel(tmp_path / "a:b"))])
    monkeypatch.setattr(libmagic, "_library", libmagic._library.__wrapped__)
    assert identify_bytes(PDF) == "application/pdf"


def test_our_part_of_an_identification_takes_less_than_ten_microseconds(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    library = libmagic._library()
    with open(tmp_path / "file", "rb") as file:
        fd = file.fileno()
        bare = min(timeit.repeat(lambda: library._functions.descriptor(library._free[0], fd), number=2000, repeat=5))
    whole = min(timeit.repeat(lambda: identify_path(tmp_path / "file"), number=2000, repeat=5))
    assert (whole - bare) / 2000 < 10e-6, f"{(whole - bare) / 2000 * 1e6:.1f} µs"


def test_a_stream_is_left_alone_but_its_descriptor_is_identified(tmp_path):
    (tmp_path / "file").write_bytes(PDF)
    with open(tmp_path / "file", "rb") as file:
        assert file.read(5) == b"%PDF-"
        assert identify_descriptor(file.fileno()) == "application/pdf"
        assert file.read() == PDF[5:]
        assert isinstance(file, io.BufferedReader)
