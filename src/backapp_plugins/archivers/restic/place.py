"""An opened repository without its verbs: transport, description, key, documents and blobs."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import final

from backapp_core.plugin_api import (
    AccessRefused,
    Body,
    Compression,
    DamagedRepository,
    Level,
    LogLine,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageFull,
    Surroundings,
    TransferCut,
    Transport,
)
from backapp_plugins.archivers.restic.access.holding import Hold, hold
from backapp_plugins.archivers.restic.access.keys import OpenedKey
from backapp_plugins.archivers.restic.format.blobs import BlobBroken, BlobCodec
from backapp_plugins.archivers.restic.format.config import Config
from backapp_plugins.archivers.restic.format.layout import (
    INDEX,
    BlobKind,
    id_of,
    named_id,
    pack_name,
)
from backapp_plugins.archivers.restic.format.unpacked import (
    DocumentBroken,
    Pieces,
    open_document,
    seal_document,
    seal_pieces,
)
from backapp_plugins.archivers.restic.index.cache import IndexVanished, load_index
from backapp_plugins.archivers.restic.index.index import Index, Location

_TRIES = 2
"""One bad transfer is no damage; two of the same object are."""
_INDEX_TRIES = 5


@final
class Place:
    """An opened repository, without its verbs; every method may be called from any thread."""

    def __init__(
        self,
        transport: Transport,
        config: Config,
        key: OpenedKey,
        surroundings: Surroundings,
    ) -> None:
        self.transport = transport
        self.config = config
        self.key = key
        self.surroundings = surroundings
        self._local = threading.local()

    @property
    def codec(self) -> BlobCodec:
        """The calling thread's own codec."""
        try:
            return self._local.codec  # type: ignore[no-any-return]  # a thread's attributes have no types
        except AttributeError:
            codec = BlobCodec(self.key.master, self.surroundings.random_bytes)
            self._local.codec = codec
            return codec

    @property
    def content_codec(self) -> BlobCodec:
        """The calling thread's own codec for contents of files, compressed as hard as is wished.

        Trees are not asked about: nothing else comes to so little for the time that it takes.
        """
        compression = self.surroundings.compression
        if compression is Compression.AUTO:
            return self.codec
        try:
            return self._local.content_codec  # type: ignore[no-any-return]  # see above
        except AttributeError:
            codec = BlobCodec(self.key.master, self.surroundings.random_bytes, compression)
            self._local.content_codec = codec
            return codec

    def codec_for(self, kind: BlobKind) -> BlobCodec:
        """Return the calling thread's own codec for blobs of a kind that are stored anew."""
        return self.content_codec if kind is BlobKind.DATA else self.codec

    @property
    def cache_folder(self) -> Path:
        """Where what can be fetched again is kept for this repository."""
        return self.surroundings.cache_folder / "restic" / self.config.id

    def say(self, level: Level, text: str) -> None:
        """Tell whoever listens."""
        self.surroundings.events(LogLine(level, text))

    def hold(self, *, is_exclusive: bool) -> AbstractContextManager[Hold]:
        """Hold a lock; yields what is called to make sure that it still stands there.

        Raises:
            RepositoryLocked: If another lock excludes this one.
        """
        return hold(
            self.transport,
            self.key.master,
            self.surroundings,
            version=self.config.version,
            is_exclusive=is_exclusive,
        )

    def say_uncached(self, error: OSError) -> None:
        """Tell whoever listens that something cannot be kept for the next time."""
        self.say(
            Level.WARNING,
            f"the next run will take longer, for the cache cannot be written: {error}",
        )

    @contextmanager
    def hold_to_read(self) -> Generator[None]:
        """Hold a lock while reading, where one can be written: what is read then stays.

        Raises:
            RepositoryLocked: If somebody removes or cleans up.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.hold(is_exclusive=False))
            except (AccessRefused, StorageFull) as error:
                self.say(Level.WARNING, f"going on without a lock: {error.message}")
            yield

    # --- objects that hold a document

    def listed(self, prefix: str) -> Iterator[tuple[bytes, ObjectInfo]]:
        """Yield id and facts of each object of a folder; what has no id for a name is left out."""
        for info in self.transport.list(prefix):
            object_id = named_id(info.name)
            if object_id is not None:
                yield object_id, info

    def read_document(self, prefix: str, object_id: bytes) -> bytes:
        """Return the document in an object, read a second time if the first answer is bad.

        Raises:
            ObjectMissing: If there is no such object.
            DamagedRepository: If it is altered.
        """
        name = prefix + object_id.hex()
        reason = ""
        for _ in range(_TRIES):
            sealed = self.transport.read(name)
            if id_of(sealed) != object_id:
                reason = "its content does not have the hash that it is named by"
                continue
            try:
                return open_document(self.codec, sealed)
            except DocumentBroken as error:
                reason = str(error)
        raise DamagedRepository(f"{name} is damaged: {reason}")

    def write_document(self, prefix: str, document: bytes) -> tuple[bytes, int]:
        """Store a document and return the id of its object and the object's size in bytes."""
        return self._write_sealed(
            prefix, seal_document(self.codec, document, version=self.config.version)
        )

    def write_pieces(self, prefix: str, document: Pieces) -> tuple[bytes, int]:
        """Do what `write_document` does with one that never stands in memory as a whole."""
        return self._write_sealed(
            prefix, seal_pieces(self.codec, document, version=self.config.version)
        )

    def _write_sealed(self, prefix: str, sealed: bytes) -> tuple[bytes, int]:
        object_id = id_of(sealed)
        self.store(prefix + object_id.hex(), [sealed], len(sealed))
        return object_id, len(sealed)

    def store(self, name: str, parts: Body, size_bytes: int) -> None:
        """Store an object that is named by its hash; one that is there already is that object.

        Raises:
            DamagedRepository: If what has its name has another size.
        """
        try:
            self.transport.put(name, parts, size_bytes=size_bytes)
        except ObjectExists as error:
            # The answer to an earlier attempt was lost: names are hashes, and what is sealed anew
            # never hashes the same.
            if self.transport.stat(name).size_bytes != size_bytes:
                raise DamagedRepository(f"{name} stands there with another size") from error

    # --- index and blobs

    def load_index(
        self,
        on_damage: Callable[[bytes, Exception], None] | None = None,
        *,
        uses_cache: bool = True,
    ) -> Index:
        """Return which blob is where, as the repository says now.

        Args:
            on_damage: Told of each index object that cannot be read, which is then left out; None
                raises.
            uses_cache: Whether what this machine keeps of it is believed, and kept up to date.

        Raises:
            DamagedRepository: If an index object cannot be read.
        """
        for _ in range(_INDEX_TRIES):
            listed = [(one, info.size_bytes) for one, info in self.listed(INDEX)]
            try:
                return load_index(
                    listed,
                    lambda index_id: self.read_document(INDEX, index_id),
                    self.cache_folder,
                    on_damage,
                    uses_cache=uses_cache,
                )
            except IndexVanished:
                continue  # somebody pruned between the listing and the reading
        raise DamagedRepository(
            f"the index of {self.transport.address} changes faster than it can be read, or lists "
            "objects that are not there; run check"
        )

    def read_blob(self, index: Index, kind: BlobKind, blob_id: bytes) -> bytes:
        """Return the content of one blob, from whichever copy of it is whole.

        Raises:
            DamagedRepository: If no copy is.
        """
        reason = "the index does not know it"
        for location in index.locations(kind, blob_id):
            for _ in range(_TRIES):
                try:
                    return self.read_at(location, blob_id)
                except (BlobBroken, ObjectMissing, TransferCut) as error:
                    reason = f"in {pack_name(location.pack_id)}: {error}"
        raise DamagedRepository(f"{kind.name.lower()} blob {blob_id.hex()} is lost: {reason}")

    def read_at(self, location: Location, blob_id: bytes) -> bytes:
        """Return the blob that stands at one place.

        Raises:
            BlobBroken: If it does not.
            ObjectMissing: If the pack is not there.
            TransferCut: If the connection ended early.
        """
        sealed = self.transport.read(
            pack_name(location.pack_id), offset=location.offset, length_bytes=location.length
        )
        if len(sealed) != location.length:
            raise BlobBroken("the pack ends before it")
        return self.codec.decode(sealed, location.uncompressed, blob_id)
