"""What every archiver must do whose repositories take streams, besides `ArchiverContract`.

::

    class TestMine(StreamContract):
        @pytest.fixture
        def kind(self):
            return MINE
"""

import random

import pytest
from attrs import evolve

from backapp_core.errors import CommandFailed
from backapp_core.model.compressions import Compression
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.testing.archiver_fixtures import ArchiverFixtures
from backapp_core.testing.memory_scanner import MemoryScanner, MemoryScannerSettings, Stream

_PATH = b"/var/dump"
_OPTIONS = BackupOptions(hostname="host", username="user")


class StreamContract(ArchiverFixtures):
    """Claims about files whose length shows only at their end."""

    @pytest.mark.parametrize("size_bytes", [0, 1, 512 << 10, 3 << 20, (20 << 20) + 1])
    def test_a_stream_of_any_length_comes_back(
        self, repository: Repository, surroundings: Surroundings, size_bytes: int
    ) -> None:
        content = random.Random(size_bytes).randbytes(size_bytes)  # noqa: S311  # no secret
        snapshot = _back_up(repository, surroundings, Stream(content))
        node = next(node for node in repository.nodes(snapshot) if node.path == _PATH)
        assert node.size_bytes == size_bytes
        assert b"".join(repository.read(snapshot, node)) == content
        assert (snapshot.counts.files, snapshot.counts.problems) == (1, 0)
        assert snapshot.counts.processed_bytes == size_bytes

    @pytest.mark.parametrize("compression", list(Compression))
    def test_however_hard_it_is_compressed_it_comes_back(
        self,
        kind: ArchiverKind,
        transport: Transport,
        keys: Keys,
        repository: Repository,
        surroundings: Surroundings,
        compression: Compression,
    ) -> None:
        around = evolve(surroundings, compression=compression)
        content = random.Random(1).randbytes(600_000) + b"and again " * 100_000  # noqa: S311  # no secret
        with kind.open(transport, keys, around) as opened:
            snapshot = _back_up(opened, around, Stream(content))
        node = next(node for node in repository.nodes(snapshot) if node.path == _PATH)
        assert b"".join(repository.read(snapshot, node)) == content
        assert repository.check(read_data=True).findings == ()

    def test_every_backup_reads_the_stream_again(
        self, repository: Repository, surroundings: Surroundings
    ) -> None:
        for content in (b"one dump", b"", b"another"):
            snapshot = _back_up(repository, surroundings, Stream(content))
            node = next(node for node in repository.nodes(snapshot) if node.path == _PATH)
            assert b"".join(repository.read(snapshot, node)) == content

    @pytest.mark.parametrize("size_bytes", [0, 1, 512 << 10, 8 << 20, 9 << 20])
    def test_a_stream_that_fails_at_its_end_leaves_no_snapshot(
        self, repository: Repository, surroundings: Surroundings, size_bytes: int
    ) -> None:
        stream = Stream(bytes(size_bytes), failure="the dump broke off")
        with pytest.raises(CommandFailed, match="the dump broke off"):
            _back_up(repository, surroundings, stream)
        assert list(repository.snapshots()) == []
        assert _back_up(repository, surroundings, Stream(b"at last")).counts.files == 1


def _back_up(repository: Repository, surroundings: Surroundings, stream: Stream) -> Snapshot:
    settings = MemoryScannerSettings(roots=(_PATH,))
    scanner = MemoryScanner({_PATH: stream}, settings, surroundings)
    assert scanner.has_streams
    assert repository.takes_streams
    return repository.backup(scanner, _OPTIONS).snapshot
