"""Sends what was granted until it is answered: waits for faults that pass, renews what expired."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from attrs import frozen

from backapp_core.plugin_api import (
    AccessRefused,
    Clock,
    Surroundings,
    TransportError,
    TransportUnavailable,
)
from backapp_plugins.transports.presigned.courier import Answer, Courier, Opened
from backapp_plugins.transports.presigned.faults import ConnectionLost, is_passing, refusal
from backapp_plugins.transports.presigned.grants import Grant
from backapp_plugins.transports.presigned.patience import Patience

_MOST_RENEWALS = 5


@frozen
class Sent:
    """An answer that does not pass, and what came before it."""

    answer: Answer
    was_in_doubt: bool
    """Whether an earlier attempt may have been carried out although nobody said so."""


class Sender:
    """Sends requests about one repository; may be used from any thread."""

    def __init__(self, courier: Courier, surroundings: Surroundings) -> None:
        self._courier = courier
        self._clock: Clock = surroundings.clock
        self.patience = Patience(surroundings)

    def send(self, what: str, grant: Callable[[bool], Grant], body: bytes = b"") -> Sent:
        """Send a request until it is done, or the name is taken, or there is no such object.

        Args:
            what: The object, for messages.
            grant: Returns what may be sent; a new one, if it is called with True.
            body: What goes with a PUT.

        Raises:
            TransportError: If it is refused, or not answered in the end.
            RunCancelled: If the run is to stop meanwhile.
        """
        attempts = _Attempts(what, grant, self._clock, self.patience)
        while True:
            request = attempts.next().request
            try:
                answer = self._courier.send(request, body)
            except ConnectionLost as lost:
                attempts.note_lost(lost)
                continue
            if _is_final(answer.status):
                return Sent(answer, attempts.is_in_doubt)
            attempts.note(answer)

    def open(
        self, what: str, grant: Callable[[bool], Grant], more: Mapping[str, str]
    ) -> Opened | Answer:
        """Send a request until its content begins to come.

        Returned is an answer without content where there is none: no such object, or no such part
        of it.

        Raises:
            TransportError: If it is refused, or not answered in the end.
            RunCancelled: If the run is to stop meanwhile.
        """
        attempts = _Attempts(what, grant, self._clock, self.patience)
        while True:
            request = attempts.next().request
            try:
                opened = self._courier.open(request, more)
                if opened.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                    return opened
                answer = opened.answer()
            except ConnectionLost as lost:
                attempts.note_lost(lost)
                continue
            if _is_final(answer.status):
                return answer
            attempts.note(answer)


class _Attempts:
    """What happened to one request so far, and what is to be done next."""

    def __init__(
        self, what: str, grant: Callable[[bool], Grant], clock: Clock, patience: Patience
    ) -> None:
        self._what = what
        self._ask = grant
        self._clock = clock
        self._patience = patience
        self._pauses = patience.pauses()
        self._grant: Grant | None = None
        self._renewals = 0
        self.is_in_doubt = False

    def next(self) -> Grant:
        """Return what to send."""
        if self._grant is None:
            self._grant = self._ask(False)  # noqa: FBT003  # a callable has no keywords
        elif not self._grant.is_good(self._clock.monotonic_seconds()):
            self._grant = self._ask(True)  # noqa: FBT003  # a callable has no keywords
        return self._grant

    def note_lost(self, lost: ConnectionLost) -> None:
        """Wait after a connection that broke.

        Raises:
            TransportUnavailable: If it broke too often.
        """
        self.is_in_doubt = True
        pause_seconds = None if lost.is_hopeless else next(self._pauses, None)
        if pause_seconds is None:
            raise TransportUnavailable(
                f"the bucket does not answer about {self._what} ({lost.message})"
            ) from lost
        self._patience.wait(pause_seconds)

    def note(self, answer: Answer) -> None:
        """Renew or wait after an answer that is not final.

        Raises:
            TransportError: If neither is of use any more.
        """
        if answer.status == HTTPStatus.FORBIDDEN and self._may_be_over(answer):
            self._renew()
            return
        pause_seconds = None
        if is_passing(answer.status, answer.code):
            pause_seconds = next(self._pauses, None)
        if pause_seconds is None:
            refused: TransportError = refusal(self._what, answer.status, answer.code)
            raise refused
        self.is_in_doubt |= answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        self._patience.wait(pause_seconds, asked_seconds=_asked_seconds(answer))

    def _may_be_over(self, answer: Answer) -> bool:
        now = self._clock.monotonic_seconds()
        return answer.is_about_age or (self._grant is not None and self._grant.may_be_over(now))

    def _renew(self) -> None:
        if self._renewals == _MOST_RENEWALS:
            raise AccessRefused(
                f"what the server signs for {self._what} has expired when it arrives, again and "
                "again; look at the clocks of the server and of the bucket"
            )
        self._renewals += 1
        self._grant = self._ask(True)  # noqa: FBT003  # a callable has no keywords


def _is_final(status: int) -> bool:
    return status < HTTPStatus.MULTIPLE_CHOICES or status in {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.PRECONDITION_FAILED,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    }


def _asked_seconds(answer: Answer) -> float:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and said.isascii() else 0.0
