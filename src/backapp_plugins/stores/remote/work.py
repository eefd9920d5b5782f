"""What an agent may ask of a server, as HTTP requests."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import NoneType
from typing import TypeVar, cast, final

from typing_extensions import override

from backapp_core import wire
from backapp_core.plugin_api import (
    Closing,
    Event,
    InputError,
    ObjectSeen,
    Progress,
    RepositoryNotFound,
    Run,
    RunNotFound,
    Snapshot,
    Surroundings,
    event_to_plain,
    to_line,
)
from backapp_core.server_api import (
    AgentReport,
    Answer,
    Claim,
    Hold,
    ManagedRepository,
    Orders,
    Question,
    Receipt,
    Renewal,
    Woken,
    Work,
)
from backapp_plugins.stores.remote.conversation import Conversation
from backapp_plugins.stores.remote.issuing import RemoteGrants
from backapp_plugins.stores.remote.listening import listening
from backapp_plugins.stores.remote.servers import is_id, parse_server

_LOOKING_SECONDS = 900.0
"""A server may have to read back what a bucket makes no sure of."""
_MAYBE_CLAIM = cast("type[Claim | None]", Claim | None)
_MAYBE_QUESTION = cast("type[Question | None]", Question | None)
_REPOSITORIES = tuple[ManagedRepository, ...]
_T = TypeVar("_T")
_SHOWN = 40


@final
class RemoteWork(Work, Closing):
    """One agent's part of what a server remembers; also listens and issues grants."""

    def __init__(self, url: str, key: str, surroundings: Surroundings) -> None:
        """Prepare to talk; nothing is sent yet.

        Raises:
            InvalidAddress: If the URL makes no sense, or the key would travel in the clear.
        """
        self._server = parse_server(url)
        self._key = key
        self._surroundings = surroundings
        self._conversation = Conversation(self._server, key, surroundings)

    def grants_for(self, hold: Hold | None) -> RemoteGrants:
        """Return what asks the server for grants; see `HasGrants`."""
        return RemoteGrants(self._conversation, hold)

    def listen(self, woken: Woken) -> AbstractContextManager[None]:
        """Call ``woken`` for every message of the server, from a thread of its own, until left."""
        return listening(self._server, self._key, self._surroundings, woken)

    @override
    def close(self) -> None:
        self._conversation.close()

    @override
    def hello(self, report: AgentReport, *, alive_seconds: float) -> Orders:
        body = wire.HelloBody(report, alive_seconds)
        return self._post(f"{wire.AGENT}/hello", Orders, body)

    @override
    def goodbye(self, instance: str) -> None:
        self._post(f"{wire.AGENT}/goodbye", NoneType, wire.InstanceBody(instance))

    @override
    def claim(self, instance: str, *, lease_seconds: float) -> Claim | None:
        body = wire.ClaimBody(instance, lease_seconds)
        # A claim whose answer is lost is not repeated: it would be of another run.
        return self._post(f"{wire.AGENT}/claim", _MAYBE_CLAIM, body, is_repeatable=False)

    @override
    def renew(
        self,
        run_id: str,
        fence: int,
        *,
        lease_seconds: float,
        within_seconds: float | None = None,
    ) -> Renewal:
        body = wire.RenewBody(fence, lease_seconds)
        if within_seconds is None:
            return self._post(_run(run_id, "renew"), Renewal, body)
        return self._conversation.ask(
            *("POST", _run(run_id, "renew"), Renewal),
            body=body,
            patience_seconds=within_seconds,
            tries=1,
        )

    @override
    def report(
        self,
        run_id: str,
        fence: int,
        events: Sequence[tuple[datetime, Event]],
        progress: Progress | None = None,
    ) -> None:
        plain = tuple((moment, event_to_plain(event)) for moment, event in events)
        try:
            # Not repeated here: what was taken up already would be appended twice.
            self._post(
                _run(run_id, "report"),
                NoneType,
                wire.ReportBody(fence, plain, progress),
                is_repeatable=False,
            )
        except InputError:
            if len(events) <= 1:
                raise
            half = len(events) // 2
            self.report(run_id, fence, events[:half])
            self.report(run_id, fence, events[half:], progress)

    @override
    def hand_back(self, run_id: str, fence: int) -> None:
        self._post(_run(run_id, "hand-back"), NoneType, wire.FenceBody(fence))

    @override
    def finish(self, fence: int, ended: Run) -> None:
        self._post(_run(ended.id, "finish"), NoneType, wire.FinishBody(fence, ended))

    @override
    def see_objects(
        self,
        run_id: str,
        fence: int,
        snapshot_id: str,
        objects: Sequence[ObjectSeen],
        *,
        after: str = "",
    ) -> None:
        body = wire.SeeBody(fence, snapshot_id, tuple(objects), after)
        self._conversation.ask(
            *("POST", _run(run_id, "see"), NoneType),
            body=body,
            patience_seconds=_LOOKING_SECONDS,
        )

    @override
    def acknowledge(
        self,
        run_id: str,
        fence: int,
        snapshot: Snapshot,
        objects: Sequence[ObjectSeen],
        *,
        after: str = "",
    ) -> Receipt:
        """As in the port; however many objects there are, they go in parts that a body can hold."""
        rest = sorted({one.name: one for one in objects}.values(), key=lambda one: one.name)
        while len(rest) > wire.MOST_SEEN:
            part, rest = rest[: wire.MOST_SEEN], rest[wire.MOST_SEEN :]
            self.see_objects(run_id, fence, snapshot.id, part, after=after)
            after = part[-1].name
        body = wire.AcknowledgeBody(fence, snapshot, tuple(rest), after)
        return self._conversation.ask(
            *("POST", _run(run_id, "acknowledge"), Receipt),
            body=body,
            patience_seconds=_LOOKING_SECONDS,
        )

    @override
    def repository(self, repository_id: str) -> ManagedRepository:
        return self._conversation.ask("GET", _repository(repository_id), ManagedRepository)

    @override
    def repositories(self) -> Sequence[ManagedRepository]:
        return self._conversation.ask("GET", wire.REPOSITORIES, _REPOSITORIES)

    @override
    def report_created(self, repository_id: str, own_id: str) -> ManagedRepository:
        path = f"{_repository(repository_id)}/created"
        return self._post(path, ManagedRepository, wire.CreatedBody(own_id))

    @override
    def confirm_sheet(self, repository_id: str) -> ManagedRepository:
        return self._post(f"{_repository(repository_id)}/sheet", ManagedRepository, None)

    @override
    def next_question(self) -> Question | None:
        # A question whose answer is lost goes to nobody else; whoever asked asks again.
        path = f"{wire.QUESTIONS}/next"
        return self._post(path, _MAYBE_QUESTION, None, is_repeatable=False)

    @override
    def answer(self, question_id: str, answer: Answer) -> None:
        if is_id(question_id):
            self._post(f"{wire.QUESTIONS}/{question_id}", NoneType, wire.AnswerBody(answer))

    def _post(self, path: str, answer: type[_T], body: object, *, is_repeatable: bool = True) -> _T:
        return self._conversation.ask("POST", path, answer, body=body, is_repeatable=is_repeatable)


def _run(run_id: str, verb: str) -> str:
    if not is_id(run_id):
        raise RunNotFound(f"'{to_line(run_id[:_SHOWN])}' is the id of no run")
    return f"{wire.RUNS}/{run_id}/{verb}"


def _repository(repository_id: str) -> str:
    if not is_id(repository_id):
        raise RepositoryNotFound(f"'{to_line(repository_id[:_SHOWN])}' is the id of no repository")
    return f"{wire.REPOSITORIES}/{repository_id}"
