"""A disk that is full, at every point at which it can become full."""

import pytest

from backapp_core.errors import StorageFull
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.transports.folder import FolderSettings, open_folder

STEP_BYTES = 128 << 10
DISK_STEPS = 32


@pytest.fixture
def small_disk(mount_small):
    return mount_small(STEP_BYTES * DISK_STEPS)


@pytest.fixture
def transport(small_disk, tmp_path):
    transport = open_folder(FolderSettings(small_disk / "repository"), make_surroundings(tmp_path))
    transport.prepare()
    return transport


@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_stores_nothing_wherever_it_becomes_full(small_disk, transport, replace):
    original = [b"original"] if replace else []
    for data in original:
        transport.put("data/object", [data])
    full = fits = 0
    for free_steps in range(DISK_STEPS // 2 + 4):
        filler = small_disk / "filler"
        filler.write_bytes(b"f" * STEP_BYTES * (DISK_STEPS - free_steps - 1))
        try:
            transport.put("data/object", _body(DISK_STEPS // 2), replace=replace)
        except StorageFull:
            full += 1
            assert [info.size_bytes for info in transport.list()] == [8] * len(original)
            assert [*small_disk.glob("**/.backapp-*")] == []
        else:
            fits += 1
            assert transport.stat("data/object").size_bytes == STEP_BYTES * DISK_STEPS // 2
            transport.delete("data/object")
            for data in original:
                transport.put("data/object", [data])
        filler.unlink()
    assert full >= DISK_STEPS // 2 - 1
    assert fits >= 1


def test_what_fits_is_stored_after_something_did_not_fit(small_disk, transport):
    with pytest.raises(StorageFull) as raised:
        transport.put("large", _body(DISK_STEPS + 1))
    assert "large" in str(raised.value)
    assert not raised.value.is_retryable
    assert transport.put("small", [b"x"]) == 1
    assert [info.name for info in transport.list()] == ["small"]


def test_a_file_larger_than_its_system_allows_is_refused_as_too_large(tmp_path, transport):
    import resource
    import signal

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (STEP_BYTES, usual[1]))
    try:
        with pytest.raises(StorageFull):
            transport.put("large", _body(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
    assert [*transport.list()] == []


def _body(steps):
    for _ in range(steps):
        yield b"x" * STEP_BYTES
