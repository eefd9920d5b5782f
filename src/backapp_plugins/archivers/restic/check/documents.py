"""Reads the objects that hold one document each: keys, locks and snapshots."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from backapp_core.plugin_api import DamagedRepository, ObjectMissing
from backapp_plugins.archivers.restic.access.keys import Fault, readable_keys, stored_keys
from backapp_plugins.archivers.restic.access.locks import Lock
from backapp_plugins.archivers.restic.check.findings import Findings
from backapp_plugins.archivers.restic.format.layout import LOCKS, SNAPSHOTS
from backapp_plugins.archivers.restic.listing import read_record
from backapp_plugins.archivers.restic.parallel import in_threads
from backapp_plugins.archivers.restic.place import Place


def check_keys(place: Place, findings: Findings) -> int:
    """Look at every key file, as far as it tells without its password; return how many there are.

    Of all but the key in use it stays unknown whether they open anything.
    """
    named = stored_keys(place.transport)
    for one in named:
        faults: list[Fault] = []
        list(readable_keys(place.transport, [one], faults))
        for fault in faults:
            findings.error(
                one[1].name,
                f"{fault.message}; remove it, and give its owner another one",
                sort="keys are damaged",
            )
    return len(named)


def check_locks(place: Place, findings: Findings) -> tuple[int, bool]:
    """Look at every lock; return how many there are, and whether all can be read."""
    count, are_readable = 0, True
    for lock_id, info in place.listed(LOCKS):
        count += 1
        if not info.size_bytes:
            findings.note(
                info.name,
                f"{info.name} is empty, as an interrupted upload leaves it, and locks nothing",
                sort="locks are empty",
            )
            continue
        try:
            msgspec.json.decode(place.read_document(LOCKS, lock_id), type=Lock)
        except ObjectMissing:
            continue  # released since it was listed
        except (DamagedRepository, ValueError) as error:
            are_readable = False
            findings.error(
                info.name,
                f"{info.name} is no lock any more ({error}) and stands in the way of others; "
                "if nobody is at work, remove all locks with unlock --remove-all",
                sort="locks are damaged",
            )
    return count, are_readable


def check_snapshots(place: Place, findings: Findings) -> dict[bytes, bytes]:
    """Read every snapshot; return the trees of those that are whole, newest first."""
    newest_first: list[tuple[datetime, bytes, bytes]] = []
    for found in in_threads(
        place, lambda one: _read_snapshot(place, one[0]), place.listed(SNAPSHOTS)
    ):
        match found:
            case _Damaged(snapshot_id, message):
                findings.error(
                    SNAPSHOTS + snapshot_id.hex(),
                    message,
                    sort="snapshots are damaged",
                    snapshot_ids=(snapshot_id.hex(),),
                )
            case (_, _, _):
                newest_first.append(found)
            case None:
                continue
    newest_first.sort(reverse=True)
    return {snapshot_id: tree for _, snapshot_id, tree in newest_first}


class _Damaged(NamedTuple):
    snapshot_id: bytes
    message: str


def _read_snapshot(
    place: Place, snapshot_id: bytes
) -> tuple[datetime, bytes, bytes] | _Damaged | None:
    try:
        record = read_record(place, snapshot_id)
    except ObjectMissing:
        return None  # removed since it was listed
    except DamagedRepository as error:
        return _Damaged(snapshot_id, error.message)
    return record.snapshot.taken_at, snapshot_id, record.tree
