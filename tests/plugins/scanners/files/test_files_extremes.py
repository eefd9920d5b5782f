"""Depth, width, numbers of links and descriptors: what is large stays cheap."""

import gc
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backapp_core.errors import RunCancelled
from backapp_core.model.entries import EntryKind
from backapp_core.testing.hostile_tree import SPARSE_BYTES
from backapp_core.testing.tree_strategies import names, trees
from backapp_core.testing.trees import Item, TreeSpec, describe_tree, symlink
from backapp_plugins.scanners.files.roots import ways_to
from backapp_plugins.scanners.files.rules import Rules
from backapp_plugins.scanners.files.walk import Limits, Walk


@contextmanager
def at_most_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def make_chain(top, depth, *, name=b"d", files=()):
    """Make ``depth`` directories one in another, with ``files`` and a side directory in each."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
        for file in files:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.mkdir(b"side", dir_fd=fd)
    os.close(fd)


@pytest.fixture
def cleared(source):
    """Remove what is too deep for the cleaning of temporary folders."""
    yield source
    subprocess.run(["rm", "-rf", os.fsdecode(source.top)], check=True)


def test_two_thousand_levels_need_neither_recursion_nor_descriptors(cleared):
    make_chain(cleared.top, 2000, name=b"level", files=(b"f",))
    gc.collect()  # what earlier tests left open
    before = open_descriptors()
    most = deepest = files = 0
    with at_most_descriptors(before + 90):
        for found in cleared.scanner().scan():
            with found:
                deepest = max(deepest, found.path.count(b"/level"))
                files += len(found.entries)
                if files % 100 == 0:
                    most = max(most, open_descriptors())
                if found.entries and files % 50 == 0:
                    with found.open(found.entries[0]) as opened:
                        assert opened.read_at(0, 1) == b""
                    assert found.attributes(found.entries[0]) == ()
    assert (deepest, files) == (2000, 2000)
    assert most - before < 80
    assert open_descriptors() == before
    assert cleared.events.events == []


def test_directories_that_nobody_closes_do_not_use_up_the_descriptors(source):
    TreeSpec({b"%04d/file" % n: Item(b"%d" % n) for n in range(1500)}).write(source.top)
    before = open_descriptors()
    with at_most_descriptors(before + 90):
        scan = source.scanner().scan()
        met = []
        for found in scan:
            met.append(found)
            if found.path.endswith(b"/1499"):
                break
        for found in met:
            for entry in found.entries:
                with found.open(entry) as opened:
                    assert opened.read_at(0, 9) == b"%d" % int(found.path[-4:])
        scan.close()
    assert open_descriptors() == before


def test_no_descriptor_is_left_after_a_scan_that_was_given_up(source):
    TreeSpec({b"a/b/c/d": Item(), b"e/f": Item()}).write(source.top)
    before = open_descriptors()
    for stop in range(8):
        scan = source.scanner().scan()
        for _ in range(stop):
            next(scan)
        scan.close()
        assert open_descriptors() == before


def test_no_descriptor_is_left_wherever_a_scan_is_cancelled(source):
    TreeSpec({b"a/b/c/d": Item(), b"e/f": Item()}).write(source.top)
    before = open_descriptors()
    cancelled = 0
    for last in range(40):
        calls = iter(range(last))

        def check(calls=calls):
            if next(calls, None) is None:
                raise RunCancelled("stopped on request")

        walk = Walk(
            ways_to([source.top]), rules=Rules([]), limits=Limits(), check=check, report=print
        )
        try:
            list(walk.directories())
        except RunCancelled:
            cancelled += 1
        finally:
            walk.close()
        assert open_descriptors() == before
    assert 5 < cancelled < 40


def test_links_to_everywhere_are_not_followed(source):
    loops = {b"loops/%04d" % n: symlink(b"%04d" % ((n + 1) % 500)) for n in range(500)}
    tops = {b"tops/%04d" % n: symlink(b"/") for n in range(100)}
    ups = {b"ups/%04d" % n: symlink(b"..") for n in range(100)}
    TreeSpec({**loops, **tops, **ups}).write(source.top)
    assert source.paths() == {*loops, *tops, *ups, b"loops/", b"tops/", b"ups/"}


def test_many_names_of_one_inode_are_all_listed_with_their_count(source):
    links = {b"%03d/x" % n: Item(link_of=b"first") for n in range(300)}
    TreeSpec({b"first": Item(b"once"), **links}).write(source.top)
    entries = {
        path: entry for path, entry in source.entries().items() if entry.kind is EntryKind.FILE
    }
    assert len(entries) == 301
    assert {(entry.inode, entry.links) for entry in entries.values()} == {
        (entries[b"first"].inode, 301)
    }


def test_wide_directory_is_listed_whole_and_in_order(source):
    """Wider than what is examined at a time, with directories among the files."""
    fd = os.open(source.top, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(9000):
        name = b"%d" % (number * 7919 % 9000)
        if number % 100:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        else:
            os.mkdir(name, dir_fd=fd)
    os.close(fd)
    found = [found for found in source.scanner().scan() if found.path.startswith(source.top)]
    kept = [entry.name for entry in found[0].entries]
    folders = [folder.entry.name for folder in found[1:]]
    assert kept == sorted(kept)
    assert folders == sorted(folders)
    assert len(folders) == 90
    assert sorted([*kept, *folders]) == sorted(b"%d" % number for number in range(9000))


def test_extents_of_a_terabyte_are_those_of_its_data(source):
    data = b"data" * 1024
    pieces = ((1 << 20, data), (SPARSE_BYTES // 2, data), (SPARSE_BYTES - 4096, data))
    TreeSpec({b"huge": Item(size_bytes=SPARSE_BYTES, pieces=pieces)}).write(source.top)
    for found in source.scanner().scan():
        for entry in found.entries:
            assert entry.size_bytes == SPARSE_BYTES
            with found.open(entry) as opened:
                extents = opened.extents()
                assert [extent.offset for extent in extents] == [offset for offset, _ in pieces]
                assert sum(extent.length_bytes for extent in extents) == 3 * 4096
                assert opened.read_at(SPARSE_BYTES // 2, 4096) == data


def test_file_that_is_all_hole_has_no_extents_and_one_of_data_has_no_holes(source):
    TreeSpec({b"hole": Item(size_bytes=1 << 20), b"solid": Item(bytes(1 << 20))}).write(source.top)
    for found in source.scanner().scan():
        if found.path == source.top:
            hole, solid = found.entries
            with found.open(hole) as opened:
                assert opened.extents() == []
                assert opened.read_at(0, 10) == bytes(10)
            with found.open(solid) as opened:
                assert opened.extents() is None


_QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@_QUICK
@given(found_names=st.lists(names(), unique=True, max_size=8))
def test_any_name_is_listed_as_the_bytes_it_is(tmp_path_factory, source, found_names):
    top = os.fsencode(tmp_path_factory.mktemp("names"))
    TreeSpec({name: Item(name) for name in found_names}).write(top)
    for found in source.scanner(roots=(top,)).scan():
        if found.path == top:
            assert [entry.name for entry in found.entries] == sorted(found_names)
            for entry in found.entries:
                with found.open(entry) as opened:
                    assert opened.read_at(0, 300) == entry.name


@_QUICK
@given(tree=trees())
def test_any_tree_is_seen_as_it_is(tmp_path_factory, source, tree):
    top = os.fsencode(tmp_path_factory.mktemp("tree"))
    tree.write(top)
    wanted = describe_tree(top)
    seen = {top: b""}
    for found in source.scanner(roots=(top,)).scan():
        if not (found.path + b"/").startswith(top + b"/"):
            continue
        if found.path != top:
            seen[found.path] = found.path.removeprefix(top + b"/")
        for entry in [found.entry, *found.entries]:
            inside = found.path if entry is found.entry else found.path + b"/" + entry.name
            seen[inside] = inside.removeprefix(top).removeprefix(b"/")
            facts = wanted[seen[inside]]
            assert (entry.kind, entry.mode & 0o7777) == (facts.kind, facts.mode)
            assert (entry.uid, entry.gid) == (facts.uid, facts.gid)
            assert (entry.mtime_ns, entry.size_bytes) == (facts.mtime_ns, facts.size_bytes)
    assert set(seen.values()) == set(wanted)
    assert source.events.events == []


_SCAN_WIDE = """
import sys
from pathlib import Path
from backapp_core.ports.surroundings import Surroundings
from backapp_plugins.scanners.files import FilesSettings, open_files
scanner = open_files(FilesSettings(roots=(sys.argv[1].encode(),)), Surroundings(Path(), Path()))
print(sum(len(found.entries) for found in scanner.scan()))
status = Path("/proc/self/status").read_text()
# Not `ru_maxrss`, which begins with what the process that became this one had in memory.
print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_files_in_one_directory_stay_below_400_megabytes(source):
    fd = os.open(source.top, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(1_000_000):
        file = os.open(b"file-%07d" % number, os.O_WRONLY | os.O_CREAT, dir_fd=fd)
        os.write(file, b"x" * (number % 700))
        os.utime(file, ns=(number, 1_600_000_000_000_000_000 + number))
        os.close(file)
    os.close(fd)
    command = [sys.executable, "-c", _SCAN_WIDE, os.fsdecode(source.top)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count, peak_megabytes = map(int, output.split())
    print(f"1,000,000 files in one directory: {peak_megabytes} MB")
    assert count == 1_000_000
    assert peak_megabytes < 400
