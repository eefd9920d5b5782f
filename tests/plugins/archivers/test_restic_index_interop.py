"""The real restic's index files are read and written byte for byte, and it works with ours."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import BlobKind, id_of
from backapp_plugins.archivers.restic.format.packs import PackEntry
from backapp_plugins.archivers.restic.format.unpacked import seal_document
from backapp_plugins.archivers.restic.index.cache import load_index
from backapp_plugins.archivers.restic.index.files import encode_index, encode_indexes
from backapp_plugins.archivers.restic.index.index import Index
from backapp_plugins.archivers.restic.index.pack_table import PackTable

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("restic"), reason="needs restic"),
]


class _Restic:
    """A repository of the real restic."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.cache = folder / "cache"

    def fill(self) -> None:
        """Make two snapshots, of two folders with nothing in common."""
        self.run("init")
        for name in ("first", "second"):
            source = self.repository.parent / name
            source.mkdir()
            for size in (0, 30, 3_000, 700_000):
                (source / f"{size}").write_bytes(os.urandom(size))
            (source / "text").write_bytes(f"{name} line\n".encode() * 100_000)
            self.run("backup", "--tag", name, source)

    def run(self, *words: object) -> bytes:
        done = subprocess.run(
            ["restic", "-q", "--no-cache", "-r", self.repository, *map(str, words)],
            check=False,
            capture_output=True,
            timeout=60,
            env={**os.environ, "RESTIC_PASSWORD": "geheim"},
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def documents(self) -> dict[bytes, bytes]:
        """Return the index files by id, as restic shows them: with one more line feed."""
        ids = self.run("list", "index").decode().split()
        return {bytes.fromhex(one): self.run("cat", "index", one)[:-1] for one in ids}

    def index(self) -> Index:
        files = self.documents()
        listed = [(file_id, len(document)) for file_id, document in files.items()]
        return load_index(listed, files.__getitem__, self.cache)

    def blobs(self) -> set[tuple[str, str]]:
        """Return kind and id of every blob that restic knows."""
        return {tuple(line.split()) for line in self.run("list", "blobs").decode().splitlines()}

    def replace_index(self, documents: list[bytes]) -> None:
        """Store other index files in place of those that are there."""
        master = json.loads(self.run("cat", "masterkey"))
        key = MasterKey(
            b64decode(master["encrypt"]), *(b64decode(master["mac"][one]) for one in "kr")
        )
        codec = BlobCodec(key, os.urandom)
        old = list((self.repository / "index").iterdir())
        for document in documents:
            sealed = seal_document(codec, document, version=2)
            (self.repository / "index" / id_of(sealed).hex()).write_bytes(sealed)
        for path in old:
            path.unlink()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a repository that no test changes."""
    folder = tmp_path_factory.mktemp("filled")
    _Restic(folder).fill()
    return folder


@pytest.fixture
def restic(filled: Path, tmp_path: Path) -> _Restic:
    shutil.copytree(filled / "repository", tmp_path / "repository")
    return _Restic(tmp_path)


def _as_listed(document: bytes) -> list[tuple[bytes, list[PackEntry]]]:
    return [
        (
            bytes.fromhex(pack["id"]),
            [
                PackEntry(
                    BlobKind[blob["type"].upper()],
                    bytes.fromhex(blob["id"]),
                    blob["offset"],
                    blob["length"],
                    blob.get("uncompressed_length", 0),
                )
                for blob in pack["blobs"]
            ],
        )
        for pack in json.loads(document)["packs"]
    ]


def _known(index: Index) -> set[tuple[str, str]]:
    table = index.table()
    kinds, ids = table.kind().tolist(), table.columns.blob_id.tolist()
    return {(BlobKind(kind).name.lower(), one.hex()) for kind, one in zip(kinds, ids, strict=True)}


def test_index_files_of_restic_are_written_again_byte_for_byte(restic):
    documents = restic.documents()
    assert len(documents) == 2
    for document in documents.values():
        assert encode_index(_as_listed(document)) == document


def test_the_index_knows_the_blobs_and_packs_that_restic_knows(restic):
    index = restic.index()
    assert _known(index) == restic.blobs()
    packs = PackTable(index.table())
    sizes = {path.name: path.stat().st_size for path in restic.repository.glob("data/*/*")}
    numbers = range(len(packs))
    assert {packs.pack_id(one).hex(): int(packs.size_bytes[one]) for one in numbers} == sizes
    assert _known(restic.index()) == _known(index)  # from what was kept


def test_restic_works_with_an_index_that_was_written_anew(restic):
    packs = PackTable(restic.index().table())
    listed = [(packs.pack_id(one), packs.entries(one)) for one in range(len(packs))]
    known = restic.blobs()
    restic.replace_index(list(encode_indexes(listed)))
    assert restic.blobs() == known
    restic.run("check", "--read-data")


def test_restic_takes_marked_packs_for_packs_that_nobody_needs(restic):
    [second] = json.loads(restic.run("snapshots", "--tag", "second", "--json"))
    restic.run("forget", second["id"])
    index = restic.index()
    packs = PackTable(index.table())
    top = index.locations(BlobKind.TREE, bytes.fromhex(second["tree"]))[0].pack_id
    [file_id] = packs.files_naming(int(packs.table.packs_of([top])[0]))
    going = [one for one in range(len(packs)) if packs.files_naming(one) == [file_id]]
    staying = [one for one in range(len(packs)) if one not in going]
    assert len(going) == len(staying) == 2
    marked_at = datetime(2026, 1, 2, tzinfo=UTC)
    kept = [(packs.pack_id(one), packs.entries(one)) for one in staying]
    marked = [packs.marked(one)._replace(marked_at=marked_at) for one in going]
    restic.replace_index([encode_index(kept, marked)])
    restic.run("check", "--read-data")
    after = restic.index()
    assert restic.blobs() < _known(index) == _known(after)
    assert after.table().columns.pack_is_marked.sum() == 2
