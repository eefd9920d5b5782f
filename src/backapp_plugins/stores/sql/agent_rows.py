"""Rows of machines, their tokens and their questions to model values and back."""

from typing import Any

from attrs import evolve

from backapp_core.server_api import Agent, AgentReport, Answer, EnrolmentToken, Question
from backapp_plugins.stores.sql.rows import (
    check_id,
    from_body,
    moment_from_column,
    moment_to_column,
    optional_moment_from_column,
    optional_moment_to_column,
    to_body,
)


def agent_from_row(row: Any) -> Agent:
    """Return the machine that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    return Agent(
        id=row.id,
        name=row.name,
        enrolled_at=moment_from_column(row.enrolled_at),
        report=None if row.report is None else from_body(row.report, AgentReport, "report"),
        last_seen_at=optional_moment_from_column(row.last_seen_at),
        revoked_at=optional_moment_from_column(row.revoked_at),
        has_left=row.last_seen_at is not None and not row.instance,
        removed_at=optional_moment_from_column(row.removed_at),
    )


def enrolment_to_row(token: EnrolmentToken) -> dict[str, Any]:
    """Return the columns of an enrolment token, without its hash."""
    return {
        "id": check_id(token.id, "token"),
        "created_at": moment_to_column(token.created_at),
        "expires_at": moment_to_column(token.expires_at),
        "used_at": optional_moment_to_column(token.used_at),
        "body": to_body(token),
    }


def enrolment_from_row(row: Any) -> EnrolmentToken:
    """Return the enrolment token that a row holds.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    token = from_body(row.body, EnrolmentToken, "token")
    return evolve(token, used_at=optional_moment_from_column(row.used_at))


def question_to_row(question: Question) -> dict[str, Any]:
    """Return the columns of a question."""
    return {
        "id": check_id(question.id, "question"),
        "agent_id": question.agent_id,
        "asked_at": moment_to_column(question.asked_at),
        "expires_at": moment_to_column(question.expires_at),
        "body": to_body(evolve(question, answer=None)),
        "answer": None if question.answer is None else to_body(question.answer),
    }


def question_from_row(row: Any) -> Question:
    """Return the question that a row holds, with its answer if there is one.

    Raises:
        StoreUnavailable: If this program cannot read it.
    """
    question = from_body(row.body, Question, "question")
    answer = None if row.answer is None else from_body(row.answer, Answer, "answer")
    return evolve(question, answer=answer)
