r"""Trees: the nodes of one directory as JSON, in byte order of their names.

``{"nodes":[…]}\n`` with a node per entry. A tree that others wrote is copied byte by byte and never
written anew from `TreeNode`, which lacks what it does not know.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from backapp_plugins.archivers.restic.format.go_json import escaped, mended, name_of
from backapp_plugins.archivers.restic.format.layout import ID_BYTES

_PIECE_BYTES = 1 << 20
WHOLE_TREE_BYTES = 1 << 20
"""A tree of more bytes is made into nodes one by one."""
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Word: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_T = TypeVar("_T")
_UNDECODABLE = (msgspec.MsgspecError, UnicodeError)


class TreeBroken(ValueError):
    """What should be a tree, or a node in one, is none."""


class ExtendedAttribute(msgspec.Struct, frozen=True, gc=False):
    """Name and value of an extended attribute; names that are no UTF-8 were lost in writing."""

    name: str
    value: bytes | None


class TreeNode(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A node as it stands in a tree: restic's fields, in its order.

    Zero and nothing are left out where they are the default. Only name and type are always there:
    other programs leave out more than restic does.
    """

    name: str
    """Quoted; `raw_name` is what the entry is called."""
    type: str
    mode: _Word = 0
    """In Go's bits."""
    mtime: str = ""
    atime: str = ""
    ctime: str = ""
    uid: _Word | None = None
    gid: _Word | None = None
    user: str = ""
    group: str = ""
    inode: _Count = 0
    device_id: _Count = 0
    size: _Count = 0
    links: _Count = 0
    linktarget: str = ""
    linktarget_raw: bytes | None = None
    """The target, if it is no UTF-8."""
    extended_attributes: list[ExtendedAttribute] | None = None
    generic_attributes: dict[str, msgspec.Raw] | None = None
    device: _Count = 0
    content: list[str] | UnsetType | None = UNSET
    """Hex ids of a file's blobs; restic writes null for all that is no file."""
    subtree: str | None = None
    error: str = ""

    @property
    def raw_name(self) -> bytes:
        """What the entry is called, whether or not anything may be called so.

        Raises:
            TreeBroken: If the name is not quoted as it should be.
        """
        try:
            return name_of(self.name)
        except ValueError as error:
            raise TreeBroken(str(error)) from error

    def content_ids(self) -> list[bytes]:
        """Return the ids of a file's blobs in order; none, too, if there is no list of them.

        Raises:
            TreeBroken: If one is no id.
        """
        return [self._id(text) for text in self.content] if self.content else []

    def subtree_id(self) -> bytes:
        """Return the id of a directory's tree.

        Raises:
            TreeBroken: If there is none.
        """
        if self.subtree is None:
            raise TreeBroken(f"'{self.name}' is a directory without a tree")
        return self._id(self.subtree)

    def _id(self, text: str) -> bytes:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != ID_BYTES or len(text) != 2 * ID_BYTES:  # spaces would be passed over
            raise TreeBroken(f"'{self.name}' names '{text}', which is no id")
        return raw


class _Tree(msgspec.Struct):
    nodes: list[TreeNode] | None


class _RawTree(msgspec.Struct):
    nodes: list[msgspec.Raw] | None


_encoder = msgspec.json.Encoder()
_node_decoder = msgspec.json.Decoder(TreeNode)
_tree_decoder = msgspec.json.Decoder(_Tree)
_raw_tree_decoder = msgspec.json.Decoder(_RawTree)


def encode_node(node: TreeNode) -> bytes:
    """Return the JSON of one node as Go would write it."""
    return escaped(_encoder.encode(node))


def join_nodes(nodes: Iterable[bytes]) -> bytes:
    """Return the tree of nodes that are JSON already, in the order given."""
    return b'{"nodes":[%b]}\n' % b",".join(nodes)


def join_in_pieces(nodes: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the tree that `join_nodes` returns in pieces of about a MiB."""
    pending, size_bytes = [b'{"nodes":['], 0
    between = b""
    for node in nodes:
        pending += (between, node)
        between = b","
        size_bytes += len(node)
        if size_bytes >= _PIECE_BYTES:
            yield b"".join(pending)
            pending, size_bytes = [], 0
    yield b"".join((*pending, b"]}\n"))


def decode_tree(data: bytes) -> list[TreeNode]:
    """Return the nodes of a tree, in the order of the tree, whatever that is.

    Raises:
        TreeBroken: If it is no tree.
    """
    return _decode(_tree_decoder, data).nodes or []


def iter_tree(data: bytes) -> Iterator[TreeNode]:
    """Yield the nodes of a tree like `decode_tree`, but those of a large one are made one by one.

    A node takes several times the memory of its JSON. What is remembered of the nodes to come are
    72 bytes each that say where they stand.

    Raises:
        TreeBroken: If it is no tree; if only a node is none, after those before it.
    """
    if len(data) <= WHOLE_TREE_BYTES:
        yield from decode_tree(data)
        return
    yield from map(decode_node, raw_nodes(data))


def decode_node(raw: bytes | msgspec.Raw) -> TreeNode:
    """Return a node of a tree.

    Raises:
        TreeBroken: If it is none.
    """
    return _decode(_node_decoder, raw)


def raw_nodes(data: bytes) -> Sequence[msgspec.Raw]:
    """Return the JSON of each node as it stands in a tree, in the order of the tree.

    Raises:
        TreeBroken: If it is no tree.
    """
    return _decode(_raw_tree_decoder, data).nodes or ()


def is_safe_name(name: bytes) -> bool:
    """Say whether ``name`` names an entry of its directory and nothing elsewhere."""
    return name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes | msgspec.Raw) -> _T:
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise TreeBroken(f"it is nested too deeply: {error}") from error
    except _UNDECODABLE:
        try:
            return decoder.decode(mended(bytes(data)))
        except _UNDECODABLE as error:
            raise TreeBroken(str(error)) from error
