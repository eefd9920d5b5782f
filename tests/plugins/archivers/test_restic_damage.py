"""Whatever happens to stored bytes is noticed, named, and harms only what it touches."""

import os
import random
from collections.abc import Mapping, Sequence
from hashlib import sha256

import pytest

from backapp_core.errors import BackappError, DamagedRepository
from backapp_core.model.repositories import Finding
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.faults import DAMAGES, DamagingTransport, damaged, flip_bit, flipping
from backapp_core.testing.trees import describe_tree
from backapp_plugins.archivers.restic.format.layout import LOCKS, pack_name
from backapp_plugins.archivers.restic.format.packs import TRAILER_BYTES, decode_trailer

pytestmark = pytest.mark.thorough

KINDS = (
    "config",
    "key",
    "snapshot",
    "index",
    "lock",
    "data body",
    "data header",
    "tree body",
    "tree header",
    "length field",
)
PREFIXES = {"key": "keys/", "snapshot": "snapshots/", "index": "index/", "lock": LOCKS}


def _fill(bench, *, file_bytes: int = 3_000) -> None:
    """Make three snapshots that share some of what they hold."""
    source = bench.source
    (source / "folder" / "deeper").mkdir(parents=True)
    for number in range(3):
        (source / f"folder/file {number}").write_bytes(random.Random(number).randbytes(file_bytes))
    (source / "folder/deeper/text").write_bytes(b"easily compressed" * (file_bytes // 20))
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
def filled(restic_bench):
    _fill(restic_bench)
    return restic_bench


def _reopened(bench, objects: Mapping[str, bytes]):
    """Open what ``objects`` are, on a machine that has no cache of it."""
    folder = bench.folder / f"fresh-{os.urandom(4).hex()}"
    return bench.open(
        MemoryTransport(MemoryBucket(objects)), cache_folder=folder, state_folder=folder
    )


def _with_locks(bench) -> dict[str, bytes]:
    """Return all objects, and two locks that others left there."""
    place = bench.repository._place
    with place.hold(is_exclusive=False), place.hold(is_exclusive=False):
        return dict(bench.bucket.objects)


def _is_tree_pack(bench, name: str) -> bool:
    packs = bench.repository._place.load_index().table()
    number = packs.packs_of([bytes.fromhex(name[-64:])])[0]
    rows = packs.columns.pack_number == number
    return bool(rows.nonzero()[0][0] >= packs.columns.tree_start)


def _names(bench, kind: str, objects: Mapping[str, bytes]) -> Sequence[str]:
    if kind == "config":
        return ["config"]
    if kind in PREFIXES:
        return sorted(name for name in objects if name.startswith(PREFIXES[kind]))
    packs = sorted(name for name in objects if name.startswith("data/"))
    if kind == "length field":
        return packs
    return [name for name in packs if _is_tree_pack(bench, name) is kind.startswith("tree")]


def _bit(kind: str, data: bytes) -> int:
    """Return which bit is flipped in an object of a kind."""
    header_bytes = decode_trailer(data[-TRAILER_BYTES:], len(data)) if "header" in kind else 0
    if header_bytes:
        return (len(data) - TRAILER_BYTES - header_bytes // 2) * 8
    if kind == "length field":
        return (len(data) - TRAILER_BYTES) * 8 + 3
    return len(data) * 2


def _errors(repository, *, read_data: bool) -> Sequence[Finding]:
    return [one for one in repository.check(read_data=read_data).findings if one.is_error]


def _notices(bench, kind: str, name: str, objects: Mapping[str, bytes]) -> str:
    """Return when damage to ``name`` is noticed, after a look at what is said of it."""
    try:
        repository = _reopened(bench, objects)
    except BackappError:
        return "opening"
    quick = _errors(repository, read_data=False)
    thorough = _errors(repository, read_data=True)
    named = {one.object_name for one in thorough}
    assert {one.object_name for one in quick} <= named
    if thorough:
        assert name in named or (kind, name in objects) == ("index", False)
    if kind not in {"key", "lock"}:
        _require_honest_restores(bench, repository, thorough)
    notes = any(one.object_name == name for one in repository.check().findings)
    return "check" if quick else "data" if thorough else "note" if notes else "-"


def _require_honest_restores(bench, repository, errors: Sequence[Finding]) -> None:
    """Restore all: what is there is right, what is not is listed, and check knew both."""
    wanted_by_time = {snapshot.taken_at: facts for snapshot, facts in bench.points}
    for snapshot in repository.snapshots():
        known = {
            path
            for finding in errors
            if snapshot.id in finding.snapshot_ids
            for path in finding.paths
        }
        try:
            top, outcome = bench.extract(snapshot, repository=repository)
        except DamagedRepository:
            assert known or any(one.object_name.startswith("index/") for one in errors)
            continue
        wanted = wanted_by_time[snapshot.taken_at]
        actual = describe_tree(top / bench.source.relative_to("/")) if top.exists() else {}
        lost = {path for path, _ in outcome.not_restored}
        assert bool(lost) is bool(known), (lost, known)
        assert all(any(_is_at_or_below(path, each) for each in known) for path in lost)
        for path in wanted.keys() - actual.keys():
            whole = os.path.join(os.fsencode(bench.source), path).rstrip(b"/.")
            assert any(_is_at_or_below(whole, each) for each in lost), path
        for path, facts in actual.items():
            assert facts.content == wanted[path].content, path


def _is_at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _expected(kind: str, damage: str) -> set[str]:
    if kind in {"config", "key"}:
        return {"opening"}
    if damage == "delete" and kind in {"snapshot", "lock"}:
        return {"-"}  # the engine's witness misses a snapshot; a lock's holder misses the lock
    if kind == "lock" and damage == "zero":
        return {"note"}
    if damage == "flip" and kind in {"data body", "data header", "tree header", "length field"}:
        return {"data"}
    if damage in {"swap", "older"} and kind not in PREFIXES:
        return {"check", "data"}  # whether their sizes differ is chance
    return {"check"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_to_every_sort_of_object_is_noticed_and_named(filled, kind):
    objects = _with_locks(filled) if kind == "lock" else dict(filled.bucket.objects)
    names = _names(filled, kind, objects)[:2]
    assert names
    row = []
    for damage in DAMAGES:
        seen = set()
        for name in names:
            changed = damaged(objects, name, damage, peers=names, bit=_bit(kind, objects[name]))
            if changed != objects:
                seen.add(_notices(filled, kind, name, changed))
        assert seen <= _expected(kind, damage), (damage, seen)
        row.append("/".join(sorted(seen)))
    if kind == KINDS[0]:
        print(f"\n{'':13}", *(f"{damage:11}" for damage in DAMAGES))
    print(f"{kind:13}", *(f"{cell:11}" for cell in row))
    assert any(row)


def test_a_bad_transfer_is_no_damage_and_two_are(filled):
    left: dict[str, int] = {}
    repository = filled.open(DamagingTransport(filled.transport, flipping(left)))
    packs_of_data = _names(filled, "data body", filled.bucket.objects)
    packs_of_trees = _names(filled, "tree body", filled.bucket.objects)
    for name in filled.bucket.objects.keys() - {"config"}:  # which was read at the opening
        left[name] = 1
        assert _errors(repository, read_data=name in packs_of_data) == []
        # Of a pack of trees single trees are read, so twice may not be twice the same.
        left[name] = 99 if name in packs_of_trees else 2
        errors = _errors(repository, read_data=name in packs_of_data)
        assert name in {one.object_name for one in errors} <= {name, ""}
        left[name] = 0


def test_every_flipped_byte_of_a_repository_is_noticed(filled):
    noticed = _flip_every_byte(filled, step=331)
    print(f"{noticed} flips noticed")
    assert noticed > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("file_bytes", "step"), [(300, 1), (30_000, 97)])
def test_every_flipped_byte_of_a_larger_repository_is_noticed(restic_bench, file_bytes, step):
    _fill(restic_bench, file_bytes=file_bytes)
    noticed = _flip_every_byte(restic_bench, step=step)
    print(f"{noticed} flips noticed")
    assert noticed > 2_000


def _flip_every_byte(bench, *, step: int) -> int:
    bucket = MemoryBucket(bench.bucket.objects)
    folder = bench.folder / "fresh"
    repository = bench.open(MemoryTransport(bucket), cache_folder=folder, state_folder=folder)
    noticed = 0
    for name, data in sorted(bench.bucket.objects.items()):
        for position in range(0, len(data), step):
            bucket.store(name, flip_bit(data, position * 8 + position % 8), replace=True)
            if name == "config":
                with pytest.raises(BackappError, match="config"):
                    bench.open(MemoryTransport(bucket))
            else:
                errors = {one.object_name for one in _errors(repository, read_data=True)}
                assert name in errors <= {name, ""}, position
            noticed += 1
        bucket.store(name, data, replace=True)
    return noticed


def _documents(bench) -> dict[str, bytes]:
    """Return the JSON of every object that holds a document."""
    place = bench.repository._place
    return {
        name: place.read_document(name[:-64], bytes.fromhex(name[-64:]))
        for name in bench.bucket.objects
        if name.startswith(("snapshots/", "index/"))
    }


def test_files_that_look_like_objects_stay_files(filled):
    source = filled.source / "confusing"
    source.mkdir()
    for number, data in enumerate([*filled.bucket.objects.values(), *_documents(filled).values()]):
        (source / f"{number}").write_bytes(data)
    (source / "tree").write_bytes(b'{"nodes":[]}\n')
    before = list(filled.repository.snapshots())
    snapshot = filled.back_up()
    assert list(filled.repository.snapshots()) == [*before, snapshot]
    assert filled.repository.check(read_data=True).findings == ()
    assert filled.differences(snapshot, filled.facts()) == []


def test_a_blob_is_adopted_as_no_document(filled):
    """Whoever writes to the destination knows no key, but may have us seal what he likes."""
    place = filled.repository._place
    (filled.source / "snapshot").write_bytes(
        next(data for name, data in _documents(filled).items() if name.startswith("snapshots/"))
    )
    filled.back_up()
    objects = dict(filled.bucket.objects)
    columns = place.load_index().table().columns
    for row in range(len(columns.blob_id)):
        pack = objects[pack_name(bytes(columns.pack_id[columns.pack_number[row]]))]
        start = int(columns.offset[row])
        sealed = pack[start : start + int(columns.length[row])]
        objects |= {f"{folder}{sha256(sealed).hexdigest()}": sealed for folder in PREFIXES.values()}
    repository = _reopened(filled, objects)
    assert list(repository.snapshots()) == list(filled.repository.snapshots())
    named = {one.object_name for one in _errors(repository, read_data=False)}
    assert named == objects.keys() - filled.bucket.objects.keys()


@pytest.mark.parametrize("folder", ["snapshots/", "index/", "locks/", "keys/"])
def test_an_object_in_the_wrong_folder_is_named_and_harms_nothing(filled, folder):
    objects = _with_locks(filled)
    moved = {
        folder + name[-64:]: data
        for name, data in objects.items()
        if not name.startswith((folder, "config"))
    }
    repository = _reopened(filled, objects | moved)
    assert list(repository.snapshots()) == list(filled.repository.snapshots())
    named = {one.object_name for one in _errors(repository, read_data=False)}
    assert named == moved.keys() - objects.keys()


def test_a_snapshot_under_another_name_is_no_second_one(filled):
    objects = dict(filled.bucket.objects)
    name = _names(filled, "snapshot", objects)[0]
    copy = f"snapshots/{'0' * 64}"
    repository = _reopened(filled, objects | {copy: objects[name]})
    assert list(repository.snapshots()) == list(filled.repository.snapshots())
    (error,) = _errors(repository, read_data=False)
    assert error.object_name == copy


REFEREED = [
    ("snapshot", "flip"),
    ("snapshot", "zero"),
    ("index", "flip"),
    ("index", "delete"),
    ("data body", "flip"),
    ("data body", "half"),
    ("data body", "append"),
    ("data body", "delete"),
    ("data header", "flip"),
    ("length field", "flip"),
    ("tree body", "flip"),
    ("tree header", "flip"),
]


@pytest.mark.interop
@pytest.mark.parametrize(("kind", "damage"), REFEREED)
def test_what_restic_reports_we_report_too(filled, restic_at, kind, damage):
    objects = dict(filled.bucket.objects)
    name = _names(filled, kind, objects)[0]
    objects = damaged(objects, name, damage, peers=(), bit=_bit(kind, objects[name]))
    folder = filled.folder / "repository"
    for each, data in objects.items():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(data)
    restic, repository = restic_at(folder), _reopened(filled, objects)
    said = []
    for read_data, options in ((False, ()), (True, ("--read-data",))):
        if read_data and damage in {"half", "delete"}:
            continue  # restic reads again and again what is gone for good
        status, *_ = restic.try_to("check", *options)
        is_reported = bool(_errors(repository, read_data=read_data))
        assert is_reported or status == 0
        said.append(f"{'ours' if is_reported else '-'}/{'theirs' if status else '-'}")
    print(f"\n{kind}, {damage}: {', with --read-data '.join(said)}")
