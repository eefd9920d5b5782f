import os
import socket
from pathlib import Path

import pytest

from backapp_core import BackupRequest, FileDone, LogLine, Problem, assemble
from backapp_core.errors import (
    CommandFailed,
    InputError,
    InvalidJob,
    InvalidSettings,
    SourceNotFound,
    UnknownPlugin,
)
from backapp_core.hookspecs import hookimpl
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import MemoryTransport
from backapp_core.testing.memory_scanner import Stream, Unreadable


def test_plain_list_of_paths_is_a_request(engine, repository, tree):
    tree.update({b"/home/a": b"1", b"/home/sub/b": b"22"})
    result = engine.backup(repository, ["/home"])
    assert result.snapshot.roots == (b"/home",)
    assert result.snapshot.hostname == socket.gethostname()
    assert result.snapshot.counts.files == 2
    assert result.snapshot.program.startswith("backapp")
    assert engine.snapshots(repository) == [result.snapshot]


def test_relative_roots_are_taken_from_the_current_folder(engine, repository, tree, monkeypatch):
    tree[b"/srv/data/a"] = b"1"
    monkeypatch.setattr(os, "getcwdb", lambda: b"/srv")
    assert engine.backup(repository, ["data/../data/"]).snapshot.roots == (b"/srv/data",)


def test_tags_are_sorted_and_without_duplicates(take):
    assert take({b"/home/a": b""}, tags=("b", "a", "b")).tags == ("a", "b")


def test_empty_list_of_sources_is_refused(engine, repository):
    with pytest.raises(InputError, match="no source was given"):
        engine.backup(repository, [])
    assert engine.snapshots(repository) == []


@pytest.mark.parametrize("root", [b"", b"/a\0b"])
def test_what_is_no_path_is_refused(engine, repository, root):
    with pytest.raises(InputError, match="no path"):
        engine.backup(repository, BackupRequest((root,)))


def test_missing_source_is_said(engine, repository):
    with pytest.raises(SourceNotFound):
        engine.backup(repository, ["/nowhere"])


def test_unknown_scanner_is_named(engine, repository):
    with pytest.raises(UnknownPlugin, match="scanner called 'disc'; installed: files"):
        engine.backup(repository, BackupRequest((b"/home",), scanner="disc"))


def test_faulty_scanner_settings_are_listed(engine, repository):
    request = BackupRequest((b"/home",), scanner_settings={"skip_folders": 7, "depth": 1})
    with pytest.raises(InvalidSettings, match="depth: is not known here") as caught:
        engine.backup(repository, request)
    assert {path for path, _ in caught.value.faults} == {"depth", "skip_folders"}


def test_parent_may_be_named_by_prefix(take):
    first = take({b"/home/a": b"1"})
    take({b"/home/a": b"2"})
    assert take({b"/home/a": b"3"}, parent=first.id[:10]).parent_id == first.id


def test_unreadable_file_is_a_problem_and_not_the_end(take, events):
    snapshot = take({b"/home/a": b"1", b"/home/b": Unreadable()})
    assert snapshot.counts.problems == 1
    assert snapshot.counts.files == 1
    assert events.problem_paths == [b"/home/b"]


def test_no_file_where_there_were_many_counts_as_a_problem(take, events):
    take({b"/home/%d" % number: b"x" for number in range(150)})
    snapshot = take({b"/home/l": Unreadable()})
    assert snapshot.counts.problems == 2, "the file that could not be read, and that there is none"
    reasons = [problem.reason for problem in events.of(Problem) if problem.path == b"/home"]
    assert len(reasons) == 1
    assert "150; is something not mounted?" in reasons[0]


def test_no_file_where_there_were_few_is_fine(take):
    take({b"/home/a": b"1"})
    assert take({b"/home/l": Unreadable()}).counts.problems == 1


def test_estimate_counts_without_reading_or_telling(engine, tree, events):
    tree.update({b"/home/a": b"123", b"/home/sub/b": b"4567", b"/home/c": Unreadable()})
    counts = engine.estimate(["/home"])
    assert (counts.files, counts.processed_bytes) == (3, 7)
    assert events.events == []


def test_estimate_for_a_repository_tells_what_a_backup_would_take(engine, repository, tree, events):
    tree.update({b"/home/a": b"123", b"/home/sub/b": b"4567", b"/home/c": Unreadable()})
    counts = engine.estimate(["/home"], repository)
    assert (counts.files, counts.processed_bytes) == (3, 7)
    found = {(one.path, one.action, one.size_bytes) for one in events.of(FileDone)}
    assert found >= {(b"/home/a", "found", 3), (b"/home/sub/b", "found", 4)}
    assert engine.snapshots(repository) == []


class FolderedTransport(MemoryTransport):
    folder = None


@pytest.fixture
def extra_plugins(tmp_path):
    class Foldered:
        @hookimpl
        def backapp_transports(self):
            def opened(address, surroundings):
                transport = FolderedTransport()
                object.__setattr__(transport, "folder", tmp_path / "src" / "backups")
                return transport

            return [TransportKind("disk", frozenset({"disk"}), str, str, opened)]

    return {"foldered": Foldered()}


@pytest.fixture
def on_disk(engine, tmp_path):
    (tmp_path / "src" / "backups" / "data").mkdir(parents=True)
    with engine.create_repository("disk:here", archiver="memory") as repository:
        yield repository


@pytest.mark.parametrize("inside", ["", "data", "missing/deeper"])
def test_source_in_its_own_repository_is_refused(engine, on_disk, tmp_path, inside):
    with pytest.raises(InvalidJob, match="lies in the repository"):
        engine.backup(on_disk, [tmp_path / "src" / "backups" / inside])


def test_source_in_its_own_repository_is_seen_through_links(engine, on_disk, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "src" / "backups" / "data")
    with pytest.raises(InvalidJob, match="lies in the repository"):
        engine.backup(on_disk, [tmp_path / "link"])


def test_repository_in_a_source_is_left_out_and_said(engine, on_disk, tree, tmp_path, events):
    source = os.fsencode(tmp_path / "src")
    tree.update({source + b"/a": b"1", source + b"/backups/data/old": b"2"})
    snapshot = engine.backup(on_disk, [source]).snapshot
    assert snapshot.counts.files == 1
    assert any("is left out" in line.text for line in events.of(LogLine))


def test_neighbour_whose_name_begins_alike_is_no_part_of_the_repository(
    engine, on_disk, tree, tmp_path
):
    source = os.fsencode(tmp_path / "src" / "backups-old")
    tree[source + b"/a"] = b"1"
    assert engine.backup(on_disk, [source]).snapshot.counts.files == 1


@pytest.mark.parametrize("source", ["/home", b"/home", Path("/home")])
def test_one_path_is_one_source_and_not_one_per_character(engine, repository, tree, source):
    tree.update({b"/home/a": b"1", b"/h/b": b"2"})
    assert engine.backup(repository, source).snapshot.roots == (b"/home",)
    assert engine.estimate(source).files == 1


def test_repository_that_another_engine_opened_is_refused(engine, repository, tree):
    tree.update({b"/home/a": b"1"})
    other = assemble(plugins=engine.plugins, surroundings=engine.surroundings)
    with pytest.raises(InputError, match="not opened by this engine"):
        other.backup(repository, "/home")
    with pytest.raises(InputError, match="not opened by this engine"):
        other.estimate("/home", repository)
    assert engine.snapshots(repository) == []


def test_repository_that_takes_no_streams_is_not_handed_one(engine, repository, tree, monkeypatch):
    monkeypatch.setattr(type(repository), "takes_streams", False)
    tree[b"/dump"] = Stream(b"content")
    with pytest.raises(InputError, match="of a known length only"):
        engine.backup(repository, ["/dump"])
    assert engine.snapshots(repository) == []


def test_stream_is_backed_up_once_its_end_was_seen(engine, repository, tree):
    tree[b"/dump"] = Stream(b"content")
    assert engine.backup(repository, ["/dump"]).snapshot.counts.processed_bytes == 7
    tree[b"/dump"] = Stream(b"content", failure="broke off")
    with pytest.raises(CommandFailed, match="broke off"):
        engine.backup(repository, ["/dump"])
    assert len(engine.snapshots(repository)) == 1


def test_stream_cannot_be_estimated(engine, tree):
    tree[b"/dump"] = Stream(b"content")
    with pytest.raises(InputError, match="shows only when it is backed up"):
        engine.estimate(["/dump"])


def test_what_is_unchanged_is_skipped_on_request(engine, repository, tree, clock, events):
    tree[b"/home/a"] = b"1"
    request = BackupRequest("/home", skips_unchanged=True)
    first = engine.backup(repository, request)
    assert not first.is_skipped
    clock.advance(60)
    again = engine.backup(repository, request)
    assert (again.is_skipped, again.snapshot) == (True, first.snapshot)
    assert (again.counts.files_unmodified, again.counts.stored_bytes) == (1, 0)
    assert engine.snapshots(repository) == [first.snapshot]
    tree[b"/home/a"] = b"2"
    assert not engine.backup(repository, request).is_skipped
    assert not engine.backup(repository, "/home").is_skipped


def test_an_empty_source_is_suspected_once_and_then_skipped(engine, repository, tree, take):
    take({b"/home/%d" % number: b"" for number in range(200)})
    assert take({b"/home/other": Unreadable()}, skips_unchanged=True).counts.problems == 2
    again = engine.backup(repository, BackupRequest("/home", skips_unchanged=True))
    assert (again.is_skipped, again.counts.problems) == (True, 1)
