"""What a prune does to which pack."""

from collections.abc import Container, Sequence
from datetime import datetime

import numpy as np
from attrs import define, evolve

from backapp_plugins.archivers.restic.format.layout import pack_name
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.index.ids import Rows
from backapp_plugins.archivers.restic.prune.pack_use import PackStock


@define
class Fates:
    """One flag per pack that the index names, in several columns."""

    repacked: Flags
    """Its needed blobs are copied, so that it can go."""
    deleted: Flags
    """It goes now, or is gone already."""
    marked: Flags
    """Nothing needs it, and it stays for a later run."""
    renewed: Flags
    """It is one of the marked ones, and its time begins now."""
    recovered: Flags
    """It was marked, and is needed."""
    repeated: Flags
    """Several index objects name it, as an interrupted prune leaves them; one will."""

    @classmethod
    def deleting(cls, packs: Flags) -> "Fates":
        """Return the fates of which none is but that these packs go."""
        none = np.zeros_like(packs)
        return cls(
            repacked=none, deleted=packs, marked=none, renewed=none, recovered=none, repeated=none
        )

    @property
    def changed(self) -> Flags:
        """Of which packs the index has to say something else than it does."""
        return self.deleted | self.renewed | self.recovered | self.repeated

    def only(self, packs: Flags) -> "Fates":
        """Return the fates of these packs; the others are left as they are."""
        return Fates(
            repacked=self.repacked & packs,
            deleted=self.deleted & packs,
            marked=self.marked & packs,
            renewed=self.renewed & packs,
            recovered=self.recovered & packs,
            repeated=self.repeated & packs,
        )


@define
class PrunePlan:
    """What happens to all packs."""

    stock: PackStock
    made_at: datetime
    """What packs are marked with."""
    kept_rows: Flags
    """Over the rows of the index: of each needed blob the copy that stays or is copied."""
    unused_bytes: int
    """Length of what nothing needs in packs that stay."""
    fates: Fates
    orphans_deleted: dict[bytes, int]
    """Packs that no index object names, with their sizes."""
    orphans_marked: dict[bytes, int]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.orphans_deleted or self.is_index_changed)

    @property
    def is_index_changed(self) -> bool:
        """Whether index objects have to be written."""
        return bool(self.orphans_marked or self.fates.changed.any())

    @property
    def copied_rows(self) -> Rows:
        """The rows of blobs that are copied."""
        is_repacked = self.fates.repacked[self.stock.table.columns.pack_number]
        return np.flatnonzero(self.kept_rows & is_repacked)

    @property
    def copied_bytes(self) -> int:
        """Their length."""
        return int(self.stock.table.columns.length[self.copied_rows].sum(dtype=np.int64))

    @property
    def deleted_packs(self) -> dict[bytes, int]:
        """Packs that the index names and that go, with their sizes."""
        return self.stock.listed(self.fates.deleted & self.stock.is_there)

    @property
    def marked_packs(self) -> dict[bytes, int]:
        """Packs that stay for a later run, with their sizes."""
        return {**self.orphans_marked, **self.stock.listed(self.fates.marked)}

    def within(self, deleted: Container[str], marked: Container[str]) -> "PrunePlan":
        """Return what of the plan is in a former one, too.

        What does not go is left as it is, so a part of a plan is as safe as the whole.

        Args:
            deleted: Names of objects that the former plan deletes.
            marked: Names of those that it marks.
        """
        ids, fates = self.stock.table.columns.pack_id, self.fates
        agreed = np.ones_like(fates.deleted)
        for number in np.flatnonzero(fates.deleted & self.stock.is_there).tolist():
            agreed[number] = pack_name(ids[number].tobytes()) in deleted
        for number in np.flatnonzero(fates.marked).tolist():
            name = pack_name(ids[number].tobytes())
            agreed[number] = name in marked or name in deleted
        return evolve(
            self,
            fates=fates.only(agreed),
            orphans_deleted=_named(self.orphans_deleted, deleted),
            orphans_marked=_named(self.orphans_marked, marked),
        )

    def parts(self) -> "Sequence[PrunePlan]":
        """Return two smaller plans that come to the same in this order, or the plan if it has none.

        Each leaves the repository whole. What frees space without needing much comes first.
        """
        fates = self.fates
        if self.orphans_deleted and self.is_index_changed:
            nothing = fates.only(np.zeros_like(fates.deleted))
            orphans = evolve(self, orphans_marked={}, fates=nothing)
            return [orphans, evolve(self, orphans_deleted={})]
        copied, others = fates.only(fates.repacked), fates.only(~fates.repacked)
        if copied.changed.any() and (others.changed.any() or self.orphans_marked):
            first, second = others, copied
        else:
            numbers = np.flatnonzero(fates.changed)
            if len(numbers) <= 1:
                return [self]
            half = np.zeros_like(fates.deleted)
            half[numbers[: len(numbers) // 2]] = True
            first, second = fates.only(half), fates.only(~half)
        return [evolve(self, fates=first), evolve(self, orphans_marked={}, fates=second)]


def _named(packs: dict[bytes, int], names: Container[str]) -> dict[bytes, int]:
    return {pack_id: size for pack_id, size in packs.items() if pack_name(pack_id) in names}
