"""Compares two snapshots by walking both at once.

Memory is bounded by the way down and what is missing on it, not by the number of nodes.
"""

import heapq
from collections.abc import Iterator

from attrs import frozen

from backapp_core.model.changes import Change, ChangeKind, DiffStats
from backapp_core.model.entries import EntryKind, Node
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository

_Key = tuple[tuple[int, bytes], ...]


class Differences:
    """The changes from one snapshot to another, made as they are asked for; can be walked once."""

    def __init__(self, changes: Iterator[Change]) -> None:
        self._changes = changes
        self._stats = DiffStats()

    def __iter__(self) -> Iterator[Change]:
        for change in self._changes:
            self._stats = self._stats.plus(change)
            yield change

    @property
    def stats(self) -> DiffStats:
        """Figures over what has been walked so far."""
        return self._stats


def diff(
    repository: Repository, before: Snapshot, after: Snapshot, *, metadata: bool
) -> Differences:
    """Compare ``before`` with ``after``.

    A file counts as changed when its hash differs, or, where the repository keeps none, its size or
    modification time.

    Args:
        repository: Holds both.
        before: The earlier one, usually.
        after: The later one.
        metadata: Whether changes of metadata alone are told.

    Raises:
        DamagedRepository: While walking, if what describes a snapshot is missing or altered.
    """
    changes = _merge(repository.nodes(before), repository.nodes(after))
    if not metadata:
        changes = (one for one in changes if one.kind is not ChangeKind.METADATA)
    return Differences(changes)


@frozen
class _Waiting:
    """A node that is no directory and stands on one side only.

    A directory of its name may follow on the other.
    """

    key: _Key
    was_before: bool
    node: Node

    def __lt__(self, other: "_Waiting") -> bool:
        return (self.key, self.was_before) < (other.key, other.was_before)


def _merge(before: Iterator[Node], after: Iterator[Node]) -> Iterator[Change]:
    waiting: list[_Waiting] = []
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        old_key = _key(old) if old is not None else None
        new_key = _key(new) if new is not None else None
        if old is not None and new is not None and old_key == new_key:
            yield from _flush(waiting, _key(old))
            yield from _compare(old, new)
            old, new = next(before, None), next(after, None)
        elif old is not None and (new_key is None or _key(old) < new_key):
            yield from _one_sided(waiting, old, was_before=True)
            old = next(before, None)
        elif new is not None:
            yield from _one_sided(waiting, new, was_before=False)
            new = next(after, None)
    yield from _flush(waiting, None)


def _one_sided(waiting: list[_Waiting], node: Node, *, was_before: bool) -> Iterator[Change]:
    key = _key(node)
    yield from _flush(waiting, key)
    if node.kind is not EntryKind.DIRECTORY:
        late_key = (*key[:-1], (1, key[-1][1]))
        heapq.heappush(waiting, _Waiting(late_key, was_before, node))
    elif waiting and waiting[0].key == key and waiting[0].was_before is not was_before:
        other = heapq.heappop(waiting).node
        pair = (node, other) if was_before else (other, node)
        yield Change(ChangeKind.TYPE, node.path, *pair)
    else:
        yield _lone(node, was_before=was_before)


def _flush(waiting: list[_Waiting], until: _Key | None) -> Iterator[Change]:
    """Tell those whose name cannot come any more."""
    while waiting and (until is None or waiting[0].key < until):
        one = heapq.heappop(waiting)
        yield _lone(one.node, was_before=one.was_before)


def _lone(node: Node, *, was_before: bool) -> Change:
    if was_before:
        return Change(ChangeKind.REMOVED, node.path, node, None)
    return Change(ChangeKind.ADDED, node.path, None, node)


def _compare(old: Node, new: Node) -> Iterator[Change]:
    if old.kind is not new.kind:
        yield Change(ChangeKind.TYPE, new.path, old, new)
    elif _differs_in_content(old, new):
        yield Change(ChangeKind.CONTENT, new.path, old, new)
    elif _metadata(old) != _metadata(new):
        yield Change(ChangeKind.METADATA, new.path, old, new)


def _differs_in_content(old: Node, new: Node) -> bool:
    if old.kind is EntryKind.SYMLINK:
        return old.target != new.target
    if old.kind is not EntryKind.FILE:
        return old.rdev != new.rdev
    if old.sha256 and new.sha256:
        return old.sha256 != new.sha256
    return (old.size_bytes, old.mtime_ns) != (new.size_bytes, new.mtime_ns)


def _metadata(node: Node) -> tuple[object, ...]:
    return (
        node.mode,
        node.uid,
        node.gid,
        node.user,
        node.group,
        node.mtime_ns,
        node.xattrs,
    )


def _key(node: Node) -> _Key:
    """Return a key that sorts nodes as `Repository.nodes` yields them."""
    if node.path == b"/":
        return ()
    *folders, name = node.path.split(b"/")[1:]
    rank = 1 if node.kind is EntryKind.DIRECTORY else 0
    return (*((1, folder) for folder in folders), (rank, name))
