"""The index says what a plain dictionary of all blobs would say."""

import itertools
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.format.packs import PackEntry, header_bytes
from backapp_plugins.archivers.restic.index import merging as index_merging
from backapp_plugins.archivers.restic.index.files import MarkedPack, decode_index, encode_index
from backapp_plugins.archivers.restic.index.index import Index, Location
from backapp_plugins.archivers.restic.index.merging import merge
from backapp_plugins.archivers.restic.index.pack_table import PackTable
from backapp_plugins.archivers.restic.index.table import Table

_BLOBS = [
    *(bytes([number]) * 32 for number in (0, 1, 255)),
    *(b"8 bytes." + bytes([number]) * 24 for number in (0, 1, 2, 255)),
]
_ENTRY = st.builds(
    PackEntry,
    st.sampled_from(BlobKind),
    st.sampled_from(_BLOBS),
    st.sampled_from([0, 1, 2**32 - 1]),
    st.sampled_from([32, 2**32 - 1]),
    st.sampled_from([0, 1, 2**32 - 1]),
)
_ENTRIES = st.lists(_ENTRY, max_size=5)
_PACK = st.sampled_from([bytes([number]) * 32 for number in range(4)])
_FILE = st.tuples(st.dictionaries(_PACK, _ENTRIES), st.dictionaries(_PACK, _ENTRIES))
_FILES = st.lists(_FILE, max_size=4)


class _Model:
    """What is known, in plain Python."""

    def __init__(self) -> None:
        self.places: dict[tuple[BlobKind, bytes], set[Location]] = defaultdict(set)
        self.packs: dict[bytes, set[PackEntry]] = defaultdict(set)
        self.marked: set[bytes] = set()
        self.naming: dict[bytes, set[bytes]] = defaultdict(set)

    def add_file(self, file_id: bytes, kept, marked) -> None:
        for pack_id, entries in itertools.chain(kept.items(), marked.items()):
            self.add_pack(pack_id, entries)
            self.naming[pack_id].add(file_id)
        self.marked.update(marked)

    def add_pack(self, pack_id: bytes, entries) -> None:
        self.packs[pack_id].update(entries)
        for kind, blob_id, *place in entries:
            self.places[kind, blob_id].add(Location(pack_id, *place))


def _check_look_ups(index: Index, model: _Model) -> None:
    for kind, blob_id in itertools.product(BlobKind, [*_BLOBS, b"?" * 32]):
        places = model.places.get((kind, blob_id), set())
        live = {place for place in places if place.pack_id not in model.marked}
        found = index.locations(kind, blob_id)
        assert len(found) == len(places)
        assert set(found) == places
        assert set(found[: len(live)]) == live
        assert index.has(kind, blob_id) == bool(live)


def _check_table(table: Table, model: _Model) -> None:
    columns = table.columns
    facts = zip(
        table.kind().tolist(),
        columns.blob_id.tolist(),
        columns.pack_id[columns.pack_number].tolist(),
        columns.offset.tolist(),
        columns.length.tolist(),
        columns.uncompressed.tolist(),
        strict=True,
    )
    rows = [(BlobKind(kind), blob_id, Location(*place)) for kind, blob_id, *place in facts]
    assert len(rows) == len(set(rows))
    assert set(rows) == {
        (*blob, place) for blob, places in model.places.items() for place in places
    }
    blobs = [row[:2] for row in rows]
    assert blobs == sorted(blobs)
    assert table.is_copy().tolist() == [
        at > 0 and blobs[at] == blobs[at - 1] for at in range(len(rows))
    ]
    for kind in BlobKind:
        expected = [blobs.index((kind, one)) if (kind, one) in blobs else -1 for one in _BLOBS]
        for form in (_BLOBS, b"".join(_BLOBS)):
            assert table.rows_of(kind, form).tolist() == expected
    packs = sorted(model.packs)
    assert columns.pack_id.tolist() == packs
    assert columns.pack_is_marked.tolist() == [pack in model.marked for pack in packs]
    assert table.packs_of([*packs, b"?" * 32]).tolist() == [*range(len(packs)), -1]


def _check_packs(packs: PackTable, model: _Model) -> None:
    for number, (pack_id, entries) in enumerate(sorted(model.packs.items())):
        assert packs.pack_id(number) == pack_id
        listed = packs.entries(number)
        assert sorted(listed) == sorted(entries)
        assert [entry.offset for entry in listed] == sorted(entry.offset for entry in entries)
        size_bytes = sum(entry.length for entry in listed) + header_bytes(listed)
        assert packs.size_bytes[number] == size_bytes
        kinds = [entry.kind for entry in entries]
        assert packs.blobs[:, number].tolist() == [kinds.count(kind) for kind in BlobKind]
        assert set(packs.files_naming(number)) == model.naming.get(pack_id, set())


def _tables(files, model: _Model) -> list[Table]:
    tables = []
    for number, (kept, marked) in enumerate(files):
        file_id = bytes([100 + number]) * 32
        gone = [MarkedPack(pack_id, entries, None) for pack_id, entries in marked.items()]
        document = encode_index(kept.items(), gone)
        model.add_file(file_id, kept, marked)
        tables.append(Table(merge([decode_index(document, file_id)])))
    return tables


@given(_FILES, st.lists(_ENTRIES, max_size=6), st.integers(1, 8))
def test_an_index_says_what_a_dictionary_would_say(files, added, fold_at):
    model = _Model()
    index = Index(_tables(files, model), fold_at=fold_at)
    _check_look_ups(index, model)
    for number, entries in enumerate(added):
        pack_id = b"added" + bytes([number]) * 27
        index.add_pack(pack_id, entries)
        if entries:
            model.add_pack(pack_id, entries)
        _check_look_ups(index, model)
    table = index.table()
    _check_look_ups(index, model)
    _check_table(table, model)
    _check_packs(PackTable(table), model)
    assert index.files == {bytes([100 + number]) * 32 for number in range(len(files))}


@given(_FILES)
def test_merging_at_once_and_one_after_another_is_the_same(files):
    model = _Model()
    parts = [table.columns for table in _tables(files, model)]
    in_steps = merge([])
    for part in parts:
        in_steps = merge([in_steps, part])
    at_once = Table(merge(parts, uses_up=True))
    _check_table(at_once, model)
    _check_table(Table(in_steps), model)
    assert at_once.columns.blob_id.tolist() == in_steps.blob_id.tolist()


def test_many_copies_are_put_in_order_in_slabs_that_part_none_of_them(monkeypatch):
    monkeypatch.setattr(index_merging, "_SLAB", 7)
    model = _Model()
    files = [
        ({bytes([pack]) * 32: [PackEntry(BlobKind.DATA, one, 0, 32, 0) for one in _BLOBS]}, {})
        for pack in range(20)
    ]
    files += files[::3]
    index = Index(_tables(files, model))
    _check_look_ups(index, model)
    _check_table(index.table(), model)


def test_a_pack_that_one_file_marks_does_not_count_though_another_keeps_it():
    entry = PackEntry(BlobKind.DATA, _BLOBS[0], 0, 32, 0)
    pack = b"p" * 32
    kept, marked = ({pack: [entry]}, {}), ({}, {pack: [entry]})
    for files in ([kept, marked], [marked, kept]):
        index = Index(_tables(files, _Model()))
        assert not index.has(BlobKind.DATA, _BLOBS[0])
        assert index.locations(BlobKind.DATA, _BLOBS[0]) == [Location(pack, 0, 32, 0)]


def test_a_marked_pack_is_handed_back_as_it_was_read():
    entry = PackEntry(BlobKind.TREE, _BLOBS[0], 0, 40, 7)
    document = encode_index([], [MarkedPack(b"p" * 32, [entry], None, 77)])
    packs = PackTable(Table(merge([decode_index(document, b"f" * 32)])))
    assert packs.marked(0) == MarkedPack(b"p" * 32, [entry], None, 77)
    assert encode_index([], [packs.marked(0)]) == document


def test_files_that_this_run_wrote_count_as_covered():
    index = Index()
    index.listed_in(b"f" * 32)
    assert index.files == {b"f" * 32}


def test_memory_stays_compact_however_many_packs_are_added():
    index = Index(fold_at=100)
    for pack in range(200):
        ids = [(pack * 50 + number).to_bytes(32, "little") for number in range(50)]
        entries = [PackEntry(BlobKind.DATA, one, 0, 32, 0) for one in ids]
        index.add_pack(pack.to_bytes(32, "big"), entries)
        added, tables = index._state
        assert sum(map(len, added)) < 100
        assert len(tables) <= 5
    assert len(index.table()) == 10_000


def test_threads_find_what_they_added_while_others_add_and_fold():
    index = Index(fold_at=40)
    start = threading.Barrier(4)

    def add_and_look(worker: int) -> None:
        start.wait()
        for pack in range(60):
            ids = [bytes([worker, pack, number]) * 10 + b"id" for number in range(10)]
            pack_id = bytes([worker, pack]) * 16
            entries = [PackEntry(BlobKind.DATA, one, 32 * at, 32, 0) for at, one in enumerate(ids)]
            index.add_pack(pack_id, entries)
            for entry in entries:
                assert index.has(BlobKind.DATA, entry.blob_id)
                assert index.locations(BlobKind.DATA, entry.blob_id) == [
                    Location(pack_id, *entry[2:])
                ]

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(add_and_look, worker) for worker in range(4)]:
            future.result()
    assert len(index.table()) == 4 * 60 * 10


def test_a_table_does_not_change_when_more_is_added():
    index = Index()
    index.add_pack(b"a" * 32, [PackEntry(BlobKind.DATA, _BLOBS[0], 0, 32, 0)])
    before = index.table()
    index.add_pack(b"b" * 32, [PackEntry(BlobKind.DATA, _BLOBS[1], 0, 32, 0)])
    assert len(before) == 1
    assert index.table() is not before
    assert index.table() is index.table()
    assert np.array_equal(before.columns.offset, [0])
