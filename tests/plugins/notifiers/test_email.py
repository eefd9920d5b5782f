import email
import email.policy
import re
import socket
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from attrs import evolve

from backapp_core.codec import from_plain
from backapp_core.errors import DeliveryError, InvalidSettings
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.notifier_contract import (
    NotifierContract,
    Received,
    assert_keeps_quiet,
    make_notification,
)
from backapp_plugins.notifiers import email as email_plugin
from backapp_plugins.notifiers.email.settings import EmailSettings, Security


class Mailbox:
    """What a mail server does with messages, and what it has taken."""

    def __init__(self):
        self.envelopes = []
        self.logins = []
        self.refused = {}
        self.data_answer = "250 OK"

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server, session, envelope, address, options
    ):
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # aiosmtpd's name
        if self.data_answer.startswith("250"):
            self.envelopes.append(envelope)
        return self.data_answer


class MailServer(Controller):
    """aiosmtpd on a free port; its answer to a wrong password repeats what was sent."""

    def __init__(
        self, mailbox, *, password, context=None, is_tls=False, offers_starttls=True, **options
    ):
        def authenticate(server, session, envelope, mechanism, data):
            mailbox.logins.append(mechanism)
            if (data.login, data.password) == (b"backup", password.encode()):
                return AuthResult(success=True)
            text = f"535 5.7.8 no such user {data.login!r} {data.password!r}"
            return AuthResult(success=False, handled=False, message=text)

        super().__init__(
            mailbox,
            hostname="127.0.0.1",
            port=0,
            ssl_context=context if is_tls else None,
            tls_context=context if offers_starttls and not is_tls else None,
            authenticator=authenticate,
            auth_require_tls=context is not None and not is_tls and offers_starttls,
            require_starttls=context is not None and not is_tls and offers_starttls,
            **options,
        )

    def _trigger_server(self):
        # The port is known only now.
        self.port = self.server.sockets[0].getsockname()[1]
        if self.ssl_context is None:
            super()._trigger_server()
        else:
            socket.create_connection(("127.0.0.1", self.port)).close()


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def start(mailbox, secret, certificates):
    started = []

    def start(**options):
        options = {"password": secret, "context": certificates.server_context(), **options}
        server = MailServer(mailbox, **options)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def open_at(tmp_path, secret_file, certificates):
    def open_at(port, **settings):
        [kind] = email_plugin.backapp_notifiers()
        plain = {
            "host": "127.0.0.1",
            "port": port,
            "sender": "backup@example.org",
            "recipients": ["ops@example.org"],
            "username": "backup",
            "password_file": secret_file,
            "timeout_seconds": 20,
            "ca_file": certificates.ca_file,
            **settings,
        }
        return kind.open(
            from_plain(plain, kind.settings, source="settings"), make_surroundings(tmp_path)
        )

    return open_at


def parsed(envelope):
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


class TestEmail(NotifierContract):
    @pytest.fixture
    def secret(self):
        return "canary-S3cr3t-7f3a"

    @pytest.fixture
    def notifier(self, open_at, start):
        return open_at(start().port)

    @pytest.fixture
    def received(self, mailbox):
        def received():
            return [
                Received(
                    message["Message-ID"],
                    message["Subject"],
                    message.get_content().replace("\r\n", "\n").removesuffix("\n"),
                    tuple(message.keys()),
                )
                for message in map(parsed, mailbox.envelopes)
            ]

        return received

    @pytest.fixture
    def unreachable(self, open_at, free_port):
        return open_at(free_port)

    @pytest.fixture
    def refused(self, open_at, start):
        return open_at(start(password="another").port)


def test_message_carries_what_a_mail_from_a_program_must(open_at, start, mailbox):
    open_at(start().port, recipients=["a@example.org", "b@example.org"]).deliver(
        make_notification()
    )
    [envelope] = mailbox.envelopes
    assert envelope.mail_from == "backup@example.org"
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    message = parsed(envelope)
    assert message["From"] == "backup@example.org"
    assert message["To"] == "a@example.org, b@example.org"
    assert message["Message-ID"] == "<9f86d081884c7d659a2feaa0c55ad015@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(message["Date"]) == datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC)
    assert message["X-BackApp-Urgency"] == "failure"
    assert message.get_content().splitlines()[-2:] == ["job: home", "run: abc"]
    for name in ("Message-ID", "Date", "From", "To", "Subject"):
        assert len(message.get_all(name)) == 1


def test_long_subject_in_any_script_arrives_whole(open_at, start, mailbox):
    subject = "Sicherung übersprungen: 東京のサーバー " * 6
    open_at(start().port).deliver(make_notification(subject=subject))
    [envelope] = mailbox.envelopes
    assert parsed(envelope)["Subject"] == subject.strip()
    assert all(len(line) <= 998 for line in envelope.content.split(b"\r\n"))


def test_login_happens_inside_encryption(open_at, start, mailbox):
    open_at(start().port).deliver(make_notification())
    assert mailbox.logins
    assert len(mailbox.envelopes) == 1


def test_tls_from_the_first_byte(open_at, start, mailbox):
    open_at(start(is_tls=True).port, security="tls").deliver(make_notification())
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_certificate_that_is_not_trusted_is_refused(
    open_at, start, mailbox, secret, security, certificates, strange_certificates
):
    ours = start(is_tls=security == "tls")
    elsewhere = start(is_tls=security == "tls", context=strange_certificates.server_context())
    for server, ca_file in [
        (ours, ""),
        (ours, strange_certificates.ca_file),
        (elsewhere, certificates.ca_file),
        (elsewhere, strange_certificates.ca_file),  # the authority is right, the name is another's
    ]:
        with pytest.raises(DeliveryError, match="is not trusted") as caught:
            open_at(server.port, security=security, ca_file=ca_file).deliver(make_notification())
        assert not caught.value.is_retryable
        assert_keeps_quiet(caught.value, secret)
    assert mailbox.envelopes == []
    assert mailbox.logins == []


def test_server_without_starttls_is_not_spoken_to(open_at, start, mailbox, secret):
    """As when somebody in between removes the offer."""
    server = start(offers_starttls=False)
    for login in ({}, {"username": "", "password_file": ""}):
        with pytest.raises(DeliveryError, match="offers no STARTTLS") as caught:
            open_at(server.port, **login).deliver(make_notification())
        assert not caught.value.is_retryable
        assert_keeps_quiet(caught.value, secret)
    assert mailbox.envelopes == []
    assert mailbox.logins == []


def test_wrong_password_is_final_and_not_repeated(open_at, start, mailbox, secret):
    """The server's answer repeats the password; ours does not."""
    server = start(password="another")
    with pytest.raises(DeliveryError, match=re.escape("refused the login (answer 535)")) as caught:
        open_at(server.port).deliver(make_notification())
    assert not caught.value.is_retryable
    assert_keeps_quiet(caught.value, secret)
    assert mailbox.logins
    assert mailbox.envelopes == []


def test_login_in_the_clear_goes_to_this_machine(open_at, start, mailbox):
    server = start(offers_starttls=False)
    open_at(server.port, security="none").deliver(make_notification())
    assert mailbox.logins
    assert len(mailbox.envelopes) == 1


def test_without_login_nothing_is_asked_of_a_local_relay(open_at, start, mailbox):
    server = start(offers_starttls=False)
    open_at(server.port, security="none", username="", password_file="").deliver(
        make_notification()
    )
    assert len(mailbox.envelopes) == 1
    assert mailbox.logins == []


@pytest.mark.parametrize(
    ("answer", "is_retryable"), [("550 no such user", False), ("451 try later", True)]
)
def test_refused_recipients_are_named(open_at, start, mailbox, secret, answer, is_retryable):
    mailbox.refused = {"ops@example.org": answer}
    with pytest.raises(
        DeliveryError, match=rf"refused ops@example.org \(answer {answer[:3]}\)"
    ) as caught:
        open_at(start().port).deliver(make_notification())
    assert caught.value.is_retryable is is_retryable
    assert_keeps_quiet(caught.value, secret)


def test_one_refused_recipient_of_two_is_told_and_not_tried_again(open_at, start, mailbox):
    """Trying again would reach the other one twice."""
    mailbox.refused = {"b@example.org": "451 try later"}
    notifier = open_at(start().port, recipients=["a@example.org", "b@example.org"])
    with pytest.raises(DeliveryError, match=r"b@example.org .* accepted the other") as caught:
        notifier.deliver(make_notification())
    assert not caught.value.is_retryable
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize(("answer", "is_retryable"), [("554 no", False), ("452 full\r\n", True)])
def test_refused_message_says_why(open_at, start, mailbox, secret, answer, is_retryable):
    mailbox.data_answer = answer
    with pytest.raises(DeliveryError, match=f"answered {answer.strip()}") as caught:
        open_at(start().port).deliver(make_notification())
    assert caught.value.is_retryable is is_retryable
    assert_keeps_quiet(caught.value, secret)


class Talking:
    """A server that says some lines and then behaves as told."""

    def __init__(self, *lines, closes):
        self.lines = lines
        self.closes = closes
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            connection, _ = self.socket.accept()
            with connection:
                for line in self.lines:
                    connection.sendall(line)
                    connection.recv(4096)
                while not self.closes and connection.recv(4096):
                    pass
        except OSError:
            return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(60)
        self.socket.close()
        assert not self.thread.is_alive()


@pytest.mark.parametrize(
    "lines", [(), (b"220 hi\r\n",), (b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n")]
)
def test_server_that_goes_away_or_falls_silent_is_worth_another_try(open_at, secret, lines):
    for closes in (True, False):
        with (
            Talking(*lines, closes=closes) as server,
            pytest.raises(DeliveryError) as caught,
        ):
            open_at(server.port, timeout_seconds=0.3).deliver(make_notification())
        assert caught.value.is_retryable
        assert_keeps_quiet(caught.value, secret)


@pytest.mark.parametrize(
    ("greeting", "is_retryable"), [(b"421 busy\r\n", True), (b"554 no\r\n", False)]
)
def test_server_that_does_not_want_us_is_believed(open_at, greeting, is_retryable):
    with (
        Talking(greeting, closes=True) as server,
        pytest.raises(DeliveryError, match=f"answered {greeting[:3].decode()}") as caught,
    ):
        open_at(server.port).deliver(make_notification())
    assert caught.value.is_retryable is is_retryable


def test_server_that_answers_in_control_characters_is_shown_without_them(open_at):
    with (
        Talking(b"554 \x1b[31mred\x07\r\n", closes=True) as server,
        pytest.raises(DeliveryError) as caught,
    ):
        open_at(server.port).deliver(make_notification())
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda path: path.chmod(0o640), "chmod 600"),
        (lambda path: path.chmod(0o604), "chmod 600"),
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text(""), "one line"),
        (lambda path: path.write_text("canary\ntwo"), "one line"),
        (lambda path: path.write_bytes(b"canary\xff"), "one line"),
        (lambda path: path.write_text("canary" * 1000), "longer than"),
        (lambda path: path.write_text("canarÿ"), "not ASCII"),
        (lambda path: (path.unlink(), path.mkdir(mode=0o700)), "not a regular file"),
    ],
)
def test_unusable_password_file_is_named_and_nothing_is_sent(
    open_at, start, mailbox, secret_file, prepare, said
):
    prepare(Path(secret_file))
    with pytest.raises(DeliveryError, match=said) as caught:
        open_at(start().port).deliver(make_notification())
    assert secret_file in caught.value.message
    assert not caught.value.is_retryable
    assert_keeps_quiet(caught.value, "canar")
    assert mailbox.logins == []


GOOD = EmailSettings(host="mail.example.org", sender="a@example.org", recipients=("b@example.org",))


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"host": ""}, ["host"]),
        ({"host": "a b"}, ["host"]),
        ({"host": "a\r\nQUIT"}, ["host"]),
        ({"sender": "a"}, ["sender"]),
        ({"sender": "a@b\r\nBcc: c@d"}, ["sender"]),
        ({"sender": "A <a@b>"}, ["sender"]),
        ({"recipients": ()}, ["recipients"]),
        ({"recipients": ("a@b", "x", "c@d,e@f")}, ["recipients[1]", "recipients[2]"]),
        ({"recipients": ("a@b>\nRCPT TO:<c@d",)}, ["recipients[0]"]),
        ({"port": 0}, ["port"]),
        ({"port": 65536}, ["port"]),
        ({"timeout_seconds": 0}, ["timeout_seconds"]),
        ({"timeout_seconds": float("nan")}, ["timeout_seconds"]),
        ({"username": "u"}, ["password_file"]),
        ({"password_file": "/p"}, ["password_file"]),
        ({"username": "u\r\n", "password_file": "/p"}, ["username"]),
        ({"username": "u", "password_file": "/p", "security": Security.NONE}, ["security"]),
        (
            {"host": "", "sender": "", "recipients": (), "port": -1},
            ["host", "sender", "recipients", "port"],
        ),
    ],
)
def test_impossible_settings_are_refused_with_every_fault(fields, paths):
    with pytest.raises(InvalidSettings) as caught:
        evolve(GOOD, **fields)
    assert [path for path, _ in caught.value.faults] == paths
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_login_in_the_clear_may_name_this_machine(host):
    evolve(GOOD, host=host, username="u", password_file="/p", security=Security.NONE)
