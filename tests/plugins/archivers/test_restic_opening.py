"""A restic repository is created and opened with a password, or it is said what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from backapp_core.plugin_api import (
    AccessRefused,
    Keys,
    ObjectExists,
    RemovalPlan,
    RepositoryExists,
    WrongPassword,
)
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.faults import FaultyTransport, Operation, Phase
from backapp_plugins.archivers.restic import backapp_archivers
from backapp_plugins.archivers.restic.settings import ResticSettings

pytestmark = pytest.mark.usefixtures("cheap_keys")

KIND = backapp_archivers()[0]


@pytest.mark.parametrize("keys", [Keys(), Keys(password=lambda: "")])
def test_missing_password_is_said_before_anything_is_written(keys: Keys, tmp_path: Path) -> None:
    bucket = MemoryBucket()
    surroundings = make_surroundings(tmp_path)
    with pytest.raises(WrongPassword, match=r"--password-file, in Python with keys=keys_from"):
        KIND.create(MemoryTransport(bucket), ResticSettings(), keys, surroundings)
    assert not bucket.objects


def test_creation_that_was_interrupted_is_carried_on_with_its_password(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    surroundings = make_surroundings(tmp_path)
    keys = Keys(password=lambda: "secret")
    with KIND.create(MemoryTransport(bucket), ResticSettings(), keys, surroundings) as made:
        first = made.info.id
    bucket.discard("config")
    other = Keys(password=lambda: "other")
    with pytest.raises(RepositoryExists, match="a key stands in keys"):
        KIND.create(MemoryTransport(bucket), ResticSettings(), other, surroundings)
    with KIND.create(MemoryTransport(bucket), ResticSettings(), keys, surroundings) as again:
        assert again.info.id != first
    assert len(bucket.objects) == 2


def test_creation_whose_last_answer_is_lost_is_no_other_repository(tmp_path: Path) -> None:
    class Unheard(MemoryTransport):
        def put(self, name, body, *, size_bytes=None, replace=False):
            super().put(name, body, size_bytes=size_bytes, replace=replace)
            if name == "config":
                raise ObjectExists("a second try found it there")
            return size_bytes

    surroundings = make_surroundings(tmp_path)
    keys = Keys(password=lambda: "secret")
    bucket = MemoryBucket()
    with KIND.create(Unheard(bucket), ResticSettings(), keys, surroundings) as made:
        pass
    with KIND.open(MemoryTransport(bucket), keys, surroundings) as again:
        assert again.info == made.info


@pytest.mark.parametrize("library", ["cryptography", "numpy", "zstandard"])
def test_library_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, library: str
) -> None:
    program = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "import backapp_core\n"
        "settings = backapp_core.Settings(state_folder='state', cache_folder='cache')\n"
        "try: backapp_core.assemble(settings).create_repository('place')\n"
        "except backapp_core.PartMissing as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert library in done.stdout
    assert "pip install 'backapp[restic]'" in done.stdout
    assert not (tmp_path / "place").exists()


def test_a_run_that_could_not_take_its_lock_back_does_not_stop_the_next(tmp_path: Path) -> None:
    refusals = iter([AccessRefused("not now")])

    def refuse_once(operation: Operation, phase: Phase) -> None:
        if operation.verb == "delete" and phase is Phase.BEFORE:
            for refusal in refusals:
                raise refusal

    surroundings = make_surroundings(tmp_path)
    bucket = MemoryBucket()
    transport = FaultyTransport(MemoryTransport(bucket), refuse_once)
    keys = Keys(password=lambda: "secret")
    with KIND.create(transport, ResticSettings(), keys, surroundings) as repository:
        nothing = RemovalPlan(keep=(), remove=())
        repository.remove(nothing)
        assert any(name.startswith("locks/") for name in bucket.objects)
    with KIND.open(transport, keys, surroundings) as again:
        again.remove(nothing)
        assert not any(name.startswith("locks/") for name in bucket.objects)
