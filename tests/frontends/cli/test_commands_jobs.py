"""Jobs: added, shown, changed, run and removed; and the runs that they leave behind."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def job(cli, repository, source) -> str:
    cli("job", "add", "docs", source, "--schedule", "30 2 * * *", "--keep-daily", "7")
    return "docs"


def test_there_are_no_jobs_at_first(cli) -> None:
    assert "backapp job add NAME" in cli("job", "list").out
    assert "backapp job run NAME" in cli("runs", "list").out
    assert cli("job", "list", "--json").out == ""


def test_a_job_remembers_what_it_was_told(cli, repository, source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame")
    cli(
        *("job", "add", "docs", source, source / "letters", "--schedule", "30 2 * * 1-5"),
        *("--time-zone", "Europe/Vienna", "--keep-daily", "7", "--keep-within", "1y"),
        *("--exclude", "*.tmp", "--exclude-larger-than", "10M", "-x", "--tag", "a,b"),
        *("--password-file", tmp_path / "secret"),
    )
    [one] = cli("job", "show", "docs", "--json").of("job")
    assert one["roots"] == [str(source), f"{source}/letters"]
    assert one["repository"] == str(repository)
    assert one["schedule"]["time_zone"] == "Europe/Vienna"
    assert one["next_due_at"].endswith("+00:00")
    assert one["retention"]["daily"] == 7
    assert one["retention"]["within"] == "1y"
    assert one["scanner_settings"]["exclude_larger_than_bytes"] == 10 << 20
    assert one["scanner_settings"]["excludes"] == ["*.tmp"]
    assert one["tags"] == ["a", "b"]
    assert one["password_file"] == str(tmp_path / "secret")
    words = cli("job", "show", "docs").out
    for expected in ("30 2 * * 1-5 (Europe/Vienna)", "--keep-daily 7", "next due:   20", "*.tmp"):
        assert expected in words


def test_no_secret_is_stored(cli, repository, source, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BACKAPP_PASSWORD", "open-sesame")
    (tmp_path / "file").write_text("open-sesame")
    monkeypatch.chdir(tmp_path)
    cli("job", "add", "docs", source, "-p", "file")
    [one] = cli("job", "show", "docs", "--json").of("job")
    assert one["password_file"] == str(tmp_path / "file")
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or b"open-sesame" not in path.read_bytes()
    result = cli("job", "add", "x", source, "-r", "sftp://me:hush@nas/backup", code=2)
    assert "holds a password" in result.err
    assert "hush" not in result.err


def test_relative_paths_are_kept_absolute(cli, source: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli("job", "add", "docs", "source", "-r", "elsewhere")
    [one] = cli("job", "show", "docs", "--json").of("job")
    assert (one["roots"], one["repository"]) == ([str(source)], str(tmp_path / "elsewhere"))


def test_a_name_is_taken_once(cli, job: str, source) -> None:
    assert "docs" in cli("job", "add", job, source, code=1).err


def test_editing_changes_what_is_given_and_nothing_else(cli, job: str, source: Path) -> None:
    before = cli("job", "show", job, "--json").of("job")[0]
    cli("job", "edit", job, "--schedule", "0 4 * * *", "--exclude", "*.iso", "--disable")
    after = cli("job", "show", job, "--json").of("job")[0]
    assert after["schedule"]["expression"] == "0 4 * * *"
    assert after["scanner_settings"] == {"excludes": ["*.iso"]}
    assert (after["is_enabled"], after["next_due_at"]) == (False, None)
    assert "disabled" in cli("job", "list").out
    for name in ("retention", "roots", "repository", "tags"):
        assert after[name] == before[name]
    cli("job", "edit", job, "--time-zone", "Asia/Tokyo", "--enable")
    again = cli("job", "show", job, "--json").of("job")[0]
    assert again["schedule"] == {**after["schedule"], "time_zone": "Asia/Tokyo"}
    assert again["is_enabled"] is True


def test_an_edit_that_gives_nothing_is_bad_usage(cli, job: str, source: Path) -> None:
    assert "nothing to change" in cli("job", "edit", job, code=2).err
    cli("job", "edit", job, source)  # the same again is something


def test_a_way_back_in_an_address_is_gone(cli, repository: Path, source: Path) -> None:
    cli("job", "add", "back", source, "-r", f"{source}/../{repository.name}")
    assert cli("job", "show", "back", "--json").messages[0]["repository"] == str(repository)


def test_editing_can_clear(cli, job: str, source: Path) -> None:
    cli("job", "edit", job, "--clear", "schedule", "--clear", "retention", source / "todo")
    [one] = cli("job", "show", job, "--json").of("job")
    assert one["schedule"] is None
    assert one["retention"]["daily"] == 0
    assert one["roots"] == [f"{source}/todo"]
    assert "somebody runs it" in cli("job", "show", job).out


def test_a_change_that_makes_no_sense_changes_nothing(cli, job: str) -> None:
    before = cli("job", "show", job, "--json").raw
    cli("job", "edit", job, "--schedule", "never", code=2)
    cli("job", "edit", job, "--exclude", "a[b", code=2)
    assert cli("job", "show", job, "--json").raw == before


def test_a_run_is_recorded_with_its_events(cli, job: str, source: Path, tmp_path: Path) -> None:
    done = cli("job", "run", job)
    assert "state:     completed" in done.out
    [run] = cli("runs", "list", "--json").of("run")
    assert run["state"] == "completed"
    assert run["summary"]["total_files_processed"] == 3
    shown = cli("runs", "show", run["id"][:6], "--json")
    assert shown.of("run")[0]["id"] == run["id"]
    kinds = [one["event"]["type"] for one in shown.of("event")]
    assert "SnapshotSaved" in kinds
    words = cli("runs", "show", run["id"]).out
    assert f"snapshot {run['snapshot_id'][:8]} saved" in words
    assert run["id"][:8] in cli("runs", "list", "--job", job, "--state", "completed").out
    assert cli("runs", "list", "--state", "failed", "--json").out == ""
    assert "completed" in cli("job", "list").out


def test_a_quiet_run_that_goes_well_says_nothing(cli, job: str) -> None:
    result = cli("-q", "job", "run", job)
    assert (result.out, result.err) == ("", "")


def test_a_job_may_skip_what_is_unchanged(cli, job: str) -> None:
    assert "skips:" not in cli("job", "show", job).out
    assert "skips:      what is unchanged" in cli("job", "edit", job, "--skip-if-unchanged").out
    for _ in range(2):
        cli("job", "run", job)
    assert len(cli("snapshots", "--json").of("snapshot")) == 1
    [run, _] = cli("runs", "list", "--json").of("run")
    assert "; none was made" in cli("runs", "show", run["id"]).out
    cli("job", "edit", job, "--always-save")
    cli("job", "run", job)
    assert len(cli("snapshots", "--json").of("snapshot")) == 2


def test_a_run_with_unreadable_entries_warns(cli, repository, source, tmp_path: Path) -> None:
    cli("job", "add", "docs", source, tmp_path / "gone")
    result = cli("job", "run", "docs", code=3)
    assert "backapp runs show" in result.err
    assert "completed with warnings" in cli("runs", "list").out
    assert "completed with warnings" in cli("job", "list").out
    shown = cli("runs", "show", cli("runs", "list", "--json").messages[0]["id"])
    assert f"{tmp_path}/gone" in shown.out


def test_a_run_that_fails_says_why(cli, job: str, repository: Path) -> None:
    shutil.rmtree(repository)
    result = cli("job", "run", job, code=1)
    assert "no repository at" in result.err
    [run] = cli("runs", "list", "--state", "failed", "--json").of("run")
    assert "no repository at" in run["error"]
    assert "error:" in cli("runs", "show", run["id"]).out


def test_the_policy_is_applied_after_the_run(cli, repository, source: Path) -> None:
    cli("job", "add", "docs", source, "--keep-last", "2")
    for _ in range(4):
        cli("job", "run", "docs")
    assert len(cli("snapshots", "--json").messages) == 2
    assert len(cli("runs", "list", "--limit", "3", "--json").messages) == 3


def test_removing_a_job_keeps_its_runs_and_snapshots(cli, job: str) -> None:
    cli("job", "run", job)
    cli("job", "remove", job)
    assert "no jobs yet" in cli("job", "list").out
    assert cli("runs", "list", "--json").messages
    assert cli("snapshots", "--json").messages


def test_a_name_from_the_settings_file_is_resolved(
    cli, repository, source, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("BACKAPP_REPOSITORY")
    monkeypatch.delenv("BACKAPP_PASSWORD")
    (tmp_path / "secret").write_text("secret\n")
    folder = tmp_path / "home" / "config" / "backapp"
    folder.mkdir(parents=True)
    (folder / "backapp.toml").write_text(
        f"""
        repository = "home"
        [repositories.home]
        url = "{repository}"
        password_command = "cat {tmp_path}/secret"
        """
    )
    cli("backup", source)
    cli("job", "add", "docs", source)
    [one] = cli("job", "show", "docs", "--json").of("job")
    assert one["repository"] == str(repository)
    assert one["password_command"] == f"cat {tmp_path}/secret"
    assert os.fspath(repository) in cli("job", "show", "docs").out
