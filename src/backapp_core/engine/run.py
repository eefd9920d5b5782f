"""One execution of a job: claimed, driven, recorded, and told about when it fails."""

from datetime import datetime

from attrs import evolve

from backapp_core.engine import backup, opening, prune
from backapp_core.engine.addresses import parse_address
from backapp_core.engine.claim import claimed
from backapp_core.engine.keys import keys_from
from backapp_core.engine.notify import open_notifiers, tell
from backapp_core.engine.record import EventRecorder
from backapp_core.engine.run_drive import Done, drive, request_of, take_job, unexpected
from backapp_core.errors import BackappError, InvalidJob, RunCancelled, StoreUnavailable
from backapp_core.events import FanOut, Level, LogLine, Problem, RunMoved, Verb
from backapp_core.manager import PluginManager
from backapp_core.model.jobs import Job
from backapp_core.model.requests import ForgetRequest
from backapp_core.model.runs import Run, RunState
from backapp_core.model.snapshots import Snapshot, SnapshotFilter
from backapp_core.ports.archivers import Repository
from backapp_core.ports.stores import Store
from backapp_core.ports.surroundings import NO_KEYS, Keys, Surroundings
from backapp_core.settings import Settings

_DATABASE = "backapp.sqlite"


def open_store(plugins: PluginManager, surroundings: Surroundings, settings: Settings) -> Store:
    """Open the store that the settings name, or the one in the state folder.

    Raises:
        InvalidAddress: If the URL makes no sense.
        UnknownPlugin: If no installed store opens such URLs.
        StoreUnavailable: If it cannot be opened, or the state folder cannot be made.
        StoreTooNew: If a newer program wrote it.
        PartMissing: If a library is not installed.
    """
    url = store_url(surroundings, settings)
    return plugins.store_for(url.partition(":")[0].partition("+")[0]).open(url, surroundings)


def store_url(surroundings: Surroundings, settings: Settings) -> str:
    """Return the URL of the store that the settings name, or of the one in the state folder.

    Raises:
        StoreUnavailable: If the state folder cannot be made.
    """
    if settings.store:
        return settings.store
    folder = surroundings.state_folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreUnavailable(
            f"the state folder {folder} cannot be made: {error.strerror or error}"
        ) from error
    return f"sqlite:///{(folder / _DATABASE).absolute().as_posix()}"


def run_job(
    plugins: PluginManager,
    surroundings: Surroundings,
    settings: Settings,
    store: Store,
    name: str,
    *,
    due_at: datetime | None,
    keys: Keys = NO_KEYS,
) -> Run:
    """Run a job and return how it ended; a failure of the backup is a failed run and not raised.

    One process runs a job at a time. Runs that an earlier one did not end, since it was killed, are
    ended first, and told about.

    What happens is recorded with the run. After a completed backup the job's retention is applied;
    if that fails, the run completes with one problem more. Notifiers are told of what they were set
    up for.

    Args:
        plugins: What the job's names mean.
        surroundings: Time, listeners, the wish to stop.
        settings: Which notifiers there are.
        store: Has the job, gets the run.
        name: The job.
        due_at: The scheduled moment that the run answers to, None if somebody asked for it.
        keys: What opens the repository, as far as the job does not say where its own are kept.

    Raises:
        JobNotFound: If there is none of this name.
        JobRunning: If it is running already; nothing has happened then.
        NameTaken: If there is a run for this due moment.
        InvalidSettings: If a notifier's settings are wrong; nothing has happened then.
        PluginError: If a notifier is not installed; nothing has happened then.
        StoreError: If the store fails.
    """
    job = store.jobs.get(name)
    notifiers = open_notifiers(plugins, surroundings, settings)
    with claimed(surroundings, store, name) as abandoned:
        for one in abandoned:
            surroundings.events(RunMoved(one))
            # Now and not at the end: what killed that process may kill this one as well.
            tell(surroundings, notifiers, job, one)
        ended = _run(plugins, surroundings, store, job, due_at=due_at, keys=keys)
    tell(surroundings, notifiers, job, ended)
    return ended


def _run(
    plugins: PluginManager,
    surroundings: Surroundings,
    store: Store,
    job: Job,
    *,
    due_at: datetime | None,
    keys: Keys,
) -> Run:
    """Record a run and drive it to its end."""
    clock = surroundings.clock
    requested = Run(
        id=surroundings.random_bytes(16).hex(),
        job_name=job.name,
        state=RunState.REQUESTED,
        requested_at=clock.now(),
        due_at=due_at,
    )
    store.runs.add(requested)
    recorder = EventRecorder(store.runs, requested.id, clock)
    # The recorder first: what somebody else's sink raises is no reason to record less.
    listened = evolve(surroundings, events=FanOut((recorder, surroundings.events)))
    last = requested
    try:
        running = requested.start(at=clock.now())
        store.runs.move(running, from_state=RunState.REQUESTED)
        last = running
        ended = drive(listened, running, lambda: _work(plugins, listened, job, keys))
    except BaseException:  # an interrupt, or the interpreter's end: it must not seem to go on
        store.runs.move(last.cancel(at=clock.now()), from_state=last.state)
        raise
    # The result first: it must not be lost for a line of the log.
    store.runs.move(ended, from_state=RunState.RUNNING)
    try:
        listened.events(RunMoved(ended))
    finally:
        _flush(surroundings, recorder)
    return ended


def _flush(surroundings: Surroundings, recorder: EventRecorder) -> None:
    try:
        recorder.flush()
    except Exception as error:  # noqa: BLE001  # whatever it is, the run has ended and is stored
        reason = error.message if isinstance(error, BackappError) else unexpected(error)
        text = f"a part of what happened during the run was not recorded: {reason}"
        surroundings.events(LogLine(Level.WARNING, text))


def check_job(plugins: PluginManager, surroundings: Surroundings, job: Job) -> None:
    """Refuse a job that could never run; looks at no source and no destination.

    Raises:
        InvalidJob: If it names no source.
        InvalidAddress: If its repository address makes no sense.
        InvalidSchedule: If its schedule cannot be parsed.
        InvalidSettings: If its scanner settings do not fit.
        InvalidPattern: If a pattern is malformed.
        InputError: If both a password file and a password command are named.
        PluginError: If a kind that it names is not installed.
    """
    if not job.roots:
        raise InvalidJob(f"job '{job.name}' has no source; name at least one folder or file")
    address = parse_address(job.repository)
    plugins.transport_for(address.scheme).parse(address.text)
    if job.schedule is not None:
        kind = plugins.schedulers.get(job.schedule.scheduler)
        kind.parse(job.schedule.expression, job.schedule.time_zone)
    keys_from(password_file=job.password_file, password_command=job.password_command)
    backup.open_scanner(plugins, surroundings, request_of(job), folder=None)


def next_due(plugins: PluginManager, surroundings: Surroundings, job: Job) -> datetime | None:
    """Return when ``job`` is due next; None if it has no schedule, is disabled, or never is.

    Raises:
        InvalidSchedule: If its schedule cannot be parsed.
        UnknownPlugin: If its scheduler is not installed.
    """
    if job.schedule is None or not job.is_enabled:
        return None
    kind = plugins.schedulers.get(job.schedule.scheduler)
    scheduler = kind.parse(job.schedule.expression, job.schedule.time_zone)
    return scheduler.next_after(surroundings.clock.now())


def _work(plugins: PluginManager, surroundings: Surroundings, job: Job, keys: Keys) -> Done:
    opened = opening.open_repository(
        plugins,
        surroundings,
        job.repository,
        _own_keys(job, keys),
        look_ahead=backup.LookAhead(plugins, surroundings, request_of(job)),
    )
    with opened.repository as repository:
        result, counts = take_job(plugins, surroundings, opened, job)
        if not job.retention.is_empty and not _retain(
            surroundings, repository, job, result.snapshot
        ):
            counts = evolve(counts, problems=counts.problems + 1)
        return result.snapshot.id, counts


def _retain(
    surroundings: Surroundings, repository: Repository, job: Job, snapshot: Snapshot
) -> bool:
    """Apply the job's policy to the snapshots of the same host and roots; say if that went well."""
    request = ForgetRequest(
        retention=job.retention,
        snapshot_filter=SnapshotFilter(
            hostnames=frozenset({snapshot.hostname}), roots=frozenset(snapshot.roots)
        ),
    )
    try:
        plan = prune.plan_forget(surroundings, repository, request)
        removed = prune.forget(surroundings, repository, plan)
        freed = prune.prune(repository, prune.plan_prune(repository)) if removed else None
    except RunCancelled:
        reason = "the backup is complete, but retention was interrupted"
        surroundings.events(Problem(Verb.FORGET, b"", reason))
        return False
    except BackappError as error:
        reason = f"the backup is complete, but retention failed: {error.message}"
        surroundings.events(Problem(Verb.FORGET, b"", reason))
        return False
    if freed is not None:
        text = f"snapshots removed by retention: {len(removed)}; bytes freed: {freed.freed_bytes:,}"
        surroundings.events(LogLine(Level.INFO, text))
    return True


def _own_keys(job: Job, otherwise: Keys) -> Keys:
    own = keys_from(
        password_file=job.password_file,
        password_command=job.password_command,
        identity_files=job.identity_files,
    )
    return Keys(
        password=own.password or otherwise.password,
        identity_files=own.identity_files or otherwise.identity_files,
    )
