"""Makes the index agree with the packs that are there, by what they say of themselves."""

from collections.abc import Iterator
from typing import final

from backapp_core.plugin_api import IndexRepair, ObjectMissing
from backapp_plugins.archivers.restic.format.layout import INDEX, pack_name
from backapp_plugins.archivers.restic.format.packs import HeaderBroken, decode_header
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.prune.deleting import delete_all
from backapp_plugins.archivers.restic.prune.index_rewriting import IndexRewriter, NamedPack
from backapp_plugins.archivers.restic.prune.pack_use import take_stock
from backapp_plugins.archivers.restic.prune.plan import Fates
from backapp_plugins.archivers.restic.prune.removing import refuse_if_append_only
from backapp_plugins.archivers.restic.reading.pack_headers import read_header


def repair_index(place: Place, *, reads_all_packs: bool, is_dry: bool) -> IndexRepair:
    """Read the headers of packs that the index knows not, or not as they are; forget missing ones.

    New index objects are stored before those go whose place they take. A pack whose header cannot
    be read is left as it is, and so is what the index says of it: that may be all that leads to its
    blobs. What is marked to be deleted stays marked.

    Args:
        place: The repository.
        reads_all_packs: Whether the headers of all packs are read, rather than believing the index.
        is_dry: Whether everything is only found out.

    Raises:
        AccessRefused: If nothing may be deleted from the repository.
        RepositoryLocked: If another process uses the repository.
    """
    refuse_if_append_only(place)
    with place.hold(is_exclusive=True) as hold:
        repair = _Repair(place, reads_all_packs=reads_all_packs)
        if not (is_dry or repair.found.is_empty):
            outdated = repair.write()
            hold()
            delete_all(place, hold, outdated)
        return repair.found


@final
class _Repair:
    def __init__(self, place: Place, *, reads_all_packs: bool) -> None:
        self._place = place
        self._damaged: list[str] = []
        index = place.load_index(
            lambda one, _: self._damaged.append(INDEX + one.hex()), uses_cache=False
        )
        stock = take_stock(place, index.table())
        is_marked = stock.table.columns.pack_is_marked
        is_doubtful: Flags = stock.is_there & ~is_marked
        if not reads_all_packs:
            is_doubtful &= ~stock.is_whole
        self._headers: dict[bytes, bytes] = {}
        self._unreadable: list[tuple[str, str]] = []
        self._read_headers({**stock.listed(is_doubtful), **stock.orphans})
        numbers = stock.table.packs_of(list(self._headers))
        dropped: Flags = ~stock.is_there
        dropped[numbers[numbers >= 0]] = True
        self._fates = Fates.deleting(dropped)
        self._rewriter = IndexRewriter(place, stock.packs, marked_at=place.surroundings.clock.now())
        outdated = self._rewriter.outdated(dropped)
        self.found = IndexRepair(
            missing=tuple(map(pack_name, stock.listed(~stock.is_there))),
            read=tuple(sorted(map(pack_name, self._headers))),
            unreadable=tuple(sorted(self._unreadable)),
            damaged=tuple(sorted(self._damaged)),
            replaced=tuple(sorted(INDEX + one.hex() for one in outdated)),
        )
        """What has to be done."""

    def write(self) -> list[str]:
        """Store what the index lacks, and return the names of objects that have to go then."""
        return [*self._rewriter.write(self._fates, added=self._read_packs()), *self._damaged]

    def _read_headers(self, sizes: dict[bytes, int]) -> None:
        headers = in_threads(self._place, lambda one: self._header(*one), sizes.items())
        for pack_id, header in zip(sizes, headers, strict=True):
            if isinstance(header, bytes):
                self._headers[pack_id] = header
            else:
                self._unreadable.append((pack_name(pack_id), header))

    def _header(self, pack_id: bytes, size_bytes: int) -> bytes | str:
        try:
            return read_header(self._place, pack_id, size_bytes)
        except (HeaderBroken, ObjectMissing) as error:
            return str(error)

    def _read_packs(self) -> Iterator[NamedPack]:
        for pack_id, header in self._headers.items():
            yield pack_id, decode_header(header)
