import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core import Verdict, assemble
from backapp_core.engine.diagnose_target import _PROBES
from backapp_core.settings import ServerSettings, Settings
from backapp_core.testing.memory_scanner import Unreadable

PLACE = "fake:memory"


def told(found, subject, verdict=None):
    return [
        one.message
        for one in found
        if one.subject == subject and (verdict is None or one.verdict is verdict)
    ]


def test_healthy_machine_has_no_problem(engine, repository, take, tmp_path):
    take({b"/home/a": b"1"})
    found = engine.diagnose(PLACE, sources=["/home"], target=tmp_path, probes_writing=True)
    assert [one for one in found if not one.is_fine] == []
    assert {"program", "plugins", "cache folder", "state folder", "repository", "snapshots"} <= {
        one.subject for one in found
    }
    assert told(found, "/home") == ["3 entries can be listed, 1 files were opened"]
    assert told(found, "writing") == ["a small object was stored, read and deleted"]


def test_looking_changes_nothing(engine, repository, take, tmp_path, fakes):
    take({b"/home/a": b"1"})
    objects = fakes.buckets[PLACE].objects
    files = sorted(tmp_path.rglob("*"))
    engine.diagnose(PLACE, sources=["/home"], target=tmp_path / "target")
    assert fakes.buckets[PLACE].objects == objects
    assert sorted(tmp_path.rglob("*")) == files
    engine.diagnose(PLACE, sources=["/home"], target=tmp_path, probes_writing=True)
    assert fakes.buckets[PLACE].objects == objects
    assert sorted(tmp_path.rglob("*")) == files


def test_missing_repository_is_a_problem_and_the_rest_is_looked_at(engine, tree):
    tree[b"/home/a"] = b"1"
    found = engine.diagnose("fake:none", sources=["/home"])
    assert "no repository at" in told(found, "repository", Verdict.PROBLEM)[0]
    assert told(found, "/home", Verdict.FINE)


@pytest.mark.parametrize(
    ("plain", "fault"),
    [
        ({"kind": "nobody"}, "no notifier called 'nobody'"),
        ({}, "notifiers.me.kind: must name a notifier; installed: "),
        ({"kind": "email"}, "notifiers.me.host: is missing"),
    ],
)
def test_notifier_that_could_tell_nobody_is_a_problem(engine, plain, fault):
    settings = Settings.parse({"notifiers": {"me": plain}})
    with assemble(settings, surroundings=engine.surroundings) as other:
        assert fault in told(other.diagnose(), "notifiers", Verdict.PROBLEM)[0]


def test_notifier_that_can_be_made_is_named(engine):
    mail = {"kind": "email", "host": "localhost", "sender": "a@b.org", "recipients": ["c@b.org"]}
    settings = Settings.parse({"notifiers": {"me": mail}})
    with assemble(settings, surroundings=engine.surroundings) as other:
        assert "'me'" in told(other.diagnose(), "notifiers", Verdict.FINE)[0]
    assert told(engine.diagnose(), "notifiers") == []


def test_bucket_of_a_server_that_can_hold_nothing_is_a_problem(engine):
    def looked(buckets):
        settings = Settings(server=ServerSettings(buckets=buckets))
        around, plugins = engine.surroundings, engine.plugins
        with assemble(settings, plugins=plugins, surroundings=around) as server:
            return server.diagnose()

    found = looked({"main": PLACE, "other": "nosuch://x"})
    assert "nobody can sign" in told(found, "server.buckets.main", Verdict.PROBLEM)[0]
    assert "no installed transport" in told(found, "server.buckets.other", Verdict.PROBLEM)[0]
    assert [one for one in looked({}) if not one.is_fine] == []


def test_full_destination_is_a_problem_when_probing(engine, repository, fakes):
    fakes.buckets[PLACE].capacity_bytes = 0
    assert told(engine.diagnose(PLACE), "writing") == []
    found = engine.diagnose(PLACE, probes_writing=True)
    assert "no room left" in told(found, "writing", Verdict.PROBLEM)[0]


def test_unreadable_files_are_counted_and_named(engine, tree):
    tree.update({b"/home/%d" % number: Unreadable() for number in range(5)})
    (message,) = told(engine.diagnose(sources=["/home"]), "/home", Verdict.PROBLEM)
    assert message.startswith("5 of 7 entries cannot be read: /home/0 (")
    assert message.endswith("and 2 more")


def test_each_root_is_looked_at_by_itself(engine, tree):
    tree[b"/home/a"] = b"1"
    found = engine.diagnose(sources=["/nowhere", "/home"])
    assert told(found, "/nowhere", Verdict.PROBLEM) == ["none of the sources exists"]
    assert told(found, "/home", Verdict.FINE)


def test_snapshot_of_the_future_questions_the_clock(engine, repository, take, clock):
    take({b"/home/a": b"1"})
    clock.set(datetime(2026, 1, 1, tzinfo=UTC))
    assert "in the future" in told(engine.diagnose(PLACE), "clock", Verdict.PROBLEM)[0]


def test_clock_that_was_never_set_is_a_problem(engine, clock):
    clock.set(datetime(1970, 1, 1, tzinfo=UTC))
    assert "before this program was written" in told(engine.diagnose(), "clock")[0]


def test_folder_that_cannot_be_made_is_said(engine, tmp_path):
    (tmp_path / "file").write_text("")
    around = evolve(engine.surroundings, state_folder=tmp_path / "file" / "deeper")
    found = assemble(plugins=engine.plugins, surroundings=around).diagnose()
    assert told(found, "state folder", Verdict.PROBLEM)


def test_target_that_is_no_folder_is_a_problem(engine, tmp_path):
    (tmp_path / "file").write_text("")
    found = engine.diagnose(target=tmp_path / "file" / "x")
    assert "is no folder" in told(found, str(tmp_path / "file" / "x"), Verdict.PROBLEM)[0]


def test_what_the_file_system_does_not_keep_is_a_note(engine, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "setxattr", refuse, raising=False)
    found = engine.diagnose(target=tmp_path, probes_writing=True)
    notes = told(found, str(tmp_path), Verdict.NOTE)
    assert "extended attributes and access lists cannot be kept there" in notes


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a tmpfs")
def test_tmpfs_keeps_what_a_linux_file_system_keeps():
    folder = Path("/dev/shm") / f"backapp-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "file").write_bytes(b"")
        kept = {what for what, keeps in _PROBES.items() if "extended" not in what and keeps(folder)}
        assert kept == {what for what in _PROBES if "extended" not in what}
    finally:
        shutil.rmtree(folder)
