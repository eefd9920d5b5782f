"""Shows what stands in a repository, object by object, for people who look into it."""

from collections.abc import Iterator

import msgspec

from backapp_core.plugin_api import InputError, to_text
from backapp_plugins.archivers.restic.format.config import encode_config
from backapp_plugins.archivers.restic.format.layout import (
    DATA,
    INDEX,
    KEYS,
    LOCKS,
    SNAPSHOTS,
    BlobKind,
    named_id,
)
from backapp_plugins.archivers.restic.format.trees import decode_tree
from backapp_plugins.archivers.restic.listing import find_record
from backapp_plugins.archivers.restic.place import Place

SORTS = ("config", "key", "lock", "snapshot", "index", "pack", "blob", "tree")
_FOLDERS = {"key": KEYS, "lock": LOCKS, "snapshot": SNAPSHOTS, "index": INDEX, "pack": DATA}


def show(place: Place, sort: str, name: str) -> Iterator[bytes]:
    """Yield what stands in one object or blob, opened; a pack comes as it is stored.

    Args:
        place: The repository.
        sort: One of `SORTS`.
        name: The id, or its beginning; not read for ``config``.

    Raises:
        InputError: If there is no such sort, or the name means nothing or several.
        DamagedRepository: If it is altered.
    """
    if sort == "config":
        yield _pretty(encode_config(place.config))
    elif sort == "tree":
        yield _tree(place, name)
    elif sort == "blob":
        yield _blob(place, _id_of(name))
    elif sort in _FOLDERS:
        object_id, object_name = _named(place, sort, name)
        if sort == "pack":
            yield from place.transport.get(object_name)
        elif sort == "key":
            yield _pretty(place.transport.read(object_name))
        else:
            document = place.read_document(_FOLDERS[sort], object_id)
            yield document if sort == "index" else _pretty(document)
    else:
        raise InputError(f"'{sort}' is none of {', '.join(SORTS)}")


def _blob(place: Place, blob_id: bytes) -> bytes:
    index = place.load_index()
    for kind in BlobKind:
        if index.locations(kind, blob_id):
            return place.read_blob(index, kind, blob_id)
    raise InputError(f"there is no blob {blob_id.hex()} at {place.transport.address}")


def _tree(place: Place, name: str) -> bytes:
    """Return a tree that is named by its id, or by a snapshot's and a path in it.

    Raises:
        InputError: If there is none.
    """
    text, _, path = name.partition(":")
    index, tree_id = place.load_index(), _id_of(text)
    if path or not index.locations(BlobKind.TREE, tree_id):
        tree_id = find_record(place, text).tree
        for part in filter(None, path.encode("utf-8", "surrogateescape").split(b"/")):
            nodes = decode_tree(place.read_blob(index, BlobKind.TREE, tree_id))
            found = [one for one in nodes if one.subtree and one.raw_name == part]
            if not found:
                raise InputError(f"there is no folder '{to_text(part)}' in '{name}'")
            tree_id = found[-1].subtree_id()
    return place.read_blob(index, BlobKind.TREE, tree_id)


def _named(place: Place, sort: str, name: str) -> tuple[bytes, str]:
    there = place.transport.list(_FOLDERS[sort])
    found = [
        (object_id, info.name)
        for info in there
        if (object_id := named_id(info.name)) is not None and object_id.hex().startswith(name)
    ]
    if not name or not found:
        raise InputError(f"there is no {sort} '{name}' at {place.transport.address}")
    if len(found) > 1:
        raise InputError(f"the ids of {len(found)} objects begin with '{name}'; give more of it")
    return found[0]


def _id_of(text: str) -> bytes:
    blob_id = named_id(text)
    if blob_id is None:
        raise InputError(f"'{text}' is no id; it has 64 hexadecimal digits")
    return blob_id


def _pretty(document: bytes) -> bytes:
    return msgspec.json.format(document, indent=2)
