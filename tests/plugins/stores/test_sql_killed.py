"""Servers that are killed around every commit, and while they ask for what is due."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from backapp_core.model.receipts import first_break
from backapp_core.model.runs import RunState
from backapp_core.model.schedules import Schedule
from backapp_core.ports.stores import RunFilter
from backapp_core.testing.fleet_fixtures import (
    LONG,
    claimed,
    complete,
    make_machine,
    make_report,
    sees_all,
)
from backapp_plugins.stores.sql import open_fleet

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
KILLED = 9
LEASE_SECONDS = 0.3
SEEN_BY_ALL = """
import json, os, sys
from datetime import UTC, datetime
from pathlib import Path
import sqlalchemy as sa
from backapp_core.assembly import load_plugins
from backapp_core.engine.schedule import Timetable
from backapp_core.model.runs import RunState
from backapp_core.plugin_api import Level, LogLine, Surroundings
from backapp_core.ports.stores import RunFilter
from backapp_core.testing.fleet_fixtures import (
    INSTANCE, LONG, OBJECTS, complete, make_report, make_snapshot, sees_all
)
from backapp_plugins.stores.sql import open_fleet

surroundings = Surroundings(cache_folder=Path("/nowhere"), state_folder=Path("/nowhere"))
plugins = load_plugins()

class Later:
    moment = None
    def __init__(self, fleet):
        self._fleet = fleet
    def __getattr__(self, name):
        return getattr(self._fleet, name)
    def now(self):
        return self.moment
"""
RUNNING = """
agent_id = sys.argv[1]
moment, lease_seconds = datetime.fromisoformat(sys.argv[2]), float(sys.argv[3])

def work(url, killed_at):
    "Do all that a server does for one run, and return how often it might have been killed."
    fleet = open_fleet(url, surroundings)
    points = 0
    def point(*_):
        nonlocal points
        points += 1
        if points == killed_at:
            os._exit(9)
    engine = fleet._database.engine
    sa.event.listen(engine, "commit", point)  # before it
    sa.event.listen(engine.pool, "reset", point)  # when nothing is under way any more
    later = Later(fleet)
    later.moment = moment
    Timetable(later, surroundings, plugins).tick()
    machine = fleet.tenant(1).work(agent_id, sees_all)
    machine.hello(make_report(), alive_seconds=0.1)
    while (claim := machine.claim(INSTANCE, lease_seconds=lease_seconds)) is None:
        if all(run.state.is_final for run in fleet.tenant(1).runs.list(RunFilter())):
            return points  # it had ended before
    machine.report(claim.run.id, claim.fence, events=[(moment, LogLine(Level.INFO, "x"))])
    machine.acknowledge(claim.run.id, claim.fence, make_snapshot(), OBJECTS)
    machine.finish(claim.fence, complete(claim, snapshot_id=make_snapshot().id))
    machine.goodbye(INSTANCE)
    return points

for line in sys.stdin:
    url, killed_at = json.loads(line)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(work(url, killed_at)).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), os.read(reader, 9).decode()]), flush=True)
    os.close(reader)
"""
ASKING = """
fleet = open_fleet(sys.argv[1], surroundings)
later = Later(fleet)
table = Timetable(later, surroundings, plugins)
for line in sys.stdin:
    later.moment = datetime.fromisoformat(line.strip())
    print(len(table.tick()), flush=True)
"""


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", SEEN_BY_ALL + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def prepare(fleet, jobs):
    machine = make_machine(fleet)
    for number in range(jobs):
        schedule = Schedule("* * * * *")
        machine.job(f"job-{number}", schedule=schedule, due_after=NOON - timedelta(days=1))
    return machine


def check_every_point(new_url, open_at):
    """Kill at each point, have another one go on, and see that everything happened once."""
    url = new_url()
    machine = prepare(open_at(url, open_fleet), 1)
    with start(RUNNING, machine.id, NOON.isoformat(), LEASE_SECONDS) as server:

        def serve(url, killed_at=0):
            return json.loads(answer(server, json.dumps([url, killed_at])))

        code, points = serve(url)
        assert code == 0
        assert int(points) >= 12
        for killed_at in range(1, int(points) + 1):
            url = new_url()
            fleet = open_at(url, open_fleet)
            machine = prepare(fleet, 1)
            assert serve(url, killed_at)[0] == KILLED
            assert serve(url)[0] == 0
            [run] = fleet.tenant(1).runs.list(RunFilter())
            assert (run.state, run.due_at) == (RunState.COMPLETED, NOON)
            receipts = list(machine.store.repositories.receipts_after(machine.repository.id, 0))
            assert [one.run_id for one in receipts] == [run.id]
            assert first_break(receipts) is None
        server.stdin.close()


@pytest.mark.slow
def test_server_on_sqlite_that_is_killed_around_any_commit(open_at, empty_file, tmp_path):
    numbers = iter(range(1000))

    def new_url():
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copy(empty_file, path)
        return f"sqlite://{path}"

    check_every_point(new_url, open_at)


@pytest.mark.slow
def test_server_on_postgresql_that_is_killed_around_any_commit(open_at, postgres, empty_database):
    check_every_point(lambda: postgres.url_of(postgres.new(empty_database)), open_at)


def ask_from_two(url, fleet, *, jobs, rounds):
    """Have two servers look for what is due, killing one of them again and again."""
    machine = prepare(fleet, jobs)
    work = fleet.tenant(1).work(machine.id, sees_all)
    work.hello(make_report(), alive_seconds=LONG)
    servers = [start(ASKING, url) for _ in range(2)]
    chance, begun = random.Random(jobs), Counter()
    try:
        for number in range(rounds):
            moment = (NOON + timedelta(minutes=number)).isoformat()
            for server in servers:
                server.stdin.write(moment + "\n")
                server.stdin.flush()
            victim = chance.randrange(2)
            if not number % 3:
                servers[victim].send_signal(signal.SIGKILL)
                servers[victim].communicate()
                servers[victim] = start(ASKING, url)
                assert answer(servers[victim], moment)
            assert servers[1 - victim].stdout.readline()
            if number % 3:
                assert servers[victim].stdout.readline()
            for _ in range(jobs):
                claim = claimed(work)
                begun[claim.run.job_name, claim.run.due_at] += 1
                work.finish(claim.fence, complete(claim))
            assert work.claim("1" * 32, lease_seconds=LONG) is None
    finally:
        for server in servers:
            server.kill()
            server.communicate()
    assert set(begun.values()) == {1}
    assert len(begun) == jobs * rounds


@pytest.mark.thorough
def test_two_servers_of_which_one_is_killed_begin_what_is_due_once(postgres_url, postgres_fleet):
    ask_from_two(postgres_url, postgres_fleet, jobs=10, rounds=8)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_due_moments_are_each_begun_once(postgres_url, postgres_fleet):
    ask_from_two(postgres_url, postgres_fleet, jobs=100, rounds=100)
