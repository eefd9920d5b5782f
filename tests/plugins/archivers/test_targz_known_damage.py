"""What was found damaged is not built on any more."""

import pytest

from backapp_core.events import LogLine
from backapp_core.testing.faults import flip_bit


def _flip_in_archive(bench) -> str:
    name = next(name for name in bench.bucket.objects if name.startswith("archives/"))
    data = bench.bucket.objects[name]
    bench.bucket.store(name, flip_bit(data, len(data) * 4), replace=True)
    return name


@pytest.fixture
def damaged(bench, random_bytes):
    """A bench with one snapshot whose archive has a flipped bit."""
    (bench.source / "file").write_bytes(random_bytes(100_000))
    snapshot = bench.back_up()
    _flip_in_archive(bench)
    return bench, snapshot


def test_the_backup_after_a_check_that_found_damage_is_full_and_comes_back(damaged):
    bench, _ = damaged
    report = bench.repository.check(read_data=True)
    assert not report.is_clean
    assert any("next backup" in finding.message for finding in report.findings)
    healed = bench.back_up()
    assert healed.parent_id is None
    assert not bench.differences(healed, bench.facts())


def test_the_backup_after_a_restore_that_found_damage_is_full_and_comes_back(damaged):
    bench, snapshot = damaged
    assert bench.extract(snapshot)[1].not_restored
    healed = bench.back_up()
    assert healed.parent_id is None
    assert not bench.differences(healed, bench.facts())


def test_damage_that_is_gone_is_forgotten(damaged):
    bench, _ = damaged
    bench.repository.check(read_data=True)
    _flip_in_archive(bench)
    assert bench.repository.check(read_data=True).is_clean
    assert bench.back_up().parent_id is not None


def test_notes_that_cannot_be_read_are_told_and_stop_nothing(damaged):
    bench, _ = damaged
    bench.repository.check(read_data=True)
    (note,) = bench.surroundings.state_folder.glob("targz/damaged-*.json")
    note.write_bytes(b"\xff not json")
    assert bench.back_up().parent_id is not None
    assert any("cannot be read" in line.text for line in bench.recording.of(LogLine))
