"""A server on a real SQLite database, with two tenants that have one of everything."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from litestar.testing import TestClient

from backapp_core.assembly import assemble_server, load_plugins
from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.engine.passwords import hash_password
from backapp_core.engine.server import Server
from backapp_core.engine.sign_in import open_session
from backapp_core.engine.tokens import new_id
from backapp_core.model.agents import AgentReport
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.users import Member, Role, User
from backapp_core.settings import ServerSettings, Settings
from backapp_core.wire import AGENT_KEY_PREFIX, EnrolBody
from backapp_web.addresses import Place, listening
from backapp_web.app import create_app
from backapp_web.callers import csrf_of

PASSWORD = "correct horse battery staple"
SNAPSHOT = "5a" * 32


@cache
def plugins():
    return load_plugins()


@cache
def kept_password() -> str:
    return hash_password(PASSWORD)


@dataclass
class Person:
    """Somebody with a session."""

    member: Member
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"cookie": f"backapp_session={self.token}", "x-csrf-token": csrf_of(self.token)}


@dataclass
class World:
    """One tenant's things."""

    server: Server
    tenant_id: int
    people: dict[str, Person] = field(default_factory=dict)
    agent_id: str = ""
    agent_key: str = ""
    revoked_key: str = ""
    repository_id: str = ""
    run: Run | None = None
    question_id: str = ""
    api_token: str = ""

    @property
    def store(self):
        return self.server.tenant(self.tenant_id)

    def person(self, role: Role) -> Person:
        if role.value not in self.people:
            self.people[role.value] = self.somebody(role.value, role)
        return self.people[role.value]

    def somebody(self, name: str, role: Role) -> Person:
        fleet = self.server.fleet
        address = f"{name}@t{self.tenant_id}.example.org"
        user = User(new_id(self.server.surroundings), address, name, role, fleet.now())
        member = fleet.register(self.tenant_id, user, kept_password())
        return self.signed_in(member)

    def signed_in(self, member: Member) -> Person:
        server = self.server
        opened = open_session(server.fleet, server.surroundings, server.settings, member)
        return Person(member, opened.token)

    def machine(self, name: str) -> tuple[str, str]:
        token, _ = self.server.allow_agent(self.person(Role.ADMIN).member, name)
        agent_id = new_id(self.server.surroundings)
        key = AGENT_KEY_PREFIX + self.server.surroundings.random_bytes(32).hex()
        known, _ = self.server.enrol(EnrolBody(token, agent_id, key))
        self.server.work_of(known).hello(report(), alive_seconds=0.001)
        return agent_id, key

    def fill(self) -> "World":
        """Make one of everything."""
        server = self.server
        self.agent_id, self.agent_key = self.machine("pluto")
        revoked_id, self.revoked_key = self.machine("charon")
        server.revoke(self.tenant_id, revoked_id)
        wish = RepositoryWish("vault", "pluto", folder=b"/srv/backup")
        self.repository_id = server.add_repository(self.tenant_id, wish).id
        server.add_job(self.tenant_id, JobWish("documents", "vault", (b"/home/ann",)))
        self.run = server.request_run(self.tenant_id, "documents")
        self.api_token, _ = server.add_api_token(self.person(Role.OPERATOR).member, "robot", None)
        self.back_up()
        return self

    def back_up(self, snapshot_id: str = SNAPSHOT) -> None:
        """Let the machine do the run that waits, and have its snapshot acknowledged."""
        work = self.server.work_of(self.server.recognise(self.agent_key))
        claim = work.claim("ab" * 16, lease_seconds=30)
        taken = self.server.fleet.now()
        snapshot = Snapshot(snapshot_id, taken, "pluto", "ann", (b"/home/ann",))
        work.report_created(self.repository_id, "cd" * 32)
        work.acknowledge(claim.run.id, claim.fence, snapshot, ())
        ended = claim.run.complete(at=taken, snapshot_id=snapshot.id, counts=snapshot.counts)
        work.finish(claim.fence, ended)

    def bearer(self, token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}


def report(**changes: Any) -> AgentReport:
    said: dict[str, Any] = {
        "instance": "ab" * 16,
        "version": "0.1.0",
        "hostname": "pluto",
        "platform": "Linux",
        "restore_folders": (b"/restore",),
    }
    return AgentReport(**said | changes)


def make_server(folder: Path, store: str = "", **settings: Any) -> Server:
    return assemble_server(
        Settings(
            store=store or f"sqlite:///{folder}/server.sqlite",
            cache_folder=str(folder / "cache"),
            state_folder=str(folder / "state"),
            server=ServerSettings(**settings),
        ),
        plugins=plugins(),
    )


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests, since an application takes a second to be made."""
    with make_server(tmp_path_factory.mktemp("server"), open_registration=True) as made:
        yield made


@pytest.fixture(scope="session")
def new_server():
    """Return a function: a folder and settings to a server on an empty database."""
    return make_server


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    """What makes worlds, for tests with databases of their own."""
    return World


@pytest.fixture(scope="session")
def ours(server: Server) -> World:
    """A tenant that has one of everything."""
    return World(server, server.fleet.tenants()[0].id).fill()


@pytest.fixture(scope="session")
def theirs(server: Server, ours: World) -> World:
    """Another one."""
    return World(server, server.fleet.add_tenant("other").id).fill()


@pytest.fixture(scope="session")
def open_client(server: Server) -> Iterator[TestClient]:
    with TestClient(create_app(server, goes_round=False), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def url(server: Server, ours: World) -> Iterator[str]:
    """Where the server can be reached by other processes, such as a browser."""
    with listening(Place("127.0.0.1", 0)) as taken:
        config = uvicorn.Config(
            create_app(server, goes_round=False), log_config=None, ws="websockets-sansio"
        )
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [taken]})
        thread.start()
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        running.should_exit = True
        thread.join()


@pytest.fixture
def client(open_client: TestClient, server: Server) -> TestClient:
    """What sends requests; nobody is signed in, and no wrong password was tried from there."""
    open_client.cookies.clear()
    server.fleet.forget_failures("client:testclient")
    return open_client


@pytest.fixture
def admin(ours: World) -> dict[str, str]:
    """Headers of a request by an administrator's browser."""
    return ours.person(Role.ADMIN).headers


@pytest.fixture
def agent(ours: World) -> dict[str, str]:
    """Headers of a request by a machine."""
    return ours.bearer(ours.agent_key)
