"""Whoever can write to a repository cannot make this machine seal its backups to somebody else."""

import msgspec
import pyrage
import pytest

from backapp_core.errors import DamagedRepository
from backapp_core.plugin_api import NO_KEYS
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_plugins.archivers.targz import layout, repository
from backapp_plugins.archivers.targz.settings import TargzSettings


def _recipient() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


def _with_recipients(bucket: MemoryBucket, recipients: tuple[str, ...]) -> None:
    config = layout.decode_config(bucket.objects["backapp.json"], address="memory")
    forged = msgspec.structs.replace(config, recipients=recipients, checksum="")
    bucket.store("backapp.json", layout.new_config(forged), replace=True)


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.mark.parametrize("forged", [(), ("other",)])
def test_other_recipients_are_refused(bucket, tmp_path, forged):
    surroundings = make_surroundings(tmp_path)
    settings = TargzSettings(recipients=(_recipient(),))
    repository.create(MemoryTransport(bucket), settings, NO_KEYS, surroundings)
    _with_recipients(bucket, tuple(_recipient() for _ in forged))
    with pytest.raises(DamagedRepository, match="no longer sealed"):
        repository.open_repository(MemoryTransport(bucket), NO_KEYS, surroundings)


def test_a_machine_that_never_saw_it_takes_what_stands_there(bucket, tmp_path):
    settings = TargzSettings(recipients=(_recipient(),))
    repository.create(MemoryTransport(bucket), settings, NO_KEYS, make_surroundings(tmp_path / "a"))
    elsewhere = make_surroundings(tmp_path / "b")
    repository.open_repository(MemoryTransport(bucket), NO_KEYS, elsewhere)
    _with_recipients(bucket, (_recipient(),))
    with pytest.raises(DamagedRepository, match="no longer sealed"):
        repository.open_repository(MemoryTransport(bucket), NO_KEYS, elsewhere)


def test_a_repository_created_anew_here_is_known_anew(bucket, tmp_path):
    surroundings = make_surroundings(tmp_path)
    settings = TargzSettings(recipients=(_recipient(),))
    repository.create(MemoryTransport(bucket), settings, NO_KEYS, surroundings)
    bucket.discard("backapp.json")
    repository.create(MemoryTransport(bucket), TargzSettings(), NO_KEYS, surroundings)
    opened = repository.open_repository(MemoryTransport(bucket), NO_KEYS, surroundings)
    assert not opened.info.is_encrypted
