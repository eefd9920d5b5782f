"""Looks whether everything that snapshots need is there, and on request reads every byte of it."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import final

from backapp_core.plugin_api import CheckReport, DataSubset
from backapp_plugins.archivers.restic.check.content import ContentCheck
from backapp_plugins.archivers.restic.check.documents import (
    check_keys,
    check_locks,
    check_snapshots,
)
from backapp_plugins.archivers.restic.check.findings import Findings
from backapp_plugins.archivers.restic.check.pack_readers import PackReaders
from backapp_plugins.archivers.restic.check.progress import CheckProgress
from backapp_plugins.archivers.restic.format.layout import DATA, INDEX
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.place import Place


@final
class Check:
    """One look through a repository."""

    def __init__(self, place: Place, *, read_data: bool | DataSubset) -> None:
        self._place = place
        self._subset = DataSubset.of(read_data)
        self._findings = Findings()
        self._progress = CheckProgress(place.surroundings)
        self._objects = 1  # the description: it was read when the repository was opened

    def run(self) -> CheckReport:
        """Look at everything and say what was found.

        Raises:
            RepositoryLocked: If somebody removes or cleans up meanwhile.
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        with PackReaders(self._place) as readers:
            if self._subset == DataSubset():
                # They get ready while the index is read here.
                readers.expect(info.size_bytes for _, info in self._place.listed(DATA))
            return self._run(readers)

    def _run(self, readers: PackReaders) -> CheckReport:
        self._objects += check_keys(self._place, self._findings)
        locks, are_readable = check_locks(self._place, self._findings)
        self._objects += locks
        # Where a lock cannot be read nobody gets one; that it is so is found already.
        with self._place.hold_to_read() if are_readable else nullcontext():
            roots = check_snapshots(self._place, self._findings)
            self._objects += len(roots)
            self._check_content(roots, self._load_index(), readers)
        self._progress.end()
        return CheckReport(
            snapshots=len(roots),
            objects=self._objects,
            read_bytes=self._progress.read_bytes,
            findings=self._findings.all(),
        )

    def _load_index(self) -> Index:
        """Read every index object; what this machine remembers of them proves nothing."""

        def note(index_id: bytes, error: Exception) -> None:
            self._objects += 1
            name = f"{INDEX}{index_id.hex()}"
            reason = str(error)
            if not reason.startswith(name):
                reason = f"{name} is damaged: {reason}"
            self._findings.error(
                name,
                f"{reason}; repair index makes a new one from the packs",
                sort="index objects are damaged",
            )

        index = self._place.load_index(note, uses_cache=False)
        self._objects += len(index.files)
        return index

    def _check_content(
        self, roots: Mapping[bytes, bytes], index: Index, readers: PackReaders
    ) -> None:
        content = ContentCheck(self._place, index, self._findings, self._progress)
        content.look(roots, self._subset, readers)
        content.report(roots)
        self._objects += content.packs
