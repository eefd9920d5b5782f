"""Removing snapshots, and deleting what none of them needs any more."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

import msgspec

from backapp_core.plugin_api import (
    CanTidy,
    CleanUpPlan,
    DamagedRepository,
    ObjectExists,
    RemovalPlan,
    Snapshot,
)
from backapp_plugins.archivers.targz import layout, locks
from backapp_plugins.archivers.targz.place import Place


def remove(place: Place, plan: RemovalPlan) -> None:
    """Delete the records of the snapshots that ``plan`` removes.

    From then on they are not listed.
    """
    with locks.hold(place.transport, place.surroundings, is_exclusive=True) as require_lock:
        # A record that cannot be read stands in nobody's way: removing needs no other record.
        older = {snapshot_id: record.replaces for snapshot_id, record in place.all_records()}
        wanted = set(plan.remove)
        doomed: list[str] = []
        for snapshot_id in plan.remove:
            # What a record has replaced goes before it, or it would come back.
            line = [snapshot_id]
            while (replaced := older.get(line[-1])) and replaced not in wanted:
                line.append(replaced)
            doomed.extend(reversed(line))
        require_lock()
        for snapshot_id in doomed:
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
        place.transport.delete(layout.record_name(snapshot.id))
        return layout.snapshot_of(changed, new_id)


def plan_clean_up(place: Place) -> CleanUpPlan:
    """Find objects that no record names.

    Raises:
        DamagedRepository: If a record cannot be read, for then nobody knows what it needs.
    """
    # Objects are listed before records: what is stored in between belongs to a backup that is not
    # published yet.
    listed = [
        (info.name, info.size_bytes)
        for prefix in (layout.ARCHIVES, layout.MANIFESTS)
        for info in place.transport.list(prefix)
    ]
    records = _all_records(place)
    replaced = {record.replaces for _, record in records if record.replaces}
    superseded = sorted(layout.record_name(each) for each, _ in records if each in replaced)
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
    )


def clean_up(place: Place, plan: CleanUpPlan) -> CleanUpPlan:
    """Delete what is unneeded now and was unneeded when ``plan`` was made.

    Return what was deleted.
    """
    with locks.hold(place.transport, place.surroundings, is_exclusive=True) as require_lock:
        now = plan_clean_up(place)
        agreed = tuple(item for item in now.objects if item in set(plan.objects))
        require_lock()
        for number, (name, _) in enumerate(agreed):
            if number == 1:
                require_lock()  # a full disk had no room for the lock; now it may have
            place.transport.delete(name)
        if isinstance(place.transport, CanTidy):
            # Nobody else is at work, and a file with a living writer is left alone anyway.
            place.transport.tidy(older_than_seconds=0)
        return CleanUpPlan(agreed, now.kept_objects, now.kept_bytes)


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
