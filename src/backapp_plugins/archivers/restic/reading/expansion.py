"""Guards a walk against trees that mention one another so often that it would never end.

A tree may stand in any number of places, so a few small ones that each mention the next ten times
stand for more entries than could ever be listed. How many there are is counted without a walk, from
each distinct tree once, when a walk has met suspiciously much again and again.
"""

from collections.abc import Callable, Iterator
from typing import final

import msgspec

from backapp_core.plugin_api import DamagedRepository
from backapp_plugins.archivers.restic.format.trees import TreeBroken

MOST_ENTRIES = 1_000_000_000
_SUSPICIOUS_ENTRIES = 40_000
_VISIT_ENTRIES = 8
"""Reading a tree takes as long as making nodes of so many entries."""
_REMEMBERED = 1 << 16


class _Node(msgspec.Struct, gc=False):
    subtree: str | None = None


class _Tree(msgspec.Struct):
    nodes: list[_Node] | None


_decode = msgspec.json.Decoder(_Tree).decode


@final
class Guard:
    """Watches one walk."""

    def __init__(self, load: Callable[[bytes], bytes], root: bytes) -> None:
        """Watch the walk from ``root``; ``load`` returns trees."""
        self._load = load
        self._root = root
        self._met: set[bytes] = set()
        self._again = 0
        self._is_counted = False

    def meet(self, tree_id: bytes, entries: int) -> None:
        """Take note that the walk is at a tree with so many entries.

        Raises:
            TreeBroken: If the root stands for more than `MOST_ENTRIES`.
        """
        if tree_id in self._met:
            self._again += entries + _VISIT_ENTRIES
            if self._again > _SUSPICIOUS_ENTRIES and not self._is_counted:
                require_countable(self._load, self._root)
                self._is_counted = True
                self._met.clear()
        elif not self._is_counted:
            if len(self._met) == _REMEMBERED:
                self._met.clear()
            self._met.add(tree_id)


def require_countable(load: Callable[[bytes], bytes], root: bytes) -> None:
    """Pass if no more than `MOST_ENTRIES` are in and below the tree ``root``.

    A tree that cannot be read has no entries here; the walk says what is wrong with it.

    Raises:
        TreeBroken: If there are more, or if a tree is in itself.
    """
    counts: dict[bytes, int] = {}
    way = [_Counted(load, root)]
    open_ids = {root}
    while way:
        here = way[-1]
        subtree = next(here.subtrees, None)
        if subtree is None:
            way.pop()
            open_ids.discard(here.tree_id)
            counts[here.tree_id] = here.entries
            if way:
                way[-1].entries += here.entries
        elif subtree in open_ids:
            raise TreeBroken(f"tree {subtree.hex()} is in itself")
        elif subtree in counts:
            here.entries += counts[subtree]
        else:
            way.append(_Counted(load, subtree))
            open_ids.add(subtree)
        if here.entries > MOST_ENTRIES:
            raise TreeBroken(
                f"tree {here.tree_id.hex()} mentions others so often that more than "
                f"{MOST_ENTRIES:,} entries are below it"
            )


@final
class _Counted:
    """A tree on the way, and the entries in and below it as far as they are counted."""

    def __init__(self, load: Callable[[bytes], bytes], tree_id: bytes) -> None:
        self.tree_id = tree_id
        self.entries = 0
        self.subtrees: Iterator[bytes] = iter(())
        try:
            nodes = _decode(load(tree_id)).nodes or []
            mentioned = [bytes.fromhex(node.subtree) for node in nodes if node.subtree]
        except (DamagedRepository, ValueError):
            return
        self.entries = len(nodes)
        self.subtrees = iter(mentioned)
