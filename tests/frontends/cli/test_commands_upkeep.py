"""Repairs, copies, keys, locks and single objects, from the command line."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def vault(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty restic repository, which is the one that commands use."""
    place = tmp_path / "vault"
    monkeypatch.setenv("BACKAPP_PASSWORD", "geheim")
    cli("init", "-r", place, "--archiver", "restic")
    monkeypatch.setenv("BACKAPP_REPOSITORY", str(place))
    return place


@pytest.fixture
def stored(cli, vault: Path, source: Path) -> str:
    """The id of a snapshot of ``source`` in ``vault``."""
    [summary] = cli("backup", source, "--json").of("summary")
    return summary["snapshot_id"]


@pytest.fixture
def packs(vault: Path, stored: str) -> list[Path]:
    """The packs of content, the largest first."""
    del stored
    return sorted((vault / "data").glob("*/*"), key=lambda one: -one.stat().st_size)


def test_an_index_is_repaired_once(cli, vault: Path, stored: str) -> None:
    del stored
    for one in (vault / "index").iterdir():
        one.unlink()
    [dry] = cli("repair", "index", "--dry-run", "--json").of("summary")
    assert (dry["dry_run"], len(dry["read"])) == (True, 2)
    assert "2 packs were read" in cli("repair", "index").out
    assert "nothing had to be changed" in cli("repair", "index").out
    cli("check", "--read-data")


def test_a_pack_that_says_nothing_is_named_and_makes_the_exit_code_1(cli, packs) -> None:
    packs[0].chmod(0o600)
    packs[0].write_bytes(packs[0].read_bytes()[:-5])
    assert f"left alone: data/{packs[0].parent.name}/{packs[0].name}" in (
        cli("repair", "index", code=1).out
    )


def test_what_is_lost_is_left_out_of_a_new_snapshot(cli, packs, stored: str, source: Path) -> None:
    damaged = next(one for one in packs if b"water" not in one.read_bytes())
    damaged.chmod(0o600)
    content = bytearray(damaged.read_bytes())
    content[0] ^= 1
    damaged.write_bytes(content)
    cli("check", "--read-data", code=1)
    assert "1 lost" in cli("repair", "packs", damaged.name[:8]).out
    dry = cli("repair", "snapshots", "--dry-run").out
    assert "would repair 1 snapshot of 1" in dry
    done = cli("repair", "snapshots", "--json")
    [repaired] = done.of("repaired")
    assert repaired["old_snapshot_id"] == stored
    assert repaired["changes"]
    assert "repaired 0 snapshots" in cli("repair", "snapshots").out
    assert len(json.loads(cli("snapshots", "--json", "--tag", "repaired").out.splitlines()[0]))
    cli("backup", source)
    cli("repair", "snapshots", "--forget")
    cli("prune")
    cli("check", "--read-data")


def test_a_lost_snapshot_is_recovered(cli, vault: Path, stored: str) -> None:
    (vault / "snapshots" / stored).unlink()
    [summary] = cli("recover", "--json").of("summary")
    assert summary["snapshot_id"][:8] in cli("snapshots", "--tag", "recovered").out
    assert "every folder is in a snapshot" in cli("recover").out


def test_snapshots_are_copied_once(cli, vault: Path, stored: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("geheim\n")
    other = tmp_path / "other"
    source = ("--from-repo", vault, "--from-password-file", password)
    cli("init", "-r", other, "--archiver", "restic", "--copy-chunker-params", *source)
    twin = json.loads(cli("cat", "config", "-r", other).out)
    assert twin["chunker_polynomial"] == json.loads(cli("cat", "config").out)["chunker_polynomial"]
    [copied] = cli("copy", *source, "-r", other, "--json").of("copied")
    assert (copied["source_id"], copied["is_new"]) == (stored, True)
    assert "was copied before" in cli("copy", stored[:8], *source, "-r", other).out
    assert stored[:8] in cli("snapshots", "-r", other, "--json").out
    cli("check", "--read-data", "-r", other)


def test_a_copy_needs_a_source(cli, vault: Path) -> None:
    del vault
    assert "--from-repo" in cli("copy", code=2).err


def test_the_environment_names_the_source_too(cli, vault: Path, stored, tmp_path, monkeypatch):
    del stored
    other = tmp_path / "other"
    cli("init", "-r", other, "--archiver", "restic")
    monkeypatch.setenv("RESTIC_FROM_REPOSITORY", str(vault))
    monkeypatch.setenv("RESTIC_FROM_PASSWORD", "geheim")
    assert "copied 1 snapshot of 1" in cli("copy", "-r", other).out


def test_passwords_are_added_changed_and_removed(cli, vault: Path, tmp_path: Path, monkeypatch):
    del vault
    new = tmp_path / "new"
    new.write_text("second\n")
    [added] = cli("key", "add", "--new-password-file", new, "--json").of("added")
    keys = cli("key", "list", "--json").of("key")
    assert [one["current"] for one in keys].count(True) == 1
    assert added["id"] in {one["id"] for one in keys}
    [current] = [one["id"] for one in keys if one["current"]]
    assert "in use" in cli("key", "remove", current, code=2).err
    monkeypatch.setenv("BACKAPP_PASSWORD", "second")
    assert "removed key" in cli("key", "remove", current[:10]).out
    new.write_text("third\n")
    cli("key", "passwd", "--new-password-file", new)
    cli("snapshots", code=12)
    monkeypatch.setenv("BACKAPP_PASSWORD", "third")
    assert len(cli("key", "list").out.splitlines()) == 3


def test_an_empty_new_password_is_refused(cli, vault: Path, tmp_path: Path) -> None:
    del vault
    empty = tmp_path / "empty"
    empty.write_text("\n")
    cli("key", "add", "--new-password-file", empty, code=None)
    assert len(cli("key", "list", "--json").of("key")) == 1


@pytest.mark.parametrize("command", ["add", "passwd"])
def test_new_password_that_stands_in_no_file_is_asked_for(cli, vault: Path, command: str) -> None:
    del vault
    assert "there is no terminal to ask on" in cli("key", command, code=12).err


def test_locks_of_the_dead_go_and_others_stay_until_all_are_meant(cli, vault: Path) -> None:
    assert "removed 0 locks" in cli("unlock").out
    lock = vault / "locks" / ("0" * 64)
    lock.parent.mkdir(exist_ok=True)
    lock.write_bytes(b"nonsense")
    assert "removed 0 locks" in cli("unlock").out
    assert cli("unlock", "--remove-all", "--json").of("summary") == [
        {"message_type": "summary", "removed": [f"locks/{'0' * 64}"]}
    ]


def test_objects_are_written_out(cli, vault: Path, stored: str, source: Path) -> None:
    assert json.loads(cli("cat", "config").out)["version"] == 2
    snapshot = json.loads(cli("cat", "snapshot", "latest").out)
    assert snapshot["paths"] == [str(source)]
    assert json.loads(cli("cat", "snapshot", stored[:8]).out) == snapshot
    tree = json.loads(cli("cat", "tree", f"latest:{source}").out)
    todo = next(node for node in tree["nodes"] if node["name"] == "todo")
    assert cli("cat", "blob", *todo["content"]).raw == b"water the plants\n"
    pack = next((vault / "data").glob("*/*"))
    assert cli("cat", "pack", pack.name[:8]).raw == pack.read_bytes()
    for arguments in (
        ["nonsense"],
        ["blob", "xyz"],
        ["snapshot", "0123456"],
        ["tree", "latest:/no"],
    ):
        assert "Traceback" not in cli("cat", *arguments, code=None).err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["repair", "index"], "a targz repository cannot be repaired"),
        (["repair", "snapshots"], "a targz repository cannot be repaired"),
        (["repair", "packs", "00"], "a targz repository cannot be repaired"),
        (["recover"], "a targz repository cannot be repaired"),
        (["key", "list"], "a targz repository cannot have several keys"),
        (["unlock"], "a targz repository cannot be unlocked by hand"),
        (["cat", "config"], "a targz repository cannot show its objects"),
    ],
)
def test_what_an_archiver_cannot_do_is_one_sentence(
    cli, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    place = tmp_path / "plain"
    cli("init", "-r", place, "--archiver", "targz")
    assert cli(*arguments, "-r", place, code=2).err == f"backapp: {sentence}\n"
