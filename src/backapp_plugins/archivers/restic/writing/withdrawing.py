"""Takes index objects back that say what is not true any more, when a lock was lost under way."""

from collections.abc import Iterable

from backapp_core.plugin_api import DamagedRepository, ObjectMissing
from backapp_plugins.archivers.restic.format.layout import DATA, INDEX, pack_name
from backapp_plugins.archivers.restic.index.files import IndexBroken, decode_index
from backapp_plugins.archivers.restic.place import Place


def withdraw_false(place: Place, index_ids: Iterable[bytes]) -> None:
    """Delete those of our index objects that name packs which are not there.

    Whoever took this machine for dead while it slept may have deleted packs, and has then written
    anew every index object that named them. One that names them still was stored after that, and
    the next backup would take their content for stored.

    Raises:
        TransportError: If the destination fails.
    """
    there = {pack_id for pack_id, _ in place.listed(DATA)}
    for index_id in index_ids:
        try:
            named = decode_index(place.read_document(INDEX, index_id), index_id).pack_id.tolist()
        except (ObjectMissing, DamagedRepository, IndexBroken):
            continue  # others removed it, or check finds it
        if not all(one in there or _stands(place, one) for one in named):
            place.transport.delete(INDEX + index_id.hex())


def _stands(place: Place, pack_id: bytes) -> bool:
    try:
        place.transport.stat(pack_name(pack_id))
    except ObjectMissing:
        return False
    return True
