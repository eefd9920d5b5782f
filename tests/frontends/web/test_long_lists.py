"""Lists that are longer than a page, on pages and for programs; and the chain of receipts."""

import re

import pytest
import sqlalchemy as sa
from attrs import evolve

from backapp_core.model.users import Role
from backapp_core.server_api import ManagedRepository

MANY = 230


@pytest.fixture(scope="module")
def many(server, ours, new_world):
    """A tenant with more of everything than fits onto a page or into a choice."""
    world = new_world(server, server.fleet.add_tenant("many").id).fill()
    store = world.store
    job, vault = store.jobs.get("documents"), store.repositories.get("vault")
    for number in range(MANY):
        store.jobs.add(evolve(job, name=f"j{number:03}"))
        one = evolve(vault, id=f"{number:032x}", name=f"r{number:03}", address=f"/srv/{number}")
        assert isinstance(one, ManagedRepository)
        store.repositories.add(one)
    for number in range(1, 4):
        server.request_run(world.tenant_id, "documents")
        world.back_up(f"{number:064x}")
    return world


@pytest.fixture
def get(client, many):
    headers = many.person(Role.ADMIN).headers | {"accept": "text/html, application/json;q=0.5"}

    def get(address, *, status=200):
        answer = client.get(address, headers=headers, follow_redirects=False)
        assert answer.status_code == status, answer.text
        return answer

    return get


def next_page(page: str) -> str:
    [found] = re.findall(r'<a href="([^"]+)" rel="next">', page)
    return found.replace("&amp;", "&")


@pytest.mark.parametrize(("address", "letter"), [("/jobs", "j"), ("/repositories", "r")])
def test_page_shows_fifty_and_leads_to_those_that_follow(get, address, letter):
    seen, where = [], address
    for expected in (50, 50, 50, 50, None):
        page = get(where).text
        assert f'hx-get="{where}"' in page or letter == "r"
        names = re.findall(rf'<td class="lead"><a href="{address}/([^"]+)">', page)
        assert expected in {None, len(names)}
        seen += names
        where = next_page(page) if expected else ""
    assert 'rel="next"' not in page
    assert f'href="{address}">First page' in page
    own = "documents" if letter == "j" else "vault"
    assert seen == sorted([own, *(f"{letter}{number:03}" for number in range(MANY))])


@pytest.mark.parametrize(
    ("list_name", "name"),
    [("jobs", lambda it: it["name"]), ("repositories", lambda it: it["repository"]["name"])],
)
def test_program_gets_all_in_parts(get, list_name, name):
    seen, after = [], ""
    while after is not None:
        part = get(f"/api/v1/{list_name}?limit=90&after={after}").json()
        seen += map(name, part[list_name])
        after = part["next_after"]
    assert len(seen) == len(set(seen)) == MANY + 1
    assert seen == sorted(seen)


def test_machines_come_in_parts(get, many):
    first = get("/api/v1/agents?limit=1").json()
    rest = get(f"/api/v1/agents?after={first['next_after']}").json()
    names = [one["agent"]["name"] for one in (*first["agents"], *rest["agents"])]
    assert names == ["charon", "pluto"]
    assert rest["next_after"] is None
    page = get(f"/machines?after={first['next_after']}").text
    assert "pluto" in page
    assert "charon" not in page
    get("/machines?after=nobody", status=404)


def test_who_would_have_too_many_to_choose_from_types_a_name(get):
    for address, name in (
        ("/new-job?repository=r001", "repository"),
        ("/snapshots?repository=r001", "repository"),
        ("/runs?job=j001", "job"),
    ):
        page = get(address).text
        assert re.search(rf'<input id="{name}" name="{name}" value="[rj]001"', page), address
    assert '<select id="machine"' in get("/runs").text


def test_page_of_a_repository_says_that_more_jobs_fill_it_than_it_shows(get):
    page = get("/repositories/vault").text
    assert len(re.findall('<a href="/jobs/', page)) == 50
    assert ", and more</dd>" in page
    assert "and more" not in get("/repositories/r001").text


def test_snapshots_and_receipts_come_in_parts_with_the_newest_first(get):
    base = "/api/v1/repositories/vault"
    first = get(f"{base}/receipts?limit=3").json()
    assert [one["sequence"] for one in first["receipts"]] == [4, 3, 2]
    rest = get(f"{base}/receipts?before={first['next_before']}").json()
    assert ([one["sequence"] for one in rest["receipts"]], rest["next_before"]) == ([1], None)
    first = get(f"{base}/snapshots?limit=2").json()
    rest = get(f"{base}/snapshots?before={first['next_before']}").json()
    ids = [one["id"] for one in (*first["snapshots"], *rest["snapshots"])]
    assert ids == [*(f"{number:064x}" for number in (3, 2, 1)), "5a" * 32]
    page = get("/repositories/vault/receipts?before=3").text
    assert len(re.findall('data-label="Received"', page)) == 2
    get(f"{base}/receipts?before=0", status=400)
    get(f"{base}/snapshots?before=nothing", status=404)


def test_chain_is_checked_where_it_is_asked_for(client, get, many, server):
    headers = many.person(Role.VIEWER).headers
    address = "/api/v1/repositories/vault/check-receipts"
    newest = get("/api/v1/repositories/vault/receipts").json()["receipts"][0]

    def checked():
        return client.post(address, json={}, headers=headers).json()

    good = checked()
    assert (good["receipts"], good["first_break"]) == (4, None)
    assert good["last_hash"] == newest["hash"]
    # What somebody with the database could do, and nobody else.
    where = "tenant_id = :tenant AND repository_id = :own AND sequence = 2"
    own = {"tenant": many.tenant_id, "own": many.repository_id}
    with server.fleet._database.engine.begin() as connection:
        kept = connection.execute(sa.text(f"SELECT body FROM receipts WHERE {where}"), own).scalar()
        altered = kept.replace('"objects":0', '"objects":1')
        assert altered != kept
        update = sa.text(f"UPDATE receipts SET body = :body WHERE {where}")
        connection.execute(update, own | {"body": altered})
    try:
        assert checked()["first_break"] == 3
        page = client.post(
            "/repositories/vault/check-receipts",
            data={"x": ""},
            headers=many.person(Role.VIEWER).headers | {"accept": "text/html"},
        ).text
        assert "broken at receipt 3" in page
    finally:
        with server.fleet._database.engine.begin() as connection:
            connection.execute(update, own | {"body": kept})
