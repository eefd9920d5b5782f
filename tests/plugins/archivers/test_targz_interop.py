"""Well-known tools read what is written here, without this program."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest

from backapp_core.errors import WrongPassword
from backapp_core.model.entries import EntryKind
from backapp_core.ports.surroundings import Keys
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.hostile_tree import hostile_tree
from backapp_core.testing.trees import tree_differences
from backapp_plugins.archivers.targz.settings import TargzSettings

pytestmark = pytest.mark.interop
if sys.platform != "linux" or os.geteuid() != 0:
    pytest.skip("owners and devices need root", allow_module_level=True)


def _run(*command: str | Path, **options: object) -> bytes:
    done = subprocess.run(command, check=False, capture_output=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def _write_out(bench, folder: Path) -> None:
    for name, data in bench.bucket.objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder for the objects of a repository."""
    return tmp_path / "objects"


def _tarable(path: bytes, item: object) -> bool:
    # Sockets stand in no tar archive, and GNU tar opens no path of more than 4,096 bytes.
    return item.kind is not EntryKind.SOCKET and not path.startswith(b"deep")


def test_gnu_tar_restores_the_full_archive_of_a_hostile_tree(bench, out, tmp_path):
    hostile_tree().only(_tarable).write(bench.source)
    snapshot = bench.back_up()
    _write_out(bench, out)
    (archive,) = snapshot.archives
    _run("gzip", "-t", out / archive)
    target = tmp_path / "target"
    target.mkdir()
    _run("tar", "--xattrs", "--xattrs-include=*", "-xzpf", out / archive, cwd=target)
    assert tree_differences(bench.source, target / bench.source.relative_to("/")) == []


def test_gnu_tar_lists_the_whole_hostile_tree(bench, out):
    hostile_tree().write(bench.source)
    snapshot = bench.back_up()
    _write_out(bench, out)
    listed = _run("tar", "--quoting-style=literal", "--null", "-tzf", out / snapshot.archives[0])
    assert b"/deep/000-" in listed
    assert b"/special/fifo" in listed
    assert b"/special/socket" not in listed


def _listed(archive: Path, source: Path) -> set[str]:
    names = _run("tar", "-tzf", archive).decode().splitlines()
    prefix = str(source.relative_to("/")) + "/"
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def test_an_incremental_archive_lists_what_changed_and_nothing_else(bench, out):
    source = bench.source
    for name in ("changed", "kept", "gone", "folder/kept", "folder/changed", "other/kept"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(name.encode() * 100)
    (source / "link").symlink_to("kept")
    bench.back_up()
    (source / "changed").write_bytes(b"now")
    (source / "folder/changed").write_bytes(b"now")
    (source / "folder/new").write_bytes(b"new")
    (source / "gone").unlink()
    (source / "link").unlink()
    (source / "link").symlink_to("changed")
    (source / "empty").mkdir()
    snapshot = bench.back_up()
    _write_out(bench, out)
    assert _listed(out / snapshot.archives[-1], source) == {
        "",  # a file went from the source itself, so its time changed
        "changed",
        "link",
        "empty/",
        "folder/",
        "folder/changed",
        "folder/new",
    }
    second = bench.back_up()
    fresh = set(second.archives) - set(snapshot.archives)
    _write_out(bench, out)
    assert all(_listed(out / name, source) == set() for name in fresh)


def test_a_chain_unpacked_in_the_order_of_names_is_the_last_state_and_what_was_deleted(
    workbench, out, tmp_path
):
    clock = FrozenClock(datetime.now(UTC) + timedelta(hours=1))
    bench = workbench(clock=clock)
    source = bench.source
    (source / "folder").mkdir()
    for number in range(3):
        (source / f"file {number}").write_bytes(os.urandom(50_000))
        (source / "folder/always").write_bytes(os.urandom(100 + number))
        os.link(source / "file 0", source / f"folder/link {number}")
        snapshot = bench.back_up()
        clock.advance(1)  # names tell seconds
    _write_out(bench, out)
    target = tmp_path / "target"
    target.mkdir()
    for name in sorted(snapshot.archives):
        _run("tar", "--xattrs", "-xzpf", out / name, cwd=target)
    # Replacing a file moves the time of its folder; tar does not know what it was before.
    found = tree_differences(source, target / source.relative_to("/"))
    assert [line for line in found if "folder: mtime_ns" not in line] == []


def test_a_manifest_is_lines_of_json(bench, out):
    hostile_tree().write(bench.source)
    bench.back_up()
    _write_out(bench, out)
    (manifest,) = (out / "manifests").iterdir()
    lines = _run("zcat", manifest)
    parsed = _run(sys.executable, "-m", "json.tool", "--json-lines", "--compact", input=lines)
    assert parsed.count(b"\n") == lines.count(b"\n") > 100
    for record in (out / "snapshots").iterdir():
        _run(sys.executable, "-m", "json.tool", record)


needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")


@needs_age
def test_age_opens_sealed_archives_and_manifests(workbench, sealed, out, tmp_path):
    bench = workbench(**sealed)
    (bench.source / "large").write_bytes(os.urandom(9_000_000))
    (bench.source / "small").write_bytes(b"small")
    snapshot = bench.back_up()
    _write_out(bench, out)
    (identity,) = sealed["keys"].identity_files
    (archive,) = snapshot.archives
    assert archive.endswith(".tar.gz.age")
    _run("age", "-d", "-i", identity, "-o", tmp_path / "a.tar.gz", out / archive)
    target = tmp_path / "target"
    target.mkdir()
    _run("tar", "-xzpf", tmp_path / "a.tar.gz", cwd=target)
    assert tree_differences(bench.source, target / bench.source.relative_to("/")) == []
    (manifest,) = (out / "manifests").iterdir()
    _run("age", "-d", "-i", identity, "-o", tmp_path / "m.gz", manifest)
    assert b'"name":"small"' in _run("zcat", tmp_path / "m.gz")
    # Nothing readable tells of the content: not the names of files.
    assert not any(b"small" in data for data in bench.bucket.objects.values())


def _identities(tmp_path: Path, identity: pyrage.x25519.Identity):
    """Yield keys whose identity file is protected in every way that age knows."""
    text = f"# created: today\n{identity}\n".encode()
    binary = pyrage.passphrase.encrypt(text, "open sesame")
    armored = pyrage.passphrase.encrypt(text, "open sesame", armored=True)
    for name, data in (("plain", text), ("binary", binary), ("armored", armored)):
        file = tmp_path / f"{name}.txt"
        file.write_bytes(data)
        yield file


def test_an_identity_file_may_be_protected_by_a_passphrase(workbench, identity, tmp_path):
    bench = workbench(settings=TargzSettings(recipients=(str(identity.to_public()),)))
    (bench.source / "file").write_bytes(b"content")
    snapshot, facts = bench.back_up(), bench.facts()
    elsewhere = tmp_path / "no cache"
    for file in _identities(tmp_path, identity):
        keys = Keys(password=lambda: "open sesame", identity_files=(file,))
        repository = bench.open(keys=keys, cache_folder=elsewhere)
        assert bench.differences(snapshot, facts, repository=repository) == []
        if file.name == "plain.txt":
            continue
        for password in (None, lambda: "open barley"):
            wrong = Keys(password=password, identity_files=(file,))
            repository = bench.open(keys=wrong, cache_folder=elsewhere)
            with pytest.raises(WrongPassword, match=file.name):
                list(repository.nodes(snapshot))


@needs_age
def test_an_ssh_key_may_be_the_recipient(workbench, out, tmp_path):
    key = tmp_path / "key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    public = (tmp_path / "key.pub").read_text().strip()
    bench = workbench(
        settings=TargzSettings(recipients=(public,)), keys=Keys(identity_files=(key,))
    )
    (bench.source / "file").write_bytes(b"content")
    snapshot, facts = bench.back_up(), bench.facts()
    repository = bench.open(cache_folder=tmp_path / "no cache")
    assert bench.differences(snapshot, facts, repository=repository) == []
    _write_out(bench, out)
    _run("age", "-d", "-i", key, "-o", tmp_path / "a.tar.gz", out / snapshot.archives[0])
    _run("gzip", "-t", tmp_path / "a.tar.gz")
