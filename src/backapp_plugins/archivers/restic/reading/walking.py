"""Walks a snapshot's trees in the order of a scan, and makes nodes of what is in them.

What others wrote is believed in nothing: names must be names, depth and number are bounded, and a
tree or an entry that cannot be used is a fault that is named, beside which the walk goes on.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from typing import NoReturn, TypeAlias, final

from backapp_core.plugin_api import DamagedRepository, EntryKind, Node, Selection, to_text
from backapp_plugins.archivers.restic.format.nodes import node_of
from backapp_plugins.archivers.restic.format.trees import (
    WHOLE_TREE_BYTES,
    TreeBroken,
    TreeNode,
    decode_tree,
    is_safe_name,
    iter_tree,
)
from backapp_plugins.archivers.restic.reading.expansion import Guard
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader

MOST_LEVELS = 4096
MOST_PATH_BYTES = 1 << 16
"""The system takes no path of more than 4,096 bytes at once, but trees may be deeper."""
_FOLDERS_AT_ONCE = 256
_NODE_BYTES = 256
"""What a node takes at least in a large tree, roughly."""
_FOLDER = EntryKind.DIRECTORY.value
_is_plain = re.compile(r"(?!\.{1,2}\Z)[^/\\\"\n\0]+").fullmatch
"""Whether a name is safe and quoted by nothing but itself."""

Step: TypeAlias = tuple[Node, TreeNode]
"""An entry as the model has it, and as it is stored."""
OnFault: TypeAlias = Callable[[bytes, DamagedRepository], None]
"""Told of the path of what cannot be used, and why."""
_Named: TypeAlias = tuple[bytes, TreeNode]


def refuse(path: bytes, error: DamagedRepository) -> NoReturn:
    """Let a fault end the walk."""
    del path
    raise error


@final
class Walk:
    """One walk through one snapshot, by one thread."""

    def __init__(
        self, trees: TreeReader, root: bytes, selection: Selection, on_fault: OnFault = refuse
    ) -> None:
        """Prepare.

        Args:
            trees: Where trees come from.
            root: The snapshot's tree.
            selection: Directories that it does not enter are left out with all that is below them.
            on_fault: Told of each tree and each entry that cannot be used.
        """
        self._trees = trees
        self._root = root
        self._selection = selection
        self._on_fault = on_fault
        self._guard = Guard(trees.load, root)
        self._levels: list[_Level] = []

    def steps(self) -> Iterator[Step]:
        """Yield every entry of the directories that are entered.

        First what is no directory, then each directory followed by what is in it, both in byte
        order. Of several entries of one name the last one counts, as with restic.

        Raises:
            TransportError: If the destination fails.
        """
        path, tree_id = b"/", self._root
        while True:
            if tree_id and self._selection.enters(path):
                yield from self._enter(path, tree_id)
            folder = self._next_folder()
            if folder is None:
                return
            path, stored = folder
            step = self._step(path, stored)
            tree_id = b""
            if step is not None:
                yield step
                tree_id = self._subtree(path, stored)

    def _enter(self, path: bytes, tree_id: bytes) -> Iterator[Step]:
        """Yield what is in a directory and is none, and make its directories the next ones."""
        try:
            level = self._read(path, tree_id)
            for child, stored in level.others:
                if (step := self._step(child, stored)) is not None:
                    yield step
        except TreeBroken as error:
            self._blame_tree(path, tree_id, error)
        except DamagedRepository as error:
            self._on_fault(path, error)
        else:
            self._levels.append(level)

    def _read(self, path: bytes, tree_id: bytes) -> "_Level":
        """Read a directory.

        Raises:
            TreeBroken: If it is none, or lies too deep.
            DamagedRepository: If it is lost.
        """
        if len(self._levels) >= MOST_LEVELS or len(path) > MOST_PATH_BYTES:
            raise TreeBroken("it lies deeper than anything that can be restored")
        data = self._trees.load(tree_id, self._coming())
        if len(data) > WHOLE_TREE_BYTES:
            self._guard.meet(tree_id, len(data) // _NODE_BYTES)
            every = self._named(path, _ascending(data))
            # Nodes are made twice rather than kept; what is wrong with them is said once.
            again = self._named(path, _ascending(data), is_quiet=True)
            return _Level(
                path,
                tree_id,
                (one for one in every if one[1].type != _FOLDER),
                (one for one in again if one[1].type == _FOLDER),
            )
        nodes = decode_tree(data)
        self._guard.meet(tree_id, len(nodes))
        named = list(self._named(path, nodes))
        if not all(first[0] < second[0] for first, second in pairwise(named)):
            named = sorted(dict(named).items())
        folders = [one for one in named if one[1].type == _FOLDER]
        if folders:
            named = [one for one in named if one[1].type != _FOLDER]
        return _Level(path, tree_id, named, iter(folders))

    def _named(
        self, path: bytes, nodes: Iterable[TreeNode], *, is_quiet: bool = False
    ) -> Iterator[_Named]:
        """Yield nodes with their paths, but for those whose names are none."""
        above = path if path == b"/" else path + b"/"
        for stored in nodes:
            if _is_plain(stored.name):  # nearly all are, and this is cheaper than what follows
                yield above + stored.name.encode(), stored
                continue
            try:
                name = _safe_name(stored)
            except TreeBroken as error:
                if not is_quiet:
                    self._blame_entry(path, error)
            else:
                yield above + name, stored

    def _next_folder(self) -> _Named | None:
        """Return the directory that comes next and go up to the level that it is on."""
        levels = self._levels
        while levels:
            level = levels[-1]
            try:
                folder = level.next_folder()
            except TreeBroken as error:
                self._blame_tree(level.path, level.tree_id, error)
                folder = None
            if folder is not None:
                return folder
            levels.pop()
        return None

    def _step(self, path: bytes, stored: TreeNode) -> Step | None:
        try:
            return node_of(path, stored), stored
        except TreeBroken as error:
            self._blame_entry(path, error)
            return None

    def _subtree(self, path: bytes, stored: TreeNode) -> bytes:
        try:
            return stored.subtree_id()
        except TreeBroken as error:
            self._blame_entry(path, error)
            return b""

    def _coming(self) -> Iterator[bytes]:
        """Yield the trees that come next, as far as that is known."""
        for level in reversed(self._levels):
            for _, stored in level.waiting:
                yield bytes.fromhex(stored.subtree or "")

    def _blame_tree(self, path: bytes, tree_id: bytes, error: TreeBroken) -> None:
        reason = f"tree {tree_id.hex()} of '{to_text(path)}' cannot be used: {error}"
        self._on_fault(path, DamagedRepository(reason))

    def _blame_entry(self, path: bytes, error: TreeBroken) -> None:
        reason = f"an entry of the snapshot, at '{to_text(path)}', cannot be used: {error}"
        self._on_fault(path, DamagedRepository(reason))


@final
class _Level:
    """A directory on the way, and what of it is still to come."""

    def __init__(
        self, path: bytes, tree_id: bytes, others: Iterable[_Named], folders: Iterator[_Named]
    ) -> None:
        self.path = path
        self.tree_id = tree_id
        self.others = others
        self.waiting: deque[_Named] = deque()
        self._folders = folders

    def next_folder(self) -> _Named | None:
        """Return the next directory, None after the last.

        Raises:
            TreeBroken: If what comes next is no node.
        """
        if not self.waiting:
            self.waiting.extend(islice(self._folders, _FOLDERS_AT_ONCE))
        return self.waiting.popleft() if self.waiting else None


def nodes(trees: TreeReader, root: bytes, selection: Selection) -> Iterator[Node]:
    """Yield the selected nodes of a snapshot.

    Raises:
        DamagedRepository: If a tree is lost or no tree, or an entry cannot be one.
        TransportError: If the destination fails.
    """
    wants = selection.wants
    for node, _ in Walk(trees, root, selection).steps():
        if wants(node):
            yield node


def find(trees: TreeReader, root: bytes, path: bytes) -> TreeNode | None:
    """Return what a snapshot has at ``path``, None if there is nothing.

    Raises:
        DamagedRepository: If a tree on the way is lost or no tree.
        TransportError: If the destination fails.
    """
    tree_id = root
    found: TreeNode | None = None
    *folders, last = path.split(b"/")[1:]
    try:
        for name in folders:
            folder = _entry(trees.load(tree_id), name)
            if folder is None or folder.type != _FOLDER:
                return None
            tree_id = folder.subtree_id()
        found = _entry(trees.load(tree_id), last)
    except TreeBroken as error:
        reason = f"tree {tree_id.hex()} on the way to '{to_text(path)}' cannot be used: {error}"
        raise DamagedRepository(reason) from error
    return found


def _entry(data: bytes, name: bytes) -> TreeNode | None:
    found: TreeNode | None = None
    for stored in iter_tree(data):
        if stored.raw_name == name:
            found = stored  # of several the last one counts
    return found


def _safe_name(stored: TreeNode) -> bytes:
    name = stored.raw_name
    if not is_safe_name(name):
        raise TreeBroken(f"nothing can be called '{to_text(name)}'")
    return name


def _ascending(data: bytes) -> Iterator[TreeNode]:
    """Yield the nodes of a large tree, which cannot be put in order without keeping them all.

    Raises:
        TreeBroken: If it is no tree, or its names do not ascend.
    """
    before: bytes | None = None
    for stored in iter_tree(data):
        name = stored.raw_name
        if before is not None and name <= before:
            raise TreeBroken(f"'{to_text(name)}' does not stand where it belongs")
        before = name
        yield stored
