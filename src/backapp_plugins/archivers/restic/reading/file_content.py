"""The content of one file of a snapshot, in order and verified."""

from collections.abc import Iterator

from backapp_core.plugin_api import DamagedRepository, InputError, Node, Snapshot, to_text
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.trees import TreeBroken
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.reading.blob_reader import BlobReader
from backapp_plugins.archivers.restic.reading.tree_reader import TreeReader
from backapp_plugins.archivers.restic.reading.walking import find


def file_content(
    place: Place, index: Index, root: bytes, snapshot: Snapshot, node: Node
) -> Iterator[bytes]:
    """Yield the content of a file, the next blobs being fetched meanwhile.

    Raises:
        InputError: If it is no file of the snapshot.
        DamagedRepository: If a part of it is lost, or its parts are not as long as the file.
        TransportError: If the destination fails.
    """
    shown = to_text(node.path)
    stored = find(TreeReader(place, index), root, node.path)
    if stored is None or stored.type != "file":
        raise InputError(f"{shown} is no file of snapshot {snapshot.short_id}")
    try:
        ids = stored.content_ids()
    except TreeBroken as error:
        raise DamagedRepository(f"the content of {shown} cannot be known: {error}") from error
    reader = BlobReader(place, index)
    size_bytes = 0
    for blob in in_threads(place, lambda blob_id: reader.read_one(BlobKind.DATA, blob_id), ids):
        place.surroundings.cancel.check()
        size_bytes += len(blob)
        yield blob
    if size_bytes != stored.size:
        raise DamagedRepository(
            f"{shown} has {size_bytes} bytes where it should have {stored.size}"
        )
