"""The server's own word that a snapshot arrived, each chained to the one before."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property

from attrs import define, fields, frozen

from backapp_core.model.snapshots import Counts

NOTHING_BEFORE = "0" * 64


@frozen
class Receipt:
    """That every object of a snapshot was seen, with its size, at a moment of the server's clock.

    Receipts of one repository are numbered without a gap and form a chain: altering or removing one
    is seen in all that follow.
    """

    repository_id: str
    """Of the managed repository."""
    sequence: int
    """1 for the first of its repository."""
    received_at: datetime
    agent_id: str
    run_id: str
    snapshot_id: str
    objects: int
    """How many objects the run wrote, all of which were seen."""
    object_bytes: int
    """Their sizes, added up."""
    counts: Counts
    previous_hash: str
    """`hash` of the receipt before; `NOTHING_BEFORE` for the first."""

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything above as JSON with sorted keys and no blanks, 64 hex digits."""
        # By hand, since chains are long and `asdict` takes most of the time.
        plain = {one.name: getattr(self, one.name) for one in fields(Receipt)}
        plain["received_at"] = self.received_at.astimezone(UTC).isoformat(timespec="microseconds")
        plain["counts"] = {one.name: getattr(self.counts, one.name) for one in fields(Counts)}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@define
class ChainCheck:
    """Looks at receipts one after the other, in the order of their numbers; for one thread."""

    receipts: int = 0
    """How many were a chain."""
    last_hash: str = NOTHING_BEFORE
    """Of the last of those."""
    first_break: int | None = None
    """The number at which they stop being a chain, None as long as they are one."""

    def add(self, receipt: Receipt) -> None:
        """Look at the next one; nothing that follows a break changes anything."""
        if self.first_break is not None:
            return
        if receipt.sequence != self.receipts + 1 or receipt.previous_hash != self.last_hash:
            self.first_break = self.receipts + 1
            return
        self.receipts += 1
        self.last_hash = receipt.hash


def first_break(chain: Iterable[Receipt]) -> int | None:
    """Return the sequence number at which a repository's receipts, in order, stop being a chain.

    None if they are one.
    """
    check = ChainCheck()
    for receipt in chain:
        check.add(receipt)
    return check.first_break
