"""Remembers, on this machine, what each directory of the last snapshot looked like.

One record per directory says by what facts its tree was made, so that a directory in which nothing
changed is neither compared entry by entry nor decoded. The memory belongs to one snapshot, host and
set of roots; it is checked as a whole when it is opened and is never more than a shortcut: what it
does not know is looked up in the repository.

The file is a header, the ids of the index objects that listed everything at that time, then in the
order of the hashes of their paths the first eight bytes of each as a number of this machine, then
the records, then a SHA-256 of all that.
"""

import mmap
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple, final

from backapp_core.plugin_api import Entry, FoundDirectory, encoded_entries, encoded_facts
from backapp_plugins.archivers.restic.format.layout import ID_BYTES
from backapp_plugins.archivers.restic.kept_files import write_kept

_MAGIC = b"backapp folders" + (b"\x02" if sys.byteorder == "little" else b"\x03")
_HEADER = struct.Struct("<16s32sIQ")
_RECORD = struct.Struct("<16s16s16s16s32sIIQ?")
_HASH_BYTES = 16
_KEY_BYTES = 8
_MOST_FOLDERS = 4_000_000
"""Beyond that the records would take more memory than the shortcut is worth."""
_KEYS_AT_ONCE = 1 << 16
_UNSETTLED = bytes(_HASH_BYTES)


class Remembered(NamedTuple):
    """One directory."""

    path: bytes
    """Hash of its path."""
    own: bytes
    """Hash of the facts of the directory itself; zeros if its attributes may yet change without
    showing it, or could not be read. So are the following."""
    entries: bytes
    """Hash of the facts of everything in it that is no directory."""
    folders: bytes
    """Hash of its subdirectories: names, facts, trees."""
    tree: bytes
    """Id of its tree."""
    files: int
    others: int
    file_bytes: int
    has_attributes: bool
    """Whether the directory itself has extended attributes."""

    @property
    def is_settled(self) -> bool:
        """Whether equal facts mean equal contents."""
        return self.entries != _UNSETTLED


def hash_of_entries(found: FoundDirectory) -> bytes:
    """Return a hash of all facts of what is in a directory and is none."""
    hasher = blake2b(digest_size=_HASH_BYTES)
    for piece in encoded_entries(found.entries):
        hasher.update(piece)
    return hasher.digest()


def hash_of_folder(entry: Entry) -> bytes:
    """Return a hash of the facts of a directory itself."""
    return _hash(encoded_facts(entry[1:4] + entry[5:10]))


def hash_of_path(path: bytes) -> bytes:
    """Return what a directory is found by."""
    return _hash(path)


def hash_of_folders(facts: Collection[tuple[bytes, bytes, bytes]]) -> bytes:
    """Return a hash of subdirectories: name, hash of own facts, and tree of each."""
    return _hash(encoded_facts(facts))


UNSETTLED = _UNSETTLED


@final
class FolderMemory:
    """What is remembered of one snapshot; any thread may ask."""

    def __init__(self, data: mmap.mmap, *, first: int, count: int, trusted: bool) -> None:
        self._data = data
        self._first = first + count * _KEY_BYTES
        self._count = count
        self._keys: memoryview[int] = memoryview(data)[first : self._first].cast("Q")
        self.is_trusted = trusted
        """Whether everything that the snapshot needs is known to be listed still."""

    def find(self, path: bytes) -> Remembered | None:
        """Return what is remembered of the directory ``path``."""
        wanted = _hash(path)
        key = int.from_bytes(wanted[:_KEY_BYTES], "big")
        keys = self._keys
        # Natively: asking Python for each key took a tenth of an unchanged backup.
        row = bisect_left(keys, key)
        while row < self._count and keys[row] == key:
            record = _RECORD.unpack_from(self._data, self._first + row * _RECORD.size)
            if record[0] == wanted:
                return Remembered._make(record)
            row += 1
        return None


@final
class FolderNotes:
    """Gathers what the next backup may remember; used by one thread at a time."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._is_too_much = False

    def add(self, folder: Remembered) -> None:
        """Note one directory."""
        if len(self._records) >= _MOST_FOLDERS:
            self._is_too_much = True
            self._records.clear()
        if not self._is_too_much:
            self._records.append(_RECORD.pack(*folder))

    def keep(self, file: Path, snapshot_id: bytes, index_ids: Collection[bytes]) -> None:
        """Write the notes as the memory of ``snapshot_id``, all of it or nothing.

        Raises:
            OSError: If the cache folder cannot be written; the former memory is untouched.
        """
        if self._is_too_much:
            file.unlink(missing_ok=True)
            return
        self._records.sort()
        keys = array("Q")
        for at in range(0, len(self._records), _KEYS_AT_ONCE):
            some = self._records[at : at + _KEYS_AT_ONCE]
            keys.frombytes(b"".join([record[:_KEY_BYTES] for record in some]))
        if sys.byteorder == "little":
            keys.byteswap()
        header = _HEADER.pack(_MAGIC, snapshot_id, len(index_ids), len(self._records))
        write_kept(file, (header, *sorted(index_ids), keys.tobytes(), *self._records))


def open_memory(
    file: Path, snapshot_id: bytes, index_ids: Collection[bytes]
) -> FolderMemory | None:
    """Return the memory of ``snapshot_id``; None if there is none or it is damaged.

    Args:
        file: Where it is kept.
        snapshot_id: The snapshot that the backup is compared with.
        index_ids: Index objects that the repository has now.
    """
    try:
        with file.open("rb") as source:
            data = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None  # there is none, or it is empty
    end = len(data) - ID_BYTES
    if end < _HEADER.size:
        return None
    magic, owner, indexes, count = _HEADER.unpack_from(data)
    first = _HEADER.size + ID_BYTES * indexes
    if (
        magic != _MAGIC
        or owner != snapshot_id
        or first + count * (_KEY_BYTES + _RECORD.size) != end
    ):
        return None
    with memoryview(data) as view:
        if sha256(view[:end]).digest() != bytes(view[end:]):
            return None
    ids = {data[at : at + ID_BYTES] for at in range(_HEADER.size, first, ID_BYTES)}
    return FolderMemory(data, first=first, count=count, trusted=ids <= set(index_ids))


def memory_name(hostname: str, roots: Collection[bytes]) -> str:
    """Return the file name of the memory for backups of ``roots`` on ``hostname``."""
    return "folders-" + _hash(encoded_facts((hostname, sorted(roots)))).hex()


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=_HASH_BYTES).digest()
