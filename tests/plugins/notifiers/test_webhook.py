import hashlib
import hmac
import http.server
import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.codec import from_plain
from backapp_core.errors import DeliveryError, InvalidSettings
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_core.testing.notifier_contract import (
    NotifierContract,
    Received,
    assert_keeps_quiet,
    make_notification,
)
from backapp_plugins.notifiers import webhook
from backapp_plugins.notifiers.webhook.settings import WebhookSettings


class Receiver(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.status = 204
        self.headers = {}
        self.body = b""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers, body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_HEAD = do_POST  # noqa: N815  # http.server's names

    def log_message(self, *args):
        pass


def serve(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver():
    yield from serve(Receiver())


@pytest.fixture
def other_receiver():
    yield from serve(Receiver())


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def open_at(tmp_path, secret_file, clock):
    def open_at(url, **settings):
        [kind] = webhook.backapp_notifiers()
        made = kind.settings(
            **{"url": url, "secret_file": secret_file, "timeout_seconds": 20, **settings}
        )
        return kind.open(made, make_surroundings(tmp_path, clock=clock))

    return open_at


class TestWebhook(NotifierContract):
    @pytest.fixture
    def secret(self):
        return "canary-S3cr3t-7f3a"

    @pytest.fixture
    def notifier(self, open_at, receiver):
        return open_at(receiver.url)

    @pytest.fixture
    def received(self, receiver):
        def received():
            found = []
            for _, headers, body in receiver.requests:
                content = json.loads(body)
                lines = [
                    content["text"],
                    *(f"{name}: {value}" for name, value in content["facts"].items()),
                ]
                names = tuple(headers.keys())
                found.append(
                    Received(headers["X-BackApp-Id"], content["subject"], "\n".join(lines), names)
                )
            return found

        return received

    @pytest.fixture
    def unreachable(self, open_at, free_port):
        return open_at(f"http://127.0.0.1:{free_port}/")

    @pytest.fixture
    def refused(self, open_at, receiver):
        receiver.status = 403
        return open_at(receiver.url)


def test_body_is_json_with_everything(open_at, receiver):
    open_at(receiver.url + "?to=me").deliver(make_notification())
    [(path, headers, body)] = receiver.requests
    assert path == "/hook?to=me"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "id": "9f86d081884c7d659a2feaa0c55ad015",
        "subject": "Backup of home failed",
        "text": "The disk is full.\n\nNothing was stored.",
        "urgency": "failure",
        "created_at": "2026-03-29T01:02:03+00:00",
        "facts": {"job": "home", "run": "abc"},
    }


def verification_snippets():
    texts = [webhook.__doc__]
    page = Path(__file__).parents[3] / "docs" / "reference" / "roles" / "notifier.md"
    texts.append(page.read_text())
    for text in texts:
        [found] = re.findall(r"(?m)^ *signed = .*\n *expected = .*\n *is_genuine = .*$", text)
        yield "\n".join(line.strip() for line in found.splitlines())


@pytest.mark.parametrize("snippet", list(verification_snippets()), ids=["docstring", "page"])
def test_documented_verification_accepts_ours_and_refuses_others(
    snippet, open_at, receiver, secret, clock
):
    def is_genuine(headers, body, secret):
        names = {
            "headers": headers,
            "body": body,
            "secret": secret,
            "hmac": hmac,
            "hashlib": hashlib,
        }
        exec(snippet, names)
        return names["is_genuine"]

    open_at(receiver.url).deliver(make_notification(text="ünï"))
    [(_, headers, body)] = receiver.requests
    assert int(headers["X-BackApp-Timestamp"]) == int(clock.now().timestamp())
    assert is_genuine(headers, body, secret)
    assert not is_genuine(headers, body + b" ", secret)
    assert not is_genuine(headers, body, secret + "x")
    del headers["X-BackApp-Timestamp"]
    headers["X-BackApp-Timestamp"] = "0"
    assert not is_genuine(headers, body, secret)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_means_delivered(open_at, receiver, status):
    receiver.status = status
    open_at(receiver.url).deliver(make_notification())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("status", "is_retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (410, False),
        (408, True),
        (429, True),
        (500, True),
        (503, True),
    ],
)
def test_other_answers_say_whether_to_try_again(open_at, receiver, status, is_retryable):
    receiver.status = status
    with pytest.raises(DeliveryError, match=f"answered {status}") as caught:
        open_at(receiver.url).deliver(make_notification())
    assert caught.value.is_retryable is is_retryable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(open_at, receiver, other_receiver, status):
    receiver.status = status
    receiver.headers = {"Location": other_receiver.url}
    with pytest.raises(DeliveryError, match="redirects are not followed") as caught:
        open_at(receiver.url).deliver(make_notification())
    assert not caught.value.is_retryable
    assert (len(receiver.requests), len(other_receiver.requests)) == (1, 0)


def test_endless_answer_is_not_read_to_its_end(open_at):
    """The connection is gone long before the receiver has sent all it wants to."""
    sent = []

    def answer(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    with Listening(answer) as url:
        open_at(url).deliver(make_notification())
    assert sum(sent) < 64 * 1024 * 1024


class Listening:
    """Accept connections and let ``answer`` talk to each until it raises."""

    def __init__(self, answer):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            connection, _ = self.socket.accept()
            with connection:
                self.answer(connection)
        except OSError:
            return

    def __enter__(self):
        self.thread.start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/"

    def __exit__(self, *failure):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(60)
        self.socket.close()
        assert not self.thread.is_alive()


def test_silent_receiver_is_given_up(open_at, secret):
    def only_listen(connection):
        while connection.recv(65536):
            pass

    with (
        Listening(only_listen) as url,
        pytest.raises(DeliveryError, match="timed out") as caught,
    ):
        open_at(url, timeout_seconds=0.2).deliver(make_notification())
    assert caught.value.is_retryable
    assert_keeps_quiet(caught.value, secret)


@pytest.mark.parametrize(
    ("begin", "is_delivered"), [(b"HTTP/1.1 2", False), (b"HTTP/1.1 200 OK\r\n", True)]
)
def test_answer_that_drips_is_given_up_as_a_whole(open_at, begin, is_delivered):
    """Each byte comes in time; only the sum does not. Once the status is there, it decides."""

    def drip(connection):
        connection.recv(65536)
        connection.sendall(begin)
        while True:
            connection.sendall(b"X: y\r\n" if is_delivered else b"0")
            time.sleep(0.1)

    with Listening(drip) as url:
        notifier = open_at(url, timeout_seconds=0.4)
        if is_delivered:
            notifier.deliver(make_notification())
        else:
            with pytest.raises(DeliveryError, match="timed out") as caught:
                notifier.deliver(make_notification())
            assert caught.value.is_retryable


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"\xff" * 70_000]
)
def test_answer_that_is_no_http_is_an_error(open_at, secret, answer):
    def say(connection):
        connection.recv(65536)
        connection.sendall(answer)

    with Listening(say) as url, pytest.raises(DeliveryError) as caught:
        open_at(url).deliver(make_notification())
    assert caught.value.is_retryable
    assert_keeps_quiet(caught.value, secret)


def test_error_shows_the_address_without_its_query(open_at, receiver):
    receiver.status = 400
    notifier = open_at(receiver.url + "?token=canary")
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(make_notification())
    assert receiver.url in caught.value.message
    assert_keeps_quiet(caught.value, "canary")


def test_https_is_verified_against_the_given_authority(
    open_at, receiver, certificates, strange_certificates
):
    receiver.socket = certificates.server_context().wrap_socket(receiver.socket, server_side=True)
    url = receiver.url.replace("http:", "https:")
    open_at(url, ca_file=certificates.ca_file).deliver(make_notification())
    assert len(receiver.requests) == 1
    for ca_file in ("", strange_certificates.ca_file):
        with pytest.raises(DeliveryError, match="is not trusted") as caught:
            open_at(url, ca_file=ca_file).deliver(make_notification())
        assert not caught.value.is_retryable
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_unusable_ca_file_is_named(open_at, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeliveryError, match=re.escape(str(path))):
        open_at("https://127.0.0.1:1/", ca_file=str(path)).deliver(make_notification())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o677])
def test_secret_file_that_others_may_use_is_refused(open_at, receiver, secret_file, secret, mode):
    Path(secret_file).chmod(mode)
    with pytest.raises(DeliveryError, match="chmod 600") as caught:
        open_at(receiver.url).deliver(make_notification())
    assert_keeps_quiet(caught.value, secret)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/",
        "file:///etc/passwd",
        "//host/",
        "host",
        "http://",
        "http:///x",
        "http://:80/",
        "http://h:0/",
        "http://h:x/",
        "http://h:70000/",
        "http://h/#part",
        "http://h/a b",
        "http://h/\r\nX: y",
        "http://h/\u2028",
        "http://h\0/",
        "javascript:alert(1)",
        "http://[::1/",
        "https://user@h/",
        "https://user:canary@h/",
        "https://:canary@h/",
    ],
)
def test_impossible_address_is_refused(url):
    with pytest.raises(InvalidSettings) as caught:
        WebhookSettings(url=url, secret_file="/s")
    assert [path for path, _ in caught.value.faults] == ["url"]
    assert caught.value.message.isprintable()
    assert "canary" not in caught.value.message


def test_every_fault_of_the_settings_is_listed():
    with pytest.raises(InvalidSettings) as caught:
        from_plain(
            {"url": "x", "secret_file": "", "timeout_seconds": 0},
            WebhookSettings,
            source="settings",
        )
    assert [path for path, _ in caught.value.faults] == ["url", "secret_file", "timeout_seconds"]


@pytest.mark.parametrize("seconds", [0, -1, 601, float("inf"), float("nan")])
def test_impossible_timeout_is_refused(seconds):
    good = WebhookSettings(url="https://h/", secret_file="/s")
    with pytest.raises(InvalidSettings):
        evolve(good, timeout_seconds=seconds)
