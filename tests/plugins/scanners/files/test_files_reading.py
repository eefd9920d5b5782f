"""Contents and attributes: errors of the medium, several threads, systems without /proc."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from backapp_core.errors import EntryUnreadable
from backapp_core.model.entries import Entry
from backapp_core.testing.hostile_tree import posix_acl
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink
from backapp_plugins.scanners.files.content import OpenedContent
from backapp_plugins.scanners.files.listing import entry_of
from backapp_plugins.scanners.files.metadata import _attributes_by_opening, attributes_at


def opened_content(path: bytes, **facts: int) -> OpenedContent:
    descriptor = os.open(path, os.O_RDONLY)
    status = os.fstat(descriptor)
    entry: Entry = entry_of(os.path.basename(path), status)._replace(**facts)
    return OpenedContent(descriptor, entry, actual_bytes=status.st_size)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc")
def test_error_of_the_medium_is_said():
    """The first page of a process is never mapped, and reading it is a true EIO."""
    with (
        opened_content(b"/proc/self/mem", size_bytes=4096) as opened,
        pytest.raises(EntryUnreadable, match=r"^the medium failed"),
    ):
        opened.read_at(0, 4096)


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="needs /proc")
def test_read_that_the_system_answers_in_pieces_is_completed():
    """Files of /proc give a page at a time; only their end may make a read short."""
    with opened_content(b"/proc/self/smaps", size_bytes=1 << 20) as opened:
        content = opened.read_at(0, 1 << 20)
    assert len(content) > 3 * 4096


def test_directories_are_usable_from_other_threads_while_the_scan_goes_on(source):
    TreeSpec(
        {
            b"%03d/%d" % (folder, file): Item(b"%d" % (folder * 10 + file))
            for folder in range(200)
            for file in range(3)
        }
    ).write(source.top)

    def read(found):
        with found:
            contents = []
            for entry in found.entries:
                with found.open(entry) as opened:
                    contents.append((found.path, entry.name, opened.read_at(0, 9)))
                assert found.attributes(entry) == ()
            return contents

    with ThreadPoolExecutor(4) as threads:
        scan = source.scanner().scan()
        work = [threads.submit(read, found) for found in scan if found.path != b"/"]
        read_late = [
            found for future in work if not future.exception() for found in future.result()
        ]
        failed = [future.exception() for future in work if future.exception()]
    # What is still waiting when the scan ends is refused, and nothing else goes wrong.
    assert all("has ended" in str(error) for error in failed)
    for path, name, content in read_late:
        assert content == b"%d" % (int(path[-3:]) * 10 + int(name))


def test_directories_read_by_other_threads_before_the_scan_ends_are_read_right(source):
    TreeSpec({b"%03d/f" % n: Item(b"%d" % n) for n in range(300)}).write(source.top)

    def read(found):
        with found, found.open(found.entries[0]) as opened:
            return int(found.path[-3:]), int(opened.read_at(0, 9))

    with ThreadPoolExecutor(4) as threads:
        scan = source.scanner().scan()
        work = []
        for found in scan:
            if found.entries:
                work.append(threads.submit(read, found))
            if len(work) == 300:
                break
        results = [future.result() for future in work]
    assert results == [(n, n) for n in range(300)]


def test_attributes_of_ancestors_can_be_asked_for(source):
    TreeSpec({b"a/file": Item(), b"a": directory(xattrs=((b"user.x", b"y"),))}).write(source.top)
    seen = {
        found.path: found.attributes(None)
        for found in source.scanner(roots=(source.top + b"/a/file",)).scan()
    }
    assert seen[source.top + b"/a"] == ((b"user.x", b"y"),)
    assert b"/" in seen


def test_attributes_come_in_byte_order_with_acls_among_them(source):
    acl = posix_acl(named_user=4711)
    keys = ((b"user.b", b"1"), (b"user.a", b""), (b"system.posix_acl_access", acl))
    TreeSpec({b"f": Item(xattrs=keys, mode=0o775)}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            assert found.attributes(entry) == (
                (b"system.posix_acl_access", acl),
                (b"user.a", b""),
                (b"user.b", b"1"),
            )


def test_without_proc_attributes_of_files_and_directories_are_read_by_opening_them(source):
    note = ((b"user.note", b"n"),)
    TreeSpec({b"f": Item(xattrs=note), b"d": directory(xattrs=note), b"l": symlink(b"f")}).write(
        source.top
    )
    descriptor = os.open(source.top + b"/d", os.O_RDONLY)
    try:
        assert _attributes_by_opening(descriptor, None) == attributes_at(descriptor, None) == note
    finally:
        os.close(descriptor)
    descriptor = os.open(source.top, os.O_RDONLY)
    try:
        for name, wanted in ((b"f", note), (b"d", note), (b"l", ())):
            assert _attributes_by_opening(descriptor, name) == wanted
            assert attributes_at(descriptor, name) == wanted
    finally:
        os.close(descriptor)


def test_file_system_without_attributes_has_none():
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        assert attributes_at(descriptor, b"version") == ()
    finally:
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="root may always leave the access time alone")
def test_access_times_do_not_move(source):
    TreeSpec({b"d/f": Item(b"x")}).write(source.top)
    paths = [source.top + b"/d/f", source.top + b"/d"]
    for path in paths:
        os.utime(path, ns=(1, 2))
    for found in source.scanner().scan():
        for entry in found.entries:
            with found.open(entry) as opened:
                opened.read_at(0, 1)
    assert [os.stat(path).st_atime_ns for path in paths] == [1, 1]
