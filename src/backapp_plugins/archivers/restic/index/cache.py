"""Opens an index: from what this machine keeps of it as far as that goes, the rest by reading."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from backapp_core.plugin_api import DamagedRepository, ObjectMissing
from backapp_plugins.archivers.restic.format.layout import INDEX
from backapp_plugins.archivers.restic.index.cache_file import CacheFile
from backapp_plugins.archivers.restic.index.columns import Columns
from backapp_plugins.archivers.restic.index.files import IndexBroken, decode_index
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.index.merging import merge
from backapp_plugins.archivers.restic.index.table import Table

_READERS = 4
"""Files that are read at a time: one keeps the processor busy while others are on their way."""
_RENEW_FROM = 10
"""The cache is written anew once a tenth of it, in files or in blobs, would be read beside it."""


class IndexVanished(ObjectMissing):
    """A listed index file is not there any more: somebody pruned meanwhile, so list again."""


def load_index(
    listed: Sequence[tuple[bytes, int]],
    read: Callable[[bytes], bytes],
    cache_folder: Path,
    on_damage: Callable[[bytes, Exception], None] | None = None,
    *,
    uses_cache: bool = True,
    on_cache_failure: Callable[[OSError], None] | None = None,
) -> Index:
    """Return the index that the listed files make up together.

    Args:
        listed: Id and size in bytes of every index file of the repository.
        read: Returns the JSON in an index file; called from several threads at once.
        cache_folder: Where the index may be kept for the next time.
        on_damage: Told of each file that cannot be read, which is then left out; None raises.
        uses_cache: Whether the cache is read and written; a check wants to know what stands in the
            repository itself.
        on_cache_failure: Told if the index cannot be kept; that costs nothing but time.

    Raises:
        IndexVanished: If a file is gone; list again.
        DamagedRepository: If a file cannot be read.
    """
    sizes = dict(listed)
    cache = CacheFile(cache_folder)
    kept = cache.read() if uses_cache else None
    if kept is not None and not kept.files <= sizes.keys():
        kept = None  # it holds what was pruned since
    missing = sizes.keys() - (kept.files if kept is not None else frozenset())
    largest_first = sorted(missing, key=lambda file_id: (-sizes[file_id], file_id))
    parts = list(_read_files(largest_first, read, on_damage))
    if not parts:
        return Index([kept] if kept is not None else ())
    fresh = Table(merge(parts, uses_up=True))
    index = Index([kept, fresh] if kept is not None else [fresh])
    if not uses_cache or (kept is not None and not _is_worth_keeping(kept, fresh)):
        return index
    return Index([_keep(index.table(), cache, on_cache_failure)])


def _is_worth_keeping(kept: Table, fresh: Table) -> bool:
    return (
        len(fresh) * _RENEW_FROM > len(kept)
        or len(fresh.files) * _RENEW_FROM > len(kept.files)
        or kept.shares_packs_with(fresh)  # they had to be joined, and would be again
    )


def _keep(
    table: Table, cache: CacheFile, on_cache_failure: Callable[[OSError], None] | None
) -> Table:
    """Keep a table for the next time, and return it mapped: then the system may reclaim memory."""
    try:
        cache.write(table)
    except OSError as error:
        if on_cache_failure is not None:
            on_cache_failure(error)
        return table
    mapped = cache.read()
    is_ours = mapped is not None and mapped.files == table.files
    return mapped if mapped is not None and is_ours else table


def _read_files(
    file_ids: Iterable[bytes],
    read: Callable[[bytes], bytes],
    on_damage: Callable[[bytes, Exception], None] | None,
) -> Iterator[Columns]:
    """Yield what each file says.

    Files are read ahead on several threads and decoded on this one: decoding holds the interpreter
    anyway, and on four threads it left 90 MB more behind on their heaps.

    Raises:
        IndexVanished: If a file is gone.
        DamagedRepository: If a file cannot be read and nobody wants to be told.
    """
    for file_id, future in _ahead(file_ids, read):
        name = INDEX + file_id.hex()
        try:
            yield decode_index(future.result(), file_id)
        except ObjectMissing as error:
            raise IndexVanished(f"{name} has vanished since it was listed") from error
        except (DamagedRepository, IndexBroken) as error:
            if on_damage is None:
                raise DamagedRepository(f"{name} is damaged: {error}") from error
            on_damage(file_id, error)


def _ahead(
    file_ids: Iterable[bytes], read: Callable[[bytes], bytes]
) -> Iterator[tuple[bytes, Future[bytes]]]:
    """Yield files in order while the next ones are on their way."""
    pool = ThreadPoolExecutor(_READERS, "index")
    waiting: deque[tuple[bytes, Future[bytes]]] = deque()
    try:
        for file_id in file_ids:
            waiting.append((file_id, pool.submit(read, file_id)))
            if len(waiting) > _READERS:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
