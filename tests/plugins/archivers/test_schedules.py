"""Two writers, a writer and whoever forgets and cleans up, and readers: in every order.

Thousands of schedules, operation by operation. Whoever is in the way of another is refused; what
was published comes back whole, nothing that a snapshot needs is ever gone, and the next runs work.
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from backapp_core.errors import (
    AccessRefused,
    DamagedRepository,
    RepositoryLocked,
    RunCancelled,
    SnapshotNotFound,
)
from backapp_core.events import LogLine
from backapp_core.model.repositories import CleanUpOptions, RemovalPlan, Severity
from backapp_core.testing.fakes import FrozenClock, MemoryTransport
from backapp_core.testing.faults import FaultyTransport, Phase
from backapp_core.testing.interleaving import Turns
from backapp_plugins.archivers.restic.access import holding
from backapp_plugins.archivers.restic.writing import packing

pytestmark = pytest.mark.thorough

_ALL = CleanUpOptions(max_unused_bytes=0)


class Stage:
    """A repository in which much is shared, some is needed by nobody, and actors who use it."""

    def __init__(self, any_workbench, random_bytes) -> None:
        self.clock = FrozenClock()
        self.bench = bench = any_workbench(clock=self.clock)
        bench.bucket.clock = self.clock
        self.sources = [bench.folder / f"source {number}" for number in range(2)]
        shared, own = [random_bytes(3_000) for _ in range(3)], random_bytes(2_000)
        self.doomed = bench.folder / "doomed"
        for source in (*self.sources, self.doomed):
            (source / "folder").mkdir(parents=True)
            for number, content in enumerate(shared):
                (source / "folder" / f"{number}").write_bytes(content)
            (source / "own").write_bytes(own + source.name.encode())
        self.doomed_ids = [self._back_up(bench.repository, self.doomed).id]
        (self.doomed / "folder/0").write_bytes(random_bytes(500))
        self._back_up(bench.repository, self.doomed)
        self.template = dict(bench.bucket.stored)
        self.kept_at = self.clock.now()
        self.cache = bench.folder / "kept cache"
        shutil.copytree(bench.surroundings.cache_folder, self.cache)

    def reset(self) -> None:
        self.bench.bucket.stored = dict(self.template)
        self.clock.set(self.kept_at)

    def open(self, turns: Turns, actor: str):
        """Return the repository as a machine of its own sees it, with a cache of last time."""
        cache = self.bench.folder / f"cache of {actor}"
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(self.cache, cache)
        transport = turns.reach(actor, MemoryTransport(self.bench.bucket))
        return self.bench.open(transport, cache_folder=cache, threads=1)

    def _back_up(self, repository, source: Path):
        self.clock.advance(1)
        return self.bench.back_up(source, repository=repository)

    # --- what actors do

    def writer(self, turns: Turns, number: int) -> Callable[[], object]:
        """Back up what is stored already, but for a little."""

        def work() -> None:
            repository = self.open(turns, f"writer {number}")
            self._back_up(repository, self.sources[number])

        return work

    def cleaner(self, turns: Turns) -> Callable[[], object]:
        """Forget the snapshot of which most is needed by whoever writes, and clean up."""

        def work() -> None:
            repository = self.open(turns, "cleaner")
            kept = [one.id for one in repository.snapshots() if one.id not in self.doomed_ids]
            repository.remove(RemovalPlan(tuple(kept), tuple(self.doomed_ids)))
            repository.clean_up(repository.plan_clean_up(_ALL))

        return work

    def second_cleaner(self, turns: Turns) -> Callable[[], object]:
        def work() -> None:
            repository = self.open(turns, "second cleaner")
            repository.clean_up(repository.plan_clean_up(_ALL))

        return work

    def reader(self, turns: Turns) -> Callable[[], object]:
        """Restore whatever is there, and check."""

        def work() -> None:
            repository = self.open(turns, "reader")
            for one in repository.snapshots():
                try:
                    self.require_restored(repository, one)
                except (SnapshotNotFound, DamagedRepository):
                    if one in repository.snapshots():  # it was not forgotten meanwhile
                        raise
            assert not _errors(repository.check())

        return work

    # --- what must be true afterwards

    def require_restored(self, repository, snapshot) -> None:
        """All its files are there, and what is in one of them; checks read all the rest."""
        if snapshot.id in self.doomed_ids[:1]:
            return  # its source has changed since
        source = Path(os.fsdecode(snapshot.roots[0]))
        files = {one.path: one for one in repository.nodes(snapshot) if one.kind == "file"}
        sizes = {Path(os.fsdecode(path)): one.size_bytes for path, one in files.items()}
        assert sizes == {path: path.stat().st_size for path in source.rglob("*") if path.is_file()}
        own = source / "own"
        content = repository.read(snapshot, files[os.fsencode(own)])
        assert b"".join(content) == own.read_bytes()

    def require_sound(self, acknowledged: int) -> None:
        bench = self.bench
        self.clock.advance(3600)  # locks of those who were refused while they slept are stale
        repository = bench.open()
        new = [
            one
            for one in repository.snapshots()
            if f"snapshots/{one.id}" not in _bare(self.template)
        ]
        assert len(new) >= acknowledged
        for one in repository.snapshots():
            self.require_restored(repository, one)
        assert not _errors(repository.check(read_data=True))
        self._back_up(repository, self.sources[0])
        repository.clean_up(repository.plan_clean_up(_ALL))
        assert repository.check(read_data=True).findings == ()
        for one in repository.snapshots():
            self.require_restored(repository, one)
        assert not [name for name in bench.bucket.objects if name.startswith("locks/")]


def _bare(names) -> set[str]:
    return {name.removesuffix(".json") for name in names}


def _is_awkward(verb: str, name: str) -> bool:
    """Whether somebody was just asked whether this may be done."""
    return verb == "delete" or (verb == "put" and name.startswith("snapshots/"))


def _errors(report) -> list[object]:
    return [one for one in report.findings if one.severity is Severity.ERROR]


@pytest.fixture
def stage(any_workbench, random_bytes, monkeypatch) -> Stage:
    monkeypatch.setattr(packing, "_LOCAL_UPLOADS", 1)
    monkeypatch.setattr(packing, "PACK_BYTES", 2_500)
    # Nobody can ask whether a process of another machine lives; only the age of its lock tells.
    monkeypatch.setattr(holding, "system_ids", lambda: "")
    return Stage(any_workbench, random_bytes)


CASTS = {
    "two writers": lambda stage, turns: {
        "writer 0": stage.writer(turns, 0),
        "writer 1": stage.writer(turns, 1),
    },
    "a writer and a cleaner": lambda stage, turns: {
        "writer 0": stage.writer(turns, 0),
        "cleaner": stage.cleaner(turns),
    },
    "two cleaners": lambda stage, turns: {
        "cleaner": stage.cleaner(turns),
        "second cleaner": stage.second_cleaner(turns),
    },
    "all": lambda stage, turns: {
        "writer 0": stage.writer(turns, 0),
        "writer 1": stage.writer(turns, 1),
        "cleaner": stage.cleaner(turns),
        "reader": stage.reader(turns),
    },
}


@pytest.mark.parametrize("is_sleepy", [False, True], ids=["awake", "sleepy"])
@pytest.mark.parametrize("cast", CASTS)
def test_whoever_comes_in_between_costs_nothing(stage, cast, is_sleepy):
    play(stage, cast, range(8), is_sleepy=is_sleepy)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("is_sleepy", [False, True], ids=["awake", "sleepy"])
@pytest.mark.parametrize("cast", CASTS)
def test_whoever_comes_in_between_costs_nothing_in_a_thousand_orders(stage, cast, is_sleepy):
    play(stage, cast, range(1000, 2000), is_sleepy=is_sleepy)


def test_a_backup_that_slept_while_it_published_takes_it_back(any_workbench, monkeypatch):
    monkeypatch.setattr(holding, "system_ids", lambda: "")
    clock = FrozenClock()
    bench = any_workbench(clock=clock)
    (bench.source / "file").write_bytes(b"content")

    def sleep(operation, phase) -> None:
        if operation.verb == "put" and operation.name.startswith("snapshots/"):
            clock.advance(31 * 60 if phase is Phase.BEFORE else 0)
            for name in bench.bucket.objects:
                if name.startswith("locks/"):
                    bench.bucket.discard(name)  # as whoever takes its holder for dead

    sleeping = bench.open(FaultyTransport(MemoryTransport(bench.bucket), sleep))
    with pytest.raises(RepositoryLocked):
        bench.back_up(repository=sleeping)
    assert bench.repository.snapshots() == []
    facts = bench.facts()
    assert bench.differences(bench.back_up(), facts) == []


def test_a_backup_that_slept_and_may_delete_nothing_says_what_it_published(
    any_workbench, monkeypatch
):
    monkeypatch.setattr(holding, "system_ids", lambda: "")
    clock = FrozenClock()
    bench = any_workbench(clock=clock)
    (bench.source / "file").write_bytes(b"content")

    def sleep(operation, phase) -> None:
        if not operation.name.startswith("snapshots/"):
            return
        if operation.verb == "put":
            clock.advance(31 * 60 if phase is Phase.BEFORE else 0)
            for name in bench.bucket.objects:
                if name.startswith("locks/"):
                    bench.bucket.discard(name)  # as whoever takes its holder for dead
        elif operation.verb == "delete":
            raise AccessRefused("nothing may be deleted")

    sleeping = bench.open(FaultyTransport(MemoryTransport(bench.bucket), sleep))
    with pytest.raises(RepositoryLocked):
        bench.back_up(repository=sleeping)
    (name,) = [one for one in bench.bucket.objects if one.startswith("snapshots/")]
    said = [event.text for event in bench.recording.of(LogLine)]
    assert [text for text in said if text.startswith(f"{name} may need what others removed")]


def test_a_backup_that_slept_and_was_stopped_leaves_no_list_of_packs_that_are_gone(
    restic_workbench, monkeypatch
):
    monkeypatch.setattr(holding, "system_ids", lambda: "")
    clock = FrozenClock()
    bench = restic_workbench(clock=clock)
    (bench.source / "file").write_bytes(b"content")

    def sleep(operation, phase) -> None:
        if operation.verb != "put" or not operation.name.startswith("index/"):
            return
        if phase is Phase.BEFORE:
            clock.advance(31 * 60)
            for name in list(bench.bucket.objects):
                if name.startswith(("locks/", "data/")):
                    bench.bucket.discard(name)  # as a prune that takes its holder for dead
        else:
            bench.surroundings.cancel.cancel()

    sleeping = bench.open(FaultyTransport(MemoryTransport(bench.bucket), sleep))
    with pytest.raises(RunCancelled):
        bench.back_up(repository=sleeping)
    assert not [name for name in bench.bucket.objects if name.startswith("index/")]


def play(stage: Stage, cast: str, seeds: range, *, is_sleepy: bool) -> None:
    seen = Counter()

    def between(chance: random.Random, about_to: Sequence[tuple[str, str]]) -> None:
        """Let whoever is not at work have slept for so long that others take it for dead.

        But not between its last look at the clock and storing or removing an index object: nobody
        can tell it then, for no storage of objects asks who holds a lock.
        """
        is_unsafe = any(name.startswith("index/") and verb != "read" for verb, name in about_to)
        if is_sleepy and not is_unsafe and chance.random() < 0.2:
            stage.clock.advance(31 * 60)

    for seed in seeds:
        stage.reset()
        turns = Turns(seed, between=between, is_awkward=_is_awkward)
        outcomes = turns.run(CASTS[cast](stage, turns))
        for actor, error in outcomes.items():
            seen[actor, type(error).__name__] += 1
            if error is not None and not isinstance(error, RepositoryLocked):
                raise AssertionError(f"seed {seed}: {actor} failed") from error
        done = [one for one, error in outcomes.items() if error is None]
        try:
            stage.require_sound(sum(one.startswith("writer") for one in done))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {outcomes}") from error
    print(dict(seen))
