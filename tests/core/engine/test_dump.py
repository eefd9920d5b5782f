import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core import EntryKind, Keys, Node, Settings, assemble
from backapp_core.engine.dump import _first_name, _header
from backapp_core.errors import DamagedRepository, InputError, PathNotFound
from backapp_core.testing.memory_scanner import Link

TREE = {
    b"/home/big": bytes(range(256)) * 1000,
    b"/home/d/e": b"e",
    b"/home/link": Link(b"\xff" * 300),
    b"/home/\xff" + b"n" * 200: b"odd",
}


class Pipe(io.RawIOBase):
    """Takes bytes and can neither seek nor tell."""

    def __init__(self):
        self.taken = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.taken += data
        return len(data)


def test_file_comes_as_it_is(engine, repository, take):
    pipe = Pipe()
    engine.dump(repository, take(TREE), b"/home/big", pipe)
    assert bytes(pipe.taken) == TREE[b"/home/big"]


def test_folder_comes_as_a_tar_archive_with_names_below_it(engine, repository, take):
    pipe = Pipe()
    engine.dump(repository, take(TREE), b"/home/", pipe)
    with tarfile.open(fileobj=io.BytesIO(pipe.taken), errors="surrogateescape") as archive:
        members = {member.name.encode("utf-8", "surrogateescape"): member for member in archive}
        assert set(members) == {b".", b"big", b"d", b"d/e", b"link", b"\xff" + b"n" * 200}
        assert archive.extractfile(members[b"big"]).read() == TREE[b"/home/big"]
        assert members[b"link"].linkname.encode("utf-8", "surrogateescape") == b"\xff" * 300
        assert members[b"big"].mode == 0o640


def test_whole_snapshot_comes_as_a_tar_archive(engine, repository, take):
    pipe = Pipe()
    engine.dump(repository, take(TREE), b"/", pipe)
    with tarfile.open(fileobj=io.BytesIO(pipe.taken)) as archive:
        assert "home/d/e" in archive.getnames()


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_gnu_tar_reads_the_archive(engine, repository, take, tmp_path):
    pipe = Pipe()
    engine.dump(repository, take(TREE), b"/home", pipe)
    done = subprocess.run(
        ["tar", "-xf", "-", "-C", str(tmp_path)],
        input=bytes(pipe.taken),
        capture_output=True,
        check=False,
    )
    # Names that are no UTF-8 are announced by a header that GNU tar does not know and does without.
    assert (done.returncode, b"hdrcharset" in done.stderr) == (0, True)
    assert (os.fsencode(tmp_path) + b"/\xff" + b"n" * 200) in [
        os.fsencode(tmp_path) + b"/" + name for name in os.listdir(os.fsencode(tmp_path))
    ]
    assert (tmp_path / "d/e").read_bytes() == b"e"
    assert (tmp_path / "big").stat().st_mtime_ns % 10**9 != 0


@pytest.fixture
def linked(tmp_path):
    """What is installed, with a snapshot of a tree of hard links; yields how to dump a folder."""
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    (home / "a").write_bytes(b"many names" * 1000)
    (home / "alone").write_bytes(b"many names" * 1000)
    for name in ("in/b", "in/c", f"in/{'n' * 200}", "z"):
        os.link(home / "a", home / name)
    os.mkfifo(home / "pipe")
    os.link(home / "pipe", home / "in/pipe")
    os.symlink("a", home / "to-a")
    os.link(home / "to-a", home / "in/to-a", follow_symlinks=False)
    settings = Settings(state_folder=str(tmp_path / "s"), cache_folder=str(tmp_path / "c"))
    with (
        assemble(settings) as engine,
        engine.create_repository(
            tmp_path / "repository", keys=Keys(password=lambda: "secret")
        ) as repository,
    ):
        snapshot = engine.backup(repository, [home]).snapshot

        def dumped(folder):
            pipe = Pipe()
            engine.dump(repository, snapshot, bytes(folder), pipe)
            return bytes(pipe.taken)

        yield home, dumped


def test_further_names_of_a_file_are_hard_links_to_the_first(linked):
    home, dumped = linked
    with tarfile.open(fileobj=io.BytesIO(dumped(home))) as archive:
        links = {member.name: member.linkname for member in archive if member.islnk()}
        assert links == {
            **dict.fromkeys(("in/b", "in/c", f"in/{'n' * 200}", "z"), "a"),
            "in/pipe": "pipe",
            "in/to-a": "to-a",
        }
        assert archive.getmember("alone").isreg()


def test_file_whose_first_name_is_outside_the_folder_is_whole(linked):
    home, dumped = linked
    with tarfile.open(fileobj=io.BytesIO(dumped(home / "in"))) as archive:
        links = {member.name: member.linkname for member in archive if member.islnk()}
        assert links == {"c": "b", "n" * 200: "b"}
        assert archive.extractfile("b").read() == b"many names" * 1000


def test_names_whose_content_was_read_at_different_times_stay_separate():
    node = Node(b"/a", EntryKind.FILE, 0o600, 0, 0, "", "", 1, 0, 0, 7, 1, 2, sha256="00")
    names = {}
    assert _first_name(names, node, b"a") == b"a"
    assert _first_name(names, evolve(node, path=b"/b"), b"b") == b"a"
    assert _first_name(names, evolve(node, path=b"/c", sha256="11"), b"c") == b"c"
    assert _first_name(names, evolve(node, path=b"/d", device=2), b"d") == b"d"


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_gnu_tar_restores_hard_links(linked, tmp_path):
    home, dumped = linked
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", target], input=dumped(home), check=True)
    assert tree_of_links(target) == tree_of_links(home)
    assert (target / "a").read_bytes() == (home / "a").read_bytes()
    assert (target / "a").stat().st_mtime_ns == (home / "a").stat().st_mtime_ns


def tree_of_links(top):
    """Return which names are one file, and what it is."""
    groups = {}
    for path in top.rglob("*"):
        if not path.is_dir():
            facts = path.lstat()
            key = (facts.st_ino, facts.st_mode, facts.st_nlink)
            groups.setdefault(key, set()).add(str(path.relative_to(top)))
    return {(mode, links, frozenset(names)) for (_, mode, links), names in groups.items()}


def test_what_is_neither_file_nor_folder_is_refused(engine, repository, take):
    with pytest.raises(InputError, match="is a symlink"):
        engine.dump(repository, take(TREE), b"/home/link", Pipe())


def test_missing_path_is_said_before_anything_is_written(engine, repository, take):
    pipe = Pipe()
    with pytest.raises(PathNotFound):
        engine.dump(repository, take(TREE), b"/home/nothing", pipe)
    assert pipe.taken == b""


def test_damage_is_raised(engine, repository, take, fakes):
    snapshot = take({b"/home/a": b"1"})
    bucket = fakes.buckets["fake:memory"]
    (name,) = (name for name in bucket.objects if name.startswith("data/"))
    bucket.store(name, b"2", replace=True)
    with pytest.raises(DamagedRepository):
        engine.dump(repository, snapshot, b"/home/a", Pipe())


@pytest.mark.parametrize("moment_ns", [0, 1, -1, -1_500_000_000, 1_700_000_000_123_456_789])
def test_times_keep_their_nanoseconds(engine, repository, take, moment_ns):
    node = next(one for one in repository.nodes(take(TREE)) if one.path == b"/home/big")
    told = _header(evolve(node, mtime_ns=moment_ns), b"big").pax_headers["mtime"]
    sign = -1 if told.startswith("-") else 1
    whole, _, fraction = told.lstrip("-").partition(".")
    assert sign * (int(whole) * 10**9 + int(fraction)) == moment_ns


@pytest.mark.parametrize("path", ["/home/a", b"/home/a", Path("/home/a")])
def test_path_is_taken_in_every_form(engine, repository, take, path):
    snapshot = take({b"/home/a": b"1"})
    out = io.BytesIO()
    engine.dump(repository, snapshot, path, out)
    assert out.getvalue() == b"1"
