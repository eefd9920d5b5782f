"""The backup of a run that a server ordered: taken once, whatever happens to the process."""

from contextlib import suppress

from attrs import evolve, frozen

from backapp_core.engine.agent_ledger import BegunRun, RunLedger, published_by
from backapp_core.engine.opening import Opened
from backapp_core.engine.run_drive import take_job
from backapp_core.errors import InputError
from backapp_core.events import Level, LogLine
from backapp_core.manager import PluginManager
from backapp_core.model.grants import ObjectSeen, ObjectSort
from backapp_core.model.jobs import Job
from backapp_core.model.snapshots import Counts, Snapshot
from backapp_core.ports.surroundings import Surroundings


@frozen
class Taken:
    """What a run left in its repository."""

    snapshot: Snapshot
    counts: Counts
    objects: tuple[ObjectSeen, ...]
    """What was written for it, the snapshot's record last."""


def back_up(
    plugins: PluginManager,
    surroundings: Surroundings,
    ledger: RunLedger,
    opened: Opened,
    job: Job,
    *,
    run_id: str,
) -> Taken:
    """Back up what ``job`` names, unless an earlier attempt of the same run did.

    What the ledger holds is enough to find that out, wherever the process ended.

    Raises:
        BackappError: What `run_drive.take_job` raises.
        InputError: If the ledger cannot be written.
    """
    begun = ledger.get(run_id) or BegunRun(run_id, 0)
    there = opened.repository.snapshots()
    published = published_by(begun, job, there, ledger.all())
    if published is not None:
        return _taken_before(plugins, surroundings, opened, begun, published)
    if begun.began_at is None:
        known = tuple(snapshot.id for snapshot in there)
        begun = evolve(begun, began_at=surroundings.clock.now(), known=known)
        ledger.put(begun)
    # The receipt of a run names the snapshot that it made.
    result, counts = take_job(plugins, surroundings, opened, evolve(job, skips_unchanged=False))
    objects = tuple(ObjectSeen(name, size_bytes) for name, size_bytes in result.objects)
    with suppress(InputError):  # it is saved; what is not noted would be found out all the same
        ledger.put(evolve(begun, snapshot=result.snapshot, counts=counts, objects=objects))
    return Taken(result.snapshot, counts, objects)


def _taken_before(
    plugins: PluginManager,
    surroundings: Surroundings,
    opened: Opened,
    begun: BegunRun,
    published: Snapshot,
) -> Taken:
    surroundings.events(
        LogLine(
            Level.INFO,
            f"snapshot {published.short_id} was saved by this run before it was interrupted; "
            "it counts, and no other is made",
        )
    )
    objects = begun.objects
    if objects is None:
        # Which of them it wrote is not known any more; it needs no others than these.
        sort_of = plugins.archivers.get(opened.repository.info.archiver).sort_of
        objects = tuple(
            ObjectSeen(info.name, info.size_bytes)
            for info in opened.transport.list()
            if sort_of(info.name) in {ObjectSort.DATA, ObjectSort.SNAPSHOT}
        )
    return Taken(published, begun.counts or published.counts, objects)
