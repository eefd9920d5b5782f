"""The file in which a machine keeps the merged columns of an index, to be mapped into memory.

::

    magic (32 bytes), length of the description (4 bytes), description as JSON
    the columns, each beginning at a multiple of 64 bytes
    SHA-256 of everything before it

A file that is cut or altered anywhere is not used. It is never changed, only replaced, so whoever
has mapped it keeps what was there.
"""

import mmap
import os
import struct
import sys
from collections.abc import Iterator
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.index.columns import DTYPES, Columns
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.kept_files import write_kept

_MAGIC = f"BackApp index 2 {sys.byteorder}".encode().ljust(32)
_LENGTH = struct.Struct("=I")
_ALIGNMENT = 64
_DIGEST_BYTES = 32
_PIECE_BYTES = 1 << 20
_DTYPES: Final = (*DTYPES.values(), *[np.dtype(np.uint32)] * 3)
"""Of the columns, and then of the starts of the table's look-ups."""


class _Description(msgspec.Struct):
    tree_start: int
    lengths: list[int]


@final
class CacheFile:
    """The kept index of one repository."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "index"

    def read(self) -> Table | None:
        """Return the kept table, None if there is none or not every bit of it is as it was."""
        try:
            with self._path.open("rb") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                if not _is_whole(file, size_bytes):
                    return None
                view = mmap.mmap(file.fileno(), size_bytes, access=mmap.ACCESS_READ)
        except OSError:
            return None
        return _table_in(view)

    def write(self, table: Table) -> None:
        """Keep a table in place of whatever was kept; another process sees the old or the new.

        Raises:
            OSError: If it cannot be written; what was kept is still there.
        """
        write_kept(self._path, _pieces_of(table))


def _is_whole(file: BufferedReader, size_bytes: int) -> bool:
    """Hash a file by reading it: looking at all of it in memory would map all of it."""
    hasher = sha256()
    left = size_bytes - _DIGEST_BYTES
    with memoryview(bytearray(_PIECE_BYTES)) as piece:
        while left > 0:
            count = file.readinto(piece[:left])
            if not count:
                return False
            hasher.update(piece[:count])
            left -= count
    return file.read() == hasher.digest()


def _pieces_of(table: Table) -> Iterator[bytes | memoryview]:
    columns = table.columns
    arrays = [*(getattr(columns, name) for name in DTYPES), *table.starts]
    description = msgspec.json.encode(
        _Description(columns.tree_start, [len(array) for array in arrays])
    )
    head = _MAGIC + _LENGTH.pack(len(description)) + description
    yield head
    written_bytes = len(head)
    for array in arrays:
        padding_bytes = -written_bytes % _ALIGNMENT
        yield bytes(padding_bytes)
        yield array.view(np.uint8).data
        written_bytes += padding_bytes + array.nbytes


def _table_in(view: mmap.mmap) -> Table | None:
    """Return the table that a whole file holds, None if another version of us wrote it."""
    if view[: len(_MAGIC)] != _MAGIC:
        return None
    at = len(_MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack_from(view, len(_MAGIC))
    description = msgspec.json.decode(view[at : at + length], type=_Description)
    at += length
    arrays: list[NDArray[Any]] = []
    for kind, count in zip(_DTYPES, description.lengths, strict=True):
        at += -at % _ALIGNMENT
        arrays.append(np.frombuffer(view, kind, count, at))
        at += count * kind.itemsize
    columns = dict(zip(DTYPES, arrays, strict=False))
    return Table(Columns(description.tree_start, **columns), arrays[len(DTYPES) :])
