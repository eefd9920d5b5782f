"""Restores of either archiver into places that are full, poor, closed, or not empty."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import EntryNotRestored, TargetError
from backapp_core.model.restores import Overwrite, RestoreOutcome

pytestmark = pytest.mark.thorough

if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("mounts, and becomes somebody else", allow_module_level=True)

_SMALL, _LARGE = 3_000, 700_000


@pytest.fixture
def bench(any_bench, random_bytes):
    """Return a bench whose source has files of all sizes, and a snapshot of it."""
    source = any_bench.source
    for folder in ("a", "b/c"):
        (source / folder).mkdir(parents=True)
        for number in range(12):
            size = _LARGE if number % 4 == 3 else _SMALL
            (source / folder / f"{number}").write_bytes(random_bytes(size))
    (source / "b/link").symlink_to("c")
    (source / "b/twin").hardlink_to(source / "b/c/0")
    os.setxattr(source / "a/0", "user.note", b"kept")
    any_bench.snapshot = any_bench.back_up()
    return any_bench


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Return a folder where the test mounts something."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    if place.is_mount():
        subprocess.run(["umount", "-l", place], check=True)


def _mount(kind: str, options: str, place: Path) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, "none", place], check=True)


def _restore(bench, top: Path, overwrite: Overwrite = Overwrite.IF_CHANGED) -> RestoreOutcome:
    options = ExtractOptions(overwrite=overwrite)
    target = FolderTarget(os.fsencode(top), options, bench.surroundings)
    bench.repository.restore(bench.snapshot, target)
    return target.outcome


def _contents(top: Path) -> dict[str, bytes]:
    files = [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(top)): path.read_bytes() for path in files}


def _require_unlocked(bench) -> None:
    assert not [name for name in bench.bucket.objects if name.startswith("locks/")]


@pytest.mark.parametrize("limit", ["size=2m", "nr_inodes=14"])
def test_a_target_that_becomes_full_ends_the_restore_and_holds_whole_files_only(
    bench, mounted, limit
):
    _mount("tmpfs", limit, mounted)
    with pytest.raises(TargetError, match="No space left") as caught:
        _restore(bench, mounted)
    assert not isinstance(caught.value, EntryNotRestored)
    _require_unlocked(bench)
    wanted = _contents(bench.source)
    below = mounted / bench.source.relative_to("/")
    found = _contents(below) if below.is_dir() else {}
    assert found.items() <= wanted.items()
    assert [path for path in mounted.rglob(".*") if path.is_file()] == []
    subprocess.run(["mount", "-o", "remount,size=100m,nr_inodes=1000", mounted], check=True)
    outcome = _restore(bench, mounted)
    assert outcome.problems == 0
    assert _contents(below) == wanted


def test_a_target_without_attributes_keeps_all_else_and_says_what_it_lacks(bench, mounted):
    _mount("ramfs", "mode=755", mounted)
    outcome = _restore(bench, mounted)
    assert [path for path, _ in outcome.incomplete] == [os.fsencode(bench.source / "a/0")]
    assert outcome.not_restored == ()
    assert outcome.problems == 1
    assert _contents(mounted / bench.source.relative_to("/")) == _contents(bench.source)


def test_a_target_that_is_only_read_is_refused_before_anything_is_asked_for(bench, mounted):
    _mount("tmpfs", "ro", mounted)
    with pytest.raises(TargetError, match="read-only"):
        _restore(bench, mounted)
    _require_unlocked(bench)


@pytest.mark.parametrize("overwrite", Overwrite)
def test_what_stands_there_is_treated_as_the_policy_says(bench, tmp_path, overwrite):
    top = tmp_path / "out"
    assert _restore(bench, top).problems == 0
    here = top / bench.source.relative_to("/")
    wanted = _contents(here)
    older, newer, same = here / "a/0", here / "a/3", here / "b/c/3"
    for path, seconds in ((older, -10), (newer, 10)):
        at = path.stat().st_mtime_ns + seconds * 10**9
        path.write_bytes(b"edited")
        os.utime(path, ns=(at, at))
    number = same.stat().st_ino
    (here / "b/c/1").unlink()
    (here / "foreign").write_bytes(b"not of the snapshot")
    outcome = _restore(bench, top, overwrite)
    assert outcome.problems == 0
    replaced = {
        Overwrite.ALWAYS: {"a/0", "a/3"},
        Overwrite.IF_CHANGED: {"a/0", "a/3"},
        Overwrite.IF_NEWER: {"a/0"},
        Overwrite.NEVER: set[str](),
    }[overwrite]
    edited = dict.fromkeys({"a/0", "a/3"} - replaced, b"edited")
    assert _contents(here) == {**wanted, **edited, "foreign": b"not of the snapshot"}
    assert (same.stat().st_ino == number) == (overwrite is not Overwrite.ALWAYS)


def test_nothing_is_written_through_a_link_that_stands_there(bench, tmp_path):
    top, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    here = top / bench.source.relative_to("/")
    here.mkdir(parents=True)
    (here / "a").symlink_to(outside)
    (here / "b").mkdir()
    (here / "b/twin").symlink_to(outside / "twin")
    outcome = _restore(bench, top, Overwrite.ALWAYS)
    assert list(outside.iterdir()) == []
    refused = {path for path, _ in outcome.not_restored}
    assert all(path.startswith(os.fsencode(bench.source / "a")) for path in refused)
    wanted = _contents(bench.source)
    assert {**wanted, **_contents(here)} == wanted


def test_somebody_without_rights_gets_all_but_owners(bench):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        warm, somebody = folder / "warm", folder / "somebody"
        _restore(bench, warm)  # imports what somebody else may not read
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(65_533)
                os.setuid(65_533)
                assert _restore(bench, somebody).problems == 0
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        here = somebody / bench.source.relative_to("/")
        assert _contents(here) == _contents(bench.source)
        assert (here / "a/0").stat().st_uid == 65_533
        assert os.getxattr(here / "a/0", "user.note") == b"kept"
        assert (here / "b/twin").samefile(here / "b/c/0")
