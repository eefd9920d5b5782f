"""Carries out what a prune is to do, so that a kill at any point leaves the repository whole."""

from collections.abc import Sequence
from typing import final

from backapp_core.plugin_api import RepositoryLocked, StorageFull
from backapp_plugins.archivers.restic.access.holding import Hold
from backapp_plugins.archivers.restic.format.layout import INDEX, named_id, pack_name
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.moved_bytes import MovedBytes
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.deleting import delete_all
from backapp_plugins.archivers.restic.prune.index_rewriting import IndexRewriter
from backapp_plugins.archivers.restic.prune.plan import PrunePlan
from backapp_plugins.archivers.restic.prune.repacking import Repacker
from backapp_plugins.archivers.restic.writing.packing import PackWriter
from backapp_plugins.archivers.restic.writing.withdrawing import withdraw_false


@final
class PruneExecution:
    """Carries a plan out, under the lock."""

    def __init__(
        self, place: Place, index: Index, rewriter: IndexRewriter, hold: Hold, moved: MovedBytes
    ) -> None:
        self._place = place
        self._index = index
        self._rewriter = rewriter
        self._hold = hold
        self._moved = moved

    def run(self, plan: PrunePlan) -> None:
        """Do all at once, or if there is no room for that, part after part.

        Raises:
            StorageFull: If there is no room for a part that cannot be divided.
            RepositoryLocked: If the lock was lost.
        """
        try:
            self._do(plan)
        except StorageFull:
            parts = plan.parts()
            if len(parts) == 1:
                raise
            self._rewriter.join_nothing()
            for part in parts:
                self.run(part)

    def _do(self, plan: PrunePlan) -> None:
        """Copy, name what was copied, name no longer what is leaving, delete: in this order.

        Raises:
            StorageFull: If there is no room; what was stored is taken back then.
            RepositoryLocked: If the lock was lost; what is not true any more is taken back then.
        """
        copies = self._copy(plan)
        outdated: Sequence[str] = ()
        if plan.is_index_changed:
            try:
                self._hold.check()
                outdated = self._rewriter.write(plan.fates, orphans=plan.orphans_marked)
            except StorageFull:
                self._take_back(copies)
                raise
        try:
            self._hold()
        except RepositoryLocked:
            self._withdraw(copies)
            raise
        delete_all(self._place, self._hold, outdated)
        gone = [pack_name(one) for one in (*plan.orphans_deleted, *plan.deleted_packs)]
        delete_all(self._place, self._hold, gone[:1])
        self._hold()  # a full disk may have had no room for the lock; now it may have
        delete_all(self._place, self._hold, gone[1:])

    def _copy(self, plan: PrunePlan) -> Sequence[tuple[str, int]]:
        rows = plan.copied_rows
        if not len(rows):
            return ()
        self._moved.begin(plan.copied_bytes)
        writer = PackWriter(self._place, check_lock=self._hold.check)
        try:
            with writer:
                Repacker(self._place, self._index, self._moved).copy(rows, writer)
                writer.finish()
        except StorageFull:
            self._take_back(writer.objects)
            raise
        return writer.objects

    def _withdraw(self, copies: Sequence[tuple[str, int]]) -> None:
        """Take back what this run said of packs, as far as nobody can have relied on it.

        Whoever took it for dead may be deleting some of these packs by now. What the new index
        objects name is still named by the old ones, or by those that others wrote.
        """
        for index_id in self._rewriter.written:
            self._place.transport.delete(INDEX + index_id.hex())
        copied = [named_id(name) for name, _ in copies if name.startswith(INDEX)]
        withdraw_false(self._place, filter(None, copied))

    def _take_back(self, objects: Sequence[tuple[str, int]]) -> None:
        """Delete what this run stored, the last first: index objects come after their packs."""
        for name, _ in reversed(objects):
            self._place.transport.delete(name)
