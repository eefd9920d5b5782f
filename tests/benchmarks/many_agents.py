"""Serves 500 machines and 100 browsers for a while, and says how long answers took.

    python tests/benchmarks/many_agents.py [--minutes 10]

Every machine says hello and asks for work every 30 seconds, evenly spread, over a connection that
it keeps; 100 of them and as many browsers hold a WebSocket open. Runs are asked for now and then,
which the machines do and report, and of which every open page hears. The server is `backapp serve`
on PostgreSQL; this process is the client, and its own time is part of what an answer takes.
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from serving_bench import (
    Answer,
    Client,
    Process,
    Table,
    engine_on,
    folder_of_its_own,
    postgres,
    serve,
    somebody,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from backapp_core.codec import event_to_plain, from_plain, to_plain
from backapp_core.events import Level, LogLine, Progress, Verb
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import SCHEME
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Counts
from backapp_core.model.users import Role
from backapp_core.model.work import Claim
from backapp_core.testing.fleet_fixtures import Machine, make_machine, make_report
from backapp_core.wire import AGENT, API, RUNS, SOCKET

MOST_P99_MILLISECONDS = 250
MOST_MEGABYTES = 300
HELLO_SECONDS = 30.0
LEASE_SECONDS = 60.0
ALIVE_SECONDS = 90.0
REPORTS = 3


@define
class Seen:
    """What came of everything that was asked."""

    seconds: dict[str, list[float]] = field(factory=dict)
    faults: Counter[str] = field(factory=Counter)
    done: list[float] = field(factory=list)
    """Of each run, from the wish to its end."""
    wished: dict[str, float] = field(factory=dict)
    woken: int = 0
    heard: Counter[str] = field(factory=Counter)
    """By browser."""

    def answer(self, what: str, got: Answer, *good: int) -> bool:
        """Count an answer; say whether it is a good one."""
        self.seconds.setdefault(what, []).append(got.seconds)
        if got.status not in good:
            self.faults[f"{what}: {got.status} {got.body[:200].decode(errors='replace')}"] += 1
        return got.status in good


@define(eq=False)
class Agent:
    """One simulated machine."""

    machine: Machine
    instance: str
    url: str
    seen: Seen
    has_socket: bool
    client: Client
    woken: asyncio.Event = field(factory=asyncio.Event)

    async def live(self, first_seconds: float) -> None:
        """Say hello and work until cancelled."""
        await asyncio.sleep(first_seconds)
        while True:
            try:
                await self._poll()
            except OSError as error:
                self.seen.faults[f"connection: {error}"] += 1
            try:
                await asyncio.wait_for(self.woken.wait(), HELLO_SECONDS)
            except TimeoutError:
                continue
            self.woken.clear()

    async def listen(self) -> None:
        """Hear of work until cancelled."""
        headers = self.client.headers
        async with connect(_socket(self.url, SOCKET), additional_headers=headers) as socket:
            async for message in socket:
                self.seen.woken += 1
                if json.loads(message)["topic"] == "work":
                    self.woken.set()
        self.seen.faults["socket of a machine was closed"] += 1

    async def _poll(self) -> None:
        report = to_plain(make_report(self.instance))
        body = {"report": report, "alive_seconds": ALIVE_SECONDS}
        await self._ask("hello", f"{AGENT}/hello", body, 200)
        while True:
            body = {"instance": self.instance, "lease_seconds": LEASE_SECONDS}
            got = await self._ask("claim", f"{AGENT}/claim", body, 200, 204)
            if got is None or got.status == 204:
                return
            await self._run(from_plain(got.plain, Claim, source="a claim"))

    async def _run(self, claim: Claim) -> None:
        run, fence = claim.run, claim.fence
        for number in range(REPORTS):
            event = event_to_plain(LogLine(Level.INFO, f"part {number}"))
            body = {
                "fence": fence,
                "events": [[datetime.now(UTC).isoformat(), event]],
                "progress": to_plain(Progress(Verb.BACKUP, number, number * 1000)),
            }
            await self._ask("report", f"{RUNS}/{run.id}/report", body, 204)
            body = {"fence": fence, "lease_seconds": LEASE_SECONDS}
            await self._ask("renew", f"{RUNS}/{run.id}/renew", body, 200)
        ended = run.complete(at=datetime.now(UTC), snapshot_id="5a" * 32, counts=Counts())
        body = {"fence": fence, "ended": to_plain(ended)}
        await self._ask("finish", f"{RUNS}/{run.id}/finish", body, 204)
        if run.id in self.seen.wished:
            now = asyncio.get_running_loop().time()
            self.seen.done.append(now - self.seen.wished.pop(run.id))

    async def _ask(self, what: str, path: str, body: Any, *good: int) -> Answer | None:
        got = await self.client.ask("POST", path, body)
        return got if self.seen.answer(what, got, *good) else None


async def look(url: str, headers: dict[str, str], name: str, seen: Seen) -> None:
    """Hold a page open until cancelled, and count what it hears."""
    shown = {"cookie": headers["cookie"], "origin": url}
    async with connect(_socket(url, "/live"), additional_headers=shown) as socket:
        seen.heard[name] = 0
        async for _ in socket:
            seen.heard[name] += 1
    seen.faults["socket of a page was closed"] += 1


async def wish(
    url: str, headers: dict[str, str], jobs: Sequence[str], every_seconds: float, seen: Seen
) -> None:
    """Ask for runs until cancelled."""
    client = Client(url, headers)
    for number in range(10**9):
        await asyncio.sleep(every_seconds)
        now = asyncio.get_running_loop().time()
        got = await client.ask("POST", f"{API}/jobs/{jobs[number * 7 % len(jobs)]}/run", {})
        if seen.answer("run now", got, 202, 201):
            seen.wished[got.plain["id"]] = now


def _socket(url: str, path: str) -> str:
    return url.replace("http", "ws", 1) + path


async def _watched(task: Any, seen: Seen) -> None:
    """Count what ends a part of the world before its time."""
    try:
        await task
    except (OSError, ConnectionClosed) as error:
        seen.faults[f"{type(error).__name__}: {error}"] += 1


async def _measured(
    chosen: argparse.Namespace,
    url: str,
    process: Process,
    machines: Sequence[Machine],
    pages: Sequence[dict[str, str]],
) -> None:
    seen = Seen()
    agents = [
        Agent(
            machine,
            f"{number:032x}",
            url,
            seen,
            has_socket=number <= chosen.sockets,
            client=Client(url, {"authorization": f"Bearer {machine.key}"}),
        )
        for number, machine in enumerate(machines, start=1)
    ]
    parts = [look(url, headers, str(number), seen) for number, headers in enumerate(pages)]
    parts += [one.listen() for one in agents if one.has_socket]
    spread = HELLO_SECONDS / len(agents)
    chance = random.Random(1)
    places = chance.sample(range(len(agents)), len(agents))
    parts += [one.live(place * spread) for one, place in zip(agents, places, strict=True)]
    if chosen.runs_a_minute:
        jobs = [f"job-{number}" for number in range(1, len(agents) + 1)]
        parts.append(wish(url, pages[0], jobs, 60 / chosen.runs_a_minute, seen))
    idle, began = process.cpu_seconds, asyncio.get_running_loop().time()
    tasks = [asyncio.create_task(_watched(part, seen)) for part in parts]
    await asyncio.sleep(60 * chosen.minutes)
    taken, passed = process.cpu_seconds - idle, asyncio.get_running_loop().time() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    _show(chosen, seen, process, agents, taken / passed)


def _show(
    chosen: argparse.Namespace,
    seen: Seen,
    process: Process,
    agents: Sequence[Agent],
    share: float,
) -> None:
    table = Table()
    print(f"{len(agents)} machines, 2 x {chosen.sockets} sockets, {chosen.minutes:g} minutes")
    table.heading("answers")
    for what, seconds in seen.seconds.items():
        table.times(what, seconds, most={})
    together = [one for seconds in seen.seconds.values() for one in seconds]
    table.times("all", together, most={0.99: MOST_P99_MILLISECONDS})
    if seen.done:
        table.times("runs, from the wish to the end", seen.done, most={})
    print("\nthe server")
    table.figure("most memory ever", process.peak_megabytes, "MB", most=MOST_MEGABYTES)
    table.figure("memory at the end", process.megabytes, "MB")
    table.figure("share of one core", 100 * share, "%")
    made = sum(one.client.connections for one in agents)
    table.figure("connections a machine made", made / len(agents))
    table.figure("messages to machines", seen.woken)
    if seen.heard:
        table.figure("messages to the page that heard least", min(seen.heard.values()))
    deaf = chosen.sockets - sum(1 for count in seen.heard.values() if count)
    if seen.done:
        table.figure("pages that heard nothing", deaf, most=0)
    table.figure("errors", sum(seen.faults.values()), most=0)
    for fault, count in seen.faults.most_common(20):
        print(f"    {count} x {fault}")
    table.leave()


def _fill(store: str, folder: Path, chosen: argparse.Namespace) -> Any:
    with engine_on(store, folder) as server:
        fleet = server.fleet
        now = fleet.now()
        machines = [make_machine(fleet, number) for number in range(1, chosen.agents + 1)]
        for number, machine in enumerate(machines, start=1):
            schedule = Schedule(f"{number % 60} {number % 24} * * *", "Europe/Berlin")
            job = Job(
                f"job-{number}",
                f"{SCHEME}:{machine.repository.id}",
                (b"/home",),
                agent_id=machine.id,
                schedule=schedule,
            )
            machine.store.jobs.add(evolve(job, due_after=now))
        pages = [somebody(server, f"p{number}", Role.ADMIN) for number in range(chosen.sockets)]
    return machines, pages


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--sockets", type=int, default=100, help="of machines, and of pages")
    parser.add_argument("--runs-a-minute", type=float, default=20)
    chosen = parser.parse_args()
    with folder_of_its_own() as folder, postgres(folder) as store:
        machines, pages = _fill(store, folder, chosen)
        with serve(store, folder) as (url, process):
            asyncio.run(_measured(chosen, url, process, machines, pages))


if __name__ == "__main__":
    main()
