"""Any sequence of changes, backups, removals and mishaps: what a snapshot holds stays what it was.

The model is plain facts about the source at the time of each backup; it knows no engine.
"""

import os
import random
import shutil
import stat
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.events import Recording
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import RemovalPlan
from backapp_core.ports.surroundings import NO_KEYS, Keys, Surroundings
from backapp_core.ports.targets import Everything
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport
from backapp_core.testing.trees import describe_tree
from backapp_plugins.archivers.targz import backapp_archivers
from backapp_plugins.archivers.targz.settings import TargzSettings
from backapp_plugins.scanners.files import open_files
from backapp_plugins.scanners.files.settings import FilesSettings

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("changes owners and trusted attributes", allow_module_level=True)

KIND = backapp_archivers()[0]
NAMES = (b"a", b"a-b", b"b", b"c", b"\xff\n", b"z")
FOLDERS = (b"", b"a", b"b", b"a/b", b"b/a-b")
_paths = st.builds(os.path.join, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
_sizes = st.sampled_from((0, 1, 100, 5000, 70_000, 1_100_000))
_picks = st.integers(0, 1000)


class Below:
    """The selection of one path and everything below it."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def wants(self, node) -> bool:
        return node.path == self._path or node.path.startswith(self._path + b"/")

    def enters(self, path: bytes) -> bool:
        top = path.rstrip(b"/") + b"/"
        return top.startswith(self._path + b"/") or (self._path + b"/").startswith(top)


class TargzMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="backapp-machine-", dir=base))
        self.source = os.fsencode(self.folder / "source")
        self.random = random.Random(0)
        os.mkdir(self.source)
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
        for path in (b"a/b/c", b"a/a", b"b/c", b"z"):
            self.write(path, 100)
        os.link(self._path(b"a/a"), self._path(b"b/b"))
        self.is_ahead = is_ahead
        self.bucket = MemoryBucket()
        chosen = TargzSettings(recipients=recipients, increments=increments)
        self.repository = KIND.create(MemoryTransport(self.bucket), chosen, keys, self.surroundings)

    def teardown(self) -> None:
        try:
            if hasattr(self, "repository"):
                self._finish()
        finally:
            shutil.rmtree(self.folder)

    def _finish(self) -> None:
        for snapshot in self.repository.snapshots():
            self._require_restored(snapshot)
        assert self.repository.check(read_data=True).is_clean
        self._remove([each.id for each in self.repository.snapshots()])
        self.repository.clean_up(self.repository.plan_clean_up())
        assert set(self.bucket.objects) == {"backapp.json"}

    # Changes of the source.

    def _path(self, path: bytes) -> bytes:
        return os.path.join(self.source, path)

    def _clear(self, path: bytes) -> bytes:
        """Make room for ``path`` and return where it is."""
        place = self.source
        for part in path.split(b"/")[:-1]:
            place = os.path.join(place, part)
            if not os.path.isdir(place) or os.path.islink(place):
                self._delete(place)
                os.mkdir(place)
        self._delete(self._path(path))
        return self._path(path)

    @staticmethod
    def _delete(place: bytes) -> None:
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        elif os.path.lexists(place):
            os.unlink(place)

    def _existing(self, pick: int, wanted) -> bytes | None:
        found = []
        for folder, folders, files in os.walk(self.source):
            for name in sorted(folders + files):
                place = os.path.join(folder, name)
                if wanted(os.lstat(place).st_mode):
                    found.append(place)
        return sorted(found)[pick % len(found)] if found else None

    @rule(path=_paths, size=_sizes)
    def write(self, path, size) -> None:
        with open(self._clear(path), "wb") as file:
            file.write(self.random.randbytes(size))

    @rule(pick=_picks)
    def rewrite_with_the_same_size_and_mtime(self, pick) -> None:
        place = self._existing(pick, stat.S_ISREG)
        if place is not None:
            before = os.stat(place)
            with open(place, "r+b") as file:
                file.write(self.random.randbytes(min(before.st_size, 200)))
            os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(pick=_picks, size=_sizes)
    def grow_or_shrink(self, pick, size) -> None:
        place = self._existing(pick, stat.S_ISREG)
        if place is not None:
            os.truncate(place, size)

    @rule(path=_paths, blocks=st.lists(st.integers(0, 300), max_size=3, unique=True))
    def write_sparse(self, path, blocks) -> None:
        with open(self._clear(path), "wb") as file:
            for block in blocks:
                file.seek(block * 4096)
                file.write(b"x" * 4096)
            file.truncate(301 * 4096 + 5)

    @rule(path=_paths)
    def make_folder(self, path) -> None:
        os.mkdir(self._clear(path))

    @rule(path=_paths, leads_to=_paths)
    def make_symlink(self, path, leads_to) -> None:
        os.symlink(leads_to, self._clear(path))

    @rule(path=_paths)
    def make_fifo(self, path) -> None:
        os.mkfifo(self._clear(path))

    @rule(pick=_picks, path=_paths)
    def link(self, pick, path) -> None:
        place = self._existing(pick, lambda mode: not stat.S_ISDIR(mode))
        if place is not None and place != self._path(path):
            spare = os.fsencode(self.folder) + b"/spare"
            os.link(place, spare, follow_symlinks=False)
            os.rename(spare, self._clear(path))
            self._delete(spare)

    @rule(pick=_picks, path=_paths)
    def rename(self, pick, path) -> None:
        place = self._existing(pick, lambda _: True)
        new = self._path(path)
        if place is not None and not (new + b"/").startswith(place + b"/"):
            spare = os.fsencode(self.folder) + b"/spare"
            os.rename(place, spare)
            os.rename(spare, self._clear(path))

    @rule(pick=_picks)
    def delete(self, pick) -> None:
        place = self._existing(pick, lambda _: True)
        if place is not None:
            self._delete(place)

    @rule(pick=_picks, mode=st.integers(0o700, 0o7777), owner=st.integers(0, 70_000))
    def change_mode_and_owner(self, pick, mode, owner) -> None:
        place = self._existing(pick, lambda mode: not stat.S_ISLNK(mode))
        if place is not None:
            os.chown(place, owner, owner + 1)
            os.chmod(place, mode | 0o700)

    @rule(pick=_picks, value=st.binary(max_size=20))
    def change_attribute(self, pick, value) -> None:
        place = self._existing(pick, lambda _: True)
        if place is not None:
            os.setxattr(place, b"trusted.note", value, follow_symlinks=False)

    @rule(pick=_picks, mtime_ns=st.integers(0, 2**62))
    def touch(self, pick, mtime_ns) -> None:
        place = self._existing(pick, lambda _: True)
        if place is not None:
            os.utime(place, ns=(mtime_ns, mtime_ns), follow_symlinks=False)

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
            self._wait_for_the_next_tick()

    def _wait_for_the_next_tick(self) -> None:
        """Let the file system's clock move on, which the handed-in clock claims it has."""
        scratch = self.folder / "scratch"
        scratch.touch()
        before = scratch.stat().st_ctime_ns
        while scratch.stat().st_ctime_ns == before:
            scratch.touch()

    @rule(is_full=st.booleans(), rereads_all=st.booleans())
    def back_up(self, is_full, rereads_all) -> None:
        self._back_up(self.source, is_full=is_full, rereads_all=rereads_all)

    @rule()
    def back_up_as_usual(self) -> None:
        self._back_up(self.source)

    @rule(pick=_picks)
    def rewrite_and_back_up_twice(self, pick) -> None:
        self._back_up(self.source)
        self.rewrite_with_the_same_size_and_mtime(pick)
        self._back_up(self.source)

    @rule()
    def back_up_as_another_host(self) -> None:
        self._back_up(self.source, hostname="other")

    @rule(pick=_picks)
    def back_up_another_root(self, pick) -> None:
        root = self._existing(pick, stat.S_ISDIR)
        if root is not None:
            self._back_up(root)

    @precondition(lambda self: self.points)
    @rule(pick=_picks)
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
    @rule(picks=st.lists(_picks, max_size=4))
    def forget(self, picks) -> None:
        self._remove(sorted({self._some(pick) for pick in picks}))

    @rule()
    def prune(self) -> None:
        self.repository.clean_up(self.repository.plan_clean_up())
        assert self.repository.plan_clean_up().objects == ()
        assert self.repository.check().findings == ()

    @precondition(lambda self: self.points)
    @rule(pick=_picks, tags=st.lists(st.sampled_from(("x", "y")), max_size=2))
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
    @rule(pick=_picks)
    def restore(self, pick) -> None:
        chosen = self._some(pick)
        self._require_restored(
            next(each for each in self.repository.snapshots() if each.id == chosen)
        )

    @precondition(lambda self: self.points)
    @rule(pick=_picks, within=_picks)
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
