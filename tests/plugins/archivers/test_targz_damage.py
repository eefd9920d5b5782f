"""Whatever happens to stored bytes is noticed, named, and harms only what it touches."""

import os
import random
from pathlib import Path

import pyrage
import pytest

from backapp_core.errors import BackappError, DamagedRepository, WrongPassword
from backapp_core.model.repositories import Severity
from backapp_core.ports.surroundings import NO_KEYS, Keys
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.faults import DAMAGES, DamagingTransport, damaged, flip_bit, flipping
from backapp_core.testing.trees import describe_tree
from backapp_plugins.archivers.targz import backapp_archivers

pytestmark = pytest.mark.thorough

KIND = backapp_archivers()[0]


def _fill(bench, *, file_bytes: int = 1500) -> None:
    """Make three snapshots: a full one and two increments."""
    source = bench.source
    (source / "folder").mkdir()
    for number in range(3):
        (source / f"folder/file {number}").write_bytes(random.Random(number).randbytes(file_bytes))
    (source / "kept").write_bytes(random.Random(9).randbytes(file_bytes * 3))
    (source / "link").symlink_to("kept")
    os.link(source / "kept", source / "also kept")
    bench.points = []
    for number in range(3):
        (source / f"folder/file {number}").write_bytes(
            random.Random(50 + number).randbytes(file_bytes)
        )
        bench.points.append((bench.back_up(), bench.facts()))


@pytest.fixture
def filled(bench):
    _fill(bench)
    return bench


@pytest.fixture
def filled_and_sealed(workbench, sealed):
    bench = workbench(**sealed)
    _fill(bench)
    return bench


@pytest.fixture(params=["plain", "sealed"])
def either(request):
    return request.getfixturevalue("filled" if request.param == "plain" else "filled_and_sealed")


def _reopened(bench, tmp_path: Path, objects):
    """Open what ``objects`` are, on a machine that has no cache of it."""
    cache = tmp_path / f"no-cache-{os.urandom(4).hex()}"
    state = tmp_path / f"no-state-{os.urandom(4).hex()}"
    return bench.open(
        MemoryTransport(MemoryBucket(objects)), cache_folder=cache, state_folder=state
    )


KINDS = ("snapshots/", "manifests/", "archives/", "backapp.json")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("prefix", KINDS)
def test_every_damage_to_every_sort_of_object_is_noticed_and_named(
    either, tmp_path, prefix, damage
):
    objects = dict(either.bucket.objects)
    cases = 0
    for name in sorted(objects):
        if not name.startswith(prefix):
            continue
        peers = [other for other in objects if other[:5] == name[:5]]
        bit = len(objects[name]) * 4
        changed = damaged(objects, name, damage, peers=peers, bit=bit)
        if changed == objects:
            continue
        size_tells = damage != "flip" and len(changed.get(name, b"")) != len(objects[name])
        cases += 1
        if prefix == "backapp.json":
            with pytest.raises(BackappError, match=r"backapp\.json"):
                _reopened(either, tmp_path, changed)
            continue
        repository = _reopened(either, tmp_path, changed)
        if prefix == "snapshots/" and damage == "delete":
            # Nothing points at a record. What it needed is noted; the engine's witness misses it.
            notes = repository.check().findings
            assert any(note.object_name.startswith("manifests/") for note in notes)
            continue
        quick = {each.object_name for each in repository.check().findings if _is_error(each)}
        assert name in quick or not (size_tells or prefix == "snapshots/")
        errors = [each for each in repository.check(read_data=True).findings if _is_error(each)]
        assert name in {each.object_name for each in errors}
        if prefix != "snapshots/":
            touched = {each for each in objects if changed.get(each) != objects[each]}
            _require_named_snapshots(repository, errors, touched)
            _require_honest_restores(either, tmp_path, repository, errors)
    assert cases or (prefix, damage) in {("backapp.json", "swap"), ("backapp.json", "older")}


def _require_named_snapshots(repository, errors, touched) -> None:
    named = {each for finding in errors for each in finding.snapshot_ids}
    assert named
    if all(name.startswith("archives/") for name in touched):
        users = {each.id for each in repository.snapshots() if touched & set(each.archives)}
        assert named == users


def _is_error(finding) -> bool:
    return finding.severity is Severity.ERROR


def _require_honest_restores(bench, tmp_path: Path, repository, errors) -> None:
    """Restore all: what is there is right, what is not is listed, and check knew both."""
    wanted_by_time = {snapshot.taken_at: facts for snapshot, facts in bench.points}
    for snapshot in repository.snapshots():
        paths = {
            path
            for finding in errors
            if snapshot.id in finding.snapshot_ids
            for path in finding.paths
        }
        try:
            top, outcome = bench.extract(snapshot, repository=repository)
        except DamagedRepository:
            assert any(finding.object_name.startswith("manifests/") for finding in errors)
            continue
        place = top / bench.source.relative_to("/")
        wanted = wanted_by_time[snapshot.taken_at]
        actual = describe_tree(place)
        lost = {path for path, _ in outcome.not_restored}
        assert lost == paths
        inside = {os.path.relpath(path, os.fsencode(bench.source)) for path in lost}
        assert set(wanted) - set(actual) == inside
        for path, facts in actual.items():
            assert facts.content == wanted[path].content
            assert facts.link_group == wanted[path].link_group or inside


def test_a_bad_transfer_is_no_damage_and_two_are(either, tmp_path):
    for name in either.bucket.objects:
        for times, is_clean in ((1, True), (99, False)):
            left = {name: times}
            transport = DamagingTransport(either.transport, flipping(left))
            folder = tmp_path / os.urandom(4).hex()
            try:
                repository = either.open(transport, cache_folder=folder, state_folder=folder)
            except BackappError:
                assert name == "backapp.json"
                assert not is_clean
                continue
            assert repository.check(read_data=True).is_clean is (is_clean or left[name] == 99)
            if is_clean and name != "backapp.json":
                left[name] = 1
                for snapshot, facts in either.points:
                    assert either.differences(snapshot, facts, repository=repository) == []


def test_every_flipped_byte_of_a_repository_is_noticed(filled, tmp_path):
    noticed = _flip_every_byte(filled, tmp_path, step=31)
    print(f"{noticed} flips noticed")
    assert noticed > 300


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("file_bytes", "step"), [(1_500, 1), (30_000, 5)])
def test_every_flipped_byte_of_a_larger_repository_is_noticed(bench, tmp_path, file_bytes, step):
    _fill(bench, file_bytes=file_bytes)
    noticed = _flip_every_byte(bench, tmp_path, step=step)
    print(f"{noticed} flips noticed")
    assert noticed > 10_000


def _flip_every_byte(bench, tmp_path: Path, *, step: int) -> int:
    bucket = MemoryBucket(bench.bucket.objects)
    state = tmp_path / "state"
    noticed = 0
    for name, data in sorted(bench.bucket.objects.items()):
        for position in range(0, len(data), step):
            bucket.store(name, flip_bit(data, position * 8 + position % 8), replace=True)
            try:
                repository = bench.open(
                    MemoryTransport(bucket), cache_folder=tmp_path / "none", state_folder=state
                )
                assert not repository.check(read_data=True).is_clean, (name, position)
            except BackappError:
                assert name == "backapp.json", position
            noticed += 1
        bucket.store(name, data, replace=True)
    return noticed


def test_a_wrong_identity_is_told_from_damage(filled_and_sealed, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    snapshot, _ = filled_and_sealed.points[-1]
    for keys in (Keys(identity_files=(other,)), NO_KEYS):
        repository = filled_and_sealed.open(keys=keys, cache_folder=tmp_path / "elsewhere")
        with pytest.raises(WrongPassword):
            list(repository.nodes(snapshot))
        if keys is not NO_KEYS:
            with pytest.raises(WrongPassword):
                repository.check(read_data=True)
            continue
        # Stored bytes can be compared without any identity, and that is said.
        (note,) = repository.check(read_data=True).findings
        assert "nothing was unsealed" in note.message
    objects = dict(filled_and_sealed.bucket.objects)
    for name in snapshot.archives:
        objects[name] = flip_bit(objects[name], 60 * 8)  # within the recipient's stanza
    for cache in ("elsewhere", "../bench-0/cache"):
        transport = MemoryTransport(MemoryBucket(objects))
        repository = filled_and_sealed.open(transport, cache_folder=tmp_path / cache)
        _, outcome = filled_and_sealed.extract(snapshot, repository=repository)
        assert len(outcome.not_restored) == 5
