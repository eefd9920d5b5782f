"""Scanner to archiver to transport, once."""

import os
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from attrs import evolve, fields_dict, frozen

from backapp_core import processes
from backapp_core.codec import from_plain
from backapp_core.engine import watch
from backapp_core.engine.browse import choose
from backapp_core.engine.opening import local_folder
from backapp_core.engine.scan_ahead import Ahead, ahead_of
from backapp_core.errors import BackappError, CommandFailed, InputError, InvalidJob
from backapp_core.events import FileDone, Level, LogLine, Problem, Verb, void
from backapp_core.manager import PluginManager
from backapp_core.model.entries import child_path
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.names import to_text
from backapp_core.model.requests import BackupRequest
from backapp_core.model.snapshots import Counts, Snapshot
from backapp_core.ports.archivers import BackupResult, Repository
from backapp_core.ports.scanners import Scanner
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import Transport

_SUSPICIOUSLY_MANY_FILES = 100


def backup(
    plugins: PluginManager,
    surroundings: Surroundings,
    repository: Repository,
    request: BackupRequest,
    *,
    folder: Path | None,
    ahead: Ahead | None = None,
) -> BackupResult:
    """Back up what ``request`` names, and say which snapshots that were seen here have vanished.

    See `take`, which does the first without the second, and raises the same.
    """
    watch.compare(surroundings, repository, repository.snapshots())
    return take(plugins, surroundings, repository, request, folder=folder, ahead=ahead)


def take(
    plugins: PluginManager,
    surroundings: Surroundings,
    repository: Repository,
    request: BackupRequest,
    *,
    folder: Path | None,
    ahead: Ahead | None = None,
) -> BackupResult:
    """Back up what ``request`` names.

    Entries that cannot be read are events and counted; a backup that finds no file where the last
    one found many counts one problem, so that it is never taken for a success.

    Args:
        plugins: Where the scanner comes from.
        surroundings: Time, listeners, the wish to stop.
        repository: Where it goes.
        request: What is backed up.
        folder: The repository's own folder if it is on this machine; it is left out.
        ahead: What was begun while the repository was opened; not used if it is for another
            request.

    Raises:
        InputError: If there is no source, a pattern is malformed, or the repository takes no
            streams and that is what the scanner finds.
        InvalidJob: If a source lies in the repository.
        SourceNotFound: If none of the sources exists.
        CommandFailed: If the source is a command and it fails.
        SnapshotNotFound: If the named parent does not exist.
        PluginError: If the scanner is not installed.
        RepositoryError: If the repository cannot be used.
        RepositoryLocked: If somebody removes or cleans up meanwhile.
        TransportError: If the destination fails.
        RunCancelled: If the run is asked to stop.
    """
    is_begun = ahead is not None and ahead.request == request
    request = evolve(request, roots=absolute_roots(request.roots))
    scanner: Scanner
    if ahead is not None and is_begun:
        scanner = ahead.scanner
    else:
        scanner = open_scanner(plugins, surroundings, request, folder=folder)
    if scanner.has_streams and not repository.takes_streams:
        raise InputError(
            f"a repository of the kind {repository.info.archiver} holds files of a known length "
            "only; write the output of the command to a file and back that up, or create a "
            "repository of the kind restic"
        )
    parent_id = choose(repository.snapshots(), request.parent).id if request.parent else None
    try:
        result = repository.backup(scanner, _options(request, parent_id))
    except CommandFailed:
        # Ctrl-C reaches a command, too, and its end may be noticed first.
        surroundings.cancel.check()
        raise
    if result.is_skipped:
        return result  # what there is to suspect or to remember was when the snapshot was made
    watch.saw(surroundings, repository, result.snapshot)
    return _suspect(surroundings, repository, result)


@frozen
class LookAhead:
    """What begins a scan of what a request names, before it is asked for."""

    plugins: PluginManager
    surroundings: Surroundings
    request: BackupRequest

    def __call__(self, folder: Path | None) -> Ahead | None:
        """Return a scan that may begin; None if there can be none, and `take` says why.

        ``folder`` is the repository's own, as in `take`.
        """
        try:
            request = evolve(self.request, roots=absolute_roots(self.request.roots))
            scanner = ahead_of(
                self.surroundings,
                lambda around: open_scanner(self.plugins, around, request, folder=folder),
            )
        except BackappError:
            return None
        return Ahead(self.request, scanner)


def estimate(
    plugins: PluginManager,
    surroundings: Surroundings,
    request: BackupRequest,
    transport: Transport | None = None,
) -> Counts:
    """Walk the sources without reading a file, and return how much there is.

    With the ``transport`` of the repository that a backup would fill, what a backup would take and
    what it could not read are told as events, and that repository is left out where it lies in a
    source; without it nothing is told.

    Raises:
        InputError: If there is no source, a pattern is malformed, or only reading tells how much.
        InvalidJob: If a source lies in the repository.
        SourceNotFound: If none of the sources exists.
        PluginError: If the scanner is not installed.
        RunCancelled: If the run is asked to stop.
    """
    request = evolve(request, roots=absolute_roots(request.roots))
    tell = surroundings.events if transport is not None else void
    around = evolve(surroundings, events=tell)
    scanner = open_scanner(plugins, around, request, folder=local_folder(transport))
    if scanner.has_streams:
        raise InputError("how much a command or a pipe delivers shows only when it is backed up")
    files = directories = others = total_bytes = 0
    for found in scanner.scan():
        with found:
            directories += 1
            sizes = [entry.size_bytes for entry in found.entries if entry.kind == "file"]
            files += len(sizes)
            others += len(found.entries) - len(sizes)
            total_bytes += sum(sizes)
            for entry in found.entries if transport is not None else ():
                path = child_path(found.path, entry.name)
                tell(FileDone(Verb.BACKUP, path, "found", entry.size_bytes))
    return Counts(
        files_new=files,
        directories=directories,
        others=others,
        problems=scanner.problems,
        processed_bytes=total_bytes,
    )


def open_scanner(
    plugins: PluginManager,
    surroundings: Surroundings,
    request: BackupRequest,
    *,
    folder: Path | None,
) -> Scanner:
    """Make the scanner that ``request`` asks for.

    It leaves the repository's ``folder`` out where that lies in a source.

    Raises:
        InputError: If there is no source, or a pattern is malformed.
        InvalidJob: If a source lies in ``folder``.
        PluginError: If the scanner is not installed.
    """
    if not request.roots:
        raise InputError("no source was given; name at least one folder or file to back up")
    kind = plugins.scanners.get(request.scanner)
    plain = dict(request.scanner_settings)
    plain["roots"] = [to_text(root) for root in request.roots]
    if (
        folder is not None
        and _keep_out(surroundings, request.roots, folder)
        and "skip_folders" in fields_dict(kind.settings)
    ):
        given = plain.get("skip_folders", ())
        known = cast("Sequence[object]", given) if isinstance(given, list | tuple) else ()
        plain["skip_folders"] = [*known, *_names_of(folder)]
    settings = from_plain(plain, kind.settings, source=f"settings of scanner {kind.name}")
    return kind.open(settings, surroundings)


def program() -> str:
    """Return name and version of this program, as snapshots record it."""
    try:
        return f"backapp {version('backapp')}"
    except PackageNotFoundError:
        return "backapp"  # run from a copied tree


def absolute_roots(roots: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return ``roots`` as seen from the root folder; links stay unless a slash follows them.

    Raises:
        InputError: If one is empty or no path.
    """
    for root in roots:
        if not root or b"\0" in root:
            raise InputError(f"'{to_text(root)}' is no path that could be backed up")
    return tuple(_absolute(root) for root in roots)


def _absolute(root: bytes) -> bytes:
    plain = os.path.abspath(root)  # noqa: PTH100  # bytes, and links stay as they are
    # As elsewhere: with a slash after it the name of a link stands for the folder.
    is_followed = root.endswith((b"/", b"/.")) and os.path.islink(plain)  # noqa: PTH114  # bytes
    if is_followed and os.path.isdir(plain):  # noqa: PTH112  # bytes
        return os.path.realpath(plain)
    return plain


def _keep_out(surroundings: Surroundings, roots: Iterable[bytes], folder: Path) -> bool:
    """Say whether ``folder`` lies in a root.

    Raises:
        InvalidJob: If a root lies in ``folder``.
    """
    place = os.fsencode(folder.resolve())
    inside = False
    for root in roots:
        real = os.path.realpath(root)
        if real == place or _is_in(real, place):
            raise InvalidJob(
                f"the source {to_text(root)} lies in the repository {folder} "
                "that it would be backed up to"
            )
        inside = inside or _is_in(place, real)
    if inside:
        surroundings.events(
            LogLine(Level.INFO, f"the repository {folder} lies in a source and is left out")
        )
    return inside


def _is_in(path: bytes, folder: bytes) -> bool:
    return path.startswith(os.path.join(folder, b""))  # noqa: PTH118  # bytes


def _names_of(folder: Path) -> list[str]:
    """Return the names by which a scan may come across ``folder``: as given, and without links."""
    names = {os.fsencode(folder.absolute()), os.fsencode(folder.resolve())}
    return sorted(to_text(name) for name in names)


def _options(request: BackupRequest, parent_id: str | None) -> BackupOptions:
    return BackupOptions(
        hostname=request.hostname or processes.host_name(),
        username=request.username or processes.user_name(),
        tags=tuple(sorted(set(request.tags))),
        is_full=request.is_full,
        rereads_all=request.rereads_all,
        parent_id=parent_id,
        skips_unchanged=request.skips_unchanged,
        reports_files=request.reports_files,
        program=program(),
    )


def _suspect(
    surroundings: Surroundings, repository: Repository, result: BackupResult
) -> BackupResult:
    snapshot = result.snapshot
    if snapshot.counts.files:
        return result
    before = _predecessor(repository, snapshot)
    if before is None or before.counts.files < _SUSPICIOUSLY_MANY_FILES:
        return result
    reason = (
        f"no file was found where snapshot {before.short_id} has {before.counts.files:,}; "
        "is something not mounted?"
    )
    surroundings.events(Problem(Verb.BACKUP, snapshot.roots[0], reason))
    counts = evolve(snapshot.counts, problems=snapshot.counts.problems + 1)
    return evolve(result, snapshot=evolve(snapshot, counts=counts))


def _predecessor(repository: Repository, snapshot: Snapshot) -> Snapshot | None:
    earlier = [
        one
        for one in repository.snapshots()
        if one.id != snapshot.id
        and one.hostname == snapshot.hostname
        and one.roots == snapshot.roots
        and one.taken_at <= snapshot.taken_at
    ]
    return max(earlier, key=lambda one: one.taken_at, default=None)
