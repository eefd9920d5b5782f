"""From the nodes of a tree to those of the model, every claim checked."""

from backapp_core.plugin_api import EntryKind, Node, to_line, to_text
from backapp_plugins.archivers.restic.format.go_modes import permissions
from backapp_plugins.archivers.restic.format.go_times import time_of
from backapp_plugins.archivers.restic.format.trees import TreeBroken, TreeNode

_MOST = 2**63 - 1
"""Larger sizes and numbers cannot be given to the system."""
_KINDS = {kind.value: kind for kind in EntryKind}


def node_of(path: bytes, node: TreeNode) -> Node:
    """Return the model's node for a node of a tree that is called ``path`` as a whole.

    What other programs left out is nothing: no owner is 0, no time is the beginning of 1970, and
    where the number of names is not kept there is one.

    Raises:
        TreeBroken: If it can be no such entry.
    """
    kind = _KINDS.get(node.type)
    if kind is None:
        raise TreeBroken(f"'{to_text(path)}' is of the unknown type '{to_line(node.type)}'")
    if node.size > _MOST or node.device > _MOST:
        raise TreeBroken(f"'{to_text(path)}' cannot be that large")
    try:
        mtime_ns = time_of(node.mtime) if node.mtime else 0
        ctime_ns = time_of(node.ctime) if node.ctime else 0
    except ValueError as error:
        raise TreeBroken(f"'{to_text(path)}' changed at no time: {to_line(str(error))}") from error
    return Node(
        path=path,
        kind=kind,
        mode=permissions(node.mode),
        uid=node.uid or 0,
        gid=node.gid or 0,
        user=node.user,
        group=node.group,
        size_bytes=node.size if kind is EntryKind.FILE else 0,
        mtime_ns=mtime_ns,
        ctime_ns=ctime_ns,
        inode=node.inode,
        device=node.device_id,
        links=node.links or 1,
        target=_target(path, node) if kind is EntryKind.SYMLINK else b"",
        rdev=node.device if node.device and kind.is_device else 0,
        xattrs=_xattrs(path, node) if node.extended_attributes else (),
    )


def _target(path: bytes, node: TreeNode) -> bytes:
    target = node.linktarget_raw or node.linktarget.encode()
    if not target or b"\0" in target:
        raise TreeBroken(f"'{to_text(path)}' points nowhere")
    return target


def _xattrs(path: bytes, node: TreeNode) -> tuple[tuple[bytes, bytes], ...]:
    xattrs = {each.name.encode(): each.value or b"" for each in node.extended_attributes or ()}
    if any(not name or b"\0" in name for name in xattrs):
        raise TreeBroken(f"'{to_text(path)}' has an extended attribute without a name")
    return tuple(sorted(xattrs.items()))
