"""Two servers on one PostgreSQL: what one does, the other knows."""

import json
from collections.abc import Iterator

import pytest
from litestar.exceptions import WebSocketDisconnect
from litestar.testing import TestClient

from backapp_core.engine.server import Server
from backapp_core.model.users import Role
from backapp_web.app import create_app

pytestmark = pytest.mark.interop
PASSWORD = "correct horse battery staple"
AGENT = "/api/v1/agent/socket"


@pytest.fixture(scope="module")
def servers(postgres, new_server, tmp_path_factory) -> Iterator[tuple[Server, Server]]:
    url = postgres.url_of(postgres.new())
    with (
        new_server(tmp_path_factory.mktemp("one"), store=url) as one,
        new_server(tmp_path_factory.mktemp("two"), store=url) as two,
    ):
        yield one, two


@pytest.fixture(scope="module")
def world(servers, new_world):
    one, _ = servers
    return new_world(one, one.fleet.tenants()[0].id).fill()


@pytest.fixture(scope="module")
def clients(servers) -> Iterator[tuple[TestClient, TestClient]]:
    one, two = (TestClient(create_app(server, goes_round=False)) for server in servers)
    with one, two:
        yield one, two


def test_session_of_one_server_is_one_of_the_other_until_it_ends(clients, world):
    _, two = clients
    headers = world.somebody("traveller", Role.VIEWER).headers
    assert [client.get("/api/v1/me", headers=headers).status_code for client in clients] == [
        200
    ] * 2
    assert two.delete("/api/v1/session", headers=headers).status_code == 204
    assert [client.get("/api/v1/me", headers=headers).status_code for client in clients] == [
        401
    ] * 2


def test_guesses_at_both_servers_are_counted_together(clients, world):
    somebody = world.somebody("guessed", Role.VIEWER)
    body = {"email": somebody.member.user.email, "password": "not the password"}
    statuses = [
        clients[turn % 2].post("/api/v1/session", json=body).status_code for turn in range(11)
    ]
    assert statuses == [401] * 10 + [429]
    world.server.fleet.forget_failures("client:testclient")


def test_machine_at_one_server_hears_of_what_is_asked_at_the_other(clients, world):
    one, two = clients
    headers = world.bearer(world.agent_key)
    with two.websocket_connect(AGENT, headers=headers) as socket:
        admin = world.person(Role.ADMIN).headers
        run = one.post("/api/v1/jobs/documents/run", headers=admin).json()
        heard = json.loads(socket.receive_text(timeout=20))
        assert (heard["topic"], heard["subject_id"]) == ("work", run["id"])


def test_key_that_is_taken_back_at_one_server_is_no_good_at_the_other(clients, world):
    one, two = clients
    agent_id, key = world.machine("sedna")
    headers = world.bearer(key)
    with two.websocket_connect(AGENT, headers=headers) as socket:
        admin = world.person(Role.ADMIN).headers
        assert one.post(f"/api/v1/agents/{agent_id}/revoke", headers=admin).status_code == 200
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text(timeout=20)
    assert two.get("/api/v1/agent/repositories", headers=headers).status_code == 401


def test_text_that_postgres_cannot_keep_is_refused_before(clients, world):
    admin = world.person(Role.ADMIN).headers
    for path in ("/api/v1/jobs/%00", "/api/v1/runs?job=%00", "/api/v1/runs/%FF"):
        assert clients[0].get(path, headers=admin).status_code in {400, 404}
    body = {"email": "a\0b@example.org", "password": "whatever it is"}
    assert clients[0].post("/api/v1/session", json=body).status_code == 400
    assert clients[0].post("/sign-in", data=body).status_code == 400
