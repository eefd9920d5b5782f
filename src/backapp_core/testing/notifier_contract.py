"""What every notifier must do."""

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve, frozen

from backapp_core.errors import DeliveryError
from backapp_core.model.notifications import Notification, Urgency
from backapp_core.ports.notifiers import Notifier

HOSTILE_TEXTS = (
    "a\r\nBcc: everybody@example.org",
    "a\n\nbody",
    "a\r\n.\r\nQUIT",
    "\x1b[2J\x1b]0;title\x07",
    "one\u2028two\u2029three\x85four\x0bfive",
    "\u202etxt.exe\u2066",
    "nul\0",
    "lone \ud800 and \udcff",
    "=?utf-8?q?coded?=",
    "ünïcödé 漢字 🙂 " * 40,
    "x" * 5_000,
    "",
    " ",
    "%s {} ' \" <b> \\",
)


@frozen
class Received:
    """One message as the next hop took it, decoded by that hop's own means."""

    id: str
    """What tells two deliveries of one notification from two notifications."""
    subject: str
    text: str
    fields: tuple[str, ...]
    """Names of all headers, in order: the structure that no text may change."""


def make_notification(**fields: Any) -> Notification:
    """Return an ordinary failure message, with some fields replaced."""
    plain = Notification(
        id="9f86d081884c7d659a2feaa0c55ad015",
        subject="Backup of home failed",
        text="The disk is full.\n\nNothing was stored.",
        urgency=Urgency.FAILURE,
        created_at=datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC),
        facts=(("job", "home"), ("run", "abc")),
    )
    return evolve(plain, **fields)


def everything_said_by(error: BaseException) -> str:
    """Return all that an error and the errors behind it would show in a log."""
    said = ["".join(traceback.format_exception(error))]
    seen: list[BaseException | None] = [error]
    while seen:
        if (current := seen.pop()) is not None:
            said += [str(current), repr(current), repr(current.args), repr(vars(current))]
            seen += [current.__cause__, current.__context__]
    return "\n".join(said)


class NotifierContract:
    """Inherit it, supply the fixtures; `received` is what a real next hop on this machine got."""

    @pytest.fixture
    def notifier(self) -> Notifier:
        """A notifier whose next hop works."""
        raise NotImplementedError

    @pytest.fixture
    def received(self) -> Callable[[], list[Received]]:
        """Returns everything that the next hop has accepted so far."""
        raise NotImplementedError

    @pytest.fixture
    def secret(self) -> str:
        """The secret that the notifier uses, to be found nowhere."""
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self) -> Notifier:
        """A notifier with the same secret whose next hop is not there."""
        raise NotImplementedError

    @pytest.fixture
    def refused(self) -> Notifier:
        """A notifier with the same secret whose next hop says no for good."""
        raise NotImplementedError

    def test_message_has_arrived_when_deliver_returns(
        self, notifier: Notifier, received: Callable[[], list[Received]]
    ) -> None:
        """Subject, text and every fact."""
        notifier.deliver(make_notification())
        [message] = received()
        assert message.subject == "Backup of home failed"
        assert "The disk is full.\n\nNothing was stored." in message.text
        assert "home" in message.text
        assert "abc" in message.text

    def test_the_same_notification_has_the_same_id(
        self, notifier: Notifier, received: Callable[[], list[Received]]
    ) -> None:
        """A receiver can drop the second; another notification has another."""
        for _ in range(2):
            notifier.deliver(make_notification())
        notifier.deliver(make_notification(id="another"))
        first, second, other = (message.id for message in received())
        assert first == second
        assert first != other

    @pytest.mark.parametrize("hostile", HOSTILE_TEXTS)
    def test_no_text_becomes_structure(
        self, notifier: Notifier, received: Callable[[], list[Received]], hostile: str
    ) -> None:
        """Whatever a name holds, the headers are the same and a line of text is one line."""
        notifier.deliver(make_notification())
        notifier.deliver(
            make_notification(
                id=hostile, subject=hostile, facts=((hostile, "value"), ("name", hostile))
            )
        )
        plain, message = received()
        assert message.fields == plain.fields
        assert message.subject.isprintable()
        assert message.id.isprintable()
        assert message.id != plain.id
        assert len(message.text.splitlines()) == len(plain.text.splitlines())
        assert all(line.isprintable() for line in message.text.splitlines())

    @pytest.mark.parametrize("hostile", HOSTILE_TEXTS)
    def test_any_text_arrives_without_control_characters(
        self, notifier: Notifier, received: Callable[[], list[Received]], hostile: str
    ) -> None:
        """Line ends stay line ends; the rest is written out."""
        notifier.deliver(make_notification(text=f"before\n{hostile}\nafter"))
        [message] = received()
        assert message.text.startswith("before\n")
        assert "\nafter" in message.text
        assert all(line.isprintable() for line in message.text.split("\n"))

    def test_several_threads_may_deliver(
        self, notifier: Notifier, received: Callable[[], list[Received]]
    ) -> None:
        """Nothing is lost or mixed."""

        def deliver(number: int) -> None:
            notifier.deliver(
                make_notification(
                    id=f"n{number}", subject=f"subject {number}", text=f"text {number}"
                )
            )

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(deliver, range(8)))
        numbers = [message.subject.removeprefix("subject ") for message in received()]
        assert sorted(numbers) == [str(number) for number in range(8)]
        for message in received():
            assert message.text.startswith(message.subject.replace("subject", "text"))

    def test_next_hop_that_is_away_is_worth_another_try(
        self, unreachable: Notifier, secret: str
    ) -> None:
        """The error says so, in one line without the secret."""
        with pytest.raises(DeliveryError) as caught:
            unreachable.deliver(make_notification())
        assert caught.value.is_retryable
        assert_keeps_quiet(caught.value, secret)

    def test_refusal_is_final(self, refused: Notifier, secret: str) -> None:
        """The error says so, in one line without the secret."""
        with pytest.raises(DeliveryError) as caught:
            refused.deliver(make_notification())
        assert not caught.value.is_retryable
        assert_keeps_quiet(caught.value, secret)

    def test_notifier_does_not_show_its_secret(self, notifier: Notifier, secret: str) -> None:
        """Also after it was used."""
        notifier.deliver(make_notification())
        assert secret not in repr(notifier)


def assert_keeps_quiet(error: DeliveryError, secret: str) -> None:
    """Check that the message is one printable line and nothing of the error holds ``secret``."""
    assert error.message.isprintable()
    assert error.message
    assert not error.message.endswith(".")
    assert secret not in everything_said_by(error)
