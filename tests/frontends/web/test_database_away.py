"""A server whose PostgreSQL lets nobody in for a while."""

from collections.abc import Iterator

import pytest
from litestar.testing import TestClient

from backapp_core.model.users import Role
from backapp_web.app import create_app

pytestmark = pytest.mark.interop
HTML = {"accept": "text/html"}


@pytest.fixture
def name(postgres) -> str:
    return postgres.new()


@pytest.fixture
def world(name, postgres, new_server, new_world, tmp_path):
    with new_server(tmp_path, store=postgres.url_of(name)) as server:
        yield new_world(server, server.fleet.tenants()[0].id)


@pytest.fixture
def client(world) -> Iterator[TestClient]:
    with TestClient(create_app(world.server, goes_round=False)) as client:
        yield client


def test_nobody_learns_where_the_database_is_and_everything_works_again(
    client, world, postgres, name
):
    headers = world.person(Role.ADMIN).headers
    form = {"email": "ann@example.org", "password": "correct horse battery staple"}
    account = form | {"name": "Ann"}
    invitation = f"/join/{world.server.invite(world.person(Role.ADMIN).member, Role.VIEWER)[0]}"
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    answers = [
        client.get("/health"),
        client.get("/api/v1/me", headers=headers),
        client.get("/overview", headers=headers | HTML),
        client.get("/sign-in", headers=HTML),
        client.post("/sign-in", data=form, headers=HTML),
        client.post(invitation, data=account, headers=HTML),
        client.post("/api/v1/session", json=form),
        client.post("/api/v1/agent/claim", headers=world.bearer("backapp_agent_" + "7e" * 32)),
    ]
    assert {answer.status_code for answer in answers} == {503}
    for answer in answers:
        assert "database " in answer.text
        assert name not in answer.text
        assert "postgres" not in answer.text
    # The page of the error looks like one.
    assert client.get("/assets/style.css", headers=headers).status_code == 200
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert client.get("/overview", headers=headers | HTML).status_code == 200
