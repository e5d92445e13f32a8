import encodings.aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psengine_host.toolkit.decoding import decode

TEXT_ENCODINGS = sorted(
    {"locale", "utf_8_sig", *encodings.aliases.aliases.values()}
    - {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"}
)


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"plain", "utf-8", "plain"),
        ("größer".encode(), "utf-8", "größer"),
        (b"\xef\xbb\xbfmarked", "utf-8", "marked"),
        (b"\xef\xbb\xbfmarked", "utf-8-sig", "marked"),
        (b"a\xffb", "utf-8", "a\ufffdb"),
        (b"gr\xf6\xdfer \x93x\x94 \x80", "cp1252", "größer “x” €"),
        (b"\x81\x8d\x8f\x90\x9d", "cp1252", "\x81\x8d\x8f\x90\x9d"),
        (b"\x81\x8d\x8f\x90\x9d", "windows-1252", "\x81\x8d\x8f\x90\x9d"),
        (b"\xd2", "cp1253", "\ufffd"),
        (b"gr\x94\xe1er", "cp850", "größer"),
        (b"gr\x94\xe1er \xcd", "cp437", "größer ═"),
        (b"gr\xf6\xdfer", "latin-1", "größer"),
        (b"\xff\xfea\0\xf6\0", "utf-16", "aö"),
        (b"\xfe\xff\0a\0\xf6", "utf-16", "aö"),
        (b"a\0\xf6\0", "utf-16", "aö"),
        (b"a\0\xf6\0", "UTF16", "aö"),
        (b"\xff\xfea\0", "utf-16-le", "a"),
        (b"a\0b\0c", "utf-16", "ab\ufffd"),
        (b"a\0\x00\xd8b\0", "utf-16", "a\ufffdb"),
        ("𝄞".encode("utf-16-le"), "utf-16", "𝄞"),
        (b"\xff\xfe\0\0a\0\0\0", "utf-32", "a"),
        ("ウイルス".encode("shift_jis"), "shift_jis", "ウイルス"),
        (b"ascii", "locale", "ascii"),
        (b"", "utf-16", ""),
        (b"a\0b", "utf-8", "a\0b"),
    ],
)
def test_a_program_is_read_in_its_encoding(data, encoding, text):
    assert decode(data, encoding) == text


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp850", "utf-16", "utf-16-be", "shift_jis"])
def test_lines_end_in_a_line_feed_however_they_were_ended(encoding):
    written = "one\r\ntwo\rthree\nfour\r\n".encode(encoding)
    assert decode(written, encoding) == "one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("a€", "utf-8"), ("𝄞𝄞", "utf-8"), ("a𝄞", "utf-16-le"), ("ウイ", "shift_jis"), ("a", "utf-32-le")],
)
def test_a_character_that_was_cut_is_left_out_wherever_it_was_cut(text, encoding):
    data = text.encode(encoding)
    for length in range(len(data)):
        cut = decode(data[:length], encoding, cut=True)
        assert text.startswith(cut)
        assert "\ufffd" not in cut
    assert decode(data, encoding, cut=True) == text


def test_a_wrong_sequence_too_long_to_be_kept_back_at_a_cut():
    assert decode(b"\x1b$~\\~/\x0f\\\r", "iso2022_jp", cut=True) == "\ufffd"


def test_what_was_not_cut_shows_that_it_is_incomplete():
    assert decode("a€".encode()[:-1]) == "a\ufffd"


@pytest.mark.parametrize("encoding", TEXT_ENCODINGS)
@given(data=st.binary(max_size=200), cut=st.booleans())
def test_no_bytes_fail_in_any_encoding(encoding, data, cut):
    text = decode(data, encoding, cut=cut)
    assert isinstance(text, str)
    assert "\r" not in text


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf_9", "there is no encoding 'utf_9'; did you mean 'utf_8'?"),
        ("locael", "there is no encoding 'locael'; did you mean 'locale'?"),
        ("windows1252", "there is no encoding 'windows1252'; did you mean 'windows_1252'?"),
        ("zzzzzz", "there is no encoding 'zzzzzz'"),
        ("", "there is no encoding ''"),
        ("a\0b", "there is no encoding 'a\\x00b'"),
        ("undefined", "there is no encoding 'undefined'"),
    ],
)
def test_an_unknown_encoding_is_told_the_nearest(encoding, message):
    with pytest.raises(ValueError, match="encoding") as caught:
        decode(b"", encoding)
    assert str(caught.value) == message


@pytest.mark.parametrize("encoding", ["hex", "base64", "zlib", "rot13", "idna", "punycode", "unicode_escape"])
def test_codecs_that_are_no_encodings_of_output_are_refused(encoding):
    with pytest.raises(ValueError, match="there is no encoding"):
        decode(b"00", encoding)


def test_an_encoding_is_named_by_text():
    with pytest.raises(ValueError, match="named by a text, not by int"):
        decode(b"", 1252)
