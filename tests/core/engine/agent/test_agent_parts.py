"""The agent's parts one by one: policy, ledger, passwords, lease, reports, restores, services."""

import os
import plistlib
import shutil
import stat
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import evolve

from backapp_core.clock import SystemClock
from backapp_core.engine.agent_ledger import BegunRun, RunLedger, published_by
from backapp_core.engine.agent_passwords import Passwords
from backapp_core.engine.agent_policy import Policy, policy_text, read_policy
from backapp_core.engine.agent_reporting import RunReporter
from backapp_core.engine.agent_restore import Subtrees
from backapp_core.engine.agent_service import Starter, describe
from backapp_core.errors import InputError, InvalidName, InvalidSettings, StoreUnavailable
from backapp_core.events import FileDone, Level, LogLine, Progress, Verb
from backapp_core.model.jobs import Job
from backapp_core.model.snapshots import Snapshot

AT = datetime(2026, 1, 1, tzinfo=UTC)
JOB = Job("home", "backapp:x", (b"/home",), tags=("b", "a"))
SNAPSHOT = Snapshot("a" * 64, AT, "host", "me", (b"/home",), tags=("a", "b"))


# --- policy


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(backup_roots=(b"/home", b"/srv/it's \xff"), restore_folders=(b"/a b",)),
        Policy(backup_roots=(), commands=True),
    ],
)
def test_policy_that_is_written_is_read_as_it_was(tmp_path, policy):
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(policy))
    assert read_policy(file) == policy


def test_without_a_file_anything_is_backed_up_and_nothing_restored(tmp_path):
    assert read_policy(tmp_path / "none") == Policy(None, (), commands=False)


@pytest.mark.parametrize(
    "text",
    [
        *("backup_roots = ['home']", "restore_folders = '/x'", "commands = 'yes'", "x = 1"),
        *("no toml", "backup_roots = [1]", "commands = 1"),
    ],
)
def test_policy_with_a_fault_is_refused_as_a_whole(tmp_path, text):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(InvalidSettings, match=r"policy\.toml"):
        read_policy(file)


# --- ledger


def test_snapshot_of_an_interrupted_run_is_found_though_it_was_not_noted():
    begun = BegunRun("1" * 32, 1, began_at=AT, known=("b" * 64,))
    older = evolve(SNAPSHOT, id="b" * 64)
    assert published_by(begun, JOB, [older, SNAPSHOT], []) == SNAPSHOT


def test_sources_are_compared_as_they_are_backed_up():
    begun = BegunRun("1" * 32, 1, began_at=AT)
    assert published_by(begun, evolve(JOB, roots=(b"/home/../home/.",)), [SNAPSHOT], [])


@pytest.mark.parametrize(
    "other",
    [
        evolve(SNAPSHOT, roots=(b"/etc",)),
        evolve(SNAPSHOT, tags=("a",)),
        evolve(SNAPSHOT, taken_at=AT - timedelta(seconds=1)),
    ],
    ids=["other sources", "other tags", "earlier"],
)
def test_snapshot_of_something_else_is_not_taken_for_its_own(other):
    begun = BegunRun("1" * 32, 1, began_at=AT)
    assert published_by(begun, JOB, [other], []) is None


def test_snapshot_of_another_run_is_not_taken_for_its_own():
    begun = BegunRun("1" * 32, 1, began_at=AT)
    theirs = BegunRun("2" * 32, 1, began_at=AT, snapshot=SNAPSHOT)
    assert published_by(begun, JOB, [SNAPSHOT], [begun, theirs]) is None


def test_run_that_never_began_to_back_up_published_nothing():
    assert published_by(BegunRun("1" * 32, 1), JOB, [SNAPSHOT], []) is None


def test_snapshot_that_was_noted_and_is_gone_does_not_count():
    assert published_by(BegunRun("1" * 32, 1, AT, snapshot=SNAPSHOT), JOB, [], []) is None


def test_ledger_survives_and_takes_no_path_for_an_id(tmp_path):
    ledger = RunLedger(tmp_path / "runs")
    begun = BegunRun("1" * 32, 3, began_at=AT, known=("b" * 64,), snapshot=SNAPSHOT)
    ledger.put(begun)
    assert RunLedger(tmp_path / "runs").get(begun.run_id) == begun
    (tmp_path / "runs" / f"{'2' * 32}.json").write_text("{ cut sho")
    assert ledger.all() == [begun]
    for name in ("../x", "", "1" * 31, "1" * 31 + "/"):
        with pytest.raises(InvalidName):
            ledger.get(name)
    ledger.remove(begun.run_id)
    ledger.remove(begun.run_id)
    assert ledger.all() == []


# --- passwords


def test_password_is_made_once_and_for_its_owner_alone(tmp_path):
    passwords = Passwords(tmp_path / "passwords")
    made = passwords.get_or_make("a" * 32, os.urandom)
    assert passwords.get_or_make("a" * 32, os.urandom) == made
    assert len(made.replace("-", "")) * 5 >= 128
    assert stat.S_IMODE(passwords.path("a" * 32).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "passwords").iterdir()] == ["a" * 32]


def test_password_that_others_may_read_is_refused(tmp_path):
    passwords = Passwords(tmp_path)
    passwords.get_or_make("a" * 32, os.urandom)
    passwords.path("a" * 32).chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        passwords.get("a" * 32)
    with pytest.raises(InvalidName):
        passwords.get("../../etc/shadow")


# --- reports


class Desk:
    """Where reports arrive; may be closed."""

    def __init__(self):
        self.events, self.progress, self.calls = [], [], 0
        self.is_closed = False
        self.arrived = threading.Condition()

    def __call__(self, events, progress):
        with self.arrived:
            self.calls += 1
            self.arrived.notify_all()
            if self.is_closed:
                raise StoreUnavailable("closed")
            self.events += [event for _, event in events]
            self.progress += [progress] if progress else []

    def wait_until(self, claim):
        with self.arrived:
            assert self.arrived.wait_for(claim, timeout=20)


def line(number):
    return LogLine(Level.INFO, f"line {number}")


def progress(number):
    return Progress(Verb.BACKUP, files_done=number, bytes_done=0)


def test_events_arrive_in_order_and_of_progress_only_the_latest():
    desk = Desk()
    reporter = RunReporter(desk, SystemClock().now, every_seconds=3600)
    for number in range(250):
        reporter(line(number))
        reporter(progress(number))
        reporter(FileDone(Verb.BACKUP, b"/x", "new", 1))
    reporter.flush()
    assert desk.events == [line(number) for number in range(250)]
    assert desk.progress == [progress(249)]
    assert desk.calls == 3  # a hundred at a time


def test_what_could_not_be_sent_is_sent_later():
    desk = Desk()
    desk.is_closed = True
    with RunReporter(desk, SystemClock().now, every_seconds=0.01) as reporter:
        reporter(line(1))
        reporter(progress(1))
        desk.wait_until(lambda: desk.calls >= 2)
        reporter(line(2))
        reporter(progress(2))
        desk.is_closed = False
        desk.wait_until(lambda: desk.events == [line(1), line(2)] and desk.progress)
    assert desk.progress == [progress(2)]


def test_events_beyond_the_most_are_counted_and_take_no_memory():
    desk = Desk()
    reporter = RunReporter(desk, SystemClock().now, every_seconds=3600)
    for number in range(10_050):
        reporter(line(number))
    reporter.flush()
    assert len(desk.events) == 10_001
    assert desk.events[-1].text == "50 more events were not recorded"


# --- restores


def test_chosen_paths_are_entered_by_what_leads_to_them_alone():
    chosen = Subtrees(frozenset({b"/a/b", b"/c"}))
    entered = {path for path in (b"/", b"/a", b"/a/b", b"/a/b/x", b"/c", b"/d", b"/a/bb", b"/cc")
               if chosen.enters(path)}  # fmt: skip
    assert entered == {b"/", b"/a", b"/a/b", b"/a/b/x", b"/c"}


# --- services


COMMAND = ("/opt/back app/bin/backapp", "agent", "run", "--agent-dir", '/etc/100% "$x"\\')


@pytest.mark.parametrize("starter", Starter)
def test_service_runs_exactly_the_command(starter, tmp_path):
    text = describe(starter, COMMAND, home=tmp_path, folder=tmp_path).text
    match starter:
        case Starter.LAUNCHD | Starter.LAUNCHD_USER:
            assert plistlib.loads(text.encode())["ProgramArguments"] == list(COMMAND)
        case Starter.WINDOWS:
            tree = ElementTree.fromstring(text.partition("?>")[2])
            space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
            assert tree.findtext(".//t:Command", namespaces=space) == COMMAND[0]
        case Starter.SYSTEMD | Starter.SYSTEMD_USER:
            (line,) = [one for one in text.splitlines() if one.startswith("ExecStart=")]
            assert line == (
                'ExecStart="/opt/back app/bin/backapp" agent run --agent-dir '
                '"/etc/100%% \\"$$x\\"\\\\"'
            )


@pytest.mark.interop
def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = (shutil.which("true"), "agent", "run", "--agent-dir", "/etc/back app/50%")
    service = describe(Starter.SYSTEMD, command, home=tmp_path, folder=tmp_path)
    unit = tmp_path / service.path.name
    unit.write_text(service.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert about_ours == []
    broken = tmp_path / "broken.service"
    broken.write_text(service.text.replace("Type=exec", "Type=nonsense"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", broken],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nonsense" in done.stderr  # else the silence above would mean nothing


def test_service_hides_no_files_from_a_backup(tmp_path):
    for starter in (Starter.SYSTEMD, Starter.SYSTEMD_USER):
        text = describe(starter, COMMAND, home=tmp_path, folder=Path("/x")).text
        for option in ("ProtectHome", "ProtectSystem", "PrivateTmp", "PrivateDevices",
                       "ProtectKernelModules", "ProtectKernelLogs", "InaccessiblePaths",
                       "DynamicUser", "ProtectProc"):  # fmt: skip
            assert option not in text
        assert "NoNewPrivileges=yes" in text
