"""What an agent may ask of the store that it works for: its own work and nothing else.

The `sql` store has it beside the tables, the `remote` one over HTTP; both pass the same kit.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

from backapp_core.events import Event, Progress
from backapp_core.model.agents import AgentReport
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.receipts import Receipt
from backapp_core.model.runs import Run
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.work import Answer, Claim, Orders, Question, Renewal


class Work(ABC):
    """One agent's part of a store; from any thread. Each method is one transaction.

    Time is the store's own. Besides what is listed, every method raises `AgentRevoked` once the
    agent's key was taken back, and `StoreUnavailable` when the store does not answer.
    """

    @abstractmethod
    def hello(self, report: AgentReport, *, alive_seconds: float) -> Orders:
        """Say that the agent lives; remember ``report`` and the moment.

        Raises:
            AgentRunning: If another instance said so within the last ``alive_seconds``; nothing is
                remembered then.
        """

    @abstractmethod
    def goodbye(self, instance: str) -> None:
        """Say that this instance ends, so that another need not wait; others are left alone.

        The machine has left then (`Agent.has_left`), until an instance says hello.
        """

    @abstractmethod
    def claim(self, instance: str, *, lease_seconds: float) -> Claim | None:
        """Take over the run that has waited longest, or whose lease ran out; one statement.

        Only runs of this agent's, and none of a job of which another run has a lease that goes on;
        neither a restore while another one of the same repository has.
        Of several who ask at once, each gets a different run. The run is running then; what was
        stored when it first began stays (`Run.started_at`). None if there is nothing to do.
        """

    @abstractmethod
    def renew(
        self,
        run_id: str,
        fence: int,
        *,
        lease_seconds: float,
        within_seconds: float | None = None,
    ) -> Renewal:
        """Go on with a run.

        Args:
            run_id: Of a run that was claimed.
            fence: Of the claim.
            lease_seconds: For how long, from now on.
            within_seconds: How long one answer from afar is waited for, with no second try here,
                for who asks again in time; None leaves both to the store.

        Raises:
            LeaseLost: If somebody else took it over, or it has ended.
            RunNotFound: If it is none of this agent's.
        """

    @abstractmethod
    def report(
        self,
        run_id: str,
        fence: int,
        events: Sequence[tuple[datetime, Event]],
        progress: Progress | None = None,
    ) -> None:
        """Append what happened, and put ``progress`` in the place of the former one.

        Raises:
            LeaseLost: If somebody else took it over, or it has ended.
            RunNotFound: If it is none of this agent's.
        """

    @abstractmethod
    def hand_back(self, run_id: str, fence: int) -> None:
        """Give up the lease of a run that could not go on here; it may be claimed at once.

        Raises:
            LeaseLost: If somebody else took it over, or it has ended.
            RunNotFound: If it is none of this agent's.
        """

    @abstractmethod
    def finish(self, fence: int, ended: Run) -> None:
        """Put a run in its final state; repeating the same end is fine.

        Raises:
            LeaseLost: If somebody else took it over, or it ended in another way.
            IllegalTransition: If the move is not legal, or changes which run it is.
            RunNotFound: If it is none of this agent's.
        """

    @abstractmethod
    def see_objects(
        self,
        run_id: str,
        fence: int,
        snapshot_id: str,
        objects: Sequence[ObjectSeen],
        *,
        after: str = "",
    ) -> None:
        """Have some of the objects seen that were written for a snapshot, before `acknowledge`.

        So that there may be more of them than fit into one message. Names go up: those of a part
        come after the last one of the part before, which ``after`` repeats; without it this is the
        first part, and what was told before is forgotten. What was seen counts as long as the run
        is held under the same fence. Repeating the last part is fine.

        Raises:
            ObjectMissing: If an object is not there, or has another size; names the first.
            InputError: If a name is given twice, or does not come after ``after``.
            IllegalTransition: If ``after`` is not where the parts before end.
            LeaseLost: If somebody else took the run over, or it has ended.
            RunNotFound: If it is none of this agent's.
        """

    @abstractmethod
    def acknowledge(
        self,
        run_id: str,
        fence: int,
        snapshot: Snapshot,
        objects: Sequence[ObjectSeen],
        *,
        after: str = "",
    ) -> Receipt:
        """Tell of a snapshot, have every object that was written for it seen, and get a receipt.

        ``objects`` are those that come after the parts that `see_objects` was told of, the last of
        which ``after`` names; all of them without it. The receipt counts both. For a repository on
        the agent's own machine, which the server cannot look into, it says so by counting no
        objects. Repeating it for the same run and snapshot gives the same receipt.

        Raises:
            ObjectMissing: If an object is not there, or has another size; names the first.
            InputError: If a name is given twice, or does not come after ``after``.
            IllegalTransition: If ``after`` is not where the parts before end.
            LeaseLost: If somebody else took the run over, or it has ended.
            RunNotFound: If it is none of this agent's.
        """

    @abstractmethod
    def repository(self, repository_id: str) -> ManagedRepository:
        """Return a repository of this agent's.

        Raises:
            RepositoryNotFound: If it has none of this id.
        """

    @abstractmethod
    def repositories(self) -> Sequence[ManagedRepository]:
        """Return all repositories of this agent's, by name."""

    @abstractmethod
    def report_created(self, repository_id: str, own_id: str) -> ManagedRepository:
        """Tell that a repository exists now, and what it calls itself; once.

        Raises:
            RepositoryExists: If another was created under this name before.
            RepositoryNotFound: If it has none of this id.
        """

    @abstractmethod
    def confirm_sheet(self, repository_id: str) -> ManagedRepository:
        """Tell that somebody keeps the recovery sheet; doing so again is fine.

        Raises:
            RepositoryNotFound: If it has none of this id.
        """

    @abstractmethod
    def next_question(self) -> Question | None:
        """Return a question that nobody answered yet, each to one caller; None if there is none."""

    @abstractmethod
    def answer(self, question_id: str, answer: Answer) -> None:
        """Answer a question; if nobody waits for it any more, nothing happens."""


Woken = Callable[[str, str], None]
"""Is told of a topic (``work``, ``cancel``, ``questions``, or ``all`` when something may have been
missed) and the id of what it is about; quick, and does not raise."""


@runtime_checkable
class CanWake(Protocol):
    """A `Work` whose store says by itself when there is something to look at."""

    def listen(self, woken: Woken) -> AbstractContextManager[None]:
        """Call ``woken`` from a thread of its own until left; without any promise.

        Entering does not wait for a connection, and a lost one is made again: whoever listens asks
        from time to time all the same.
        """
        ...
