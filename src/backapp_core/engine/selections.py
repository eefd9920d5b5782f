"""Selections of nodes by where they stand."""

from attrs import frozen

from backapp_core.model.entries import Node, is_below


def clean_path(path: bytes) -> bytes:
    """Return a snapshot path as nodes have it: absolute, without double, trailing or dot parts."""
    parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
    return b"/" + b"/".join(parts)


@frozen
class Subtree:
    """A path and all that is below it."""

    top: bytes

    def wants(self, node: Node) -> bool:
        """Say whether it is the path itself or below it."""
        return node.path == self.top or is_below(node.path, self.top)

    def enters(self, path: bytes) -> bool:
        """Say whether ``path`` is on the way to the top, or within."""
        return path == self.top or is_below(path, self.top) or is_below(self.top, path)


@frozen
class Children:
    """A path and what stands directly in it."""

    top: bytes

    def wants(self, node: Node) -> bool:
        """Say whether it is the path itself or an entry of it."""
        parent = node.path.rpartition(b"/")[0] or b"/"
        return node.path == self.top or (parent == self.top and node.path != b"/")

    def enters(self, path: bytes) -> bool:
        """Say whether ``path`` is on the way to the top, or in it."""
        parent = path.rpartition(b"/")[0] or b"/"
        return path == self.top or is_below(self.top, path) or parent == self.top


@frozen
class Single:
    """One path and nothing else."""

    path: bytes

    def wants(self, node: Node) -> bool:
        """Say whether it is the path."""
        return node.path == self.path

    def enters(self, path: bytes) -> bool:
        """Say whether ``path`` is on the way to it."""
        return path == self.path or is_below(self.path, path)
