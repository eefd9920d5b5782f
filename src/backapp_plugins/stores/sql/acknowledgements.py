"""Receipts: appended to the chain of their repository, together with the snapshot."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, select

from backapp_core.plugin_api import ObjectSeen, Snapshot
from backapp_core.server_api import NOTHING_BEFORE, ManagedRepository, Receipt
from backapp_plugins.stores.sql.repositories import locked_repository
from backapp_plugins.stores.sql.rows import check_id, from_body, moment_to_column, to_body
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import RECEIPTS, SNAPSHOTS


@frozen
class Arrival:
    """A snapshot that a run left in a repository, all of whose objects were seen."""

    repository: ManagedRepository
    agent_id: str
    run_id: str
    snapshot: Snapshot
    objects: Sequence[ObjectSeen]
    """Empty for a folder of the machine's, which nobody else can look into."""

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
            objects=len(self.objects),
            object_bytes=sum(one.size_bytes for one in self.objects),
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
