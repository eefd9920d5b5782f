"""Pages of what is backed up, of runs and of people, as a browser without JavaScript uses them."""

import re
from html import unescape

import pytest
from attrs import evolve
from litestar.testing import TestClient

from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.events import Level, LogLine, Problem, Progress, Verb
from backapp_core.model.agents import AgentReport
from backapp_core.model.jobs import Job
from backapp_core.model.runs import RunState
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Counts
from backapp_core.model.users import Role
from backapp_core.model.work import Answer
from backapp_core.ports.stores import RunFilter
from backapp_core.wire import AGENT_KEY_PREFIX, EnrolBody
from backapp_plugins.scanners.files.patterns import parse_pattern, parse_pattern_file
from backapp_web.app import create_app
from backapp_web.dashboard.job_form import JobForm
from backapp_web.guards import route_keys

HTML = {"accept": "text/html"}
SNAPSHOT = "5a" * 32
HOSTILE = '"><script>alert(1)</script>\u202e\x1b[31m'
SEEN_BY_ALL = (
    "/overview",
    "/repositories",
    "/repositories/vault",
    "/repositories/vault/receipts",
    "/jobs",
    "/jobs/documents",
    "/runs",
    "/runs/RUN",
    "/runs/RUN/log",
    "/snapshots",
    "/snapshots?repository=vault",
)
SEEN_BY = {
    **dict.fromkeys(SEEN_BY_ALL, "viewer operator admin"),
    f"/repositories/vault/snapshots/{SNAPSHOT}": "operator admin",
    "/new-repository": "admin",
    "/new-job": "admin",
    "/jobs/documents/edit": "admin",
    "/people": "admin",
}
JOB = {
    "name": "photos",
    "repository": "vault",
    "roots": "/home/ann/photos\n",
    "excludes": "*.tmp\n",
    "larger_mib": "500",
    "schedule": "30 2 * * *",
    "time_zone": "Europe/Vienna",
    "tags": "family, photos",
    "exclude_caches": "yes",
    "is_enabled": "yes",
}


@pytest.fixture(scope="module")
def server(new_server, tmp_path_factory):
    """One of its own: what is changed here is nobody else's."""
    with new_server(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture(scope="module")
def ours(server, new_world):
    return new_world(server, server.fleet.tenants()[0].id).fill()


@pytest.fixture(scope="module")
def theirs(server, ours, new_world):
    return new_world(server, server.fleet.add_tenant("other").id).fill()


@pytest.fixture(scope="module")
def open_client(server):
    with TestClient(create_app(server, goes_round=False)) as client:
        yield client


class Somebody:
    """A browser with somebody's session."""

    def __init__(self, client, person) -> None:
        self._client, self._headers = client, HTML | person.headers

    def get(self, address: str, **more):
        return self._client.get(address, headers=self._headers, follow_redirects=False, **more)

    def post(self, address: str, **form):
        return self._client.post(
            address, data=form or {"x": ""}, headers=self._headers, follow_redirects=False
        )


@pytest.fixture
def admin(client, ours) -> Somebody:
    return Somebody(client, ours.person(Role.ADMIN))


@pytest.fixture
def viewer(client, ours) -> Somebody:
    return Somebody(client, ours.person(Role.VIEWER))


@pytest.fixture
def work(ours):
    """What the machine says."""
    return ours.server.work_of(ours.server.recognise(ours.agent_key))


@pytest.fixture
def going(ours, work):
    """A run that the machine has begun."""
    run = ours.server.request_run(ours.tenant_id, "documents")
    claim = work.claim("ab" * 16, lease_seconds=60)
    assert claim.run.id == run.id
    yield claim
    present = ours.store.runs.get(run.id)
    if not present.state.is_final:
        work.finish(claim.fence, present.fail(at=ours.server.fleet.now(), error="it is over"))


def faults(page: str) -> dict[str, str]:
    """Return what is said beside fields, by their ids."""
    found = re.findall(r'<div class="fault" id="(.+?)-fault">(.*?)</div>', page, re.DOTALL)
    return {name: unescape(re.sub("<.*?>", "", text)) for name, text in found}


@pytest.mark.parametrize("role", Role)
def test_every_page_is_drawn_for_those_who_may_see_it_and_for_nobody_else(client, ours, role):
    somebody = Somebody(client, ours.person(role))
    for address, roles in SEEN_BY.items():
        answer = somebody.get(address.replace("RUN", ours.run.id))
        expected = 200 if role in roles.split() else 403
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (
            expected,
            "text/html",
        ), address
        if role is not Role.ADMIN and expected == 200:
            assert "/new-" not in answer.text, address
            assert "/people" not in answer.text, address


def test_page_of_somebody_elses_things_is_not_found(admin, ours, theirs):
    secret = theirs.store.jobs.get("documents")
    theirs.store.jobs.add(Job("theirs", secret.repository, (b"/x",), agent_id=theirs.agent_id))
    foreign = (
        f"/repositories/{theirs.repository_id}",
        f"/repositories/{theirs.repository_id}/receipts",
        f"/repositories/{theirs.repository_id}/snapshots/{SNAPSHOT}",
        f"/repositories/vault/snapshots/{'6b' * 32}",
        f"/snapshots?repository={theirs.repository_id}",
        "/jobs/theirs",
        "/jobs/theirs/edit",
        f"/runs/{theirs.run.id}",
        f"/runs/{theirs.run.id}/log",
        f"/runs?machine={theirs.agent_id}",
    )
    for address in foreign:
        assert admin.get(address).status_code == 404, address
    user = theirs.person(Role.VIEWER).member.user
    for address in (
        f"/runs/{theirs.run.id}/cancel",
        f"/repositories/{theirs.repository_id}/check-receipts",
        "/jobs/theirs/run",
        "/jobs/theirs/edit",
        "/jobs/theirs/remove",
        f"/repositories/{theirs.repository_id}/snapshots/{SNAPSHOT}/ask",
        f"/people/{user.id}",
    ):
        assert admin.post(address, folder="/", switch="off").status_code == 404, address
    answer = admin.post(
        f"/repositories/{theirs.repository_id}/snapshots/{SNAPSHOT}/restore",
        everything="yes",
        target="/restore",
    )
    assert answer.status_code == 404
    assert theirs.store.users.get(user.id).is_enabled
    assert theirs.store.jobs.get("theirs") is not None


def test_no_form_is_taken_without_the_token_of_its_session(client, ours):
    headers = HTML | {"cookie": ours.person(Role.ADMIN).headers["cookie"]}
    addresses = [
        key.removeprefix("POST ")
        for key in route_keys(client.app)
        if key.startswith("POST ") and "/api/" not in key
    ]
    open_to_all = {"/sign-in", "/join/{token}", "/register"}
    assert len(addresses) > 20
    for address in set(addresses) - open_to_all:
        path = re.sub(r"\{.*?\}", "x", address)
        answer = client.post(path, data={"csrf": "0" * 64}, headers=headers)
        assert answer.status_code == 403, address
        assert "the page is out of date" in answer.text.lower()


def test_every_form_on_a_page_carries_the_token(admin, ours):
    for address in SEEN_BY:
        page = admin.get(address.replace("RUN", ours.run.id)).text
        for form in re.findall(r'<form[^>]*method="post".*?</form>', page, re.DOTALL):
            assert 'name="csrf" value="' in form, address


def test_job_with_faults_keeps_what_was_typed_and_changes_nothing(admin, ours):
    form = {
        "name": 'bad "name"',
        "repository": "",
        "roots": "relative\n/home/../etc",
        "excludes": "a[b",
        "larger_mib": "much",
        "schedule": "99 * * * *",
        "time_zone": "Europe/Nowhere",
        "tags": "<tag>",
    }
    before = ours.store.jobs.list()
    answer = admin.post("/jobs", **form)
    assert answer.status_code == 400
    said = faults(answer.text)
    assert set(said) == {
        *("name", "repository", "roots", "excludes", "larger_mib", "schedule", "time-zone")
    }
    assert "'relative'" in said["roots"]
    assert "'/home/../etc'" in said["roots"]
    shown = unescape(answer.text)
    for typed in form.values():
        assert typed in shown
    assert "<tag>" not in answer.text
    assert 'id="exclude_caches" name="exclude_caches" value="yes">' in answer.text
    assert ours.store.jobs.list() == before


def test_job_is_made_changed_run_and_removed(admin, ours):
    repository = ours.repository_id
    made = admin.post("/jobs", **JOB | {"repository": repository})
    assert (made.status_code, made.headers["location"]) == (303, "/jobs/photos")
    job = ours.store.jobs.get("photos")
    assert job.roots == (b"/home/ann/photos",)
    assert job.schedule == Schedule("30 2 * * *", "Europe/Vienna")
    assert job.tags == ("family", "photos")
    assert job.scanner_settings == {
        "excludes": ["*.tmp"],
        "exclude_larger_than_bytes": 500 << 20,
        "exclude_caches": True,
    }
    assert faults(admin.post("/jobs", **JOB | {"repository": repository}).text) == {
        "name": "A job called 'photos' exists already."
    }
    shown = admin.get("/jobs/photos").text
    assert shown.count("<time") >= 5
    form = admin.get("/jobs/photos/edit").text
    assert '<textarea id="roots"' in form
    assert "/home/ann/photos</textarea>" in form
    assert 'value="500"' in form
    changed = JOB | {"repository": repository, "schedule": "", "roots": "/srv\r\n/home/ann\r\n"}
    del changed["is_enabled"]
    assert admin.post("/jobs/photos/edit", **changed).status_code == 303
    job = ours.store.jobs.get("photos")
    assert (job.roots, job.schedule, job.is_enabled) == ((b"/srv", b"/home/ann"), None, False)
    assert "switched off" in admin.get("/jobs").text
    run = admin.post("/jobs/photos/run").headers["location"]
    assert "waiting" in admin.get(run).text
    assert admin.post(f"{run}/cancel").status_code == 303
    assert "cancelled" in admin.get(run).text
    assert admin.post("/jobs/photos/remove").headers["location"] == "/jobs"
    assert admin.get("/jobs/photos").status_code == 404
    assert "(removed)" in admin.get(run).text


@pytest.mark.parametrize("typed", ["0", "0.0000001", "1e-9"])
def test_size_limit_of_no_byte_is_refused(admin, ours, typed):
    """It would leave out every file that has anything in it."""
    answer = admin.post("/jobs", **JOB | {"repository": ours.repository_id, "larger_mib": typed})
    assert answer.status_code == 400
    assert faults(answer.text) == {
        "larger_mib": "That is less than a byte, and would leave every file out; write more."
    }
    assert "photos" not in {job.name for job in ours.store.jobs.list()}


def test_settings_that_the_form_does_not_show_stay(admin, ours):
    former = ours.store.jobs.get("documents")
    wish = {"one_file_system": True, "includes": ["*.txt"]}
    ours.store.jobs.add(
        Job("special", former.repository, (b"/x",), scanner_settings=wish, agent_id=ours.agent_id)
    )
    form = {"repository": ours.repository_id, "roots": "/x", "one_file_system": "yes"}
    assert admin.post("/jobs/special/edit", **form).status_code == 303
    assert ours.store.jobs.get("special").scanner_settings == wish
    ours.store.jobs.remove("special")


BLANKS = [
    *(
        "end ",
        "end  ",
        "end\t",
        r"end\ ",
        r"end\\ ",
        r"end\ " + "  ",
        " start",
        r"\ start",
        "  both  ",
    ),
    *("a\x0bb", "a\u2028b", "a\x85b", "no-break\xa0", "#no comment", r"\ "),
]


@pytest.mark.parametrize("pattern", BLANKS)
def test_blanks_of_a_pattern_mean_in_a_form_what_they_mean_to_the_scanner(pattern):
    """Also when something beside them is changed."""
    job = Job("odd", "backapp:" + "b" * 32, (b"/x",), scanner_settings={"excludes": [pattern]})
    shown = JobForm.showing(job)
    for typed in (f"{shown.excludes}\r\n*.tmp", f"*.tmp\r\n\r\n  \t\r\n{shown.excludes}\r\n"):
        wish, _ = evolve(shown, excludes=typed).wish()
        [kept] = set(wish.scanner_settings["excludes"]) - {"*.tmp"}
        wanted = parse_pattern(pattern, origin="pattern")
        assert parse_pattern(kept, origin="pattern").name == wanted.name
        if not pattern.startswith("#"):
            [read] = parse_pattern_file(f"{shown.excludes}\n".encode(), path=b"file")
            assert read.name == wanted.name


def test_blanks_behind_a_pattern_that_somebody_types_do_not_count():
    typed = JobForm(excludes="*.tmp  \r\n  \r\nkept\\ \t\r\n")
    assert typed.wish()[0].scanner_settings["excludes"] == ["*.tmp", "kept\\ "]


def test_form_that_is_sent_as_it_was_shown_changes_nothing(admin, ours):
    former = ours.store.jobs.get("documents")
    settings = {"exclude_larger_than_bytes": 1_234_567_891, "excludes": BLANKS}
    roots = (b"/blanks behind  ", b"/a\\x20b", b"/line\nbreak")
    ours.store.jobs.add(
        Job("odd", former.repository, roots, scanner_settings=settings, agent_id=ours.agent_id)
    )
    page = admin.get("/jobs/odd/edit").text
    [shown] = re.findall(r'<textarea id="roots".*?>(.*?)</textarea>', page, re.DOTALL)
    [larger] = re.findall(r'name="larger_mib".*?value="(.*?)"', page)
    [excludes] = re.findall(r'<textarea id="excludes".*?>(.*?)</textarea>', page, re.DOTALL)
    form = {"repository": ours.repository_id, "roots": unescape(shown), "larger_mib": larger}
    form["excludes"] = unescape(excludes).replace("\n", "\r\n")
    assert admin.post("/jobs/odd/edit", **form).status_code == 303
    kept = ours.store.jobs.get("odd")
    ours.store.jobs.remove("odd")
    assert (kept.roots, kept.scanner_settings) == (roots, settings)


def test_next_five_times_are_shown_by_a_button_and_nothing_is_saved(admin, ours):
    before = ours.store.jobs.list()
    answer = admin.post("/jobs", **JOB | {"preview": "yes", "name": ""})
    assert answer.status_code == 200
    assert answer.text.partition('id="preview"')[2].partition("</ol>")[0].count("<li>") == 5
    assert "At 02:30 every day" in answer.text
    assert ours.store.jobs.list() == before
    part = admin.post("/preview-schedule", schedule="61 * * * *", time_zone="UTC")
    assert "is no minute" in part.text
    assert "<html" not in part.text
    assert "only when somebody asks" in admin.post("/preview-schedule", schedule="").text


def test_repository_with_faults_keeps_what_was_typed_and_is_made_when_they_are_mended(admin, ours):
    form = {"name": "a b", "agent": "", "place": "folder", "folder": "srv", "archiver": "zip"}
    refused = admin.post("/repositories", **form)
    assert refused.status_code == 400
    assert set(faults(refused.text)) == {"name", "agent", "folder", "archiver"}
    assert 'value="a b"' in refused.text
    elsewhere = form | {"place": "bucket:none", "name": "vault", "agent": "pluto"}
    said = faults(admin.post("/repositories", **elsewhere).text)
    assert set(said) == {"name", "bucket", "archiver"}
    assert "named in its settings: none" in said["bucket"]
    taken = {"name": "attic", "agent": "pluto", "place": "folder", "folder": "/srv/backup"}
    assert set(faults(admin.post("/repositories", **taken, archiver="restic").text)) == {"folder"}
    made = admin.post("/repositories", **taken | {"folder": "/srv/attic"}, archiver="restic")
    assert made.headers["location"] == "/repositories/attic"
    page = admin.get("/repositories/attic").text
    assert "unprotected" in page
    assert "backapp agent sheet attic" in page
    assert "After its first backup, print or copy its recovery sheet" in page
    overview = admin.get("/overview").text
    assert "attic" in overview.partition("Needs attention")[2]
    assert "After its first backup, confirm its recovery sheet" in overview


def test_repository_is_protected_once_its_sheet_is_confirmed(admin, ours, work):
    page = admin.get("/repositories/vault").text
    assert "backapp agent sheet vault" in page
    assert "After its first backup" not in page
    work.confirm_sheet(ours.repository_id)
    page = admin.get("/repositories/vault").text
    assert "backapp agent sheet vault" not in page
    assert '<span class="state good">protected</span>' in page
    assert "unbroken" not in page
    checked = admin.post("/repositories/vault/check-receipts").text
    assert "unbroken" in checked
    assert admin.get("/repositories/vault/receipts").text.count("/runs/") > 0


def test_run_is_shown_while_it_goes_on_and_its_log_a_part_at_a_time(admin, ours, going, work):
    now = ours.server.fleet.now()
    events = [(now, LogLine(Level.INFO, f"line {number}")) for number in range(250)]
    events.append((now, Problem(Verb.BACKUP, b"/home/\xff" + HOSTILE.encode(), HOSTILE)))
    work.report(
        going.run.id,
        going.fence,
        events,
        Progress(Verb.BACKUP, 7, 512 << 20, 70, 2 << 30, HOSTILE.encode(), problems=1),
    )
    page = admin.get(f"/runs/{going.run.id}").text
    assert '<progress aria-labelledby="progress-heading" max="2147483648" value="536870912">' in (
        page
    )
    assert "512.0 MiB of 2.0 GiB" in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert f"live-runs-{going.run.id} from:body" in page
    assert "line 198" in page
    assert "line 240" not in page
    [later] = re.findall(r'href="(/runs/[0-9a-f]{32}\?after=\d+)#log"', page)
    rest = admin.get(later).text
    assert "line 240" in rest
    assert "line 198" not in rest
    assert '<li class="late">' in rest
    for text in (page, rest, admin.get(later.replace("?", "/log?")).text):
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
    assert admin.post(f"/runs/{going.run.id}/cancel").status_code == 303
    assert "being cancelled" in admin.get(f"/runs/{going.run.id}").text


def test_backup_that_outgrew_the_one_before_is_not_shown_as_a_part_of_it(admin, ours, going, work):
    progress = Progress(Verb.BACKUP, 71, 3 << 30, 70, 2 << 30)
    work.report(going.run.id, going.fence, [], progress)
    page = admin.get(f"/runs/{going.run.id}").text
    assert "<dd>3.0 GiB</dd>" in page
    assert "<dd>71</dd>" in page
    assert '<progress aria-labelledby="progress-heading"></progress>' in page


def test_run_that_goes_on_says_that_its_machine_is_away(admin, ours, going, work):
    work.report(going.run.id, going.fence, [], Progress(Verb.BACKUP, 7, 1 << 30))
    present = AgentReport("ab" * 16, "1", "pluto", "Linux", restore_folders=(b"/restore",))
    work.hello(present, alive_seconds=60)
    assert "is offline" not in admin.get(f"/runs/{going.run.id}").text
    work.goodbye("ab" * 16)
    page = admin.get(f"/runs/{going.run.id}").text
    work.hello(present, alive_seconds=60)
    assert "pluto is offline; the run goes on when it is back." in page
    assert "<dt>Rate</dt><dd>\N{EN DASH}</dd>" in page


def test_run_that_ended_says_how_and_is_no_longer_fetched(admin, ours, going, work):
    counts = Counts(files_new=3, problems=2, stored_bytes=2048)
    now = ours.server.fleet.now()
    work.finish(going.fence, going.run.complete(at=now, snapshot_id=SNAPSHOT, counts=counts))
    page = admin.get(f"/runs/{going.run.id}").text
    assert '<span class="state late">completed with warnings</span>' in page
    assert "2 entries could not be read" in page
    assert "http-equiv" not in page
    assert "hx-trigger" not in page
    assert "the run is completed with warnings" in page
    assert "by hand" in page
    assert admin.post(f"/runs/{going.run.id}/cancel").status_code == 409


def test_failure_needs_attention_and_its_words_are_only_text(admin, ours, going, work):
    now = ours.server.fleet.now()
    work.finish(going.fence, going.run.fail(at=now, error=f"no space {HOSTILE}"))
    for address in ("/overview", "/runs", "/jobs/documents", f"/runs/{going.run.id}"):
        page = admin.get(address).text
        assert "No space &#34;&gt;&lt;script&gt;" in page, address
        assert "<script>alert" not in page
    log = admin.get(f"/runs/{going.run.id}/log?after=0").text
    assert '<li class="bad">' in log
    assert "the run is failed: no space" in log


def test_second_click_on_run_now_leads_to_the_run_that_waits(admin, client, ours):
    """Until a machine begins with it, or it is cancelled; also for programs."""
    clicks = [admin.post("/jobs/documents/run").headers["location"] for _ in range(2)]
    headers = ours.bearer(ours.api_token)
    answer = client.post("/api/v1/jobs/documents/run", headers=headers)
    assert (answer.status_code, clicks) == (202, [f"/runs/{answer.json()['id']}"] * 2)
    admin.post(f"{clicks[0]}/cancel")
    again = client.post("/api/v1/jobs/documents/run", headers=headers).json()
    assert again["id"] != answer.json()["id"]
    admin.post(f"/runs/{again['id']}/cancel")


@pytest.mark.parametrize("address", ["/jobs", "/jobs/documents"])
def test_button_that_is_shown_once_asks_for_one_run_until_that_has_ended(
    admin, ours, work, address
):
    """However late the second click comes; another button asks for another run."""
    once = [re.search(r'name="once" value="(.+?)"', admin.get(address).text)[1] for _ in range(2)]
    first = admin.post("/jobs/documents/run", once=once[0]).headers["location"]
    claim = work.claim("ab" * 16, lease_seconds=60)
    assert first == f"/runs/{claim.run.id}"
    assert admin.post("/jobs/documents/run", once=once[0]).headers["location"] == first
    other = admin.post("/jobs/documents/run", once=once[1]).headers["location"]
    assert other != first
    admin.post(f"{other}/cancel")
    work.finish(claim.fence, claim.run.fail(at=ours.server.fleet.now(), error="no"))
    third = admin.post("/jobs/documents/run", once=once[0]).headers["location"]
    assert third not in {first, other}
    admin.post(f"{third}/cancel")


def test_runs_are_chosen_and_shown_a_page_at_a_time(admin, ours):
    wanted = []
    for _ in range(53):
        wanted.append(ours.server.request_run(ours.tenant_id, "documents"))
        ours.server.cancel(ours.tenant_id, wanted[-1].id)
    address = "/runs?job=documents&state=cancelled&machine=pluto"
    page = admin.get(address).text
    [older] = re.findall(r'href="([^"]+)" rel="next"', page)
    rest = admin.get(unescape(older)).text
    listed = [re.findall(r'<a href="/runs/([0-9a-f]{32})"', one) for one in (page, rest)]
    assert len(listed[0]) == 50
    assert {run.id for run in wanted} <= set(listed[0] + listed[1])
    assert not set(listed[0]) & set(listed[1])
    assert "No run is like that" in admin.get("/runs?since=2030-01-01").text
    assert "No run is like that" in admin.get("/runs?until=2020-01-01&job=other").text
    for query in ("since=soon", "state=done"):
        assert admin.get(f"/runs?{query}").status_code == 400


def test_folder_is_opened_through_the_machine_and_a_choice_restored(admin, ours, work):
    here = f"/repositories/vault/snapshots/{SNAPSHOT}"
    asked = admin.post(f"{here}/ask", folder="/home/ann").headers["location"]
    waiting = admin.get(asked).text
    assert "asking pluto" in waiting
    assert 'http-equiv="refresh"' in waiting
    question = work.next_question()
    assert question.details["folder"] == "/home/ann"
    nodes = (
        {"path": "/home/ann/letters", "name": "letters", "kind": "dir", "mtime_ns": 1},
        {"path": f"/home/ann/{HOSTILE}", "name": HOSTILE, "kind": "file", "size_bytes": 2048},
        {"path": 5, "name": None, "kind": [], "size_bytes": "x", "mtime_ns": 10**40},
    )
    work.answer(question.id, Answer(nodes=nodes, is_cut=True))
    page = admin.get(asked).text
    assert 'name="folder" value="/home/ann/letters">letters/</button>' in page
    assert "2.0 KiB" in page
    assert "There is more than is shown here" in page
    assert "<script>alert" not in page
    form = {"question": question.id, "target": "/etc", "path": "/home/ann/a\\x0ab"}
    refused = admin.post(f"{here}/restore", **form)
    assert refused.status_code == 400
    assert "keeps /etc out" in refused.text
    assert 'value="/etc"' in refused.text
    nothing = admin.post(f"{here}/restore", question=question.id, target="/restore")
    assert "Tick what is to be restored" in nothing.text
    assert ours.store.runs.list(RunFilter(state=RunState.REQUESTED)) == []
    run_page = admin.post(f"{here}/restore", **form | {"target": "/restore/here"})
    run = ours.store.runs.get(run_page.headers["location"].removeprefix("/runs/"))
    assert run.restore.paths == (b"/home/ann/a\nb",)
    assert run.restore.target == b"/restore/here"
    assert "/home/ann/a\\x0ab" in admin.get(f"/runs/{run.id}").text
    ours.server.cancel(ours.tenant_id, run.id)


def test_many_paths_and_everything_can_be_restored(admin, ours):
    here = f"/repositories/vault/snapshots/{SNAPSHOT}/restore"
    for form, paths in (
        ({"path": ["/a", "/b"]}, (b"/a", b"/b")),
        ({"path": ["/a"], "everything": "yes"}, ()),
    ):
        answer = admin.post(here, target="/restore", **form)
        run = ours.store.runs.get(answer.headers["location"].removeprefix("/runs/"))
        assert run.restore.paths == paths
        ours.server.cancel(ours.tenant_id, run.id)


def test_what_a_machine_cannot_answer_and_what_is_gone_is_said(admin, ours, work):
    here = f"/repositories/vault/snapshots/{SNAPSHOT}"
    asked = admin.post(f"{here}/ask", pattern="*.pdf").headers["location"]
    question = work.next_question()
    assert question.details["pattern"] == "*.pdf"
    work.answer(question.id, Answer(error="the repository is locked"))
    assert "The repository is locked." in admin.get(asked).text
    gone = admin.get(f"{here}?question={'0' * 32}")
    assert gone.status_code == 200
    assert "ask again" in gone.text


def test_restore_that_is_refused_says_why_even_if_its_question_is_forgotten(admin, ours):
    here = f"/repositories/vault/snapshots/{SNAPSHOT}"
    before = len(ours.store.runs.list(RunFilter()))
    refused = admin.post(
        f"{here}/restore", question="0" * 32, path="/home/ann/a", target="relative/folder"
    )
    assert refused.status_code == 400
    assert "absolute" in refused.text
    assert "ask again" in refused.text
    assert 'value="relative/folder"' in refused.text
    assert len(ours.store.runs.list(RunFilter())) == before


@pytest.mark.parametrize("day", ["9999-12-31", "0000-01-01", "2026-02-30", "yesterday"])
def test_day_that_cannot_be_is_said(admin, ours, day):
    answer = admin.get(f"/runs?until={day}")
    assert answer.status_code == 400
    assert "2026-01-31" in answer.text


def test_machine_that_is_offline_is_said_where_it_matters(admin, ours):
    server = ours.server
    token, _ = server.allow_agent(ours.person(Role.ADMIN).member, "sleepy")
    server.enrol(EnrolBody(token, "5e" * 16, AGENT_KEY_PREFIX + "5e" * 32))
    server.add_repository(ours.tenant_id, RepositoryWish("den", "sleepy", folder=b"/srv/den"))
    server.add_job(ours.tenant_id, JobWish("nap", "den", (b"/home",)))
    assert "was never in touch" in admin.get("/overview").text
    assert "sleepy is offline" in admin.get("/jobs/nap").text
    assert "offline" in admin.get("/jobs").text.partition(">nap<")[2].partition("</tr>")[0]
    run = admin.post("/jobs/nap/run").headers["location"]
    assert "sleepy is offline" in admin.get(run).text
    assert "is offline" not in admin.get(f"/repositories/vault/snapshots/{SNAPSHOT}").text
    admin.post(f"{run}/cancel")


def test_nobody_waits_for_a_machine_whose_key_was_taken_back(client, server, ours, new_world):
    left = new_world(server, server.fleet.add_tenant("left").id).fill()
    somebody = Somebody(client, left.person(Role.ADMIN))
    job = left.store.jobs.get("documents")
    left.store.jobs.replace(evolve(job, schedule=Schedule("30 2 * * *")))
    assert "/jobs/documents/run" in somebody.get("/jobs").text
    server.revoke(left.tenant_id, "pluto")
    here = f"/repositories/vault/snapshots/{SNAPSHOT}"
    pages = {
        address: somebody.get(address).text
        for address in ("/overview", "/jobs", "/jobs/documents", "/repositories/vault", here)
    }
    for address, text in pages.items():
        assert "taken back" in text, address
        assert "until it is back" not in text, address
        assert "/jobs/documents/run" not in text, address
        assert "backapp agent sheet" not in text, address
    for address in ("/jobs", "/jobs/documents"):
        assert "never" in pages[address], address
    assert f"passwords/{left.repository_id}" in pages["/repositories/vault"]
    assert "/new-job" not in pages["/repositories/vault"]


def test_people_are_invited_given_a_role_and_switched_off(admin, ours, client):
    invited = admin.post("/people", role="operator", email="new@example.org").text
    [token] = re.findall(r"http://testserver.local/join/([0-9a-zA-Z_-]+)", invited)
    assert token not in admin.get("/people").text
    assert "new@example.org" in admin.get("/people").text
    refused = admin.post("/people", role="king", email="<b>")
    assert refused.status_code == 400
    assert 'value="&lt;b&gt;"' in refused.text
    somebody = ours.somebody("temporary", Role.VIEWER)
    address = f"/people/{somebody.member.user.id}"
    assert admin.post(address, role="operator").status_code == 303
    assert ours.store.users.get(somebody.member.user.id).role is Role.OPERATOR
    assert Somebody(client, somebody).get("/overview").status_code == 200
    assert admin.post(address, switch="off").status_code == 303
    assert Somebody(client, somebody).get("/overview").status_code == 303
    assert "switched off" in admin.get("/people").text


def test_last_administrator_cannot_be_switched_off(admin, ours):
    own = ours.person(Role.ADMIN).member.user.id
    for change in ({"switch": "off"}, {"role": "viewer"}):
        answer = admin.post(f"/people/{own}", **change)
        assert answer.status_code == 409
        assert 'role="alert"' in answer.text
    assert ours.store.users.get(own).role is Role.ADMIN


def test_empty_installation_says_what_to_do_next(client, server, new_world):
    world = new_world(server, server.fleet.add_tenant("empty").id)
    somebody = Somebody(client, world.person(Role.ADMIN))
    assert 'href="/machines">get the command' in somebody.get("/overview").text
    for address in ("/repositories", "/jobs", "/runs", "/snapshots", "/new-job", "/new-repository"):
        page = somebody.get(address)
        assert page.status_code == 200
        assert re.search(r"<p>[^<]*(no|none|Nothing)\b.*", page.text), address
