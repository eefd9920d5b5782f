"""The store in SQLite against the store in memory, through random sequences of calls."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from backapp_core.errors import BackappError
from backapp_core.events import Level, LogLine
from backapp_core.model.jobs import Job
from backapp_core.model.runs import RunState
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.surroundings import Surroundings
from backapp_core.testing.memory_store import MemoryStore
from backapp_core.testing.store_fixtures import AT, make_run
from backapp_plugins.stores.sql import open_store

NAMES = st.sampled_from(["home", "Home", "a.b", "x"])
STATES = st.sampled_from(RunState)
AGENTS = st.sampled_from(["", "a" * 32])
NUMBERS = st.integers(0, 6)
MOMENTS = st.integers(0, 3).map(lambda seconds: AT + timedelta(seconds=seconds))
IDS = NUMBERS.map(lambda number: make_run(number).id)


class Stores(RuleBasedStateMachine):
    runs = Bundle("runs")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model = MemoryStore()
        self.open()

    def open(self):
        folder = Path(self.folder.name)
        surroundings = Surroundings(cache_folder=folder, state_folder=folder)
        self.sql = open_store(f"sqlite://{folder / 'backapp.db'}", surroundings)

    def teardown(self):
        self.sql.close()
        self.folder.cleanup()

    def both(self, call):
        """Make the same call on both; they must agree in what they return or refuse."""

        def outcome(store):
            try:
                return call(store)
            except BackappError as error:
                return type(error)

        expected = outcome(self.model)
        assert outcome(self.sql) == expected
        return expected

    @rule(name=NAMES, repository=st.text(max_size=5))
    def add_job(self, name, repository):
        job = Job(name=name, repository=repository, roots=(b"/",))
        self.both(lambda store: store.jobs.add(job))

    @rule(name=NAMES, repository=st.text(max_size=5))
    def replace_job(self, name, repository):
        job = Job(name=name, repository=repository, roots=(b"/",))
        self.both(lambda store: store.jobs.replace(job))

    @rule(name=NAMES)
    def remove_job(self, name):
        self.both(lambda store: store.jobs.remove(name))

    @rule(
        target=runs,
        number=NUMBERS,
        name=NAMES,
        requested=MOMENTS,
        due=st.none() | MOMENTS,
        agent=AGENTS,
    )
    def add_run(self, number, name, requested, due, agent):
        run = make_run(number, job_name=name, requested_at=requested, due_at=due, agent_id=agent)
        self.both(lambda store: store.runs.add(run))
        return run

    @rule(
        target=runs, run=consumes(runs), state=STATES, from_state=STATES, error=st.text(max_size=5)
    )
    def move_run(self, run, state, from_state, error):
        moved = evolve(run, state=state, error=error)
        self.both(lambda store: store.runs.move(moved, from_state=from_state))
        return run

    @rule(run_id=IDS, texts=st.lists(st.text(max_size=5), max_size=3), at=MOMENTS)
    def add_events(self, run_id, texts, at):
        events = [(at, LogLine(Level.INFO, text)) for text in texts]
        self.both(lambda store: store.runs.add_events(run_id, events))

    @rule(run_id=IDS)
    def read_events(self, run_id):
        self.both(lambda store: list(store.runs.events(run_id)))

    @rule(run_id=IDS, length=st.integers(0, 32))
    def get_run(self, run_id, length):
        self.both(lambda store: store.runs.get(run_id[:length]))

    @rule(
        name=st.none() | NAMES,
        state=st.none() | STATES,
        before=st.none() | IDS,
        limit=st.integers(-1, 4),
        agent=st.none() | AGENTS,
        since=st.none() | MOMENTS,
        until=st.none() | MOMENTS,
    )
    def list_runs(self, name, state, before, limit, agent, since, until):
        wanted = RunFilter(
            job_name=name,
            state=state,
            agent_id=agent,
            since=since,
            until=until,
            before_id=before,
            limit=limit,
        )
        self.both(lambda store: list(store.runs.list(wanted)))

    @rule()
    def close_and_open(self):
        self.sql.close()
        self.open()

    @invariant()
    def jobs_agree(self):
        self.both(lambda store: list(store.jobs.list()))


class TestStoresAgree(Stores.TestCase):
    settings = settings(max_examples=10, stateful_step_count=25, deadline=None)


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestStoresAgreeForLong(Stores.TestCase):
    settings = settings(max_examples=500, stateful_step_count=60, deadline=None)
