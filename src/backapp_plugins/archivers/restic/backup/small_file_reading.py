"""What a worker does of a backup: it reads small files, and encodes what is new of them.

Its module imports as little as possible, for that is what a worker takes to start.
"""

import os
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import Any, TypeAlias, final

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import (
    Compression,
    DamagedRepository,
    Entry,
    FoundDirectory,
    SourceError,
)
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import MIN_CHUNK_BYTES
from backapp_plugins.archivers.restic.workers.worker import Service

ReadFile: TypeAlias = tuple[Entry | None, int, tuple[tuple[bytes, bytes], ...] | None, bool]
"""What a worker says of a file: its facts (None: those it was listed with), length, attributes,
whether it changed. Instead of all of it None, for a file that it could not read in one go."""


@final
@frozen
class SmallFileReading(Service):
    """What a worker does for a `SmallFileSaver`.

    It is sent directories, each with files, and answers what it read and the ids of all contents;
    is then sent the numbers of those that are new, and answers with their lengths and with all of
    them one after another, encoded and verified.
    """

    key: MasterKey
    compression: Compression

    @override
    def serve(self, connection: "Connection[Any, Any]") -> None:
        codec = BlobCodec(self.key, os.urandom, self.compression)
        while True:
            contents: list[bytes] = []
            read = [
                _read_for_another(found, entry, contents)
                for found, entries in connection.recv()
                for entry in entries
            ]
            ids = [sha256(content).digest() for content in contents]
            connection.send((read, b"".join(ids)))
            new: list[int] = connection.recv()
            try:
                encoded = codec.encode_all([contents[at] for at in new], [ids[at] for at in new])
            except DamagedRepository as error:
                connection.send(error)
                continue
            connection.send(list(map(len, encoded)))
            connection.send_bytes(b"".join(encoded))


def _read_for_another(
    found: FoundDirectory, entry: Entry, contents: list[bytes]
) -> ReadFile | None:
    try:
        whole = found.read_whole(entry, MIN_CHUNK_BYTES)
    except SourceError:
        return None  # whoever asked tries it, and finds words for it
    if whole is None:
        return None
    opened, content, attributes, has_changed = whole
    if content:
        contents.append(content)
    return None if opened == entry else opened, len(content), attributes, has_changed
