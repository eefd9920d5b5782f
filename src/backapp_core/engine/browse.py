"""Looks into a repository: which snapshots there are, and what is in them."""

import re
from collections.abc import Iterable, Iterator, Sequence

from backapp_core.engine import watch
from backapp_core.engine.selections import Children, Subtree, clean_path
from backapp_core.errors import AmbiguousSnapshot, InputError, PathNotFound, SnapshotNotFound
from backapp_core.model.entries import Node
from backapp_core.model.names import to_text
from backapp_core.model.snapshots import Snapshot, SnapshotFilter
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.targets import Everything

LATEST = "latest"
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
_SHOWN = 5


def snapshots(
    surroundings: Surroundings,
    repository: Repository,
    snapshot_filter: SnapshotFilter,
    *,
    latest: int = 0,
) -> list[Snapshot]:
    """Return the matching snapshots, oldest first.

    Args:
        surroundings: Where the snapshots seen before are remembered.
        repository: Where to look.
        snapshot_filter: Which are meant.
        latest: Return at most this many, the newest, of each host and set of roots; 0 means all.
    """
    everything = repository.snapshots()
    watch.compare(surroundings, repository, everything)
    matching = [snapshot for snapshot in everything if snapshot_filter.matches(snapshot)]
    return _newest_of_each(matching, latest) if latest else matching


def find_snapshot(
    surroundings: Surroundings,
    repository: Repository,
    name: str,
    snapshot_filter: SnapshotFilter,
) -> Snapshot:
    """Return the snapshot called ``name``: an id, the beginning of one, or ``latest``.

    The filter is for ``latest`` only; an id means what it says.

    Raises:
        SnapshotNotFound: If there is none.
        AmbiguousSnapshot: If several ids begin like that; lists them.
    """
    everything = repository.snapshots()
    watch.compare(surroundings, repository, everything)
    return choose(everything, name, snapshot_filter)


def choose(
    everything: Sequence[Snapshot],
    name: str,
    snapshot_filter: SnapshotFilter = SnapshotFilter(),
) -> Snapshot:
    """Return the one of ``everything`` that is called ``name``.

    Raises:
        InputError: If ``name`` is no text.
        SnapshotNotFound: If there is none.
        AmbiguousSnapshot: If several ids begin like that; lists them.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InputError(f"{name!a} is no name of a snapshot; give a str")
    if name == LATEST:
        return _newest(everything, snapshot_filter)
    prefix = name.lower()
    if not _PREFIX.fullmatch(prefix):
        raise SnapshotNotFound(
            f"'{name}' names no snapshot; use 'latest', an id, or the beginning of one"
        )
    found = [snapshot for snapshot in everything if snapshot.id.startswith(prefix)]
    if not found:
        raise SnapshotNotFound(f"no snapshot has an id that begins with '{name}'")
    if len(found) > 1:
        listed = "; ".join(_describe(snapshot) for snapshot in found[:_SHOWN])
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise AmbiguousSnapshot(
            f"{len(found)} snapshots have an id that begins with '{name}': {listed}{more}"
        )
    return found[0]


def list_nodes(
    repository: Repository, snapshot: Snapshot, *, under: bytes, recursive: bool
) -> Iterator[Node]:
    """Yield the nodes at and below ``under``, or only those directly in it; empty means all.

    Raises:
        PathNotFound: At the end, if nothing stands there.
        DamagedRepository: If what describes the snapshot is missing or altered.
    """
    if not under and recursive:
        yield from repository.nodes(snapshot, Everything())
        return
    top = clean_path(under)
    found = False
    for node in repository.nodes(snapshot, Subtree(top) if recursive else Children(top)):
        found = True
        yield node
    if not found:
        raise PathNotFound(f"snapshot {snapshot.short_id} holds no '{to_text(top)}'")


def _newest(everything: Sequence[Snapshot], snapshot_filter: SnapshotFilter) -> Snapshot:
    matching = [snapshot for snapshot in everything if snapshot_filter.matches(snapshot)]
    if not matching:
        why = "none matches the filter" if everything else "the repository holds none yet"
        raise SnapshotNotFound(f"there is no latest snapshot: {why}")
    return max(matching, key=_age)


def _newest_of_each(matching: Iterable[Snapshot], count: int) -> list[Snapshot]:
    kept: list[Snapshot] = []
    taken: dict[tuple[str, tuple[bytes, ...]], int] = {}
    for snapshot in sorted(matching, key=_age, reverse=True):
        key = (snapshot.hostname, snapshot.roots)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= count:
            kept.append(snapshot)
    return kept[::-1]


def _age(snapshot: Snapshot) -> tuple[object, str]:
    return (snapshot.taken_at, snapshot.id)


def _describe(snapshot: Snapshot) -> str:
    return f"{snapshot.id[:16]} of {snapshot.taken_at:%Y-%m-%d %H:%M} ({snapshot.hostname})"
