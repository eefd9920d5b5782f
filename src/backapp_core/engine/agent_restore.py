"""A restore that a server ordered: chosen paths of a snapshot into a folder of this machine."""

from attrs import Factory, field, frozen

from backapp_core.engine import browse, restore
from backapp_core.engine.opening import Opened
from backapp_core.engine.own_folder import check_outside
from backapp_core.engine.restore import RestorePlan
from backapp_core.engine.selections import clean_path
from backapp_core.errors import EntryNotRestored, PathNotFound
from backapp_core.model.entries import Node
from backapp_core.model.names import to_text
from backapp_core.model.requests import RestoreRequest
from backapp_core.model.restores import RestoreOutcome
from backapp_core.model.runs import RestoreOrder
from backapp_core.model.snapshots import Counts, Snapshot, SnapshotFilter
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.targets import Everything, Selection


def _what_leads_to(subtrees: "Subtrees") -> frozenset[bytes]:
    return frozenset(parent for top in subtrees.tops for parent in _above(top))


@frozen
class Subtrees:
    """Several paths, all that is below them, and the directories that lead to them."""

    tops: frozenset[bytes]
    parents: frozenset[bytes] = field(init=False, default=Factory(_what_leads_to, takes_self=True))
    """The directories that lead to them."""

    def wants(self, node: Node) -> bool:
        """Say whether it is one of the paths, below one, or leads to one."""
        return node.path in self.parents or self._is_within(node.path)

    def enters(self, path: bytes) -> bool:
        """Say whether ``path`` leads to one of the paths, or lies within."""
        return path in self.parents or self._is_within(path)

    def _is_within(self, path: bytes) -> bool:
        return path in self.tops or any(parent in self.tops for parent in _above(path))


def restore_order(
    surroundings: Surroundings, opened: Opened, order: RestoreOrder
) -> tuple[str, Counts]:
    """Restore what ``order`` names; return the snapshot's id and what was restored.

    No set-id bits, devices and privileged attributes come back, whoever runs this.

    Raises:
        SnapshotNotFound: If there is no such snapshot.
        PathNotFound: If one of the paths is not in it.
        InputError: If the target lies in the repository.
        EntryNotRestored: If something could not be restored as it was; names the first.
        BackappError: What `restore.restore` raises.
    """
    check_outside(opened.folder, order.target)
    repository = opened.repository
    snapshot = browse.find_snapshot(surroundings, repository, order.snapshot_id, SnapshotFilter())
    plan = RestorePlan(
        repository,
        snapshot,
        RestoreRequest(target=order.target, special=False),
        _selection(repository, snapshot, order),
        b"/",
    )
    outcome = restore.restore(surroundings, plan)
    if not outcome.is_complete:
        raise EntryNotRestored(_sentence(outcome))
    counts = Counts(
        files_new=outcome.files,
        files_unmodified=outcome.kept,
        directories=outcome.directories,
        others=outcome.others,
        processed_bytes=outcome.restored_bytes,
    )
    return snapshot.id, counts


def _selection(repository: Repository, snapshot: Snapshot, order: RestoreOrder) -> Selection:
    tops = frozenset(map(clean_path, order.paths))
    if not tops or b"/" in tops:
        return Everything()
    chosen = Subtrees(tops)
    found = {node.path for node in repository.nodes(snapshot, _Exactly(chosen))}
    if missing := tops - found:
        raise PathNotFound(
            f"snapshot {snapshot.short_id} holds no '{to_text(min(missing))}'; nothing was restored"
        )
    return chosen


@frozen
class _Exactly:
    """The paths themselves and nothing below them."""

    chosen: Subtrees

    def wants(self, node: Node) -> bool:
        return node.path in self.chosen.tops

    def enters(self, path: bytes) -> bool:
        return path in self.chosen.parents


def _above(path: bytes) -> list[bytes]:
    """Return the directories that ``path`` lies in, the root folder last."""
    above: list[bytes] = []
    while path != b"/":
        path = path.rpartition(b"/")[0] or b"/"
        above.append(path)
    return above


def _sentence(outcome: RestoreOutcome) -> str:
    problems = (*outcome.not_restored, *outcome.incomplete)
    first = f"; the first is {to_text(problems[0][0])}: {problems[0][1]}" if problems else ""
    return (
        f"{outcome.problems:,} entries could not be restored as they were{first}; "
        "everything else is back"
    )
