"""Long files while they are backed up: where they are cut, and what people see of it."""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.events import Level, LogLine, Progress
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.archivers.restic.backup import collecting
from backapp_plugins.archivers.restic.chunking import rabin
from backapp_plugins.transports.folder import backapp_transports

NOISE = random.Random(5).randbytes(24 << 20)


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(
        sys.modules, "backapp_plugins.archivers.restic.chunking.rabin_numba", raising=False
    )
    monkeypatch.setattr(rabin, "_WORTH_COMPILING_BYTES", 1 << 20)
    rabin._fastest_finder.cache_clear()
    yield
    rabin._fastest_finder.cache_clear()


@pytest.mark.interop
@pytest.mark.usefixtures("no_numba")
def test_without_numba_files_that_restic_stored_are_not_stored_again(
    restic_workbench: Callable, restic_at: Callable, tmp_path: Path
) -> None:
    restic = restic_at(tmp_path / "repository")
    restic.run("init")
    source = tmp_path / "source"
    source.mkdir()
    (source / "long").write_bytes(NOISE)
    restic.run("backup", source)
    [kind] = backapp_transports()
    place = kind.open(kind.parse(str(tmp_path / "repository")), make_surroundings(tmp_path))
    bench = restic_workbench(transport=place, source=source)
    (source / "copy of it").write_bytes(NOISE)
    before = {info.name for info in place.list("data/")}
    bench.back_up(is_full=True)
    added = {info.name: info.size_bytes for info in place.list("data/") if info.name not in before}
    assert sum(added.values()) < 64 << 10  # trees
    [line] = [one for one in bench.recording.of(LogLine) if "numba" in one.text]
    assert line.level is Level.INFO
    assert "pip install 'backapp[rabin]'" in line.text


def test_a_long_file_is_named_while_it_is_read_and_its_bytes_are_counted(
    restic_bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_PROGRESS_SECONDS", 0.001)
    long = restic_bench.source / "long"
    long.write_bytes(NOISE)
    restic_bench.back_up()
    seen = restic_bench.recording.of(Progress)
    done = [one.bytes_done for one in seen]
    assert done == sorted(done)
    assert done[-1] == len(NOISE)
    within = [one for one in seen if 0 < one.bytes_done < len(NOISE)]
    assert within
    assert {one.current for one in within} == {bytes(long)}
