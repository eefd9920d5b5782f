"""Other file systems, bind mounts, and the kernel's own."""

import os
import subprocess
from contextlib import contextmanager

import pytest

from backapp_core.model.entries import EntryKind
from backapp_core.testing.trees import Item, TreeSpec
from backapp_plugins.scanners.files.mounts import kernel_devices

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")


@contextmanager
def mounted(*command):
    subprocess.run([b"mount", *command], check=True)
    try:
        yield
    finally:
        subprocess.run([b"umount", command[-1]], check=True)


@pytest.fixture
def tmpfs(source):
    """A tree with another file system at ``mount``."""
    TreeSpec({b"mount/hidden": Item(), b"plain/file": Item()}).write(source.top)
    with mounted(b"-t", b"tmpfs", b"none", source.top + b"/mount"):
        TreeSpec({b"other/file": Item(), b"other/sub/file": Item()}).write(source.top + b"/mount")
        yield source


@needs_root
def test_other_file_systems_are_entered_unless_told_otherwise(tmpfs):
    everything = {b"mount/", b"mount/other/", b"mount/other/file", b"mount/other/sub/"}
    everything |= {b"mount/other/sub/file", b"plain/", b"plain/file"}
    assert tmpfs.paths() == everything
    assert tmpfs.paths(one_file_system=True) == {b"mount/", b"plain/", b"plain/file"}


@needs_root
def test_mount_point_that_is_kept_shows_what_is_mounted_there(tmpfs):
    entries = tmpfs.entries(one_file_system=True)
    assert entries[b"mount/"].device != entries[b"plain/"].device


@needs_root
@pytest.mark.parametrize("inner", [b"/mount", b"/mount/other/sub", b"/mount/other/file"])
def test_root_on_another_file_system_inside_a_root_is_kept(tmpfs, inner):
    """``backup -x / /home`` must not lose ``/home`` because it lies inside ``/``."""
    kept = tmpfs.paths(roots=(tmpfs.top, tmpfs.top + inner), one_file_system=True)
    below = {
        b"/mount": {b"mount/other/", b"mount/other/file", b"mount/other/sub/"}
        | {b"mount/other/sub/file"},
        b"/mount/other/sub": {b"mount/other/", b"mount/other/sub/", b"mount/other/sub/file"},
        b"/mount/other/file": {b"mount/other/", b"mount/other/file"},
    }
    assert kept == {b"mount/", b"plain/", b"plain/file"} | below[inner]


@needs_root
def test_bind_mount_of_the_same_file_system_is_part_of_it(source):
    TreeSpec({b"real/file": Item(), b"bound/hidden": Item()}).write(source.top)
    with mounted(b"--bind", source.top + b"/real", source.top + b"/bound"):
        kept = source.paths(one_file_system=True)
        assert kept == {b"real/", b"real/file", b"bound/", b"bound/file"}
        kept = source.paths(skip_folders=(source.top + b"/real",))
        assert kept == {b"real/", b"bound/"}
    assert source.events.events == []


@needs_root
def test_mount_that_loops_back_to_its_parent_ends(source):
    """A bind mount shows the directory below itself once, not for ever."""
    TreeSpec({b"a/loop/x": Item()}).write(source.top)
    with mounted(b"--bind", source.top, source.top + b"/a/loop"):
        assert source.paths() == {b"a/", b"a/loop/", b"a/loop/a/", b"a/loop/a/loop/"} | {
            b"a/loop/a/loop/x"
        }


@needs_root
def test_kernel_file_system_is_kept_as_an_empty_directory(source):
    TreeSpec({b"proc/hidden": Item(), b"file": Item()}).write(source.top)
    with mounted(b"-t", b"proc", b"none", source.top + b"/proc"):
        assert source.paths() == {b"proc/", b"file"}
        named = source.paths(roots=(source.top, source.top + b"/proc/sys/kernel/ostype"))
        assert named == {b"proc/", b"proc/sys/", b"proc/sys/kernel/"} | {
            b"proc/sys/kernel/ostype",
            b"file",
        }


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_files_of_a_kernel_file_system_are_listed_as_empty_and_never_read(source):
    """``/proc/kmsg`` would block, ``/proc/kcore`` says that it holds 128 TB."""
    checked = 0
    for found in source.scanner(roots=(b"/proc/sys/kernel", b"/proc/kmsg", b"/proc/kcore")).scan():
        for entry in found.entries:
            if entry.kind is EntryKind.FILE and entry.mode & 0o400:
                assert (entry.size_bytes, entry.allocated_bytes) == (0, 0)
                if found.path == b"/proc/sys/kernel":
                    with found.open(entry) as opened:
                        assert opened.entry.size_bytes == 0
                        assert opened.read_at(0, 1 << 20) == b""
                        assert opened.extents() is None
                checked += 1
    assert checked > 20


def test_devices_of_the_kernel_are_read_from_the_table_of_mounts():
    table = (
        b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        b"23 22 0:21 / /proc rw shared:5 - proc proc rw\n"
        b"24 22 0:22 / /mnt/proc\\040sys rw - tmpfs sysfs rw\n"
        b"25 22 0:30 / /sys/fs/cgroup rw master:1 shared:9 - cgroup2 cgroup rw\n"
    )
    assert kernel_devices(table) == {os.makedev(0, 21), os.makedev(0, 30)}
    assert kernel_devices(b"") == frozenset()
