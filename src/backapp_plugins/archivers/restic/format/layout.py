"""Names and shapes of what stands in a repository.

The layout is that of https://restic.readthedocs.io/en/stable/100_references.html#repository-layout:
every object but ``config`` is named by the SHA-256 of its bytes.
"""

import re
from enum import IntEnum
from hashlib import sha256

from backapp_core.plugin_api import ObjectSort

CONFIG_NAME = "config"
KEYS = "keys/"
SNAPSHOTS = "snapshots/"
INDEX = "index/"
LOCKS = "locks/"
DATA = "data/"

ID_BYTES = 32
SEAL_BYTES = 32
"""What sealing adds: 16 bytes of initialisation vector before, 16 bytes of code after."""

READABLE_VERSIONS = (1, 2)
WRITTEN_VERSION = 2

MIN_CHUNK_BYTES = 512 << 10
MAX_CHUNK_BYTES = 8 << 20
PACK_BYTES = 16 << 20
"""A pack is finished when it has at least so many bytes, as with restic."""
MAX_PACK_BLOBS = 10_000
"""Rustic reads no packs with more."""
LARGEST_BLOB_BYTES = 2**32 - 1
"""Lengths are written in four bytes."""
MAX_INDEX_BLOBS = 50_000
"""Blobs per index file."""

_HEX_ID = re.compile("[0-9a-f]{64}")
_NAMED_BY_ID = re.compile(
    "(?:(keys|snapshots|index|locks)/[0-9a-f]{64}|(data)/([0-9a-f]{2})/\\3[0-9a-f]{62})"
)
_SORTS = {
    "keys": ObjectSort.KEY,
    "snapshots": ObjectSort.SNAPSHOT,
    "index": ObjectSort.DATA,
    "locks": ObjectSort.LOCK,
    "data": ObjectSort.DATA,
}


class BlobKind(IntEnum):
    """What a blob holds; the two are kept in packs apart."""

    DATA = 0
    TREE = 1


def id_of(data: bytes | bytearray | memoryview) -> bytes:
    """Return the SHA-256 that ``data`` is known by."""
    return sha256(data).digest()


def pack_name(pack_id: bytes) -> str:
    """Return the object name of a pack."""
    text = pack_id.hex()
    return f"{DATA}{text[:2]}/{text}"


def named_id(name: str) -> bytes | None:
    """Return the id that ends an object name, None if it ends in none.

    What is called otherwise is no object of the repository, and restic passes over it, too.
    """
    text = name.rpartition("/")[2]
    return bytes.fromhex(text) if _HEX_ID.fullmatch(text) else None


def sort_of(name: str) -> ObjectSort | None:
    """Say what an object of this name is, None for names that nothing here has."""
    if name == CONFIG_NAME:
        return ObjectSort.CONFIG
    match = _NAMED_BY_ID.fullmatch(name)
    return _SORTS[match[1] or match[2]] if match else None
