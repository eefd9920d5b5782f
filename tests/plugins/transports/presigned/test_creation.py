"""A machine that ends at any step of making its repository makes it all the same, and only once."""

import os
from types import SimpleNamespace

import pytest
from attrs import evolve

from backapp_core.clock import SystemClock
from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.engine.buckets import Buckets
from backapp_core.engine.grant import Desk
from backapp_core.errors import AccessRefused
from backapp_core.manager import PluginManager
from backapp_core.model.jobs import Job
from backapp_core.model.work import Hold
from backapp_core.testing.crashes import run_until_killed
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.faults import kill_this_process
from backapp_core.testing.fleet_fixtures import claimed, make_machine, sees_all
from backapp_plugins.stores.sql import open_fleet

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("cheap_keys"),
]

STEPS = [
    ("grant_writes", 1, "before"),  # everything is made here, nothing is signed
    ("grant_writes", 1, "after"),  # the key is signed, and not stored
    ("grant_writes", 2, "before"),  # the key is stored
    ("grant_writes", 2, "after"),  # the config is signed, and not stored
    ("report_created", 1, "before"),  # the config is stored
    ("report_created", 1, "after"),  # the server knows
]


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load()


@pytest.fixture
def world(gateway, bucket, plugins, tmp_path, monkeypatch):
    """A server's store and its bucket, one machine with a repository that is not made yet."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.owner[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.owner[1])
    address = f"s3:{gateway.endpoint}/{bucket}/{os.urandom(8).hex()}"
    around = make_surroundings(tmp_path / "server", clock=SystemClock())
    url = f"sqlite://{tmp_path / 'fleet.db'}"
    with open_fleet(url, around) as fleet, Buckets(plugins, around, [address]) as buckets:
        machine = make_machine(fleet)
        own_id = os.urandom(16).hex()
        added = evolve(
            machine.repository,
            id=own_id,
            name="own",
            address=buckets.address_for(address, 1, own_id),
        )
        machine.store.repositories.add(added)
        machine.store.jobs.add(Job("job", f"backapp:{own_id}", (b"/",), agent_id=machine.id))
        machine.run(job_name="job")
        claim = claimed(machine.store.work(machine.id, sees_all))
        yield SimpleNamespace(
            around=around,
            url=url,
            bucket=address,
            plugins=plugins,
            machine=machine,
            repository=added,
            hold=Hold(claim.run.id, claim.fence),
            folder=tmp_path / "machine",
        )


class Line:
    """The machine's way to the server; `strike` hears of every call, before and after it."""

    def __init__(self, world, fleet, buckets, strike=lambda *_: None):
        store = fleet.tenant(1)
        agent_id = world.machine.id
        self._work = store.work(agent_id, sees_all)
        archivers = world.plugins.archivers
        self._desk = Desk(store, agent_id, buckets, archivers, hold=world.hold)
        self._strike = strike
        self.writes = []

    def grants_for(self, _hold):
        return self

    def __getattr__(self, name):
        asked = getattr(self._work if hasattr(self._work, name) else self._desk, name)

        def ask(*arguments):
            self._strike(name, "before")
            if name == "grant_writes":
                self.writes += arguments[1]
            answer = asked(*arguments)
            self._strike(name, "after")
            return answer

        return ask


def create(world, strike=lambda *_: None):
    """Do what a run of the machine does at first; with connections that are nobody else's."""
    with (
        open_fleet(world.url, world.around) as fleet,
        Buckets(world.plugins, world.around, [world.bucket]) as buckets,
    ):
        line = Line(world, fleet, buckets, strike)
        around = make_surroundings(world.folder, clock=SystemClock())
        around = evolve(around, random_bytes=os.urandom)
        repositories = AgentRepositories(world.plugins, line, world.folder / "agent")
        wanted = fleet.tenant(1).repositories.get(world.repository.id)
        opened = repositories.open_or_create(around, wanted)
        stored = sorted(info.name for info in opened.transport.list())
        own_id = opened.repository.info.id
        opened.repository.close()
    return own_id, stored, line.writes


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[2]} {step[0]} {step[1]}")
def test_machine_that_ends_at_any_step_completes_its_one_repository(world, step, tmp_path):
    name, number, when = step
    mark = tmp_path / "killed"
    counted = []

    def strike(called, moment):
        if (called, moment) == (name, when):
            counted.append(called)
            if len(counted) == number:
                mark.touch()
                kill_this_process()

    run_until_killed(lambda: create(world, strike), mark)
    own_id, stored, written = create(world)
    key, config = sorted(stored, key=len, reverse=True)
    assert (config, key[:5]) == ("config", "keys/")
    assert {one.name for one in written} <= {key, config}
    known = world.machine.store.repositories.get(world.repository.id)
    assert (known.repository_id, known.initialised_at is not None) == (own_id, True)
    assert not list((world.folder / "agent" / "new").iterdir())


def test_machine_that_forgot_what_it_was_about_to_store_gets_no_second_key(world, tmp_path):
    """As before: what was let through once stays the only thing that ever is."""
    mark = tmp_path / "killed"

    def strike(called, moment):
        if (called, moment) == ("grant_writes", "after"):
            mark.touch()
            kill_this_process()

    run_until_killed(lambda: create(world, strike), mark)
    (kept,) = (world.folder / "agent" / "new").iterdir()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept.unlink()
    with pytest.raises(AccessRefused, match="would be another key than the first"):
        create(world)
