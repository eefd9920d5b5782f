"""Answers what people ask about snapshots whose key only this machine holds."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import final

from backapp_core.codec import to_plain
from backapp_core.engine import browse, find
from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.engine.run_drive import unexpected
from backapp_core.engine.selections import clean_path
from backapp_core.errors import BackappError, InputError
from backapp_core.model.entries import Node
from backapp_core.model.names import from_text, to_text
from backapp_core.model.requests import FindRequest
from backapp_core.model.snapshots import Snapshot, SnapshotFilter
from backapp_core.model.work import Answer, Question, QuestionKind
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.work import Work

MOST_NODES = 1000
_Found = Iterable[Mapping[str, object]]


@final
class Answering:
    """Opens the repository that a question is about, and looks; one question at a time."""

    def __init__(
        self,
        surroundings: Surroundings,
        work: Work,
        repositories: AgentRepositories,
        *,
        most_nodes: int = MOST_NODES,
    ) -> None:
        self._surroundings = surroundings
        self._work = work
        self._repositories = repositories
        self._most_nodes = most_nodes
        self._ways: dict[QuestionKind, Callable[[Repository, Question], _Found]] = {
            QuestionKind.LIST_FOLDER: self._in_folder,
            QuestionKind.SEARCH: self._matching,
            QuestionKind.SNAPSHOTS: self._snapshots,
        }

    def answer_all(self) -> None:
        """Answer whatever is asked at present.

        Raises:
            BackappError: If the server fails.
        """
        while not self._surroundings.cancel.is_cancelled:
            question = self._work.next_question()
            if question is None:
                return
            self._work.answer(question.id, self.answer(question))

    def answer(self, question: Question) -> Answer:
        """Return the answer to a question; what goes wrong stands in it."""
        try:
            return self._looked(question)
        except BackappError as error:
            return Answer(error=error.message)
        except Exception as error:  # noqa: BLE001  # a plugin's fault; somebody waits for an answer
            return Answer(error=unexpected(error))

    def _looked(self, question: Question) -> Answer:
        meant = self._work.repository(_detail(question, "repository_id"))
        with self._repositories.open(self._surroundings, meant).repository as repository:
            found = self._ways[question.kind](repository, question)
            nodes = tuple(islice(found, self._most_nodes + 1))
        return Answer(nodes=nodes[: self._most_nodes], is_cut=len(nodes) > self._most_nodes)

    def _in_folder(self, repository: Repository, question: Question) -> _Found:
        snapshot = self._snapshot(repository, question)
        folder = from_text(question.details.get("folder", "") or "/")
        nodes = browse.list_nodes(repository, snapshot, under=folder, recursive=False)
        return (node_fields(node) for node in nodes if node.path != clean_path(folder))

    def _matching(self, repository: Repository, question: Question) -> _Found:
        snapshot = self._snapshot(repository, question)
        request = FindRequest(
            patterns=(_detail(question, "pattern"),), ignores_case=True, snapshots=(snapshot.id,)
        )
        matches = find.find(self._surroundings, repository, request)
        return (node_fields(match.node) for match in matches)

    def _snapshots(self, repository: Repository, question: Question) -> _Found:
        del question
        found: list[Mapping[str, object]] = [to_plain(one) for one in repository.snapshots()]
        return reversed(found)

    def _snapshot(self, repository: Repository, question: Question) -> Snapshot:
        name = _detail(question, "snapshot_id")
        return browse.find_snapshot(self._surroundings, repository, name, SnapshotFilter())


def node_fields(node: Node) -> dict[str, object]:
    """Return what a page shows of a node, as plain data; paths as `to_text` writes them."""
    return {
        "path": to_text(node.path),
        "name": to_text(node.name),
        "kind": str(node.kind),
        "size_bytes": node.size_bytes,
        "mode": node.mode,
        "user": node.user or str(node.uid),
        "group": node.group or str(node.gid),
        "mtime_ns": node.mtime_ns,
        "target": to_text(node.target),
    }


def _detail(question: Question, name: str) -> str:
    value = question.details.get(name, "")
    if not value:
        raise InputError(f"the question names no {name}")
    return value
