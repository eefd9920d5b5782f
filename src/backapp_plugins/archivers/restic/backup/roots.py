"""Whether everything below the roots is what it was, whatever became of the folders above them."""

from collections.abc import Callable, Sequence
from typing import final

from backapp_core.plugin_api import child_path
from backapp_plugins.archivers.restic.backup.node_batches import NamedNode
from backapp_plugins.archivers.restic.backup.old_trees import OldNodes
from backapp_plugins.archivers.restic.backup.pending import PendingFolder


@final
class RootWatch:
    """Looks at trees as they are made; `see` may be called from any thread.

    A folder above a root is in the snapshot for what leads through it. Whatever else happens there,
    such as a new file in the home folder of which only one folder is backed up, changes its times.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        """Watch ``roots``, which are those of the old snapshot, too."""
        self._names: dict[bytes, list[bytes]] = {}
        """Of the roots in each folder."""
        self._above: set[bytes] = set()
        for root in roots:
            path = root
            while path != b"/":
                folder, _, name = path.rpartition(b"/")
                if path == root:
                    self._names.setdefault(folder or b"/", []).append(name)
                path = folder or b"/"
                self._above.add(path)
        self._left = set(roots)
        self.trees_above: set[bytes] = set()
        """Trees of folders above the roots; of no use where no snapshot is made."""

    @property
    def are_same(self) -> bool:
        """Whether each root was seen, and is what it was; asked when all trees are made."""
        return not self._left

    def see(
        self,
        folder: PendingFolder,
        tree: bytes,
        nodes: Sequence[NamedNode],
        old_nodes: Callable[[PendingFolder], OldNodes],
    ) -> None:
        """Compare what stands in ``folder``, whose new ``tree`` has these nodes."""
        if folder.path in self._above:
            self.trees_above.add(tree)
        names = self._names.get(folder.path)
        if tree == folder.old_tree and folder.above is None:
            self._left.clear()
        elif names:
            if tree != folder.old_tree:
                made, old = dict(nodes), old_nodes(folder)
                names = [name for name in names if made.get(name) == old.as_written(name)]
            self._left.difference_update([child_path(folder.path, name) for name in names])
