"""What stands in a repository can be looked at, object by object."""

import json

import pytest

from backapp_core.errors import InputError
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.showing import show


@pytest.fixture
def filled(by_hand):
    by_hand.data = by_hand.pack(b"content")
    by_hand.below = by_hand.tree({"file": [b"content"]})
    by_hand.top = by_hand.tree({}, {"ä": by_hand.below})
    by_hand.id = by_hand.snapshot(by_hand.top)
    return by_hand


def shown(by_hand, sort: str, name: str = "") -> bytes:
    return b"".join(show(by_hand.place, sort, name))


def test_documents_are_shown_as_json(filled):
    assert json.loads(shown(filled, "config"))["chunker_polynomial"] == "3da3358b4dc173"
    snapshot = json.loads(shown(filled, "snapshot", filled.id[:10]))
    assert snapshot["tree"] == filled.top.hex()
    index = min(filled.names("index/")).partition("/")[2]
    assert "packs" in json.loads(shown(filled, "index", index))
    with filled.place.hold(is_exclusive=True):
        lock = min(filled.names("locks/")).partition("/")[2]
        assert json.loads(shown(filled, "lock", lock))["exclusive"] is True


def test_documents_begin_their_fields_on_lines_of_their_own(filled):
    assert shown(filled, "config").startswith(b'{\n  "version": 2,\n')


def test_content_is_shown_as_it_is(filled):
    assert shown(filled, "blob", id_of(b"content").hex()) == b"content"
    pack = filled.bucket.objects[pack_name(filled.data)]
    assert shown(filled, "pack", filled.data.hex()[:12]) == pack


@pytest.mark.parametrize("path", ["", ":/ä", ":ä/"])
def test_trees_are_found_by_id_and_by_path(filled, path):
    index = filled.place.load_index()
    wanted = filled.below if path else filled.top
    tree = filled.place.read_blob(index, BlobKind.TREE, wanted)
    assert shown(filled, "tree", filled.id + path) == tree
    assert shown(filled, "tree", wanted.hex()) == tree


@pytest.mark.parametrize(
    ("sort", "name"),
    [
        ("nonsense", "00"),
        ("blob", "00"),
        ("blob", "0" * 64),
        ("snapshot", ""),
        ("snapshot", "xyz"),
        ("pack", "f" * 64),
        ("tree", "short"),
    ],
)
def test_what_is_not_there_is_refused(filled, sort, name):
    with pytest.raises(InputError):
        shown(filled, sort, name)


def test_a_folder_that_is_not_in_a_snapshot_is_refused(filled):
    with pytest.raises(InputError, match="no folder 'file'"):
        shown(filled, "tree", f"{filled.id}:file")


def test_a_beginning_that_fits_several_is_refused(filled):
    filled.snapshot(filled.top)
    ids = sorted(name.partition("/")[2] for name in filled.names("snapshots/"))
    if ids[0][0] == ids[1][0]:
        with pytest.raises(InputError, match="begin with"):
            shown(filled, "snapshot", ids[0][0])
    with pytest.raises(InputError, match="no snapshot ''"):
        shown(filled, "snapshot", "")
