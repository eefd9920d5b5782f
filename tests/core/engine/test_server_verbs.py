"""What a server does for people: jobs that make sense, runs that are due, what may be asked."""

import shutil
import weakref
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Thread

import pytest
from attrs import evolve

from backapp_core.assembly import assemble_server, load_plugins
from backapp_core.engine.configure import JobWish, RepositoryWish, is_in_one_of
from backapp_core.engine.request import QuestionWish, RestoreWish
from backapp_core.engine.schedule import Timetable
from backapp_core.engine.server import Server
from backapp_core.engine.tokens import new_id
from backapp_core.errors import (
    AgentNotFound,
    AgentRevoked,
    InputError,
    InvalidAddress,
    InvalidJob,
    InvalidName,
    InvalidSchedule,
    InvalidSettings,
    NameTaken,
    RepositoryNotFound,
    SnapshotNotFound,
    TokenRefused,
    UnknownPlugin,
)
from backapp_core.model.agents import AgentReport
from backapp_core.model.runs import Run, RunKind, RunState
from backapp_core.model.schedules import Schedule
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.users import Member, Role, User
from backapp_core.model.work import QuestionKind
from backapp_core.ports.stores import RunFilter
from backapp_core.settings import ServerSettings, Settings
from backapp_core.wire import AGENT_KEY_PREFIX, EnrolBody

SNAPSHOT = "5a" * 32
DAILY = Schedule("0 2 * * *", "Europe/Vienna")


@cache
def plugins():
    return load_plugins()


KEY = AGENT_KEY_PREFIX + "5c" * 32


def opened(folder: Path) -> Server:
    settings = Settings(
        store=f"sqlite:///{folder}/server.sqlite",
        state_folder=str(folder),
        cache_folder=str(folder),
        server=ServerSettings(),
    )
    return assemble_server(settings, plugins=plugins())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a person, a machine and a repository, of which every test gets a copy."""
    folder = tmp_path_factory.mktemp("prepared")
    with opened(folder) as server:
        fleet = server.fleet
        user = User(new_id(server.surroundings), "a@example.org", "A", Role.ADMIN, fleet.now())
        member = fleet.register(fleet.tenants()[0].id, user, "nobody signs in here")
        token, _ = server.allow_agent(member, "pluto")
        known, _ = server.enrol(EnrolBody(token, "ee" * 16, KEY))
        policy = {"roots": (b"/home", b"/srv"), "restore_folders": (b"/restore",)}
        report = AgentReport("ab" * 16, "1", "pluto", "Linux", **policy)
        server.work_of(known).hello(report, alive_seconds=1)
        wished = RepositoryWish("vault", "pluto", folder=b"/backup")
        server.add_repository(member.tenant_id, wished)
    return folder / "server.sqlite"


@pytest.fixture
def server(prepared: Path, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(prepared, tmp_path)
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def member(server: Server) -> Member:
    return server.fleet.login("a@example.org").member


@pytest.fixture
def tenant(member: Member) -> int:
    return member.tenant_id


@pytest.fixture
def machine(server: Server):
    return server.recognise(KEY)


@pytest.fixture
def vault(server: Server, tenant: int):
    return server.tenant(tenant).repositories.get("vault")


def wish(**changes) -> JobWish:
    return evolve(JobWish("documents", "vault", (b"/home/ann",)), **changes)


# --- what is backed up


def test_job_is_run_by_the_machine_that_fills_its_repository(server, tenant, machine, vault):
    job = server.add_job(tenant, wish(schedule=DAILY, tags=("daily",)))
    assert job.agent_id == machine.agent.id
    assert job.repository == f"backapp:{vault.id}"
    assert server.tenant(tenant).jobs.get("documents") == job
    with pytest.raises(NameTaken):
        server.add_job(tenant, wish())


@pytest.mark.parametrize(
    ("changes", "error", "word"),
    [
        ({"repository": "nowhere"}, RepositoryNotFound, "nowhere"),
        ({"roots": ()}, InvalidJob, "no source"),
        ({"roots": (b"home",)}, InvalidJob, "absolute"),
        ({"roots": (b"/home/../etc",)}, InvalidJob, "absolute"),
        ({"roots": (b"/home\0",)}, InvalidJob, "absolute"),
        ({"roots": (b"/etc",)}, InvalidJob, "policy of 'pluto'"),
        ({"roots": (b"/home2",)}, InvalidJob, "policy of 'pluto'"),
        ({"schedule": Schedule("61 * * * *")}, InvalidSchedule, "61"),
        ({"schedule": Schedule("0 2 * * *", "Mars/Olympus")}, InvalidSchedule, "Mars"),
        ({"schedule": Schedule("0 2 * * *", "UTC", "moon")}, UnknownPlugin, "moon"),
        ({"scanner_settings": {"colour": "red"}}, InvalidSettings, "colour"),
        ({"scanner_settings": {"roots": ["/etc"]}}, InputError, "roots"),
        ({"scanner_settings": {"exclude_files": ["/etc/shadow"]}}, InputError, "exclude_files"),
        ({"scanner_settings": {"excludes": ["a[b"]}}, InputError, "a[b"),
        ({"name": "../etc"}, InvalidName, "../etc"),
    ],
)
def test_job_that_could_never_run_is_refused(server, tenant, vault, changes, error, word):
    with pytest.raises(error) as refusal:
        server.add_job(tenant, wish(**changes))
    assert word in refusal.value.message
    assert list(server.tenant(tenant).jobs.list()) == []


def test_schedule_counts_from_when_it_was_made_or_changed(server, tenant, vault):
    first = server.add_job(tenant, wish(schedule=DAILY))
    again = server.replace_job(tenant, wish(schedule=DAILY, tags=("x",)))
    assert again.due_after == first.due_after
    off = server.replace_job(tenant, wish(schedule=DAILY, is_enabled=False))
    on = server.replace_job(tenant, wish(schedule=DAILY))
    other = server.replace_job(tenant, wish(schedule=Schedule("0 3 * * *")))
    moments = [one.due_after for one in (first, off, on, other)]
    assert moments == sorted(set(moments))


def test_five_due_moments_are_shown_before_a_job_is_made(server):
    moments = server.preview(DAILY)
    assert len(moments) == 5
    assert all(later - earlier >= timedelta(hours=23) for earlier, later in pairwise(moments))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"agent": "nobody"}, AgentNotFound),
        ({"folder": b""}, InvalidAddress),
        ({"bucket": "main"}, InvalidAddress),
        ({"bucket": "main", "folder": b""}, InvalidAddress),
        ({"folder": b"backup"}, InvalidJob),
        ({"folder": b"/backup/../etc"}, InvalidJob),
        ({"archiver": "zip"}, UnknownPlugin),
        ({"name": "a/b"}, InvalidName),
    ],
)
def test_repository_that_cannot_be_is_refused(server, tenant, machine, changes, error):
    with pytest.raises(error):
        server.add_repository(
            tenant, evolve(RepositoryWish("second", "pluto", folder=b"/other"), **changes)
        )
    assert [one.name for one in server.tenant(tenant).repositories.list()] == ["vault"]


def test_path_is_below_a_folder_by_whole_names():
    assert is_in_one_of(b"/home/ann", [b"/home/"])
    assert is_in_one_of(b"/home", [b"/srv", b"/home"])
    assert is_in_one_of(b"/anything", [b"/"])
    assert not is_in_one_of(b"/homes", [b"/home"])
    assert not is_in_one_of(b"/home", [b"/home/ann"])
    assert not is_in_one_of(b"/home", [])


# --- what is due


class Later:
    """A store whose time can be turned; the rest is the real one's."""

    def __init__(self, fleet, moment: datetime) -> None:
        self._fleet = fleet
        self.moment = moment

    def __getattr__(self, name: str):
        return getattr(self._fleet, name)

    def now(self) -> datetime:
        return self.moment


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def due_job(server, tenant, vault):
    """Return a function: a schedule to a job that is due from 1 January 2030 on."""

    def make(schedule: Schedule):
        job = evolve(server.add_job(tenant, wish(schedule=schedule)), due_after=at("2030-01-01"))
        server.tenant(tenant).jobs.replace(job)
        return job

    return make


def tables(server: Server, count: int, moment: str) -> tuple[list[Later], list[Timetable]]:
    clocks = [Later(server.fleet, at(moment)) for _ in range(count)]
    return clocks, [Timetable(clock, server.surroundings, server.plugins) for clock in clocks]


def runs(server: Server, tenant: int) -> Sequence[Run]:
    return server.tenant(tenant).runs.list(RunFilter())


def ended(server: Server, tenant: int, run: Run, moment: str) -> None:
    store = server.tenant(tenant).runs
    running = run.start(at=at(moment))
    store.move(running, from_state=RunState.REQUESTED)
    store.move(running.fail(at=at(moment), error="no"), from_state=RunState.RUNNING)


def test_due_moment_becomes_one_run_whoever_looks(server, tenant, machine, due_job):
    due_job(DAILY)
    _, servers = tables(server, 8, "2030-01-01T02:00:00")
    gate = Barrier(len(servers))
    made: list[Run] = []

    def look(table: Timetable) -> None:
        gate.wait()
        made.extend(table.tick())

    threads = [Thread(target=look, args=(table,)) for table in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [run] = runs(server, tenant)
    assert made == [run]
    assert run.due_at == at("2030-01-01T01:00:00")  # 02:00 in Vienna
    assert run.agent_id == machine.agent.id
    assert all(table.tick() == [] for table in servers)


def test_nothing_is_due_before_its_moment_and_at_it_is(server, tenant, due_job):
    due_job(Schedule("0 2 * * *"))
    [clock], [table] = tables(server, 1, "2030-01-01T01:59:59")
    assert table.tick() == []
    clock.moment = at("2030-01-01T02:00:00")
    assert [run.due_at for run in table.tick()] == [at("2030-01-01T02:00:00")]


def test_of_missed_moments_only_the_latest_counts(server, tenant, due_job):
    due_job(Schedule("0 * * * *"))
    _, [table] = tables(server, 1, "2030-01-05T12:30:00")
    assert [run.due_at for run in table.tick()] == [at("2030-01-05T12:00:00")]


def test_run_that_waits_answers_what_was_missed_until_it_begins(server, tenant, due_job):
    due_job(Schedule("0 2 * * *"))
    [clock], [table] = tables(server, 1, "2030-01-01T02:00:10")
    [waiting] = table.tick()
    # The machine is off for days.
    for day in (2, 3, 4):
        clock.moment = at(f"2030-01-0{day}T02:00:10")
        assert table.tick() == []
    ended(server, tenant, waiting, "2030-01-04T09:00:00")
    assert table.tick() == []
    _, [restarted] = tables(server, 1, "2030-01-04T09:01:00")
    assert restarted.tick() == []
    clock.moment = at("2030-01-05T02:00:10")
    assert [run.due_at for run in table.tick()] == [at("2030-01-05T02:00:00")]


def test_run_that_somebody_asked_for_takes_no_due_moment_away(server, tenant, due_job):
    due_job(Schedule("0 2 * * *"))
    server.request_run(tenant, "documents")
    _, [table] = tables(server, 1, "2030-01-01T02:00:10")
    assert len(table.tick()) == 1


def test_job_that_is_off_or_has_no_schedule_is_never_due(server, tenant, due_job):
    job = due_job(Schedule("0 2 * * *"))
    jobs = server.tenant(tenant).jobs
    _, [table] = tables(server, 1, "2031-01-01T02:00:10")
    for changed in (evolve(job, is_enabled=False), evolve(job, schedule=None)):
        jobs.replace(changed)
        assert table.tick() == []


def test_job_of_a_machine_whose_key_was_taken_back_is_never_due(server, tenant, due_job):
    due_job(Schedule("0 2 * * *"))
    [clock], [table] = tables(server, 1, "2030-01-01T02:00:10")
    assert len(table.tick()) == 1
    server.revoke(tenant, "pluto")
    clock.moment = at("2030-01-02T02:00:10")
    assert table.tick() == []
    assert [run.state for run in runs(server, tenant)] == [RunState.CANCELLED]


def test_schedule_that_cannot_be_read_any_more_keeps_no_other_job_from_running(
    server, tenant, due_job
):
    job = due_job(Schedule("0 2 * * *"))
    broken = evolve(job, name="broken", schedule=Schedule("0 2 * * *", "UTC", "gone"))
    server.tenant(tenant).jobs.add(broken)
    _, [table] = tables(server, 1, "2030-01-01T02:00:10")
    assert [run.job_name for run in table.tick()] == ["documents"]


class Counting:
    """Stands for the plugins: schedulers that count how often they are asked, and are real."""

    def __init__(self, real):
        self.schedulers, self._kinds = self, real.schedulers
        self.asked = 0
        self.made: list[weakref.ref] = []

    def get(self, name: str):
        kind = self._kinds.get(name)
        return evolve(kind, parse=lambda *words: self._parsed(kind.parse(*words)))

    def _parsed(self, scheduler):
        counting = self

        class Asked:
            def previous_before(self, moment):
                counting.asked += 1
                return scheduler.previous_before(moment)

            def next_after(self, moment):
                return scheduler.next_after(moment)

        made = Asked()
        self.made.append(weakref.ref(made))
        return made


def test_schedule_is_worked_out_anew_only_once_something_becomes_due(server, tenant, due_job):
    job = due_job(Schedule("0 * * * *"))
    jobs = server.tenant(tenant).jobs
    for number in range(5):
        jobs.add(evolve(job, name=f"more-{number}"))
    [clock], _ = tables(server, 1, "2030-01-05T12:00:00")
    counting = Counting(server.plugins)
    table = Timetable(clock, server.surroundings, counting)
    assert len(table.tick()) == 6
    for second in range(1, 60):
        clock.moment = at(f"2030-01-05T12:{second:02}:59")
        assert table.tick() == []
    assert (counting.asked, len(counting.made)) == (1, 1)
    for run in runs(server, tenant):
        ended(server, tenant, run, "2030-01-05T12:30:00")
    clock.moment = at("2030-01-05T13:00:00")
    assert {run.due_at for run in table.tick()} == {at("2030-01-05T13:00:00")}
    assert (counting.asked, len(counting.made)) == (2, 1)


def test_clock_that_is_put_back_makes_nothing_due_that_is_not(server, tenant, due_job):
    job = due_job(Schedule("0 2 * * *"))
    [clock], [table] = tables(server, 1, "2030-01-03T02:00:00")
    server.tenant(tenant).jobs.replace(evolve(job, is_enabled=False))
    assert table.tick() == []
    clock.moment = at("2030-01-02T01:00:00")
    server.tenant(tenant).jobs.replace(job)
    assert [run.due_at for run in table.tick()] == [at("2030-01-01T02:00:00")]


def test_of_jobs_that_are_gone_nothing_is_remembered(server, tenant, due_job):
    job = due_job(Schedule("0 2 * * *"))
    jobs = server.tenant(tenant).jobs
    [clock], _ = tables(server, 1, "2030-01-01T01:00:00")
    counting = Counting(server.plugins)
    table = Timetable(clock, server.surroundings, counting)
    for minute in range(5):
        jobs.replace(evolve(job, schedule=Schedule(f"{minute} 2 * * *")))
        assert table.tick() == []
        assert [one() is not None for one in counting.made] == [False] * minute + [True]
    [read] = jobs.list()
    known = weakref.ref(read)
    del read
    assert known() is not None
    jobs.remove("documents")
    assert table.tick() == []
    assert (known(), counting.made[-1]()) == (None, None)


def test_job_that_did_not_change_is_not_read_anew(server, tenant, due_job):
    job = due_job(Schedule("0 2 * * *"))
    jobs = server.tenant(tenant).jobs
    jobs.add(evolve(job, name="other"))
    before = jobs.list()
    jobs.replace(evolve(job, tags=("changed",)))
    changed, other = server.tenant(tenant).jobs.list()
    assert other is before[1]
    assert (changed.tags, before[0].tags) == (("changed",), job.tags)


def test_moment_that_the_clock_skips_or_repeats_is_one_run(server, tenant, due_job):
    due_job(Schedule("30 2 * * *", "Europe/Vienna"))
    clock, [table] = tables(server, 1, "2030-03-31T00:00:00")
    for hour in range(5):  # clocks are put forward at 01:00 UTC
        clock[0].moment = at(f"2030-03-31T0{hour}:10:00")
        for run in table.tick():
            ended(server, tenant, run, f"2030-03-31T0{hour}:11:00")
    spring = [run.due_at for run in runs(server, tenant) if run.due_at >= at("2030-03-31")]
    for minute in range(0, 240, 10):  # and back at 01:00 UTC
        clock[0].moment = at("2030-10-27T00:00:00") + timedelta(minutes=minute)
        for run in table.tick():
            moment = (clock[0].moment + timedelta(minutes=1)).isoformat().partition("+")[0]
            ended(server, tenant, run, moment)
    autumn = [run.due_at for run in runs(server, tenant) if run.due_at >= at("2030-10-27")]
    assert (len(spring), len(autumn)) == (1, 1)


# --- what is asked for


@pytest.fixture
def backed_up(server, tenant, machine, vault):
    """A job with a snapshot that was acknowledged."""
    server.add_job(tenant, wish())
    server.request_run(tenant, "documents")
    work = server.work_of(machine)
    claim = work.claim("ab" * 16, lease_seconds=30)
    now = server.fleet.now()
    work.report_created(vault.id, "cd" * 32)
    snapshot = Snapshot(SNAPSHOT, now, "pluto", "ann", (b"/home/ann",))
    work.acknowledge(claim.run.id, claim.fence, snapshot, ())
    ended_run = claim.run.complete(at=now, snapshot_id=SNAPSHOT, counts=snapshot.counts)
    work.finish(claim.fence, ended_run)
    return claim.run


def test_restore_goes_to_the_machine_that_holds_the_key(server, tenant, machine, backed_up):
    run = server.request_restore(
        tenant, RestoreWish("vault", SNAPSHOT, b"/restore/here", (b"/home/ann/letters",))
    )
    assert (run.kind, run.agent_id) == (RunKind.RESTORE, machine.agent.id)
    assert run.restore.paths == (b"/home/ann/letters",)
    claim = server.work_of(machine).claim("ab" * 16, lease_seconds=30)
    assert claim.run.id == run.id


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"snapshot_id": "5a" * 31 + "5b"}, SnapshotNotFound),
        ({"snapshot_id": "5a"}, SnapshotNotFound),
        ({"snapshot_id": "latest"}, SnapshotNotFound),
        ({"target": b"/etc"}, InvalidJob),
        ({"target": b"/restore/../etc"}, InvalidJob),
        ({"target": b"restore"}, InvalidJob),
        ({"paths": (b"letters",)}, InvalidJob),
        ({"paths": (b"/a",) * 1001}, InvalidJob),
    ],
)
def test_restore_that_makes_no_sense_is_refused(server, tenant, backed_up, changes, error):
    before = runs(server, tenant)
    with pytest.raises(error):
        server.request_restore(
            tenant, evolve(RestoreWish("vault", SNAPSHOT, b"/restore"), **changes)
        )
    assert runs(server, tenant) == before


@pytest.mark.parametrize(
    ("kind", "details", "error"),
    [
        (QuestionKind.LIST_FOLDER, {"snapshot_id": SNAPSHOT}, InvalidJob),
        (QuestionKind.LIST_FOLDER, {"snapshot_id": "0" * 64, "folder": "/"}, SnapshotNotFound),
        (QuestionKind.SEARCH, {"snapshot_id": SNAPSHOT, "pattern": "x" * 9000}, InvalidJob),
        (QuestionKind.SNAPSHOTS, {"repository_id": "0" * 32}, InvalidJob),
    ],
)
def test_question_that_makes_no_sense_is_refused(server, tenant, backed_up, kind, details, error):
    with pytest.raises(error):
        server.ask(tenant, QuestionWish("vault", kind, details))


def test_question_goes_to_the_machine_that_holds_the_key(server, tenant, machine, backed_up):
    details = {"snapshot_id": SNAPSHOT, "folder": "/home"}
    question = server.ask(tenant, QuestionWish("vault", QuestionKind.LIST_FOLDER, details))
    found = server.work_of(machine).next_question()
    assert found == question
    assert found.details["repository_id"] == server.tenant(tenant).repositories.get("vault").id


def test_nothing_is_asked_of_a_machine_whose_key_was_taken_back(server, tenant, machine, backed_up):
    server.revoke(tenant, "pluto")
    for verb in (
        lambda: server.request_run(tenant, "documents"),
        lambda: server.request_restore(tenant, RestoreWish("vault", SNAPSHOT, b"/restore")),
        lambda: server.ask(tenant, QuestionWish("vault", QuestionKind.SNAPSHOTS, {})),
        lambda: server.add_job(tenant, wish(name="another")),
    ):
        with pytest.raises(InvalidJob):
            verb()


# --- machines


def test_machine_joins_once_per_token_and_may_ask_again_for_a_lost_answer(server, member):
    token, kept = server.allow_agent(member, "mars")
    assert kept.expires_at - kept.created_at == timedelta(hours=1)
    body = EnrolBody(token, "ab" * 16, AGENT_KEY_PREFIX + "7e" * 32)
    first, _ = server.enrol(body)
    again, _ = server.enrol(body)
    assert again.agent.id == first.agent.id
    with pytest.raises(TokenRefused):
        server.enrol(evolve(body, agent_id="cd" * 16))
    assert server.recognise(body.key).agent.name == "mars"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"token": "backapp_enrol_" + "0" * 64}, TokenRefused),
        ({"token": ""}, TokenRefused),
        ({"token": "backapp_agent_" + "0" * 64}, TokenRefused),
        ({"agent_id": "AB" * 16}, InvalidName),
        ({"agent_id": "../../etc"}, InvalidName),
        ({"key": "short"}, InvalidName),
        ({"key": AGENT_KEY_PREFIX + "0" * 16}, InvalidName),
        ({"key": AGENT_KEY_PREFIX + "é" * 64}, InvalidName),
    ],
)
def test_machine_without_a_good_token_id_and_key_does_not_join(server, member, changes, error):
    token, _ = server.allow_agent(member, "mars")
    body = EnrolBody(token, "ab" * 16, AGENT_KEY_PREFIX + "7e" * 32)
    with pytest.raises(error):
        server.enrol(evolve(body, **changes))
    assert [one.name for one in server.tenant(member.tenant_id).agents.list()] == ["pluto"]


@pytest.mark.parametrize("key", ["", "x", AGENT_KEY_PREFIX, AGENT_KEY_PREFIX + "0" * 64])
def test_key_that_is_nobodys_is_refused(server, machine, key):
    with pytest.raises(AgentRevoked):
        server.recognise(key)


# --- everything that is wrong, at once


def fields(faults) -> list[str]:
    return [fault.field for fault in faults]


def test_every_fault_of_a_job_is_told_beside_its_field(server, tenant):
    wish = JobWish(
        "bad name",
        "nowhere",
        (b"relative", b"/etc/../x"),
        scanner_settings={"excludes": ["a[b"]},
        schedule=Schedule("99 * * * *", "Europe/Nowhere"),
    )
    faults = server.job_faults(tenant, wish, is_new=True)
    assert fields(faults) == [
        *("name", "repository", "roots", "roots", "scanner_settings", "time_zone", "schedule")
    ]
    assert server.job_faults(tenant, JobWish("n", "", ()), is_new=True)[0].field == "repository"


def test_sources_that_the_machine_keeps_out_are_a_fault_of_the_sources(server, tenant):
    wish = JobWish("documents", "vault", (b"/home/ann", b"/root"))
    [fault] = server.job_faults(tenant, wish, is_new=True)
    assert fault.field == "roots"
    assert "keeps /root out" in fault.sentence


def test_job_without_faults_is_taken_and_its_name_is_taken_then(server, tenant):
    wish = JobWish("documents", "vault", (b"/home/ann",), schedule=DAILY)
    assert server.job_faults(tenant, wish, is_new=True) == []
    server.add_job(tenant, wish)
    assert fields(server.job_faults(tenant, wish, is_new=True)) == ["name"]
    assert server.job_faults(tenant, wish, is_new=False) == []


def test_schedule_that_never_comes_is_a_fault(server, tenant):
    wish = JobWish("documents", "vault", (b"/home",), schedule=Schedule("0 0 31 2 *"))
    assert fields(server.job_faults(tenant, wish, is_new=True)) == ["schedule"]


def test_every_fault_of_a_repository_is_told_beside_its_field(server, tenant):
    wish = RepositoryWish("a b", "nobody", folder=b"srv", archiver="zip")
    assert fields(server.repository_faults(tenant, wish)) == [
        *("name", "agent", "folder", "archiver")
    ]
    taken = RepositoryWish("vault", "pluto", folder=b"/backup")
    assert fields(server.repository_faults(tenant, taken)) == ["name", "folder"]
    elsewhere = RepositoryWish("attic", "", bucket="none")
    assert fields(server.repository_faults(tenant, elsewhere)) == ["agent", "bucket"]
    fine = RepositoryWish("attic", "pluto", folder=b"/attic")
    assert server.repository_faults(tenant, fine) == []


def test_schedule_is_put_in_words(server):
    assert server.described(DAILY).startswith("At 02:00 every day")


@pytest.mark.parametrize("name", ["lease_seconds", "alive_seconds"])
def test_machine_gets_the_time_that_it_wishes_for_within_the_settings(server, name):
    counted = getattr(server, name)
    most = getattr(server.settings, name)
    assert (counted(0.5), counted(most + 1)) == (0.5, most)
    for wished in (0, -1):
        with pytest.raises(InputError):
            counted(wished)
