"""Puts sealed blobs into packs, which are built in memory and sent while others fill."""

import mmap
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from hashlib import sha256
from typing import Self, TypeAlias, final

from backapp_core.plugin_api import (
    AccessRefused,
    BackappError,
    HasFolder,
    Level,
    RepositoryLocked,
    StorageFull,
)
from backapp_plugins.archivers.restic.format.layout import (
    INDEX,
    MAX_INDEX_BLOBS,
    MAX_PACK_BLOBS,
    PACK_BYTES,
    BlobKind,
    pack_name,
)
from backapp_plugins.archivers.restic.format.packs import (
    PackEntry,
    encode_header,
    encode_trailer,
)
from backapp_plugins.archivers.restic.index.files import WaitingPack, index_of
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.writing.withdrawing import withdraw_false

_INDEX_SECONDS = 240.0
"""So much work at most is done again after an interruption."""
_PIECE_BYTES = 1 << 20
_ROOM_BYTES = PACK_BYTES + (1 << 20)
_LOCAL_UPLOADS = 3
"""At a time; a disk that makes sure of three packs does so in hardly more time than of one."""
_LOCAL_BUFFERS = 2
"""Full packs in memory that no file has taken yet: one is on its way while another is hashed."""
_REMOTE_UPLOADS = 5

StoredPack: TypeAlias = Callable[[bytes, Sequence[PackEntry]], None]
"""Told of each pack that was stored, in the thread that stored it."""


@final
class _OpenPack:
    """A pack that is being filled, in pieces of memory that others fill when they were sent."""

    __slots__ = ("_take", "entries", "pieces", "size_bytes")

    def __init__(self, take: Callable[[], mmap.mmap]) -> None:
        self._take = take
        self.pieces: list[mmap.mmap] = []
        self.entries: list[PackEntry] = []
        self.size_bytes = 0

    def add(
        self, kind: BlobKind, blob_id: bytes, sealed: bytes | memoryview, uncompressed: int
    ) -> None:
        self.entries.append(PackEntry(kind, blob_id, self.size_bytes, len(sealed), uncompressed))
        self.append(sealed)

    def append(self, data: bytes | memoryview) -> None:
        at, length = self.size_bytes % _PIECE_BYTES, len(data)
        if at and at + length <= _PIECE_BYTES:  # nearly all that are many
            self.pieces[-1][at : at + length] = data
            self.size_bytes += length
            return
        with memoryview(data) as view:
            done = 0
            while done < length:
                at = self.size_bytes % _PIECE_BYTES
                if not at:
                    self.pieces.append(self._take())
                some = view[done : done + _PIECE_BYTES - at]
                self.pieces[-1][at : at + len(some)] = some
                done += len(some)
                self.size_bytes += len(some)

    def filled(self) -> Iterator[tuple[mmap.mmap, int]]:
        """Yield each piece, and how many bytes of it are the pack's."""
        left = self.size_bytes
        for piece in self.pieces:
            yield piece, min(left, _PIECE_BYTES)
            left -= _PIECE_BYTES

    def pack_id(self) -> bytes:
        digest = sha256()
        for piece, length in self.filled():
            with memoryview(piece) as view:
                digest.update(view[:length])
        return digest.digest()

    @property
    def is_full(self) -> bool:
        return self.size_bytes >= PACK_BYTES or len(self.entries) >= MAX_PACK_BLOBS


@final
class PackWriter:
    """Takes sealed blobs from any number of threads; whoever comes when much is on its way waits.

    A context manager: what was not finished is dropped at its end, except that packs which were
    stored whole are listed in an index object, so that the next run need not store them again. On
    a full disk they are deleted, so that it is no fuller than before. Where the lock was lost they
    are left alone, and index objects are taken back that name packs which others deleted.
    """

    def __init__(
        self,
        place: Place,
        *,
        stored: StoredPack | None = None,
        listed: Callable[[bytes], None] | None = None,
        check_lock: Callable[[], None] = lambda: None,
    ) -> None:
        """Write to ``place``.

        Args:
            place: The repository.
            stored: Told of each pack.
            listed: Told of each index object that was written about them.
            check_lock: Called before one is written; raises if the lock was lost.
        """
        self._place = place
        self._tell_stored = stored
        self._tell_listed = listed
        self._check_lock = check_lock
        is_local = isinstance(place.transport, HasFolder)
        uploads = _LOCAL_UPLOADS if is_local else _REMOTE_UPLOADS
        self._is_local = is_local
        self._lock = threading.Lock()
        self._spare: list[mmap.mmap] = []
        self._open = {kind: _OpenPack(self._piece) for kind in BlobKind}
        self._slots = threading.BoundedSemaphore(_LOCAL_BUFFERS if is_local else uploads)
        self._filling = threading.Lock()
        """Held by who adds blobs, and waits for a slot with a full pack: nobody begins another."""
        self._pool = ThreadPoolExecutor(uploads, "upload")
        self._sent: list[Future[None]] = []
        self._unlisted: list[WaitingPack] = []
        self._unlisted_blobs = 0
        self._listed_at = place.surroundings.clock.monotonic_seconds()
        self._failure: BaseException | None = None
        self.objects: list[tuple[str, int]] = []
        """Name and size of everything that was stored."""
        self.index_ids: list[bytes] = []
        """Of these the index objects."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        if kind is not None:
            try:
                if issubclass(kind, RepositoryLocked) or self._is_lock_lost():
                    withdraw_false(self._place, self.index_ids)
                else:
                    self._keep_or_give_back()
            except BackappError as failure:
                # The run has its own error; these packs are stored again by the next one.
                self._place.say(Level.WARNING, f"unfinished work is not kept: {failure.message}")

    def add(
        self, kind: BlobKind, blob_id: bytes, sealed: bytes | memoryview, uncompressed: int
    ) -> None:
        """Take a blob.

        Raises:
            TransportError: If storing what came earlier failed.
        """
        self.add_all(kind, ((blob_id, sealed, uncompressed),))

    def add_all(
        self, kind: BlobKind, blobs: Iterable[tuple[bytes, bytes | memoryview, int]]
    ) -> None:
        """Take blobs: id, sealed content, and length of the content of each.

        Raises:
            TransportError: If storing what came earlier failed.
        """
        with self._filling:
            pack = self._open[kind]
            for blob_id, sealed, uncompressed in blobs:
                if pack.entries and pack.size_bytes + len(sealed) > _ROOM_BYTES:
                    pack = self._next(kind)
                pack.add(kind, blob_id, sealed, uncompressed)
                if pack.is_full:
                    pack = self._next(kind)

    def finish(self) -> None:
        """Store what is left and list all of it; afterwards everything added can be found.

        More may be added then, and finished.

        Raises:
            TransportError: If the destination fails.
        """
        with self._filling:
            for kind in BlobKind:
                if self._open[kind].entries:
                    self._next(kind)
        for future in self._sent:
            future.result()
        self._list_packs()

    def _next(self, kind: BlobKind) -> _OpenPack:
        """Send the open pack and return an empty one; nobody else adds blobs meanwhile."""
        self._send(self._open[kind])
        pack = self._open[kind] = _OpenPack(self._piece)
        return pack

    def _piece(self) -> mmap.mmap:
        with self._lock:
            spare = self._spare.pop() if self._spare else None
        return spare or _mapping(_PIECE_BYTES)

    def _send(self, pack: _OpenPack) -> None:
        self._slots.acquire()
        if self._failure is not None:
            self._slots.release()
            raise self._failure
        future = self._pool.submit(self._store, pack)
        with self._lock:
            self._sent = [one for one in self._sent if not one.done() or one.exception()]
            self._sent.append(future)

    def _store(self, pack: _OpenPack) -> None:
        with ExitStack() as held:
            held.callback(self._slots.release)
            held.callback(self._free, pack.pieces)
            try:
                if self._failure is None:
                    self._store_pack(pack, held.close)
            except BaseException as error:
                self._failure = error
                raise

    def _free(self, pieces: list[mmap.mmap]) -> None:
        """Let another pack have the memory of one."""
        with self._lock:
            self._spare += pieces
        pieces.clear()

    def _store_pack(self, pack: _OpenPack, taken: Callable[[], None]) -> None:
        """Store and note a pack; ``taken`` is called once a local file has all of it."""
        header = self._place.codec.seal(encode_header(pack.entries))
        pack.append(header)
        pack.append(encode_trailer(header))
        pack_id, end = pack.pack_id(), pack.size_bytes
        name = pack_name(pack_id)
        parts = self._handed_over(pack, taken) if self._is_local else _contents(pack)
        self._place.store(name, parts, end)
        if self._tell_stored is not None:
            self._tell_stored(pack_id, pack.entries)
        waiting = WaitingPack(pack_id, pack.entries)
        with self._lock:
            self.objects.append((name, end))
            self._unlisted.append(waiting)
            self._unlisted_blobs += len(pack.entries)
            waited = self._place.surroundings.clock.monotonic_seconds() - self._listed_at
            is_due = self._unlisted_blobs >= MAX_INDEX_BLOBS or waited >= _INDEX_SECONDS
        if is_due:
            self._list_packs()

    def _handed_over(self, pack: _OpenPack, taken: Callable[[], None]) -> Iterator[memoryview]:
        """Yield the content of a pack, and give each piece of memory back behind it."""
        left, pieces = pack.size_bytes, pack.pieces
        while pieces:
            with memoryview(pieces[0]) as piece, piece[: min(left, _PIECE_BYTES)] as filled:
                yield filled
            left -= _PIECE_BYTES
            self._free([pieces.pop(0)])
        taken()

    def _is_lock_lost(self) -> bool:
        """Say whether it is certain that the lock was lost; a run may end before it notices."""
        try:
            self._check_lock()
        except RepositoryLocked:
            return True
        except BackappError:
            return False
        return False

    def _keep_or_give_back(self) -> None:
        """List what was stored whole, or delete it if it would only take the last room."""
        failure = self._failure
        if failure is None:
            try:
                self._list_packs()
            except StorageFull as full:
                failure = full
        if isinstance(failure, StorageFull):
            for pack in self._unlisted:
                with suppress(AccessRefused):  # then whoever may delete frees them by prune
                    self._place.transport.delete(pack_name(pack.pack_id))

    def _list_packs(self) -> None:
        """Write an index object of the packs that none lists yet.

        Raises:
            BackappError: If it cannot be stored; then none lists them still.
        """
        with self._lock:
            packs, self._unlisted, self._unlisted_blobs = self._unlisted, [], 0
            self._listed_at = self._place.surroundings.clock.monotonic_seconds()
        if packs:
            try:
                self._check_lock()
                index_id, size = self._place.write_pieces(INDEX, index_of(packs))
            except BackappError:
                with self._lock:
                    self._unlisted += packs
                raise
            if self._tell_listed is not None:
                self._tell_listed(index_id)
            with self._lock:
                self.objects.append((INDEX + index_id.hex(), size))
                self.index_ids.append(index_id)


def _mapping(size_bytes: int) -> mmap.mmap:
    """Return memory that goes back to the system with the last use of it."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size_bytes)
    return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _contents(pack: _OpenPack) -> Iterator[memoryview]:
    for piece, length in pack.filled():
        with memoryview(piece) as whole, whole[:length] as filled:
            yield filled
