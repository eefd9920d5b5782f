"""Checks packs and what is in them, and says what suffers from damage."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Final, final

import numpy as np

from backapp_core.plugin_api import DataSubset
from backapp_plugins.archivers.restic.check.affected import Affected
from backapp_plugins.archivers.restic.check.damage import Damage
from backapp_plugins.archivers.restic.check.data import DataCheck
from backapp_plugins.archivers.restic.check.findings import Findings
from backapp_plugins.archivers.restic.check.pack_readers import PackReaders
from backapp_plugins.archivers.restic.check.packs import PackCheck
from backapp_plugins.archivers.restic.check.paths import Harm
from backapp_plugins.archivers.restic.check.progress import CheckProgress
from backapp_plugins.archivers.restic.check.trees import TreeCheck
from backapp_plugins.archivers.restic.check.walk import TreeSource
from backapp_plugins.archivers.restic.format.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader

_UNINDEXED: Final = np.array([-1])


@final
class ContentCheck:
    """One look at everything that the index names, and at every tree."""

    def __init__(
        self, place: Place, index: Index, findings: Findings, progress: CheckProgress
    ) -> None:
        self._place = place
        self._index = index
        self._findings = findings
        self._progress = progress
        self._table = index.table()
        self._packs = PackTable(self._table)
        self._damage = Damage(self._table)
        self._stored = PackCheck(place, self._packs, self._damage, findings)
        self._source = TreeSource(place, self._table, self._damage)
        self._trees = TreeCheck(place, self._damage, self._source, progress)

    @property
    def packs(self) -> int:
        """How many packs are there."""
        return self._stored.listed

    def look(
        self, roots: Mapping[bytes, bytes], subset: DataSubset | None, readers: PackReaders
    ) -> None:
        """Compare packs with the index, read all trees below ``roots``, and a share of the data.

        Workers that read the data are started before the trees are read. Once they are ready they
        read the packs without trees meanwhile; without workers one comes after the other, for side
        by side, what is gained on processors is lost on the interpreter.

        Args:
            roots: The trees of snapshots, by their ids.
            subset: Which share; None for no data.
            readers: The workers, which may have been started.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        self._stored.run()
        wanted = self._chosen(subset) if subset is not None else []
        self._progress.total_bytes = None if subset is None else self._size_of(wanted)
        has_trees = self._packs.blobs[BlobKind.TREE] > 0
        plain = [number for number in wanted if not has_trees[number]]
        is_doubtful = self._damage.is_bad.copy()  # of later damage the index knew nothing
        is_given_up = threading.Event()
        readers.expect(self._stored.listed_bytes[wanted].tolist())
        with ThreadPoolExecutor(1, "data") as pool:
            data = DataCheck(self._place, self._packs, self._stored, self._damage, readers)
            beside = pool.submit(self._look_beside, readers, data, plain, is_given_up)
            try:
                self._trees.run(roots.values(), is_doubtful)
                is_done = beside.result()
            except BaseException:
                is_given_up.set()
                raise
            self._look_at(data, [one for one in wanted if has_trees[one]] if is_done else wanted)
        data.tell_of_healed()

    def _look_beside(
        self,
        readers: PackReaders,
        data: DataCheck,
        numbers: Iterable[int],
        is_given_up: threading.Event,
    ) -> bool:
        """Have workers read packs, each unless the check is given up; False if there are none."""
        if not readers.are_ready():
            return False
        self._look_at(data, takewhile(lambda _: not is_given_up.is_set(), numbers))
        return True

    def _look_at(self, data: DataCheck, numbers: Iterable[int]) -> None:
        for size in data.run(numbers):
            self._progress.read_bytes += size
            self._progress.tell()

    def _chosen(self, subset: DataSubset) -> list[int]:
        ids, sizes = self._table.columns.pack_id, self._stored.listed_bytes
        there = np.flatnonzero(sizes >= 0)
        numbers = {bytes(ids[number]): number for number in there.tolist()}
        chosen = subset.choose(
            {pack_id: int(sizes[number]) for pack_id, number in numbers.items()},
            self._place.surroundings.random_bytes,
        )
        return [number for pack_id, number in numbers.items() if pack_id in chosen]

    def _size_of(self, numbers: Sequence[int]) -> int:
        return int(self._stored.listed_bytes[numbers].sum()) if numbers else 0

    def report(self, roots: Mapping[bytes, bytes]) -> None:
        """Turn what was noted into findings, with what suffers below ``roots``."""
        packs = {
            number: Harm(rows)
            for number, rows in self._damage.lost_by_pack(self._trees.is_needed).items()
        }
        trees = {row: Harm(np.array([row])) for row in self._trees.faults}
        unindexed = [Harm(_UNINDEXED)] if self._trees.unindexed else []
        if harms := [*unindexed, *packs.values(), *trees.values()]:
            affected = Affected(self._place, self._table, self._source, roots)
            affected.trace(harms, TreeReader(self._place, self._index))
        for number in sorted(self._damage.reasons.keys() | packs.keys()):
            self._report_pack(number, packs.get(number))
        for row, harm in trees.items():
            self._report_tree(row, harm)
        for harm in unindexed:
            self._report_unindexed(harm)

    def _report_pack(self, number: int, harm: Harm | None) -> None:
        is_there = self._stored.listed_bytes[number] >= 0
        reason = self._damage.reasons.get(number, "is damaged" if is_there else "is missing")
        if harm is not None:
            reason += f"; {_blobs(len(harm.rows))} that snapshots need can be had nowhere else"
        name = pack_name(self._packs.pack_id(number))
        self._error(name, f"{name} {reason}", "packs are damaged", harm)

    def _report_tree(self, row: int, harm: Harm) -> None:
        columns = self._table.columns
        name = pack_name(self._packs.pack_id(int(columns.pack_number[row])))
        faults = "; ".join(self._trees.faults[row])
        self._error(
            name,
            f"{name} holds the tree {bytes(columns.blob_id[row]).hex()}, in which {faults}",
            "trees are malformed",
            harm,
        )

    def _report_unindexed(self, harm: Harm) -> None:
        kind, blob_id = min(self._trees.unindexed)
        self._error(
            "",
            f"{_blobs(len(self._trees.unindexed))} that snapshots need are named by no index "
            f"object, the first of them {kind.name.lower()} blob {blob_id.hex()}; if packs are "
            "there that no index object names, repair index adds them",
            "blobs are named by no index object",
            harm,
        )

    def _error(self, name: str, message: str, sort: str, harm: Harm | None) -> None:
        self._findings.error(
            name,
            message,
            sort=sort,
            snapshot_ids=[one.hex() for one in harm.snapshot_ids] if harm else (),
            paths=harm.paths if harm else (),
        )


def _blobs(count: int) -> str:
    return "1 blob" if count == 1 else f"{count:,} blobs"
