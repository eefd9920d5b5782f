"""Says what lists and pages cost with 100,000 runs in PostgreSQL, and how large a first page is.

    python tests/benchmarks/server_pages.py [--runs 100000] [--times 40]

One browser asks `backapp serve` for one thing after the other over one connection. Beside the time
that an answer takes stands the processor time of the server: others may use the machine, too.
"""

import argparse
import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
from attrs import define
from serving_bench import (
    Client,
    Process,
    Table,
    engine_on,
    folder_of_its_own,
    postgres,
    serve,
    somebody,
)

from backapp_core.events import Level, LogLine
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import SCHEME
from backapp_core.model.receipts import NOTHING_BEFORE, Receipt
from backapp_core.model.runs import Run, RunState
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Counts, Snapshot
from backapp_core.model.users import Role
from backapp_core.testing.fleet_fixtures import Machine, make_machine, make_report
from backapp_core.wire import API
from backapp_plugins.stores.sql.rows import moment_to_column, run_to_row, to_body

MOST_P95_MILLISECONDS = 50
MOST_FIRST_PAGE_KILOBYTES = 100
MACHINES = 250
JOBS_OF_A_MACHINE = 2
SNAPSHOTS = 1000
LOG_LINES = 2000
_LINKS = re.compile(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"')


@define
class Filled:
    """What was put into the store."""

    headers: dict[str, str]
    runs: Sequence[Run]
    """The latest requested first."""
    machine: Machine
    """Whose repository has a long history."""
    logged: str
    """Id of a run with a long log."""


def fill(store: str, folder: Path, count: int) -> Filled:
    """Make machines with jobs, and runs of every state, one a minute, the last ones just now."""
    with engine_on(store, folder) as server:
        fleet = server.fleet
        now = fleet.now()
        machines = [make_machine(fleet, number) for number in range(1, MACHINES + 1)]
        owners: list[tuple[Machine, str]] = []
        for machine in machines:
            machine.store.work(machine.id, lambda repository, objects: None).hello(
                make_report(), alive_seconds=1
            )
            for number in range(JOBS_OF_A_MACHINE):
                name = f"{machine.known.agent.name}-{number}"
                address = f"{SCHEME}:{machine.repository.id}"
                schedule = Schedule(f"{len(owners) % 60} {number} * * *", "Europe/Berlin")
                fields = {"agent_id": machine.id, "schedule": schedule, "due_after": now}
                machine.store.jobs.add(Job(name, address, (b"/home",), **fields))
                owners.append((machine, name))
        runs = [_run(number, count, now, *owners[number % len(owners)]) for number in range(count)]
        _copy(store, "runs", machines[0].store.tenant.id, map(run_to_row, runs))
        logged = _fill_one(store, machines[0], runs, now)
        headers = somebody(server, "admin", Role.ADMIN)
    return Filled(headers, runs[::-1], machines[0], logged)


def _run(number: int, count: int, now: datetime, machine: Machine, job: str) -> Run:
    at = now - timedelta(minutes=count - number)
    run = Run(
        f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}",
        job,
        RunState.REQUESTED,
        at,
        agent_id=machine.id,
    )
    # Most went well; the last ones of some machines run or wait.
    if number >= count - 10:
        return run
    run = run.start(at=at + timedelta(seconds=2))
    if number >= count - 40:
        return run
    ended = at + timedelta(seconds=300)
    if number % 20 == 7:
        return run.fail(at=ended, error="the bucket could not be reached: connection refused")
    if number % 50 == 11:
        return run.cancel(at=ended)
    counts = Counts(files_new=12, files_changed=3, files_unmodified=100_000, read_bytes=10**9)
    return run.complete(at=ended, snapshot_id=f"{number:064x}", counts=counts)


def _copy(store: str, table: str, tenant_id: int, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as the store does, many times as fast."""
    with psycopg.connect(store.replace("+psycopg", "", 1)) as connection:
        with connection.cursor() as cursor:
            first, *others = rows
            copying = f"COPY {table} (tenant_id, {', '.join(first)}) FROM STDIN"
            with cursor.copy(copying.encode()) as copy:
                for row in (first, *others):
                    copy.write_row([tenant_id, *row.values()])
        connection.execute(f"ANALYZE {table}".encode())


def _snapshots(machine: Machine, now: datetime) -> list[Snapshot]:
    return [
        Snapshot(
            f"{number:064x}", now - timedelta(hours=number), "pluto", "ann", (b"/home/ann", b"/etc")
        )
        for number in range(SNAPSHOTS)
    ]


def _receipts(machine: Machine, snapshots: Sequence[Snapshot], run: Run) -> list[Receipt]:
    chain: list[Receipt] = []
    for number, snapshot in enumerate(reversed(snapshots), start=1):
        chain.append(
            Receipt(
                machine.repository.id,
                number,
                snapshot.taken_at,
                machine.id,
                run.id,
                snapshot.id,
                objects=100,
                object_bytes=10**9,
                counts=snapshot.counts,
                previous_hash=chain[-1].hash if chain else NOTHING_BEFORE,
            )
        )
    return chain


def _fill_one(store: str, machine: Machine, runs: Sequence[Run], now: datetime) -> str:
    """Give one machine's repository a history, and one of its runs a long log; return its id."""
    tenant_id, repository_id = machine.store.tenant.id, machine.repository.id
    snapshots = _snapshots(machine, now)
    own = next(run for run in reversed(runs) if run.agent_id == machine.id)
    receipts = _receipts(machine, snapshots, own)
    rows = [
        {
            "repository_id": repository_id,
            "id": one.id,
            "taken_at": moment_to_column(one.taken_at),
            "body": to_body(one),
        }
        for one in snapshots
    ]
    _copy(store, "snapshots", tenant_id, rows)
    rows = [
        {
            "repository_id": repository_id,
            "sequence": one.sequence,
            "run_id": one.run_id,
            "snapshot_id": one.snapshot_id,
            "body": to_body(one),
        }
        for one in receipts
    ]
    _copy(store, "receipts", tenant_id, rows)
    lines = [(now, LogLine(Level.INFO, f"/home/ann/part {number}")) for number in range(LOG_LINES)]
    machine.store.runs.add_events(own.id, lines)
    return own.id


def _addresses(filled: Filled) -> list[tuple[str, str]]:
    runs, machine = filled.runs, filled.machine
    job, deep, now = runs[777].job_name, runs[len(runs) * 9 // 10], runs[0].requested_at
    name, repository = machine.known.agent.name, machine.repository.id
    log, snapshot = filled.logged, f"{7:064x}"

    def moment(days: float) -> str:
        return quote((now - timedelta(days=days)).isoformat())

    def day(days: float) -> str:
        return (now - timedelta(days=days)).date().isoformat()

    lists = f"{API}/runs?limit=50"
    found = [
        ("", ""),
        ("job", f"&job={job}"),
        ("machine", f"&agent={name}"),
        *((f"state {state.value}", f"&state={state.value}") for state in RunState),
        ("job, state", f"&job={job}&state=failed"),
        ("machine, state", f"&agent={name}&state=failed"),
        ("machine, job, state", f"&agent={runs[777].agent_id}&job={job}&state=failed"),
        ("since, until", f"&since={moment(40)}&until={moment(30)}"),
        ("since, until, state", f"&since={moment(40)}&until={moment(30)}&state=cancelled"),
        ("job without runs", "&job=nothing"),
        ("machine, state, none such", f"&agent={name}&state=requested"),
        ("from far down", f"&before={deep.id}"),
        ("job, from far down", f"&job={deep.job_name}&before={deep.id}"),
        ("state, from far down", f"&state=failed&before={deep.id}"),
        ("machine, from far down", f"&agent={deep.agent_id}&before={deep.id}"),
    ]
    return [
        *((f"runs: {words or 'all'}", lists + query) for words, query in found),
        ("runs: 200 of them", f"{API}/runs?limit=200"),
        ("one run", f"{API}/runs/{deep.id}"),
        ("events of a run, 500", f"{API}/runs/{log}/events?after=1000"),
        ("machines", f"{API}/agents"),
        ("jobs", f"{API}/jobs"),
        ("repositories", f"{API}/repositories"),
        ("snapshots of a repository", f"{API}/repositories/{repository}/snapshots"),
        ("receipts of a repository", f"{API}/repositories/{repository}/receipts"),
        ("page: overview", "/overview"),
        ("page: machines", "/machines"),
        ("page: repositories", "/repositories"),
        ("page: repository", f"/repositories/{repository}"),
        ("page: receipts", f"/repositories/{repository}/receipts"),
        ("page: jobs", "/jobs"),
        ("page: job", f"/jobs/{job}"),
        ("page: runs", "/runs"),
        ("page: runs, machine, job, state", f"/runs?machine={name}&job={job}&state=failed"),
        ("page: runs, days", f"/runs?since={day(40)}&until={day(30)}"),
        ("page: runs, from far down", f"/runs?before={deep.id}"),
        ("page: run with a long log", f"/runs/{log}"),
        ("page: snapshots", "/snapshots"),
        ("page: snapshots of a repository", f"/snapshots?repository={repository}"),
        ("page: snapshot", f"/repositories/{repository}/snapshots/{snapshot}"),
        ("page: people", "/people"),
        ("page: profile", "/profile"),
    ]


async def _measured(url: str, process: Process, filled: Filled, times: int, profiled: str) -> None:
    table = Table()
    table.heading(f"{len(filled.runs)} runs")
    client = Client(url, {**filled.headers, "accept": "text/html, application/json;q=0.5"})
    everything: list[float] = []
    for name, address in _addresses(filled):
        if profiled not in name:
            continue
        await client.ask("GET", address)
        before = process.cpu_seconds
        answers = [await client.ask("GET", address) for _ in range(times)]
        spent = 1000 * (process.cpu_seconds - before) / times
        wrong = {one.status for one in answers} - {200}
        if wrong:
            print(f"  {name}: {address} is answered with {wrong}: {answers[0].body[:300]!r}")
            table.is_kept = False
        seconds = [one.seconds for one in answers]
        kilobytes = len(answers[0].body) / 1000
        everything += seconds
        words = f"{name} ({spent:.0f} ms cpu, {kilobytes:.0f} kB)"
        table.times(words, seconds, most={0.95: MOST_P95_MILLISECONDS})
    table.times("everything", everything, most={0.95: MOST_P95_MILLISECONDS})
    print()
    for address, headers in (("/sign-in", {}), ("/overview", filled.headers)):
        size = await _size(url, address, {**headers, "accept": "text/html"})
        words = f"{address} with what it needs, before images"
        table.figure(words, size / 1000, "kB", most=MOST_FIRST_PAGE_KILOBYTES)
    table.leave()


async def _size(url: str, address: str, headers: dict[str, str]) -> int:
    """Return the bytes of a page with its scripts and styles, heads of answers too."""
    client = Client(url, {**headers, "accept-encoding": "gzip"})
    first = await client.ask("GET", address)
    links = [link for link in _LINKS.findall(first.body.decode()) if not link.endswith(".svg")]
    parts = [first, *[await client.ask("GET", link) for link in links]]
    wrong = [part.status for part in parts if part.status != 200]
    if wrong or not links:
        raise SystemExit(f"{address} needs {links}, of which some are answered with {wrong}")
    return sum(part.bytes for part in parts)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--only", default="", help="what is asked for whose name has this in it")
    chosen = parser.parse_args()
    with folder_of_its_own() as folder, postgres(folder) as store:
        filled = fill(store, folder, chosen.runs)
        with serve(store, folder) as (url, process):
            asyncio.run(_measured(url, process, filled, chosen.times, chosen.only))


if __name__ == "__main__":
    main()
