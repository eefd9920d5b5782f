"""Finds and deletes what no snapshot needs, after copying what is needed beside it."""

from collections.abc import Container, Sequence
from typing import final

from attrs import frozen

from backapp_core.plugin_api import (
    CanTidy,
    CleanUpOptions,
    CleanUpPlan,
    DamagedRepository,
    Verb,
)
from backapp_plugins.archivers.restic.format.layout import INDEX, SNAPSHOTS, pack_name
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.moved_bytes import MovedBytes
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.execution import PruneExecution
from backapp_plugins.archivers.restic.prune.index_rewriting import IndexRewriter
from backapp_plugins.archivers.restic.prune.needs import Lost, needed_rows, snapshot_roots
from backapp_plugins.archivers.restic.prune.pack_use import take_stock
from backapp_plugins.archivers.restic.prune.plan import PrunePlan
from backapp_plugins.archivers.restic.prune.removing import refuse_if_append_only
from backapp_plugins.archivers.restic.prune.rules import decide

_MOST_NAMED = 10


@frozen
class _Survey:
    """What snapshots need, and of which state of the repository that is true."""

    snapshot_ids: frozenset[bytes]
    index: Index
    needed: Flags


@final
class Pruner:
    """Plans and prunes one repository.

    What snapshots need is found out once: as long as neither snapshots nor index objects came or
    went it stays true, since both are named by what they hold.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._survey: _Survey | None = None
        self._moved = MovedBytes(place.surroundings, Verb.PRUNE)

    def plan(self, options: CleanUpOptions) -> CleanUpPlan:
        """Find what no snapshot needs.

        Raises:
            AccessRefused: If nothing may be deleted from the repository.
            RepositoryLocked: If somebody removes or cleans up.
            DamagedRepository: If it cannot be known for certain what is needed.
        """
        refuse_if_append_only(self._place)
        with self._place.hold_to_read():  # or what another prune moves would seem to be lost
            plan, _ = self._plan(options)
            self._moved.tell()
            return self._described(plan, options, self._rewriter(plan))

    def prune(self, plan: CleanUpPlan) -> CleanUpPlan:
        """Make the plan again under the lock, do what is in both, and return what was done.

        Raises:
            AccessRefused: If nothing may be deleted from the repository.
            RepositoryLocked: If another process uses the repository.
            DamagedRepository: If it cannot be known for certain what is needed.
            StorageFull: If there is no room even for what makes room.
        """
        refuse_if_append_only(self._place)
        planned = dict(plan.objects)
        with self._place.hold(is_exclusive=True) as hold:
            now, index = self._plan(plan.options)
            agreed = now.within(planned, dict(plan.marked))
            rewriter = self._rewriter(agreed, planned)
            done = self._described(agreed, plan.options, rewriter)
            if not agreed.is_empty:
                self._survey = None
                PruneExecution(self._place, index, rewriter, hold, self._moved).run(agreed)
                self._moved.tell()
            if isinstance(self._place.transport, CanTidy):
                # Nobody else is at work, and a file with a living writer is left alone anyway.
                self._place.transport.tidy(older_than_seconds=0)
        return done

    def _plan(self, options: CleanUpOptions) -> tuple[PrunePlan, Index]:
        place = self._place
        snapshot_ids = frozenset(one for one, _ in place.listed(SNAPSHOTS))
        survey = self._survey
        if survey is not None and survey.index.files != frozenset(
            one for one, _ in place.listed(INDEX)
        ):
            survey = None
        index = survey.index if survey else place.load_index()
        stock = take_stock(place, index.table())
        is_safe = stock.is_safe()
        if not (survey and survey.snapshot_ids == snapshot_ids and is_safe[survey.needed].all()):
            survey = _Survey(snapshot_ids, index, self._needed(index, snapshot_ids, is_safe))
        self._survey = survey
        plan = decide(
            stock,
            survey.needed,
            options,
            now=place.surroundings.clock.now(),
            version=place.config.version,
        )
        return plan, index

    def _needed(self, index: Index, snapshot_ids: frozenset[bytes], is_safe: Flags) -> Flags:
        try:
            roots = snapshot_roots(self._place, sorted(snapshot_ids))
        except DamagedRepository as error:
            raise DamagedRepository(
                f"nothing was deleted, for what a snapshot needs cannot be known: {error.message}; "
                "restore that object from a copy, or delete it if its snapshot may be lost"
            ) from error
        self._moved.begin()
        needed, lost = needed_rows(self._place, index, roots, is_safe, self._moved)
        if lost:
            raise DamagedRepository(_sentence(lost))
        return needed

    def _rewriter(self, plan: PrunePlan, joined: Container[str] | None = None) -> IndexRewriter:
        packs = plan.stock.packs
        return IndexRewriter(self._place, packs, marked_at=plan.made_at, joined=joined)

    def _described(
        self, plan: PrunePlan, options: CleanUpOptions, rewriter: IndexRewriter
    ) -> CleanUpPlan:
        index_sizes = {one: info.size_bytes for one, info in self._place.listed(INDEX)}
        outdated = rewriter.outdated(plan.fates.changed)
        gone = {**plan.orphans_deleted, **plan.deleted_packs}
        there = plan.stock.listed_bytes[plan.stock.is_there]
        packs = len(there) + len(plan.stock.orphans) - len(gone)
        size = int(there.sum()) + sum(plan.stock.orphans.values()) - sum(gone.values())
        return CleanUpPlan(
            objects=(
                *((INDEX + one.hex(), index_sizes.get(one, 0)) for one in outdated),
                *((pack_name(pack_id), size) for pack_id, size in gone.items()),
            ),
            kept_objects=packs,
            kept_bytes=size,
            options=options,
            repacked_bytes=plan.copied_bytes,
            unused_bytes=plan.unused_bytes,
            marked=tuple((pack_name(one), size) for one, size in plan.marked_packs.items()),
        )


def _sentence(lost: Sequence[Lost]) -> str:
    named = [
        f"{one.kind.name.lower()} blob {one.blob_id.hex()} of snapshot "
        f"{one.snapshot_id.hex()[:8]} ({one.reason})"
        for one in lost[:_MOST_NAMED]
    ]
    if len(lost) > _MOST_NAMED:
        named.append(f"{len(lost) - _MOST_NAMED:,} more")
    return (
        f"nothing was deleted, for snapshots need what is not there: {', '.join(named)}; put it "
        "back from a copy, or run repair index and then repair snapshots"
    )
