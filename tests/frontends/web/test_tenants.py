"""Two tenants on one server: what is another's is not there."""

import json

import pytest

from backapp_core.codec import to_plain
from backapp_core.engine.request import QuestionWish
from backapp_core.model.runs import RunState
from backapp_core.model.users import Role
from backapp_core.model.work import QuestionKind

JOB = {"repository": "vault", "roots": ["/etc"]}


def paths(world) -> list[tuple[str, str, dict | None]]:
    """Return every route that names something, with the world's own names in it."""
    run, repository = world.run.id, world.repository_id
    question = world.server.ask(
        world.tenant_id, QuestionWish(repository, QuestionKind.SNAPSHOTS, {})
    )
    user = world.person(Role.VIEWER).member.user.id
    return [
        ("GET", f"/api/v1/agents/{world.agent_id}", None),
        ("POST", f"/api/v1/agents/{world.agent_id}/revoke", None),
        ("POST", f"/machines/{world.agent_id}/revoke", None),
        ("GET", f"/api/v1/repositories/{repository}", None),
        ("GET", f"/api/v1/repositories/{repository}/snapshots", None),
        ("GET", f"/api/v1/repositories/{repository}/receipts", None),
        ("GET", f"/api/v1/runs/{run}", None),
        ("GET", f"/api/v1/runs/{run[:12]}", None),
        ("GET", f"/api/v1/runs/{run}/events", None),
        ("GET", f"/api/v1/runs?before={run}", None),
        ("GET", f"/api/v1/runs?agent={world.agent_id}", None),
        ("POST", f"/api/v1/runs/{run}/cancel", None),
        ("GET", f"/api/v1/questions/{question.id}", None),
        ("PATCH", f"/api/v1/users/{user}", {"role": "admin"}),
        ("POST", "/api/v1/jobs", {"name": "mine", "job": JOB | {"repository": repository}}),
        ("PUT", "/api/v1/jobs/documents", JOB | {"repository": repository}),
        (
            *("POST", "/api/v1/repositories"),
            {"name": "mine", "agent": world.agent_id, "folder": "/mine"},
        ),
        (
            *("POST", "/api/v1/questions"),
            {"repository": repository, "kind": "snapshots", "details": {}},
        ),
    ]


def everything(world) -> object:
    store = world.store
    return to_plain(
        [
            *store.users.list(),
            *store.agents.list(),
            *store.repositories.list(),
            *store.jobs.list(),
            store.runs.get(world.run.id),
            *store.users.api_tokens(world.person(Role.OPERATOR).member.user.id),
        ]
    )


def test_administrator_of_another_tenant_finds_nothing_and_changes_nothing(client, ours, theirs):
    wanted = paths(ours)  # makes whom it names
    before = everything(ours)
    for method, path, body in wanted:
        headers = theirs.person(Role.ADMIN).headers
        answer = client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 404, (path, answer.text)
        # As if it were called so by nobody.
        unknown = client.request(
            method,
            _nobodys(ours, path),
            json=json.loads(_nobodys(ours, json.dumps(body))),
            headers=headers,
        )
        assert unknown.status_code == 404
        assert unknown.json()["type"] == answer.json()["type"]
    assert everything(ours) == before


def _nobodys(world, text: str) -> str:
    """Return what names the world's things with names that nothing has."""
    for name in (world.agent_id, world.repository_id, world.run.id, world.run.id[:12]):
        text = text.replace(name, "0" * len(name))
    return text


def test_lists_hold_ones_own_only(client, ours, theirs):
    for world, other in ((ours, theirs), (theirs, ours)):
        for path in ("agents", "repositories", "jobs", "runs", "users", "enrolments"):
            text = client.get(f"/api/v1/{path}", headers=world.person(Role.ADMIN).headers).text
            for foreign in (other.agent_id, other.repository_id, other.run.id):
                assert foreign not in text
            assert f"t{other.tenant_id}.example.org" not in text


def test_same_names_are_two_things(client, ours, theirs):
    found = [
        client.get("/api/v1/repositories/vault", headers=world.person(Role.VIEWER).headers)
        for world in (ours, theirs)
    ]
    ids = [one.json()["repository"]["id"] for one in found]
    assert ids == [ours.repository_id, theirs.repository_id]


@pytest.mark.parametrize("whose", ["another tenant's", "another machine's"])
def test_machine_reaches_nothing_but_its_own(client, ours, theirs, whose):
    key = theirs.agent_key if whose == "another tenant's" else ours.machine(f"m{len(whose)}")[1]
    headers = ours.bearer(key)
    run, repository = ours.run.id, ours.repository_id
    base = "/api/v1/agent"
    ended = to_plain(ours.store.runs.get(run))
    tries = [
        ("GET", f"{base}/repositories/{repository}", None),
        ("POST", f"{base}/repositories/{repository}/created", {"own_id": "ee" * 32}),
        ("POST", f"{base}/repositories/{repository}/sheet", None),
        ("POST", f"{base}/repositories/{repository}/grants/reads", {"names": ["config"]}),
        (
            "POST",
            f"{base}/repositories/{repository}/grants/deletes",
            {"names": ["locks/" + "a" * 64], "hold": {"run_id": run, "fence": 1}},
        ),
        ("GET", f"{base}/repositories/{repository}/objects?prefix=data", None),
        ("POST", f"{base}/runs/{run}/renew", {"fence": 1, "lease_seconds": 5}),
        ("POST", f"{base}/runs/{run}/report", {"fence": 1}),
        ("POST", f"{base}/runs/{run}/hand-back", {"fence": 1}),
        ("POST", f"{base}/runs/{run}/finish", {"fence": 1, "ended": ended}),
    ]
    before = everything(ours)
    for method, path, body in tries:
        answer = client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 404, (path, answer.text)
    assert client.get(f"{base}/repositories", headers=headers).json() != [repository]
    assert everything(ours) == before
    assert ours.store.runs.get(run).state is RunState.COMPLETED


def test_token_of_a_program_is_good_for_its_tenant_only(client, ours, theirs):
    headers = ours.bearer(theirs.api_token)
    assert client.get(f"/api/v1/runs/{ours.run.id}", headers=headers).status_code == 404
    assert client.get(f"/api/v1/runs/{theirs.run.id}", headers=headers).status_code == 200
