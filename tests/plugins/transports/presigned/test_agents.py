"""The whole way on Ceph's gateway: server, machine without keys, bucket; back with the sheet."""

import os
import socket
import subprocess
import threading
from datetime import timedelta

import pytest
import uvicorn
from attrs import evolve
from eventually import eventually

from backapp_core.assembly import assemble_server
from backapp_core.engine.agent import Agent
from backapp_core.engine.agent_ledger import FOLDER, RunLedger
from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.engine.agent_policy import Policy
from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.engine.request import RestoreWish
from backapp_core.engine.tokens import hash_of
from backapp_core.events import Recording
from backapp_core.manager import PluginManager
from backapp_core.model.agents import EnrolmentToken
from backapp_core.ports.line import Line, Pace
from backapp_core.ports.surroundings import CancelToken, Surroundings
from backapp_core.settings import ServerSettings, Settings
from backapp_core.wire import ENROLMENT_PREFIX
from backapp_web.app import create_app

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
TOKEN = ENROLMENT_PREFIX + "1" * 64
LIMITS = AgentLimits(hello_seconds=0.2, lease_seconds=20, report_seconds=0.05, retry_seconds=0.1)


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load()


class Machine:
    """An agent on a thread, which can be stopped and started again."""

    def __init__(self, plugins, folder):
        self.plugins, self.folder = plugins, folder
        self.cancel = CancelToken()
        self.events = Recording()
        self.line = Line()
        self.thread = None

    @property
    def agent(self):
        around = Surroundings(
            self.folder / "cache",
            self.folder / "state",
            events=self.events,
            cancel=self.cancel,
            line=self.line,
        )
        return Agent(self.plugins, around, self.folder / "agent")

    def start(self):
        self.cancel = CancelToken()
        self.thread = threading.Thread(target=self.agent.run, args=(LIMITS,))
        self.thread.start()

    def stop(self):
        self.cancel.cancel()
        if self.thread is not None:
            self.thread.join()


class Served:
    """A server and where it answers."""

    def __init__(self, server, url):
        self._server, self.url = server, url

    def __getattr__(self, name):
        return getattr(self._server, name)


@pytest.fixture
def server(gateway, bucket, plugins, tmp_path, monkeypatch):
    address = f"s3:{gateway.endpoint}/{bucket}/{tmp_path.name}"
    settings = Settings(
        store=f"sqlite://{tmp_path}/server.sqlite",
        cache_folder=str(tmp_path / "server-cache"),
        state_folder=str(tmp_path / "server-state"),
        server=ServerSettings(buckets={"main": address}, lease_seconds=60),
    )
    listening = socket.create_server(("127.0.0.1", 0))
    with assemble_server(settings, plugins=plugins) as server, listening:
        now = server.fleet.now()
        kept = EnrolmentToken("1" * 32, "laptop", "", now, now + timedelta(hours=1))
        server.tenant(1).agents.allow(kept, hash_of(TOKEN))
        app = create_app(server)
        running = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", gateway.owner[0])
            patch.setenv("AWS_SECRET_ACCESS_KEY", gateway.owner[1])
            yield Served(server, f"http://127.0.0.1:{listening.getsockname()[1]}")
        running.should_exit = True
        thread.join()


@pytest.fixture
def machine(server, plugins, tmp_path, monkeypatch):
    """A machine that joined, with a repository in the bucket; from now on nobody else has keys."""
    machine = Machine(plugins, tmp_path / "machine")
    restored = tmp_path / "restored"
    machine.agent.enrol(server.url, TOKEN, Policy(restore_folders=(bytes(restored),)))
    source = tmp_path / "source"
    source.mkdir()
    for number in range(20):
        (source / f"file{number}").write_bytes(os.urandom(50_000))
    server.add_repository(1, RepositoryWish("documents", "laptop", bucket="main"))
    server.add_job(1, JobWish("documents", "documents", (bytes(source),)))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    machine.start()
    yield machine
    machine.stop()


def ended(server, run_id):
    def final():
        run = server.tenant(1).runs.get(run_id)
        return run if run.state.is_final else None

    return eventually(final)


def test_machine_without_keys_backs_up_and_the_sheet_brings_it_back(
    server, machine, gateway, tmp_path
):
    first = ended(server, server.request_run(1, "documents").id)
    assert (first.state, first.error) == ("completed", "")
    (tmp_path / "source" / "new").write_text("new\n")
    second = ended(server, server.request_run(1, "documents").id)
    assert (second.counts.files_new, second.counts.files_unmodified) == (1, 20)
    repository = server.tenant(1).repositories.get("documents")
    latest, earlier = server.tenant(1).repositories.receipts(repository.id)
    assert (earlier.snapshot_id, latest.snapshot_id) == (first.snapshot_id, second.snapshot_id)
    assert earlier.objects >= 3
    assert earlier.object_bytes > 20 * 50_000

    wish = RestoreWish(repository.name, second.snapshot_id, bytes(tmp_path / "restored"))
    back = ended(server, server.request_restore(1, wish).id)
    assert (back.state, back.error) == ("completed", "")
    subprocess.run(
        ["diff", "-r", tmp_path / "source", tmp_path / "restored" / str(tmp_path / "source")[1:]],
        check=True,
    )

    sheet = machine.agent.sheet("documents")
    by_restic = tmp_path / "by-restic"
    restic = ["restic", "-r", sheet.repository.address, "--no-cache"]
    environment = {
        "PATH": os.environ["PATH"],
        "RESTIC_PASSWORD": sheet.password,
        "AWS_ACCESS_KEY_ID": gateway.owner[0],
        "AWS_SECRET_ACCESS_KEY": gateway.owner[1],
    }
    subprocess.run([*restic, "check", "--read-data"], env=environment, check=True)
    subprocess.run(
        [*restic, "restore", "latest", "--target", by_restic], env=environment, check=True
    )
    subprocess.run(
        ["diff", "-r", tmp_path / "source", by_restic / str(tmp_path / "source")[1:]], check=True
    )
    kept = b"".join(path.read_bytes() for path in machine.folder.rglob("*") if path.is_file())
    assert gateway.owner[1].encode() not in kept
    assert sheet.password.encode() in kept  # else the search would find nothing in any case


def test_what_a_machine_sends_and_fetches_is_counted_against_its_limits(server, machine, tmp_path):
    machine.stop()
    machine.line = Line(upload=Pace(1 << 20), download=Pace(1 << 30))
    assert machine.line.upload.take(0, 0.0) == machine.line.download.take(0, 0.0) == 0.0
    machine.start()
    run = ended(server, server.request_run(1, "documents").id)
    assert (run.state, run.error) == ("completed", "")
    wish = RestoreWish("documents", run.snapshot_id, bytes(tmp_path / "restored"))
    back = ended(server, server.request_restore(1, wish).id)
    assert (back.state, back.error) == ("completed", "")
    # The line has been taken since the clock began, so whoever asks for that moment would wait.
    assert machine.line.upload.take(0, 0.0) > 0
    assert machine.line.download.take(0, 0.0) > 0


def test_run_that_was_saved_and_not_told_is_acknowledged_with_all_that_it_needs(server, machine):
    """As if the machine had lost its power between the snapshot and the word to the server."""
    run = server.request_run(1, "documents")
    first = ended(server, run.id)
    machine.stop()
    again = server.request_run(1, "documents")
    ledger = RunLedger(machine.folder / "state" / "agent" / FOLDER)
    repository = server.tenant(1).repositories.get("documents")
    (snapshot,) = server.tenant(1).repositories.snapshots(repository.id)
    from backapp_core.engine.agent_ledger import BegunRun

    begun = BegunRun(again.id, 1, began_at=snapshot.taken_at - timedelta(seconds=1))
    ledger.put(evolve(begun, known=()))
    machine.start()
    second = ended(server, again.id)
    assert (second.state, second.error) == ("completed", "")
    assert second.snapshot_id == first.snapshot_id
