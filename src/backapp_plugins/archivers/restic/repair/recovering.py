"""Makes a snapshot of what no snapshot leads to any more."""

import stat
from collections import Counter
from collections.abc import Sequence

from backapp_core.plugin_api import Snapshot, host_name, user_and_group, user_name
from backapp_plugins.archivers.restic.format.go_modes import go_mode
from backapp_plugins.archivers.restic.format.go_times import NS_PER_SECOND, local_times
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.snapshots import (
    Totals,
    decode_snapshot,
    encode_snapshot,
)
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes
from backapp_plugins.archivers.restic.listing import all_records
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.needs import top_trees
from backapp_plugins.archivers.restic.prune.pack_use import take_stock
from backapp_plugins.archivers.restic.writing.publishing import publish
from backapp_plugins.archivers.restic.writing.saving import BlobSaver

ROOT = b"/recover"
TAG = "recovered"
"""Both as restic has them."""
_SHORT = 8


def recover(place: Place) -> Snapshot | None:
    """Store a snapshot with a folder for each tree that nothing leads to; None if there is none.

    Raises:
        RepositoryLocked: If another process excludes this.
    """
    with place.hold(is_exclusive=False) as hold:
        index = place.load_index()
        is_safe = take_stock(place, index.table()).is_safe()
        known = {record.tree for record in all_records(place)}
        lost = sorted(set(top_trees(place, index, is_safe)) - known)
        if not lost:
            return None
        with BlobSaver(place, index, hold.check) as saver:
            tree = saver.save(BlobKind.TREE, _tree_of(place, lost))
            saver.finish()
        document = _document(place, tree)
        ((snapshot_id, _),) = publish(place, hold, [document])
        return decode_snapshot(document, snapshot_id).snapshot


def _tree_of(place: Place, trees: Sequence[bytes]) -> bytes:
    """Return a tree of folders that are called by the beginnings of ids."""
    time = local_times()(int(place.surroundings.clock.now().timestamp()) * NS_PER_SECOND)
    uid, gid = user_and_group()
    names = [tree.hex()[:_SHORT] for tree in trees]
    short = Counter(names)
    return join_nodes(
        encode_node(
            TreeNode(
                name=name if short[name] == 1 else tree.hex(),
                type="dir",
                mode=go_mode(stat.S_IFDIR | 0o755),
                mtime=time,
                atime=time,
                ctime=time,
                uid=uid,
                gid=gid,
                content=None,
                subtree=tree.hex(),
            )
        )
        for tree, name in zip(trees, names, strict=True)
    )


def _document(place: Place, tree: bytes) -> bytes:
    now = place.surroundings.clock.now()
    snapshot = Snapshot(
        id="",
        taken_at=now,
        hostname=host_name(),
        username=user_name(),
        roots=(ROOT,),
        tags=(TAG,),
    )
    uid, gid = user_and_group()
    return encode_snapshot(snapshot, tree, Totals(now, now), uid=uid, gid=gid)
