"""Looks for whatever would stand in the way of a backup or a restore."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from backapp_core.engine import enforcements, opening
from backapp_core.engine.bucket_faults import bucket_faults
from backapp_core.engine.diagnose_machine import diagnose_machine
from backapp_core.engine.diagnose_sources import diagnose_sources
from backapp_core.engine.diagnose_target import diagnose_target
from backapp_core.engine.notify import open_notifiers
from backapp_core.errors import BackappError, TransportError
from backapp_core.manager import PluginManager
from backapp_core.model.diagnoses import Diagnosis, Verdict
from backapp_core.model.requests import BackupRequest
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.settings import Settings


def diagnose(
    plugins: PluginManager,
    surroundings: Surroundings,
    address: str,
    request: BackupRequest,
    *,
    target: Path | None,
    keys: Keys,
    probes_writing: bool,
    settings: Settings,
) -> list[Diagnosis]:
    """Look at the machine, the settings, the repository, the sources and a restore's target.

    What cannot be done is a finding and not raised.

    Args:
        plugins: What is installed.
        surroundings: Folders, time, the wish to stop.
        address: Of the repository; empty for none.
        request: The sources, in full; a request without roots stands for none.
        target: Where something would be restored to; None for nowhere.
        keys: What opens the repository.
        probes_writing: Whether a small object may be stored, read and deleted in the repository,
            and a small folder made and removed in the target.
        settings: Which notifiers there are, and the buckets if this is a server.

    Raises:
        RunCancelled: If the run is asked to stop.
    """
    found = [*diagnose_machine(surroundings, plugins)]
    found += _look_at_notifiers(plugins, surroundings, settings)
    impossible = dict(bucket_faults(plugins, surroundings, settings.server.buckets))
    found += [Diagnosis(name, Verdict.PROBLEM, what) for name, what in impossible.items()]
    folder: Path | None = None
    if address:
        try:
            opened = opening.open_repository(plugins, surroundings, address, keys)
        except BackappError as error:
            found.append(Diagnosis("repository", Verdict.PROBLEM, error.message))
        else:
            with opened.repository:
                found += _look_at(surroundings, opened, probes_writing=probes_writing)
            folder = opened.folder
    if request.roots:
        found += diagnose_sources(plugins, surroundings, request, folder=folder)
    if target is not None:
        found += diagnose_target(target, probes_writing=probes_writing)
    return found


def _look_at_notifiers(
    plugins: PluginManager, surroundings: Surroundings, settings: Settings
) -> Iterator[Diagnosis]:
    """Say whether runs could tell anybody; with a fault in here no job runs at all."""
    try:
        listeners = open_notifiers(plugins, surroundings, settings)
    except BackappError as error:
        yield Diagnosis("notifiers", Verdict.PROBLEM, error.message)
        return
    if listeners:
        names = ", ".join(f"'{one.name}'" for one in listeners)
        yield Diagnosis("notifiers", Verdict.FINE, f"{names} can be used; nothing was sent")


def _look_at(
    surroundings: Surroundings, opened: opening.Opened, *, probes_writing: bool
) -> Iterator[Diagnosis]:
    info = opened.repository.info
    sealing = "encrypted" if info.is_encrypted else "not encrypted"
    yield Diagnosis(
        "repository",
        Verdict.FINE,
        f"{opened.transport.address} holds a {info.archiver} repository, "
        f"version {info.version}, {sealing}, id {info.id[:8]}",
    )
    try:
        yield from _look_at_snapshots(surroundings, opened.repository.snapshots())
        if probes_writing:
            yield from _probe(surroundings, opened.transport)
        yield from _look_at_enforcement(surroundings, opened, probes_writing=probes_writing)
    except BackappError as error:
        yield Diagnosis("repository", Verdict.PROBLEM, error.message)


def _look_at_snapshots(
    surroundings: Surroundings, snapshots: Sequence[Snapshot]
) -> Iterator[Diagnosis]:
    if not snapshots:
        yield Diagnosis("snapshots", Verdict.NOTE, "there is none yet")
        return
    newest = max(snapshots, key=lambda one: one.taken_at)
    now = surroundings.clock.now()
    yield Diagnosis(
        "snapshots",
        Verdict.FINE,
        f"there are {len(snapshots)}, the newest of {newest.taken_at:%Y-%m-%d %H:%M} UTC",
    )
    if newest.taken_at > now:
        yield Diagnosis(
            "clock",
            Verdict.PROBLEM,
            f"snapshot {newest.short_id} is of {newest.taken_at:%Y-%m-%d %H:%M} UTC, which is in "
            f"the future; this machine's clock says {now:%Y-%m-%d %H:%M} UTC",
        )


def _look_at_enforcement(
    surroundings: Surroundings, opened: opening.Opened, *, probes_writing: bool
) -> Iterator[Diagnosis]:
    """Say what the destination enforces of signed requests: as it is now, or as it was known."""
    repository_id = opened.repository.info.id
    if probes_writing:
        found = enforcements.find_out(surroundings, opened.transport, repository_id)
    else:
        found = enforcements.known(surroundings, repository_id)
    if found is None:
        return
    if found.enforced:
        yield Diagnosis("enforced", Verdict.FINE, ", ".join(found.enforced))
    if found.ignored:
        yield Diagnosis("not enforced", Verdict.NOTE, ", ".join(found.ignored))


def _probe(surroundings: Surroundings, transport: Transport) -> Iterator[Diagnosis]:
    name = f"backapp-probe-{surroundings.random_bytes(8).hex()}"
    body = surroundings.random_bytes(1024)
    try:
        transport.put(name, [body], size_bytes=len(body))
        try:
            is_same = transport.read(name) == body
        finally:
            transport.delete(name)
    except TransportError as error:
        message = f"a small object could not be stored, read and deleted: {error.message}"
        yield Diagnosis("writing", Verdict.PROBLEM, message)
        return
    if is_same:
        yield Diagnosis("writing", Verdict.FINE, "a small object was stored, read and deleted")
    else:
        message = "a small object came back with other bytes than were stored"
        yield Diagnosis("writing", Verdict.PROBLEM, message)
