"""What people ask machines, in a table; every method is one transaction."""

from typing import final

from sqlalchemy import ColumnElement, Connection, delete, func, select, update
from typing_extensions import override

from backapp_core.plugin_api import AgentNotFound, NameTaken
from backapp_core.server_api import Answer, Question, Questions
from backapp_plugins.stores.sql.agent_rows import question_from_row, question_to_row
from backapp_plugins.stores.sql.agents import no_agent
from backapp_plugins.stores.sql.collisions import again_after_collisions
from backapp_plugins.stores.sql.database import Now
from backapp_plugins.stores.sql.rows import is_id, to_body
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import AGENTS, QUESTIONS


@final
@again_after_collisions
class SqlQuestions(Questions):
    """What is asked of one tenant's machines."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database

    @override
    def ask(self, question: Question) -> None:
        row = question_to_row(question)
        if not is_id(question.agent_id):
            raise AgentNotFound(no_agent(question.agent_id))
        with self._database.writing() as connection:
            agent = self._scope.lock(connection, AGENTS, id=question.agent_id)
            if agent is None or agent.revoked_at is not None:
                raise AgentNotFound(no_agent(question.agent_id))
            remove_expired(connection, self._scope)
            if not self._scope.add(connection, QUESTIONS, row):
                raise NameTaken(f"question {question.id[:8]} was asked already")
            self._database.announce(connection, "questions", question.id)

    @override
    def get(self, question_id: str) -> Question | None:
        if not is_id(question_id):
            return None
        query = select(QUESTIONS).where(
            self._scope.of(QUESTIONS, id=question_id), QUESTIONS.c.expires_at > Now()
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else question_from_row(row)


def has_questions(connection: Connection, scope: Scope, agent_id: str) -> bool:
    """Say whether a question waits for the machine."""
    query = select(func.count()).select_from(QUESTIONS).where(*_waiting(scope, agent_id))
    return connection.execute(query).scalar_one() > 0


def take_question(connection: Connection, scope: Scope, agent_id: str) -> Question | None:
    """Return the question that has waited longest; nobody else is given it."""
    oldest = (
        select(QUESTIONS.c.id)
        .where(*_waiting(scope, agent_id))
        .order_by(QUESTIONS.c.asked_at, QUESTIONS.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = (
        update(QUESTIONS)
        .where(scope.of(QUESTIONS), QUESTIONS.c.id == oldest)
        .values(taken_at=Now())
        .returning(QUESTIONS)
    )
    row = connection.execute(taken).one_or_none()
    return None if row is None else question_from_row(row)


def keep_answer(
    connection: Connection, scope: Scope, agent_id: str, question_id: str, answer: Answer
) -> bool:
    """Keep the first answer to a question of the machine's, and say whether it was."""
    answered = (
        update(QUESTIONS)
        .where(
            scope.of(QUESTIONS, id=question_id, agent_id=agent_id, answer=None),
            QUESTIONS.c.expires_at > Now(),
        )
        .values(answer=to_body(answer))
    )
    return connection.execute(answered).rowcount > 0


def remove_expired(connection: Connection, scope: Scope) -> None:
    """Delete what nobody waits for any more."""
    connection.execute(
        delete(QUESTIONS).where(scope.of(QUESTIONS), QUESTIONS.c.expires_at <= Now())
    )


def _waiting(scope: Scope, agent_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        scope.of(QUESTIONS, agent_id=agent_id, taken_at=None, answer=None),
        QUESTIONS.c.expires_at > Now(),
    )
