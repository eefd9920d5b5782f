"""What every target of a restore must do.

::

    class TestMine(TargetContract):
        @pytest.fixture
        def reopen(self, tmp_path, events):
            return lambda: MyTarget(tmp_path / "out", events)

        @pytest.fixture
        def look(self, tmp_path):
            return look_below(tmp_path / "out")
"""

import os
import pickle
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from backapp_core.errors import EntryNotRestored
from backapp_core.events import Recording
from backapp_core.model.entries import EntryKind, Node, kind_of_mode
from backapp_core.ports.targets import Errand, FileMaker, Target, TargetFile

_MTIME_NS = 1_600_000_000_123_456_789
_PIECE_BYTES = 4096
_PIECES = 64

HOSTILE_PATHS = (
    b"",
    b"relative",
    b"../up",
    b"/..",
    b"/../up",
    b"/a/../../up",
    b"/a/..",
    b"/./a",
    b"/a/.",
    b"//a",
    b"/a//b",
    b"/a/",
    b"/nul\0nul",
    b"/nul\0/a",
)
"""Paths that no node has and no target writes."""


@frozen
class Seen:
    """What stands at a node path after a restore."""

    kind: EntryKind
    mode: int
    mtime_ns: int
    content: bytes = b""
    """Of a regular file."""
    target: bytes = b""
    """Of a symlink."""
    inode: int = 0
    """The same for all names of one file, different for others."""


Look = Callable[[bytes], Seen | None]


def make_node(path: bytes, kind: EntryKind = EntryKind.FILE, **facts: Any) -> Node:
    """Return a node of whoever runs the test; ``facts`` replace any of its fields."""
    usual: dict[str, Any] = {
        "mode": {EntryKind.DIRECTORY: 0o755, EntryKind.SYMLINK: 0o777}.get(kind, 0o644),
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "user": "",
        "group": "",
        "size_bytes": 0,
        "mtime_ns": _MTIME_NS,
        "ctime_ns": 0,
        "inode": 0,
        "device": 0,
        "links": 1,
    }
    return Node(path=path, kind=kind, **(usual | facts))


def look_below(root: Path) -> Look:
    """Return a look at what stands below a directory of this machine."""

    def look(path: bytes) -> Seen | None:
        place = os.fsencode(root) + path
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return None
        kind = kind_of_mode(status.st_mode)
        return Seen(
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            mtime_ns=status.st_mtime_ns,
            content=Path(os.fsdecode(place)).read_bytes() if kind is EntryKind.FILE else b"",
            target=os.readlink(place) if kind is EntryKind.SYMLINK else b"",  # noqa: PTH115  # bytes
            inode=status.st_ino,
        )

    return look


def write_file(target: Target, node: Node, content: bytes) -> None:
    """Restore a file that is expected to be begun, in one piece."""
    file = target.file(node)
    assert file is not None
    with file:
        file.write_at(0, content)
        file.finish()


def _make_elsewhere(maker: FileMaker, errand: Errand, contents: Sequence[bytes]) -> None:
    before = os.umask(0)
    try:
        arrived: FileMaker = pickle.loads(pickle.dumps(maker))  # noqa: S301  # our own
        arrived.begin()
        for file, content in zip(errand.files, contents, strict=False):
            assert arrived.make(errand.folder, file, content) is None
    finally:
        os.umask(before)


class TargetContract:
    """Inherit it and supply `reopen` and `look`."""

    @pytest.fixture
    def events(self) -> Recording:
        """What `reopen` tells its targets to send events to."""
        return Recording()

    @pytest.fixture
    def reopen(self, events: Recording) -> Callable[[], Target]:
        """Opens a target at one place that is empty at first, any number of times."""
        raise NotImplementedError

    @pytest.fixture
    def look(self) -> Look:
        """Says what stands at a node path below the place of `reopen`."""
        raise NotImplementedError

    @pytest.fixture
    def target(self, reopen: Callable[[], Target]) -> Target:
        """A target at an empty place."""
        return reopen()

    def test_tree_stands_as_the_nodes_say(self, target: Target, look: Look) -> None:
        """Kinds, contents, modes and times; those of directories in spite of what is in them."""
        target.directory(make_node(b"/d", EntryKind.DIRECTORY, mode=0o555, mtime_ns=7))
        write_file(target, make_node(b"/d/f", mode=0o640, size_bytes=5), b"hello")
        target.directory(make_node(b"/d/e", EntryKind.DIRECTORY, mode=0o700, mtime_ns=-1))
        target.links_follow()
        target.special(make_node(b"/d/s", EntryKind.SYMLINK, target=b"../nowhere"))
        target.special(make_node(b"/d/e/p", EntryKind.FIFO, mode=0o600))
        target.close()

        top, file, below = look(b"/d"), look(b"/d/f"), look(b"/d/e")
        assert top is not None
        assert (top.kind, top.mode, top.mtime_ns) == (EntryKind.DIRECTORY, 0o555, 7)
        assert file is not None
        assert (file.content, file.mode, file.mtime_ns) == (b"hello", 0o640, _MTIME_NS)
        assert below is not None
        assert (below.mode, below.mtime_ns) == (0o700, -1)
        link, fifo = look(b"/d/s"), look(b"/d/e/p")
        assert link is not None
        assert (link.kind, link.target, link.mtime_ns) == (
            EntryKind.SYMLINK,
            b"../nowhere",
            _MTIME_NS,
        )
        assert fifo is not None
        assert (fifo.kind, fifo.mode, fifo.mtime_ns) == (EntryKind.FIFO, 0o600, _MTIME_NS)

    def test_file_is_not_there_before_it_is_finished(self, target: Target, look: Look) -> None:
        """It gets its name last."""
        file = target.file(make_node(b"/f", size_bytes=3))
        assert file is not None
        file.write_at(0, b"abc")
        assert look(b"/f") is None
        file.finish()
        seen = look(b"/f")
        assert seen is not None
        assert seen.content == b"abc"
        target.close()

    def test_pieces_come_in_any_order_from_several_threads(
        self, target: Target, look: Look
    ) -> None:
        """And the file may be finished by another one."""
        size = _PIECES * _PIECE_BYTES
        pieces = [(i * _PIECE_BYTES, bytes([i + 1]) * _PIECE_BYTES) for i in range(_PIECES)]
        file = target.file(make_node(b"/f", size_bytes=size))
        assert file is not None
        with ThreadPoolExecutor(4) as pool:
            writes = [pool.submit(file.write_at, *piece) for piece in pieces[1::2] + pieces[::2]]
            for write in writes:
                write.result()
            pool.submit(file.finish).result()
        target.close()
        seen = look(b"/f")
        assert seen is not None
        assert seen.content == b"".join(data for _, data in sorted(pieces))

    def test_what_is_not_written_reads_as_zeros(self, target: Target, look: Look) -> None:
        """Before, between and after the pieces."""
        file = target.file(make_node(b"/f", size_bytes=100_000))
        assert file is not None
        file.write_at(50_000, memoryview(b"middle"))
        file.finish()
        target.close()
        seen = look(b"/f")
        assert seen is not None
        assert seen.content == bytes(50_000) + b"middle" + bytes(49_994)

    def test_abandoned_file_leaves_nothing_and_is_reported(
        self, target: Target, look: Look, events: Recording
    ) -> None:
        """Once, however often it is abandoned."""
        file = target.file(make_node(b"/f", size_bytes=3))
        assert file is not None
        file.write_at(0, b"abc")
        file.abandon("its content is damaged")
        file.abandon("twice")
        target.close()
        assert look(b"/f") is None
        assert events.problem_paths == [b"/f"]

    def test_file_that_is_left_by_an_error_is_abandoned(
        self, target: Target, look: Look, events: Recording
    ) -> None:
        """As a context manager."""

        def begin_and_fail(file: TargetFile) -> None:
            with file:
                raise EntryNotRestored("no more")

        file = target.file(make_node(b"/f"))
        assert file is not None
        with pytest.raises(EntryNotRestored):
            begin_and_fail(file)
        target.close()
        assert look(b"/f") is None
        assert events.problem_paths == [b"/f"]

    def test_abandoning_a_finished_file_does_no_harm(
        self, target: Target, look: Look, events: Recording
    ) -> None:
        """It stays, and nothing is reported."""
        file = target.file(make_node(b"/f"))
        assert file is not None
        file.finish()
        file.abandon("too late")
        target.close()
        assert look(b"/f") is not None
        assert events.problem_paths == []

    def test_several_files_are_open_at_once(self, target: Target, look: Look) -> None:
        """In several directories, finished in another order."""
        target.directory(make_node(b"/a", EntryKind.DIRECTORY))
        first = target.file(make_node(b"/a/1", size_bytes=1))
        target.directory(make_node(b"/b", EntryKind.DIRECTORY))
        second = target.file(make_node(b"/b/2", size_bytes=1))
        assert first is not None
        assert second is not None
        second.write_at(0, b"2")
        first.write_at(0, b"1")
        second.finish()
        first.finish()
        target.links_follow()
        target.close()
        seen = look(b"/a/1"), look(b"/b/2")
        assert [one.content for one in seen if one] == [b"1", b"2"]

    def test_hard_links_share_one_file(self, target: Target, look: Look) -> None:
        """Also across directories."""
        target.directory(make_node(b"/d", EntryKind.DIRECTORY))
        write_file(target, make_node(b"/d/first", size_bytes=1, links=3), b"x")
        target.links_follow()
        target.link(make_node(b"/second", size_bytes=1, links=3), b"/d/first")
        target.link(make_node(b"/d/third", size_bytes=1, links=3), b"/d/first")
        target.close()
        seen = [look(path) for path in (b"/d/first", b"/second", b"/d/third")]
        assert {one.inode for one in seen if one} == {seen[0].inode if seen[0] else None}
        assert [one.content for one in seen if one] == [b"x"] * 3

    def test_link_to_what_is_not_there_is_reported(
        self, target: Target, look: Look, events: Recording
    ) -> None:
        """And leaves nothing."""
        target.links_follow()
        target.link(make_node(b"/second", links=2), b"/first")
        target.close()
        assert look(b"/second") is None
        assert events.problem_paths == [b"/second"]

    @pytest.mark.parametrize("path", HOSTILE_PATHS)
    def test_path_that_could_lead_elsewhere_is_refused(
        self, target: Target, events: Recording, path: bytes
    ) -> None:
        """As every kind of node, and as the source of a hard link."""
        target.directory(make_node(b"/a", EntryKind.DIRECTORY))
        assert target.file(make_node(path)) is None
        target.directory(make_node(path, EntryKind.DIRECTORY))
        target.links_follow()
        target.special(make_node(path, EntryKind.SYMLINK, target=b"/"))
        target.link(make_node(path, links=2), b"/a")
        target.link(make_node(b"/ok", links=2), path)
        target.close()
        assert events.problem_paths == [path, path, path, path, b"/ok"]

    def test_nothing_goes_through_a_link_of_the_snapshot(
        self, target: Target, look: Look, events: Recording
    ) -> None:
        """Even if an archiver breaks the order."""
        target.links_follow()
        target.special(make_node(b"/out", EntryKind.SYMLINK, target=b"."))
        assert target.file(make_node(b"/out/f")) is None
        target.directory(make_node(b"/out/d", EntryKind.DIRECTORY))
        target.directory(make_node(b"/out", EntryKind.DIRECTORY))
        target.close()
        assert look(b"/f") is None
        assert look(b"/d") is None
        out = look(b"/out")
        assert out is not None
        assert out.kind in {EntryKind.SYMLINK, EntryKind.DIRECTORY}
        assert events.problem_paths[:2] == [b"/out/f", b"/out/d"]

    def test_files_made_by_another_process_stand_as_the_nodes_say(
        self, target: Target, look: Look, events: Recording
    ) -> None:
        """Where the target lets them be made so; what failed there may be made here."""
        target.directory(make_node(b"/d", EntryKind.DIRECTORY))
        nodes = [make_node(b"/d/" + name, mode=0o640, size_bytes=5) for name in (b"1", b"2", b"3")]
        maker, errand = target.file_maker(), target.hand_over(nodes)
        if maker is not None and errand is not None:
            _make_elsewhere(maker, errand, [b"one", b"there"])
            errand.settle({2}, {})
            assert target.file(nodes[2]) is not None
            assert [one.content for one in map(look, (b"/d/1", b"/d/2")) if one] == [
                b"one\0\0",
                b"there",
            ]
            again = target.hand_over([make_node(b"/d/4", size_bytes=1)])
            assert again is not None
            _make_elsewhere(maker, again, [b"4"])
            again.reclaim()
            assert look(b"/d/4") is None
        else:
            assert errand is None, "nobody can make these files"
        assert events.problem_paths == []
        target.close()
        seen = [one for one in map(look, (b"/d/1", b"/d/2")) if one]
        assert {(one.mode, one.mtime_ns) for one in seen} <= {(0o640, _MTIME_NS)}

    def test_second_restore_of_the_same_reports_nothing(
        self, reopen: Callable[[], Target], look: Look, events: Recording
    ) -> None:
        """And leaves the same."""
        for _ in range(2):
            target = reopen()
            target.directory(make_node(b"/d", EntryKind.DIRECTORY))
            file = target.file(make_node(b"/d/f", size_bytes=1, links=2))
            if file is not None:
                file.write_at(0, b"x")
                file.finish()
            target.links_follow()
            target.link(make_node(b"/d/g", size_bytes=1, links=2), b"/d/f")
            target.special(make_node(b"/d/s", EntryKind.SYMLINK, target=b"f"))
            target.close()
        assert events.problem_paths == []
        first, second = look(b"/d/f"), look(b"/d/g")
        assert first is not None
        assert second is not None
        assert (first.content, first.inode) == (b"x", second.inode)

    def test_closing_early_leaves_no_unfinished_file(self, target: Target, look: Look) -> None:
        """Closing twice is fine."""
        file = target.file(make_node(b"/f", size_bytes=3))
        assert file is not None
        file.write_at(0, b"ab")
        target.close()
        target.close()
        assert look(b"/f") is None
