"""What a backup wants of the trees of the snapshot that it is compared with."""

import msgspec

from backapp_core.plugin_api import EntryKind
from backapp_plugins.archivers.restic.format.go_json import name_of
from backapp_plugins.archivers.restic.format.trees import TreeBroken, TreeNode, decode_tree


class _Head(msgspec.Struct, gc=False):
    name: str
    type: str


class _Tree(msgspec.Struct, gc=False):
    nodes: list[msgspec.Raw] | None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_tree = msgspec.json.Decoder(_Tree).decode


def nodes_by_name(data: bytes) -> dict[bytes, TreeNode]:
    """Return the nodes of a tree by what the entries are called.

    Raises:
        TreeBroken: If it is no tree.
    """
    return {node.raw_name: node for node in decode_tree(data)}


def entries_as_written(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and JSON, byte by byte, of every node that is no directory.

    Raises:
        TreeBroken: If it is no tree.
    """
    found: list[tuple[bytes, bytes]] = []
    try:
        for raw in _decode_tree(data).nodes or ():
            head = _decode_head(raw)
            if head.type != EntryKind.DIRECTORY.value:
                found.append((name_of(head.name), bytes(raw)))
    except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise TreeBroken(f"it is malformed: {error}") from error
    return found


def attributes_of(node: TreeNode) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the extended attributes of a node, None if their names were not kept whole."""
    attributes = node.extended_attributes or ()
    if any("\ufffd" in one.name for one in attributes):
        return None
    return tuple((one.name.encode(), one.value or b"") for one in attributes)
