"""What every scanner must do that finds a stream instead of files.

::

    class TestMine(StreamScannerContract):
        @pytest.fixture
        def open_scanner(self):
            return lambda path, content, is_failing, surroundings: open_mine(...)
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.errors import CommandFailed, RunCancelled
from backapp_core.events import Recording
from backapp_core.model.entries import Entry, EntryKind
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner
from backapp_core.ports.surroundings import Surroundings

OpenScanner = Callable[[bytes, bytes, bool, Surroundings], Scanner]
_PATH = b"/dumps/of today/\xff"
_CONTENT = bytes(range(256)) * 1000
_NOBODY = 2**32 - 3


class StreamScannerContract:
    """The contract of `backapp_core.ports.scanners` where `Scanner.has_streams`."""

    @pytest.fixture
    def open_scanner(self) -> OpenScanner:
        """Supply a function that opens a scanner of one stream.

        It is told the path of the stream, its content, and whether it has a bad end.
        """
        raise NotImplementedError

    @pytest.fixture
    def surroundings(self, tmp_path: Path) -> Surroundings:
        """What the scanner finds around it."""
        return Surroundings(tmp_path / "cache", tmp_path / "state", events=Recording())

    @pytest.fixture
    def scanner(self, open_scanner: OpenScanner, surroundings: Surroundings) -> Scanner:
        """A scanner of a stream with a good end."""
        return open_scanner(_PATH, _CONTENT, False, surroundings)  # noqa: FBT003  # as in the type

    @pytest.fixture
    def failing(self, open_scanner: OpenScanner, surroundings: Surroundings) -> Scanner:
        """A scanner of a stream with a bad end."""
        return open_scanner(_PATH, _CONTENT, True, surroundings)  # noqa: FBT003  # as in the type

    def test_the_only_root_is_the_stream(self, scanner: Scanner) -> None:
        assert scanner.roots == (_PATH,)
        assert scanner.has_streams

    def test_folders_on_the_way_come_first_and_hold_nothing_else(self, scanner: Scanner) -> None:
        folders = list(scanner.scan())
        assert [one.path for one in folders] == [b"/", b"/dumps", b"/dumps/of today"]
        assert [[entry.name for entry in one.entries] for one in folders] == [[], [], [b"\xff"]]
        assert all(one.entry.kind is EntryKind.DIRECTORY for one in folders)
        [entry] = folders[-1].entries
        assert (entry.kind, entry.links) == (EntryKind.FILE, 1)
        assert folders[-1].attributes(entry) == folders[-1].attributes(None) == ()
        assert scanner.problems == 0

    def test_every_scan_gives_it_other_times(self, scanner: Scanner) -> None:
        times = [_found(scanner)[1].ctime_ns for _ in range(3)]
        assert len(set(times)) == len(times)

    @pytest.mark.parametrize("step", [1000, len(_CONTENT) // 2, len(_CONTENT), 8 << 20])
    def test_all_of_it_comes_and_only_the_last_read_is_short(
        self, scanner: Scanner, step: int
    ) -> None:
        with _opened(scanner) as stream:
            assert stream.is_stream
            assert stream.extents() is None
            assert _read(stream, step) == _CONTENT
            assert stream.read_at(len(_CONTENT), step) == b""
            assert not stream.has_changed()

    @pytest.mark.parametrize("step", [1000, len(_CONTENT) // 2, len(_CONTENT), 8 << 20])
    def test_a_bad_end_is_said_instead_of_a_short_read(self, failing: Scanner, step: int) -> None:
        with _opened(failing) as stream, pytest.raises(CommandFailed):
            _read(stream, step)

    def test_it_is_not_read_just_to_find_out_how_long_it_is(self, scanner: Scanner) -> None:
        folder, entry = _found(scanner)
        assert folder.read_whole(entry, 1 << 20) is None
        with folder.open(entry) as stream:
            assert _read(stream, 4096) == _CONTENT

    def test_it_can_be_closed_at_any_point_and_twice(self, scanner: Scanner) -> None:
        for length in (0, 1, len(_CONTENT)):
            stream = _opened(scanner)
            stream.read_at(0, length)
            stream.close()
            stream.close()

    def test_it_outlives_its_directory(self, scanner: Scanner) -> None:
        folder, entry = _found(scanner)
        with folder.open(entry) as stream:
            folder.close()
            folder.close()
            assert _read(stream, 4096) == _CONTENT

    def test_a_cancelled_scan_ends(self, scanner: Scanner, surroundings: Surroundings) -> None:
        surroundings.cancel.cancel()
        with pytest.raises(RunCancelled):
            list(scanner.scan())

    def test_an_owner_without_a_name_has_an_empty_one(self, scanner: Scanner) -> None:
        assert scanner.user_name(_NOBODY) == scanner.group_name(_NOBODY) == ""


def _found(scanner: Scanner) -> tuple[FoundDirectory, Entry]:
    *_, folder = scanner.scan()
    return folder, folder.entries[0]


def _opened(scanner: Scanner) -> OpenedFile:
    folder, entry = _found(scanner)
    return folder.open(entry)


def _read(stream: OpenedFile, step: int) -> bytes:
    pieces: list[bytes] = []
    position = 0
    while not pieces or len(pieces[-1]) == step:
        pieces.append(stream.read_at(position, step))
        position += len(pieces[-1])
    return b"".join(pieces)
