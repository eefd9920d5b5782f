import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.model.names import from_text, to_line, to_text

HOSTILE = [
    "a\nb",
    "\x1b[2J",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u2066",
    "\x85",
    "\0",
    "\ud800",
    "\udcff",
]


@given(st.binary())
def test_every_path_is_printable_text_and_back(path):
    assert to_text(path).isprintable()
    assert from_text(to_text(path)) == path


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl"])))
def test_every_text_is_one_printable_line(text):
    assert to_line(text).isprintable()


@given(st.text().filter(str.isprintable))
def test_printable_text_stays_as_it_is(text):
    assert to_line(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_breaks_lines_or_moves_the_cursor_is_written_out(text):
    assert to_line(text).isascii()
    assert "\\x" in to_line(text)


def test_bytes_that_are_no_utf_8_are_written_as_those_bytes():
    assert to_line("a\udcff") == "a\\xff"
    assert to_text(b"a\xff\\") == "a\\xff\\x5c"
