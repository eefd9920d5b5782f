"""Saves blobs: each content once."""

import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Self, TypeVar, final

from backapp_core.plugin_api import InputError
from backapp_plugins.archivers.restic.format.blobs import Encoded
from backapp_plugins.archivers.restic.format.layout import LARGEST_BLOB_BYTES, BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.writing.packing import PackWriter

_T = TypeVar("_T")
_TREES_BYTES = 512 << 10
"""Trees are encoded together once there are so many; most are small."""


@final
class BlobSaver:
    """Takes blobs from any number of threads; whoever comes when much is on its way waits.

    A context manager, as the `PackWriter` that it hands new blobs to.
    """

    def __init__(
        self, place: Place, index: Index, check_lock: Callable[[], None] = lambda: None
    ) -> None:
        """Save what ``index`` lacks; ``check_lock`` raises if the lock was lost meanwhile."""
        self._place = place
        self._index = index
        self._writer = PackWriter(
            place, stored=self._arrived, listed=index.listed_in, check_lock=check_lock
        )
        self._lock = threading.Lock()
        self._waiting: dict[BlobKind, set[bytes]] = {kind: set() for kind in BlobKind}
        self._stored = 0
        self._trees: dict[bytes, bytes] = {}
        self._tree_bytes = 0
        self.blobs = dict.fromkeys(BlobKind, 0)
        """How many blobs of each kind are new."""
        self.new_bytes = 0
        """Length of their contents."""
        self.packed_bytes = 0
        """What they take in their packs."""

    @property
    def objects(self) -> list[tuple[str, int]]:
        """Name and size of everything that was stored."""
        return self._writer.objects

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._writer.__exit__(kind, *error)

    def save(self, kind: BlobKind, data: bytes | memoryview) -> bytes:
        """Return the id of ``data`` after seeing to it that it is or will be stored.

        Raises:
            TransportError: If storing what came earlier failed.
            DamagedRepository: If the blob cannot be encoded without loss.
        """
        blob_id = sha256(data).digest()
        self.save_as(
            kind,
            blob_id,
            len(data),
            lambda: self._place.codec_for(kind).encode_content(data, blob_id),
        )
        return blob_id

    def save_all(self, contents: Sequence[bytes]) -> list[bytes]:
        """Return the ids of many small data blobs, and see to them as `save` does.

        Raises:
            TransportError: If storing what came earlier failed.
            DamagedRepository: If a blob cannot be encoded without loss.
        """
        ids = [sha256(content).digest() for content in contents]

        def encode(new: Sequence[int]) -> Sequence[bytes]:
            return self._place.content_codec.encode_all(
                [contents[at] for at in new], [ids[at] for at in new]
            )

        self.save_made(BlobKind.DATA, ids, list(map(len, contents)), encode)
        return ids

    def save_made(
        self,
        kind: BlobKind,
        ids: Sequence[bytes],
        sizes: Sequence[int],
        make: Callable[[Sequence[int]], Sequence[bytes | memoryview]],
    ) -> None:
        """See to it that many blobs are or will be stored whose contents somebody else has.

        Args:
            kind: What they hold.
            ids: The hashes of their contents.
            sizes: The lengths of these.
            make: Asked once for those that are new, by their places among ``ids``; returns each
                compressed, sealed and verified.

        Raises:
            TransportError: If storing what came earlier failed.
        """
        new = list(self._claimed(kind, zip(ids, range(len(ids)), strict=True)).values())
        self._add(kind, [ids[at] for at in new], make(new), [sizes[at] for at in new])

    def save_tree(self, tree: bytes) -> bytes:
        """Return the id of a tree, and see to it as `save` does, but when there are more of them.

        Raises:
            TransportError: If storing what came earlier failed.
            DamagedRepository: If a blob cannot be encoded without loss.
        """
        tree_id = sha256(tree).digest()
        fresh = self._claimed(BlobKind.TREE, [(tree_id, tree)])
        with self._lock:
            self._trees |= fresh
            self._tree_bytes += len(tree) if fresh else 0
            if self._tree_bytes < _TREES_BYTES:
                return tree_id
            trees = self._taken_trees()
        self._encode(BlobKind.TREE, trees)
        return tree_id

    def save_pieces(self, kind: BlobKind, pieces: Callable[[], Iterator[bytes]]) -> bytes:
        """Return the id of a blob too large for memory, and see to it as `save` does.

        Args:
            kind: What it holds.
            pieces: Yields its content, the same each time.

        Raises:
            InputError: If it is larger than the format can say.
            TransportError: If storing what came earlier failed.
            DamagedRepository: If the blob cannot be encoded without loss.
        """
        digest, size_bytes = sha256(), 0
        for piece in pieces():
            digest.update(piece)
            size_bytes += len(piece)
        if size_bytes > LARGEST_BLOB_BYTES:
            raise InputError(
                f"a directory has so many entries that they take {size_bytes} bytes, more than the "
                "repository's format has room for; spread them over several directories"
            )
        blob_id = digest.digest()
        codec = self._place.codec_for(kind)
        self.save_as(
            kind,
            blob_id,
            size_bytes,
            lambda: Encoded(codec.encode_pieces(pieces, size_bytes, blob_id), size_bytes),
        )
        return blob_id

    def _claimed(self, kind: BlobKind, blobs: Iterable[tuple[bytes, _T]]) -> dict[bytes, _T]:
        """Return those of the blobs that are new; from now on it is the caller's to store them."""
        stored, has = self._stored, self._index.has
        fresh = {blob_id: what for blob_id, what in blobs if not has(kind, blob_id)}
        with self._lock:
            waiting = self._waiting[kind]
            for blob_id in [blob_id for blob_id in fresh if blob_id in waiting]:
                del fresh[blob_id]
            if stored != self._stored:  # something was on its way a moment ago and has arrived
                for blob_id in [blob_id for blob_id in fresh if has(kind, blob_id)]:
                    del fresh[blob_id]
            waiting.update(fresh)
        return fresh

    def _encode(self, kind: BlobKind, blobs: Mapping[bytes, bytes]) -> None:
        if not blobs:
            return
        ids, contents = list(blobs), list(blobs.values())
        sealed = self._place.codec_for(kind).encode_all(contents, ids)
        self._add(kind, ids, sealed, list(map(len, contents)))

    def _add(
        self,
        kind: BlobKind,
        ids: Sequence[bytes],
        sealed: Sequence[bytes | memoryview],
        sizes: Sequence[int],
    ) -> None:
        with self._lock:
            self.blobs[kind] += len(ids)
            self.new_bytes += sum(sizes)
            self.packed_bytes += sum(map(len, sealed))
        self._writer.add_all(kind, zip(ids, sealed, sizes, strict=True))

    def _taken_trees(self) -> dict[bytes, bytes]:
        trees, self._trees, self._tree_bytes = self._trees, {}, 0
        return trees

    def save_as(
        self, kind: BlobKind, blob_id: bytes, size_bytes: int, encode: Callable[[], Encoded]
    ) -> None:
        """See to it that a blob is or will be stored.

        Args:
            kind: What it holds.
            blob_id: The hash of its content.
            size_bytes: Length of the content.
            encode: Asked for the blob, compressed and sealed, if it is new.

        Raises:
            TransportError: If storing what came earlier failed.
        """
        stored = self._stored
        if self._index.has(kind, blob_id):
            return
        with self._lock:
            waiting = self._waiting[kind]
            if blob_id in waiting:
                return
            if stored != self._stored and self._index.has(kind, blob_id):
                return  # it was on its way a moment ago and has arrived
            waiting.add(blob_id)
        sealed, uncompressed = encode()
        with self._lock:
            self.blobs[kind] += 1
            self.new_bytes += size_bytes
            self.packed_bytes += len(sealed)
        self._writer.add(kind, blob_id, sealed, uncompressed)

    def has_no_more_than(self, trees: Container[bytes]) -> bool:
        """Say whether nothing new was saved but these trees, which wait to be stored."""
        with self._lock:
            return not any(self.blobs.values()) and all(one in trees for one in self._trees)

    def finish(self) -> None:
        """Store what is left and list all of it; afterwards everything saved can be found.

        Raises:
            TransportError: If the destination fails.
        """
        with self._lock:
            trees = self._taken_trees()
        self._encode(BlobKind.TREE, trees)
        self._writer.finish()

    def _arrived(self, pack_id: bytes, entries: Sequence[PackEntry]) -> None:
        self._index.add_pack(pack_id, entries)
        with self._lock:
            self._stored += 1
            self._waiting[entries[0].kind].difference_update([entry.blob_id for entry in entries])
