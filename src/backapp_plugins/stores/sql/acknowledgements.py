"""Receipts: appended to the chain of their repository, together with the snapshot.

Objects may be told of in parts. Of those that were seen only their number, size and last name are
kept, beside the run: names only go up, so that none is counted twice.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from attrs import evolve, frozen
from sqlalchemy import Connection, select

from backapp_core.plugin_api import IllegalTransition, InputError, ObjectSeen, Snapshot
from backapp_core.server_api import NOTHING_BEFORE, ManagedRepository, Receipt
from backapp_plugins.stores.sql.held_repositories import locked_repository
from backapp_plugins.stores.sql.rows import check_id, from_body, moment_to_column, to_body
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import RECEIPTS, RUNS, SNAPSHOTS


@frozen
class Seen:
    """Objects of a snapshot that were seen before it is acknowledged."""

    fence: int
    """Of the lease under which they were told of: whoever takes a run over begins anew."""
    snapshot_id: str
    last_name: str = ""
    objects: int = 0
    object_bytes: int = 0

    def and_also(self, objects: Sequence[ObjectSeen]) -> "Seen":
        """Return what was seen once ``objects`` were.

        Raises:
            InputError: If a name is there twice, or does not come after those before.
        """
        names = sorted(one.name for one in objects)
        if any(first == second for first, second in pairwise(names)):
            raise InputError("an object is named twice")
        if names and names[0] <= self.last_name:
            raise InputError("objects that are told of in parts go by their names, each once")
        return evolve(
            self,
            last_name=names[-1] if names else self.last_name,
            objects=self.objects + len(names),
            object_bytes=self.object_bytes + sum(one.size_bytes for one in objects),
        )


def seen_before(row: Any, fence: int, snapshot_id: str, after: str) -> Seen:
    """Return what was seen of a snapshot up to the name ``after``; nothing if that is empty.

    Raises:
        IllegalTransition: If what was seen ends elsewhere, or is of another snapshot or lease.
    """
    nothing = Seen(fence, check_id(snapshot_id, "snapshot"))
    if not after:
        return nothing
    seen = last_seen(row)
    if seen is None or evolve(nothing, last_name=after) != evolve(seen, objects=0, object_bytes=0):
        raise IllegalTransition(
            f"what was seen of run {row.id[:8]} ends elsewhere; tell of all objects again"
        )
    return seen


def last_seen(row: Any) -> Seen | None:
    """Return what the row of a run says that was seen."""
    return None if row.seen is None else from_body(row.seen, Seen, "part of a snapshot")


@frozen
class Arrival:
    """A snapshot that a run left in a repository, all of whose objects were seen."""

    repository: ManagedRepository
    agent_id: str
    run_id: str
    snapshot: Snapshot
    seen: Seen
    """All its objects; none for a folder of the machine's, which nobody else can look into."""

    def former_receipt(self, connection: Connection, scope: Scope) -> Receipt | None:
        """Return the receipt that was given for the same run and snapshot before."""
        check_id(self.snapshot.id, "snapshot")
        row = scope.one(
            connection,
            RECEIPTS,
            repository_id=self.repository.id,
            run_id=self.run_id,
            snapshot_id=self.snapshot.id,
        )
        return None if row is None else from_body(row.body, Receipt, "receipt")

    def receive(self, connection: Connection, scope: Scope, at: datetime) -> Receipt:
        """Append a receipt and remember the snapshot; the same receipt if it was given before."""
        # Held, so that no number is given twice or left out.
        locked_repository(connection, scope, self.repository.id)
        former = self.former_receipt(connection, scope)
        if former is not None:
            return former
        receipt = self._next(self._last(connection, scope), at)
        row = {
            "repository_id": receipt.repository_id,
            "sequence": receipt.sequence,
            "run_id": receipt.run_id,
            "snapshot_id": receipt.snapshot_id,
            "body": to_body(receipt),
        }
        scope.insert(connection, RECEIPTS, row)
        scope.change(connection, RUNS, {"seen": None}, id=self.run_id)
        self._remember_snapshot(connection, scope)
        return receipt

    def _last(self, connection: Connection, scope: Scope) -> Receipt | None:
        query = (
            select(RECEIPTS.c.body)
            .where(scope.of(RECEIPTS, repository_id=self.repository.id))
            .order_by(RECEIPTS.c.sequence.desc())
            .limit(1)
        )
        body = connection.execute(query).scalar_one_or_none()
        return None if body is None else from_body(body, Receipt, "receipt")

    def _next(self, last: Receipt | None, at: datetime) -> Receipt:
        return Receipt(
            repository_id=self.repository.id,
            sequence=1 if last is None else last.sequence + 1,
            received_at=at,
            agent_id=self.agent_id,
            run_id=self.run_id,
            snapshot_id=self.snapshot.id,
            objects=self.seen.objects,
            object_bytes=self.seen.object_bytes,
            counts=self.snapshot.counts,
            previous_hash=NOTHING_BEFORE if last is None else last.hash,
        )

    def _remember_snapshot(self, connection: Connection, scope: Scope) -> None:
        of_snapshot = {"repository_id": self.repository.id, "id": self.snapshot.id}
        row: dict[str, Any] = {
            **of_snapshot,
            "taken_at": moment_to_column(self.snapshot.taken_at),
            "body": to_body(self.snapshot),
        }
        if scope.one(connection, SNAPSHOTS, **of_snapshot) is None:
            scope.insert(connection, SNAPSHOTS, row)
