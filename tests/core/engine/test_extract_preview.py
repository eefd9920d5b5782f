"""A preview says of every entry what the restore then does."""

import os
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.engine.extract_preview import Preview
from backapp_core.events import FileDone, Recording
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.restores import Action, Overwrite
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.target_contract import make_node

D = EntryKind.DIRECTORY
NOW_NS = 1_700_000_000_000_000_007
OLDER_NS = NOW_NS - 10**9
NEWER_NS = NOW_NS + 10**9


@pytest.fixture
def root(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def put(place: Path, mtime_ns: int = NOW_NS, content: bytes = b"old") -> None:
    place.write_bytes(content)
    os.utime(place, ns=(mtime_ns, mtime_ns))


def name_of(number: int) -> Node:
    return make_node(b"/h%d" % number, size_bytes=3, mtime_ns=NOW_NS, links=2)


def foreseen(root: Path, overwrite: Overwrite, nodes: list[Node]) -> dict[bytes, Action]:
    with Preview(root, overwrite) as preview:
        return {node.path: preview.would(node) for node in nodes}


def restored(root: Path, overwrite: Overwrite, nodes: list[Node]) -> dict[bytes, Action]:
    """Restore as archivers do; what was made and what was replaced looks the same afterwards."""
    events = Recording()
    there = {node.path: os.path.lexists(os.fsencode(root) + node.path) for node in nodes}
    target = FolderTarget(
        os.fsencode(root),
        ExtractOptions(overwrite=overwrite, reports_files=True),
        Surroundings(root, root, events=events),
    )
    links = []
    for node in nodes:
        if node.kind is D:
            target.directory(node)
        elif node.is_hard_linked and links:
            links.append(node)
        else:
            links.extend([node] if node.is_hard_linked else [])
            file = target.file(node)
            if file is not None:
                with file:
                    file.write_at(0, b"new")
                    file.finish()
    target.links_follow()
    for node in links[1:]:
        target.link(node, links[0].path)
    target.close()
    refused = dict(target.outcome.not_restored)
    kept = {one.path for one in events.of(FileDone) if one.action == "kept"}
    return {
        node.path: Action.REFUSE
        if node.path in refused
        else Action.KEEP
        if node.path in kept or (node.kind is D and there[node.path])
        else Action.OVERWRITE
        if there[node.path]
        else Action.CREATE
        for node in nodes
    }


TREE = [
    make_node(b"/d", D, mtime_ns=NOW_NS),
    make_node(b"/d/f", size_bytes=3, mtime_ns=NOW_NS),
    make_node(b"/d/e", D, mtime_ns=NOW_NS),
    make_node(b"/d/e/g", size_bytes=3, mtime_ns=NOW_NS),
    make_node(b"/dd", size_bytes=3, mtime_ns=NOW_NS),
]


@pytest.mark.parametrize("overwrite", Overwrite)
@pytest.mark.parametrize("mtime_ns", [OLDER_NS, NEWER_NS], ids=["older", "newer"])
def test_everything_below_a_refused_directory_is_refused(root, overwrite, mtime_ns):
    put(root / "d", mtime_ns)
    plan = foreseen(root, overwrite, TREE)
    done = restored(root, overwrite, TREE)
    is_replaced = overwrite in {Overwrite.ALWAYS, Overwrite.IF_CHANGED} or (
        overwrite is Overwrite.IF_NEWER and mtime_ns == OLDER_NS
    )
    # What stood there was no directory, so this is not one that is kept.
    done[b"/d"] = Action.OVERWRITE if is_replaced else done[b"/d"]
    assert plan == done
    assert (plan[b"/d/e/g"] is Action.REFUSE) is not is_replaced
    assert plan[b"/dd"] is Action.CREATE


def test_nothing_is_restored_through_a_link_that_no_directory_replaces(root):
    (root / "elsewhere").mkdir()
    (root / "d").symlink_to("elsewhere")
    assert foreseen(root, Overwrite.ALWAYS, [TREE[1]]) == {b"/d/f": Action.REFUSE}


@pytest.mark.parametrize("overwrite", Overwrite)
@pytest.mark.parametrize(
    "there",
    [
        "",
        "linked",
        "copies",
        "edited",
        "first edited",
        "first missing",
        "second missing",
        "blocked",
    ],
)
def test_other_names_of_a_file_follow_the_first(root, overwrite, there):
    first, second = root / "h1", root / "h2"
    match there:
        case "linked":
            put(first)
            os.link(first, second)
        case "copies":
            put(first)
            put(second)
        case "edited":
            put(first, NEWER_NS, b"edited")
            os.link(first, second)
        case "first edited":
            put(first, NEWER_NS, b"edited")
            put(second)
        case "first missing":
            put(second)
        case "second missing":
            put(first, NEWER_NS, b"edited")
        case "blocked":
            (first / "mine").mkdir(parents=True)
    nodes = [name_of(1), name_of(2), name_of(3)]
    plan = foreseen(root, overwrite, nodes)
    assert plan == restored(root, overwrite, nodes)


def test_restore_into_a_missing_folder_makes_all_names(tmp_path):
    nodes = [*TREE, name_of(1), name_of(2)]
    plan = foreseen(tmp_path / "no/where", Overwrite.NEVER, nodes)
    assert set(plan.values()) == {Action.CREATE}
