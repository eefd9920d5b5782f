"""A machine that works for a server: from a wished run to its end, and back from snapshots."""

import os
import shutil
import signal
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from eventually import eventually

from backapp_core.clock import Clock, SystemClock
from backapp_core.engine.agent_instance import note_instance
from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.engine.agent_policy import Policy
from backapp_core.errors import AgentRevoked, AgentRunning, InputError, StoreUnavailable
from backapp_core.events import LogLine, RunMoved, SnapshotSaved
from backapp_core.model.agents import AgentReport
from backapp_core.model.runs import RunState
from backapp_core.model.work import QuestionKind
from backapp_core.ports.surroundings import Keys

LIMITS = AgentLimits(
    hello_seconds=0.1,
    lease_seconds=3.0,
    report_seconds=0.05,
    retry_seconds=0.05,
)


def password_file(working, site) -> Path:
    return working.surroundings.state_folder / "agent" / "passwords" / site.repository.id


def snapshots(working, site):
    """Return what stands in the repository, seen with the machine's own password."""
    from backapp_core.engine.opening import open_repository

    keys = Keys(password=lambda: password_file(working, site).read_text().strip())
    around = evolve(working.surroundings, cancel=type(working.cancel)())
    opened = open_repository(site.plugins, around, site.repository.address, keys)
    with opened.repository as repository:
        return [snapshot.id for snapshot in repository.snapshots()]


# --- what is wished is done


def test_wished_run_is_claimed_carried_out_and_acknowledged(site):
    working = site.working()
    ended = site.ended(site.ask())
    assert (ended.state, ended.error, ended.counts.files) == (RunState.COMPLETED, "", 2)
    (receipt,) = site.tenant.repositories.receipts(site.repository.id)
    assert (receipt.snapshot_id, receipt.run_id) == (ended.snapshot_id, ended.id)
    # Whoever started it sees that it works, also where there is nothing to do.
    assert [one for one in working.events.of(LogLine) if "until stopped" in one.text]


def test_first_run_creates_the_repository_with_a_password_that_only_this_machine_has(site):
    working = site.working()
    site.ended(site.ask())
    known = site.tenant.repositories.get(site.repository.id)
    assert known.initialised_at is not None
    assert not known.is_protected
    password = password_file(working, site)
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    database = b"".join(path.read_bytes() for path in site.folder.glob("server.sqlite*"))
    assert password.read_bytes().strip() not in database
    assert b"documents" in database  # else the search above would find nothing in any case


def test_second_run_adds_only_what_changed(site):
    working = site.working()
    site.ended(site.ask())
    (site.source / "new.txt").write_text("new\n")
    second = site.ended(site.ask())
    assert (second.counts.files_new, second.counts.files_unmodified) == (1, 2)
    assert len(snapshots(working, site)) == 2


def test_every_run_of_an_agent_leaves_a_snapshot_for_its_receipt(site):
    site.tenant.jobs.replace(evolve(site.tenant.jobs.get("documents"), skips_unchanged=True))
    site.working()
    ended = [site.ended(site.ask()) for _ in range(2)]
    receipts = site.tenant.repositories.receipts(site.repository.id)
    assert len({one.snapshot_id for one in ended}) == len(receipts) == 2


def test_what_happens_during_a_run_is_reported(site):
    site.working()
    run_id = site.ask()
    ended = site.ended(run_id)
    events = [event for _, event in site.runs.events(run_id)]
    assert [event.run.state for event in events if isinstance(event, RunMoved)] == ["running"]
    assert [event.snapshot.id for event in events if isinstance(event, SnapshotSaved)] == [
        ended.snapshot_id
    ]
    assert site.runs.progress(run_id).files_done == 2


@pytest.mark.interop  # waits
def test_no_more_runs_go_on_at_once_than_allowed(site, gate):
    gates = [gate(f"dump{number}") for number in range(3)]
    site.working()
    asked = [site.ask(f"dump{number}") for number in range(3)]
    for one in gates[:2]:
        one.wait()
    site.ask("documents")

    def states():
        return sorted(site.runs.get(run_id).state for run_id in asked)

    assert states() == ["requested", "running", "running"]
    gates[0].open()
    gates[2].wait()  # only now
    for one in gates[1:]:
        one.open()
    assert {site.ended(run_id).state for run_id in asked} == {RunState.COMPLETED}


def test_run_that_fails_says_why(site):
    site.tenant.jobs.replace(site.job("documents", roots=(b"/nowhere/at/all",)))
    site.working()
    ended = site.ended(site.ask())
    assert ended.state is RunState.FAILED
    assert "/nowhere/at/all" in ended.error


def test_repository_that_was_created_though_nobody_knew_is_taken_over(site, line):
    cut = line(site.work, "report_created")
    cut.is_cut = True
    first = site.working(cut)
    run_id = site.ask()
    site.running(run_id)
    eventually(lambda: any("it is tried again" in text for text in first.said))
    cut.is_cut = False
    assert site.ended(run_id).state is RunState.COMPLETED


def test_agent_runs_no_command_of_the_server_for_a_password(site):
    marker = site.folder / "was-run"
    site.tenant.jobs.replace(site.job("documents", password_command=f"touch {marker}"))
    site.working()
    assert site.ended(site.ask()).state is RunState.COMPLETED
    assert not marker.exists()


# --- what this machine does not let a server do


def test_job_outside_of_the_allowed_folders_is_refused(site):
    site.allow(Policy(backup_roots=(bytes(site.folder / "elsewhere"),)))
    site.working()
    ended = site.ended(site.ask())
    assert ended.state is RunState.FAILED
    assert str(site.policy_file) in ended.error
    assert not (site.folder / "repository").exists()


def test_link_out_of_the_allowed_folders_is_followed_before_it_is_judged(site):
    allowed = site.folder / "allowed"
    allowed.mkdir()
    (allowed / "door").symlink_to(site.source)
    site.allow(Policy(backup_roots=(bytes(allowed),)))
    site.tenant.jobs.replace(site.job("documents", roots=(bytes(allowed / "door/sub"),)))
    site.working()
    assert "does not let" in site.ended(site.ask()).error


def test_job_with_a_command_is_refused_unless_the_policy_allows_it(site, gate):
    waiting = gate()
    site.allow(Policy())
    site.working()
    ended = site.ended(site.ask("dump"))
    assert ended.state is RunState.FAILED
    assert "commands = true" in ended.error
    assert waiting.pipe.exists()


def test_policy_that_cannot_be_read_refuses_everything(site):
    working = site.working()
    site.ended(site.ask())
    site.policy_file.write_text("backup_root = ['/home']\n")
    ended = site.ended(site.ask())
    assert ended.state is RunState.FAILED
    assert "backup_root: is not known here" in ended.error
    site.allow(Policy())
    assert site.ended(site.ask()).state is RunState.COMPLETED
    assert working.error is None


def test_server_knows_what_the_machine_allows(site):
    site.allow(Policy(backup_roots=(b"/home",), restore_folders=(b"/srv/back",)))
    site.working()
    report = eventually(lambda: site.tenant.agents.get("laptop").report)
    assert (report.roots, report.restore_folders) == ((b"/home",), (b"/srv/back",))


# --- stopped, lost, killed


@pytest.mark.interop  # waits
def test_questions_are_answered_while_a_run_goes_on(site, gate):
    site.working()
    kept = site.ended(site.ask()).snapshot_id
    waiting = gate()
    run_id = site.ask("dump")
    waiting.wait()
    assert site.question(QuestionKind.SNAPSHOTS).answer.nodes[0]["id"] == kept
    assert site.runs.get(run_id).state is RunState.RUNNING
    waiting.open()
    assert site.ended(run_id).state is RunState.COMPLETED


def test_cancelled_run_stops_and_makes_no_snapshot(site, gate):
    working = site.working()
    site.ended(site.ask())
    waiting = gate()
    run_id = site.ask("dump")
    waiting.wait()
    site.runs.wish_cancel(run_id)
    assert site.ended(run_id).state is RunState.CANCELLED
    assert len(snapshots(working, site)) == 1


@pytest.mark.interop  # waits
def test_stopped_agent_hands_back_and_the_next_one_completes(site, gate):
    waiting = gate()
    first = site.working()
    run_id = site.ask("dump")
    waiting.wait()
    first.stop()
    assert site.runs.get(run_id).state is RunState.RUNNING
    waiting.close()
    second = site.working(limits=evolve(first.loop._limits, lease_seconds=60.0))
    waiting.open()
    ended = site.ended(run_id)
    assert ended.state is RunState.COMPLETED
    assert snapshots(second, site) == [ended.snapshot_id]


@pytest.mark.interop  # waits
def test_run_whose_lease_is_lost_publishes_nothing_and_is_claimed_anew(site, gate, line):
    cut = line(site.work)
    waiting = gate()
    working = site.working(cut)
    run_id = site.ask("dump")
    waiting.wait()
    cut.is_cut = True
    eventually(lambda: any("held by this process no longer" in text for text in working.said))
    assert site.runs.get(run_id).state is RunState.RUNNING
    assert snapshots(working, site) == []
    waiting.close()
    cut.is_cut = False
    waiting.open()
    ended = site.ended(run_id)
    assert ended.state is RunState.COMPLETED
    assert snapshots(working, site) == [ended.snapshot_id]


class Unanswered:
    """Renews leases and does not say so, for as long as `is_cut`."""

    def __init__(self, work):
        self.work, self.is_cut = work, True

    def __getattr__(self, name):
        return getattr(self.work, name)

    def renew(self, *arguments, **options):
        renewal = self.work.renew(*arguments, **options)
        if self.is_cut:
            raise StoreUnavailable("the answer was lost")
        return renewal


def test_run_that_is_lost_here_first_is_claimed_anew_although_nobody_wakes_the_agent(site, gate):
    waiting, unanswered = gate(), Unanswered(site.work)
    run_id = site.ask("dump")
    rarely = evolve(LIMITS, hello_seconds=300.0, alive_seconds=1200.0)
    working = site.working(unanswered, limits=rarely)
    waiting.wait()
    eventually(lambda: any("held by this process no longer" in text for text in working.said))
    unanswered.is_cut = False
    waiting.close()
    waiting.open()
    assert site.ended(run_id).state is RunState.COMPLETED


def test_snapshot_that_was_saved_and_not_told_counts_and_no_second_one_is_made(site, line):
    cut = line(site.work, "acknowledge", "hand_back", "goodbye")
    cut.is_cut = True
    first = site.working(cut)
    run_id = site.ask()
    eventually(lambda: any("tried again" in text for text in first.said))
    first.stop()
    (saved,) = snapshots(first, site)
    second = site.working()
    ended = site.ended(run_id)
    assert (ended.state, ended.snapshot_id) == (RunState.COMPLETED, saved)
    assert snapshots(second, site) == [saved]
    assert [receipt.snapshot_id for receipt in site.tenant.repositories.receipts("b" * 32)] == [
        saved
    ]


@pytest.mark.interop  # waits
def test_agent_carries_on_when_the_server_was_gone(site, line):
    cut = line(site.work)
    working = site.working(cut)
    site.ended(site.ask())
    cut.is_cut = True
    eventually(lambda: any("again and again" in text for text in working.said))
    run_id = site.ask()
    cut.is_cut = False
    assert site.ended(run_id).state is RunState.COMPLETED
    assert any("answers again" in text for text in working.said)


@pytest.mark.interop  # waits
def test_events_that_could_not_be_sent_are_sent_later(site, line):
    cut = line(site.work, "report")
    cut.is_cut = True
    working = site.working(cut)
    run_id = site.ask()
    eventually(lambda: working.events.of(SnapshotSaved))
    assert site.runs.events(run_id) == [] or not [
        event for _, event in site.runs.events(run_id) if isinstance(event, SnapshotSaved)
    ]
    cut.is_cut = False
    site.ended(run_id)
    assert [event for _, event in site.runs.events(run_id) if isinstance(event, SnapshotSaved)]


@pytest.mark.interop  # waits
def test_second_agent_with_the_same_key_gives_up_and_leaves_the_first_alone(site):
    first = site.working()
    site.ended(site.ask())
    second = site.working(state="copied-to-another-machine")
    second.join()
    assert isinstance(second.error, AgentRunning)
    assert site.ended(site.ask()).state is RunState.COMPLETED
    assert first.error is None


@pytest.mark.interop  # waits
def test_copy_of_the_agent_s_folders_gives_up_and_takes_nothing_away(site, gate):
    """It knows what the first one is called, and which run it does; it is no successor."""
    waiting = gate()
    first = site.working()
    run_id = site.ask("dump")
    waiting.wait()
    shutil.copytree(site.folder / "state", site.folder / "copied")
    second = site.working(state="copied")
    second.join()
    assert isinstance(second.error, AgentRunning)
    assert not [text for text in first.said if "no longer" in text]
    waiting.open()
    assert site.ended(run_id).state is RunState.COMPLETED
    assert first.error is None


def test_process_that_was_killed_is_no_second_agent(site):
    """Its successor on the same machine need not wait until it counts as dead."""
    former = site.around.random_bytes(16).hex()
    note_instance(site.folder / "state" / "agent", former)
    site.work.hello(AgentReport(former, "", "", ""), alive_seconds=3600)
    working = site.working(limits=evolve(LIMITS, alive_seconds=3600))
    assert site.ended(site.ask()).state is RunState.COMPLETED
    assert working.error is None


@pytest.mark.interop  # waits
def test_agent_that_begins_without_a_network_waits_for_a_former_one_to_count_as_dead(site, line):
    """As after a restart of the machine, whose network comes up later than the agent."""
    former = site.around.random_bytes(16).hex()
    site.work.hello(AgentReport(former, "", "", ""), alive_seconds=3600)
    cut = line(site.work)
    cut.is_cut = True
    working = site.working(cut, limits=evolve(LIMITS, alive_seconds=2.0))
    eventually(lambda: any("again and again" in text for text in working.said))
    cut.is_cut = False
    assert site.ended(site.ask()).state is RunState.COMPLETED
    assert working.error is None


def test_revoked_agent_ends(site):
    working = site.working()
    site.ended(site.ask())
    site.tenant.agents.revoke("a" * 32)
    working.join()
    assert isinstance(working.error, AgentRevoked)


class Yesterday(Clock):
    """The system's clock, set to the day before."""

    def __init__(self) -> None:
        self._real = SystemClock()

    def now(self) -> datetime:
        return self._real.now() - timedelta(days=1)

    def monotonic_seconds(self) -> float:
        return self._real.monotonic_seconds()

    def wait(self, seconds: float) -> None:
        self._real.wait(seconds)


def test_clock_that_is_off_by_a_day_changes_nothing_but_is_told(site):
    working = site.working(clock=Yesterday())
    ended = site.ended(site.ask())
    assert ended.state is RunState.COMPLETED
    assert abs(site.fleet.now() - ended.ended_at) < timedelta(hours=1)
    for moment, _ in site.runs.events(ended.id):
        assert abs(site.fleet.now() - moment) < timedelta(hours=1)
    (said,) = [text for text in working.said if "clock of this machine" in text]
    assert "behind the server's" in said


@pytest.mark.interop  # waits
def test_repository_that_went_away_is_not_to_be_made_anew(site):
    """As when the share that it stands on is not mounted."""
    site.working()
    site.ended(site.ask())
    os.rename(site.repository.address, f"{site.repository.address}-away")
    ended = site.ended(site.ask())
    assert ended.state is RunState.FAILED
    assert "any more; see whether the disk, the share or the bucket" in ended.error
    assert "init" not in ended.error
    assert not Path(site.repository.address).exists()
    os.rename(f"{site.repository.address}-away", site.repository.address)
    assert site.ended(site.ask()).state is RunState.COMPLETED


def test_repository_that_another_was_put_in_the_place_of_is_not_filled(site):
    working = site.working()
    site.ended(site.ask())
    os.rename(site.repository.address, f"{site.repository.address}-old")
    from backapp_core.engine.opening import create_repository

    keys = Keys(password=lambda: password_file(working, site).read_text().strip())
    create_repository(
        site.plugins, working.surroundings, site.repository.address,
        archiver="restic", options={}, keys=keys,
    ).repository.close()  # fmt: skip
    ended = site.ended(site.ask())
    assert ended.state is RunState.FAILED
    assert "another repository stands" in ended.error


def test_work_that_fails_for_good_ends_the_agent_with_its_sentence(site, line):
    class Refusing:
        def __getattr__(self, name):
            def refuse(*arguments, **options):
                raise AgentRevoked("this key belongs to no machine; enrol the machine again")

            return refuse

    working = site.working(Refusing())
    working.join()
    assert working.error.message == "this key belongs to no machine; enrol the machine again"
    assert not isinstance(working.error, StoreUnavailable)
    assert not [event for event in working.events.events if not isinstance(event, LogLine)]


def test_end_that_the_server_does_not_take_is_told_as_a_failure(site):
    class Picky:
        """A work that refuses good news."""

        def __getattr__(self, name):
            return getattr(site.work, name)

        def finish(self, fence, ended):
            if ended.state is RunState.COMPLETED:
                raise InputError("a number is too large")
            site.work.finish(fence, ended)

    site.working(Picky())
    ended = site.ended(site.ask())
    assert ended.state is RunState.FAILED
    assert "a number is too large" in ended.error


def test_command_that_a_signal_ended_first_is_handed_back_and_no_failure(site, gate):
    """Ctrl-C reaches the command as well as the agent, which may hear of it later."""
    waiting = gate()
    working = site.working()
    run_id = site.ask("dump")
    waiting.wait()
    working.cancel.cancel()
    os.kill(waiting.pid, signal.SIGINT)
    working.join()
    assert site.runs.get(run_id).state is RunState.RUNNING
