"""What a backup wants of the trees of the snapshot that it is compared with."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import final

import msgspec

from backapp_core.plugin_api import EntryKind
from backapp_plugins.archivers.restic.backup.node_batches import (
    BATCH_NODES,
    NamedNode,
    open_batch,
    pack_batch,
)
from backapp_plugins.archivers.restic.format.go_json import name_of
from backapp_plugins.archivers.restic.format.trees import (
    TreeBroken,
    TreeNode,
    decode_node,
    raw_nodes,
)

_LARGE_TREE_BYTES = 8 << 20
"""Of some twenty thousand entries."""
_OPENED = 4
"""So many batches are looked into at a time; entries come almost in the order of their names."""


class _Head(msgspec.Struct, gc=False):
    name: str
    type: str


_decode_head = msgspec.json.Decoder(_Head).decode


@final
class OldNodes:
    """The nodes of one old tree, found by name, by any number of threads.

    They are kept as they were written, for few are looked into; those of a very large directory
    compressed, and opened some thousands at a time.
    """

    def __init__(self, data: bytes = b"") -> None:
        """Take the nodes of a tree, or of none.

        Raises:
            TreeBroken: If it is no tree.
        """
        self._nodes: Mapping[bytes, bytes] = {}
        self._first_names: list[bytes] = []
        self._batches: list[bytes] = []
        self._opened: dict[int, Mapping[bytes, bytes]] = {}
        self._lock = threading.Lock()
        if not data:
            return
        if len(data) <= _LARGE_TREE_BYTES:
            self._nodes = {name: bytes(raw) for name, _, raw in _heads(data)}
            return
        batch: list[NamedNode] = []
        for name, _, raw in _heads(data):
            batch.append((name, bytes(raw)))
            if len(batch) >= BATCH_NODES:
                self._put_away(batch)
                batch = []
        if batch:
            self._put_away(batch)

    def get(self, name: bytes) -> TreeNode | None:
        """Return the node called ``name``, None if there is none that could be found and read."""
        raw = self.as_written(name)
        try:
            return decode_node(raw) if raw else None
        except TreeBroken:  # what somebody else wrote is malformed, so nothing follows from it
            return None

    def as_written(self, name: bytes) -> bytes:
        """Return the JSON of the node called ``name``; empty if there is none."""
        if not self._batches:
            return self._nodes.get(name, b"")
        number = bisect_right(self._first_names, name) - 1
        return self._batch(number).get(name, b"") if number >= 0 else b""

    def _put_away(self, batch: list[NamedNode]) -> None:
        self._first_names.append(batch[0][0])
        self._batches.append(pack_batch(batch))

    def _batch(self, number: int) -> Mapping[bytes, bytes]:
        opened = self._opened.get(number)
        if opened is not None:
            return opened
        with self._lock:
            opened = self._opened.get(number)
            if opened is None:
                if len(self._opened) >= _OPENED:
                    del self._opened[min(self._opened)]
                opened = self._opened[number] = dict(open_batch(self._batches[number]))
            return opened


def entries_as_written(data: bytes) -> Iterator[NamedNode]:
    """Yield name and JSON, byte by byte, of every node that is no directory.

    Raises:
        TreeBroken: If it is no tree, perhaps after nodes that are.
    """
    for name, kind, raw in _heads(data):
        if kind != EntryKind.DIRECTORY.value:
            yield name, bytes(raw)


def _heads(data: bytes) -> Iterator[tuple[bytes, str, msgspec.Raw]]:
    try:
        for raw in raw_nodes(data):
            head = _decode_head(raw)
            yield name_of(head.name), head.type, raw
    except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise TreeBroken(f"it is malformed: {error}") from error


def attributes_of(node: TreeNode) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the extended attributes of a node, None if their names were not kept whole."""
    attributes = node.extended_attributes or ()
    if any("\ufffd" in one.name for one in attributes):
        return None
    return tuple((one.name.encode(), one.value or b"") for one in attributes)
