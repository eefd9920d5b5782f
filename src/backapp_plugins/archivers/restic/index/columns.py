"""What index files say, as columns: blobs, packs, and which file names which pack.

A blob takes 48 bytes in five columns, data before trees. Packs, files and the namings of packs by
files have columns of their own; rows refer to them by position.
"""

import mmap
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import define
from numpy.typing import NDArray

from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.index.ids import ID, Ids, Numbers

Flags: TypeAlias = NDArray[np.bool_]
Times: TypeAlias = NDArray[np.datetime64]

_NUMBER: Final = np.dtype(np.uint32)
_FLAG: Final = np.dtype(np.bool_)
DTYPES: Final[Mapping[str, "np.dtype[Any]"]] = {
    "blob_id": ID,
    "pack_number": _NUMBER,
    "offset": _NUMBER,
    "length": _NUMBER,
    "uncompressed": _NUMBER,
    "pack_id": ID,
    "pack_is_marked": _FLAG,
    "pack_noted_at": np.dtype("datetime64[us]"),
    "pack_claimed_bytes": _NUMBER,
    "naming_file": _NUMBER,
    "naming_pack": _NUMBER,
    "file_id": ID,
}
"""All columns, in the order in which they are stored."""
ROW_COLUMNS: Final = ("blob_id", "pack_number", "offset", "length", "uncompressed")

_MAPPED_FROM_BYTES = 1 << 18


@define(eq=False)
class Columns:
    """Columns that belong together; those of a group are equally long."""

    tree_start: int
    """The first row of a tree."""
    blob_id: Ids
    pack_number: Numbers
    """Where the blob's pack stands in the columns of packs."""
    offset: Numbers
    length: Numbers
    """Sealed length in bytes."""
    uncompressed: Numbers
    """Length of the content in bytes; 0 if it was not compressed."""
    pack_id: Ids
    pack_is_marked: Flags
    """Whether any file lists the pack among those to be deleted."""
    pack_noted_at: Times
    """When the pack was made or marked, in UTC, if files say so; the latest of what they say."""
    pack_claimed_bytes: Numbers
    """Size of the pack where a file says so, else 0."""
    naming_file: Numbers
    """Where the naming file stands in the column of files."""
    naming_pack: Numbers
    file_id: Ids

    def rows_of_kind(self, kind: BlobKind) -> slice:
        """Return where the rows of data, or of trees, stand."""
        if kind is BlobKind.DATA:
            return slice(0, self.tree_start)
        return slice(self.tree_start, len(self.blob_id))


def no_columns() -> Columns:
    """Return columns without a row."""
    columns: dict[str, Any] = {name: np.empty(0, kind) for name, kind in DTYPES.items()}
    return Columns(tree_start=0, **columns)


def new_column(name: str, count: int) -> NDArray[Any]:
    """Return a column to be filled.

    A long one is a mapping of its own, which goes back to the system as soon as nobody needs it.
    What lies between other things on the heap does not: of five million blobs read from a hundred
    files, 250 MB stayed behind.
    """
    kind = DTYPES[name]
    size_bytes = count * kind.itemsize
    if size_bytes < _MAPPED_FROM_BYTES:
        return np.empty(count, kind)
    return np.frombuffer(mmap.mmap(-1, size_bytes), kind)
