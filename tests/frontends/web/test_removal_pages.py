"""Taking repositories and machines off the lists, and restores that no job stands for."""

import pytest

from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.model.runs import RunKind
from backapp_core.model.users import Role
from backapp_core.ports.stores import RunFilter

HTML = {"accept": "text/html"}
SNAPSHOT = "5a" * 32
HERE = f"/repositories/vault/snapshots/{SNAPSHOT}"


class Site:
    """A tenant of its own, as its people see it."""

    def __init__(self, client, world) -> None:
        self._client, self.world = client, world

    def get(self, address, role=Role.ADMIN):
        headers = HTML | self.world.person(role).headers
        return self._client.get(address, headers=headers, follow_redirects=False)

    def post(self, address, **form):
        headers = HTML | self.world.person(Role.ADMIN).headers
        return self._client.post(
            address, data=form or {"x": ""}, headers=headers, follow_redirects=False
        )

    def ask(self, method, path, **body):
        """Ask as a program does, or would if one might."""
        headers = self.world.person(Role.ADMIN).headers
        return self._client.request(method, f"/api/v1{path}", headers=headers, **body)


@pytest.fixture
def site(client, server, new_world, request):
    tenant = server.fleet.add_tenant(request.node.name[:64])
    return Site(client, new_world(server, tenant.id).fill())


# --- repositories


def test_repository_is_removed_by_typing_its_name_once_nothing_needs_it(site):
    page = site.get("/repositories/vault").text
    assert "Nothing in the folder is deleted, and its receipts are kept." in page
    assert "can still be opened afterwards with the recovery sheet" in page
    used = site.post("/repositories/vault/remove", confirmed="vault")
    assert used.status_code == 409
    assert "filled by job &#39;documents&#39;" in used.text
    site.post("/jobs/documents/remove")
    mistyped = site.post("/repositories/vault/remove", confirmed="Vault")
    assert mistyped.status_code == 400
    assert "Type the name of the repository, vault, to remove it." in mistyped.text
    assert 'value="Vault"' in mistyped.text
    assert "/repositories/vault" in site.get("/repositories").text
    done = site.post("/repositories/vault/remove", confirmed=" vault ")
    assert (done.status_code, done.headers["location"]) == (303, "/repositories")


def test_run_that_goes_on_keeps_its_repository(site):
    run = site.post(f"{HERE}/restore", target="/restore", everything="yes").headers["location"]
    site.post("/jobs/documents/remove")
    used = site.post("/repositories/vault/remove", confirmed="vault")
    assert used.status_code == 409
    assert f"in use by run &#39;{run.removeprefix('/runs/')[:8]}&#39;" in used.text
    site.post(f"{run}/cancel")
    assert site.post("/repositories/vault/remove", confirmed="vault").status_code == 303


@pytest.fixture
def removed(site):
    """A site whose repository was removed."""
    site.post("/jobs/documents/remove")
    site.post("/repositories/vault/remove", confirmed="vault")
    return site


def test_removed_repository_is_on_no_page_but_its_own_and_that_of_removed_ones(removed):
    own = f"/repositories/{removed.world.repository_id}"
    for address in ("/repositories", "/overview", "/snapshots", "/new-job"):
        page = removed.get(address).text
        assert "vault" not in page, address
    assert 'href="/removed-repositories"' in removed.get("/repositories").text
    assert f'href="{own}"' in removed.get("/removed-repositories", Role.VIEWER).text
    for address in (own, "/repositories/vault"):
        page = removed.get(address, Role.VIEWER).text
        assert "Nothing in the folder was deleted" in page
        assert "unprotected" not in page
        for act in ("/remove", "/new-job", f"/snapshots/{SNAPSHOT}"):
            assert act not in page, act
    page = removed.get(f"/runs/{removed.world.run.id}").text
    assert f"/snapshots/{SNAPSHOT}" not in page


def test_receipts_of_a_removed_repository_are_looked_at_and_checked(removed):
    own = f"/repositories/{removed.world.repository_id}"
    assert f'action="{own}/check-receipts"' in removed.get(own).text
    assert "chain of 1 receipt" in removed.post(f"{own}/check-receipts").text
    assert SNAPSHOT[:8] in removed.get(f"{own}/receipts").text
    assert SNAPSHOT[:8] in removed.get(f"/snapshots?repository={own.rpartition('/')[2]}").text


def test_nothing_is_done_with_a_removed_repository(removed):
    """Neither from a page that was open before, nor by its machine."""
    world = removed.world
    assert "was removed from the server" in removed.get(HERE).text
    restore = removed.post(f"{HERE}/restore", target="/restore", everything="yes")
    question = removed.post(f"{HERE}/ask", folder="/")
    job = {"repository": world.repository_id, "roots": ["/home"]}
    added = removed.ask("POST", "/jobs", json={"name": "new", "job": job})
    for answer in (restore, question, added):
        assert answer.status_code in {400, 404}
        assert "was removed from this server" in answer.text
    machine = {"headers": world.bearer(world.agent_key)}
    client, path = removed._client, "/api/v1/agent/repositories"
    assert client.get(path, **machine).json() == []
    assert client.get(f"{path}/{world.repository_id}", **machine).status_code == 404


def test_name_and_folder_of_a_removed_repository_can_be_used_again(removed):
    form = {"name": "vault", "agent": "pluto", "place": "folder", "folder": "/srv/backup"}
    made = removed.post("/repositories", archiver="restic", **form)
    assert made.headers["location"] == "/repositories/vault"
    [there] = removed.ask("GET", "/repositories").json()["repositories"]
    assert there["repository"]["id"] != removed.world.repository_id
    assert "not yet; it happens with the first run" in removed.get("/repositories/vault").text


def test_program_removes_a_repository_and_finds_it_among_the_removed(site):
    used = site.ask("DELETE", "/repositories/vault")
    assert used.json()["type"] == "urn:backapp:error:StillInUse"
    assert site.ask("DELETE", "/jobs/documents").status_code == 204
    for _ in range(2):
        assert site.ask("DELETE", "/repositories/vault").status_code == 204
    assert site.ask("GET", "/repositories").json()["repositories"] == []
    [one] = site.ask("GET", "/removed-repositories").json()["repositories"]
    assert one == site.ask("GET", f"/repositories/{site.world.repository_id}").json()
    assert one["repository"]["removed_at"] is not None
    assert len(site.ask("GET", "/repositories/vault/receipts").json()["receipts"]) == 1


# --- machines


def test_machine_is_removed_once_its_key_and_its_repositories_are_gone(removed):
    pluto = removed.world.agent_id
    page = removed.get("/machines").text
    assert f"/machines/{pluto}/revoke" in page
    assert f"/machines/{pluto}/remove" not in page
    good = removed.post(f"/machines/{pluto}/remove")
    assert good.status_code == 409
    assert "The key of &#39;pluto&#39; is good" in good.text
    removed.post(f"/machines/{pluto}/revoke")
    assert f"/machines/{pluto}/remove" in removed.get("/machines").text
    assert f"/machines/{pluto}/remove" not in removed.get("/machines", Role.VIEWER).text
    assert removed.post(f"/machines/{pluto}/remove").headers["location"] == "/machines"
    assert '<td data-label="Name">pluto</td>' not in removed.get("/machines").text
    assert "pluto" in removed.get(f"/runs/{removed.world.run.id}").text


def test_machine_with_a_repository_is_not_removed(site):
    for path in ("/agents/pluto/revoke", "/agents/charon/revoke"):
        assert site.ask("POST", path).status_code == 200
    used = site.ask("DELETE", "/agents/pluto")
    assert used.status_code == 409
    assert "'pluto' still has repository 'vault' here" in used.json()["detail"]
    for _ in range(2):
        assert site.ask("DELETE", "/agents/charon").status_code == 204
    listed = site.ask("GET", "/agents").json()["agents"]
    assert [one["agent"]["name"] for one in listed] == ["pluto"]
    gone = site.ask("GET", "/agents/charon").json()["agent"]
    assert gone["removed_at"] is not None


# --- a machine that replaces another


def test_repository_of_a_lost_machine_is_given_to_the_one_that_replaces_it(site):
    """With its jobs; the page says what is to be done on that machine."""
    here = "/repositories/vault"
    agent_id, _ = site.world.machine("ceres")
    assert f"{here}/hand-over" not in site.get(here).text
    good = site.post(f"{here}/hand-over", agent=agent_id)
    assert good.status_code == 409
    assert "that of &#39;pluto&#39;, whose key is good" in good.text
    site.ask("POST", "/agents/pluto/revoke")
    page = site.get(here).text
    assert f'action="{here}/hand-over"' in page
    assert "backapp agent adopt vault" in page
    assert f'<option value="{agent_id}">ceres</option>' in page
    told = site.get(here, Role.VIEWER).text
    assert "Have an administrator let it use this repository" in told
    assert "/hand-over" not in told
    assert f'href="{here}"' in site.get(HERE).text
    for chosen, status in (("", 404), ("nobody", 404), ("charon", 400)):
        refused = site.post(f"{here}/hand-over", agent=chosen)
        assert refused.status_code == status, chosen
        assert 'role="alert"' in refused.text
    done = site.post(f"{here}/hand-over", agent=agent_id)
    assert (done.status_code, done.headers["location"]) == (303, here)
    page = site.get(here).text
    assert "<dt>Machine</dt><dd>ceres</dd>" in page
    assert "/hand-over" not in page
    assert site.ask("GET", "/jobs/documents").json()["agent_id"] == agent_id
    assert site.ask("DELETE", "/agents/pluto").status_code == 204


def test_program_gives_a_repository_to_another_machine(site):
    agent_id, _ = site.world.machine("ceres")
    site.ask("POST", "/agents/pluto/revoke")
    given = site.ask("POST", "/repositories/vault/hand-over", json={"agent": "ceres"})
    assert (given.status_code, given.json()["repository"]["agent_id"]) == (200, agent_id)
    world = site.world
    world.server.revoke(world.tenant_id, "ceres")
    site.world.machine("sedna")
    wish = RepositoryWish("empty", "sedna", folder=b"/empty")
    world.server.add_repository(world.tenant_id, wish)
    site.world.machine("eris")
    site.ask("POST", "/agents/sedna/revoke")
    empty = site.ask("POST", "/repositories/empty/hand-over", json={"agent": "eris"})
    assert empty.status_code == 400
    assert "nothing was backed up into 'empty' yet" in empty.json()["detail"]
    assert "/hand-over" not in site.get("/repositories/empty").text


# --- restores


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_restore_is_shown_as_one_of_its_repository(site, jobs):
    """Also if no job fills that, or several do."""
    world = site.world
    if not jobs:
        site.post("/jobs/documents/remove")
    for number in range(1, jobs):
        world.server.add_job(world.tenant_id, JobWish(f"a{number}", "vault", (b"/home",)))
    world.server.add_repository(world.tenant_id, RepositoryWish("a", "pluto", folder=b"/a"))
    address = site.post(f"{HERE}/restore", target="/restore", everything="yes").headers["location"]
    run = world.store.runs.get(address.removeprefix("/runs/"))
    assert (run.kind, run.job_name) == (RunKind.RESTORE, "")
    assert run.restore.repository_id == world.repository_id
    listed = f'<a href="{address}">vault <span class="id">{run.id[:8]}</span></a>'
    for where in ("/runs", "/overview"):
        assert f'{listed} <span class="tag">restore</span>' in site.get(where).text
    page = site.get(address).text
    assert f'<dt>Repository</dt><dd><a href="/repositories/{world.repository_id}">vault</a>' in page
    assert "<dt>Machine</dt><dd>pluto</dd>" in page
    assert f'href="/repositories/{world.repository_id}/snapshots/{SNAPSHOT}"' in page
    assert "<dt>Job</dt>" not in page
    if jobs:
        assert address not in site.get("/jobs/documents").text
    again = site.post(f"{HERE}/restore", target="/restore", everything="yes")
    assert again.headers["location"] == address
    assert len(world.store.runs.list(RunFilter())) == 2
