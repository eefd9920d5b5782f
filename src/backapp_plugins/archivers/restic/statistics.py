"""Figures of a repository."""

from collections.abc import Iterator, Sequence

from backapp_core.plugin_api import EntryKind, Repository, RepositoryStats, Snapshot
from backapp_plugins.archivers.restic.chunking.chunker import RABIN, slowness
from backapp_plugins.archivers.restic.format.layout import SNAPSHOTS
from backapp_plugins.archivers.restic.place import Place


def statistics(
    repository: Repository, place: Place, snapshots: Sequence[Snapshot]
) -> RepositoryStats:
    """Count what stands there, and what restoring ``snapshots`` would bring.

    Snapshots that were written without figures, as older programs did, are walked.

    Raises:
        DamagedRepository: If such a snapshot cannot be walked.
        TransportError: If the destination fails.
    """
    sizes = [info.size_bytes for info in place.transport.list()]
    files = total_bytes = 0
    for snapshot in snapshots:
        counts = snapshot.counts
        if counts.files or counts.directories:
            files += counts.files
            total_bytes += counts.processed_bytes
            continue
        for node in repository.nodes(snapshot):
            if node.kind is EntryKind.FILE:
                files += 1
                total_bytes += node.size_bytes
    return RepositoryStats(
        snapshots=sum(1 for _ in place.listed(SNAPSHOTS)),
        objects=len(sizes),
        stored_bytes=sum(sizes),
        restore_bytes=total_bytes,
        restore_files=files,
        remarks=tuple(_remarks(place, snapshots)),
    )


def _remarks(place: Place, snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """Yield what the way in which long files are cut costs here, if it costs something."""
    if text := slowness(place.config.chunker):
        yield text
    others = sum(not one.program.startswith("backapp") for one in snapshots)
    if others and place.config.chunker != RABIN:
        yield (
            f"other programs made {others:,} of these snapshots and cut files longer "
            "than 512 KiB elsewhere, so such a file is stored twice if both back it up; in a "
            "repository made with 'init -o chunker=rabin' it is stored once"
        )
