"""What reaches a terminal is one printable line per line."""

import json
from datetime import UTC, datetime
from typing import cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from backapp_cli.commands.snapshots import _listing
from backapp_cli.plain import snapshot_fields
from backapp_cli.show import (
    Output,
    json_line,
    local_time_of_ns,
    table,
    width,
)
from backapp_core.model.snapshots import Counts, Snapshot

_NASTY = "a\x1b[31m\r\n\x07\x9b\u202e\u2028\u2066\x7f\udcff\ud800b"


def test_a_time_beyond_the_calendar_is_shown_in_seconds() -> None:
    assert local_time_of_ns(2**62 * 1_000_000_000).strip() == str(2**62)


@given(st.text())
@settings(max_examples=100)
def test_json_is_one_printable_line_that_reads_back(text: str) -> None:
    line = json_line({"name": text})
    assert line.isprintable()
    assert json.loads(line) == {"name": text}


def test_json_keeps_what_is_no_surrogate_pair() -> None:
    line = json_line({"tag": _NASTY, "more": "\U000e0001"})
    assert line.isprintable()
    assert json.loads(line) == {"tag": _NASTY, "more": "\U000e0001"}


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
@settings(max_examples=100)
def test_no_cell_of_a_table_can_break_its_line(rows: list[tuple[str, str]]) -> None:
    lines = table(("One", "Two"), [(one.replace("\n", ""), two) for one, two in rows])
    assert all(line.isprintable() for line in lines)


def test_columns_align_although_characters_are_wide() -> None:
    lines = table(("Name", "Size"), [("漢字", "1"), ("e\u0301te\u0301", "22")], right=(1,))
    assert [width(line) for line in lines] == [10, 10, 10, 10]


def test_cells_of_several_lines_stay_in_their_column() -> None:
    lines = table(("A", "B", "C"), [("1", "x\ny", "p\nq")])
    assert lines[2:] == ["1  x  p", "   y  q"]


@pytest.mark.parametrize("is_json", [False, True])
def test_nothing_that_is_written_controls_the_terminal(capsys, *, is_json: bool) -> None:
    output = Output()
    output.is_json = is_json
    output.line(_NASTY)
    output.note(_NASTY)
    output.message("x", {"y": _NASTY})
    output.error(_NASTY, 1)
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n"))


def test_markup_and_backslashes_are_just_characters(capsys) -> None:
    Output().line(r"[red]x[/red] :smile: \x1b {0} %s")
    assert capsys.readouterr().out == "[red]x[/red] :smile: \\x1b {0} %s\n"


def test_times_are_local(monkeypatch) -> None:
    from backapp_cli.show import iso_time, local_time

    moment = datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC)
    assert local_time(moment)[14:] == "00:07"
    assert iso_time(moment) == "2026-05-01T12:00:07+00:00"
    assert iso_time(None) is None


def test_nothing_is_said_of_counts_that_nobody_recorded() -> None:
    plain = Snapshot("ab" * 32, datetime(2026, 1, 2, tzinfo=UTC), "host", "user", (b"/a",))
    assert snapshot_fields(plain)["summary"] is None
    empty_file = evolve(plain, counts=Counts(files_new=1, directories=1))
    summary = cast("dict[str, object]", snapshot_fields(empty_file)["summary"])
    assert summary["total_bytes_processed"] == 0
    sizes = [line.split()[4] for line in _listing([plain, empty_file])[-2:]]
    assert sizes == ["/a", "0"]  # and its unit
