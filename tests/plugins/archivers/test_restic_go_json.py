"""Strings are written as Go writes them, and names of any bytes come back."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.archivers.restic.format.go_json import (
    escaped,
    mended,
    name_of,
    name_text,
    string_text,
    valid_text,
)

QUOTED = [
    (b"plain name-1.txt", "plain name-1.txt"),
    (b'quote"dq', r"quote\\\"dq"),
    (b"back\\slash", r"back\\\\slash"),
    (b"nl\nx", r"nl\\nx"),
    (b"\a\b\v\f\r\t", r"\\a\\b\\v\\f\\r\\t"),
    (b"\x1b\0\x7f", r"\\x1b\\x00\\x7f"),
    ("\x85\xa0\xad\u0378\u200b\u3000\ue000\ufeff".encode(), None),
    (b"\xff\xfe", r"\\xff\\xfe"),
    (b"\xe2\x82", r"\\xe2\\x82"),
    (b"\xed\xa0\x80", r"\\xed\\xa0\\x80"),
    (b"lt<gt>&amp", r"lt\u003cgt\u003e\u0026amp"),
    ("ä a\u0308 😀 \ufffd ' `".encode(), "ä a\u0308 😀 \ufffd ' `"),
    ("\u2028\u2029".encode(), r"\\u2028\\u2029"),
    ("\U000e0001".encode(), r"\\U000e0001"),
    ("ä<".encode(), r"ä\u003c"),
]


@pytest.mark.parametrize(("name", "text"), QUOTED)
def test_name_is_quoted_as_restic_does(name, text):
    wanted = r"\\u0085\\u00a0\\u00ad\\u0378\\u200b\\u3000\\ue000\\ufeff" if text is None else text
    assert name_text(name) == wanted
    assert name_of(json.loads(f'"{wanted}"')) == name


def test_root_is_called_by_the_last_part_of_its_path():
    assert name_text(b"/home/me") == "me"
    assert name_text(b"/home/\xff") == r"\\xff"


@given(st.binary().filter(lambda name: b"/" not in name))
def test_name_of_any_bytes_comes_back(name):
    quoted = msgspec.json.decode(f'"{name_text(name)}"'.encode())
    assert name_of(quoted) == name


@given(st.text())
def test_any_name_in_unicode_comes_back(name):
    raw = name.replace("/", "").encode()
    assert name_of(json.loads(f'"{name_text(raw)}"')) == raw


@pytest.mark.parametrize(
    ("quoted", "name"),
    [
        (r"\101\060", b"A0"),
        (r"\377", b"\xff"),
        (r"\xFF\xfF", b"\xff\xff"),
        (r"\u00E4", "ä".encode()),
        (r"\U0001F600", "😀".encode()),
        (r"\u0041", b"A"),
        ("\ufffd", "\ufffd".encode()),
        ("", b""),
    ],
)
def test_other_spellings_of_names_are_read(quoted, name):
    assert name_of(quoted) == name


@pytest.mark.parametrize(
    "quoted",
    ['"', "\\", r"\q", r"\'", r"\x4", r"\08", r"\400", r"\ud800", r"\U00110000", "a\nb", r"\u004"],
)
def test_name_that_restic_would_refuse_is_refused(quoted):
    with pytest.raises(ValueError, match=r"name|surrogates"):
        name_of(quoted)


def test_bytes_that_are_no_utf8_are_six_characters_in_other_strings():
    assert (
        string_text(b"a\xff\xe2\x82".decode("utf-8", "surrogateescape")) == r"a\ufffd\ufffd\ufffd"
    )
    assert string_text("\ufffd") == "\ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_of_another_encoder_is_escaped_alike(string):
    assert escaped(msgspec.json.encode(string)) == f'"{string_text(string)}"'.encode()
    assert json.loads(f'"{string_text(string)}"') == string


def test_characters_with_escapes_of_their_own_are_written_as_by_go():
    assert string_text('\b\f\n\r\t\0\x1f\x7f"\\/<') == (
        r"\u0008\u000c\n\r\t\u0000\u001f" + "\x7f" + r"\"\\/\u003c"
    )


@given(st.binary(), st.text(st.characters()))
def test_what_is_broken_in_strings_is_mended(raw, text):
    raw = bytes(byte for byte in raw if byte >= 0x20 and byte not in b'"\\')
    # Python writes a lone surrogate as an escape of its own.
    document = b'[%b,"%b"]' % (json.dumps([text, r"\ud800", "\\"])[1:-1].encode(), raw)
    assert msgspec.json.decode(mended(document)) == [
        valid_text(json.loads(json.dumps(text))),
        r"\ud800",
        "\\",
        valid_text(raw.decode("utf-8", "surrogateescape")),
    ]


def test_each_bad_byte_is_one_replacement_as_in_go():
    assert mended(b'"\xe2\x82\xff"') == '"\ufffd\ufffd\ufffd"'.encode()
    assert mended(rb'"\ud800\ud83d\ude00\udc00"') == '"\ufffd\\ud83d\\ude00\ufffd"'.encode()
