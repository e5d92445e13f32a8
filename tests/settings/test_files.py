"""Whatever stands in the place of the settings file is read, or refused in one line."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.errors import SettingsError
from psengine_host.settings import Settings
from psengine_host.settings.files import LONGEST_FILE, load_file

TWICE = "a setting or a table is there twice, or one is both; leave one out"
NOTHING_ADDED = "is written in { }, so that nothing can be added to it elsewhere"


@pytest.fixture
def written(tmp_path):
    def write(raw: bytes) -> Path:
        path = tmp_path / "psengine.toml"
        path.write_bytes(raw)
        return path

    return write


@pytest.fixture
def piped():
    """The path of a pipe into which a thread writes, as a shell makes it for ``<(…)``."""
    ends, threads = [], []

    def pipe(raw: bytes) -> str:
        reader, writer = os.pipe()
        ends.append(reader)

        def write() -> None:
            with open(writer, "wb") as file:
                file.write(raw)

        threads.append(threading.Thread(target=write))
        threads[-1].start()
        return f"/dev/fd/{reader}"

    yield pipe
    for reader in ends:
        os.close(reader)
    for thread in threads:
        thread.join()


def refusal(path: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.read(path, environ={})
    message = str(caught.value)
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


class TestWhatIsNoFile:
    def test_a_folder(self, tmp_path):
        assert refusal(tmp_path) == "is a directory"

    def test_a_fifo_that_nobody_writes_into_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        assert refusal(tmp_path / "fifo") == "is a pipe that nobody writes into"

    def test_a_pipe_is_read_to_its_end(self, piped):
        # More than a pipe holds: the reader is faster than the writer, and the other way round.
        raw = b"#" * 200_000 + b"\n[host]\ntimeout = 7\n"
        assert Settings.read(piped(raw), environ={}).host.timeout == 7

    def test_a_pipe_whose_writer_says_nothing_is_given_up(self, monkeypatch):
        monkeypatch.setattr("psengine_host.settings.files._PIPE_PATIENCE", 0.05)
        reader, writer = os.pipe()
        try:
            assert refusal(f"/dev/fd/{reader}") == "is a pipe whose writer took longer than 0.05 s"
        finally:
            os.close(reader)
            os.close(writer)

    def test_too_much_through_a_pipe(self, piped):
        assert refusal(piped(b"#" * (LONGEST_FILE + 1))) == "is longer than 1048576 bytes; is it the right file?"

    def test_the_null_device_is_an_empty_file(self):
        assert Settings.read(os.devnull, environ={}) == Settings()

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/ptmx"])
    def test_another_device(self, path):
        assert refusal(path) == "is no regular file"

    def test_a_socket(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
            assert refusal("socket") == "no such device or address"

    def test_a_link_to_itself(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        assert refusal(tmp_path / "loop") == "too many levels of symbolic links"

    def test_a_name_that_is_too_long(self):
        assert refusal("x" * 5_000).endswith("file name too long")

    def test_a_file_in_the_place_of_the_folder(self, written, monkeypatch):
        path = written(b"")
        assert refusal(path / "psengine.toml") == "not a directory"
        monkeypatch.setenv("XDG_CONFIG_HOME", str(path))
        assert Settings.read(environ={}) == Settings()  # nobody asked for that file

    def test_one_that_may_not_be_read(self, written):
        path = written(b"")
        path.chmod(0)
        root = os.geteuid() == 0
        if root:  # root may read everything
            os.seteuid(65534)
        try:
            assert refusal(path) == "permission denied"
        finally:
            if root:
                os.seteuid(0)


class TestWhatIsNoToml:
    def test_more_than_a_mebibyte(self, written):
        assert Settings.read(written(b"#" * LONGEST_FILE), environ={}) == Settings()
        assert refusal(written(b"#" * (LONGEST_FILE + 1))) == "is longer than 1048576 bytes; is it the right file?"

    def test_a_byte_order_mark_is_no_mistake(self, written):
        assert Settings.read(written(b"\xef\xbb\xbf[host]\r\ntimeout = 7\r\n"), environ={}).host.timeout == 7

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"[host]\ntimeout = \xff", "is not UTF-8 (byte 17)"),
            (b"a = " + b"[" * 100_000, "is nested too deeply"),
            (b"a = " + b"{a=" * 100_000, "is nested too deeply"),
            (b"a." * 100_000 + b"a = 1", "a key has more than 100 parts"),
            (b"[" + b'"".' * 100_000 + b"a]", "a key has more than 100 parts"),
            (b"[ a" + b" . 'a b'" * 100_000 + b" ]", "a key has more than 100 parts"),
            (b"[host]\ntimeout = " + b"9" * 5_000, "holds a number of thousands of digits"),
            (b"[host\ntimeout = 5", "Expected ']' at the end of a table declaration (at line 1, column 6)"),
            (b"[host]\n[host]", "the table [host] is there twice; make it one (at line 2, column 6)"),
            (b"[a.b]\n[a]\n[a.b]", "the table [a.b] is there twice; make it one (at line 3, column 5)"),
            (b"[a.b]\n[a]\nb.c=1\n\n", "the table [a.b] is there twice; make it one (at line 3, column 6)"),
            (b"[host]\ntries=1\ntries=2\n", f"{TWICE} (at line 3, column 8)"),
            (b"host=1\n[host]\n", f"{TWICE} (at line 2, column 6)"),
            (b"[a]\nb={c=1,c=2}", "the setting c is there twice; leave one out (at line 2, column 11)"),
            (b"a={b=1}\na.c=1\n", f"the table [a] {NOTHING_ADDED} (at line 2, column 6)"),
            (b"a = '\x00'", "Found invalid character '\\x00' (at line 1, column 6)"),
        ],
    )
    def test_is_refused_at_once(self, written, raw, message):
        began = time.monotonic()
        assert refusal(written(raw)) == message
        assert time.monotonic() - began < 10

    @pytest.mark.parametrize(
        "text", [b"a" * 900_000, b'"' * 900_000, b"'a'" * 300_000, b"a b " * 200_000, b". " * 400_000]
    )
    def test_what_only_looks_like_a_long_key_costs_no_time(self, written, text):
        began = time.monotonic()
        refusal(written(text))
        assert time.monotonic() - began < 10

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (b"1e400", "host.timeout: inf is no duration: it must be 0 seconds or more, and finite"),
            (
                b"0x" + b"f" * 4_000,
                "host.timeout: an integer of 16000 bits is no duration: it must be 0 seconds or more,",
            ),
            (b"-1", "host.timeout: -1 is no duration"),
            (b"[[[1]]]", "host.timeout: [[[1]]] is no duration"),
            (b"{ a = 1 }", "host.timeout: {'a': 1} is no duration"),
        ],
    )
    def test_numbers_that_are_none_of_this_world(self, written, value, message):
        assert refusal(written(b"[host]\ntimeout = " + value)).startswith(message)

    def test_an_engine_s_table_may_be_deep_but_not_endless(self, written):
        assert Settings.read(written(b"[engines.a" + b".b" * 60 + b"]\nc = [1]"), environ={}).engines["a"]["b"]
        assert refusal(written(b"[engines.a" + b".b" * 70 + b"]")) == "engines.a: is nested deeper than 64"
        assert refusal(written(b"[engines.a]\nb = " + b"[" * 70 + b"]" * 70)) == "engines.a: is nested deeper than 64"

    @given(st.binary(max_size=300))
    def test_any_bytes_are_read_or_refused(self, tmp_path_factory, raw):
        path = tmp_path_factory.mktemp("any") / "psengine.toml"
        path.write_bytes(raw)
        try:
            table, _ = load_file(str(path), required=True)
        except SettingsError as error:
            message = str(error)
        else:
            assert isinstance(table, dict)
            return
        assert message.isprintable()


class TestRelativePaths:
    def test_count_from_the_folder_of_the_file(self, written, tmp_path, monkeypatch):
        monkeypatch.chdir("/")
        path = written(b"[network]\nca_file = 'ca.pem'\n[webhook]\nsecret_file = '../secret'\n")
        settings = Settings.read(path, environ={})
        assert settings.network.ca_file == str(tmp_path / "ca.pem")
        assert settings.webhook.secret_file == str(tmp_path.parent / "secret")
        monkeypatch.chdir(tmp_path)
        assert Settings.read("psengine.toml", environ={}) == settings

    def test_of_a_variable_or_an_option_count_from_the_working_directory(self, written, tmp_path, monkeypatch):
        path = written(b"[network]\nca_file = 'ca.pem'\n")
        monkeypatch.chdir("/usr")
        environ = {"PSENGINE_NETWORK_CA_FILE": "ca.pem"}
        assert Settings.read(path, environ=environ).network.ca_file == "/usr/ca.pem"
        options = {"network.ca_file": "../ca.pem"}
        assert Settings.read(path, environ=environ, options=options).network.ca_file == "/ca.pem"

    def test_through_a_pipe_too(self, piped, monkeypatch):
        monkeypatch.chdir("/usr")
        assert Settings.read(piped(b"network.ca_file = 'ca.pem'"), environ={}).network.ca_file == "/usr/ca.pem"

    def test_a_tilde_is_the_user_s_home(self, written, monkeypatch):
        monkeypatch.setenv("HOME", "/home/somebody")
        assert (
            Settings.read(written(b"network.ca_file = '~/ca.pem'"), environ={}).network.ca_file
            == "/home/somebody/ca.pem"
        )
