"""Prunes and copies say how far they are, in bytes, up to all of them."""

import os

from backapp_core.events import Progress, Verb
from backapp_core.model.repositories import CleanUpOptions
from backapp_plugins.archivers.restic.copying import copy_snapshots
from backapp_plugins.archivers.restic.listing import all_records
from backapp_plugins.archivers.restic.prune.pruning import Pruner


def _told(recording, verb: Verb) -> list[Progress]:
    told = recording.of(Progress)
    assert {one.verb for one in told} == {verb}
    for one in told:
        assert one.bytes_total is None or one.bytes_done <= one.bytes_total
        assert not one.has_files
    return told


def test_a_prune_tells_what_it_read_and_then_what_it_copied_of_all(by_hand):
    by_hand.pack(*[os.urandom(5_000) for _ in range(3)], b"kept")
    by_hand.snapshot(by_hand.tree({"file": [b"kept"]}))
    pruner = Pruner(by_hand.place)
    plan = pruner.plan(CleanUpOptions(max_unused_bytes=0))
    (read,) = _told(by_hand.recording, Verb.PRUNE)
    assert read.bytes_done > 0
    assert read.bytes_total is None
    pruner.prune(plan)
    copied = _told(by_hand.recording, Verb.PRUNE)[-1]
    assert copied.bytes_total == copied.bytes_done == plan.repacked_bytes > 0


def test_a_prune_that_copies_nothing_says_so_and_no_share(by_hand):
    by_hand.pack(b"unneeded")
    by_hand.pack(b"kept")
    by_hand.snapshot(by_hand.tree({"file": [b"kept"]}))
    pruner = Pruner(by_hand.place)
    pruner.prune(pruner.plan(CleanUpOptions(max_unused_bytes=0)))
    assert _told(by_hand.recording, Verb.PRUNE)[-1].bytes_total is None


def test_a_copy_tells_of_each_snapshot_how_much_of_it_is_there(by_hand, make_by_hand):
    target = make_by_hand()
    for number in range(2):
        by_hand.pack(os.urandom(5_000), b"%d" % number)
        by_hand.snapshot(by_hand.tree({"file": [b"%d" % number]}))
    wanted = [record.snapshot for record in all_records(by_hand.place)]
    copy_snapshots(by_hand.place, target.place, wanted)
    told = _told(target.recording, Verb.COPY)
    assert [one.current.decode() for one in told] == [one.short_id for one in wanted]
    assert all(one.bytes_done == one.bytes_total > 0 for one in told)
    copy_snapshots(by_hand.place, target.place, wanted)
    assert len(_told(target.recording, Verb.COPY)) == 2  # nothing is copied twice
