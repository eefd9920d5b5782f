"""Receipts and their hashes."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from attrs import asdict, evolve, fields

from backapp_core.model.receipts import NOTHING_BEFORE, Receipt, first_break
from backapp_core.model.snapshots import Counts

RECEIPT = Receipt(
    repository_id="0f" * 16,
    sequence=1,
    received_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    agent_id="a" * 32,
    run_id="b" * 32,
    snapshot_id="c" * 64,
    objects=3,
    object_bytes=1000,
    counts=Counts(files_new=2, read_bytes=77),
    previous_hash=NOTHING_BEFORE,
)


def test_hash_is_that_of_everything_in_the_receipt():
    plain = asdict(RECEIPT) | {"received_at": "2026-01-02T03:04:05.000000+00:00"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert RECEIPT.hash == hashlib.sha256(text.encode()).hexdigest()


def test_hash_goes_by_the_instant_and_not_by_how_it_is_written():
    elsewhere = RECEIPT.received_at.astimezone(timezone(timedelta(hours=5)))
    assert evolve(RECEIPT, received_at=elsewhere).hash == RECEIPT.hash


def test_whatever_differs_changes_the_hash():
    other = {"received_at": RECEIPT.received_at + timedelta(microseconds=1), "counts": Counts()}
    hashes = {RECEIPT.hash}
    for field in fields(Receipt):
        value = getattr(RECEIPT, field.name)
        changed = other.get(field.name, value + 1 if isinstance(value, int) else f"{value}x")
        hashes.add(evolve(RECEIPT, **{field.name: changed}).hash)
    assert len(hashes) == len(fields(Receipt)) + 1


def test_chain_breaks_where_something_was_altered_or_is_missing():
    chain = [RECEIPT]
    for number in range(2, 5):
        chain.append(evolve(RECEIPT, sequence=number, previous_hash=chain[-1].hash))
    assert first_break([]) is first_break(chain) is None
    assert first_break([chain[0], evolve(chain[1], objects=4), *chain[2:]]) == 3
    assert first_break([chain[0], *chain[2:]]) == 2
    assert first_break(chain[1:]) == 1
