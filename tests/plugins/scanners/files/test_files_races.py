"""Things that change type, place or content while the scan looks at them."""

import os
import threading
import time
from contextlib import contextmanager

import pytest

from backapp_core.errors import EntryReplaced, EntryVanished, SourceError
from backapp_core.model.entries import EntryKind
from backapp_core.testing.trees import Item, TreeSpec, directory
from backapp_plugins.scanners.files.folders import Folders
from backapp_plugins.scanners.files.listing import Listing, Wanted, _drop_doubles, list_folder

SECRET = b"outside of every root"


class Swapper(threading.Thread):
    """Gives one path a new type again and again, as fast as it can, until told to stop."""

    def __init__(self, top: bytes, outside: bytes) -> None:
        super().__init__()
        self.top = top
        self.path = top + b"/it"
        self.outside = outside
        self.stopping = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        makers = (self._file, self._fifo, self._link, self._folder, self._link_to_folder)
        while not self.stopping.is_set():
            fresh = b"%s-%d" % (self.top, self.swaps)
            makers[self.swaps % len(makers)](fresh)
            try:
                os.rename(fresh, self.path)
            except OSError:  # A directory gives way to nothing but a directory.
                away = self.top + b"-away-%d" % self.swaps
                os.rename(self.path, away)
                os.rename(fresh, self.path)
            self.swaps += 1

    def _file(self, path):
        with open(path, "wb") as file:
            file.write(b"inside")

    def _fifo(self, path):
        os.mkfifo(path)

    def _link(self, path):
        os.symlink(self.outside + b"/secret", path)

    def _folder(self, path):
        os.mkdir(path)
        self._file(path + b"/inner")

    def _link_to_folder(self, path):
        os.symlink(self.outside, path)


@contextmanager
def swapping(source):
    outside = source.top + b"-outside"
    TreeSpec({b"secret": Item(SECRET), b"inner": Item(SECRET)}).write(outside)
    swapper = Swapper(source.top, outside)
    swapper.start()
    try:
        yield swapper
    finally:
        swapper.stopping.set()
        swapper.join()


def look_at_everything(source) -> int:
    """Scan once as an archiver would and return how many files were read."""
    reads = 0
    for found in source.scanner().scan():
        with found:
            for entry in found.entries:
                try:
                    found.attributes(entry)
                    if entry.kind is EntryKind.SYMLINK:
                        found.link_target(entry)
                    elif entry.kind is EntryKind.FILE:
                        with found.open(entry) as opened:
                            assert opened.read_at(0, 100) in {b"inside", b""}
                            reads += 1
                except SourceError:
                    pass
    return reads


def race(source, rounds):
    with swapping(source) as swapper:
        while not os.path.lexists(swapper.path):
            time.sleep(0.001)
        longest, reads = 0.0, 0
        for _ in range(rounds):
            began = time.monotonic()
            reads += look_at_everything(source)
            longest = max(longest, time.monotonic() - began)
        assert swapper.is_alive()
    assert swapper.swaps > 0
    reasons = {event.reason for event in source.events.events}
    assert reasons <= {
        "vanished while it was read",
        "was replaced by something of another type while it was read",
    }
    return longest, reads


def test_swapped_types_never_lead_outside(source):
    race(source, 200)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_swapped_types_never_lead_outside_nor_block_in_ten_thousand_rounds(source):
    longest, reads = race(source, 10_000)
    assert reads > 0
    # Not a measure of speed: reading a fifo would block for ever.
    assert longest < 30


def test_fifo_in_place_of_a_file_does_not_block(source):
    TreeSpec({b"it": Item(b"x")}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            os.unlink(source.top + b"/it")
            os.mkfifo(source.top + b"/it")
            with pytest.raises(EntryReplaced):
                found.open(entry)


def test_entry_that_never_was_a_file_is_not_opened(source):
    """Opening a device may already do something: a tape rewinds, a watchdog starts."""
    TreeSpec({b"fifo": Item(kind=EntryKind.FIFO)}).write(source.top)
    (entry,) = source.entries().values()
    for found in source.scanner().scan():
        if found.path == source.top:
            with pytest.raises(EntryReplaced):
                found.open(entry)


def test_file_that_grows_while_it_is_read_is_read_to_where_it_ended(source):
    TreeSpec({b"log": Item(b"first line\n")}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            with found.open(entry) as opened:
                with open(source.top + b"/log", "ab") as log:
                    log.write(b"second line\n")
                assert opened.read_at(0, 1000) == b"first line\n"
                assert opened.read_at(11, 1000) == b""
                assert opened.has_changed()


def test_file_that_is_cut_while_it_is_read_ends_early(source):
    TreeSpec({b"log": Item(b"x" * 100_000)}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            with found.open(entry) as opened:
                os.truncate(source.top + b"/log", 70_000)
                assert len(opened.read_at(0, 100_000)) == 70_000
                assert opened.read_at(70_000, 100_000) == b""
                assert opened.has_changed()


def test_sparse_file_that_is_cut_to_nothing_has_no_extents(source):
    TreeSpec({b"s": Item(size_bytes=1 << 20, pieces=((1 << 19, b"x"),))}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            with found.open(entry) as opened:
                os.truncate(source.top + b"/s", 0)
                assert opened.extents() == []
                assert opened.read_at(0, 1 << 20) == b""


def test_content_changed_without_size_or_mtime_is_noticed(source):
    TreeSpec({b"f": Item(b"old")}).write(source.top)
    path = source.top + b"/f"
    for found in source.scanner().scan():
        for entry in found.entries:
            with found.open(entry) as opened:
                status = os.stat(path)
                while os.stat(path).st_ctime_ns == status.st_ctime_ns:
                    with open(path, "r+b") as file:
                        file.write(b"new")
                    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
                assert opened.has_changed()


def test_directory_that_was_let_go_of_and_replaced_is_not_mistaken(source):
    """Few directories stay open; one that has to be found again must be the very same."""
    TreeSpec({b"a/x": Item(), b"b/x": Item()}).write(source.top)
    folders = Folders(limit=1)
    path, (folder, _) = b"", folders.enter_top(lists=False)
    folders.done(folder)
    for name in [*source.top.split(b"/")[1:], b"a"]:
        path += b"/" + name
        folder, _ = folders.enter(folder, name, path, follows=False, lists=True)
        folders.done(folder)
    other, _ = folders.enter(folder.parent, b"b", source.top + b"/b", follows=False, lists=True)
    folders.done(other)
    assert folder.descriptor < 0
    os.fstat(folders.use(folder))
    folders.done(folder)
    os.fstat(folders.use(other))
    folders.done(other)
    os.rename(source.top + b"/a", source.top + b"/moved")
    os.symlink(b"b", source.top + b"/a")
    with pytest.raises(EntryReplaced):
        folders.use(folder)
    os.unlink(source.top + b"/a")
    os.mkdir(source.top + b"/a")
    with pytest.raises(EntryReplaced):
        folders.use(folder)
    folders.close()
    with pytest.raises(ValueError, match="has ended"):
        folders.use(other)


def test_entry_that_vanishes_while_its_directory_is_listed_is_a_fault_of_its_own(source):
    TreeSpec({b"%03d" % number: Item() for number in range(10)}).write(source.top)

    def remove_some() -> None:
        os.unlink(source.top + b"/003")
        os.unlink(source.top + b"/007")
        os.mkdir(source.top + b"/007")

    descriptor = os.open(source.top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listing = list_folder(descriptor, Wanted(), remove_some)
    finally:
        os.close(descriptor)
    assert [name for name, _ in listing.faults] == [b"003"]
    assert listing.folders == [b"007"]
    assert len(listing.entries) == 8


def test_name_that_a_listing_shows_twice_is_kept_once(source):
    TreeSpec({b"a": Item(), b"b": Item(), b"c": directory()}).write(source.top)
    descriptor = os.open(source.top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        once = list_folder(descriptor, Wanted(), lambda: None)
    finally:
        os.close(descriptor)
    twice = Listing()
    twice.entries = [*once.entries, *once.entries, once.entries[0]._replace(name=b"c")]
    twice.folders = [b"c", b"c"]
    _drop_doubles(twice)
    assert sorted(twice.entries) == once.entries
    assert twice.folders == [b"c"]


def test_directory_is_not_usable_after_it_was_closed_or_its_scan_ended(source):
    TreeSpec({b"f": Item()}).write(source.top)
    scan = source.scanner().scan()
    for found in scan:
        if found.path == source.top:
            break
    (entry,) = found.entries
    scan.close()
    with pytest.raises(ValueError, match="has ended"):
        found.open(entry)
    found.close()
    with pytest.raises(ValueError, match="was closed"):
        found.attributes(entry)


def test_attributes_of_what_vanished_are_said_to_have_vanished(source):
    TreeSpec({b"f": Item()}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            os.unlink(source.top + b"/f")
            with pytest.raises(EntryVanished, match=r"^vanished while it was read$"):
                found.attributes(entry)
