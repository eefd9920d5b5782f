"""A restore brings back what is whole, names what is not, and believes nothing that it reads."""

import os
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import DamagedRepository, RunCancelled, TargetError
from backapp_core.events import LogLine, Problem
from backapp_core.model.restores import RestoreOutcome
from backapp_core.ports.surroundings import CancelToken
from backapp_core.ports.targets import Everything
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import DamagingTransport, RecordingTransport, flip_bit
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes
from backapp_plugins.archivers.restic.restore import restoring
from backapp_plugins.transports.folder.transport import FolderTransport

LARGE = bytes(range(256)) * 400
"""As random it is stored as large; one thread brings it while another brings the small ones."""


def restore(by_hand, tree: bytes, top: Path, *, place=None, selection=None) -> RestoreOutcome:
    place = place or by_hand.place
    target = FolderTarget(os.fsencode(top), ExtractOptions(), place.surroundings)
    try:
        restoring.restore(place, place.load_index(), tree, target, selection or Everything())
    finally:
        target.close()
    return target.outcome


def content(top: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()
    }


def raw_tree(by_hand, *nodes: TreeNode) -> bytes:
    """Store nodes as they are, in the order given."""
    tree = join_nodes(map(encode_node, nodes))
    by_hand.pack(tree, kind=BlobKind.TREE)
    return id_of(tree)


def file_node(name: str, *parts: bytes, **facts) -> TreeNode:
    size = sum(map(len, parts))
    ids = [id_of(part).hex() for part in parts]
    return TreeNode(**{"name": name, "type": "file", "size": size, "content": ids, **facts})


@pytest.fixture(params=["near", "far"])
def reached(request, by_hand, tmp_path):
    """Return a function that reaches the repository on this machine, then as if elsewhere."""

    def reach():
        if request.param == "far":
            return by_hand.place
        folder = tmp_path / "repository"
        by_hand.write_out(folder)
        return by_hand.reach(FolderTransport(folder, by_hand.surroundings))

    return reach


def test_files_of_all_sizes_come_back_in_all_places(by_hand, reached, tmp_path):
    noise = os.urandom(300_000)
    parts = (LARGE, noise, b"tail")
    by_hand.pack(b"one", b"two", noise, LARGE, b"tail")
    below = by_hand.tree({"big": parts, "again": (b"one", b"one", noise), "empty": ()})
    tree = by_hand.tree({"a": (b"one",), "b": (b"two", b"one")}, {"below": below, "twin": below})
    outcome = restore(by_hand, tree, tmp_path / "out", place=reached())
    expected = {"big": b"".join(parts), "again": b"oneone" + noise, "empty": b""}
    assert content(tmp_path / "out") == {
        "a": b"one",
        "b": b"twoone",
        **{
            f"{folder}/{name}": data
            for folder in ("below", "twin")
            for name, data in expected.items()
        },
    }
    assert (outcome.files, outcome.directories, outcome.problems) == (8, 2, 0)


def test_each_pack_is_read_once_however_its_blobs_are_strewn(by_hand, tmp_path):
    blobs = [b"blob %d" % number for number in range(45)]
    packs = [by_hand.pack(*blobs[first::3]) for first in range(3)]
    tree = by_hand.tree({f"{at:02}": (blob,) for at, blob in enumerate(blobs)})
    transport = RecordingTransport(MemoryTransport(by_hand.bucket))
    restore(by_hand, tree, tmp_path / "out", place=by_hand.reach(transport))
    reads = [one.name for one in transport.operations if one.verb == "read"]
    assert [reads.count(pack_name(pack)) for pack in packs] == [1, 1, 1]
    assert list(content(tmp_path / "out").values()) != []


def test_many_spread_files_need_few_descriptors(by_hand, tmp_path, monkeypatch):
    monkeypatch.setattr(restoring, "_SPREAD_FILES", 3)
    heads = [b"head %d" % number for number in range(40)]
    tails = [b"tail %d" % number for number in range(40)]
    by_hand.pack(*heads)
    by_hand.pack(*tails)
    tree = by_hand.tree(
        {f"{at:02}": pair for at, pair in enumerate(zip(heads, tails, strict=True))}
    )
    outcome = restore(by_hand, tree, tmp_path / "out")
    assert outcome.files == 40
    assert content(tmp_path / "out")["17"] == b"head 17tail 17"


def test_one_blob_of_very_many_files_is_no_burden(by_hand, reached, tmp_path):
    noise = os.urandom(40_000)
    by_hand.pack(noise)
    tree = by_hand.tree({f"{number:03}": (noise,) for number in range(200)})
    before = len(os.listdir("/proc/self/fd"))
    assert restore(by_hand, tree, tmp_path / "out", place=reached()).files == 200
    assert set(content(tmp_path / "out").values()) == {noise}
    assert len(os.listdir("/proc/self/fd")) <= before + 8


def test_zeros_become_holes(by_hand, reached, tmp_path):
    zeros = bytes(1 << 20)
    by_hand.pack(zeros, b"end")
    tree = by_hand.tree({"sparse": (zeros,) * 64 + (b"end",), "hole": (zeros,)})
    restore(by_hand, tree, tmp_path / "out", place=reached())
    for name, size in (("sparse", (64 << 20) + 3), ("hole", 1 << 20)):
        found = (tmp_path / "out" / name).stat()
        assert found.st_size == size
        assert found.st_blocks * 512 < 1 << 18
    assert (tmp_path / "out/sparse").read_bytes()[-4:] == b"\0end"


def test_names_of_one_file_are_linked_and_equal_numbers_alone_are_not(by_hand, tmp_path):
    by_hand.pack(b"shared", b"other")
    linked = {"inode": 7, "device_id": 1, "links": 2}
    below = raw_tree(by_hand, file_node("same", b"shared", **linked))
    tree = raw_tree(
        by_hand,
        TreeNode(name="below", type="dir", content=None, subtree=below.hex()),
        file_node("first", b"shared", **linked),
        file_node("new file with that number", b"other", **linked),
        TreeNode(name="link", type="symlink", linktarget="first", links=1, content=None),
    )
    outcome = restore(by_hand, tree, tmp_path / "out")
    top = tmp_path / "out"
    assert (top / "first").samefile(top / "below/same")
    assert (top / "new file with that number").read_bytes() == b"other"
    assert (top / "link").readlink() == Path("first")
    assert outcome.problems == 0


def test_only_what_is_selected_comes_back_and_is_read(by_hand, tmp_path):
    wanted, unwanted = by_hand.pack(b"wanted"), by_hand.pack(b"unwanted")
    inner = by_hand.tree({"file": (b"wanted",), "sibling": (b"unwanted",)})
    tree = by_hand.tree({"top": (b"unwanted",)}, {"in": inner, "out": inner})

    class Only:
        def wants(self, node):
            return node.path == b"/in/file"

        def enters(self, path):
            return path in {b"/", b"/in"}

    transport = RecordingTransport(MemoryTransport(by_hand.bucket))
    place = by_hand.reach(transport)
    restore(by_hand, tree, tmp_path / "out", place=place, selection=Only())
    assert content(tmp_path / "out") == {"in/file": b"wanted"}
    assert not (tmp_path / "out/out").exists()
    read = {one.name for one in transport.operations}
    assert pack_name(wanted) in read
    assert pack_name(unwanted) not in read


def test_what_is_there_already_is_not_read_again(by_hand, reached, tmp_path):
    noise = os.urandom(50_000)
    data = by_hand.pack(noise, b"tiny")
    tree = by_hand.tree({"large": (noise,), "small": (b"tiny",)})
    place = reached()
    restore(by_hand, tree, tmp_path / "out", place=place)
    transport = RecordingTransport(MemoryTransport(by_hand.bucket))
    again = restore(by_hand, tree, tmp_path / "out", place=by_hand.reach(transport))
    assert again.kept == 2
    assert pack_name(data) not in {one.name for one in transport.operations}


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_blob_costs_its_files_and_no_others(by_hand, tmp_path, damage):
    noise = os.urandom(60_000)
    bad = by_hand.pack(b"whole", b"broken" * 9, noise)
    by_hand.pack(b"elsewhere")
    tree = by_hand.tree(
        {"bad": (b"elsewhere", b"broken" * 9), "bad too": (b"broken" * 9,), "good": (b"elsewhere",)}
        | ({"in the same pack": (b"whole",)} if damage != "gone" else {})
    )
    name = pack_name(bad)
    data = by_hand.bucket.objects[name]
    if damage == "gone":
        by_hand.place.transport.delete(name)
    else:
        start = by_hand.place.load_index().locations(BlobKind.DATA, id_of(b"broken" * 9))[0].offset
        changed = flip_bit(data, 8 * start + 200) if damage == "flip" else data[: start + 20]
        by_hand.bucket.store(name, changed, replace=True)
    outcome = restore(by_hand, tree, tmp_path / "out")
    assert {path for path, _ in outcome.not_restored} == {b"/bad", b"/bad too"}
    assert all(id_of(b"broken" * 9).hex() in reason for _, reason in outcome.not_restored)
    found = content(tmp_path / "out")
    assert found.pop("good") == b"elsewhere"
    assert found == ({} if damage == "gone" else {"in the same pack": b"whole"})


def test_a_second_copy_takes_the_place_of_a_damaged_one(by_hand, tmp_path):
    first = by_hand.pack(b"content", b"first of all")
    second = by_hand.pack(b"content", b"second of all")
    tree = by_hand.tree({"file": (b"content",)})
    for pack in (first, second):
        data = by_hand.bucket.objects[pack_name(pack)]
        by_hand.bucket.store(pack_name(pack), flip_bit(data, 150), replace=True)
        outcome = restore(by_hand, tree, tmp_path / f"without {pack.hex()}")
        assert outcome.problems == 0
        by_hand.bucket.store(pack_name(pack), data, replace=True)


def test_what_arrives_wrong_once_is_read_again_and_told(by_hand, tmp_path):
    pack = by_hand.pack(b"content", os.urandom(50_000))
    tree = by_hand.tree({"file": (b"content",)})
    lies = iter([True])

    def damage(name: str, data: bytes) -> bytes:
        is_bad = name == pack_name(pack) and next(lies, False)
        return flip_bit(data, 200) if is_bad else data

    place = by_hand.reach(DamagingTransport(MemoryTransport(by_hand.bucket), damage))
    assert restore(by_hand, tree, tmp_path / "out", place=place).problems == 0
    said = [one.text for one in by_hand.recording.of(LogLine)]
    assert any("1 blob came damaged" in text for text in said)


@pytest.mark.parametrize("lie", [lambda data: data[:20], lambda data: data + b"<html>"])
def test_answers_of_another_length_do_no_harm(by_hand, tmp_path, lie):
    pack = by_hand.pack(b"content")
    tree = by_hand.tree({"file": (b"content",)})
    place = by_hand.reach(
        DamagingTransport(
            MemoryTransport(by_hand.bucket),
            lambda name, data: lie(data) if name == pack_name(pack) else data,
        )
    )
    outcome = restore(by_hand, tree, tmp_path / "out", place=place)
    assert set(content(tmp_path / "out").values()) <= {b"content"}
    assert outcome.files + len(outcome.not_restored) == 1


def test_a_size_that_its_blobs_do_not_have_is_refused(by_hand, tmp_path):
    by_hand.pack(b"content")
    tree = raw_tree(
        by_hand,
        file_node("huge", size=2**62),
        file_node("long", b"content", size=8),
        file_node("right", b"content"),
        file_node("short", b"content", size=3),
        file_node("unknown", b"never stored"),
    )
    outcome = restore(by_hand, tree, tmp_path / "out")
    assert content(tmp_path / "out") == {"right": b"content"}
    assert {path for path, _ in outcome.not_restored} == {
        b"/huge",
        b"/long",
        b"/short",
        b"/unknown",
    }


def test_an_index_that_lies_about_places_is_found_out(by_hand, tmp_path):
    pack = by_hand.pack(b"content", is_listed=False)
    length = len(by_hand.bucket.objects[pack_name(pack)])
    names = ("beyond", "huge", "bomb", "other")
    places = ((length + 5, 60, 7), (0, 2**32 - 1, 7), (0, 60, 2**32 - 1), (3, 60, 7))
    entries = [
        PackEntry(BlobKind.DATA, id_of(name.encode()), *place)
        for name, place in zip(names, places, strict=True)
    ]
    by_hand.index((pack, entries))
    nodes = [
        file_node(name, name.encode(), size=place[2])
        for name, place in sorted(zip(names, places, strict=True))
    ]
    outcome = restore(by_hand, raw_tree(by_hand, *nodes), tmp_path / "out")
    assert len(outcome.not_restored) == 4
    assert content(tmp_path / "out") == {}


def test_damaged_trees_are_named_and_the_rest_comes_back(by_hand, tmp_path):
    by_hand.pack(b"content")
    inner = by_hand.tree({"file": (b"content",)})
    by_hand.tree({"lost": (b"content",)})
    lost = id_of(b"no such tree")
    tree = by_hand.tree({"top": (b"content",)}, {"a": lost, "b": inner, "c": lost})
    with pytest.raises(DamagedRepository, match=lost.hex()):
        restore(by_hand, tree, tmp_path / "out")
    assert content(tmp_path / "out") == {"b/file": b"content", "top": b"content"}
    assert [one.path for one in by_hand.recording.of(Problem)] == [b"/a", b"/c"]
    assert (tmp_path / "out/b").stat().st_mode & 0o777 == 0


def test_a_restore_stops_when_it_is_asked_to(by_hand, tmp_path):
    by_hand.pack(b"content")
    tree = by_hand.tree({"file": (b"content",)})
    cancel = CancelToken()
    place = by_hand.reach(MemoryTransport(by_hand.bucket), cancel=cancel)
    cancel.cancel()
    with pytest.raises(RunCancelled):
        restore(by_hand, tree, tmp_path / "out", place=place)
    assert content(tmp_path / "out") == {}


def test_a_target_that_fails_ends_it_without_leftovers(by_hand, reached, tmp_path, monkeypatch):
    noise = os.urandom(50_000)
    by_hand.pack(b"content", noise)
    tree = by_hand.tree({"large": (noise,), "small": (b"content",)})
    write = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if len(data) in {7, 50_000}:
            raise OSError(28, "No space left on device")
        return write(fd, data, offset)

    place = reached()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(TargetError, match="No space"):
        restore(by_hand, tree, tmp_path / "out", place=place)
    assert list((tmp_path / "out").iterdir()) == []
