"""Words for people and lines for programs; everything that reaches a terminal goes through here.

Nothing that came from outside (names, tags, hosts, messages of errors) can break a line, move the
cursor or turn text around: `to_line` is applied to all that is written, in one place.
Paths come as the text of `model.names.to_text`, which is printable already.
"""

import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from backapp_core.model.names import to_line


def local_time(moment: datetime) -> str:
    """Return a moment in the time zone of this machine, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def local_time_of_ns(moment_ns: int) -> str:
    """Return a file's time as `local_time` does; its bare seconds where the calendar ends."""
    try:
        return local_time(datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC))
    except (OverflowError, ValueError, OSError):
        return f"{moment_ns // 1_000_000_000:>19}"


def iso_time(moment: datetime | None) -> str | None:
    """Return a moment as ISO 8601 with its offset, for programs."""
    return None if moment is None else moment.isoformat()


def width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> list[str]:
    """Return the lines of a table; a cell may hold several lines, the last column is not padded.

    Args:
        headings: One per column.
        rows: The cells, as text; each line of a cell is made printable.
        right: Indexes of columns that are aligned to the right.
    """
    cells = [[[to_line(line) for line in cell.split("\n")] for cell in row] for row in rows]
    widths = [
        max([width(heading), *(width(line) for row in cells for line in row[column])])
        for column, heading in enumerate(headings)
    ]
    lines = [_row(headings, widths, right), "-" * min(sum(widths) + 2 * len(widths) - 2, 79)]
    for row in cells:
        lines.extend(
            _row([cell[i] if i < len(cell) else "" for cell in row], widths, right)
            for i in range(max(map(len, row)))
        )
    return lines


def json_line(fields: dict[str, object]) -> str:
    """Return ``fields`` as JSON on one line in which every character is printable."""
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    if text.isprintable():
        return text
    # Beyond ASCII only texts hold such characters, so the escape is always inside quotes.
    return "".join(char if char.isprintable() else _json_escape(char) for char in text)


class OutputLost(Exception):
    """A line could not be written, as on a full disk."""


class Output:
    """Where words go: results to standard output, everything else to standard error."""

    def __init__(self) -> None:
        self.is_json = False
        self.is_quiet = False
        self.has_data_on_stdout = False
        """Whether standard output carries a file's bytes, so that no message may go there."""

    def line(self, text: str = "") -> None:
        """Write one line of result for people; nothing if programs listen."""
        if not self.is_json:
            _write(sys.stdout, to_line(text))

    def lines(self, texts: Sequence[str]) -> None:
        """Write several lines as `line` does."""
        for text in texts:
            self.line(text)

    def remark(self, text: str = "") -> None:
        """Write one line of result for people unless they asked for quiet."""
        if not self.is_quiet:
            self.line(text)

    def message(self, message_type: str, fields: dict[str, object]) -> None:
        """Write one line of result for programs; nothing if people read."""
        if self.is_json and not self.has_data_on_stdout:
            _write(sys.stdout, json_line({"message_type": message_type, **fields}))

    def flush(self) -> None:
        """Hand over what was written so far.

        Raises:
            BrokenPipeError: If the reader is gone.
            OutputLost: If it cannot be written for another reason.
        """
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(error.strerror or str(error)) from error

    def note(self, text: str) -> None:
        """Write one line to standard error."""
        _write(sys.stderr, to_line(text))

    def error(self, text: str, code: int) -> None:
        """Say why the program ends, to people and, if they listen, to programs."""
        sentence = to_line(" ".join(text.split("\n")))
        if self.is_json and not self.has_data_on_stdout:
            self.message("exit_error", {"code": code, "message": sentence})
        _write(sys.stderr, f"backapp: {sentence}")


def _write(stream: TextIO, text: str) -> None:
    """Write a line.

    Raises:
        BrokenPipeError: If the reader is gone.
        OutputLost: If it cannot be written for another reason.
    """
    try:
        stream.write(text + "\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(error.strerror or str(error)) from error


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded: list[str] = []
    for column, cell in enumerate(cells):
        gap = " " * (widths[column] - width(cell))
        padded.append(gap + cell if column in right else cell + gap)
    return "  ".join(padded).rstrip()
