"""A repository that was put in the place of another one is noticed."""

import pytest

from backapp_core import Job, Level, LogLine
from backapp_core.engine.places import Places
from backapp_core.ports.surroundings import NO_KEYS
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.memory_archiver import MEMORY_ARCHIVER
from backapp_plugins.stores import sql

PLACE = "fake:memory"


@pytest.fixture
def extra_plugins():
    return {"sql": sql}


def warnings(events):
    return [line.text for line in events.of(LogLine) if line.level is Level.WARNING]


@pytest.fixture
def replace(fakes, tmp_path):
    """Put another repository in the place of the first, as another machine would."""

    def replace():
        there, elsewhere = fakes.buckets[PLACE], MemoryBucket()
        around = make_surroundings(tmp_path / "elsewhere", seed=7)
        with MemoryTransport(elsewhere) as transport:
            settings = MEMORY_ARCHIVER.settings()
            MEMORY_ARCHIVER.create(transport, settings, NO_KEYS, around).close()
        for name in there.objects:
            there.discard(name)
        for name, data in elsewhere.objects.items():
            there.store(name, data, replace=True)

    return replace


def test_first_repository_at_an_address_is_known_and_another_is_not(tmp_path):
    places = Places(tmp_path)
    assert places.meet("/srv/a", "aa") == ""
    assert places.meet("/srv/b", "bb") == ""
    assert places.meet("/srv/a", "aa") == ""
    assert places.meet("/srv/a", "bb") == "aa"
    assert places.meet("/srv/a", "bb") == "aa"


def test_accepted_one_is_known_beside_the_first_where_it_was_met_and_nowhere_else(tmp_path):
    places = Places(tmp_path)
    places.meet("/srv/a", "aa")
    places.meet("/srv/a", "bb")
    places.meet("/srv/c", "cc")
    places.accept("bb")
    assert [places.meet("/srv/a", one) for one in ("aa", "bb", "cc")] == ["", "", "bb"]
    assert places.meet("/srv/c", "bb") == "cc"


def test_journal_cut_by_a_crash_stays_useful(tmp_path):
    places = Places(tmp_path)
    places.meet("/srv/a", "aa")
    (journal,) = tmp_path.rglob("*.log")
    with journal.open("ab") as file:
        file.write(b"met b")
    assert places.meet("/srv/a", "bb") == "aa"
    places.accept("bb")
    assert places.meet("/srv/a", "bb") == ""


def test_replaced_repository_is_said_whenever_it_is_opened_until_it_is_accepted(
    engine, repository, replace, events
):
    old = repository.info.id
    engine.open_repository(PLACE).close()
    assert warnings(events) == []
    replace()
    for _ in range(2):
        with engine.open_repository(PLACE) as opened:
            new = opened.info.id
    assert len(warnings(events)) == 2
    assert f"another repository stands at {PLACE} than before" in warnings(events)[-1]
    assert old[:8] in warnings(events)[-1]
    assert new[:8] in warnings(events)[-1]
    with engine.open_repository(PLACE) as opened:
        engine.check(opened, accepts_missing=True)
    engine.open_repository(PLACE).close()
    assert len(warnings(events)) == 3


def test_replaced_repository_is_a_problem_of_each_run_of_a_job(engine, repository, replace, tree):
    tree[b"/home/a"] = b"1"
    engine.jobs.add(Job(name="nightly", repository=PLACE, roots=(b"/home",)))
    assert not engine.run_job("nightly").has_warnings
    replace()
    assert engine.run_job("nightly").has_warnings
    assert engine.run_job("nightly").has_warnings


def test_repository_that_this_machine_made_anew_is_no_surprise(engine, repository, fakes, events):
    for name in fakes.buckets[PLACE].objects:
        fakes.buckets[PLACE].discard(name)
    engine.create_repository(PLACE, archiver="memory").close()
    engine.open_repository(PLACE).close()
    assert warnings(events) == []


def test_state_folder_that_cannot_be_used_is_a_warning(engine, repository, events):
    for path in engine.surroundings.state_folder.joinpath("places").iterdir():
        path.unlink()
        path.mkdir()
    engine.open_repository(PLACE).close()
    assert any("state folder" in text for text in warnings(events))
