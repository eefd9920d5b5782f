"""Destinations that keep the beginning of what they were sent, and then are gone."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from backapp_core.errors import DamagedRepository, TransportUnavailable
from backapp_core.model.repositories import Severity
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport
from backapp_core.testing.faults import FaultyTransport

pytestmark = pytest.mark.thorough

CUTS = {
    "nothing": lambda length: 0,
    "a byte": lambda length: 1,
    "half": lambda length: length // 2,
    "all but a byte": lambda length: length - 1,
}


class Tearing(FaultyTransport):
    """Keeps a part of one object and fails ever after."""

    def __init__(self, bucket: MemoryBucket, number: int, cut: Callable[[int], int]) -> None:
        super().__init__(MemoryTransport(bucket), self._require_there)
        self._bucket, self._number, self._cut = bucket, number, cut
        self._puts = count()
        self.torn = ""

    def _require_there(self, *_: object) -> None:
        if self.torn:
            raise TransportUnavailable("the destination does not answer")

    def put(self, name, body, *, size_bytes=None, replace=False):
        self._require_there()
        if next(self._puts) == self._number:
            data = b"".join(map(bytes, body))
            self._bucket.store(name, data[: self._cut(len(data))], replace=True)
            self.torn = name
        return super().put(name, body, size_bytes=size_bytes, replace=replace)


@pytest.fixture
def bench(any_workbench, random_bytes):
    """Return a bench of two snapshots, whose source has changed since."""
    clock = FrozenClock(datetime.now(UTC) + timedelta(hours=1))
    bench = any_workbench(clock=clock)
    bench.bucket.clock = clock
    for number in range(3):
        (bench.source / f"number {number}").write_bytes(random_bytes(3_000))
        clock.advance(10)
        if number < 2:
            bench.back_up()
    return bench


def _tear_everywhere(bench) -> set[str]:
    """Tear each object of a run in each way; return which sorts were torn."""
    bucket, clock, cache = bench.bucket, bench.surroundings.clock, bench.surroundings.cache_folder
    template, kept_cache = dict(bucket.stored), bench.folder / "kept cache"
    shutil.copytree(cache, kept_cache)
    facts, sorts = bench.facts(), set[str]()
    for number in count():
        for way, cut in CUTS.items():
            bucket.stored = dict(template)
            shutil.rmtree(cache)
            shutil.copytree(kept_cache, cache)
            tearing = Tearing(bucket, number, cut)
            with suppress(TransportUnavailable):
                bench.back_up(repository=bench.open(tearing))
            if not tearing.torn:
                return sorts
            sorts.add(tearing.torn.partition("/")[0])
            _require_safe(bench, tearing.torn, f"{way} of {tearing.torn}", facts)
            clock.advance(10)
    return sorts


def _require_safe(bench, torn: str, what: str, facts) -> None:
    for name in bench.bucket.objects:
        if name.startswith("locks/") and name != torn:
            bench.bucket.discard(name)  # its process would be dead
    if torn.startswith("locks/"):
        bench.surroundings.clock.advance(3600)  # nobody can tell whose it is
    repository = bench.open()
    assert len(repository.snapshots()) == 2, what
    findings = repository.check(read_data=True).findings
    assert {one.object_name for one in findings if one.severity is Severity.ERROR} <= {torn}, what
    if torn.startswith("snapshots/"):
        bench.bucket.discard(torn)  # it is named as damaged, and nobody was told that it is there
    if torn.startswith("index/"):  # it cannot be ignored: it might be the only one to name a pack
        with pytest.raises(DamagedRepository, match=torn):
            bench.back_up(repository=repository)
        repository.repair_index()
    snapshot = bench.back_up(repository=repository)
    assert bench.differences(snapshot, facts, repository=repository) == [], what
    bench.clean_up(repository)
    findings = repository.check(read_data=True).findings
    assert not [one for one in findings if one.severity is not Severity.NOTE], what
    # An empty lock locks nothing, and nobody knows whether it is about to be written.
    assert all(one.object_name == torn and torn.startswith("locks/") for one in findings), what


def test_what_was_torn_is_never_believed_and_the_next_run_just_works(bench):
    sorts = _tear_everywhere(bench)
    print("torn:", *sorted(sorts))
    assert {"locks", "snapshots"} < sorts
