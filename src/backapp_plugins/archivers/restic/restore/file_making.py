"""What a worker does of a restore: it reads, opens and verifies small files, and makes them.

Its module imports as little as possible, for that is what a worker takes to start.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, final

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import EntryNotRestored, FileMaker, Lack, NewFile, TargetError
from backapp_plugins.archivers.restic.format.blobs import BlobBroken, BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import MAX_CHUNK_BYTES, BlobKind
from backapp_plugins.archivers.restic.reading.wanted import MOST_BLOB_BYTES, Wanted, stretches
from backapp_plugins.archivers.restic.workers.worker import Service, receive

MOST_BYTES = MAX_CHUNK_BYTES
"""A larger blob is none of a small file."""


class Making(NamedTuple):
    """Blobs of one pack, and the files that each of them is the whole content of.

    It holds columns, which are pickled in a quarter of the time that as many tuples take.
    """

    pack_name: str
    blobs: Sequence[Sequence[Any]]
    """Columns of `Wanted`; in the order of offsets, none larger than `MOST_BYTES`."""
    uses: Sequence[Sequence[int]]
    """Of each blob: numbers of files."""
    folders: Sequence[int]
    """Of each file: number of its directory, whose descriptors come along."""
    files: Sequence[Sequence[Any]]
    """Columns of `NewFile`."""


class Made(NamedTuple):
    """What came of a `Making`; files that are not mentioned were made and lack nothing."""

    unmade: Sequence[int]
    lacks: Sequence[tuple[int, Lack]]


@final
@frozen
class FileMaking(Service):
    """What a worker does for a restore: each `Making` is answered with a `Made`."""

    key: MasterKey
    folder: Path
    """Where objects are files on this machine."""
    maker: FileMaker

    @override
    def serve(self, connection: "Connection[Any, Any]") -> None:
        codec = BlobCodec(self.key, os.urandom)
        self.maker.begin()
        while True:
            making, descriptors = receive(connection)
            try:
                made = _Attempt(self, codec, making, descriptors).run()
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            connection.send(made)


@final
class _Attempt:
    """One try at one `Making`; whatever does not go well is left to whoever asked."""

    def __init__(
        self, service: FileMaking, codec: BlobCodec, making: Making, descriptors: Sequence[int]
    ) -> None:
        self._make = service.maker.make
        self._path = service.folder / making.pack_name
        self._codec = codec
        self._making = making
        self._descriptors = descriptors

    def run(self) -> Made:
        making, make = self._making, self._make
        files = list(map(NewFile, *making.files))
        descriptors = [self._descriptors[folder] for folder in making.folders]
        unmade = set(range(len(files)))
        lacks: list[tuple[int, Lack]] = []
        # Without room, or without the pack, nothing that follows would go better.
        with suppress(OSError, TargetError):
            for at, content in self._contents():
                for number in making.uses[at]:
                    try:
                        lack = make(descriptors[number], files[number], content)
                    except EntryNotRestored:
                        continue
                    unmade.discard(number)
                    if lack is not None:
                        lacks.append((number, lack))
        return Made(sorted(unmade), lacks)

    def _contents(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the content of each blob that is what it should be.

        Raises:
            OSError: If the pack cannot be read.
        """
        blobs = list(map(Wanted, *self._making.blobs))
        pack = os.open(self._path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            for first, last in stretches(blobs, MOST_BLOB_BYTES[BlobKind.DATA]):
                start = blobs[first].offset
                end = max(blob.offset + blob.length for blob in blobs[first:last])
                sealed = memoryview(os.pread(pack, end - start, start))
                for at in range(first, last):
                    blob_id, offset, length, uncompressed = blobs[at]
                    offset -= start
                    with suppress(BlobBroken):  # also if the pack ends before it
                        part = sealed[offset : offset + length]
                        content = self._codec.decode(part, uncompressed, blob_id)
                        yield at, b"" if is_zeros(content) else content
        finally:
            os.close(pack)


def is_zeros(content: bytes) -> bool:
    """Say whether nothing has to be written: what is not written of a file reads as zeros."""
    return not content or (not content[0] and content == bytes(len(content)))
