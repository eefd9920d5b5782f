"""What only some repositories can do: be repaired and copied, shown and unlocked, have keys."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import final

from backapp_core.engine import enforcements, watch
from backapp_core.engine.browse import find_snapshot
from backapp_core.engine.mount_view import MountView
from backapp_core.errors import InputError
from backapp_core.model.copies import SnapshotCopy
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.repairs import IndexRepair, PackRepair, SnapshotRepair
from backapp_core.model.repositories import ContentStats, KeyInfo
from backapp_core.model.snapshots import Snapshot, SnapshotFilter
from backapp_core.ports.archivers import Repository
from backapp_core.ports.powers import (
    CanCopy,
    CanCountContent,
    CanRepair,
    CanShowObjects,
    CanUnlock,
    HasKeys,
)
from backapp_core.ports.surroundings import Surroundings

_ID = re.compile("[0-9a-f]{64}")


@final
class Upkeep:
    """Verbs on one repository; each raises `InputError` where its archiver has no such power.

    What else they raise stands in `backapp_core.ports.powers`.
    """

    def __init__(self, surroundings: Surroundings, repository: Repository) -> None:
        self._surroundings = surroundings
        self._repository = repository

    def view(self, snapshots: Sequence[Snapshot]) -> MountView:
        """Return ``snapshots`` as folders, to be mounted or looked at by path."""
        return MountView(self._repository, snapshots)

    def enforcement(self) -> Enforcement | None:
        """Return what the repository's place was found to enforce of signed requests.

        None where it was never looked at from this machine, or has no need.
        """
        return enforcements.known(self._surroundings, self._repository.info.id)

    # --- repairs

    def repair_index(self, *, reads_all_packs: bool = False, is_dry: bool = False) -> IndexRepair:
        """Make what says where content is agree with what is there."""
        return self._repairing().repair_index(reads_all_packs=reads_all_packs, is_dry=is_dry)

    def repair_packs(self, names: Sequence[str], *, is_dry: bool = False) -> Sequence[PackRepair]:
        """Save what can be read of damaged objects."""
        return self._repairing().repair_packs(names, is_dry=is_dry)

    def repair_snapshots(
        self, snapshots: Sequence[Snapshot], *, forgets: bool = False, is_dry: bool = False
    ) -> Sequence[SnapshotRepair]:
        """Make snapshots anew without what is lost, and remove the former ones if that is asked."""
        repairing = self._repairing()

        def repair() -> Sequence[SnapshotRepair]:
            return repairing.repair_snapshots(snapshots, forgets=forgets, is_dry=is_dry)

        doomed = [one.id for one in snapshots] if forgets and not is_dry else []
        done = watch.removing(self._surroundings, self._repository, doomed, repair)
        gone = {one.before.id for one in done if one.is_removed}
        for snapshot in (*snapshots, *(one.after for one in done)):
            if snapshot is not None and snapshot.id not in gone:
                self._saw(snapshot)
        return done

    def recover(self) -> Snapshot | None:
        """Make a snapshot of directories that no snapshot leads to; None if there are none."""
        snapshot = self._repairing().recover()
        if snapshot is not None:
            self._saw(snapshot)
        return snapshot

    # --- copies

    def copy_from(
        self, source: Repository, snapshots: Sequence[Snapshot]
    ) -> Sequence[SnapshotCopy]:
        """Copy snapshots of another repository that were not copied before."""
        done = self._copying().copy_from(source, snapshots)
        for one in done:
            self._saw(one.copy)
        return done

    def twin_options(self) -> Mapping[str, object]:
        """Return options with which a new repository stores the same content in the same parts."""
        return self._copying().twin_options()

    # --- figures, keys, locks, objects

    def content_stats(self, snapshots: Sequence[Snapshot]) -> ContentStats:
        """Count what snapshots hold, the same content once.

        Raises:
            InputError: If the repository does not know what is the same.
        """
        if isinstance(self._repository, CanCountContent):
            return self._repository.content_stats(snapshots)
        raise self._refusal("count what is the same; it counts in the mode restore-size only")

    def keys(self) -> Sequence[KeyInfo]:
        """Return the keys that passwords open, the oldest first."""
        return self._keyed().keys()

    def add_key(self, password: str) -> KeyInfo:
        """Let another password open the repository, too."""
        return self._keyed().add_key(password)

    def remove_key(self, name: str) -> None:
        """Let the password of a key open it no more."""
        self._keyed().remove_key(name)

    def change_password(self, password: str) -> KeyInfo:
        """Let another password open it instead of the present one."""
        return self._keyed().change_password(password)

    def unlock(self, *, removes_all: bool = False) -> Sequence[str]:
        """Remove locks of dead processes, or all, and return their names.

        Raises:
            InputError: If the repository has no such locks.
        """
        if isinstance(self._repository, CanUnlock):
            return self._repository.unlock(removes_all=removes_all)
        raise self._refusal("be unlocked by hand")

    def show(self, sort: str, name: str = "") -> Iterator[bytes]:
        """Yield an object, opened; snapshots are found by all their names.

        Raises:
            InputError: If the repository shows none, or none is called so.
            SnapshotNotFound: If a snapshot is named that does not exist.
            AmbiguousSnapshot: If a name means several.
        """
        if not isinstance(self._repository, CanShowObjects):
            raise self._refusal("show its objects")
        showing = self._repository
        if sort in {"snapshot", "tree"} and name:
            called, colon, path = name.partition(":")
            if not _ID.fullmatch(called):
                found = find_snapshot(self._surroundings, showing, called, SnapshotFilter())
                name = f"{found.id}{colon}{path}"
        return showing.show(sort, name)

    def _repairing(self) -> CanRepair:
        if isinstance(self._repository, CanRepair):
            return self._repository
        raise self._refusal("be repaired")

    def _copying(self) -> CanCopy:
        if isinstance(self._repository, CanCopy):
            return self._repository
        raise self._refusal("be copied into or from")

    def _keyed(self) -> HasKeys:
        if isinstance(self._repository, HasKeys):
            return self._repository
        raise self._refusal("have several keys")

    def _refusal(self, what: str) -> InputError:
        return InputError(f"a {self._repository.info.archiver} repository cannot {what}")

    def _saw(self, snapshot: Snapshot) -> None:
        watch.saw(self._surroundings, self._repository, snapshot)
