"""Any sequence of changes, backups, removals and mishaps: what a snapshot holds stays what it was.

The model is plain facts about the source at the time of each backup; it knows no engine.
"""

import os
import shutil
import stat
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import RepositoryLocked, TransportUnavailable
from backapp_core.events import Recording
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import CleanUpOptions, RemovalPlan
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport
from backapp_core.testing.faults import FaultyTransport
from backapp_core.testing.hooked_scanner import HookedScanner
from backapp_core.testing.source_machine import PATHS, PICKS, SourceMachine
from backapp_core.testing.trees import describe_tree
from backapp_plugins.archivers.restic import backapp_archivers
from backapp_plugins.archivers.restic.settings import ResticSettings
from backapp_plugins.scanners.files import open_files
from backapp_plugins.scanners.files.settings import FilesSettings
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("cheap_keys")]

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("changes owners and trusted attributes", allow_module_level=True)

KIND = backapp_archivers()[0]
KEYS = Keys(password=lambda: "secret")


class Killed(BaseException):
    """Ends a run as a signal does: nobody catches it, and nothing works afterwards."""


class _Kill:
    def __init__(self, number: int, error: BaseException) -> None:
        self._number = number
        self._error = error

    def __call__(self, operation, _phase) -> None:
        if operation.number >= self._number:
            raise self._error


class ResticMachine(SourceMachine):
    def __init__(self) -> None:
        super().__init__()
        self.points: dict[str, tuple[bytes, dict]] = {}
        self.restores = 0

    @initialize(is_ahead=st.booleans(), chunker=st.sampled_from(("fastcdc", "rabin")))
    def create(self, is_ahead, chunker) -> None:
        # An hour ahead no file looks as if it might change once more in the same tick.
        self.is_ahead = is_ahead
        self.clock = FrozenClock()
        self.clock.set(datetime.now(UTC) + timedelta(days=is_ahead))
        self.recording = Recording()
        self.make_repository(chunker)
        self.second = self.open("second")

    def make_repository(self, chunker: str) -> None:
        self.bucket = MemoryBucket(clock=self.clock)
        around = self.surroundings("first")
        self.repository = KIND.create(self.reach(), ResticSettings(chunker=chunker), KEYS, around)

    def reach(self):
        return MemoryTransport(self.bucket)

    def surroundings(self, who: str) -> Surroundings:
        return Surroundings(
            cache_folder=self.folder / who / "cache",
            state_folder=self.folder / who / "state",
            clock=self.clock,
            events=self.recording,
        )

    def open(self, who: str, transport=None):
        return KIND.open(transport or self.reach(), KEYS, self.surroundings(who))

    def teardown(self) -> None:
        try:
            if hasattr(self, "second"):
                self._finish()
        finally:
            super().teardown()

    def _finish(self) -> None:
        for snapshot in self.repository.snapshots():
            self._require_restored(snapshot)
        assert self.repository.check(read_data=True).is_clean
        self.remove(list(self.points))
        self.clean_up(self.repository)
        left = {info.name.partition("/")[0] for info in self.reach().list()}
        assert left == {"config", "keys"}

    # Backups.

    def _back_up(self, root: bytes, *, repository=None, hook=None, **options: object) -> None:
        scanner = open_files(FilesSettings(roots=(root,)), self.surroundings("scanner"))
        if hook is not None:
            scanner = HookedScanner(scanner, hook)
        facts = describe_tree(root)
        chosen = evolve(BackupOptions(hostname="host", username="user"), **options)
        self.clock.advance(1)
        try:
            result = (repository or self.repository).backup(scanner, chosen)
        except (Killed, TransportUnavailable):
            self._bury()
            for snapshot in self.repository.snapshots():
                # It may have been published and not acknowledged; then it must be whole.
                self.points.setdefault(snapshot.id, (root, facts))
            return
        assert self.recording.problem_paths == []
        self.points[result.snapshot.id] = (root, facts)
        if self.is_ahead:
            self.wait_for_the_next_tick()

    def _bury(self) -> None:
        """Remove the locks of runs that are dead; their process would be, but here it is ours."""
        for info in list(self.reach().list("locks/")):
            self.reach().delete(info.name)

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

    @rule(hostname=st.sampled_from(("host", "other")))
    def back_up_from_elsewhere(self, hostname) -> None:
        self._back_up(self.source, repository=self.second, hostname=hostname)

    @rule(pick=PICKS)
    def back_up_another_root(self, pick) -> None:
        root = self.existing(pick, stat.S_ISDIR)
        if root is not None:
            self._back_up(os.fsencode(root))

    @precondition(lambda self: self.points)
    @rule(pick=PICKS)
    def back_up_from_a_stale_parent(self, pick) -> None:
        self._back_up(self.source, parent_id=self.some(pick))

    @rule(number=st.integers(6, 40), is_killed=st.booleans())
    def back_up_and_die(self, number, is_killed) -> None:
        error = Killed() if is_killed else TransportUnavailable("the destination does not answer")
        transport = FaultyTransport(self.reach(), _Kill(number, error))
        self._back_up(self.source, repository=self.open("first", transport))

    @rule(number=st.integers(1, 8))
    def back_up_while_another_does(self, number) -> None:
        self._back_up(self.source, hook=_at(number, self.back_up_from_elsewhere_for_it))

    def back_up_from_elsewhere_for_it(self) -> None:
        self._back_up(self.source, repository=self.second, hostname="other")

    @rule(number=st.integers(1, 8))
    def clean_up_beside_a_backup(self, number) -> None:
        def clean_up() -> None:
            with pytest.raises(RepositoryLocked):
                self.clean_up(self.second)

        self._back_up(self.source, hook=_at(number, clean_up))

    @rule(number=st.integers(1, 8))
    def clean_up_in_spite_of_a_backup(self, number) -> None:
        struck = []

        def clean_up() -> None:
            self._bury()
            self.clean_up(self.second)
            struck.append(number)

        before = {snapshot.id for snapshot in self.repository.snapshots()}
        try:
            self._back_up(self.source, hook=_at(number, clean_up))
        except RepositoryLocked:
            assert struck
            assert {snapshot.id for snapshot in self.repository.snapshots()} == before
            self._bury()
        else:
            assert not struck

    # What happens to the cache.

    @rule(who=st.sampled_from(("first", "second")))
    def lose_the_cache(self, who) -> None:
        shutil.rmtree(self.folder / who / "cache", ignore_errors=True)

    @rule()
    def swap_the_caches(self) -> None:
        first, second = self.folder / "first", self.folder / "second"
        for folder in (first, second):
            folder.mkdir(exist_ok=True)
        first.rename(self.folder / "swapped")
        second.rename(first)
        (self.folder / "swapped").rename(second)

    @rule()
    def remember_the_cache(self) -> None:
        shutil.rmtree(self.folder / "old", ignore_errors=True)
        if (self.folder / "first" / "cache").is_dir():
            shutil.copytree(self.folder / "first" / "cache", self.folder / "old")

    @rule()
    def bring_back_an_old_cache(self) -> None:
        if (self.folder / "old").is_dir():
            shutil.rmtree(self.folder / "first" / "cache", ignore_errors=True)
            shutil.copytree(self.folder / "old", self.folder / "first" / "cache")

    @rule(at=st.integers(0, 2000))
    def corrupt_the_cache(self, at) -> None:
        for file in (self.folder / "first" / "cache").rglob("*"):
            if file.is_file() and file.stat().st_size:
                data = bytearray(file.read_bytes())
                data[at % len(data)] ^= 1
                # In its place: what is mapped into memory was looked at and is memory since then.
                file.unlink()
                file.write_bytes(data)

    # The repository.

    def some(self, pick: int) -> str:
        return sorted(self.points)[pick % len(self.points)]

    def snapshot(self, chosen: str):
        return next(each for each in self.repository.snapshots() if each.id == chosen)

    def remove(self, ids) -> None:
        kept = tuple(set(self.points) - set(ids))
        self.repository.remove(RemovalPlan(keep=kept, remove=tuple(ids)))
        for each in ids:
            del self.points[each]

    @staticmethod
    def clean_up(repository, options: CleanUpOptions = CleanUpOptions(max_unused_bytes=0)) -> None:
        repository.clean_up(repository.plan_clean_up(options))

    @precondition(lambda self: self.points)
    @rule(picks=st.lists(PICKS, max_size=4))
    def forget(self, picks) -> None:
        self.remove(sorted({self.some(pick) for pick in picks}))

    @rule(is_second=st.booleans())
    def prune(self, is_second) -> None:
        self.clean_up(self.second if is_second else self.repository)
        assert self.repository.plan_clean_up(CleanUpOptions(max_unused_bytes=0)).objects == ()
        assert self.repository.check().findings == ()

    @rule(share=st.sampled_from((0.0, 0.05, 1.0)), repacks_small=st.booleans())
    def prune_a_little(self, share, repacks_small) -> None:
        options = CleanUpOptions(max_unused_share=share, repacks_small=repacks_small)
        self.clean_up(self.repository, options)

    @rule(number=st.integers(6, 30), is_killed=st.booleans())
    def prune_and_die(self, number, is_killed) -> None:
        error = Killed() if is_killed else TransportUnavailable("the destination does not answer")
        try:
            self.clean_up(self.open("first", FaultyTransport(self.reach(), _Kill(number, error))))
        except (Killed, TransportUnavailable):
            pass
        finally:
            self._bury()  # one that could not take its lock back, too

    @precondition(lambda self: self.points)
    @rule(pick=PICKS, tags=st.lists(st.sampled_from(("x", "y")), max_size=2))
    def retag(self, pick, tags) -> None:
        old = self.snapshot(self.some(pick))
        new = self.repository.retag(old, tags)
        assert new.tags == tuple(sorted(set(tags)))
        self.points[new.id] = self.points.pop(old.id)

    @rule(pick=PICKS, is_everything=st.booleans())
    def lose_a_pack_and_back_up_again(self, pick, is_everything) -> None:
        packs = sorted(info.name for info in self.reach().list("data/"))
        doomed = packs if is_everything else packs[pick % len(packs) :][:1] if packs else ()
        for name in doomed:
            self.reach().delete(name)
        self.repository.repair_index()
        before = list(self.points)
        self._back_up(self.source)
        self.remove(before)
        self.clean_up(self.repository)
        assert self.repository.check(read_data=True).findings == ()

    @rule()
    def open_again(self) -> None:
        self.repository = self.open("first")

    @rule()
    def list_snapshots(self) -> None:
        assert {each.id for each in self.repository.snapshots()} == set(self.points)
        assert {each.id for each in self.second.snapshots()} == set(self.points)

    @rule()
    def check_everything(self) -> None:
        assert self.repository.check(read_data=True).is_clean

    @precondition(lambda self: self.points)
    @rule(pick=PICKS, is_second=st.booleans())
    def restore(self, pick, is_second) -> None:
        repository = self.second if is_second else self.repository
        self._require_restored(self.snapshot(self.some(pick)), repository)

    def _require_restored(self, snapshot, repository=None) -> None:
        root, facts = self.points[snapshot.id]
        self.restores += 1
        top = self.folder / f"restored-{self.restores}"
        around = self.surroundings("target")
        target = FolderTarget(os.fsencode(top), ExtractOptions(), around)
        (repository or self.repository).restore(snapshot, target)
        assert target.outcome.problems == 0
        actual = describe_tree(os.path.join(os.fsencode(top), root.lstrip(b"/")))
        assert actual == facts
        if snapshot.counts.directories:  # which restic does not count
            assert snapshot.counts.files == sum(each.kind == "file" for each in facts.values())
        shutil.rmtree(top)


def _at(number: int, action):
    """Return a hook that acts before the scan's so many-th step, and perhaps never."""
    left = number

    def hook(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            action()

    return hook


class BesideRestic(ResticMachine):
    """The real restic is a second writer, to whom nothing is told."""

    def __init__(self, restic_at) -> None:
        super().__init__()
        self.place = self.folder / "repository"
        self.restic = restic_at(self.place)
        self.done_by_restic = Counter()

    def make_repository(self, chunker: str) -> None:
        if chunker == "rabin":  # as restic cuts
            self.restic.run("init")
            self.repository = self.open("first")
            self.repository.change_password("secret")  # to the same one with a cheap key
        else:
            transport = self.reach()
            transport.prepare()
            chosen = ResticSettings(chunker=chunker)
            self.repository = KIND.create(transport, chosen, KEYS, self.surroundings("first"))

    def reach(self):
        return open_folder(FolderSettings(self.place), self.surroundings("transport"))

    def _finish(self) -> None:
        self.restic.run("check", "--read-data")
        for snapshot in self.repository.snapshots():
            self._require_restored_by_restic(snapshot.id)
        super()._finish()
        self.restic.run("check", "--read-data")
        print(dict(self.done_by_restic))

    def _back_up(self, root: bytes, **options: object) -> None:
        self._leave_what_restic_knows()
        super()._back_up(root, **options)
        # Unlike us restic misses what changes in the tick in which it was read.
        self.wait_for_the_next_tick()

    def _leave_what_restic_knows(self) -> None:
        """Remove attributes and further names of links, targets that are no text, and such fifos.

        restic loses those.
        """
        for folder, folders, files in os.walk(self.source):
            for name in folders + files:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                is_link = stat.S_ISLNK(status.st_mode)
                if (is_link or stat.S_ISFIFO(status.st_mode)) and (
                    status.st_nlink > 1
                    or os.listxattr(path, follow_symlinks=False)
                    or (is_link and b"\xff" in os.readlink(path))
                ):
                    os.unlink(path)

    def _note(self, what: str) -> None:
        self.done_by_restic[what] += 1

    # What restic does.

    @rule(hostname=st.sampled_from(("host", "other")), is_forced=st.booleans())
    def restic_backs_up(self, hostname, is_forced) -> None:
        self._restic_backs_up(hostname, is_forced=is_forced)

    @rule(pick=PICKS, path=PATHS, who=st.sampled_from(("restic", "first", "second")))
    def take_turns(self, pick, path, who) -> None:
        self.write(path, 70_000)
        self._restic_backs_up("host")
        self.rewrite_with_the_same_size_and_mtime(pick)
        self._back_up(self.source)
        self.delete(pick)
        self._restic_backs_up("other")
        if who == "restic":
            self.restic_forgets([pick], prunes=True)
        else:
            self.forget([pick])
            self.prune(is_second=who == "second")

    def _restic_backs_up_for_it(self) -> None:
        self._restic_backs_up("other")

    def _restic_backs_up(self, hostname: str, *, is_forced: bool = False) -> None:
        self._leave_what_restic_knows()
        facts = describe_tree(self.source)
        self.clock.advance(1)
        at = self.clock.now().astimezone()
        force = ["--force"] if is_forced else []
        named = ["--host", hostname, "--time", f"{at:%Y-%m-%d %H:%M:%S}"]
        summary = self.restic.back_up(*force, *named, os.fsdecode(self.source))
        self.wait_for_the_next_tick()
        (made,) = [
            one.id
            for one in self.repository.snapshots()
            if one.id.startswith(summary["snapshot_id"])
        ]
        self.points[made] = self.source, facts
        self._note("backup")

    @precondition(lambda self: self.points)
    @rule(picks=st.lists(PICKS, min_size=1, max_size=3), prunes=st.booleans())
    def restic_forgets(self, picks, prunes) -> None:
        doomed = sorted({self.some(pick) for pick in picks})
        prune = ["--prune", "--max-unused", "0"] if prunes else []
        self.restic.run("forget", *prune, *doomed)
        for one in doomed:
            del self.points[one]
        self._note("forget and prune" if prunes else "forget")

    @rule(share=st.sampled_from(("0", "5%", "unlimited")))
    def restic_prunes(self, share) -> None:
        self.restic.run("prune", "--max-unused", share)
        self._note("prune")

    @precondition(lambda self: self.points)
    @rule(pick=PICKS)
    def restic_tags(self, pick) -> None:
        chosen = self.some(pick)
        self.restic.run("tag", "--add", f"by restic {pick}", chosen)
        there = {one.id for one in self.repository.snapshots()}
        (new,) = there - set(self.points) or {chosen}
        self.points[new] = self.points.pop(chosen)
        self._note("tag")

    @rule()
    def restic_checks(self) -> None:
        self.restic.run("check", "--read-data")

    @precondition(lambda self: not self.is_ahead)  # else its locks look a day old
    @rule(number=st.integers(1, 8))
    def restic_backs_up_while_we_do(self, number) -> None:
        self._back_up(self.source, hook=_at(number, self._restic_backs_up_for_it))

    @rule(number=st.integers(1, 8))
    def restic_prunes_while_we_back_up(self, number) -> None:
        def prune() -> None:
            status, _, complaint = self.restic.try_to("prune")
            assert (status, "already locked" in complaint) == (1, True)
            self._note("refused prune")

        self._back_up(self.source, hook=_at(number, prune))

    @precondition(lambda self: self.points)
    @rule(pick=PICKS)
    def restic_restores(self, pick) -> None:
        self._require_restored_by_restic(self.some(pick))

    def _require_restored_by_restic(self, chosen: str) -> None:
        root, facts = self.points[chosen]
        top = self.folder / "restored by restic"
        self.restic.run("restore", chosen, "--target", top)
        actual = describe_tree(os.path.join(os.fsencode(top), root.lstrip(b"/")))
        # Of the root itself restic restores no facts when it is named as the source.
        assert actual == facts
        shutil.rmtree(top)


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.timeout(300)
def test_snapshots_stay_what_they_were_whatever_happens():
    quick = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=_QUIET,
    )
    run_machine(ResticMachine, settings=quick)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_snapshots_stay_what_they_were_whatever_happens_for_long():
    long = settings(
        max_examples=500, stateful_step_count=40, deadline=None, suppress_health_check=_QUIET
    )
    run_machine(ResticMachine, settings=long)


@pytest.mark.interop
@pytest.mark.timeout(600)
def test_snapshots_stay_what_they_were_beside_restic(restic_at):
    some = settings(
        max_examples=5,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=_QUIET,
    )
    run_machine(lambda: BesideRestic(restic_at), settings=some)


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(7200)
def test_snapshots_stay_what_they_were_beside_restic_for_long(restic_at):
    long = settings(
        max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=_QUIET
    )
    run_machine(lambda: BesideRestic(restic_at), settings=long)
