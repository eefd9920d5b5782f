"""The server's own word that a snapshot arrived, each chained to the one before."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cached_property

from attrs import fields, frozen

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


def first_break(chain: "list[Receipt]") -> int | None:
    """Return the sequence number at which a repository's receipts, in order, stop being a chain.

    None if they are one.
    """
    previous = NOTHING_BEFORE
    for place, receipt in enumerate(chain, start=1):
        if receipt.sequence != place or receipt.previous_hash != previous:
            return place
        previous = receipt.hash
    return None
