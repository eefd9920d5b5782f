"""What a repository says of itself in figures is what restic says of it, and true."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backapp_core.errors import DamagedRepository
from backapp_core.model.repositories import ContentStats
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.archivers.restic.format.layout import BlobKind
from backapp_plugins.archivers.restic.settings import ResticSettings
from backapp_plugins.transports.folder import backapp_transports

LONG = random.Random(7).randbytes(3 << 20)


@pytest.fixture
def bench(restic_workbench: Callable, tmp_path: Path):
    """A workbench on a folder, with files that share contents and chunks."""
    [kind] = backapp_transports()
    place = kind.parse(str(tmp_path / "repository"))
    bench = restic_workbench(transport=kind.open(place, make_surroundings(tmp_path)))
    source = bench.source
    (source / "below" / "further").mkdir(parents=True)
    (source / "empty").touch()
    (source / "also empty").touch()
    (source / "letter").write_bytes(b"Dear reader,\n" * 100)
    (source / "below" / "copy of letter").write_bytes(b"Dear reader,\n" * 100)
    (source / "long").write_bytes(LONG)
    (source / "below" / "copy of long").write_bytes(LONG)
    (source / "longer").write_bytes(LONG + b"and more of it" * 50_000)
    (source / "zeros").write_bytes(bytes(2 << 20))
    (source / "below" / "further" / "fifo").symlink_to("nowhere")
    return bench


def test_same_content_counts_once(bench) -> None:
    first = bench.back_up()
    (bench.source / "letter").write_bytes(b"Dear all,\n")
    second = bench.back_up()
    counted = bench.repository.content_stats([first, second])
    assert counted.files == 6  # two letters, empty, long, longer, zeros
    assert counted.file_bytes == 1300 + 10 + 2 * len(LONG) + 700_000 + (2 << 20)
    only_first = bench.repository.content_stats([first])
    assert only_first.files == counted.files - 1
    # The root and every folder down to the source are trees, too, and change with what is below.
    assert counted.blobs - only_first.blobs == 1 + len(bench.source.parts)
    stored = sum(info.size_bytes for info in bench.transport.list("data/"))
    assert stored - 64 * 1024 < counted.stored_bytes < stored
    assert counted.stored_bytes < counted.blob_bytes
    assert bench.repository.content_stats([]) == ContentStats(0, 0, 0, 0, 0, 0)


@pytest.mark.interop
def test_figures_are_those_of_restic(bench, restic_at: Callable, tmp_path: Path) -> None:
    snapshots = [bench.back_up()]
    (bench.source / "letter").write_bytes(b"Dear all,\n")
    snapshots.append(bench.back_up())
    ours = bench.repository.content_stats(snapshots)
    restic = restic_at(tmp_path / "repository")

    def theirs(mode: str) -> dict:
        return json.loads(restic.run("stats", "--json", "--mode", mode))

    raw, files, blobs = map(theirs, ("raw-data", "files-by-contents", "blobs-per-file"))
    assert (raw["total_size"], raw["total_blob_count"]) == (ours.stored_bytes, ours.blobs)
    # To restic a folder is a file without content, and there is such a file anyway.
    assert (files["total_size"], files["total_file_count"]) == (ours.file_bytes, ours.files)
    assert blobs["total_blob_count"] == ours.file_blobs
    assert theirs("restore-size")["total_size"] == bench.repository.stats(snapshots).restore_bytes


def test_what_is_lost_is_not_counted_as_if_it_were_there(bench, tmp_path: Path) -> None:
    snapshot = bench.back_up()
    shutil.rmtree(tmp_path / "repository" / "data")
    with pytest.raises(DamagedRepository, match=BlobKind.TREE.name.lower()):
        bench.repository.content_stats([snapshot])


@pytest.mark.interop
def test_cost_of_cutting_elsewhere_is_told_where_other_programs_wrote(
    bench, restic_at: Callable, tmp_path: Path
) -> None:
    ours = bench.back_up()
    assert bench.repository.stats([ours]).remarks == ()
    restic_at(tmp_path / "repository").run("backup", bench.source)
    [remark] = bench.repository.stats(bench.repository.snapshots()).remarks
    assert remark.startswith("other programs made 1 of these snapshots")
    assert "chunker=rabin" in remark


def test_cost_of_cutting_slowly_is_told_where_numba_is_missing(
    restic_workbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = restic_workbench(settings=ResticSettings(chunker="rabin"))
    assert bench.repository.stats([]).remarks == ()
    monkeypatch.setitem(sys.modules, "numba", None)
    [remark] = bench.repository.stats([]).remarks
    assert "pip install 'backapp[rabin]'" in remark
