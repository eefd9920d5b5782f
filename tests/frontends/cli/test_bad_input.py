"""Bad input gets one sentence that names the thing, an exit code, and changes nothing."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def refused(cli, fingerprint, tmp_path: Path) -> Callable[..., str]:
    """Run a command that is refused; check that it says one sentence and changes nothing."""

    def call(*arguments: str | bytes | Path, code: int, but: Path | None = None) -> str:
        folders = [one for one in sorted(tmp_path.iterdir()) if one != but]
        before = fingerprint(*folders)
        result = cli(*arguments, code=code)
        assert fingerprint(*folders) == before, "something was changed"
        assert result.out == ""
        lines = result.err.splitlines()
        assert len([one for one in lines if one.startswith("backapp: ")]) == 1, result.err
        sentence = lines[-1].removeprefix("backapp: ")
        assert not sentence.endswith(".")
        assert "Traceback" not in result.err
        return sentence

    return call


@pytest.fixture
def looked(cli, kept) -> str:
    """A snapshot that this machine has seen, so that looking again has nothing to write down."""
    cli("ls", "latest")
    return kept


def test_a_source_that_does_not_exist(refused, looked, tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in refused("backup", tmp_path / "gone", code=1)


def test_no_source_at_all(refused, looked, tmp_path: Path) -> None:
    assert "at least one" in refused("backup", code=2)
    (tmp_path / "list").write_text("# nothing\n")
    assert "at least one" in refused("backup", "--files-from", tmp_path / "list", code=2)
    assert "empty path" in refused("backup", "", code=2)


@pytest.mark.parametrize(
    "command",
    [
        ["restore", "latest", "--target", ""],
        ["dump", "latest", "/", "--target", ""],
        ["doctor", "--target", ""],
        ["init", "--recipients-file", ""],
        ["snapshots", "--repo", ""],
        ["snapshots", "--config", ""],
        ["snapshots", "--cache-dir", ""],
        ["snapshots", "--password-file", ""],
        ["snapshots", "--identity-file", ""],
        ["snapshots", "--path", ""],
        ["backup", "--exclude-file", "", "/"],
        ["backup", "--exclude-if-present", "", "/"],
        ["backup", "--files-from", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    refused, looked, tmp_path: Path, monkeypatch, command: list[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    sentence = refused(*command, code=2)
    assert "names nothing" in sentence
    assert next(one for one in command if one.startswith("--")) in sentence


@pytest.mark.parametrize(
    "command",
    [
        ["backup", "SOURCE", "--tag", b"x\xff"],
        ["backup", "SOURCE", "--host", b"x\xff"],
        ["job", "add", "j", "SOURCE", "--tag", b"x\xff"],
        ["job", "add", b"x\xff", "SOURCE"],
        ["job", "add", "j", "SOURCE", "--keep-tag", b"x\xff"],
        ["tag", "--add", b"x\xff"],
        ["tag", "--set", b"x\xff"],
        ["tag", "--remove", b"x\xff"],
        ["snapshots", "--host", b"x\xff"],
        ["snapshots", "--tag", b"x\xff"],
    ],
)
def test_names_that_are_not_utf_8(refused, cli, looked, source: Path, command) -> None:
    cli("job", "list")
    sentence = refused(*(source if one == "SOURCE" else one for one in command), code=2)
    assert "'x\\xff'" in sentence


def test_a_pattern_file_that_does_not_exist(refused, looked, source: Path, tmp_path: Path) -> None:
    sentence = refused("backup", source, "--exclude-file", tmp_path / "gone", code=2)
    assert sentence == f"pattern file '{tmp_path}/gone' does not exist"


def test_a_list_of_sources_that_cannot_be_used(refused, looked, tmp_path: Path) -> None:
    assert "cannot be read" in refused("backup", "--files-from", tmp_path / "gone", code=2)
    (tmp_path / "list").write_text("/nothing/like/*/this\n")
    assert "matches nothing" in refused("backup", "--files-from", tmp_path / "list", code=2)


def test_a_source_inside_its_own_repository(refused, looked, repository: Path) -> None:
    sentence = refused("backup", repository / "snapshots", code=2)
    assert str(repository) in sentence


def test_no_repository_named(refused, monkeypatch, source) -> None:
    monkeypatch.delenv("BACKAPP_REPOSITORY", raising=False)
    assert "--repo" in refused("backup", source, code=2)


@pytest.mark.parametrize("command", ["snapshots", "backup"])
def test_no_repository_there(refused, source, tmp_path: Path, command: str) -> None:
    arguments = [source] if command == "backup" else []
    sentence = refused(command, *arguments, "-r", tmp_path / "none", code=10)
    assert f"backapp init -r {tmp_path / 'none'}" in sentence
    assert not (tmp_path / "none").exists()


def test_a_repository_that_cannot_be_written(
    refused, cli, small_disk: Path, source, tmp_path: Path
) -> None:
    cli("init", "-r", small_disk / "repo")
    cli("backup", source, "-r", small_disk / "repo")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    cache = tmp_path / "home" / "cache"
    sentence = refused("backup", source, "-r", small_disk / "repo", code=1, but=cache)
    assert str(small_disk / "repo") in sentence
    assert "snapshot" in cli("snapshots", "-r", small_disk / "repo", code=None).out


def test_a_place_for_a_repository_that_is_taken(refused, looked, source: Path) -> None:
    repository = os.environ["BACKAPP_REPOSITORY"]
    assert "exists" in refused("init", "-r", repository, code=1)
    assert "holds other files" in refused("init", "-r", source, code=2)


@pytest.mark.parametrize("archiver", ["targz"])
def test_a_repository_of_a_newer_format(refused, looked, repository: Path) -> None:
    config = repository / "backapp.json"
    plain = json.loads(config.read_text())
    config.write_text(json.dumps({**plain, "version": 99}))
    for command in (["snapshots"], ["backup", repository.parent / "source"], ["check"]):
        assert "99" in refused(*command, code=1)


@pytest.mark.parametrize("archiver", ["targz"])
def test_a_repository_of_an_unknown_format(refused, looked, repository: Path) -> None:
    config = repository / "backapp.json"
    plain = json.loads(config.read_text())
    config.write_text(json.dumps({**plain, "format": "else"}))
    assert "unknown format 'else'" in refused("snapshots", code=1)
    config.write_text("{ nonsense")
    assert "backapp.json is damaged" in refused("snapshots", code=1)


def _largest(folder: Path) -> Path:
    return max((one for one in folder.rglob("*") if one.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize(
    ("archiver", "folder"),
    [
        *(("", folder) for folder in ("data", "index", "snapshots")),
        *(("targz", folder) for folder in ("archives", "manifests")),
    ],
)
@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_damage_is_named_and_no_damaged_file_is_restored(
    cli, fingerprint, kept, repository: Path, tmp_path: Path, monkeypatch, *, folder: str, how: str
) -> None:
    victim = _largest(repository / folder)
    content = bytearray(victim.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 0x10
    victim.write_bytes(content)
    before = fingerprint(repository)
    # The cache of the machine that made the backup still has what describes it.
    monkeypatch.setenv("BACKAPP_CACHE_DIR", str(tmp_path / "new"))
    for command in (["check", "--read-data"], ["restore", "latest", "-t", tmp_path / "back"]):
        result = cli(*command, code=1)
        assert "Traceback" not in result.err
        assert (result.err or result.out).strip()
    assert fingerprint(repository) == before
    for path in (tmp_path / "back").rglob("*"):
        if path.is_file() and not path.is_symlink():
            original = Path("/") / path.relative_to(tmp_path / "back")
            assert path.read_bytes() == original.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ["backup", "SOURCE", "--exclude", "a[b"],
        ["backup", "SOURCE", "--exclude-file", "PATTERNS"],
        ["restore", "latest", "-t", "BACK", "--include", "!"],
    ],
)
def test_a_malformed_pattern(refused, looked, source, tmp_path: Path, command) -> None:
    (tmp_path / "patterns").write_text("fine\na[b\n")
    places = {
        "SOURCE": source,
        "PATTERNS": tmp_path / "patterns",
        "BACK": tmp_path / "back",
    }
    sentence = refused(*(places.get(one, one) for one in command), code=2)
    assert "a[b" in sentence or "'!'" in sentence


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (["--schedule", "30 2 * *"], "30 2 * *"),
        (["--schedule", "61 2 * * *"], "61 2 * * *"),
        (["--schedule", "30 2 * * *", "--time-zone", "Atlantis/Capital"], "Atlantis/Capital"),
        (["--schedule", "30 2 * * *", "--scheduler", "moon"], "moon"),
        (["--time-zone", "Europe/Vienna"], "--schedule"),
    ],
)
def test_a_malformed_schedule(refused, cli, looked, source, schedule, words: str) -> None:
    cli("job", "list")
    assert words in refused("job", "add", "j", source, *schedule, code=2)
    assert "no jobs yet" in cli("job", "list").out


@pytest.mark.parametrize("name", ["", "-x", "a b", "../up", "a\nb", "\x1b[31m", "a" * 65])
def test_a_name_that_is_no_name_of_a_job(refused, cli, looked, source, name: str) -> None:
    cli("job", "list")
    refused("job", "add", "--", name, source, code=2)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("nonsense://host/path", 2),
        ("sftp:host", 2),
        ("sftp://", 2),
        ("a\nb", 2),
        ("local:", 2),
        ("\x1b[2J", 10),
    ],
)
def test_a_malformed_address(refused, source, address: str, code: int) -> None:
    assert refused("snapshots", "-r", address, code=code).isprintable()


def test_settings_faults_are_listed_with_their_paths(refused, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        """
        threads = "two"
        colour = "red"
        [repositories.home]
        url = 7
        password = "secret"
        [plugins]
        disabled = "all"
        """
    )
    sentence = refused("snapshots", "--config", tmp_path / "settings.toml", code=2)
    for path in ("threads", "colour", "repositories.home.url", "plugins.disabled"):
        assert path in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a = ", "is no TOML"), (b"a = '\xff'", "no UTF-8"), (None, "does not exist")],
)
def test_a_settings_file_that_cannot_be_read(
    refused, tmp_path: Path, monkeypatch, content, words: str
) -> None:
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("BACKAPP_CONFIG", str(path))
    sentence = refused("snapshots", code=2)
    assert words in sentence
    assert str(path) in sentence


def test_unknown_plugins_and_options(refused, tmp_path: Path) -> None:
    place = tmp_path / "repo"
    assert "targz" in refused("init", "-r", place, "--archiver", "zip", code=2)
    assert "colour" in refused("init", "-r", place, "-o", "colour=red", code=2)
    sentence = refused("init", "-r", place, "-o", "chunker=gear", code=2)
    assert "use one of fastcdc, rabin" in sentence
    tar = ("init", "-r", place, "--archiver", "targz")
    sentence = refused(*tar, "-o", "increments=many", "-o", "x=1", code=2)
    assert "increments" in sentence
    sentence = refused("init", "-r", place, "-o", "increments", code=2)
    assert sentence.startswith("invalid value for '-o': 'increments' is not of the form key=value")
    refused("init", "-r", place, "--recipient", "age1nonsense", code=2)
    refused("init", "-r", place, "--archiver", "restic", "--recipient", "age1nonsense", code=2)
    assert not place.exists()


@pytest.mark.parametrize("command", [["ls"], ["restore", "-t", "BACK"], ["tag", "--add", "x"]])
def test_a_snapshot_that_is_not_there(refused, looked, tmp_path: Path, command) -> None:
    words = [tmp_path / "back" if one == "BACK" else one for one in command]
    assert "0123abc" in refused(*words, "0123abc", code=1)
    assert "names no snapshot" in refused(*words, "newest", code=1)
    assert not (tmp_path / "back").exists()


def test_a_prefix_that_several_snapshots_have(refused, cli, looked, source) -> None:
    seen: dict[str, str] = {looked[0]: looked}
    while True:
        [summary] = cli("backup", source, "--json").of("summary")
        one = summary["snapshot_id"]
        if one[0] in seen:
            break
        seen[one[0]] = one
    cli("snapshots")
    sentence = refused("ls", one[0], code=2)
    assert one[:8] in sentence
    assert seen[one[0]][:8] in sentence


def test_a_path_that_is_not_in_the_snapshot(refused, looked, cli, tmp_path: Path) -> None:
    assert "/nothing" in cli("ls", "latest", "/nothing", code=1).err
    assert "/nothing" in refused("restore", "latest:/nothing", "-t", tmp_path / "back", code=1)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["forget"], "--keep-daily"),
        (["forget", "latest", "--keep-last", "1"], "one of them"),
        (["tag", "latest"], "no tag"),
        (["tag", "latest", "--add", "a", "--set", "b"], "not both"),
        (["backup", "--exclude-larger-than", "big", "/etc"], "is no size"),
        (["restore", "latest"], "--target"),
        (["snapshots", "--group-by", "colour"], "colour"),
        (["snapshots", "--color"], "--color"),
        (["wrong"], "wrong"),
        (["snapshots", "-p", "a", "--password-command", "b"], "exclude each other"),
        (["snapshots", "-I", "/none"], "/none"),
    ],
)
def test_usage_that_makes_no_sense(refused, looked, command: list[str], words: str) -> None:
    assert words in refused(*command, code=2)


def test_jobs_and_runs_that_are_not_there(refused, cli) -> None:
    cli("job", "list")
    for command in (["job", "show", "x"], ["job", "run", "x"], ["job", "remove", "x"]):
        assert "'x'" in refused(*command, code=1)
    assert refused("runs", "show", "abc", code=1)


def test_runs_of_a_job_that_never_was(refused, cli, looked, source: Path) -> None:
    cli("job", "list")
    assert "'x', and no run of one" in refused("runs", "list", "--job", "x", code=1)
    cli("job", "add", "x", source)
    assert "no runs yet" in cli("runs", "list", "--job", "x").out
    cli("job", "run", "x")
    cli("job", "remove", "x")
    assert "completed" in cli("runs", "list", "--job", "x").out
    failed = cli("runs", "list", "--job", "x", "--state", "failed")
    assert "no run whose state is failed" in failed.out


@pytest.mark.parametrize(
    "command",
    [
        ["backup", "."],
        ["backup", "SOURCE", "--exclude-file", "x"],
        ["job", "add", "j", "."],
        ["snapshots", "--path", "x"],
        ["snapshots", "-r", "x"],
    ],
)
def test_a_current_folder_that_was_removed(
    refused, cli, looked, source: Path, tmp_path: Path, monkeypatch, command: list[str]
) -> None:
    cli("job", "list")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    words = [source if one == "SOURCE" else one for one in command]
    assert refused(*words, code=1) == "the current folder no longer exists"


def test_a_disk_that_fills_up_while_backing_up(cli, small_disk: Path, source: Path) -> None:
    cli("init", "-r", small_disk / "repo")
    (source / "noise").write_bytes(os.urandom(8 << 20))
    result = cli("backup", source, "-r", small_disk / "repo", code=1)
    assert "backapp: " in result.err.splitlines()[-1]
    assert cli("snapshots", "-r", small_disk / "repo", "--json").messages == []
    assert not [one for one in (small_disk / "repo" / "locks").rglob("*") if one.is_file()]
    (source / "noise").unlink()
    cli("backup", source, "-r", small_disk / "repo")
    cli("check", "--read-data", "-r", small_disk / "repo")


def test_a_disk_that_fills_up_while_restoring(
    cli, fingerprint, repository: Path, small_disk: Path, source: Path
) -> None:
    (source / "noise").write_bytes(os.urandom(8 << 20))
    cli("backup", source)
    before = fingerprint(repository)
    result = cli("restore", "latest", "-t", small_disk / "back", code=1)
    assert "backapp: " in result.err.splitlines()[-1]
    assert fingerprint(repository) == before
    left = [one for one in (small_disk / "back").rglob("*") if one.is_file()]
    assert all(one.name != "noise" for one in left)
    for one in left:
        original = Path("/") / one.relative_to(small_disk / "back")
        assert one.read_bytes() == original.read_bytes()


def test_json_says_why_it_ended(cli, tmp_path: Path) -> None:
    result = cli("snapshots", "-r", tmp_path / "none", "--json", code=10)
    [message] = result.of("exit_error")
    assert message["code"] == 10
    assert str(tmp_path / "none") in message["message"]
    assert result.err.startswith("backapp: ")


def test_an_unexpected_error_is_a_sentence_and_a_traceback_only_on_request(
    cli, kept, monkeypatch
) -> None:
    from backapp_core.engine import Engine

    def explode(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("half of nothing\x1b[2J")

    monkeypatch.setattr(Engine, "snapshots", explode)
    result = cli("snapshots", code=1)
    assert "ZeroDivisionError: half of nothing" in result.err
    assert "--debug" in result.err
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err
    assert "Traceback" in cli("snapshots", "--debug", code=1).err
    monkeypatch.setenv("BACKAPP_DEBUG", "1")
    assert "Traceback" in cli("snapshots", code=1).err
