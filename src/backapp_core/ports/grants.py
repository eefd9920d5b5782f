"""Whoever may sign hands out grants; whoever holds none can touch no object."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from backapp_core.model.grants import Granted, ObjectPage, ObjectSeen, WriteWish
from backapp_core.model.work import Hold


class CanIssueGrants(Protocol):
    """Hands out grants for the objects of managed repositories; from any thread, many at once.

    Names are those of the repository's own objects (``data/ab/ab...``); whatever the issuer makes
    of them, it is composed anew and never taken over. Every method raises `GrantRefused` for what
    may not be had, the whole request with it, and `StoreUnavailable` when the issuer does not
    answer.

    Whoever issues does so under a run that is held, or outside of any, see `HasGrants`. Under a run
    everything that changes something, but for `abandon_upload`, raises `LeaseLost` once the run is
    held no longer, and nothing that was signed before is good for longer than the run was held for
    then, short of a second. Outside of runs nothing is written and deleted but locks.
    """

    def grant_reads(self, repository_id: str, names: Sequence[str]) -> Granted:
        """Return one grant to read each object, whole or in parts, whether or not it is there."""
        ...

    def grant_writes(self, repository_id: str, wishes: Sequence[WriteWish]) -> Granted:
        """Return one grant to create each object with exactly the bytes that were named."""
        ...

    def grant_deletes(self, repository_id: str, names: Sequence[str]) -> Granted:
        """Return one grant to delete each lock; others than one's own are refused."""
        ...

    def list_objects(self, repository_id: str, prefix: str, after: str = "") -> ObjectPage:
        """Return a part of the listing of a folder of objects, in the order of names.

        Args:
            repository_id: Of the managed repository.
            prefix: As in `Transport.list`.
            after: What the former page said is next; empty for the first.
        """
        ...

    def begin_upload(self, repository_id: str, name: str) -> str:
        """Begin an object that is sent in parts, and return what the parts refer to."""
        ...

    def grant_parts(
        self, repository_id: str, name: str, upload: str, parts: Sequence[WriteWish], first: int
    ) -> Granted:
        """Return one grant for each part; they are numbered from ``first``, at least 1."""
        ...

    def complete_upload(
        self, repository_id: str, name: str, upload: str, parts: Sequence[tuple[int, str]]
    ) -> ObjectSeen:
        """Make one object of the parts (number and ETag of each) unless one has that name.

        Raises:
            ObjectExists: If there is one by now; the parts are gone then.
        """
        ...

    def abandon_upload(self, repository_id: str, name: str, upload: str) -> None:
        """Throw the parts away; doing so again is fine.

        Also after the run was lost: who knows the upload began it, and no object is made of it.
        """
        ...


@runtime_checkable
class HasGrants(Protocol):
    """A `Work` whose store issues grants for its repositories."""

    def grants_for(self, hold: Hold | None) -> CanIssueGrants:
        """Return what issues under a run that is held, or outside of any run; asks nobody."""
        ...
