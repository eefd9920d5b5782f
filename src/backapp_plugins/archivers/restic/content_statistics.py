"""Counts what snapshots hold when the same content counts once: contents of files, and blobs."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from backapp_core.plugin_api import ContentStats, DamagedRepository
from backapp_plugins.archivers.restic.format.layout import ID_BYTES, SEAL_BYTES, BlobKind
from backapp_plugins.archivers.restic.format.tree_links import Links
from backapp_plugins.archivers.restic.index.ids import Rows, distinct
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.link_reader import LinkReader

_DIGEST_BYTES: Final = 16


def content_statistics(place: Place, index: Index, trees: Sequence[bytes]) -> ContentStats:
    """Count what stands below ``trees``; each distinct tree is read once.

    Raises:
        DamagedRepository: If a tree cannot be read, or a blob is listed nowhere.
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    count = _ContentCount(place, index)
    count.run(trees)
    return count.result()


@final
class _ContentCount:
    """The way through the trees, one level after another; takes two bytes per blob of the index.

    Most files are one blob, which is ticked off; of each other content a short hash is kept.
    """

    def __init__(self, place: Place, index: Index) -> None:
        self._reader = LinkReader(place, index)
        self._table = index.table()
        columns = self._table.columns
        is_plain = columns.uncompressed == 0
        self._content_bytes: NDArray[np.uint32] = np.where(
            is_plain, columns.length - SEAL_BYTES, columns.uncompressed
        ).astype(np.uint32)
        self._is_needed = np.zeros(len(self._table), np.bool_)
        self._is_file = np.zeros(len(self._table), np.bool_)
        """Of each data blob, whether some file is that blob and nothing else."""
        self._long_files: set[bytes] = set()
        self._long_bytes = 0
        self._long_blobs = 0
        self._has_empty_file = False

    def run(self, trees: Sequence[bytes]) -> None:
        """Count everything below ``trees``; see `content_statistics`."""
        level = self._fresh(self._rows_of(BlobKind.TREE, b"".join(trees)))
        while len(level):
            found = [self._take(links) for _, links in self._reader.read(level)]
            level = np.concatenate(found)
        self._reader.report()

    def result(self) -> ContentStats:
        """Return what was counted."""
        short_files = int(np.count_nonzero(self._is_file))
        return ContentStats(
            files=short_files + len(self._long_files) + self._has_empty_file,
            file_bytes=self._sum(self._content_bytes[self._is_file]) + self._long_bytes,
            file_blobs=short_files + self._long_blobs,
            blobs=int(np.count_nonzero(self._is_needed)),
            blob_bytes=self._sum(self._content_bytes[self._is_needed]),
            stored_bytes=self._sum(self._table.columns.length[self._is_needed]),
        )

    def _take(self, found: Sequence[Links | str]) -> Rows:
        """Count what some trees refer to, and return the rows of trees that are new.

        Raises:
            DamagedRepository: If one of them cannot be read, or refers to what is not there.
        """
        subtrees: list[bytes] = []
        for links in found:
            if isinstance(links, str):
                raise DamagedRepository(f"a tree cannot be counted: {links}")
            subtrees.append(links.subtrees)
            self._take_files(links)
        return self._fresh(self._rows_of(BlobKind.TREE, b"".join(subtrees)))

    def _take_files(self, links: Links) -> None:
        rows = self._rows_of(BlobKind.DATA, links.contents)
        self._is_needed[rows] = True
        counts = np.array(links.counts, np.int64)
        starts = np.cumsum(counts) - counts
        self._is_file[rows[starts[counts == 1]]] = True
        self._has_empty_file |= bool((counts == 0).any())
        for at in np.flatnonzero(counts > 1).tolist():
            start, end = int(starts[at]), int(starts[at] + counts[at])
            content = links.contents[start * ID_BYTES : end * ID_BYTES]
            digest = blake2b(content, digest_size=_DIGEST_BYTES).digest()
            if digest not in self._long_files:
                self._long_files.add(digest)
                self._long_bytes += self._sum(self._content_bytes[rows[start:end]])
                self._long_blobs += len(distinct(rows[start:end]))

    def _rows_of(self, kind: BlobKind, blob_ids: bytes) -> Rows:
        rows = self._table.rows_of(kind, blob_ids)
        lost = np.flatnonzero(rows < 0)
        if len(lost):
            at = int(lost[0]) * ID_BYTES
            blob_id = blob_ids[at : at + ID_BYTES].hex()
            raise DamagedRepository(
                f"{kind.name.lower()} blob {blob_id} cannot be counted: no index object names it"
            )
        return rows

    def _fresh(self, rows: Rows) -> Rows:
        fresh = distinct(rows[~self._is_needed[rows]])
        self._is_needed[fresh] = True
        return fresh

    @staticmethod
    def _sum(sizes: NDArray[np.uint32]) -> int:
        return int(sizes.sum(dtype=np.int64))
