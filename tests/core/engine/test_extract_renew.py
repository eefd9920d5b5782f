"""A file that is kept because it is unchanged grants no more than the snapshot says."""

import os
import stat
import struct
import subprocess

import pytest

from backapp_core.engine import extract_renew
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.model.entries import EntryKind
from backapp_core.model.restores import Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node

MTIME_NS = 1_700_000_000_000_000_007
STRANGER = 12345
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 7, 0, 0, 0)

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="privileges can be given by root only")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def there(root):
    place = root / "x"
    place.write_bytes(b"old")
    place.chmod(0o640)
    os.utime(place, ns=(MTIME_NS, MTIME_NS))
    return place


def restore(root, overwrite=Overwrite.IF_CHANGED, *, options=None, **facts) -> FolderTarget:
    usual = {"size_bytes": 3, "mtime_ns": MTIME_NS, "mode": 0o640}
    target = FolderTarget(
        os.fsencode(root),
        ExtractOptions(overwrite=overwrite, **(options or {})),
        Surroundings(root, root),
    )
    file = target.file(make_node(b"/x", **(usual | facts)))
    if file is not None:
        with file:
            file.write_at(0, b"new")
            file.finish()
    target.links_follow()
    target.close()
    return target


def grant(place) -> None:
    subprocess.run(["setfacl", "-m", f"u:{STRANGER}:rwx", place], check=True)


def test_foreign_access_list_goes_and_the_group_gets_what_the_snapshot_says(root, there):
    grant(there)
    os.utime(there, ns=(MTIME_NS, MTIME_NS))
    inode = there.stat().st_ino
    target = restore(root)
    status = there.stat()
    assert os.listxattr(there) == []
    assert (status.st_ino, stat.S_IMODE(status.st_mode)) == (inode, 0o640)
    assert (target.outcome.kept, target.outcome.problems) == (1, 0)


def test_foreign_access_list_that_hides_behind_the_right_mode_goes(root, there):
    grant(there)
    there.chmod(0o640)
    assert os.listxattr(there) == ["system.posix_acl_access"]
    restore(root)
    assert os.listxattr(there) == []
    assert stat.S_IMODE(there.stat().st_mode) == 0o640


@is_root
def test_foreign_capability_goes(root, there):
    os.setxattr(there, "security.capability", CAPABILITY)
    restore(root)
    assert os.listxattr(there) == []


def test_foreign_note_goes_and_those_of_the_snapshot_stay(root, there):
    for name in ("user.ours", "user.theirs"):
        os.setxattr(there, name, b"v")
    restore(root, xattrs=((b"user.ours", b"v"),))
    assert os.listxattr(there) == ["user.ours"]
    restore(root)
    assert os.listxattr(there) == []


@is_root
@pytest.mark.parametrize("name", ["trusted.brick", "security.other"])
def test_attributes_that_belong_to_the_system_stay(root, there, name):
    os.setxattr(there, name, b"v")
    restore(root)
    assert os.listxattr(there) == [name]


@is_root
def test_file_that_lost_its_foreign_capability_keeps_its_own_access_list(root, there):
    grant(there)
    own = os.getxattr(there, "system.posix_acl_access")
    os.setxattr(there, "security.capability", CAPABILITY)
    restore(root, mode=0o670, xattrs=((b"system.posix_acl_access", own),))
    assert os.listxattr(there) == ["system.posix_acl_access"]
    assert os.getxattr(there, "system.posix_acl_access") == own


@pytest.mark.parametrize("overwrite", [Overwrite.NEVER, Overwrite.IF_NEWER])
def test_file_that_the_policy_keeps_loses_nothing(root, there, overwrite):
    os.setxattr(there, "user.mine", b"v")
    restore(root, overwrite)
    assert os.listxattr(there) == ["user.mine"]


def test_foreign_note_on_a_file_with_a_name_outside_stays_outside(root, there, tmp_path):
    os.setxattr(there, "user.mine", b"v")
    os.link(there, tmp_path / "outside")
    restore(root)
    assert os.listxattr(there) == []
    assert os.listxattr(tmp_path / "outside") == ["user.mine"]


def test_set_id_bits_that_the_snapshot_lacks_go_even_where_none_are_given(root, there):
    there.chmod(0o6740)
    restore(root, mode=0o740, options={"special": False})
    assert stat.S_IMODE(there.stat().st_mode) == 0o740


@is_root
def test_set_id_bits_of_another_owner_go_where_owners_stay(root, there):
    os.chown(there, STRANGER, STRANGER)
    there.chmod(0o4740)
    restore(root, mode=0o4740, options={"owners": False, "special": True})
    status = there.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (STRANGER, 0o740)


def test_what_cannot_be_taken_away_is_left_behind_with_the_old_file(root, there, monkeypatch):
    os.setxattr(there, "user.mine", b"v")

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(extract_renew.os, "removexattr", refuse)
    target = restore(root)
    assert os.listxattr(there) == []
    assert there.read_bytes() == b"new"
    assert (target.outcome.files, target.outcome.problems) == (1, 0)


def test_fifo_with_a_foreign_access_list_is_made_anew(root):
    os.mkfifo(root / "p", 0o600)
    grant(root / "p")
    (root / "p").chmod(0o640)
    os.utime(root / "p", ns=(MTIME_NS, MTIME_NS))
    target = FolderTarget(os.fsencode(root), ExtractOptions(), Surroundings(root, root))
    target.links_follow()
    target.special(make_node(b"/p", EntryKind.FIFO, mode=0o640, mtime_ns=MTIME_NS))
    target.close()
    assert os.listxattr(root / "p") == []
    assert stat.S_IMODE((root / "p").stat().st_mode) == 0o640


def test_existing_directory_loses_what_the_snapshot_lacks(root):
    place = root / "d"
    place.mkdir()
    grant(place)
    subprocess.run(["setfacl", "-d", "-m", f"u:{STRANGER}:rwx", place], check=True)
    for name in ("user.mine", "user.theirs"):
        os.setxattr(place, name, b"v")
    target = FolderTarget(os.fsencode(root), ExtractOptions(), Surroundings(root, root))
    xattrs = ((b"user.mine", b"v"),)
    target.directory(make_node(b"/d", EntryKind.DIRECTORY, mode=0o750, xattrs=xattrs))
    target.links_follow()
    target.close()
    assert os.listxattr(place) == ["user.mine"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o750
    assert target.outcome.problems == 0
