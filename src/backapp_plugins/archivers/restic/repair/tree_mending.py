"""Makes trees anew without what is lost; nodes that lack nothing stay byte for byte as they are."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, final

import msgspec

from backapp_core.plugin_api import DamagedRepository
from backapp_plugins.archivers.restic.format.go_json import name_of
from backapp_plugins.archivers.restic.format.layout import ID_BYTES, SEAL_BYTES, BlobKind
from backapp_plugins.archivers.restic.format.tree_links import links_of
from backapp_plugins.archivers.restic.format.trees import TreeBroken, join_nodes, raw_nodes
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader

_EMPTY_TREE = join_nodes(())
Change: TypeAlias = tuple[bytes, str]
"""A path below the tree, and what became of it."""
SaveTree: TypeAlias = Callable[[bytes], bytes]
"""Takes a tree and returns its id."""


class Mended(NamedTuple):
    """What a tree became."""

    tree_id: bytes
    changes: Sequence[Change]


class _Node(msgspec.Struct, gc=False):
    name: str
    content: list[str] | None = None
    subtree: str | None = None


_node_decoder = msgspec.json.Decoder(_Node)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@final
class TreeMender:
    """Mends trees from the bottom up, each distinct one once."""

    def __init__(self, trees: TreeReader, index: Index, save: SaveTree) -> None:
        self._trees = trees
        self._index = index
        self._save = save
        self._known: dict[bytes, Mended | None] = {}

    def mend(self, tree_id: bytes) -> Mended | None:
        """Return what becomes of a tree and all below it; None if the tree itself cannot be read.

        Raises:
            TransportError: If the destination fails.
        """
        waiting = [tree_id]
        while waiting:
            here = waiting[-1]
            if here in self._known:
                waiting.pop()
                continue
            try:
                tree = self._trees.load(here)
                below = links_of(tree).subtrees
                unknown = {
                    one
                    for at in range(0, len(below), ID_BYTES)
                    if (one := below[at : at + ID_BYTES]) not in self._known
                }
                if unknown:
                    waiting.extend(unknown)
                else:
                    self._known[here] = self._mend_one(here, tree)
            except (DamagedRepository, TreeBroken):
                self._known[here] = None
        return self._known[tree_id]

    def _mend_one(self, tree_id: bytes, tree: bytes) -> Mended:
        """Mend a tree when what becomes of all below it is known.

        Raises:
            TreeBroken: If it is no tree.
        """
        made: list[bytes | msgspec.Raw] = []
        changes: list[Change] = []
        for raw in raw_nodes(tree):
            try:
                node = _node_decoder.decode(raw)
                name = name_of(node.name)
            except (ValueError, RecursionError) as error:
                raise TreeBroken(str(error)) from error
            if node.subtree is not None:
                made.append(self._mend_folder(raw, node.subtree, name, changes))
            elif node.content:
                made.append(self._mend_file(raw, node.content, name, changes))
            else:
                made.append(raw)
        if not changes:
            return Mended(tree_id, ())
        return Mended(self._save(join_nodes(map(bytes, made))), changes)

    def _mend_folder(
        self, raw: msgspec.Raw, subtree: str, name: bytes, changes: list[Change]
    ) -> bytes | msgspec.Raw:
        mended = self._known[bytes.fromhex(subtree)]
        if mended is None:
            changes.append((name, "what was in this folder is lost, and it is empty now"))
            return _with(raw, subtree=self._save(_EMPTY_TREE).hex())
        if not mended.changes:
            return raw
        changes.extend((name + b"/" + path, text) for path, text in mended.changes)
        return _with(raw, subtree=mended.tree_id.hex())

    def _mend_file(
        self, raw: msgspec.Raw, content: Sequence[str], name: bytes, changes: list[Change]
    ) -> bytes | msgspec.Raw:
        sizes = [self._size_of(bytes.fromhex(one)) for one in content]
        kept = [one for one, size in zip(content, sizes, strict=True) if size is not None]
        if len(kept) == len(content):
            return raw
        lost = len(content) - len(kept)
        changes.append((name, f"{lost} of its {len(content)} parts are lost, and left out"))
        return _with(raw, content=kept, size=sum(size for size in sizes if size is not None))

    def _size_of(self, blob_id: bytes) -> int | None:
        """Return the length of a content, None if nobody has it."""
        for location in self._index.locations(BlobKind.DATA, blob_id):
            return location.uncompressed or location.length - SEAL_BYTES
        return None


def _with(raw: msgspec.Raw, **changes: object) -> bytes:
    """Return a node with other fields, the rest of it as it is."""
    fields: dict[str, bytes | msgspec.Raw] = {**_fields_decoder.decode(raw)}
    fields.update((key, msgspec.json.encode(value)) for key, value in changes.items())
    texts = (b"%b:%b" % (msgspec.json.encode(key), bytes(one)) for key, one in fields.items())
    return b"{%b}" % b",".join(texts)
