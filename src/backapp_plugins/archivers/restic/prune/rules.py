"""Decides what happens to each pack: restic's rules, and rustic's delay before deleting."""

from datetime import UTC, datetime

import numpy as np

from backapp_core.plugin_api import CleanUpOptions
from backapp_plugins.archivers.restic.format.layout import PACK_BYTES, BlobKind
from backapp_plugins.archivers.restic.index.columns import Flags
from backapp_plugins.archivers.restic.prune.pack_use import PackStock, Sizes, choose_copies
from backapp_plugins.archivers.restic.prune.plan import Fates, PrunePlan

_MANY_SMALL = 10
"""So many small packs are worth joining; fewer would be joined again by every prune."""
_SMALL_BYTES = PACK_BYTES // 25
_BELOW_USUAL_BYTES = PACK_BYTES * 4 // 5


def decide(
    stock: PackStock, needed: Flags, options: CleanUpOptions, *, now: datetime, version: int
) -> PrunePlan:
    """Return what is to be done.

    Args:
        stock: The packs.
        needed: Which blobs are needed, ticked at the first row of each; a whole pack has each.
        options: How far to go.
        now: What packs are marked with.
        version: Of the repository's format.
    """
    kept = choose_copies(stock, needed)
    used = stock.bytes_of(kept)
    repacked = _choose_repacked(stock, kept, used, options, version)
    leaving = (used == 0) | repacked
    if options.keep_delete:
        fates = _delayed(stock, leaving, repacked, options.keep_delete.before(now))
    else:
        nothing = np.zeros_like(leaving)
        fates = Fates(
            repacked=repacked,
            deleted=leaving,
            marked=nothing,
            renewed=nothing,
            recovered=stock.table.columns.pack_is_marked & ~leaving,
            repeated=_is_repeated(stock),
        )
    return PrunePlan(
        stock=stock,
        made_at=now,
        kept_rows=kept,
        unused_bytes=int((stock.blob_bytes - used)[~leaving].sum()),
        fates=fates,
        orphans_deleted={} if options.keep_delete else stock.orphans,
        orphans_marked=stock.orphans if options.keep_delete else {},
    )


def _delayed(stock: PackStock, leaving: Flags, repacked: Flags, due_before: datetime) -> Fates:
    columns = stock.table.columns
    due = np.datetime64(due_before.astimezone(UTC).replace(tzinfo=None), "us")
    is_waiting = columns.pack_is_marked & ~repacked & ~np.isnat(columns.pack_noted_at)
    deleted = leaving & (~stock.is_there | (is_waiting & (columns.pack_noted_at <= due)))
    marked = leaving & ~deleted
    return Fates(
        repacked=repacked,
        deleted=deleted,
        marked=marked,
        renewed=marked & ~is_waiting,
        recovered=columns.pack_is_marked & ~leaving,
        repeated=_is_repeated(stock),
    )


def _is_repeated(stock: PackStock) -> Flags:
    times = np.bincount(stock.table.columns.naming_pack, minlength=len(stock.packs))
    repeated: Flags = times > 1
    return repeated


def _choose_repacked(
    stock: PackStock, kept: Flags, used: Sizes, options: CleanUpOptions, version: int
) -> Flags:
    """Choose packs to be copied: those whose copying is due anyway, then those that free most."""
    unused = np.where(used > 0, stock.blob_bytes - used, 0)
    is_data = stock.packs.blobs[BlobKind.TREE] == 0
    is_due = (used > 0) & _is_untidy(stock, kept, version)
    is_small = stock.packs.size_bytes < (
        _BELOW_USUAL_BYTES if options.repacks_small else _SMALL_BYTES
    )
    candidates = is_due | (unused > 0)
    merely_small = (used > 0) & is_small & ~candidates
    # What is copied may leave a small pack of either kind, which the next prune would count.
    copied_kinds = sum((candidates & (used > 0) & of_kind).any() for of_kind in (is_data, ~is_data))
    if np.count_nonzero(merely_small) + copied_kinds >= _MANY_SMALL:
        candidates |= merely_small
    numbers = np.flatnonzero(candidates)
    ratio = unused[numbers] / stock.blob_bytes[numbers]
    order = numbers[np.lexsort((-ratio, ~is_small[numbers], is_data[numbers]))]
    is_optional = is_data & ~is_due & ~is_small
    limit_bytes = options.unused_limit_bytes(int(used.sum()))
    most_bytes = float("inf") if options.max_repack_bytes is None else options.max_repack_bytes
    repacked = np.zeros_like(candidates)
    left_bytes, taken_bytes = int(unused.sum()), 0
    for number in order.tolist():
        size = int(stock.blob_bytes[number])
        if (is_optional[number] and left_bytes <= limit_bytes) or taken_bytes + size > most_bytes:
            continue
        repacked[number] = True
        taken_bytes += size
        left_bytes -= int(unused[number])
    return repacked


def _is_untidy(stock: PackStock, kept: Flags, version: int) -> Flags:
    """Return of each pack whether it mixes kinds, or has trees that should be compressed."""
    untidy: Flags = np.logical_and(*(stock.packs.blobs > 0))
    if version > 1:
        columns = stock.table.columns
        plain = kept & (columns.uncompressed == 0)
        plain[columns.rows_of_kind(BlobKind.DATA)] = False
        untidy |= stock.has_any(plain)
    return untidy
