"""A job from request to final state, as the store and the listeners see it."""

from datetime import UTC, datetime

import pytest
from attrs import evolve, frozen

from backapp_core import (
    Job,
    LogLine,
    Problem,
    Retention,
    Run,
    RunFilter,
    RunMoved,
    RunState,
    Schedule,
    Settings,
    processes,
)
from backapp_core.assembly import assemble
from backapp_core.errors import (
    DeliveryError,
    InputError,
    InvalidAddress,
    InvalidJob,
    InvalidSchedule,
    InvalidSettings,
    JobNotFound,
    NameTaken,
    StoreUnavailable,
    UnknownPlugin,
)
from backapp_core.hookspecs import hookimpl
from backapp_core.model.notifications import Urgency
from backapp_core.ports.notifiers import Notifier, NotifierKind
from backapp_core.ports.schedulers import Scheduler, SchedulerKind
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.testing.fakes import MemoryBucket
from backapp_core.testing.memory_scanner import Unreadable
from backapp_core.testing.memory_store import MemoryStore

JOB = Job(name="nightly", repository="fake:memory", roots=(b"/home",))


@frozen
class BellSettings:
    room: str


class Bell(Notifier):
    def __init__(self, rung, failures):
        self.rung = rung
        self.failures = failures

    def deliver(self, notification):
        if self.failures:
            raise self.failures.pop(0)
        self.rung.append(notification)


class Hourly(Scheduler):
    description = "every hour"

    def next_after(self, moment):
        return moment.replace(hour=moment.hour + 1, minute=0, second=0)

    def previous_before(self, moment):
        return None


class Interrupting(MemoryBucket):
    """Somebody presses Ctrl-C as soon as anything is looked for."""

    def find(self, name):
        raise KeyboardInterrupt


class Around:
    """The remaining roles, as a plugin."""

    def __init__(self):
        self.store = MemoryStore()
        self.rung, self.failures, self.opened = [], [], []

    @hookimpl
    def backapp_stores(self):
        def opened(url, surroundings):
            self.opened.append(url)
            return self.store

        return [StoreKind("memory", frozenset({"sqlite"}), opened)]

    @hookimpl
    def backapp_notifiers(self):
        return [
            NotifierKind("bell", BellSettings, lambda settings, _: Bell(self.rung, self.failures))
        ]

    @hookimpl
    def backapp_schedulers(self):
        def parse(expression, time_zone):
            if expression != "@hourly":
                raise InvalidSchedule(f"'{expression}' is no schedule")
            return Hourly()

        return [SchedulerKind("cron", parse)]


@pytest.fixture
def around():
    return Around()


@pytest.fixture
def extra_plugins(around):
    return {"around": around}


@pytest.fixture
def bell(engine):
    """Return an engine like the first one with a bell that rings for what is asked."""

    def bell(when="failure"):
        settings = Settings.parse(
            {"notifiers": {"hall": {"kind": "bell", "room": "1", "when": when}}}
        )
        return assemble(settings, plugins=engine.plugins, surroundings=engine.surroundings)

    return bell


@pytest.fixture
def job(engine, repository, tree):
    tree.update({b"/home/a": b"1", b"/home/b": b"2"})
    engine.jobs.add(JOB)
    return JOB


def test_completed_run_names_its_snapshot_and_counts(engine, repository, job):
    run = engine.run_job("nightly")
    assert run.state is RunState.COMPLETED
    (snapshot,) = engine.snapshots(repository)
    assert (run.snapshot_id, run.counts) == (snapshot.id, snapshot.counts)
    assert engine.runs.get(run.id) == run
    assert not run.has_warnings


def test_run_moves_through_its_states_in_the_open(engine, job, events):
    run = engine.run_job("nightly")
    assert [moved.run.state for moved in events.of(RunMoved)] == ["running", "completed"]
    kinds = [type(event).__name__ for _, event in engine.runs.events(run.id)]
    assert kinds == ["RunMoved", "SnapshotSaved", "RunMoved"]


def test_problems_of_a_run_are_recorded_with_it(engine, job, tree):
    tree[b"/home/c"] = Unreadable()
    run = engine.run_job("nightly")
    assert run.has_warnings
    problems = [event for _, event in engine.runs.events(run.id) if isinstance(event, Problem)]
    assert [problem.path for problem in problems] == [b"/home/c"]


def test_failure_of_the_destination_is_a_failed_run(engine, job, fakes):
    fakes.buckets["fake:memory"].capacity_bytes = 0
    run = engine.run_job("nightly")
    assert run.state is RunState.FAILED
    assert "no room left" in run.error
    assert engine.runs.get(run.id) == run


def test_missing_repository_is_a_failed_run_that_says_the_way_out(engine, job, fakes):
    engine.jobs.replace(evolve(JOB, repository="fake:elsewhere"))
    assert "backapp init -r" in engine.run_job("nightly").error


def test_fault_of_a_plugin_is_a_failed_run_and_no_run_for_ever(engine, job, tree):
    tree["no bytes"] = b""
    run = engine.run_job("nightly")
    assert run.state is RunState.FAILED
    assert run.error.startswith("unexpected error: ")


def test_wish_to_stop_is_a_cancelled_run(engine, job):
    engine.surroundings.cancel.cancel()
    run = engine.run_job("nightly")
    assert run.state is RunState.CANCELLED
    assert engine.runs.get(run.id) == run


def test_interrupt_leaves_no_run_that_seems_to_go_on(engine, job, fakes):
    fakes.buckets["fake:memory"] = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        engine.run_job("nightly")
    (run,) = engine.runs.list(RunFilter())
    assert run.state is RunState.CANCELLED


def test_unknown_job_is_named(engine, repository):
    with pytest.raises(JobNotFound, match="weekly"):
        engine.run_job("weekly")


def test_one_due_moment_has_one_run(engine, job):
    due_at = datetime(2026, 1, 1, tzinfo=UTC)
    engine.run_job("nightly", due_at=due_at)
    with pytest.raises(NameTaken):
        engine.run_job("nightly", due_at=due_at)


def test_a_run_may_skip_what_is_unchanged(engine, repository, job, clock, tree):
    engine.jobs.replace(evolve(JOB, skips_unchanged=True, retention=Retention(last=1)))
    first = engine.run_job("nightly")
    clock.advance(60)
    again = engine.run_job("nightly")
    assert (again.state, again.snapshot_id) == (RunState.COMPLETED, first.snapshot_id)
    assert (again.counts.files_unmodified, again.counts.stored_bytes) == (2, 0)
    said = [event.text for _, event in engine.runs.events(again.id) if isinstance(event, LogLine)]
    assert f"nothing changed since snapshot {first.snapshot_id[:8]}; none was made" in said
    assert [one.id for one in engine.snapshots(repository)] == [first.snapshot_id]
    clock.advance(60)
    tree[b"/home/a"] = b"2"
    assert engine.run_job("nightly").snapshot_id != first.snapshot_id


def test_retention_is_applied_after_the_backup(engine, repository, job, clock):
    engine.jobs.replace(evolve(JOB, retention=Retention(last=2)))
    for _ in range(4):
        clock.advance(60)
        last = engine.run_job("nightly")
    assert len(engine.snapshots(repository)) == 2
    assert engine.find_snapshot(repository, "latest").id == last.snapshot_id
    assert engine.check(repository).is_clean


def test_retention_leaves_other_hosts_and_roots_alone(engine, repository, job, take):
    other = take({b"/home/a": b"1"}, hostname="other")
    elsewhere = take({b"/srv/a": b"1", b"/home/a": b"1"}, roots=["/srv"])
    engine.jobs.replace(evolve(JOB, retention=Retention(last=1)))
    engine.run_job("nightly")
    engine.run_job("nightly")
    assert {other.id, elsewhere.id} <= {one.id for one in engine.snapshots(repository)}


def test_retention_that_fails_makes_a_warning_of_a_complete_backup(
    engine, repository, job, fakes, clock, events
):
    engine.jobs.replace(evolve(JOB, retention=Retention(last=1)))
    engine.run_job("nightly")
    lock = clock.now().isoformat().encode()
    fakes.buckets["fake:memory"].store("locks/shared-other", lock, replace=False)
    clock.advance(1)
    run = engine.run_job("nightly")
    assert run.has_warnings
    assert len(engine.snapshots(repository)) == 2
    assert "retention failed: another process" in events.of(Problem)[-1].reason


def test_password_command_that_fails_fails_the_run_before_anything_else(engine, job):
    engine.jobs.replace(evolve(JOB, password_file="/x", password_command="/y"))
    assert "use one of them" in engine.run_job("nightly").error


def test_result_is_stored_even_if_what_happened_cannot_be(engine, job, around, events, monkeypatch):
    def refuse(run_id, rows):
        raise ValueError("no such character")

    monkeypatch.setattr(around.store.runs, "add_events", refuse)
    run = engine.run_job("nightly")
    assert run.state is RunState.COMPLETED
    assert engine.runs.get(run.id) == run
    assert events.of(LogLine)[-1].text.endswith(
        "was not recorded: unexpected error: ValueError: no such character"
    )


@pytest.mark.parametrize(
    ("fault", "state"),
    [(ValueError("deaf"), RunState.FAILED), (KeyboardInterrupt(), RunState.CANCELLED)],
)
def test_listener_that_raises_leaves_no_run_that_seems_to_go_on(engine, job, fault, state):
    def listen(event):
        if isinstance(event, RunMoved):
            raise fault

    deaf = assemble(plugins=engine.plugins, surroundings=engine.surroundings, events=listen)
    with pytest.raises(type(fault)):
        deaf.run_job("nightly")
    (run,) = engine.runs.list(RunFilter())
    assert run.state is state


# --- telling people


def test_failure_is_told(bell, around, job, fakes):
    fakes.buckets["fake:memory"].capacity_bytes = 0
    run = bell().run_job("nightly")
    (message,) = around.rung
    assert message.urgency is Urgency.FAILURE
    # Whoever gets the messages of several machines sees which one it is.
    machine = processes.host_name()
    assert message.subject == f"backup 'nightly' on {machine} failed"
    assert {("run", run.id), ("machine", machine)} <= {*message.facts}
    assert "snapshot" not in dict(message.facts)
    assert f"Machine: {machine}\n" in message.text
    assert run.error in message.text


def test_run_that_nobody_ended_is_told_about_before_the_next_one(bell, around, job, clock, fakes):
    dead = Run("d" * 32, "nightly", RunState.REQUESTED, clock.now())
    around.store.runs.add(dead)
    around.store.runs.move(dead.start(at=clock.now()), from_state=RunState.REQUESTED)
    fakes.buckets["fake:memory"] = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        bell().run_job("nightly")
    (message,) = around.rung
    assert ("run", dead.id) in message.facts
    assert "the process that ran it ended without a word" in message.text


@pytest.mark.parametrize(
    ("when", "ending", "told"),
    [
        ("failure", "fine", 0),
        ("failure", "warning", 0),
        ("warning", "fine", 0),
        ("warning", "warning", 1),
        ("always", "fine", 1),
    ],
)
def test_occasions_are_chosen(bell, around, job, tree, when, ending, told):
    if ending == "warning":
        tree[b"/home/c"] = Unreadable()
    bell(when).run_job("nightly")
    assert len(around.rung) == told


def test_delivery_is_tried_again_when_that_makes_sense(bell, around, job, clock):
    around.failures += [DeliveryError("busy", is_retryable=True)] * 2
    before = clock.monotonic_seconds()
    bell("always").run_job("nightly")
    assert len(around.rung) == 1
    assert clock.monotonic_seconds() > before


@pytest.mark.parametrize("is_retryable", [True, False])
def test_notifier_that_fails_is_a_warning_and_no_failure(bell, around, job, events, is_retryable):
    around.failures += [DeliveryError("no such host", is_retryable=is_retryable)] * 9
    assert bell("always").run_job("nightly").state is RunState.COMPLETED
    assert len(around.failures) == (6 if is_retryable else 8)
    assert "'hall' did not deliver: no such host" in events.of(LogLine)[-1].text


def test_notifier_that_breaks_its_contract_is_a_warning_and_the_others_are_told(
    engine, around, job, events
):
    plain = {"kind": "bell", "room": "1", "when": "always"}
    settings = Settings.parse({"notifiers": {"attic": plain, "hall": plain}})
    both = assemble(settings, plugins=engine.plugins, surroundings=engine.surroundings)
    around.failures.append(ZeroDivisionError("oops"))
    assert both.run_job("nightly").state is RunState.COMPLETED
    assert len(around.rung) == 1
    assert events.of(LogLine)[-1].text == (
        "notifier 'attic' (plugin 'around') misbehaved: ZeroDivisionError: oops"
    )


@pytest.mark.parametrize(
    ("plain", "path"),
    [
        ({"room": "1"}, "notifiers.hall.kind"),
        ({"kind": 7}, "notifiers.hall.kind"),
        ({"kind": "bell"}, "notifiers.hall.room"),
        ({"kind": "bell", "room": 1}, "notifiers.hall.room"),
        ({"kind": "bell", "room": "1", "loud": True}, "notifiers.hall.loud"),
        ({"kind": "bell", "room": "1", "when": "never"}, "notifiers.hall.when"),
    ],
)
def test_faulty_notifier_is_refused_before_anything_happens(engine, repository, job, plain, path):
    settings = Settings.parse({"notifiers": {"hall": plain}})
    other = assemble(settings, plugins=engine.plugins, surroundings=engine.surroundings)
    with pytest.raises(InvalidSettings) as caught:
        other.run_job("nightly")
    assert [fault[0] for fault in caught.value.faults] == [path]
    assert engine.snapshots(repository) == []


# --- jobs


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"roots": ()}, InvalidJob),
        ({"repository": ""}, InvalidAddress),
        ({"repository": "ftp9:x"}, UnknownPlugin),
        ({"schedule": Schedule("every day")}, InvalidSchedule),
        ({"schedule": Schedule("@hourly", scheduler="sun")}, UnknownPlugin),
        ({"scanner": "disc"}, UnknownPlugin),
        ({"scanner_settings": {"depth": 1}}, InvalidSettings),
        ({"password_file": "a", "password_command": "b"}, InputError),
    ],
)
def test_job_that_could_never_run_is_refused(engine, change, error):
    with pytest.raises(error):
        engine.check_job(evolve(JOB, **change))


def test_job_that_makes_sense_is_accepted(engine):
    engine.check_job(evolve(JOB, schedule=Schedule("@hourly")))


def test_next_due_moment_is_the_schedulers(engine):
    job = evolve(JOB, schedule=Schedule("@hourly"))
    assert engine.next_due(job) == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert engine.next_due(evolve(job, is_enabled=False)) is None
    assert engine.next_due(JOB) is None


# --- the store


def test_store_is_opened_on_first_use_and_once(engine, around):
    assert around.opened == []
    assert engine.jobs is engine.jobs
    assert engine.runs is engine.store.runs
    (url,) = around.opened
    assert url == f"sqlite:///{engine.surroundings.state_folder}/backapp.sqlite"


def test_state_folder_that_cannot_be_made_is_said(engine, tmp_path):
    (tmp_path / "file").write_text("")
    surroundings = evolve(engine.surroundings, state_folder=tmp_path / "file" / "state")
    other = assemble(plugins=engine.plugins, surroundings=surroundings)
    with pytest.raises(StoreUnavailable, match="state folder"):
        other.store.close()
