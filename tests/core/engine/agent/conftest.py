"""A server's store in an SQLite file, one machine of it, and the loop that works for it."""

import hashlib
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve
from eventually import eventually

from backapp_core.clock import SystemClock
from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.engine.agent_loop import AgentLoop
from backapp_core.engine.agent_policy import Policy, policy_text
from backapp_core.errors import BackappError, StoreUnavailable
from backapp_core.events import Recording
from backapp_core.manager import PluginManager
from backapp_core.model.agents import EnrolmentToken
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import RestoreOrder, Run, RunKind, RunState
from backapp_core.model.work import Question, QuestionKind
from backapp_core.ports.surroundings import CancelToken, Surroundings

LIMITS = AgentLimits(
    hello_seconds=0.1,
    alive_seconds=1.0,
    lease_seconds=3.0,
    report_seconds=0.05,
    retry_seconds=0.05,
)
AGENT = "a" * 32
REPOSITORY = "b" * 32


@pytest.fixture(autouse=True)
def quick_repositories(cheap_keys: None, locks_are_seen_at_once: None) -> None:
    """Each machine is alone with its repository."""


@pytest.fixture(scope="session")
def plugins():
    return PluginManager.load()


class Site:
    """What the server remembers, and the machine that works for it."""

    def __init__(self, plugins: PluginManager, folder: Path) -> None:
        self.plugins = plugins
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir()
        (self.source / "letter.txt").write_text("Dear reader,\n")
        (self.source / "sub").mkdir()
        (self.source / "sub" / "notes.md").write_text("# Notes\n" * 100)
        self.policy_file = folder / "policy.toml"
        self.restored = folder / "restored"
        self.allow(Policy(restore_folders=(bytes(self.restored),)))
        url = f"sqlite://{folder / 'server.sqlite'}"
        self.around = Surroundings(folder / "server-cache", folder / "server-state")
        self.fleet = plugins.store_for("sqlite").open_fleet(url, self.around)
        tenants = self.fleet.tenants()
        tenant = tenants[0] if tenants else self.fleet.add_tenant("default")
        self.tenant = self.fleet.tenant(tenant.id)
        now = self.fleet.now()
        token = EnrolmentToken("c" * 32, "laptop", "", now, now + timedelta(hours=1))
        self.tenant.agents.allow(token, digest("token"))
        self.fleet.enrol(digest("token"), AGENT, digest("key"))
        self.work = self.tenant.work(AGENT, lambda repository, objects: None)
        self.runs = self.tenant.runs
        self.repository = ManagedRepository(
            REPOSITORY,
            "documents",
            AGENT,
            str(folder / "repository"),
            is_local=True,
            created_at=now,
        )
        self.tenant.repositories.add(self.repository)
        self.tenant.jobs.add(self.job("documents"))
        self._stopping = []

    def job(self, name, **changes):
        job = Job(
            name=name,
            repository=f"backapp:{REPOSITORY}",
            roots=(bytes(self.source),),
            agent_id=AGENT,
        )
        return evolve(job, **changes)

    def allow(self, policy: Policy) -> None:
        self.policy_file.write_text(policy_text(policy))

    def ask(self, job_name="documents", **details) -> str:
        """Want a run and return its id."""
        run = Run(
            id=self.around.random_bytes(16).hex(),
            job_name=job_name,
            state=RunState.REQUESTED,
            requested_at=self.fleet.now(),
            agent_id=AGENT,
            **details,
        )
        self.runs.add(run)
        return run.id

    def ask_restore(self, snapshot_id, target, paths=()) -> str:
        order = RestoreOrder(REPOSITORY, snapshot_id, bytes(target), tuple(map(bytes, paths)))
        return self.ask("", kind=RunKind.RESTORE, restore=order)

    def question(self, kind: QuestionKind, **details) -> Question:
        """Ask, wait, and return the question with its answer."""
        now = self.fleet.now()
        asked = Question(
            self.around.random_bytes(16).hex(),
            AGENT,
            kind,
            {"repository_id": REPOSITORY, **details},
            now,
            now + timedelta(minutes=1),
        )
        self.tenant.questions.ask(asked)

        def answered():
            found = self.tenant.questions.get(asked.id)
            return found if found and found.answer else None

        return eventually(answered)

    def ended(self, run_id: str) -> Run:
        """Wait for the end of a run and return it."""

        def final():
            run = self.runs.get(run_id)
            return run if run.state.is_final else None

        return eventually(final)

    def running(self, run_id: str) -> Run:
        def running():
            run = self.runs.get(run_id)
            return run if run.state is RunState.RUNNING else None

        return eventually(running)

    def working(self, work=None, *, state="state", limits=LIMITS, clock=None) -> "Working":
        """Start the machine's loop on a thread; it is stopped at the end of the test."""
        begun = Working(
            self, work or self.work, self.folder / state, limits, clock or SystemClock()
        )
        self._stopping.append(begun)
        return begun

    def close(self) -> None:
        for begun in self._stopping:
            begun.stop()
        self.fleet.close()


class Line:
    """A work whose line to the server can be cut, for all that is asked or for some of it."""

    def __init__(self, work, *only: str) -> None:
        self._work = work
        self._only = only
        self.is_cut = False

    def __getattr__(self, name):
        asked = getattr(self._work, name)

        def ask(*arguments, **options):
            if self.is_cut and (not self._only or name in self._only):
                raise StoreUnavailable("the server cannot be reached")
            return asked(*arguments, **options)

        return ask


@pytest.fixture
def line():
    """Return a function: a work, and what alone is cut, to a line."""
    return Line


class Gate:
    """A job whose content comes through a pipe, so that a test decides when it is complete."""

    def __init__(self, site, name: str) -> None:
        self.pipe = site.folder / f"{name}.pipe"
        os.mkfifo(self.pipe)
        site.allow(Policy(commands=True, restore_folders=(bytes(site.restored),)))
        script = 'echo $$ > "$1.pid"; exec cat "$1"'
        settings = {"command": ["sh", "-c", script, "sh", str(self.pipe)]}
        site.tenant.jobs.add(
            site.job(name, roots=(b"/dump.sql",), scanner="command", scanner_settings=settings)
        )
        self._held = []

    def wait(self) -> None:
        """Return when somebody has begun to read."""
        self._held.append(os.open(self.pipe, os.O_WRONLY))

    @property
    def pid(self) -> int:
        """Which process reads."""
        return int(Path(f"{self.pipe}.pid").read_text())

    def open(self) -> None:
        """Let what reads come to an end."""
        self._held = self._held or [os.open(self.pipe, os.O_WRONLY)]
        os.write(self._held[-1], b"create table;\n")
        self.close()

    def close(self) -> None:
        while self._held:
            os.close(self._held.pop())


@pytest.fixture
def gate(site):
    """Return a function that makes a job that waits in the middle."""
    made = []

    def make(name="dump"):
        made.append(Gate(site, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Working:
    """A loop on a thread, as a process would be."""

    def __init__(self, site, work, state, limits, clock) -> None:
        self.events = Recording()
        self.cancel = CancelToken()
        self.error = None
        self.surroundings = Surroundings(
            site.folder / "cache",
            state,
            events=self.events,
            cancel=self.cancel,
            threads=1,
            clock=clock,
        )
        self.loop = AgentLoop(
            site.plugins,
            self.surroundings,
            work,
            policy_file=site.policy_file,
            folder=state / "agent",
            limits=limits,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.loop.run()
        except BackappError as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self.cancel.cancel()
        self.join()

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events.events if hasattr(event, "text")]


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture
def site(plugins, tmp_path):
    site = Site(plugins, tmp_path)
    yield site
    site.close()


@pytest.fixture(scope="module")
def settled(plugins, tmp_path_factory):
    """A site whose machine works, with one snapshot, for tests that only look and restore."""
    site = Site(plugins, tmp_path_factory.mktemp("settled"))
    program = site.source / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o6755)
    site.loop = site.working()
    site.kept = site.ended(site.ask()).snapshot_id
    yield site
    site.close()
