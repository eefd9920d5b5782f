"""What stands where something is restored: four policies, every pair of types (H12)."""

import os
import stat
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.engine.extract_preview import Preview
from backapp_core.errors import EntryNotRestored
from backapp_core.model.entries import EntryKind
from backapp_core.model.restores import Action, Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node

NOW_NS = 1_700_000_000_000_000_007
OLDER_NS = NOW_NS - 10**9
NEWER_NS = NOW_NS + 10**9
F, D, L, P = EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.SYMLINK, EntryKind.FIFO

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "canary").write_text("untouched")
    return tmp_path / "out"


def open_target(root: Path, overwrite: Overwrite, **options) -> FolderTarget:
    surroundings = Surroundings(root, root)
    return FolderTarget(
        os.fsencode(root), ExtractOptions(overwrite=overwrite, **options), surroundings
    )


def put(place: Path, kind: str, mtime_ns: int = NOW_NS) -> None:
    match kind:
        case "file":
            place.write_bytes(b"old")
        case "empty dir":
            place.mkdir()
        case "full dir":
            place.mkdir()
            (place / "mine").write_text("mine")
        case "link":
            place.symlink_to("../canary")
        case "fifo":
            os.mkfifo(place)
        case _:
            raise ValueError(kind)
    os.utime(place, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def restore(target: FolderTarget, node, content: bytes = b"new") -> None:
    if node.kind is D:
        target.directory(node)
    elif node.kind is F:
        file = target.file(node)
        if file is not None:
            with file:
                file.write_at(0, content)
                file.finish()
    target.links_follow()
    if node.kind in {L, P}:
        target.special(node)
    target.close()


def kind_at(place: Path) -> str:
    mode = place.lstat().st_mode
    if stat.S_ISDIR(mode):
        return "full dir" if any(place.iterdir()) else "empty dir"
    return {stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}[stat.S_IFMT(mode)]


WORD = {F: "file", D: "empty dir", L: "link", P: "fifo"}


@pytest.mark.parametrize("overwrite", Overwrite)
@pytest.mark.parametrize("there", ["file", "empty dir", "full dir", "link", "fifo"])
@pytest.mark.parametrize("kind", [F, D, L, P])
@pytest.mark.parametrize("mtime_ns", [OLDER_NS, NEWER_NS], ids=["older", "newer"])
def test_every_type_over_every_type(root, overwrite, there, kind, mtime_ns):
    put(root / "x", there)
    node = make_node(b"/x", kind, size_bytes=3, target=b"elsewhere", mtime_ns=mtime_ns)
    with Preview(os.fsencode(root), overwrite) as preview:
        foreseen = preview.would(node)
    assert kind_at(root / "x") == there
    target = open_target(root, overwrite)
    restore(target, node)

    replaces = overwrite in {Overwrite.ALWAYS, Overwrite.IF_CHANGED} or (
        overwrite is Overwrite.IF_NEWER and mtime_ns == NEWER_NS
    )
    outcome = target.outcome
    is_there = kind_at(root / "x")
    if kind is D and there.endswith("dir"):
        assert (is_there, foreseen, outcome.problems) == (there, Action.KEEP, 0)
    elif not replaces and kind is D:
        assert (is_there, foreseen, outcome.problems) == (there, Action.REFUSE, 1)
    elif not replaces:
        assert (is_there, foreseen, outcome.kept) == (there, Action.KEEP, 1)
    elif there == "full dir":
        assert (is_there, foreseen, outcome.problems) == (there, Action.REFUSE, 1)
        assert (root / "x/mine").read_text() == "mine"
    else:
        assert (is_there, foreseen, outcome.problems) == (WORD[kind], Action.OVERWRITE, 0)
    if is_there == "file":
        assert (root / "x").read_bytes() == (b"new" if replaces and kind is F else b"old")
    assert (root / "../canary").read_text() == "untouched"
    assert [path.name for path in root.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", Overwrite)
def test_preview_of_a_missing_target_makes_nothing(tmp_path, overwrite):
    with Preview(os.fsencode(tmp_path / "no/where"), overwrite) as preview:
        assert preview.would(make_node(b"/d", D)) is Action.CREATE
        assert preview.would(make_node(b"/d/f")) is Action.CREATE
        assert preview.would(make_node(b"/d/../f")) is Action.REFUSE
    assert list(tmp_path.iterdir()) == []


def test_preview_sees_what_is_missing_below_what_is_there(root):
    (root / "d").mkdir()
    (root / "link").symlink_to("d")
    with Preview(os.fsencode(root), Overwrite.NEVER) as preview:
        assert preview.would(make_node(b"/", D)) is Action.KEEP
        assert preview.would(make_node(b"/d/e/f")) is Action.CREATE
        assert preview.would(make_node(b"/link/f")) is Action.REFUSE


def test_unchanged_file_is_not_written_again_but_gets_its_permissions(root):
    put(root / "x", "file")
    (root / "x").chmod(0o600)
    inode = (root / "x").stat().st_ino
    target = open_target(root, Overwrite.IF_CHANGED)
    xattrs = ((b"user.note", b"v"),)
    node = make_node(b"/x", size_bytes=3, mtime_ns=NOW_NS, mode=0o640, xattrs=xattrs)
    restore(target, node)
    status = (root / "x").stat()
    assert (status.st_ino, stat.S_IMODE(status.st_mode)) == (inode, 0o640)
    assert os.getxattr(root / "x", "user.note") == b"v"
    assert (root / "x").read_bytes() == b"old"
    assert (target.outcome.kept, target.outcome.files) == (1, 0)
    again = open_target(root, Overwrite.IF_CHANGED)
    restore(again, node)
    assert (root / "x").stat().st_ctime_ns == status.st_ctime_ns


def test_file_that_also_has_a_name_outside_is_never_touched(root, tmp_path):
    outside = tmp_path / "outside"
    put(outside, "file")
    outside.chmod(0o600)
    before = outside.stat()
    os.link(outside, root / "x")
    target = open_target(root, Overwrite.IF_CHANGED)
    restore(target, make_node(b"/x", size_bytes=3, mtime_ns=NOW_NS, mode=0o777))
    after = outside.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode,
        before.st_mtime_ns,
        1,
    )
    assert outside.read_bytes() == b"old"
    assert (root / "x").read_bytes() == b"new"
    assert stat.S_IMODE((root / "x").stat().st_mode) == 0o777


@pytest.mark.parametrize("overwrite", [Overwrite.NEVER, Overwrite.IF_NEWER])
def test_kept_file_is_not_touched_at_all(root, overwrite):
    put(root / "x", "file")
    (root / "x").chmod(0o600)
    before = (root / "x").stat()
    target = open_target(root, overwrite)
    restore(target, make_node(b"/x", size_bytes=3, mtime_ns=NOW_NS, mode=0o777))
    after = (root / "x").stat()
    assert (after.st_ctime_ns, after.st_mode) == (before.st_ctime_ns, before.st_mode)


@pytest.mark.parametrize("overwrite", Overwrite)
def test_existing_directory_gets_metadata_unless_nothing_is_overwritten(root, overwrite):
    (root / "d").mkdir(mode=0o711)
    target = open_target(root, overwrite)
    restore(target, make_node(b"/d", D, mode=0o750, mtime_ns=NOW_NS))
    status = (root / "d").stat()
    changed = (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o750, NOW_NS)
    assert changed is (overwrite is not Overwrite.NEVER)


@pytest.mark.parametrize("folder", [b"/old", b"/new"])
def test_path_that_comes_twice_is_refused_the_second_time(root, folder):
    (root / "old").mkdir()
    target = open_target(root, Overwrite.ALWAYS)
    target.directory(make_node(folder, D))
    paths = (folder + b"/f", folder + b"/f")
    results = []
    for number, path in enumerate(paths):
        file = target.file(make_node(path, size_bytes=1))
        if file is None:
            results.append(None)
            continue
        with file:
            file.write_at(0, b"%d" % number)
            try:
                file.finish()
            except EntryNotRestored as error:
                results.append(type(error).__name__)
    target.links_follow()
    target.special(make_node(folder + b"/f", L, target=b"x"))
    target.directory(make_node(folder + b"/f", D))
    target.close()
    assert results == [None if folder == b"/old" else "EntryNotRestored"]
    assert (root / os.fsdecode(folder[1:]) / "f").read_bytes() == b"0"
    assert target.outcome.problems == 3


def test_name_that_appears_during_the_restore_is_not_replaced(root):
    target = open_target(root, Overwrite.NEVER)
    file = target.file(make_node(b"/x", size_bytes=3))
    assert file is not None
    (root / "x").write_text("mine")
    with file, pytest.raises(EntryNotRestored, match="appeared there"):
        file.finish()
    target.links_follow()
    target.close()
    assert (root / "x").read_text() == "mine"
    assert [path.name for path in root.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", Overwrite)
def test_separate_copies_become_links_where_the_policy_allows(root, overwrite):
    for name in ("first", "second"):
        put(root / name, "file")
    facts = {"size_bytes": 3, "mtime_ns": NEWER_NS, "links": 2}
    target = open_target(root, overwrite)
    file = target.file(make_node(b"/first", **facts))
    if file is not None:
        with file:
            file.write_at(0, b"new")
            file.finish()
    target.links_follow()
    target.link(make_node(b"/second", **facts), b"/first")
    target.close()
    assert target.outcome.problems == 0
    if overwrite is Overwrite.NEVER:
        assert target.outcome.kept == 2
        assert not (root / "first").samefile(root / "second")
        assert (root / "second").read_bytes() == b"old"
    else:
        assert (root / "first").samefile(root / "second")
        assert (root / "second").read_bytes() == b"new"
    assert sorted(path.name for path in root.iterdir()) == ["first", "second"]


def test_unchanged_copies_become_links_again(root):
    for name in ("first", "second"):
        put(root / name, "file")
    facts = {"size_bytes": 3, "mtime_ns": NOW_NS, "links": 2}
    target = open_target(root, Overwrite.IF_CHANGED)
    assert target.file(make_node(b"/first", **facts)) is None
    target.links_follow()
    target.link(make_node(b"/second", **facts), b"/first")
    target.close()
    assert (root / "first").samefile(root / "second")


def test_link_to_a_file_that_was_kept_with_other_content_is_refused(root):
    put(root / "first", "file")
    target = open_target(root, Overwrite.NEVER)
    facts = {"size_bytes": 9, "mtime_ns": NEWER_NS, "links": 2}
    assert target.file(make_node(b"/first", **facts)) is None
    target.links_follow()
    target.link(make_node(b"/second", **facts), b"/first")
    target.close()
    assert not (root / "second").exists()
    assert [path for path, _ in target.outcome.not_restored] == [b"/second"]


@pytest.mark.parametrize("overwrite", [Overwrite.NEVER, Overwrite.IF_NEWER])
def test_names_of_an_edited_file_are_all_kept_where_the_policy_keeps_it(root, overwrite):
    put(root / "first", "file", NEWER_NS)
    os.link(root / "first", root / "second")
    target = open_target(root, overwrite)
    facts = {"size_bytes": 9, "mtime_ns": NOW_NS, "links": 2}
    assert target.file(make_node(b"/first", **facts)) is None
    target.links_follow()
    target.link(make_node(b"/second", **facts), b"/first")
    target.close()
    assert (root / "second").read_bytes() == b"old"
    assert (target.outcome.kept, target.outcome.problems) == (2, 0)


def test_name_whose_file_is_missing_is_kept_where_nothing_is_overwritten(root):
    put(root / "second", "file")
    target = open_target(root, Overwrite.NEVER)
    target.links_follow()
    target.link(make_node(b"/second", size_bytes=9, links=2), b"/first")
    target.close()
    assert (target.outcome.kept, target.outcome.problems) == (1, 0)


@is_root
def test_unchanged_link_with_another_owner_is_made_anew(root):
    put(root / "x", "link")
    target = open_target(root, Overwrite.IF_CHANGED)
    restore(target, make_node(b"/x", L, target=b"../canary", mtime_ns=NOW_NS, uid=5))
    assert (root / "x").lstat().st_uid == 5
    assert target.outcome.problems == 0
