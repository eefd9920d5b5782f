"""What every scanner must do.

::

    class TestMine(ScannerContract):
        @pytest.fixture
        def open_scanner(self):
            return lambda roots, surroundings: open_mine(MineSettings(roots), surroundings)

A scanner of something else than the local file system also supplies `top`, `place` and `change`.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from backapp_core.errors import (
    EntryReplaced,
    EntryVanished,
    InputError,
    RunCancelled,
    SourceNotFound,
)
from backapp_core.events import Recording
from backapp_core.model.entries import EntryKind, path_key
from backapp_core.ports.scanners import FoundDirectory, Scanner
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.hostile_tree import hostile_tree
from backapp_core.testing.scanner_probe import (
    change_on_disk,
    check_content,
    check_read_elsewhere,
    facts_of,
    facts_wanted,
    opened_at,
    see,
    up_to,
)
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink

OpenScanner = Callable[[Sequence[bytes], Surroundings], Scanner]
Place = Callable[[TreeSpec], None]
Change = Callable[[bytes, Item | None], None]
_NOBODY = 2**32 - 3
_SMALL = TreeSpec(
    {
        b"a/one": Item(b"first"),
        b"a/two": Item(b"second", mode=0o600),
        b"a/link": symlink(b"one"),
        b"a/below/three": Item(b"third"),
        b"a-b/four": Item(b"fourth"),
        b"file": Item(b"at the top"),
    }
)


class ScannerContract:
    """The contract of `backapp_core.ports.scanners`; inherit it and supply `open_scanner`."""

    @pytest.fixture
    def open_scanner(self) -> OpenScanner:
        """Supply a function that opens a scanner of absolute roots."""
        raise NotImplementedError

    @pytest.fixture
    def top(self, tmp_path: Path) -> bytes:
        """Absolute path below which the trees of the tests stand."""
        return os.fsencode(tmp_path) + b"/source"

    @pytest.fixture
    def place(self, top: bytes) -> Place:
        """Puts a tree below `top`."""
        return lambda tree: tree.write(top)

    @pytest.fixture
    def change(self, top: bytes) -> Change:
        """Puts another item at a path of the tree, or nothing; what was there goes whole."""
        return lambda path, item: change_on_disk(top, path, item)

    @pytest.fixture
    def hostile(self) -> TreeSpec:
        """The worst tree that this scanner must see whole; narrow it where it cannot."""
        is_root = os.geteuid() == 0
        tree = hostile_tree(as_root=is_root)
        return tree if is_root else tree.only(lambda path, _: b"closed folder" not in path)

    @pytest.fixture
    def events(self) -> Recording:
        """What the scanner reported."""
        return Recording()

    @pytest.fixture
    def surroundings(self, tmp_path: Path, events: Recording) -> Surroundings:
        """What the scanner finds around it."""
        return Surroundings(tmp_path / "cache", tmp_path / "state", events=events)

    @pytest.fixture
    def scanner(
        self,
        open_scanner: OpenScanner,
        place: Place,
        top: bytes,
        surroundings: Surroundings,
    ) -> Scanner:
        """A scanner of a small tree."""
        place(_SMALL)
        return open_scanner([top], surroundings)

    @pytest.fixture
    def hostile_scanner(
        self,
        open_scanner: OpenScanner,
        place: Place,
        hostile: TreeSpec,
        top: bytes,
        surroundings: Surroundings,
    ) -> Scanner:
        """A scanner of the worst tree."""
        place(hostile)
        return open_scanner([top], surroundings)

    # --- what is handed over ------------------------------------------------------------------

    def test_everything_is_handed_over_once_and_in_scan_order(
        self, hostile_scanner: Scanner, hostile: TreeSpec, top: bytes, events: Recording
    ) -> None:
        seen = see(hostile_scanner, events)
        assert [path_key(path) for path in seen.directories[1:]] == sorted(
            map(path_key, seen.directories[1:])
        )
        assert len(set(seen.directories)) == len(seen.directories)
        wanted = {top + b"/" + path for path in hostile.items}
        assert {path for path in seen.entries if path.startswith(top + b"/")} == wanted
        assert seen.problems == []

    def test_facts_are_those_of_the_tree(
        self, hostile_scanner: Scanner, hostile: TreeSpec, top: bytes, events: Recording
    ) -> None:
        seen = see(hostile_scanner, events)
        for path, item in hostile.items.items():
            entry = seen.entries[top + b"/" + path]
            if item.link_of is not None:
                first = seen.entries[top + b"/" + item.link_of]
                assert entry == first._replace(name=entry.name)
                assert entry.links > 1
            else:
                assert facts_of(entry) == facts_wanted(path, item)

    def test_contents_targets_and_attributes_come_out_as_they_were(
        self, hostile_scanner: Scanner, hostile: TreeSpec, top: bytes
    ) -> None:
        """All directories stay open until the scan has met the last one."""
        scan = hostile_scanner.scan()
        met: list[FoundDirectory] = []
        for found in scan:
            met.append(found)
            if found.path == top + b"/times/old folder":
                break
        checked = 0
        for found in met:
            for entry in found.entries:
                path = (found.path + b"/" + entry.name).removeprefix(top + b"/")
                item = hostile.items[path]
                item = hostile.items[item.link_of] if item.link_of is not None else item
                assert found.attributes(entry) == tuple(sorted(item.xattrs))
                if entry.kind is EntryKind.FILE:
                    with found.open(entry) as opened:
                        check_content(opened, item)
                elif entry.kind is EntryKind.SYMLINK:
                    assert found.link_target(entry) == item.target
                checked += 1
            if found.path.startswith(top + b"/"):
                item = hostile.items[found.path.removeprefix(top + b"/")]
                assert found.attributes(None) == tuple(sorted(item.xattrs))
        assert checked > len(hostile.items) // 2
        check_read_elsewhere(hostile_scanner)

    def test_second_scan_hands_over_the_same(self, scanner: Scanner, events: Recording) -> None:
        first, second = see(scanner, events), see(scanner, events)
        assert second.directories == first.directories
        assert second.entries == first.entries

    def test_ancestors_hold_nothing_but_the_way_to_the_roots(
        self, scanner: Scanner, top: bytes, events: Recording
    ) -> None:
        seen = see(scanner, events)
        parts = top.split(b"/")[1:]
        ancestors = [b"/", *(b"/" + b"/".join(parts[:n]) for n in range(1, len(parts)))]
        assert seen.directories[: len(ancestors) + 1] == [*ancestors, top]
        outside = {path for path in seen.entries if path != top and not path.startswith(top + b"/")}
        assert outside == set(ancestors)
        assert seen.entries[b"/"].name == b"/"
        assert seen.entries[top].name == parts[-1]

    # --- roots --------------------------------------------------------------------------------

    def test_root_that_is_no_directory_is_an_entry_of_its_parent(
        self, scanner: Scanner, open_scanner: OpenScanner, top: bytes, surroundings: Surroundings
    ) -> None:
        del scanner
        roots = [top + b"/a/two", top + b"/a/link", top + b"/file"]
        other = open_scanner(roots, surroundings)
        assert other.roots == (top + b"/a/link", top + b"/a/two", top + b"/file")
        found = {found.path: found.entries for found in other.scan()}
        assert [entry.name for entry in found[top + b"/a"]] == [b"link", b"two"]
        assert [entry.name for entry in found[top]] == [b"file"]
        assert found[top + b"/a"][0].kind is EntryKind.SYMLINK
        assert all(not entries for path, entries in found.items() if not path.startswith(top))
        assert top + b"/a/below" not in found

    def test_nested_and_repeated_roots_count_once(
        self, scanner: Scanner, open_scanner: OpenScanner, top: bytes, surroundings: Surroundings
    ) -> None:
        whole = [found.path for found in scanner.scan()]
        roots = [top + b"/a/below", top, top + b"/", top + b"//a/./two", top]
        other = open_scanner(roots, surroundings)
        assert other.roots == (top,)
        assert [found.path for found in other.scan()] == whole

    def test_sibling_whose_name_begins_alike_is_no_nested_root(
        self, scanner: Scanner, open_scanner: OpenScanner, top: bytes, surroundings: Surroundings
    ) -> None:
        del scanner
        other = open_scanner([top + b"/a-b", top + b"/a"], surroundings)
        assert other.roots == (top + b"/a", top + b"/a-b")
        paths = [found.path for found in other.scan()]
        assert paths[-3:] == [top + b"/a", top + b"/a/below", top + b"/a-b"]

    def test_missing_root_is_one_problem(
        self,
        scanner: Scanner,
        open_scanner: OpenScanner,
        top: bytes,
        surroundings: Surroundings,
        events: Recording,
    ) -> None:
        del scanner
        other = open_scanner([top + b"/a", top + b"/nowhere"], surroundings)
        seen = see(other, events)
        assert events.problem_paths == [top + b"/nowhere"]
        assert other.problems == 1
        assert other.roots == (top + b"/a",), "a snapshot that lacks a root must not claim it"
        assert top + b"/a/one" in seen.entries

    def test_no_root_that_exists_is_refused(
        self, open_scanner: OpenScanner, top: bytes, surroundings: Surroundings
    ) -> None:
        other = open_scanner([top + b"/nowhere", top + b"/never"], surroundings)
        with pytest.raises(SourceNotFound, match="nowhere"):
            next(iter(other.scan()))

    def test_no_root_at_all_is_refused(
        self, open_scanner: OpenScanner, surroundings: Surroundings
    ) -> None:
        with pytest.raises(InputError):
            open_scanner([], surroundings)

    # --- reading ------------------------------------------------------------------------------

    def test_file_is_read_from_any_offset_and_ends_where_it_ends(
        self, scanner: Scanner, top: bytes
    ) -> None:
        with opened_at(scanner, top + b"/a", b"two") as opened:
            assert opened.entry.size_bytes == 6
            assert opened.read_at(0, 100) == b"second"
            assert opened.read_at(2, 3) == b"con"
            assert opened.read_at(4, 100) == b"nd"
            assert opened.read_at(6, 1) == b""
            assert opened.read_at(1000, 1) == b""
            assert opened.extents() is None
            assert not opened.has_changed()

    def test_closing_twice_is_fine(self, scanner: Scanner, top: bytes) -> None:
        scan = scanner.scan()
        found = up_to(scan, top + b"/a")
        opened = found.open(found.entries[1])
        opened.close()
        opened.close()
        found.close()
        found.close()
        assert next(scan).path == top + b"/a/below"

    def test_file_outlives_its_directory(self, scanner: Scanner, top: bytes) -> None:
        scan = scanner.scan()
        with up_to(scan, top + b"/a") as found:
            opened = found.open(found.entries[1])
        with opened:
            assert opened.read_at(0, 9) == b"first"

    def test_change_of_an_opened_file_is_noticed(
        self, scanner: Scanner, top: bytes, change: Change
    ) -> None:
        with opened_at(scanner, top + b"/a", b"one") as opened:
            change(b"a/one", Item(b"something else"))
            assert opened.has_changed()

    # --- what moves under the scan ------------------------------------------------------------

    def test_vanished_entry_is_said_to_have_vanished(
        self, scanner: Scanner, top: bytes, change: Change
    ) -> None:
        scan = scanner.scan()
        found = up_to(scan, top + b"/a")
        for entry in found.entries:
            change(b"a/" + entry.name, None)
        link, one, _ = found.entries
        with pytest.raises(EntryVanished):
            found.open(one)
        with pytest.raises(EntryVanished):
            found.attributes(one)
        with pytest.raises(EntryVanished):
            found.link_target(link)

    @pytest.mark.parametrize(
        "other",
        [
            Item(kind=EntryKind.FIFO),
            Item(kind=EntryKind.SOCKET),
            symlink(b"two"),
            symlink(b"/"),
            directory(),
        ],
        ids=["fifo", "socket", "link to a file", "link to a folder", "folder"],
    )
    def test_file_that_became_something_else_is_not_opened(
        self, scanner: Scanner, top: bytes, change: Change, other: Item
    ) -> None:
        scan = scanner.scan()
        found = up_to(scan, top + b"/a")
        change(b"a/one", other)
        with pytest.raises(EntryReplaced):
            found.open(found.entries[1])

    def test_link_that_became_a_file_has_no_target(
        self, scanner: Scanner, top: bytes, change: Change
    ) -> None:
        scan = scanner.scan()
        found = up_to(scan, top + b"/a")
        change(b"a/link", Item(b"now a file"))
        with pytest.raises(EntryReplaced):
            found.link_target(found.entries[0])

    def test_directory_swapped_for_a_link_leads_nowhere_else(
        self, scanner: Scanner, top: bytes, change: Change
    ) -> None:
        scan = scanner.scan()
        found = up_to(scan, top + b"/a")
        change(b"a", symlink(b"a-b"))
        with found.open(found.entries[1]) as opened:
            assert opened.read_at(0, 9) == b"first"

    def test_directory_that_became_a_link_is_a_problem_and_not_entered(
        self, scanner: Scanner, top: bytes, change: Change, events: Recording
    ) -> None:
        scan = scanner.scan()
        up_to(scan, top)
        change(b"a-b", symlink(b"a"))
        assert [found.path for found in scan] == [top + b"/a", top + b"/a/below"]
        assert events.problem_paths == [top + b"/a-b"]
        assert scanner.problems == 1

    def test_directory_that_vanished_is_one_problem(
        self, scanner: Scanner, top: bytes, change: Change, events: Recording
    ) -> None:
        scan = scanner.scan()
        up_to(scan, top)
        change(b"a", None)
        assert [found.path for found in scan] == [top + b"/a-b"]
        assert events.problem_paths == [top + b"/a"]

    def test_problems_are_those_of_the_last_scan(
        self, scanner: Scanner, top: bytes, change: Change
    ) -> None:
        scan = scanner.scan()
        up_to(scan, top)
        change(b"a", None)
        list(scan)
        assert scanner.problems == 1
        list(scanner.scan())
        assert scanner.problems == 0

    # --- stopping -----------------------------------------------------------------------------

    def test_cancelled_scan_ends(
        self, scanner: Scanner, top: bytes, surroundings: Surroundings
    ) -> None:
        scan = scanner.scan()
        up_to(scan, top)
        surroundings.cancel.cancel()
        with pytest.raises(RunCancelled):
            list(scan)

    def test_scan_can_be_left_in_the_middle(self, scanner: Scanner, top: bytes) -> None:
        up_to(iter(scanner.scan()), top)
        assert next(iter(scanner.scan())).path == b"/"

    def test_owner_without_a_name_has_an_empty_one(self, scanner: Scanner) -> None:
        assert scanner.user_name(_NOBODY) == scanner.group_name(_NOBODY) == ""
