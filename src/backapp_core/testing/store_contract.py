"""What every store must do; a class per group of the port."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from backapp_core.errors import (
    ConflictError,
    IllegalTransition,
    InvalidName,
    JobNotFound,
    NameTaken,
    RunNotFound,
)
from backapp_core.events import (
    Event,
    Level,
    LogLine,
    Problem,
    Progress,
    RunMoved,
    SnapshotSaved,
    Verb,
)
from backapp_core.model.jobs import Job
from backapp_core.model.runs import Run, RunState
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.stores import RunFilter, Store
from backapp_core.testing.store_fixtures import AT, COUNTS, HOSTILE, JOB, make_run


class _WithStore:
    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        raise NotImplementedError


class JobsContract(_WithStore):
    """The group `Jobs`; inherit it and supply `store`."""

    def test_added_job_comes_back_equal(self, store: Store) -> None:
        """Paths that are no UTF-8, nested settings and all."""
        store.jobs.add(JOB)
        assert store.jobs.get("home") == JOB

    def test_adding_a_name_twice_changes_nothing(self, store: Store) -> None:
        """The job that was there stays."""
        store.jobs.add(JOB)
        with pytest.raises(NameTaken, match="home"):
            store.jobs.add(evolve(JOB, repository="/elsewhere"))
        assert store.jobs.list() == [JOB]

    def test_jobs_are_listed_by_name(self, store: Store) -> None:
        """In the order of code points, upper case before lower."""
        names = ["b", "a-1", "B", "a.1", "10", "9", "a_1"]
        for name in names:
            store.jobs.add(evolve(JOB, name=name))
        assert [job.name for job in store.jobs.list()] == sorted(names)

    def test_jobs_are_listed_in_parts(self, store: Store) -> None:
        """Whatever the name is after which a part begins."""
        names = sorted(["b", "a-1", "B", "a.1", "10", "9", "a_1"])
        for name in names:
            store.jobs.add(evolve(JOB, name=name))
        for after in [*names, "a", "", "z", *HOSTILE]:
            for limit in (None, -1, 0, 1, 3, 7):
                found = [job.name for job in store.jobs.list(after=after, limit=limit)]
                end = len(names) if limit is None else max(limit, 0)
                assert found == [name for name in names if name > after][:end]

    def test_names_that_differ_in_case_are_two(self, store: Store) -> None:
        """As on the file systems that folders of jobs may be made from."""
        store.jobs.add(JOB)
        with pytest.raises(JobNotFound):
            store.jobs.get("HOME")

    def test_replaced_job_comes_back_as_it_is_now(self, store: Store) -> None:
        """Nothing of the old one stays."""
        store.jobs.add(JOB)
        other = Job(name="home", repository="/elsewhere", roots=(b"/",))
        store.jobs.replace(other)
        assert store.jobs.list() == [other]

    def test_removed_job_is_gone_and_its_runs_stay(self, store: Store) -> None:
        """History is not rewritten."""
        store.jobs.add(JOB)
        store.runs.add(make_run())
        store.jobs.remove("home")
        assert store.jobs.list() == []
        assert store.runs.get(make_run().id) == make_run()
        store.jobs.add(JOB)

    def test_unknown_jobs_are_not_found(self, store: Store) -> None:
        """Whatever the name is made of; nothing matches by pattern."""
        store.jobs.add(JOB)
        for name in [*HOSTILE, "hom", "home ", "h%", "____"]:
            with pytest.raises(JobNotFound) as caught:
                store.jobs.get(name)
            assert caught.value.message.isprintable()
            with pytest.raises(JobNotFound):
                store.jobs.remove(name)
        with pytest.raises(JobNotFound):
            store.jobs.replace(evolve(JOB, name="other"))
        assert store.jobs.list() == [JOB]


class RunsContract(_WithStore):
    """The group `Runs`; inherit it and supply `store`."""

    def test_added_run_comes_back_equal(self, store: Store) -> None:
        """To the microsecond, in UTC, with text that is no valid Unicode."""
        run = make_run(
            due_at=AT - timedelta(microseconds=1), counts=COUNTS, error="no \udcff '%_\n\0"
        )
        store.runs.add(run)
        found = store.runs.get(run.id)
        assert found == run
        assert found.requested_at.tzinfo is UTC

    def test_adding_an_id_twice_is_refused(self, store: Store) -> None:
        """The run that was there stays."""
        store.runs.add(make_run())
        with pytest.raises(NameTaken):
            store.runs.add(make_run(job_name="other"))
        assert store.runs.get(make_run().id) == make_run()

    def test_a_job_runs_once_for_a_due_moment(self, store: Store) -> None:
        """Another job may be due at the same time; runs without a due moment never collide."""
        store.runs.add(make_run(1, due_at=AT))
        with pytest.raises(NameTaken, match="home"):
            store.runs.add(make_run(2, due_at=AT))
        store.runs.add(make_run(3, due_at=AT, job_name="other"))
        store.runs.add(make_run(4, due_at=AT + timedelta(microseconds=1)))
        store.runs.add(make_run(5))
        store.runs.add(make_run(6))
        assert len(store.runs.list(RunFilter())) == 5

    @pytest.mark.parametrize(
        "fields",
        [{"id": ""}, {"id": "\ud800"}, {"id": "\0"}, {"job_name": ""}, {"job_name": "a b"}],
    )
    def test_run_that_cannot_be_named_is_refused(
        self, store: Store, fields: dict[str, Any]
    ) -> None:
        """Nothing is stored."""
        with pytest.raises(InvalidName):
            store.runs.add(make_run(**fields))
        assert store.runs.list(RunFilter()) == []

    def test_run_moves_to_its_end(self, store: Store) -> None:
        """Each stored state is the one that was given."""
        run = make_run()
        store.runs.add(run)
        started = run.start(at=AT + timedelta(seconds=1))
        store.runs.move(started, from_state=RunState.REQUESTED)
        assert store.runs.get(run.id) == started
        ended = started.complete(at=AT + timedelta(seconds=2), snapshot_id="f" * 64, counts=COUNTS)
        store.runs.move(ended, from_state=RunState.RUNNING)
        assert store.runs.get(run.id) == ended

    def test_run_that_moved_meanwhile_is_not_moved(self, store: Store) -> None:
        """The first wins; the second is told and changes nothing."""
        run = make_run()
        store.runs.add(run)
        store.runs.move(run.cancel(at=AT), from_state=RunState.REQUESTED)
        with pytest.raises(IllegalTransition):
            store.runs.move(run.start(at=AT), from_state=RunState.REQUESTED)
        assert store.runs.get(run.id) == run.cancel(at=AT)

    @pytest.mark.parametrize("before", list(RunState))
    @pytest.mark.parametrize("after", list(RunState))
    def test_only_legal_moves_are_stored(
        self, store: Store, before: RunState, after: RunState
    ) -> None:
        """Every pair of states is tried; staying is no move."""
        run = make_run(state=before)
        store.runs.add(run)
        if before.may_become(after):
            store.runs.move(evolve(run, state=after), from_state=before)
            assert store.runs.get(run.id).state is after
        else:
            with pytest.raises(IllegalTransition):
                store.runs.move(evolve(run, state=after), from_state=before)
            assert store.runs.get(run.id) == run

    @pytest.mark.parametrize(
        "fields",
        [
            {"job_name": "other"},
            {"requested_at": AT + timedelta(seconds=1)},
            {"due_at": AT},
            {"due_at": None},
        ],
    )
    def test_move_keeps_what_was_asked_for(self, store: Store, fields: dict[str, Any]) -> None:
        """A move changes how a run goes, not which run it is."""
        run = make_run(due_at=None if fields.get("due_at") else AT - timedelta(days=1))
        store.runs.add(run)
        with pytest.raises(IllegalTransition):
            store.runs.move(evolve(run.start(at=AT), **fields), from_state=RunState.REQUESTED)
        assert store.runs.get(run.id) == run

    def test_run_is_found_by_an_unambiguous_beginning(self, store: Store) -> None:
        """A whole id goes before ids that begin with it."""
        short, long, other = (make_run(id=text) for text in ("abc", "abcd", "b" * 32))
        for run in (short, long, other):
            store.runs.add(run)
        assert store.runs.get("abc") == short
        assert store.runs.get("abcd") == long
        assert store.runs.get("bb") == other
        with pytest.raises(RunNotFound):
            store.runs.get("ab")

    def test_unknown_runs_are_not_found(self, store: Store) -> None:
        """In every method, whatever the id is made of; nothing matches by pattern."""
        store.runs.add(make_run(id="a" * 32))
        calls: Sequence[Callable[[str], object]] = (
            store.runs.get,
            store.runs.events,
            lambda run_id: store.runs.add_events(run_id, []),
            lambda run_id: store.runs.list(RunFilter(before_id=run_id)),
            lambda run_id: store.runs.move(
                make_run(id=run_id, state=RunState.RUNNING), from_state=RunState.REQUESTED
            ),
        )
        for run_id in [*HOSTILE, "a" * 33, "A" * 32, "_" * 32]:
            for call in calls:
                with pytest.raises(RunNotFound) as caught:
                    call(run_id)
                assert caught.value.message.isprintable()

    def test_runs_are_listed_latest_first(self, store: Store) -> None:
        """Ids break ties, also descending."""
        runs = [
            make_run(number, requested_at=AT + timedelta(seconds=number // 3))
            for number in (4, 1, 5, 3, 0, 2)
        ]
        for run in runs:
            store.runs.add(run)
        assert [int(run.id, 16) for run in store.runs.list(RunFilter())] == [5, 4, 3, 2, 1, 0]

    def test_pages_join_without_gap_or_overlap(self, store: Store) -> None:
        """Also while newer runs arrive in between."""
        for number in range(17):
            store.runs.add(make_run(number, requested_at=AT + timedelta(seconds=number // 4)))
        seen: list[int] = []
        before: str | None = None
        while page := store.runs.list(RunFilter(before_id=before, limit=5)):
            assert len(page) <= 5
            seen.extend(int(run.id, 16) for run in page)
            before = page[-1].id
            store.runs.add(make_run(100 + len(seen), requested_at=AT + timedelta(days=1)))
        assert seen == list(range(16, -1, -1))

    def test_filters_hold_together(self, store: Store) -> None:
        """Job, state and page restrict one another; what matches nothing gives nothing."""
        for number in range(12):
            state = RunState.FAILED if number % 3 else RunState.COMPLETED
            store.runs.add(
                make_run(number, job_name="even" if number % 2 == 0 else "odd", state=state)
            )
        wanted = RunFilter(
            job_name="even", state=RunState.FAILED, before_id=make_run(10).id, limit=2
        )
        assert [int(run.id, 16) for run in store.runs.list(wanted)] == [8, 4]
        assert store.runs.list(RunFilter(state=RunState.RUNNING)) == []
        assert store.runs.list(RunFilter(limit=0)) == []
        assert store.runs.list(RunFilter(limit=-1)) == []
        for name in [*HOSTILE, "eve", "EVEN", "e%", "____"]:
            assert store.runs.list(RunFilter(job_name=name)) == []

    def test_machine_and_time_restrict_a_listing(self, store: Store) -> None:
        """The moment of `since` is within, that of `until` is not; an empty id is no machine."""
        for number in range(8):
            store.runs.add(
                make_run(
                    number,
                    requested_at=AT + timedelta(seconds=number),
                    agent_id="a" * 32 if number % 2 else "",
                )
            )

        def found(**fields: Any) -> list[int]:
            return [int(run.id, 16) for run in store.runs.list(RunFilter(**fields))]

        assert found(agent_id="a" * 32) == [7, 5, 3, 1]
        assert found(agent_id="") == [6, 4, 2, 0]
        since, until = AT + timedelta(seconds=2), AT + timedelta(seconds=5)
        assert found(since=since) == [7, 6, 5, 4, 3, 2]
        assert found(until=until) == [4, 3, 2, 1, 0]
        assert found(since=since, until=until, agent_id="a" * 32) == [3]
        assert found(since=since, before_id=make_run(4).id) == [3, 2]
        assert found(agent_id="a" * 32, state=RunState.REQUESTED, job_name="home", limit=1) == [7]
        for word in [*HOSTILE[1:], "a" * 31, "A" * 32]:
            assert found(agent_id=word) == []

    def test_events_come_back_in_the_order_of_appending(self, store: Store) -> None:
        """Also when a clock went back in between."""
        run = make_run()
        store.runs.add(run)
        store.runs.add(make_run(2))
        snapshot = Snapshot(
            id="e" * 64,
            taken_at=AT,
            hostname="h",
            username="u",
            roots=(b"/\xff",),
            tags=("a",),
            counts=COUNTS,
        )
        first: list[tuple[datetime, Event]] = [
            (AT, Progress(Verb.BACKUP, files_done=1, bytes_done=2**60, current=b"/home/\xfe\n")),
            (AT - timedelta(hours=1), Problem(Verb.BACKUP, b"/\xff", "gone '%_")),
        ]
        second: list[tuple[datetime, Event]] = [
            (AT, LogLine(Level.WARNING, "line\nbreak \udcff")),
            (AT, SnapshotSaved(snapshot)),
            (AT, RunMoved(run.start(at=AT))),
        ]
        store.runs.add_events(run.id, first)
        store.runs.add_events(run.id, [])
        store.runs.add_events(run.id, second)
        assert list(store.runs.events(run.id)) == [*first, *second]
        assert list(store.runs.events(make_run(2).id)) == []

    def test_of_two_competing_moves_one_wins(self, store: Store) -> None:
        """Eight threads start the same run at once."""
        for number in range(5):
            run = make_run(number)
            store.runs.add(run)
            barrier = threading.Barrier(8)

            def start(at_second: int, run: Run = run, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait(30)
                try:
                    store.runs.move(
                        run.start(at=AT + timedelta(seconds=at_second)),
                        from_state=RunState.REQUESTED,
                    )
                except IllegalTransition:
                    return False
                return True

            with ThreadPoolExecutor(8) as threads:
                wins = list(threads.map(start, range(8)))
            assert wins.count(True) == 1
            assert store.runs.get(run.id).started_at == AT + timedelta(seconds=wins.index(True))

    def test_threads_may_write_at_once(self, store: Store) -> None:
        """Eight threads add runs, moves and events; nothing is lost or mixed."""
        store.jobs.add(JOB)

        def work(thread: int) -> None:
            for number in range(8):
                run = make_run(thread * 100 + number)
                store.runs.add(run)
                store.runs.add_events(
                    run.id, [(AT, LogLine(Level.INFO, f"{thread} {step}")) for step in range(3)]
                )
                store.runs.move(run.start(at=AT), from_state=RunState.REQUESTED)
                store.runs.list(RunFilter(job_name="home"))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        assert len(store.runs.list(RunFilter(state=RunState.RUNNING, limit=1000))) == 64
        for thread in range(8):
            texts = [
                event.text
                for _, event in store.runs.events(make_run(thread * 100).id)
                if isinstance(event, LogLine)
            ]
            assert texts == [f"{thread} {step}" for step in range(3)]

    def test_due_moment_is_given_to_one_thread(self, store: Store) -> None:
        """Several schedulers that find the same job due ask once."""

        def ask(number: int) -> bool:
            try:
                store.runs.add(make_run(number, due_at=AT))
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(16))).count(True) == 1

    def test_closing_twice_is_fine(self, store: Store) -> None:
        """As the port says."""
        store.close()
        store.close()


class StoreContract(JobsContract, RunsContract):
    """All groups of a store that remembers everything."""
