"""Every command that looks into a repository or changes it, in words and as JSON."""

import io
import os
import tarfile
from pathlib import Path

import pytest


def test_a_folder_comes_back_as_it_was(cli, kept: str, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "back"
    result = cli("restore", "latest", "--target", target)
    back = Path(f"{target}{source}")
    assert (back / "letters" / "mum.txt").read_text() == "Dear mum\n"
    assert os.readlink(back / "link") == "todo"
    assert "restored 3 files" in result.out


def test_a_folder_of_a_snapshot_comes_back_without_the_way_to_it(
    cli, kept: str, source: Path, tmp_path: Path
) -> None:
    cli("restore", f"{kept[:8]}:{source}/letters", "-t", tmp_path / "back")
    assert sorted(os.listdir(tmp_path / "back")) == ["bank.txt", "mum.txt"]


def test_patterns_choose_what_is_restored(cli, kept, source: Path, tmp_path: Path) -> None:
    cli("restore", "latest", "-t", tmp_path / "one", "--iinclude", "MUM.*")
    assert [p.name for p in (tmp_path / "one").rglob("*") if p.is_file()] == ["mum.txt"]
    cli("restore", "latest", "-t", tmp_path / "two", "--exclude", "letters")
    assert {p.name for p in (tmp_path / "two").rglob("*") if p.is_file()} == {"todo", "link"}
    result = cli("restore", "latest", "-t", tmp_path / "x", "-i", "a", "--iexclude", "b", code=2)
    assert "cannot be mixed" in result.err


def test_a_dry_restore_shows_the_plan_and_writes_nothing(
    cli, kept, source: Path, tmp_path: Path
) -> None:
    words = cli("restore", "latest", "-t", tmp_path / "back", "-n")
    assert f"create     {source}/todo" in words.out
    plan = cli("restore", "latest", "-t", tmp_path / "back", "-n", "--json")
    assert {one["item"] for one in plan.of("restore_step")} >= {f"{source}/todo", f"{source}/link"}
    assert plan.of("summary")[0]["total_bytes"] == 9 + 10 + 17
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(("policy", "text"), [("never", "mine"), ("always", "water the plants\n")])
def test_existing_files_are_treated_as_asked(
    cli, kept, source: Path, tmp_path: Path, *, policy: str, text: str
) -> None:
    target = tmp_path / "back"
    target.mkdir()
    (target / "todo").write_text("mine")
    cli("restore", f"latest:{source}", "-t", target, "--overwrite", policy)
    assert (target / "todo").read_text() == text


def test_a_restore_that_is_not_complete_fails_and_lists_why(
    cli, kept, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "back"
    (target / "todo" / "in the way").mkdir(parents=True)
    result = cli("restore", f"latest:{source}", "-t", target, code=1)
    assert "not restored:\n  /todo: " in result.err
    assert "incomplete" in result.err.splitlines()[-1]
    assert (target / "letters" / "mum.txt").exists()


def test_a_dry_restore_foretells_that_it_would_not_be_complete(
    cli, kept, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "back"
    target.mkdir()
    (target / "letters").write_text("in the way")
    arguments = ("restore", f"latest:{source}", "-t", target, "--overwrite", "never")
    foretold = cli(*arguments, "--dry-run", code=1)
    assert "refuse     /letters/mum.txt" in foretold.out
    assert "would be incomplete: 3 entries would be refused" in foretold.err
    [summary] = cli(*arguments, "--dry-run", "--json", code=1).of("summary")
    assert summary["refuse"] == 3
    [actual] = cli(*arguments, "--json", code=1).of("summary")
    assert actual["error_count"] == 3


@pytest.mark.parametrize(
    ("files", "sentence"), [(1, "left 1 entry as it was"), (2, "left 2 entries as they were")]
)
def test_one_entry_that_is_left_is_not_called_they(
    cli, kept, source: Path, tmp_path: Path, *, files: int, sentence: str
) -> None:
    target = tmp_path / "back"
    names = ("mum.txt", "bank.txt")[:files]
    includes = [part for name in names for part in ("--include", name)]
    for _ in range(2):
        result = cli("restore", f"latest:{source}/letters", "-t", target, *includes)
    assert sentence in result.out


@pytest.mark.parametrize(("files", "sentence"), [(1, "1 entry came "), (2, "2 entries came ")])
def test_what_came_without_privileges_is_counted_in_good_grammar(
    cli, repository, source: Path, tmp_path: Path, *, files: int, sentence: str
) -> None:
    for name in ("mum.txt", "bank.txt")[:files]:
        (source / "letters" / name).chmod(0o4755)
    cli("backup", source)
    result = cli("restore", "latest", "-t", tmp_path / "back", "--no-special")
    assert f"warning: {sentence}without set-id bits" in result.err


def test_the_help_of_restore_says_what_is_compared(cli) -> None:
    text = " ".join(cli("restore", "--help").out.split())
    assert "where type, size or time differ (contents are not compared)" in text
    assert "those of files that are left as they are, are not compared" in text


def test_a_link_as_a_source_is_stored_as_such_and_that_is_said(
    cli, repository, source: Path, tmp_path: Path
) -> None:
    link = tmp_path / "way"
    link.symlink_to(source)
    result = cli("backup", link)
    assert f"warning: {link} is a symbolic link; what it points to is not" in result.err
    assert f"(write {link}/ for the folder)" in result.err
    assert cli("ls", "latest", link).out.splitlines()[-1].endswith(str(link))


@pytest.mark.parametrize("ending", ["/", "/."])
def test_a_link_with_a_slash_is_the_folder_that_it_points_to(
    cli, repository, source: Path, tmp_path: Path, *, ending: str
) -> None:
    link = tmp_path / "way"
    link.symlink_to(source)
    result = cli("backup", f"{link}{ending}")
    assert "symbolic link" not in result.err
    assert "processed 3 files" in result.out
    assert f"{source}/todo" in cli("ls", "latest", "--recursive").out


def test_a_job_of_a_link_with_a_slash_follows_it_at_each_run(
    cli, repository, source: Path, tmp_path: Path
) -> None:
    link, other = tmp_path / "way", tmp_path / "other"
    other.mkdir()
    (other / "new").write_text("x")
    link.symlink_to(source)
    cli("job", "add", "home", f"{link}/")
    link.unlink()
    link.symlink_to(other)
    cli("job", "run", "home")
    assert f"{other}/new" in cli("ls", "latest", "--recursive").out


def test_a_second_backup_compares_with_the_first(cli, kept: str, source: Path) -> None:
    (source / "new").write_text("x")
    result = cli("backup", source, "--json")
    [summary] = result.of("summary")
    assert summary["files_new"] == 1
    # Files written a moment ago are not trusted to be the same, but read again.
    assert summary["files_unmodified"] + summary["files_changed"] == 3
    assert summary["parent"] == kept
    [full] = cli("backup", source, "--force", "--full", "--json").of("summary")
    assert full["total_files_processed"] == 4
    assert full["bytes_read"] == 37


def test_options_choose_what_is_backed_up(cli, repository, source: Path, tmp_path: Path) -> None:
    (source / "big").write_bytes(b"x" * 2000)
    (source / "cache").mkdir()
    (source / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (source / "cache" / "rubbish").write_text("x")
    (tmp_path / "patterns").write_text("link\n")
    cli(
        *("backup", source, "--exclude", "*.txt", "--include", "mum.txt", "--exclude-caches"),
        *("--exclude-larger-than", "1K", "--exclude-file", tmp_path / "patterns", "-x"),
        *("--tag", "a,b", "--host", "elsewhere"),
    )
    names = {Path(line).name for line in cli("ls", "latest").out.splitlines()}
    assert {"mum.txt", "todo", "CACHEDIR.TAG"} <= names
    assert not {"bank.txt", "big", "rubbish", "link"} & names
    [one] = cli("snapshots", "--json").of("snapshot")
    assert (one["tags"], one["hostname"]) == (["a", "b"], "elsewhere")


def test_sources_may_be_listed_in_files(cli, repository, source: Path, tmp_path: Path) -> None:
    strange = source / os.fsdecode(b"\xff\n#")
    strange.write_text("x")
    (tmp_path / "globs").write_text(f"# a comment\n\n{source}/let*\n")
    (tmp_path / "lines").write_text(f"{source}/todo\n")
    (tmp_path / "raw").write_bytes(os.fsencode(strange) + b"\0")
    cli(
        *("backup", "--files-from", tmp_path / "globs"),
        *("--files-from-verbatim", tmp_path / "lines", "--files-from-raw", tmp_path / "raw"),
    )
    [one] = cli("snapshots", "--json").of("snapshot")
    assert set(one["paths"]) == {f"{source}/letters", f"{source}/todo", rf"{source}/\xff\x0a#"}


def test_names_that_are_no_utf8_are_arguments_like_any_other(
    cli, repository, source: Path, tmp_path: Path
) -> None:
    name = os.fsencode(source) + b"/\xe4\xff"
    Path(os.fsdecode(name)).write_bytes(b"content")
    cli("backup", name)
    assert cli("dump", "latest", name).raw == b"content"
    assert cli("ls", "latest", name).out == rf"{source}/\xe4\xff" + "\n"
    target = os.fsencode(tmp_path) + b"/back\xfe"
    cli("restore", "latest", "--target", target)
    assert Path(os.fsdecode(target + name)).read_bytes() == b"content"


def test_a_repository_may_stand_at_any_bytes(cli, source: Path, tmp_path: Path) -> None:
    place = bytes(tmp_path) + b"/repo\xff"
    [made] = cli("init", "-r", place, "--json").of("initialized")
    assert made["repository"] == f"{tmp_path}/repo\\xff"
    cli("backup", source, "-r", place)
    cli("job", "add", "j", source, "-r", place)
    cli("job", "run", "j")
    [job] = cli("job", "list", "--json").of("job")
    assert job["repository"] == made["repository"]
    assert len(cli("snapshots", "--json", "-r", place).of("snapshot")) == 2


def test_a_dry_backup_names_what_it_would_take(cli, repository: Path, source: Path) -> None:
    (source / "mine.tmp").write_text("x")
    inside = source / "backups"
    cli("init", "-r", inside)
    arguments = ("backup", source, source.parent / "gone", "-e", "*.tmp", "-r", inside, "-n")
    dry = cli(*arguments, "-vv", code=3)
    named = {line.split(maxsplit=1)[1] for line in dry.out.splitlines() if line.startswith("found")}
    assert named == {str(one) for one in source.rglob("*") if not _is_left_out(one, inside)}
    assert f"{source.parent}/gone: " in dry.err
    # What is named is what is counted, and both are what is then backed up.
    assert "found" not in cli(*arguments, code=3).out
    counted = cli(*arguments, "--json", code=3).of("summary")[0]
    done = cli(*arguments[:-1], "--json", code=3).of("summary")[0]
    same = ("total_files_processed", "total_bytes_processed", "others", "error_count")
    assert {name: counted[name] for name in same} == {name: done[name] for name in same}


def _is_left_out(path: Path, repository: Path) -> bool:
    is_folder = path.is_dir() and not path.is_symlink()
    return is_folder or path.suffix == ".tmp" or path.is_relative_to(repository)


def test_what_is_unchanged_can_be_skipped(cli, repository: Path, source: Path) -> None:
    skip = ("backup", source, "--skip-if-unchanged")
    assert " saved" in cli(*skip).out
    [first] = cli("snapshots", "--json").of("snapshot")
    said = cli(*skip).out.splitlines()
    assert said[-1] == f"nothing changed since snapshot {first['id'][:8]}; none was made"
    [summary] = cli(*skip, "--json").of("summary")
    assert "snapshot_id" not in summary
    assert (summary["parent"], summary["files_unmodified"]) == (first["id"], 3)
    assert "would back up 3 files" in cli(*skip, "--dry-run").out
    assert len(cli("snapshots", "--json").of("snapshot")) == 1
    (source / "todo").write_text("rest")
    [summary] = cli(*skip, "--json").of("summary")
    assert summary["parent"] == first["id"] != summary["snapshot_id"]
    cli(*skip, "--full")
    assert len(cli("snapshots", "--json").of("snapshot")) == 3


def test_what_cannot_be_read_is_told_where_nothing_else_changed(
    cli, repository: Path, source: Path, tmp_path: Path
) -> None:
    skip = ("backup", source, tmp_path / "gone", "--skip-if-unchanged")
    assert "could not be read" in cli(*skip, code=3).err
    again = cli(*skip, code=3)
    assert "; none was made" in again.out
    assert f"{tmp_path}/gone: " in again.err
    assert "warning: 1 entry could not be read" in again.err


def test_a_dry_backup_only_counts(cli, repository: Path, source: Path) -> None:
    before = sorted(repository.rglob("*"))
    assert "would back up 3 files" in cli("backup", source, "-n").out
    assert sorted(repository.rglob("*")) == before
    cli("backup", source)
    before = sorted(repository.rglob("*"))
    [summary] = cli("backup", source, "-n", "--json").of("summary")
    # Whether a file is new or changed is not known before it is compared.
    assert summary == {
        "message_type": "summary",
        "dry_run": True,
        "dirs": summary["dirs"],
        "others": 1,
        "error_count": 0,
        "total_files_processed": 3,
        "total_bytes_processed": 9 + 10 + 17,
    }
    assert sorted(repository.rglob("*")) == before


def test_entries_that_cannot_be_read_make_the_code_3(
    cli, repository, source: Path, tmp_path: Path
) -> None:
    result = cli("backup", source, tmp_path / "gone", code=3)
    assert f"{tmp_path}/gone: " in result.err
    sentence = "warning: 1 entry could not be read; the snapshot lacks it or holds it in part"
    assert sentence in result.err
    message = cli("backup", source, tmp_path / "gone", "--json", code=3)
    assert message.of("error")[0]["item"] == f"{tmp_path}/gone"
    assert message.of("summary")[0]["error_count"] == 1


def test_snapshots_are_filtered_and_grouped(cli, kept: str, source: Path) -> None:
    cli("backup", source / "letters", "--tag", "x", "--host", "other")
    assert len(cli("snapshots", "--json").of("snapshot")) == 2
    for wanted in (["--tag", "x"], ["--host", "other"], ["--path", source / "letters"]):
        [one] = cli("snapshots", "--json", *wanted).of("snapshot")
        assert one["hostname"] == "other"
    assert [one["id"] for one in cli("snapshots", kept[:10], "--json").messages] == [kept]
    assert "snapshots of host other" in cli("snapshots", "-g", "host").out
    assert "no snapshot matches" in cli("snapshots", "--host", "nobody").out
    assert len(cli("snapshots", "--latest", "1", "--json").messages) == 2


def test_a_repository_without_snapshots_says_what_to_do(cli, repository) -> None:
    assert "backapp backup PATH" in cli("snapshots").out
    assert cli("snapshots", "--json").out == ""


def test_ls_lists_all_or_a_folder(cli, kept, source: Path) -> None:
    assert f"{source}/letters/mum.txt" in cli("ls", "latest").out.splitlines()
    flat = cli("ls", "latest", source).out.splitlines()
    assert f"{source}/letters" in flat
    assert f"{source}/letters/mum.txt" not in flat
    assert f"{source}/letters/mum.txt" in cli("ls", "--recursive", "latest", source).out
    assert "-rw-r--r--" in cli("ls", "-l", "latest", source).out
    assert f"{source}/link -> todo" in cli("ls", "-l", "latest", source).out
    first, *nodes = cli("ls", "latest", "--json").messages
    assert first["message_type"] == "snapshot"
    [todo] = [one for one in nodes if one["path"] == f"{source}/todo"]
    assert todo["type"] == "file"
    assert todo["size"] == 17
    assert todo["mtime"].endswith("Z")


def test_ls_takes_a_folder_with_the_snapshot(cli, kept, source: Path) -> None:
    listed = cli("ls", f"latest:{source}/letters").out.splitlines()
    names = [f"{source}/letters{end}" for end in ("", "/bank.txt", "/mum.txt")]
    assert listed == names
    assert "not both" in cli("ls", f"latest:{source}/letters", source, code=2).err
    assert "holds no '/gone'" in cli("ls", "latest:/gone", code=1).err


def test_the_repository_may_be_named_in_a_file(
    cli, kept, repository: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("BACKAPP_REPOSITORY")
    monkeypatch.setenv("RESTIC_REPOSITORY_FILE", str(tmp_path / "address"))
    assert str(tmp_path / "address") in cli("snapshots", code=2).err
    (tmp_path / "address").write_text(f"{repository}\n")
    assert kept[:8] in cli("snapshots").out
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "other"))
    assert "other" in cli("snapshots", code=10).err


def test_find_names_the_snapshots(cli, kept: str, source: Path) -> None:
    cli("backup", source)
    words = cli("find", "MUM*", "-i")
    assert words.out.count("mum.txt") == 2
    assert f"in snapshot {kept[:8]} of " in words.out
    [one] = cli("find", "mum.txt", "-s", kept, "--json").of("match")
    assert (one["path"], one["snapshot"]) == (f"{source}/letters/mum.txt", kept)
    assert cli("find", "nothing*").out == "nothing matches\n"


def test_diff_shows_letters(cli, kept: str, source: Path) -> None:
    (source / "todo").write_text("water the plants twice\n")
    (source / "letters" / "bank.txt").unlink()
    (source / "more").mkdir()
    cli("backup", source)
    lines = cli("diff", kept, "latest").out.splitlines()
    assert f"M  {source}/todo" in lines
    assert f"-  {source}/letters/bank.txt" in lines
    assert f"+  {source}/more/" in lines
    changes = cli("diff", kept, "latest", "--json")
    assert {"path": f"{source}/todo", "modifier": "M", "message_type": "change"} in changes.messages
    assert changes.of("statistics")[0]["removed"]["files"] == 1


def test_dump_writes_a_file_or_a_tar_archive(cli, kept, source: Path, tmp_path: Path) -> None:
    assert cli("dump", "latest", source / "todo").raw == b"water the plants\n"
    dumped = io.BytesIO(cli("dump", "latest", source / "letters").raw)
    with tarfile.open(fileobj=dumped) as archive:
        assert {one.name for one in archive if one.isfile()} == {"mum.txt", "bank.txt"}
    cli("dump", "latest", source / "todo", "--target", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "water the plants\n"


def test_a_dump_into_a_file_tells_programs_what_it_wrote(
    cli, kept, source: Path, tmp_path: Path
) -> None:
    result = cli("dump", "latest", source / "todo", "--target", tmp_path / "todo", "--json")
    assert result.messages == [
        {
            "message_type": "summary",
            "snapshot_id": kept,
            "item": f"{source}/todo",
            "target": f"{tmp_path}/todo",
            "size": 17,
        }
    ]


def test_a_dump_that_fails_leaves_nothing_and_keeps_json_off_the_data(
    cli, kept, source: Path, tmp_path: Path
) -> None:
    result = cli("dump", "latest", source / "nothing", "--target", tmp_path / "out", code=1)
    assert "holds no" in result.err
    assert [one for one in os.listdir(tmp_path) if "out" in one] == []
    result = cli("dump", "latest", source / "nothing", "--json", code=1)
    assert result.raw == b""


def test_check_is_content_with_a_whole_repository(cli, kept) -> None:
    assert "1 snapshot, " in cli("check").out
    [summary] = cli("check", "--read-data", "--json").of("summary")
    assert summary["num_errors"] == 0
    assert summary["bytes_read"] > 0


@pytest.mark.parametrize("archiver", ["targz"])
def test_check_reads_the_share_of_the_data_that_it_is_told(cli, kept, repository: Path) -> None:
    everything, *parts = (
        cli("check", *share, "--json").of("summary")[0]["bytes_read"]
        for share in (
            ["--read-data"],
            ["--read-data-subset", "1/2"],
            ["--read-data-subset", "2/2"],
            ["--read-data-subset", "1"],
        )
    )
    [archive] = (repository / "archives").iterdir()
    beside = everything - archive.stat().st_size
    assert sorted(parts) == [beside, everything, everything]
    refused = cli("check", "--read-data", "--read-data-subset", "1/2", code=2)
    assert "exclude each other" in refused.err


@pytest.mark.parametrize("archiver", ["targz"])
def test_check_names_a_damaged_object_once(cli, kept, repository: Path) -> None:
    [archive] = (repository / "archives").iterdir()
    archive.unlink()
    [finding, *_] = cli("check", "--json", code=1).of("finding")
    assert archive.name in finding["message"]
    [line] = [one for one in cli("check", code=1).out.splitlines() if one.startswith("error: ")]
    assert line.count(archive.name) == 1


def test_check_fails_when_something_is_missing(cli, kept, repository: Path) -> None:
    victim = next(one for one in (repository / "data").rglob("*") if one.is_file())
    victim.unlink()
    result = cli("check", code=1)
    assert "error: " in result.out
    assert kept[:8] in result.out
    assert cli("check", "--json", code=1).of("finding")[0]["severity"] == "error"


def test_a_snapshot_that_vanished_is_told_until_it_is_accepted(
    cli, kept: str, repository: Path, source: Path
) -> None:
    cli("snapshots")
    for one in repository.rglob(f"*{kept[:8]}*"):
        one.unlink()
    assert "gone" in cli("snapshots").err
    cli("check", code=1)
    cli("check", "--accept-missing")
    assert cli("check").err == ""


def test_forget_shows_reasons_and_removes(cli, kept: str, source: Path) -> None:
    cli("backup", source)
    dry = cli("forget", "--keep-last", "1", "--dry-run")
    assert "would remove 1 snapshot, 1 stay" in dry.out
    assert len(cli("snapshots", "--json").messages) == 2
    done = cli("forget", "--keep-last", "1", "--prune", "--json")
    assert done.of("summary")[0]["removed"] == [kept]
    assert done.of("pruned")
    assert len(cli("snapshots", "--json").messages) == 1
    cli("forget", "latest")
    assert cli("snapshots", "--json").messages == []


def test_forget_by_calendar_and_tags(cli, kept, source: Path) -> None:
    cli("backup", source, "--tag", "precious")
    done = cli(
        *("forget", "--keep-tag", "precious", "--keep-within", "1h", "--keep-daily", "-1"),
        *("--group-by", "", "--json", "-n"),
    )
    [group] = done.of("group")
    assert (group["host"], group["paths"]) == (None, None)
    assert any("tags precious" in one for one in group["reasons"].values() for one in one)


def test_prune_names_what_it_deletes(cli, kept: str, source: Path) -> None:
    (source / "todo").write_text("x" * 10_000)
    cli("backup", source, "--full")
    cli("forget", kept)
    assert "would delete" in cli("prune", "--dry-run").out
    [done] = cli("prune", "--json").of("pruned")
    assert done["freed_bytes"] > 0
    assert "deleted 0 objects" in cli("prune").out
    cli("check", "--read-data")


def test_tags_are_set_added_and_removed(cli, kept: str) -> None:
    [change] = cli("tag", "--set", "a,b", kept, "--json").of("changed")
    assert change["old_snapshot_id"] == kept
    cli("tag", "--add", "c", "--tag", "a")
    words = cli("tag", "--remove", "a")
    assert words.out.splitlines()[0].endswith(": b, c")
    cli("tag", "--set", "", "latest")
    [one] = cli("snapshots", "--json").of("snapshot")
    assert one["tags"] == []
    assert one["original"] == kept
    cli("tag", "latest", code=2)


def test_stats_count_what_comes_back_and_what_is_stored(cli, kept: str, source: Path) -> None:
    cli("backup", source)
    [figures] = cli("stats", "--json").of("stats")
    assert (figures["total_file_count"], figures["snapshots_count"]) == (6, 2)
    [figures] = cli("stats", kept, "--json").of("stats")
    assert figures["total_size"] == 36
    assert "Restoring them:      6 files, 72 B" in cli("stats").out


def test_stats_count_the_same_content_once(cli, kept: str, source: Path) -> None:
    cli("backup", source)
    [figures] = cli("stats", "--mode", "files-by-contents", "--json").of("stats")
    assert (figures["total_file_count"], figures["total_size"]) == (3, 36)
    [figures] = cli("stats", "--mode", "blobs-per-file", "--json").of("stats")
    assert (figures["total_file_count"], figures["total_blob_count"]) == (3, 3)
    assert "3 files, 36 B in 3 blobs" in cli("stats", "--mode", "blobs-per-file").out
    [figures] = cli("stats", "--mode", "raw-data", "--json").of("stats")
    assert figures["total_blob_count"] > 3 + len(source.parts)
    assert 0 < figures["total_size"] < figures["repository_size"]


@pytest.mark.parametrize("archiver", ["targz"])
def test_stats_of_a_format_that_shares_nothing_say_so(cli, kept: str) -> None:
    assert "targz repository cannot count" in cli("stats", "--mode", "raw-data", code=2).err


def test_plugins_are_listed_with_their_options(cli) -> None:
    words = cli("plugins", "-v")
    assert "archiver" in words.out
    assert "-o recipients=" in words.out
    assert "-o chunker=fastcdc (or rabin)" in words.out
    roles = {(one["role"], one["name"]) for one in cli("plugins", "--json").of("plugin")}
    assert {("scanner", "files"), ("archiver", "targz"), ("scheduler", "cron")} <= roles


def test_doctor_looks_at_sources_and_repository(cli, kept, source: Path, tmp_path: Path) -> None:
    fine = cli("doctor", source, "--target", tmp_path)
    assert f"{source}: " in fine.out
    bad = cli("doctor", tmp_path / "gone", "--json", code=1)
    assert "problem" in {one["verdict"] for one in bad.of("diagnosis")}


def test_options_stand_before_or_after_the_command(cli, kept, repository, monkeypatch) -> None:
    monkeypatch.delenv("BACKAPP_REPOSITORY")
    assert cli("--json", "-r", repository, "snapshots").messages
    assert cli("-r", "/nowhere", "snapshots", "-r", repository, "--json").messages


def test_quiet_says_only_what_was_asked_for(cli, repository, source: Path) -> None:
    assert cli("-q", "backup", source).out.count("\n") == 1
    assert cli("backup", source, "-q").err == ""


@pytest.mark.parametrize("archiver", ["restic", "targz"])
def test_how_hard_is_compressed_is_chosen_for_a_command_or_for_good(
    cli, repository, source: Path, tmp_path: Path, monkeypatch
) -> None:
    text = b"".join(b"line %d of a long letter\n" % number for number in range(20_000))
    for place in "abc":
        (source / place).mkdir()
        (source / place / "letter").write_bytes(place.encode() + text)  # nothing is there already

    def stored(place: str, *options: str) -> int:
        [summary] = cli("backup", source / place, "--json", *options).of("summary")
        return summary["data_added"]

    off, hard = stored("a", "--compression", "off"), stored("b", "--compression", "max")
    assert hard < 0.8 * off
    settings = tmp_path / "settings.toml"
    settings.write_text("compression = 'off'")
    monkeypatch.setenv("BACKAPP_CONFIG", str(settings))
    assert stored("c") > 0.9 * off
