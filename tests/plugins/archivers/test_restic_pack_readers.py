"""A check with further processes finds the same, in the same words, and needs none of them."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import field, frozen
from typing_extensions import override

from backapp_core.errors import RunCancelled, TransportError
from backapp_core.events import Event, LogLine, Progress
from backapp_core.model.repositories import CheckReport
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import FrozenClock, MemoryTransport
from backapp_core.testing.faults import flip_bit
from backapp_plugins.archivers.restic.check import pack_readers
from backapp_plugins.archivers.restic.check.checking import Check
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of, pack_name
from backapp_plugins.archivers.restic.format.packs import (
    TRAILER_BYTES,
    PackEntry,
    decode_trailer,
    encode_header,
    encode_trailer,
)

if sys.platform == "win32":
    pytest.skip("workers are started where sockets can be inherited", allow_module_level=True)

PACKS, BLOBS = 12, 5


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch, watched_workers):
    """Start workers for whatever there is to read."""
    monkeypatch.setattr(pack_readers, "_WORTH_WORKERS_BYTES", 1)
    return watched_workers


@frozen
class Mirrored(MemoryTransport):
    """Says that its objects are files, too; what is there instead is for a test to choose."""

    folder: Path = field(kw_only=True)
    packs_got: list[str] = field(factory=list[str])

    @override
    def get(self, name, **part):
        if name.startswith("data/") and not part:  # trees are read in parts
            self.packs_got.append(name)
        return super().get(name, **part)


class HastyClock(FrozenClock):
    """Lets a second pass whenever it is looked at, so that every progress is told."""

    @override
    def monotonic_seconds(self) -> float:
        self.advance(1)
        return super().monotonic_seconds()


def once_packs_are_read(by_hand, strike: Callable[[], None]) -> dict[str, object]:
    """Return surroundings in which something happens each time that a pack was read."""

    def listen(event: Event) -> None:
        by_hand.recording(event)
        if isinstance(event, Progress) and event.bytes_done:
            strike()

    return {"clock": HastyClock(), "events": listen}


@pytest.fixture
def filled(by_hand):
    """Store packs of small blobs that a snapshot needs, in the order of `by_hand.packs`."""
    contents = [[content_of(pack, blob) for blob in range(BLOBS)] for pack in range(PACKS)]
    by_hand.packs = [by_hand.pack(*blobs) for blobs in contents]
    files = {f"{at:02}": blobs for at, blobs in enumerate(contents)}
    by_hand.packs.append(by_hand.pack(b"raw", b"more", is_compressed=False))
    by_hand.snapshot(by_hand.tree({**files, "raw": [b"raw", b"more"]}))
    return by_hand


def content_of(pack: int, blob: int) -> bytes:
    return b"%d/%d " % (pack, blob) * (blob * 50 + 1)


@pytest.fixture
def mirrored(filled, tmp_path) -> Mirrored:
    """The repository in memory, whose objects workers find as files."""
    filled.write_out(tmp_path / "repository")
    return Mirrored(filled.bucket, folder=tmp_path / "repository")


def check(by_hand, transport, **changes) -> CheckReport:
    return Check(by_hand.reach(transport, **changes), read_data=True).run()


def said(by_hand) -> list[str]:
    return [line.text for line in by_hand.recording.of(LogLine)]


def damaged(data: bytes, at: int) -> bytes | None:
    """Return a pack with some damage, by its number."""
    header_bytes = decode_trailer(data[-TRAILER_BYTES:], len(data))
    header_at = len(data) - TRAILER_BYTES - header_bytes
    return [
        lambda: flip_bit(data, 8 * 20),
        lambda: flip_bit(data, 8 * (header_at // 2)),
        lambda: flip_bit(data, 8 * (header_at + 30)),
        lambda: flip_bit(data, 8 * (len(data) - TRAILER_BYTES) + 3),
        lambda: data[: len(data) // 2],
        lambda: b"",
        lambda: data + b"\0",
        lambda: None,
        lambda: bytes(len(data)),
    ][at]()


def store_untrue_packs(by_hand) -> None:
    """Store packs that are as they were written, and wrong: of a blob, and of a header."""
    codec = by_hand.place.codec
    for number, header_bits in enumerate([0, 1]):
        sealed = codec.sealer.seal(b"no zstandard frame %d" % number)
        if header_bits:
            sealed = codec.encode(b"meant", id_of(b"meant"))
        entries = [PackEntry(BlobKind.DATA, id_of(b"meant"), 0, len(sealed), 5)]
        header = codec.sealer.seal(flip_bit(encode_header(entries), 8 * 10 * header_bits))
        body = sealed + header + encode_trailer(header)
        by_hand.place.store(pack_name(id_of(body)), [body], len(body))
        by_hand.index((id_of(body), entries))


def test_every_damage_is_found_in_the_same_words_as_without_workers(filled, tmp_path, watched):
    filled.snapshot(filled.tree({"meant": [b"meant"]}))
    store_untrue_packs(filled)
    chance = random.Random(4)
    for at, pack_id in enumerate([*filled.packs[:9], *filled.packs[-2:]]):
        name = pack_name(pack_id)
        data = filled.bucket.objects[name]
        bit = chance.randrange(8 * len(data))
        changed = damaged(data, at) if at < 9 else flip_bit(data, bit)
        if changed is None:
            filled.place.transport.delete(name)
        else:
            filled.bucket.store(name, changed, replace=True)
    filled.write_out(tmp_path / "repository")
    mirrored = Mirrored(filled.bucket, folder=tmp_path / "repository")
    with_workers = check(filled, mirrored)
    assert watched.workers
    assert len(set(mirrored.packs_got)) < len(filled.names("data/"))
    without = check(filled, MemoryTransport(filled.bucket))
    assert with_workers == without
    assert len(without.findings) > 12
    assert said(filled) == []


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(8))
def test_flips_anywhere_are_found_in_the_same_words_as_without_workers(filled, tmp_path, seed):
    chance = random.Random(seed)
    for name in filled.names("data/"):
        data = filled.bucket.objects[name]
        flipped = flip_bit(data, chance.randrange(8 * len(data)))
        filled.bucket.store(name, flipped, replace=True)
    filled.write_out(tmp_path / "repository")
    with_workers = check(filled, Mirrored(filled.bucket, folder=tmp_path / "repository"))
    assert with_workers == check(filled, MemoryTransport(filled.bucket))
    assert {one.object_name for one in with_workers.findings} == set(filled.names("data/"))


def test_workers_read_whole_packs_and_none_of_those_is_left(filled, mirrored, watched):
    report = check(filled, mirrored)
    assert mirrored.packs_got == []
    assert report == check(filled, MemoryTransport(filled.bucket))
    assert report.read_bytes == sum(
        len(filled.bucket.objects[one]) for one in filled.names("data/")
    )
    assert len(watched.workers) == filled.surroundings.threads
    assert watched.are_gone


@pytest.mark.parametrize("share", [DataSubset(), DataSubset(part=1, parts=2)])
def test_workers_of_a_whole_check_get_ready_while_the_index_is_read(
    filled, tmp_path, watched, share
):
    filled.write_out(tmp_path / "repository")
    started: list[int] = []

    @frozen
    class Counting(Mirrored):
        @override
        def get(self, name, **part):
            if name.startswith("index/"):
                started.append(len(watched.workers))
            return super().get(name, **part)

    place = filled.reach(Counting(filled.bucket, folder=tmp_path / "repository"))
    assert Check(place, read_data=share).run().findings == ()
    threads = filled.surroundings.threads
    assert set(started) == {threads if share == DataSubset() else 0}
    assert len(watched.workers) == threads
    assert watched.are_gone


@pytest.mark.parametrize("changes", [{"threads": 1}, {"is_far": True}, {"is_little": True}])
def test_there_are_no_workers_where_they_do_not_help(
    filled, mirrored, watched, monkeypatch, changes
):
    if changes.pop("is_little", False):
        monkeypatch.undo()
    transport = MemoryTransport(filled.bucket) if changes.pop("is_far", False) else mirrored
    assert check(filled, transport, **changes).findings == ()
    assert watched.workers == []


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_where_no_worker_can_be_started_the_check_is_made_without(
    filled, mirrored, monkeypatch, interpreter
):
    monkeypatch.setattr(sys, "executable", interpreter)
    assert check(filled, mirrored).findings == ()
    assert len(mirrored.packs_got) == len(filled.names("data/"))


def test_workers_that_are_killed_under_way_cost_nothing(filled, mirrored, watched):
    report = check(filled, mirrored, **once_packs_are_read(filled, watched.kill))
    assert report == check(filled, MemoryTransport(filled.bucket))
    assert watched.are_gone
    lost = [one for one in said(filled) if "was killed by signal 9" in one]
    assert len(lost) == len(watched.workers)
    assert all("the check goes on without it" in one for one in lost)


def test_a_check_that_is_stopped_waits_for_no_worker_and_leaves_none(filled, mirrored, watched):
    cancel = CancelToken()

    def halt() -> None:
        for worker in watched.workers:
            if worker._process.returncode is None:
                os.kill(worker._process.pid, signal.SIGSTOP)
        threading.Timer(0.1, cancel.cancel).start()

    with pytest.raises(RunCancelled):
        check(filled, mirrored, cancel=cancel, **once_packs_are_read(filled, halt))
    assert watched.workers
    assert watched.are_gone


def test_what_a_worker_cannot_read_or_sees_otherwise_is_read_here(filled, mirrored):
    unreadable, strange, waiting, *_ = (mirrored.folder / pack_name(one) for one in filled.packs)
    unreadable.unlink()
    strange.write_bytes(flip_bit(strange.read_bytes(), 99))
    waiting.unlink()
    os.mkfifo(waiting)
    assert check(filled, mirrored).findings == ()
    assert len(mirrored.packs_got) == 3
    (line,) = said(filled)  # what is missing there is no look at a pack
    assert line.startswith("2 packs came damaged from")


def test_packs_are_read_while_trees_are_waited_for_and_end_with_them(filled, tmp_path, watched):
    filled.write_out(tmp_path / "repository")
    begun = threading.Event()

    @frozen
    class TreesAway(Mirrored):
        @override
        def get(self, name, **part):
            if name.startswith("data/") and part:
                assert begun.wait(60)
                raise TransportError("the disk of trees is away")
            return super().get(name, **part)

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.bytes_done:
            begun.set()

    away = TreesAway(filled.bucket, folder=tmp_path / "repository")
    with pytest.raises(TransportError, match="trees is away"):
        check(filled, away, clock=HastyClock(), events=listen)
    assert watched.are_gone
