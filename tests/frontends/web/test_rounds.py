"""A server requests what is due by itself."""

import threading
from datetime import UTC, datetime

from attrs import evolve
from litestar.testing import TestClient

from backapp_core.engine.configure import JobWish
from backapp_core.model.schedules import Schedule
from backapp_core.ports.stores import RunFilter
from backapp_web.app import create_app


def test_job_that_is_due_is_requested_while_the_server_runs(new_server, new_world, tmp_path):
    with new_server(tmp_path, tick_seconds=0.05) as server:
        world = new_world(server, server.fleet.tenants()[0].id).fill()
        wish = JobWish("hourly", "vault", (b"/home",), schedule=Schedule("0 * * * *"))
        job = server.add_job(world.tenant_id, wish)
        due = threading.Event()

        def announced(topic: str, subject_id: str) -> None:
            if topic == "runs" and world.store.runs.get(subject_id).due_at is not None:
                due.set()

        with server.fleet.listen(announced), TestClient(create_app(server)) as client:
            world.store.jobs.replace(evolve(job, due_after=datetime(2026, 1, 1, tzinfo=UTC)))
            assert due.wait(30)
            [run] = world.store.runs.list(RunFilter(job_name="hourly"))
            assert run.due_at.minute == 0
            assert client.get("/health").status_code == 200
