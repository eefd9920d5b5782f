"""Destinations that fail, lie or lose answers, and a machine that alters what it makes."""

import random
import threading
from hashlib import sha256

import pytest
import zstandard
from typing_extensions import override

from backapp_core.errors import DamagedRepository, StorageFull, TransportUnavailable
from backapp_core.model.repositories import RemovalPlan
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.faults import (
    DamagingTransport,
    FaultyTransport,
    Phase,
    RecordingTransport,
    flip_bit,
    raising,
)
from backapp_plugins.archivers.restic.format import blobs
from backapp_plugins.archivers.restic.format.crypto import Sealer
from backapp_plugins.archivers.restic.writing import packing

pytestmark = pytest.mark.thorough


@pytest.fixture
def bench(restic_bench, monkeypatch, random_bytes):
    """Return a bench of two snapshots whose packs are small and one after another."""
    monkeypatch.setattr(packing, "PACK_BYTES", 40_000)
    monkeypatch.setattr(packing, "_REMOTE_UPLOADS", 1)
    (restic_bench.source / "folder").mkdir()
    for number in range(2):
        (restic_bench.source / "folder" / f"{number}").write_bytes(random_bytes(50_000))
        restic_bench.back_up()
    for number in range(4):
        (restic_bench.source / f"new {number}").write_bytes(random_bytes(50_000))
    return restic_bench


def _through(bench, strike):
    return bench.open(FaultyTransport(MemoryTransport(bench.bucket), strike))


def _names(bench, folder: str) -> set[str]:
    return {name for name in bench.bucket.objects if name.startswith(folder)}


def _require_next_runs(bench) -> None:
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []
    bench.clean_up()
    assert bench.repository.check(read_data=True).findings == ()
    assert _names(bench, "locks/") == set()


def test_what_a_lost_pack_held_is_stored_by_the_next_run(bench):
    before = dict(bench.bucket.objects)
    counted = RecordingTransport(MemoryTransport(bench.bucket))
    bench.back_up(repository=bench.open(counted))
    packs = sum(one.verb == "put" and one.name.startswith("data/") for one in counted.operations)
    assert packs >= 5
    for lost in range(packs):
        bench.bucket.stored = {
            name: kept for name, kept in bench.bucket.stored.items() if name in before
        }
        left = lost

        def strike(operation, phase):
            nonlocal left
            if operation.verb == "put" and operation.name.startswith("data/"):
                if left == 0 and phase is Phase.BEFORE:
                    raise TransportUnavailable("the destination does not answer")
                left -= phase is Phase.BEFORE

        with pytest.raises(TransportUnavailable):
            bench.back_up(repository=_through(bench, strike))
        assert left == 0
        assert len(_names(bench, "snapshots/")) == 2
        _require_next_runs(bench)


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (StorageFull("full"), Phase.BEFORE),
        (StorageFull("full"), Phase.DURING),
        (TransportUnavailable("gone"), Phase.BEFORE),
        (TransportUnavailable("gone"), Phase.DURING),
        (TransportUnavailable("gone"), Phase.AFTER),
    ],
)
def test_a_put_that_fails_at_any_number_fails_the_run_only(bench, error, phase):
    number = left = 0
    while left == 0:
        number += 1
        left = number

        def strike(operation, now):
            nonlocal left
            if operation.verb == "put" and now is phase:
                left -= 1
                if left == 0:
                    raising(error)()

        snapshots = len(_names(bench, "snapshots/"))
        (bench.source / "new 0").write_bytes(random.Random(number).randbytes(50_000))
        try:
            bench.back_up(repository=_through(bench, strike))
        except type(error):
            assert left <= 0
            left = 0
            # Only the snapshot may stand there although the destination said that it does not.
            is_published = len(_names(bench, "snapshots/")) > snapshots
            assert not is_published or phase is Phase.AFTER
        assert _names(bench, "locks/") == set()
        assert bench.repository.check(read_data=True).is_clean
    assert number >= 6  # lock, two packs, index, snapshot, and a run without a failure
    _require_next_runs(bench)


class _Silence:
    """A strike after which nothing is answered any more."""

    def __init__(self, number: int, phase: Phase) -> None:
        self._number = number
        self._phase = phase
        self.has_begun = False

    def __call__(self, operation, now: Phase) -> None:
        if operation.number == self._number and now is self._phase:
            self.has_begun = True
        if self.has_begun:
            raise TransportUnavailable("the destination does not answer")


@pytest.mark.parametrize("phase", [Phase.BEFORE, Phase.AFTER])
def test_a_destination_that_falls_silent_at_any_point_ends_the_run(bench, phase):
    counted = RecordingTransport(MemoryTransport(bench.bucket))
    bench.back_up(repository=bench.open(counted))
    fired = 0
    for number in range(1, len(counted.operations) + 1):
        silence = _Silence(number, phase)
        before = len(bench.repository.snapshots())
        (bench.source / "new 0").write_bytes(random.Random(number).randbytes(20_000))
        try:
            bench.back_up(repository=_through(bench, silence))
        except TransportUnavailable:
            published = len(bench.repository.snapshots()) - before
            assert published == 0 or phase is Phase.AFTER
        else:
            # All that was left to do was to give back the lock.
            assert len(bench.repository.snapshots()) == before + 1
        fired += silence.has_begun
        facts = bench.facts()
        assert bench.differences(bench.back_up(), facts) == []
        # The lock that could not be given back is that of a process which lives on: this one.
        for name in _names(bench, "locks/"):
            bench.bucket.discard(name)
    print(f"{len(counted.operations)} operations, {fired} points fired")
    assert fired > len(counted.operations) // 2
    _require_next_runs(bench)


class _LosingAnswers(MemoryTransport):
    """Stores, does not hear of it, and so stores again, as transports that retry do."""

    @override
    def put(self, name, body, *, size_bytes=None, replace=False) -> int:
        data = b"".join(map(bytes, body))
        super().put(name, [data], size_bytes=size_bytes, replace=replace)
        return super().put(name, [data], size_bytes=size_bytes, replace=replace)


def test_a_put_that_succeeded_unheard_is_no_failure(bench):
    facts = bench.facts()
    repository = bench.open(_LosingAnswers(bench.bucket))
    assert bench.differences(bench.back_up(repository=repository), facts) == []
    assert len(_names(bench, "snapshots/")) == 3
    _require_next_runs(bench)


class _FlippedOnce:
    """Flips a bit in some first answers for an object, never in the next one."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._is_bad: dict[str, bool] = {}
        self._lock = threading.Lock()
        self.flips = 0

    def __call__(self, name: str, data: bytes) -> bytes:
        with self._lock:
            is_bad = not self._is_bad.get(name) and self._random.random() < 0.3
            self._is_bad[name] = is_bad
            self.flips += is_bad
            return flip_bit(data, self._random.randrange(8 * len(data) or 1)) if is_bad else data


@pytest.mark.parametrize("seed", range(4))
def test_answers_that_are_wrong_once_are_asked_for_again(bench, seed):
    damage = _FlippedOnce(seed)
    transport = DamagingTransport(MemoryTransport(bench.bucket), damage)
    for _ in range(3):
        repository = bench.open(transport)
        facts = bench.facts()
        snapshot = bench.back_up(repository=repository)
        assert bench.differences(snapshot, facts, repository=repository) == []
        repository.remove(_all_but_the_last(repository))
        bench.clean_up(repository)
        (bench.source / "new 1").write_bytes(b"%d" % damage.flips)
    assert damage.flips > 5
    _require_next_runs(bench)


def _all_but_the_last(repository):
    ids = [one.id for one in repository.snapshots()]
    return RemovalPlan(keep=(ids[-1],), remove=tuple(ids[:-1]))


# A machine that alters what it makes: broken memory, a broken library.


class _Faults:
    """Says which calls go wrong."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._calls = 0
        self._lock = threading.Lock()
        self.fired = 0

    def alter(self, data: bytes) -> bytes:
        with self._lock:
            self._calls += 1
            is_struck = self._calls % self._every == 0
            self.fired += is_struck
        return flip_bit(data, 8 * len(data) - 3) if is_struck else data


@pytest.fixture
def broken_cipher(monkeypatch):
    def install(every: int) -> _Faults:
        faults = _Faults(every)
        seal, seal_all = Sealer.seal, Sealer.seal_all
        monkeypatch.setattr(Sealer, "seal", lambda self, plain: faults.alter(seal(self, plain)))
        monkeypatch.setattr(
            Sealer, "seal_all", lambda self, plains: list(map(faults.alter, seal_all(self, plains)))
        )
        return faults

    return install


class _BrokenCompressor:
    """Compresses other contents than it is given, at some calls."""

    def __init__(self, faults: _Faults, **choices: int) -> None:
        self._faults = faults
        self._inner = zstandard.ZstdCompressor(**choices)

    def compress(self, data) -> bytes:
        return self._inner.compress(self._faults.alter(bytes(data)))

    def multi_compress_to_buffer(self, contents, **choices: int):
        return self._inner.multi_compress_to_buffer(
            list(map(self._faults.alter, contents)), **choices
        )


@pytest.fixture
def broken_compressor(monkeypatch):
    def install(every: int) -> _Faults:
        faults = _Faults(every)

        class Broken:
            ZstdCompressor = staticmethod(lambda **choices: _BrokenCompressor(faults, **choices))

            def __getattr__(self, name: str) -> object:
                return getattr(zstandard, name)

        monkeypatch.setattr(blobs, "zstandard", Broken())
        return faults

    return install


@pytest.mark.parametrize("machine", ["broken_cipher", "broken_compressor"])
def test_what_this_machine_altered_now_and_then_is_made_again(bench, request, machine):
    faults = request.getfixturevalue(machine)(every=3)
    for number in range(40):
        (bench.source / "folder" / f"small {number}").write_bytes(b"%d" % number * 100)
    facts = bench.facts()
    snapshot = bench.back_up(repository=bench.open())
    assert faults.fired > 10
    assert bench.differences(snapshot, facts) == []
    assert bench.repository.check(read_data=True).findings == ()


@pytest.mark.parametrize("machine", ["broken_cipher", "broken_compressor"])
def test_what_this_machine_alters_each_time_is_not_stored(bench, request, machine):
    before = dict(bench.bucket.objects)
    repository = bench.open()
    faults = request.getfixturevalue(machine)(every=1)
    with pytest.raises(DamagedRepository, match="memory"):
        bench.back_up(repository=repository)
    assert faults.fired > 1
    assert set(before) == set(bench.bucket.objects)
    assert all(
        sha256(data).hexdigest() == name.rpartition("/")[2]
        for name, data in bench.bucket.objects.items()
        if name != "config"
    )
