"""A restore: the plan, made lazily, then its execution by the safe extractor."""

import os
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen
from typing_extensions import override

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.engine.extract_preview import Preview
from backapp_core.engine.patterns import Chosen, Patterns, select
from backapp_core.engine.progress import ReportingTarget
from backapp_core.engine.selections import Single, clean_path
from backapp_core.errors import InputError, PathNotFound
from backapp_core.model.entries import EntryKind, Node, is_below
from backapp_core.model.names import to_text
from backapp_core.model.requests import RestoreRequest
from backapp_core.model.restores import Action, RestoreOutcome
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.targets import (
    Errand,
    Everything,
    FileMaker,
    Selection,
    Target,
    TargetFile,
)


@frozen
class Step:
    """What would happen to one node."""

    action: Action
    node: Node
    """As it is in the snapshot, with its full path there."""
    path: bytes
    """Where it goes, seen from the target."""


@frozen
class RestorePlan:
    """A restore that is decided and not begun.

    Iterate over it to see what it would do, node by node.
    """

    repository: Repository
    snapshot: Snapshot
    request: RestoreRequest
    selection: Selection
    top: bytes
    """Folder whose content is restored, without the path that leads to it; ``/`` for all."""

    def __iter__(self) -> Iterator[Step]:
        """Look at the target as it is now; changes nothing."""
        with Preview(os.fsencode(self.request.target), self.request.overwrite) as preview:
            for node in self.repository.nodes(self.snapshot, self.selection):
                path = _rebase(node.path, self.top)
                if path is not None:
                    moved = node if path == node.path else evolve(node, path=path)
                    yield Step(preview.would(moved), node, path)


def plan_restore(
    repository: Repository, snapshot: Snapshot, request: RestoreRequest
) -> RestorePlan:
    """Decide what a restore consists of; looks at the snapshot and at nothing else.

    Raises:
        PathNotFound: If the folder is not in the snapshot, or the patterns choose nothing.
        InputError: If what is named as folder is none.
        InvalidPattern: If a pattern is malformed.
        DamagedRepository: If what describes the snapshot is missing or altered.
    """
    include = Patterns(request.include, is_exclude=False, ignores_case=request.ignores_case)
    exclude = Patterns(request.exclude, ignores_case=request.ignores_case)
    top = clean_path(request.folder)
    if top != b"/":
        _check_folder(repository, snapshot, top)
    chosen = Chosen(top, include, exclude)
    selection: Selection | None = Everything()
    if top != b"/" or not include.is_empty or not exclude.is_empty:
        selection = select(repository.nodes(snapshot, chosen), chosen)
    if selection is None and include.is_empty and exclude.is_empty:
        selection = Single(top)  # an empty folder: it comes back as one
    if selection is None:
        where = f" below '{to_text(top)}'" if top != b"/" else ""
        raise PathNotFound(
            f"nothing in snapshot {snapshot.short_id}{where} is chosen by the patterns"
        )
    return RestorePlan(repository, snapshot, request, selection, top)


def restore(surroundings: Surroundings, plan: RestorePlan) -> RestoreOutcome:
    """Do what ``plan`` says; what cannot be restored is listed in the outcome.

    Raises:
        TargetError: If the target cannot be written at all, or is full.
        DamagedRepository: If what describes the snapshot is missing or altered.
        TransportError: If the repository's destination fails.
        RunCancelled: If the run is asked to stop.
    """
    request = plan.request
    # Whatever this needs (a key, an object that may be gone) is missed before the target is made.
    next(iter(plan.repository.nodes(plan.snapshot, plan.selection)), None)
    options = ExtractOptions(
        overwrite=request.overwrite,
        owners=request.owners,
        special=request.special,
        reports_files=request.reports_files,
    )
    folder = FolderTarget(os.fsencode(request.target), options, surroundings)
    target: Target = ReportingTarget(folder, folder.ledger, surroundings, *_totals(plan))
    if plan.top != b"/":
        target = _Rebased(target, plan.top)
    plan.repository.restore(plan.snapshot, target, plan.selection)
    return folder.outcome


def _totals(plan: RestorePlan) -> tuple[int | None, int | None]:
    """Return how many files and bytes there are, where that is known without a walk."""
    if not isinstance(plan.selection, Everything):
        return None, None
    return plan.snapshot.counts.files, plan.snapshot.counts.processed_bytes


def _check_folder(repository: Repository, snapshot: Snapshot, top: bytes) -> None:
    nodes = repository.nodes(snapshot, Single(top))
    node = next((one for one in nodes if one.path == top), None)
    if node is None:
        raise PathNotFound(f"snapshot {snapshot.short_id} holds no '{to_text(top)}'")
    if node.kind is not EntryKind.DIRECTORY:
        raise InputError(
            f"'{to_text(top)}' in snapshot {snapshot.short_id} is no folder; "
            f"to restore it alone use --include '{to_text(top)}'"
        )


def _rebase(path: bytes, top: bytes) -> bytes | None:
    """Return ``path`` as seen from ``top``; None for ``top`` itself and what leads to it."""
    if top == b"/":
        return path
    return path[len(top) :] if is_below(path, top) else None


class _Rebased(Target):
    """Leaves the path away that leads to the restored folder."""

    def __init__(self, inner: Target, top: bytes) -> None:
        self._inner = inner
        self._top = top

    @override
    def directory(self, node: Node) -> None:
        if (moved := self._moved(node)) is not None:
            self._inner.directory(moved)

    @override
    def file(self, node: Node) -> TargetFile | None:
        moved = self._moved(node)
        return self._inner.file(moved) if moved is not None else None

    @override
    def file_maker(self) -> FileMaker | None:
        return self._inner.file_maker()

    @override
    def hand_over(self, nodes: Sequence[Node]) -> Errand | None:
        moved = [one for one in map(self._moved, nodes) if one is not None]
        return self._inner.hand_over(moved) if len(moved) == len(nodes) else None

    @override
    def links_follow(self) -> None:
        self._inner.links_follow()

    @override
    def link(self, node: Node, existing: bytes) -> None:
        moved, other = self._moved(node), _rebase(existing, self._top)
        if moved is not None and other is not None:
            self._inner.link(moved, other)

    @override
    def special(self, node: Node) -> None:
        if (moved := self._moved(node)) is not None:
            self._inner.special(moved)

    @override
    def close(self) -> None:
        self._inner.close()

    def _moved(self, node: Node) -> Node | None:
        path = _rebase(node.path, self._top)
        return evolve(node, path=path) if path is not None else None
