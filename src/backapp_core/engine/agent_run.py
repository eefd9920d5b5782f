"""One run that an agent has claimed: held, driven by the ordinary engine, reported and ended."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, final

from attrs import evolve, frozen

from backapp_core.engine.agent_backup import Taken, back_up
from backapp_core.engine.agent_grants import RunGrants
from backapp_core.engine.agent_lease import Lease
from backapp_core.engine.agent_ledger import BegunRun, RunLedger
from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.engine.agent_policy import read_policy
from backapp_core.engine.agent_reporting import RunReporter
from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.engine.agent_restore import restore_order
from backapp_core.engine.agent_time import ServerTime
from backapp_core.engine.run_drive import Done, drive
from backapp_core.errors import (
    BackappError,
    IllegalTransition,
    InputError,
    InvalidJob,
    StoreUnavailable,
    TransportError,
)
from backapp_core.events import Event, FanOut, FileDone, Level, LogLine, Progress, SnapshotSaved
from backapp_core.manager import PluginManager
from backapp_core.model.jobs import Job
from backapp_core.model.runs import RestoreOrder, Run, RunKind, RunState
from backapp_core.model.work import Claim, Hold
from backapp_core.ports.grants import CanIssueGrants, HasGrants
from backapp_core.ports.surroundings import CancelToken, Surroundings
from backapp_core.ports.work import Work

_LONGEST_PAUSE_SECONDS = 60.0
_T = TypeVar("_T")


@frozen
class Workplace:
    """What every run of an agent stands on."""

    plugins: PluginManager
    surroundings: Surroundings
    work: Work
    repositories: AgentRepositories
    ledger: RunLedger
    policy_file: Path
    time: ServerTime
    limits: AgentLimits


@final
class AgentRun:
    """A claimed run on a thread of its own."""

    def __init__(
        self,
        place: Workplace,
        claim: Claim,
        *,
        asked_at: float,
        before: "AgentRun | None",
        ended: Callable[[], None],
    ) -> None:
        """Prepare to carry ``claim`` out.

        Args:
            place: What it stands on.
            claim: The run.
            asked_at: When it was asked for, in monotonic seconds.
            before: The same run as this process claimed it earlier and lost it, if it still stops.
            ended: Is called at the end, from the run's thread.
        """
        self.run_id = claim.run.id
        self._place = place
        self._claim = claim
        self._before = before
        self._ended = ended
        self._cancel = CancelToken()
        self._is_stopping = False
        clock = place.surroundings.clock
        self._lease = Lease(place.work, claim, clock, self._cancel, asked_at=asked_at)
        self._reporter = RunReporter(
            lambda events, progress: place.work.report(self.run_id, claim.fence, events, progress),
            place.time.now,
            every_seconds=place.limits.report_seconds,
        )
        self._around = evolve(
            place.surroundings,
            events=FanOut((self._note, self._reporter, self._tell)),
            cancel=self._cancel,
            grants=self._grants(),
        )
        self._thread = threading.Thread(target=self._run, name="backapp-run", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether it came to its end."""
        return not self._thread.is_alive()

    @property
    def is_lost(self) -> bool:
        """Whether its lease ran out here, or somebody else has it."""
        return self._lease.is_lost

    def look(self) -> None:
        """Find out soon whether somebody wishes it to stop."""
        self._lease.poke()

    def stop(self) -> None:
        """Stop soon and hand it back, so that it can be claimed again."""
        self._is_stopping = True
        self._cancel.cancel()
        self._lease.poke()

    @property
    def _is_ending(self) -> bool:
        return self._is_stopping or self._place.surroundings.cancel.is_cancelled

    def _grants(self) -> CanIssueGrants | None:
        work = self._place.work
        if not isinstance(work, HasGrants):
            return None
        return RunGrants(work.grants_for(Hold(self.run_id, self._claim.fence)), self._lease)

    def _run(self) -> None:
        try:
            with self._lease:
                if self._before is not None:
                    self._before.join()
                with self._reporter:
                    self._settle(self._driven())
        except BackappError as error:
            self._say(Level.WARNING, f"run {self.run_id[:8]}: {error.message}")
        finally:
            self._ended()

    def _driven(self) -> Run:
        try:
            self._begin()
        except BackappError as error:
            return self._claim.run.fail(at=self._place.time.now(), error=error.message)
        return drive(self._around, self._claim.run, self._work, now=self._place.time.now)

    def _begin(self) -> None:
        self._log(f"{self._claim.run.kind} begins")
        ledger = self._place.ledger
        begun = ledger.get(self.run_id) or BegunRun(self.run_id, 0)
        ledger.put(evolve(begun, fence=self._claim.fence))

    def _work(self) -> Done:
        run, file = self._claim.run, self._place.policy_file
        policy = read_policy(file)
        if run.kind is RunKind.BACKUP:
            if self._claim.job is None:
                raise InvalidJob("the server ordered a backup and did not say of what")
            policy.check_job(self._claim.job, file)
            return self._backed_up(self._claim.job)
        if run.restore is None:
            raise InvalidJob("the server ordered a restore and did not say of what")
        order = evolve(run.restore, target=policy.check_restore(run.restore.target, file))
        return self._trying(lambda: self._restored(order), self._place.limits.tries)

    def _backed_up(self, job: Job) -> Done:
        place, claim = self._place, self._claim
        if not job.retention.is_empty:
            text = "what the job says of forgetting is not done by agents; see forget and prune"
            self._say(Level.INFO, text)
        taken = self._trying(lambda: self._taken(job), place.limits.tries)
        objects = () if claim.repository.is_local else taken.objects
        self._trying(
            lambda: place.work.acknowledge(self.run_id, claim.fence, taken.snapshot, objects)
        )
        return taken.snapshot.id, taken.counts

    def _taken(self, job: Job) -> Taken:
        place = self._place
        opened = place.repositories.open_or_create(self._around, self._claim.repository)
        with opened.repository:
            return back_up(
                place.plugins,
                self._around,
                place.ledger,
                opened,
                job,
                run_id=self.run_id,
            )

    def _restored(self, order: RestoreOrder) -> Done:
        opened = self._place.repositories.open(self._around, self._claim.repository)
        with opened.repository:
            return restore_order(self._around, opened, order)

    def _trying(self, step: Callable[[], _T], tries: int = 0) -> _T:
        """Do ``step``, again after faults that may pass; ``tries`` times, 0 while it is held.

        Raises:
            LeaseLost: If the run is held no longer.
            RunCancelled: If it is to stop.
            BackappError: What the step raises, at last.
        """
        failures = 0
        while True:
            self._lease.check()
            self._cancel.check()
            try:
                return step()
            except BackappError as error:
                failures += 1
                if not _may_pass(error) or failures == tries:
                    raise
                self._say(Level.WARNING, f"{error.message}; it is tried again")
            self._pause(failures)

    def _pause(self, failures: int) -> None:
        first = self._place.limits.retry_seconds
        self._lease.wait(min(_LONGEST_PAUSE_SECONDS, first * 2.0 ** (failures - 1)))

    def _settle(self, ended: Run) -> None:
        """Tell the server how it ended, unless that is not this process's to tell.

        Raises:
            BackappError: If the server refuses to hear it.
        """
        place, fence = self._place, self._claim.fence
        if self._lease.is_lost:
            self._log("is held by this process no longer")
            return  # whoever claims it finds in the ledger what was done
        if self._is_ending and ended.state is not RunState.COMPLETED:
            # Whatever it says: Ctrl-C reaches commands and workers, too, and perhaps first.
            place.work.hand_back(self.run_id, fence)
            self._log("handed back")
            return
        if self._told(ended):
            place.ledger.remove(self.run_id)
            self._log(f"{ended.state}{f': {ended.error}' if ended.error else ''}")

    def _told(self, ended: Run) -> bool:
        """Tell the server until it hears, and say whether it did before the run was lost.

        Raises:
            InputError: If the server does not even take that it failed.
            IllegalTransition: Likewise.
            BackappError: If the run is somebody else's.
        """
        failures = 0
        while not self._lease.is_lost:
            try:
                self._send_rest()
                self._place.work.finish(self._claim.fence, ended)
            except StoreUnavailable:
                failures += 1
                if self._is_ending:
                    break
                self._pause(failures)
            except (InputError, IllegalTransition) as error:
                if ended.state is RunState.FAILED:
                    raise
                # Else it would be claimed, and refused, again and again.
                reason = f"the server did not take how the run ended: {error.message}"
                ended = self._claim.run.fail(at=self._place.time.now(), error=reason)
            else:
                return True
        return False

    def _send_rest(self) -> None:
        try:
            self._reporter.flush()
        except StoreUnavailable:
            raise
        except BackappError:
            return  # the log is short of something; how the run ended counts

    def _note(self, event: Event) -> None:
        if isinstance(event, SnapshotSaved):
            with suppress(BackappError):  # found out from the repository, if need be
                self._place.ledger.note_snapshot(self.run_id, event.snapshot)

    def _tell(self, event: Event) -> None:
        # Bars of several runs at once would only be in one another's way.
        if not isinstance(event, Progress | FileDone):
            self._place.surroundings.events(event)

    def _say(self, level: Level, text: str) -> None:
        self._around.events(LogLine(level, text))

    def _log(self, text: str) -> None:
        """Say on this machine only what the server knows."""
        job = self._claim.job
        of = f"job {job.name}" if job else f"repository {self._claim.repository.name}"
        line = f"run {self.run_id[:8]} of {of}: {text}"
        self._place.surroundings.events(LogLine(Level.INFO, line))


def _may_pass(error: BackappError) -> bool:
    return isinstance(error, StoreUnavailable) or (
        isinstance(error, TransportError) and error.is_retryable
    )
