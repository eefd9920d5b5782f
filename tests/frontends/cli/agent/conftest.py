"""A real server, in this process or as one of its own, and what the machine's commands meet."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from attrs import evolve
from eventually import eventually

from backapp_core.assembly import assemble_server, load_plugins
from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.engine.tokens import hash_of
from backapp_core.model.agents import EnrolmentToken
from backapp_core.model.runs import Run
from backapp_core.settings import ServerSettings, Settings
from backapp_core.wire import ENROLMENT_PREFIX
from backapp_web.app import create_app

PROGRAM = [sys.executable, "-W", "error", "-m", "backapp_cli"]


@pytest.fixture(scope="session")
def all_plugins():
    return load_plugins()


class Office:
    """What a person does at the server, without the pages."""

    def __init__(self, folder: Path, plugins) -> None:
        self.settings = Settings(
            store=f"sqlite://{folder}/server.sqlite",
            cache_folder=str(folder / "server-cache"),
            state_folder=str(folder / "server-state"),
            server=ServerSettings(lease_seconds=600, alive_seconds=600, tick_seconds=1),
        )
        self.server = assemble_server(self.settings, plugins=plugins)
        self.url = ""
        self._count = 0

    @property
    def store(self):
        return self.server.tenant(1)

    def token(self, name="laptop", *, lasts=timedelta(hours=1)) -> str:
        """Let a machine join and return the token."""
        self._count += 1
        token = f"{ENROLMENT_PREFIX}{self._count:064x}"
        now = self.server.fleet.now()
        kept = EnrolmentToken(f"{self._count:032x}", name, "", now, now + lasts)
        self.store.agents.allow(kept, hash_of(token))
        return token

    def repository(self, folder: Path, name="documents"):
        wish = RepositoryWish(name, "laptop", folder=bytes(folder))
        return self.server.add_repository(1, wish)

    def job(self, source: Path, name="documents", **changes) -> None:
        job = self.server.add_job(1, JobWish(name, "documents", (bytes(source),)))
        if changes:
            self.store.jobs.replace(evolve(job, **changes))

    def ask(self, name="documents") -> str:
        return self.server.request_run(1, name).id

    def ended(self, run_id: str) -> Run:
        def final():
            run = self.store.runs.get(run_id)
            return run if run.state.is_final else None

        return eventually(final)


@pytest.fixture
def office(tmp_path, all_plugins):
    office = Office(tmp_path, all_plugins)
    with office.server:
        yield office


@pytest.fixture
def served(office):
    """The server, answering in this process."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        config = uvicorn.Config(create_app(office.server), log_config=None, ws="websockets-sansio")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        office.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield office
        running.should_exit = True
        thread.join()


@pytest.fixture
def start(tmp_path) -> Callable[..., subprocess.Popen]:
    """Return a function that starts a command as a process; it is killed at the end."""
    running = []

    def start(*arguments, **options) -> subprocess.Popen:
        log = (tmp_path / f"process-{len(running)}.log").open("wb")
        running.append(
            subprocess.Popen(
                [*PROGRAM, *map(os.fspath, arguments)],
                stdin=subprocess.DEVNULL,
                stderr=log,
                **options,
            )
        )
        log.close()
        return running[-1]

    yield start
    for one in running:
        if one.poll() is None:
            one.kill()
        one.communicate()


@pytest.fixture
def serving(office, start, tmp_path):
    """Return a function that starts a server process on the office's store, at the same port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = tmp_path / "server.toml"
    settings = office.settings
    config.write_text(
        f'store = "{settings.store}"\nstate_folder = "{settings.state_folder}"\n'
        f'cache_folder = "{settings.cache_folder}"\n[server]\nlease_seconds = 600.0\n'
    )

    def serving() -> subprocess.Popen:
        server = start(
            "--json", "serve", "--listen", f"127.0.0.1:{port}", "--config", config,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        said = json.loads(server.stdout.readline())
        office.url = said["url"]
        return server

    return serving
