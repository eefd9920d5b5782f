"""What is remembered of a repository, and what is said when something vanished."""

import pytest

from backapp_core import ForgetRequest, Job, Level, LogLine
from backapp_core.model.repositories import Severity
from backapp_plugins.stores import sql

TREE = {b"/home/a": b"1"}


@pytest.fixture
def extra_plugins():
    return {"sql": sql}


def warnings(events):
    return [line.text for line in events.of(LogLine) if line.level is Level.WARNING]


@pytest.fixture
def vanish(fakes):
    """Take snapshots out of the bucket, as an intruder or a faulty store would."""

    def vanish(*snapshots):
        for snapshot in snapshots:
            fakes.buckets["fake:memory"].discard(f"snapshots/{snapshot.id}")

    return vanish


@pytest.fixture
def journal(engine, repository):
    return engine.surroundings.state_folder / "witness" / f"{repository.info.id}.log"


def test_vanished_snapshot_is_said_by_every_listing(engine, repository, take, vanish, events):
    first, second = take(TREE), take(TREE)
    vanish(first)
    assert engine.snapshots(repository) == [second]
    assert len(warnings(events)) == 1
    assert first.short_id in warnings(events)[0]
    engine.find_snapshot(repository, "latest")
    assert len(warnings(events)) == 2


def test_vanished_snapshot_is_said_by_a_backup_which_goes_on(
    engine, repository, take, vanish, events
):
    first = take(TREE)
    vanish(first)
    assert take(TREE).counts.problems == 0
    assert first.short_id in warnings(events)[0]


def test_vanished_snapshot_is_a_problem_of_a_jobs_run(engine, repository, take, vanish, events):
    first = take(TREE)
    engine.jobs.add(Job(name="nightly", repository="fake:memory", roots=(b"/home",)))
    assert not engine.run_job("nightly").has_warnings
    vanish(first)
    run = engine.run_job("nightly")
    assert run.has_warnings
    said = [event.text for _, event in engine.runs.events(run.id) if isinstance(event, LogLine)]
    assert len(said) == 1
    assert first.short_id in said[0]


def test_check_finds_what_vanished_until_it_is_accepted(engine, repository, take, vanish):
    first = take(TREE)
    take(TREE)
    vanish(first)
    report = engine.check(repository)
    assert not report.is_clean
    assert [finding.snapshot_ids for finding in report.findings] == [(first.id,)]
    assert engine.check(repository, accepts_missing=True).is_clean
    assert engine.check(repository).findings == ()


def test_snapshot_of_another_machine_is_remembered_when_it_is_listed(
    engine, repository, take, vanish, journal
):
    snapshot = take(TREE)
    journal.unlink()
    engine.snapshots(repository)
    vanish(snapshot)
    assert engine.check(repository).findings[0].severity is Severity.ERROR


def test_what_we_forget_is_not_missed(engine, repository, take, events):
    take(TREE)
    take(TREE)
    engine.forget(repository, engine.plan_forget(repository, ForgetRequest(("latest",))))
    assert engine.check(repository).is_clean
    assert warnings(events) == []


def test_what_we_retag_is_not_missed(engine, repository, take, events):
    engine.tag(repository, [take(TREE)], add=["x"])
    assert engine.check(repository).is_clean
    assert warnings(events) == []


def test_what_somebody_else_retagged_is_not_missed(engine, repository, take, events):
    repository.retag(take(TREE), ("x",))
    repository.retag(repository.snapshots()[0], ("y",))
    assert engine.check(repository).is_clean
    assert warnings(events) == []


def test_what_we_failed_to_forget_is_missed_when_it_vanishes(
    engine, repository, take, vanish, fakes, clock
):
    snapshot = take(TREE)
    plan = engine.plan_forget(repository, ForgetRequest(("latest",)))
    lock = clock.now().isoformat().encode()
    fakes.buckets["fake:memory"].store("locks/shared-other", lock, replace=False)
    with pytest.raises(Exception, match="another process"):
        engine.forget(repository, plan)
    vanish(snapshot)
    assert not engine.check(repository).is_clean


def test_repository_that_was_rolled_back_is_noticed(engine, repository, take, fakes):
    take(TREE)
    old = fakes.buckets["fake:memory"].objects
    late = take(TREE)
    for name in fakes.buckets["fake:memory"].objects.keys() - old.keys():
        fakes.buckets["fake:memory"].discard(name)
    assert engine.check(repository).findings[-1].snapshot_ids == (late.id,)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_journal_cut_by_a_crash_raises_no_alarm_and_stays_useful(
    engine, repository, take, vanish, journal, events, cut
):
    first = take(TREE)
    take(TREE)
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert len(engine.snapshots(repository)) == 2
    assert engine.check(repository).is_clean
    vanish(first)
    assert not engine.check(repository).is_clean


def test_journal_of_nonsense_is_passed_over(engine, repository, take, journal):
    snapshot = take(TREE)
    with journal.open("ab") as file:
        file.write(b"\xff\xfe\nseen\nseen x y z w\ngone\nseen ab cd never host\n\n")
    assert engine.snapshots(repository) == [snapshot]
    assert engine.check(repository).is_clean


def test_nothing_is_written_when_nothing_is_new(engine, repository, take, journal):
    take(TREE)
    before = journal.read_bytes()
    engine.snapshots(repository)
    assert journal.read_bytes() == before


def test_unusable_state_folder_warns_and_stops_nothing(engine, repository, take, journal, events):
    journal.parent.parent.joinpath("witness").mkdir(exist_ok=True)
    journal.mkdir()
    snapshot = take(TREE)
    assert engine.snapshots(repository) == [snapshot]
    assert any("state folder" in text for text in warnings(events))
