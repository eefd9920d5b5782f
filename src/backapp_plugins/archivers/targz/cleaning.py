"""Removing snapshots, and deleting what none of them needs any more."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256

import msgspec
from attrs import evolve

from backapp_core.plugin_api import (
    CanTidy,
    CleanUpOptions,
    CleanUpPlan,
    DamagedRepository,
    InputError,
    ObjectExists,
    RemovalPlan,
    Snapshot,
)
from backapp_plugins.archivers.targz import layout, locks
from backapp_plugins.archivers.targz.place import Place


def remove(place: Place, plan: RemovalPlan) -> None:
    """Delete the records of the snapshots that ``plan`` removes, which ends their being listed."""
    with locks.hold(place.transport, place.surroundings, is_exclusive=True) as require_lock:
        # A record that cannot be read stands in nobody's way: removing needs no other record.
        older = _replaced(place.all_records())
        doomed = [each for wanted in plan.remove for each in (*_line(older, wanted), wanted)]
        require_lock()
        for snapshot_id in dict.fromkeys(doomed):
            place.transport.delete(layout.record_name(snapshot_id))


def retag(place: Place, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
    """Write a record with other tags that replaces the old one, then delete the old one."""
    with locks.hold(place.transport, place.surroundings, is_exclusive=False):
        record = place.record(snapshot.id)
        changed = msgspec.structs.replace(
            record,
            tags=tuple(sorted(set(tags))),
            original=record.original or snapshot.id,
            replaces=snapshot.id,
        )
        if changed.tags == record.tags:
            return layout.snapshot_of(record, snapshot.id)
        data = layout.encode(changed)
        new_id = sha256(data).hexdigest()
        # A run that was interrupted may have stored this very record already.
        with suppress(ObjectExists):
            place.transport.put(layout.record_name(new_id), [data], size_bytes=len(data))
        # A record that this one replaced in vain would come back without it.
        older = _replaced(place.all_records()) if record.replaces else {}
        for each in (*_line(older, snapshot.id), snapshot.id):
            place.transport.delete(layout.record_name(each))
        return layout.snapshot_of(changed, new_id)


def plan_clean_up(place: Place, options: CleanUpOptions) -> CleanUpPlan:
    """Find objects that no record names.

    Raises:
        InputError: If they are to be marked, which this format has no place for.
        DamagedRepository: If a record cannot be read, for then nobody knows what it needs.
    """
    if options.keep_delete:
        raise InputError(
            "a tar.gz repository cannot mark what is to be deleted later, so --keep-delete cannot "
            "be honoured; leave it out to delete at once"
        )
    # Objects are listed before records: what is stored in between belongs to a backup that is not
    # published yet.
    listed = [
        (info.name, info.size_bytes)
        for prefix in (layout.ARCHIVES, layout.MANIFESTS)
        for info in place.transport.list(prefix)
    ]
    records = _all_records(place)
    older = _replaced(records)
    replaced = set(older.values())
    there = {snapshot_id for snapshot_id, _ in records}
    superseded = [
        layout.record_name(each)
        for newest in sorted(there - replaced)
        for each in _line(older, newest)
        if each in there
    ]
    needed = {
        stored.name
        for snapshot_id, record in records
        if snapshot_id not in replaced
        for stored in (record.manifest, *record.archives)
    }
    kept = [size for name, size in listed if name in needed]
    doomed = sorted((name, size) for name, size in listed if name not in needed)
    return CleanUpPlan(
        objects=(*((name, 0) for name in superseded), *doomed),
        kept_objects=len(kept),
        kept_bytes=sum(kept),
        options=options,
    )


def clean_up(place: Place, plan: CleanUpPlan) -> CleanUpPlan:
    """Delete what is unneeded now and was when ``plan`` was made; return what was deleted."""
    with locks.hold(place.transport, place.surroundings, is_exclusive=True) as require_lock:
        now = plan_clean_up(place, plan.options)
        agreed = tuple(item for item in now.objects if item in set(plan.objects))
        require_lock()
        for number, (name, _) in enumerate(agreed):
            if number == 1:
                require_lock()  # a full disk had no room for the lock; now it may have
            place.transport.delete(name)
        if isinstance(place.transport, CanTidy):
            # Nobody else is at work, and a file with a living writer is left alone anyway.
            place.transport.tidy(older_than_seconds=0)
        return evolve(now, objects=agreed)


def _replaced(records: Iterable[tuple[str, layout.Record]]) -> dict[str, str]:
    """Return which record each one was written to replace, for those that were."""
    return {snapshot_id: record.replaces for snapshot_id, record in records if record.replaces}


def _line(older: dict[str, str], snapshot_id: str) -> list[str]:
    """Return the records that stand behind one, the oldest first: in this order they go.

    Each hides the one before it, which would otherwise be listed again.
    """
    line: list[str] = []
    while replaced := older.get(snapshot_id):
        line.append(replaced)
        snapshot_id = replaced
    return line[::-1]


def _all_records(place: Place) -> list[tuple[str, layout.Record]]:
    """Return every record, replaced ones too, as they stood at one moment.

    Raises:
        DamagedRepository: If one cannot be read.
    """

    def refuse(name: str, error: DamagedRepository) -> None:
        raise DamagedRepository(
            f"nothing was deleted, for what {name} needs cannot be known: {error.message}; "
            "restore that object from a copy, or delete it if its snapshot may be lost"
        ) from error

    while True:
        names = place.record_names()
        records = list(place.all_records(names, on_damage=refuse))
        # Where nobody may have held a lock against it (a full disk), a record may just have been
        # replaced: its successor was then stored before the old one went.
        if len(records) == len(names) and place.record_names() == names:
            return records
