"""Writes the nodes of the plain repository in `memory_archiver` into a target."""

from collections.abc import Callable, Iterable

from backapp_core.errors import DamagedRepository, EntryNotRestored
from backapp_core.model.entries import EntryKind, Node
from backapp_core.ports.targets import Target


def restore_nodes(nodes: Iterable[Node], target: Target, content: Callable[[str], bytes]) -> None:
    """Write ``nodes``, which are in scan order, in the order that `Target` asks for.

    Args:
        nodes: What is wanted.
        target: Where it goes; left open.
        content: Returns the verified content that has a hash, or raises `DamagedRepository`.

    Raises:
        TargetError: If the target cannot go on.
    """
    first_names: dict[tuple[int, int], bytes] = {}
    later: list[Node] = []
    for node in nodes:
        if node.kind is EntryKind.DIRECTORY:
            target.directory(node)
        elif node.kind is not EntryKind.FILE or (node.device, node.inode) in first_names:
            later.append(node)
        elif _restore_file(target, node, content) and node.is_hard_linked:
            first_names[node.device, node.inode] = node.path
    target.links_follow()
    for node in later:
        if node.kind is EntryKind.FILE:
            target.link(node, first_names[node.device, node.inode])
        else:
            target.special(node)


def _restore_file(target: Target, node: Node, content: Callable[[str], bytes]) -> bool:
    """Say whether the file is there, whole."""
    file = target.file(node)
    if file is None:
        return False
    with file:
        try:
            data = content(node.sha256)
        except DamagedRepository as error:
            file.abandon(error.message)
            return False
        extents = node.extents if node.extents is not None else ((0, node.size_bytes),)
        try:
            for offset, length_bytes in extents:
                file.write_at(offset, data[offset : offset + length_bytes])
            file.finish()
        except EntryNotRestored:
            return False  # the target has reported it
    return True
