"""The standing loop of a machine: in touch with its server, taking over what there is to do."""

import platform
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import final

from backapp_core import processes
from backapp_core.engine.agent_instance import former_instance, note_instance
from backapp_core.engine.agent_ledger import FOLDER as RUNS
from backapp_core.engine.agent_ledger import RunLedger
from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.engine.agent_policy import Policy, read_policy
from backapp_core.engine.agent_questions import Answering
from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.engine.agent_run import AgentRun, Workplace
from backapp_core.engine.agent_time import ServerTime
from backapp_core.engine.backup import program
from backapp_core.errors import (
    AgentRunning,
    BackappError,
    ConflictError,
    InvalidSettings,
    MissingError,
    StoreUnavailable,
)
from backapp_core.events import Level, LogLine
from backapp_core.manager import PluginManager
from backapp_core.model.agents import AgentReport
from backapp_core.model.work import Orders
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.work import CanWake, Work

_ID_BYTES = 16
_SLICE_SECONDS = 0.2
_LEAST_SECONDS = 0.05
"""How soon the agent is in touch again, however often it is woken."""
_FORGET_AFTER = timedelta(days=30)
_NOTED_SKEW = timedelta(minutes=5)


@final
class AgentLoop:
    """Works for one server until it is asked to stop; one per machine and key.

    `run` is called once, from one thread; the cancel token of the surroundings ends it.
    """

    def __init__(
        self,
        plugins: PluginManager,
        surroundings: Surroundings,
        work: Work,
        *,
        policy_file: Path,
        folder: Path,
        limits: AgentLimits = AgentLimits(),  # noqa: B008  # a value without state
    ) -> None:
        """Prepare to work.

        Args:
            plugins: What is installed.
            surroundings: Time, chance, who is told, the wish to stop.
            work: The server.
            policy_file: What this machine lets a server have it do.
            folder: Where passwords and notes on runs are kept; of nobody else.
            limits: How often, how long and how much.
        """
        self._surroundings = surroundings
        self._work = work
        self._policy_file = policy_file
        self._folder = folder
        self._limits = limits
        self._instance = surroundings.random_bytes(_ID_BYTES).hex()
        self._time = ServerTime(surroundings.clock)
        self._woken = threading.Event()
        self._runs: dict[str, AgentRun] = {}
        self._answering: threading.Thread | None = None
        self._failures = 0
        self._free_at = 0.0
        self._said_skew = False
        repositories = AgentRepositories(plugins, work, folder)
        self._questions = Answering(surroundings, work, repositories)
        self._place = Workplace(
            plugins=plugins,
            surroundings=surroundings,
            work=work,
            repositories=repositories,
            ledger=RunLedger(folder / RUNS),
            policy_file=policy_file,
            time=self._time,
            limits=limits,
        )

    def run(self) -> None:
        """Work until asked to stop; then hand back what goes on, and say goodbye.

        Raises:
            AgentRunning: If another process works with this machine's key.
            AgentRevoked: If the key was taken back.
            InvalidSettings: If the policy file cannot be used.
            InputError: If the folder cannot be written.
            BackappError: What else the server says that does not pass.
        """
        read_policy(self._policy_file)
        with ExitStack() as stack:
            stack.callback(self._end)
            self._begin()
            if isinstance(self._work, CanWake):
                stack.enter_context(self._work.listen(self._hear))
            while not self._surroundings.cancel.is_cancelled:
                self._turn()
                self._wait()

    def _begin(self) -> None:
        """Settle what a former process in this folder left behind, and be the one from now on."""
        ledger = self._place.ledger
        ledger.forget_before(self._surroundings.clock.now() - _FORGET_AFTER)
        with suppress(StoreUnavailable, OSError):  # leases end by themselves
            if former := former_instance(self._folder):
                self._work.goodbye(former)
                for begun in ledger.all():
                    with suppress(ConflictError, MissingError):
                        self._work.hand_back(begun.run_id, begun.fence)
        note_instance(self._folder, self._instance)
        self._become_the_one()
        if not self._surroundings.cancel.is_cancelled:
            self._say(Level.INFO, "the server answers; working for it until stopped")

    def _become_the_one(self) -> None:
        """Say hello until nobody else counts as alive.

        Raises:
            AgentRunning: If somebody else stays alive.
        """
        clock = self._surroundings.clock
        refused_at: float | None = None
        while not self._surroundings.cancel.is_cancelled:
            try:
                self._turn()
            except AgentRunning as error:
                now = clock.monotonic_seconds()
                if refused_at is None:
                    refused_at = now
                    self._say(Level.WARNING, f"{error.message}; waiting whether it ends")
                if now - refused_at >= self._limits.alive_seconds * 1.25:
                    raise
                clock.wait(min(1.0, self._limits.alive_seconds / 4))
            else:
                if not self._failures:
                    return
                self._wait()

    def _turn(self) -> None:
        """Be in touch once, and take over what there is to do.

        Raises:
            BackappError: What the server says that does not pass.
        """
        self._woken.clear()
        try:
            orders = self._hello()
            self._obey(orders)
        except StoreUnavailable as error:
            if not self._failures:
                self._say(Level.WARNING, f"{error.message}; it is tried again and again")
            self._failures += 1
            return
        if self._failures:
            self._say(Level.INFO, "the server answers again")
        self._failures = 0

    def _hello(self) -> Orders:
        orders = self._work.hello(self._report(), alive_seconds=self._limits.alive_seconds)
        ahead = self._time.learn(orders.now)
        if abs(ahead) > _NOTED_SKEW and not self._said_skew:
            self._said_skew = True
            direction = "ahead of" if ahead > timedelta(0) else "behind"
            self._say(
                Level.WARNING,
                f"the clock of this machine is {abs(ahead)} {direction} the server's; "
                "what is due goes by the server's, and snapshots carry this machine's",
            )
        return orders

    def _obey(self, orders: Orders) -> None:
        if any(run.is_lost for run in self._runs.values()):
            # A lease ends here a little earlier than for the store, and nobody tells of its end.
            now = self._surroundings.clock.monotonic_seconds()
            self._free_at = now + self._limits.lease_seconds
        self._runs = {run_id: run for run_id, run in self._runs.items() if not run.is_over}
        if orders.has_questions and (self._answering is None or not self._answering.is_alive()):
            self._answering = threading.Thread(
                target=self._answer, name="backapp-answer", daemon=True
            )
            self._answering.start()
        while orders.has_work and len(self._runs) < self._limits.most_runs:
            asked_at = self._surroundings.clock.monotonic_seconds()
            claim = self._work.claim(self._instance, lease_seconds=self._limits.lease_seconds)
            if claim is None:
                return
            run = AgentRun(
                self._place,
                claim,
                asked_at=asked_at,
                before=self._runs.get(claim.run.id),
                ended=self._woken.set,
            )
            self._runs = {**self._runs, claim.run.id: run}
            run.start()

    def _answer(self) -> None:
        try:
            self._questions.answer_all()
        except BackappError as error:
            self._say(Level.WARNING, f"a question was not answered: {error.message}")

    def _hear(self, topic: str, subject_id: str) -> None:
        if topic in {"cancel", "all"}:
            for run in tuple(self._runs.values()):
                if subject_id in {"", run.run_id}:
                    run.look()
        if topic != "cancel":
            self._woken.set()

    def _wait(self) -> None:
        self._surroundings.clock.wait(_LEAST_SECONDS)
        left = self._pause_seconds()
        # In slices: a signal does not wake a thread that waits for something else.
        while left > 0 and not self._surroundings.cancel.is_cancelled:
            if self._woken.wait(min(left, _SLICE_SECONDS)):
                return
            left -= _SLICE_SECONDS

    def _pause_seconds(self) -> float:
        """Return how long to wait, with a quarter left to chance, so that agents spread out."""
        limits = self._limits
        chance = int.from_bytes(self._surroundings.random_bytes(2), "big") / 0xFFFF
        pause = limits.hello_seconds
        if self._failures:
            pause = min(pause, limits.retry_seconds * 2.0 ** min(self._failures - 1, 30))
        until_free = self._free_at - self._surroundings.clock.monotonic_seconds()
        if until_free > 0:
            pause = min(pause, until_free)
        return pause * (0.75 + chance / 2)

    def _report(self) -> AgentReport:
        try:
            policy = read_policy(self._policy_file)
        except InvalidSettings:
            policy = Policy(backup_roots=())  # every run will say so
        return AgentReport(
            instance=self._instance,
            version=program().rpartition(" ")[2],
            hostname=processes.host_name(),
            platform=f"{platform.system()} {platform.release()} {platform.machine()}",
            roots=policy.backup_roots,
            restore_folders=policy.restore_folders,
        )

    def _end(self) -> None:
        for run in self._runs.values():
            run.stop()
        for thread in self._ending():
            thread.join()
        with suppress(BackappError):  # whoever does not hear it finds out by waiting
            self._work.goodbye(self._instance)

    def _ending(self) -> Sequence[AgentRun | threading.Thread]:
        return [*self._runs.values(), *([self._answering] if self._answering else [])]

    def _say(self, level: Level, text: str) -> None:
        self._surroundings.events(LogLine(level, text))
