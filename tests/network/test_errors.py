"""What messages show of foreign text."""

import pickle

import pytest

from psengine_host.errors import PsengineError
from psengine_host.network import FetchError, NetworkError
from psengine_host.network.errors import Unreachable, clean, masked


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://host/path", "https://host/path"),
        ("https://host/path?nonce=secret#x", "https://host/path?…"),
        ("https://host/path#secret", "https://host/path"),
        ("https://user:secret@host:80/p@th", "https://***@host:80/p@th"),
        ("https://se@cret@host/", "https://***@host/"),
        ("https:user:secret@host/", "https:***@host/"),
        ("https:\\\\user:secret@host/", "https:\\\\***@host/"),
        ("//user:secret@host/x", "//***@host/x"),
        ("https://user:se/cret@host/x", "https://***@host/x"),
        ("https://host:80/x@y", "https://host:80/x@y"),
        ("data:image/png;base64,c2VjcmV0", "data:image/png;base64,…"),
        ("data:" + "x" * 500, "data:" + "x" * 55 + ",…"),
        ("http://h/\n\x1b[31m", "http://h/\\n\\x1b[31m"),
        ("http://h/" + "x" * 5000, "http://h/" + "x" * 191 + "…"),
        ("", ""),
    ],
)
def test_uris_are_shown_without_secrets(uri, shown):
    assert masked(uri) == shown


def test_foreign_text_is_one_short_printable_line():
    assert clean("a\r\nb\0\u202e") == "a\\r\\nb\\x00\\u202e"
    assert clean("x" * 300) == "x" * 200 + "…"
    assert clean("\ud800") == "\\ud800"


def test_the_tree_and_pickling():
    error = pickle.loads(pickle.dumps(FetchError("http://u:p@h/?q", "no")))
    assert (error.uri, error.reason, str(error)) == ("http://u:p@h/?q", "no", "cannot fetch http://***@h/?…: no")
    again = pickle.loads(pickle.dumps(Unreachable("later", 3.0)))
    assert (again.reason, again.retry_after) == ("later", 3.0)
    assert issubclass(FetchError, NetworkError)
    assert issubclass(NetworkError, PsengineError)
