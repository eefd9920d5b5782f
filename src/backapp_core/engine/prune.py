"""Retention and clean-up: a plan first, to be shown, then its execution."""

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from backapp_core.engine import watch
from backapp_core.engine.browse import choose
from backapp_core.errors import InputError
from backapp_core.model.repositories import CleanUpOptions, CleanUpPlan, RemovalPlan
from backapp_core.model.requests import ForgetRequest
from backapp_core.model.retention import Decision, decide, group_by
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings


@frozen
class ForgetGroup:
    """Snapshots that a policy was applied to together."""

    hostname: str | None
    """None if hosts were not told apart."""
    roots: tuple[bytes, ...] | None
    tags: tuple[str, ...] | None
    decisions: tuple[Decision, ...]
    """Newest first."""

    @property
    def kept(self) -> tuple[Snapshot, ...]:
        """What stays, newest first."""
        return tuple(one.snapshot for one in self.decisions if one.is_kept)

    @property
    def removed(self) -> tuple[Snapshot, ...]:
        """What goes, newest first."""
        return tuple(one.snapshot for one in self.decisions if not one.is_kept)


@frozen
class ForgetPlan:
    """Which snapshots go and why the others stay."""

    groups: tuple[ForgetGroup, ...]
    """Empty when snapshots were named one by one."""
    removal: RemovalPlan

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not self.removal.remove


def plan_forget(
    surroundings: Surroundings, repository: Repository, request: ForgetRequest
) -> ForgetPlan:
    """Say which snapshots would go.

    Raises:
        InputError: If neither snapshots nor a policy are given, or both, or if a policy wants no
            snapshot of a group.
        SnapshotNotFound: If a named snapshot does not exist.
        AmbiguousSnapshot: If a name means several.
    """
    _check(request)
    everything = repository.snapshots()
    watch.compare(surroundings, repository, everything)
    if request.snapshots:
        named = {choose(everything, name, request.snapshot_filter).id for name in request.snapshots}
        return ForgetPlan((), _removal(everything, named))
    now = surroundings.clock.now()
    groups = tuple(
        _group(members, request, now=now)
        for members in group_by(
            [one for one in everything if request.snapshot_filter.matches(one)],
            hosts=request.groups_by_host,
            paths=request.groups_by_roots,
            tags=request.groups_by_tags,
        )
    )
    removed = {one.id for group in groups for one in group.removed}
    return ForgetPlan(groups, _removal(everything, removed))


def forget(surroundings: Surroundings, repository: Repository, plan: ForgetPlan) -> Sequence[str]:
    """Remove what ``plan`` says and return the ids; the space is freed by `prune`.

    Raises:
        RepositoryLocked: If another process uses the repository.
        TransportError: If the destination fails.
    """
    if plan.is_empty:
        return ()
    watch.removing(
        surroundings, repository, plan.removal.remove, lambda: repository.remove(plan.removal)
    )
    return plan.removal.remove


def plan_prune(repository: Repository, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
    """Find the objects that no snapshot needs.

    Raises:
        InputError: If the archiver cannot do what ``options`` say.
        RepositoryLocked: If another process removes or cleans up.
        DamagedRepository: If it cannot be known for certain what is needed.
        TransportError: If the destination fails.
    """
    return repository.plan_clean_up(options)


def prune(repository: Repository, plan: CleanUpPlan) -> CleanUpPlan:
    """Delete what ``plan`` says and no snapshot needs by now either; return what was deleted.

    Raises:
        RepositoryLocked: If another process uses the repository.
        DamagedRepository: If it cannot be known for certain what is needed; nothing was deleted.
        TransportError: If the destination fails.
    """
    return repository.clean_up(plan)


def _check(request: ForgetRequest) -> None:
    if request.snapshots and not request.retention.is_empty:
        raise InputError("snapshots and a policy were given; use one of them")
    if not request.snapshots and request.retention.is_empty:
        raise InputError(
            "nothing says which snapshots stay; "
            "give a policy, such as --keep-daily 7, or name snapshots"
        )


def _removal(everything: Sequence[Snapshot], removed: set[str]) -> RemovalPlan:
    return RemovalPlan(
        keep=tuple(one.id for one in everything if one.id not in removed),
        remove=tuple(one.id for one in everything if one.id in removed),
    )


def _group(members: Sequence[Snapshot], request: ForgetRequest, *, now: datetime) -> ForgetGroup:
    first = members[0]
    group = ForgetGroup(
        hostname=first.hostname if request.groups_by_host else None,
        roots=first.roots if request.groups_by_roots else None,
        tags=first.tags if request.groups_by_tags else None,
        decisions=tuple(decide(members, request.retention, now=now)),
    )
    if not group.kept:
        raise InputError(
            f"the policy keeps no snapshot of host '{first.hostname}', where there are "
            f"{len(members)}; to remove them all, name them"
        )
    return group
