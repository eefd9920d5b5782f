"""The `remote` store keeps the contract of `Work` against a real server, over real sockets."""

import socket
import threading

import pytest
import uvicorn

from backapp_core.assembly import assemble_server, load_plugins
from backapp_core.model.grants import ObjectSeen
from backapp_core.settings import ServerSettings, Settings
from backapp_core.testing.fleet_fixtures import claimed, make_machine, make_snapshot, sees_all
from backapp_core.testing.work_contract import WorkContract
from backapp_plugins.stores import remote
from backapp_web.app import create_app


class Seeing:
    """A server whose look into buckets is what the kit says."""

    def __init__(self, server):
        self._server = server
        self.witnesses = {}

    def __getattr__(self, name):
        return getattr(self._server, name)

    def work_of(self, known):
        witness = self.witnesses[known.agent.id]
        return self._server.tenant(known.tenant_id).work(known.agent.id, witness)


@pytest.fixture(scope="session")
def all_plugins():
    return load_plugins()


@pytest.fixture
def served(fleet, tmp_path, all_plugins):
    """The URL of a server on the store of ``fleet``, and the server."""
    settings = Settings(
        store=f"sqlite://{tmp_path / 'fleet.db'}",
        cache_folder=str(tmp_path / "server-cache"),
        state_folder=str(tmp_path / "server-state"),
        server=ServerSettings(lease_seconds=600, alive_seconds=600),
    )
    listening = socket.create_server(("127.0.0.1", 0))
    with assemble_server(settings, plugins=all_plugins) as server, listening:
        seeing = Seeing(server)
        config = uvicorn.Config(create_app(seeing), log_config=None, ws="websockets-sansio")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", seeing
        running.should_exit = True
        thread.join()


@pytest.mark.interop
class TestRemoteWork(WorkContract):
    @pytest.fixture
    def fleet(self, sqlite_fleet):
        return sqlite_fleet

    @pytest.fixture
    def open_work(self, served, surroundings):
        url, server = served
        opened = []

        def open_work(machine, witness):
            server.witnesses[machine.id] = witness
            opened.append(remote.open_work(url, machine.key, surroundings))
            return opened[-1]

        yield open_work
        for work in opened:
            work.close()

    def test_backup_of_very_many_objects_is_acknowledged(self, fleet, open_work):
        machine = make_machine(fleet, 1)
        machine.job()
        machine.run()
        work = open_work(machine, sees_all)
        claim = claimed(work)
        work.report_created(machine.repository.id, "e" * 64)
        objects = [ObjectSeen(f"data/{number:064x}", 16_000_000) for number in range(50_000)]
        receipt = work.acknowledge(claim.run.id, claim.fence, make_snapshot(), objects)
        assert receipt.objects == 50_000
        assert receipt.object_bytes == 50_000 * 16_000_000
