"""Any sequence of changes, backups, removals and mishaps: what a snapshot holds stays what it was.

The model is plain facts about the source at the time of each backup; it knows no engine.
"""

import os
import shutil
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.events import Recording
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import RemovalPlan
from backapp_core.ports.surroundings import NO_KEYS, Keys, Surroundings
from backapp_core.ports.targets import Everything
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport
from backapp_core.testing.source_machine import PICKS, SourceMachine
from backapp_core.testing.trees import describe_tree
from backapp_plugins.archivers.targz import backapp_archivers
from backapp_plugins.archivers.targz.settings import TargzSettings
from backapp_plugins.scanners.files import open_files
from backapp_plugins.scanners.files.settings import FilesSettings

pytestmark = pytest.mark.thorough

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("changes owners and trusted attributes", allow_module_level=True)

KIND = backapp_archivers()[0]


class Below:
    """The selection of one path and everything below it."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def wants(self, node) -> bool:
        return node.path == self._path or node.path.startswith(self._path + b"/")

    def enters(self, path: bytes) -> bool:
        top = path.rstrip(b"/") + b"/"
        return top.startswith(self._path + b"/") or (self._path + b"/").startswith(top)


class TargzMachine(SourceMachine):
    def __init__(self) -> None:
        super().__init__()
        self.points: dict[str, tuple[bytes, dict]] = {}
        self.restores = 0

    @initialize(
        is_ahead=st.booleans(), is_sealed=st.booleans(), increments=st.sampled_from((0, 2, 30))
    )
    def create(self, is_ahead, is_sealed, increments) -> None:
        # An hour ahead no file looks as if it might change once more in the same tick.
        self.clock = FrozenClock()
        self.clock.set(datetime.now(UTC) + timedelta(days=is_ahead))
        keys, recipients = NO_KEYS, ()
        if is_sealed:
            identity = pyrage.x25519.Identity.generate()
            file = self.folder / "identity"
            file.write_text(str(identity))
            keys, recipients = Keys(identity_files=(file,)), (str(identity.to_public()),)
        self.keys = keys
        self.recording = Recording()
        self.surroundings = Surroundings(
            cache_folder=self.folder / "cache",
            state_folder=self.folder / "state",
            clock=self.clock,
            events=self.recording,
        )
        self.is_ahead = is_ahead
        self.bucket = MemoryBucket()
        chosen = TargzSettings(recipients=recipients, increments=increments)
        self.repository = KIND.create(MemoryTransport(self.bucket), chosen, keys, self.surroundings)

    def teardown(self) -> None:
        try:
            if hasattr(self, "repository"):
                self._finish()
        finally:
            super().teardown()

    def _finish(self) -> None:
        for snapshot in self.repository.snapshots():
            self._require_restored(snapshot)
        assert self.repository.check(read_data=True).is_clean
        self._remove([each.id for each in self.repository.snapshots()])
        self.repository.clean_up(self.repository.plan_clean_up())
        assert set(self.bucket.objects) == {"backapp.json"}

    # The repository.

    def _back_up(self, root: bytes, **options: object) -> None:
        scanner = open_files(FilesSettings(roots=(root,)), self.surroundings)
        facts = describe_tree(root)
        chosen = evolve(BackupOptions(hostname="host", username="user"), **options)
        result = self.repository.backup(scanner, chosen)
        assert self.recording.problem_paths == []
        self.points[result.snapshot.id] = (root, facts)
        self.clock.advance(1)
        if self.is_ahead:
            self.wait_for_the_next_tick()

    @rule(is_full=st.booleans(), rereads_all=st.booleans())
    def back_up(self, is_full, rereads_all) -> None:
        self._back_up(self.source, is_full=is_full, rereads_all=rereads_all)

    @rule()
    def back_up_as_usual(self) -> None:
        self._back_up(self.source)

    @rule(pick=PICKS)
    def rewrite_and_back_up_twice(self, pick) -> None:
        self._back_up(self.source)
        self.rewrite_with_the_same_size_and_mtime(pick)
        self._back_up(self.source)

    @rule()
    def back_up_as_another_host(self) -> None:
        self._back_up(self.source, hostname="other")

    @rule(pick=PICKS)
    def back_up_another_root(self, pick) -> None:
        root = self.existing(pick, stat.S_ISDIR)
        if root is not None:
            self._back_up(os.fsencode(root))

    @precondition(lambda self: self.points)
    @rule(pick=PICKS)
    def back_up_from_a_stale_parent(self, pick) -> None:
        self._back_up(self.source, parent_id=self._some(pick))

    def _some(self, pick: int) -> str:
        return sorted(self.points)[pick % len(self.points)]

    @rule()
    def lose_the_cache(self) -> None:
        shutil.rmtree(self.surroundings.cache_folder, ignore_errors=True)

    @rule(at=st.integers(0, 1000))
    def corrupt_the_cache(self, at) -> None:
        for file in self.surroundings.cache_folder.rglob("*.gz"):
            data = bytearray(file.read_bytes())
            data[at % len(data)] ^= 1
            file.write_bytes(data)

    def _remove(self, ids) -> None:
        kept = tuple(set(self.points) - set(ids))
        self.repository.remove(RemovalPlan(keep=kept, remove=tuple(ids)))
        for each in ids:
            del self.points[each]

    @precondition(lambda self: self.points)
    @rule(picks=st.lists(PICKS, max_size=4))
    def forget(self, picks) -> None:
        self._remove(sorted({self._some(pick) for pick in picks}))

    @rule()
    def prune(self) -> None:
        self.repository.clean_up(self.repository.plan_clean_up())
        assert self.repository.plan_clean_up().objects == ()
        assert self.repository.check().findings == ()

    @precondition(lambda self: self.points)
    @rule(pick=PICKS, tags=st.lists(st.sampled_from(("x", "y")), max_size=2))
    def retag(self, pick, tags) -> None:
        old = next(each for each in self.repository.snapshots() if each.id == self._some(pick))
        new = self.repository.retag(old, tags)
        assert new.tags == tuple(sorted(set(tags)))
        self.points[new.id] = self.points.pop(old.id)

    @rule()
    def open_again(self) -> None:
        self.repository = KIND.open(MemoryTransport(self.bucket), self.keys, self.surroundings)

    @rule()
    def list_snapshots(self) -> None:
        assert {each.id for each in self.repository.snapshots()} == set(self.points)

    @rule()
    def check_everything(self) -> None:
        assert self.repository.check(read_data=True).is_clean

    @precondition(lambda self: self.points)
    @rule(pick=PICKS)
    def restore(self, pick) -> None:
        chosen = self._some(pick)
        self._require_restored(
            next(each for each in self.repository.snapshots() if each.id == chosen)
        )

    @precondition(lambda self: self.points)
    @rule(pick=PICKS, within=PICKS)
    def restore_a_part(self, pick, within) -> None:
        chosen = self._some(pick)
        root, facts = self.points[chosen]
        path = sorted(facts)[within % len(facts)]
        snapshot = next(each for each in self.repository.snapshots() if each.id == chosen)
        top = self._extract(snapshot, Below(os.path.join(root, path) if path else root))
        place = os.path.join(os.fsencode(top), root.lstrip(b"/"))
        wanted = {
            each: known.content
            for each, known in facts.items()
            if each == path or not path or each.startswith(path + b"/")
        }
        actual = describe_tree(place)
        assert {each: actual[each].content for each in wanted} == wanted
        on_the_way = {b"", *(path[:at] for at in range(len(path)) if path[at : at + 1] == b"/")}
        assert set(actual) - set(wanted) <= on_the_way
        shutil.rmtree(top)

    def _extract(self, snapshot, selection) -> Path:
        self.restores += 1
        top = self.folder / f"restored-{self.restores}"
        target = FolderTarget(os.fsencode(top), ExtractOptions(), self.surroundings)
        self.repository.restore(snapshot, target, selection)
        assert target.outcome.problems == 0
        return top

    def _require_restored(self, snapshot) -> None:
        root, facts = self.points[snapshot.id]
        top = self._extract(snapshot, Everything())
        actual = describe_tree(os.path.join(os.fsencode(top), root.lstrip(b"/")))
        assert actual == facts
        assert snapshot.counts.files == sum(each.kind == "file" for each in facts.values())
        shutil.rmtree(top)


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.timeout(300)
def test_snapshots_stay_what_they_were_whatever_happens():
    quick = settings(
        max_examples=50,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=_QUIET,
    )
    run_machine(TargzMachine, settings=quick)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_snapshots_stay_what_they_were_whatever_happens_for_long():
    long = settings(
        max_examples=500, stateful_step_count=40, deadline=None, suppress_health_check=_QUIET
    )
    run_machine(TargzMachine, settings=long)
