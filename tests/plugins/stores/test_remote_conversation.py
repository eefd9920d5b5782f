"""What an agent makes of answers, faults and silence, on real sockets."""

import json
import logging
import socket
import ssl
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import certificate_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.sync.server import serve

from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.errors import (
    AgentRevoked,
    GrantRefused,
    InputError,
    InvalidAddress,
    LeaseLost,
    RepositoryNotFound,
    RunNotFound,
    StoreUnavailable,
    TokenRefused,
)
from backapp_core.manager import PluginManager
from backapp_core.model.agents import AgentReport
from backapp_core.model.work import Hold
from backapp_core.ports.pauses import Pauses
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_plugins.stores import remote
from backapp_plugins.stores.remote import conversation
from backapp_plugins.stores.remote.conversation import Conversation
from backapp_plugins.stores.remote.listening import listening
from backapp_plugins.stores.remote.servers import parse_server
from backapp_web import serving

KEY = "backapp_agent_" + "5ec4e7" * 10
ORDERS = {"now": "2026-01-01T00:00:00+00:00", "has_work": False, "has_questions": False}
REPORT = AgentReport("a" * 32, "1", "host", "Linux")


class Script:
    """A server that answers what it is told to, one answer after another, the last for good."""

    def __init__(self):
        self.answers, self.asked = [], []
        self._scheme = "http"
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                script.asked.append((self.path, dict(self.headers), body))
                answers = script.answers
                status, answer, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                if status == 0:  # no answer at all
                    self.close_connection = True
                    return
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self):
                self.do_POST()

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, *answers):
        self.answers[:] = [(*one, {}) if len(one) == 2 else one for one in answers]

    def speak_tls(self, context):
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *arguments: None  # somebody hangs up, on purpose
        self._scheme = "https"

    @property
    def url(self):
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def script():
    script = Script()
    yield script
    script.close()


@pytest.fixture
def surroundings(tmp_path):
    return make_surroundings(tmp_path, clock=FrozenClock())


@pytest.fixture
def work(script, surroundings):
    with remote.open_work(script.url, KEY, surroundings) as work:
        yield work


def problem(name, detail="it is so"):
    return {"type": f"urn:backapp:error:{name}", "title": name, "status": 409, "detail": detail}


def test_answer_is_read_and_the_key_stands_in_its_header(script, work):
    script.answer((200, ORDERS))
    assert not work.hello(REPORT, alive_seconds=60).has_work
    ((path, headers, body),) = script.asked
    assert path == "/api/v1/agent/hello"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(body)["report"]["hostname"] == "host"


def test_nothing_to_do_is_none(script, work):
    script.answer((204, b""))
    assert work.claim("a" * 32, lease_seconds=10) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("LeaseLost", LeaseLost), ("AgentRevoked", AgentRevoked), ("TokenRefused", TokenRefused)],
)
def test_problem_becomes_the_error_that_it_names(script, work, name, kind):
    script.answer((409, problem(name)))
    with pytest.raises(kind, match="it is so"):
        work.renew("b" * 32, 1, lease_seconds=10)
    assert len(script.asked) == 1


@pytest.mark.parametrize("name", ["SystemExit", "RunCancelled", "StoreTooNew", ""])
def test_server_cannot_choose_any_error(script, work, name):
    script.answer((400, problem(name)))
    with pytest.raises(InputError, match="status 400: it is so"):
        work.goodbye("a" * 32)


def test_sentence_of_a_server_cannot_break_a_line(script, work):
    script.answer((409, problem("LeaseLost", "one\ntwo\x1b[2J" + "x" * 10_000)))
    with pytest.raises(LeaseLost) as caught:
        work.goodbye("a" * 32)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_server_is_asked_again(script, work, status):
    script.answer((status, b"busy"), (status, b"busy"), (200, ORDERS))
    work.hello(REPORT, alive_seconds=60)
    assert len(script.asked) == 3


def test_server_that_wants_to_be_left_alone_is_left_alone(script, work, surroundings):
    before = surroundings.clock.monotonic_seconds()
    script.answer((503, b"", {"retry-after": "7"}), (200, ORDERS))
    work.hello(REPORT, alive_seconds=60)
    assert surroundings.clock.monotonic_seconds() - before >= 7


def test_lost_answer_is_asked_for_again_where_that_is_safe(script, work):
    script.answer((0, b""), (200, ORDERS))
    work.hello(REPORT, alive_seconds=60)
    assert len(script.asked) == 2


def test_renewal_that_must_be_answered_in_time_is_asked_for_once(script, work):
    script.answer((0, b""))
    with pytest.raises(StoreUnavailable):
        work.renew("b" * 32, 1, lease_seconds=10, within_seconds=30)
    assert len(script.asked) == 1


@pytest.mark.parametrize("listens", [True, False])
def test_renewal_is_not_waited_for_longer_than_there_is_time(surroundings, listens):
    """By a server that takes connections and says nothing, or whose queue of them is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        host, port = server.getsockname()
        if not listens:
            for _ in range(3):
                one = stack.enter_context(socket.socket())
                one.settimeout(0)
                one.connect_ex((host, port))
        work = stack.enter_context(remote.open_work(f"http://{host}:{port}", KEY, surroundings))
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            work.renew("b" * 32, 1, lease_seconds=10, within_seconds=0.2)


@pytest.mark.parametrize("status", [0, 502, 504])
def test_claim_whose_answer_is_lost_is_not_repeated(script, work, status):
    script.answer((status, b""))
    with pytest.raises(StoreUnavailable):
        work.claim("a" * 32, lease_seconds=10)
    assert len(script.asked) == 1


def test_who_wishes_to_stop_does_not_wait_for_a_server(script, work, surroundings):
    surroundings.cancel.cancel()
    script.answer((503, b"", {"retry-after": "60"}))
    with pytest.raises(StoreUnavailable):
        work.goodbye("a" * 32)
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>", b"[" * 100_000, b'{"now": 1}', b'{"now": NaN}', b"\xff", b'"text"', b"null"),
        b'{"now": "\xff"}',
    ],
    ids=["html", "deep", "wrong", "nan", "bytes", "text", "nothing", "bytes in text"],
)
@pytest.mark.parametrize("status", [200, 500])
def test_answer_that_makes_no_sense_is_an_error_of_the_server(script, work, body, status):
    script.answer((status, body))
    with pytest.raises(StoreUnavailable):
        work.hello(REPORT, alive_seconds=60)


@pytest.mark.parametrize(
    ("status", "body"), [(302, b""), (307, b"<html>"), (200, b"<html>"), (203, b"Please log in")]
)
def test_what_somebody_between_says_is_not_taken_for_the_server_s_consent(
    script, work, status, body
):
    """Where no more than that is waited for: what is told once would be lost."""
    script.answer((status, body, {"location": f"{script.url}/login"}))
    with pytest.raises(StoreUnavailable):
        work.report("b" * 32, 1, [])
    with pytest.raises(StoreUnavailable):
        work.hand_back("b" * 32, 1)
    assert len(script.asked) == 2


def test_answer_without_end_is_cut_off(script, work):
    script.answer((200, b" " * (5 << 20)))
    with pytest.raises(StoreUnavailable, match="more than"):
        work.hello(REPORT, alive_seconds=60)


def test_redirection_is_not_followed_since_the_key_would_go_elsewhere(script, work):
    script.answer((307, b"", {"location": f"{script.url}/elsewhere"}))
    with pytest.raises(StoreUnavailable):
        work.hello(REPORT, alive_seconds=60)
    assert [path for path, _, _ in script.asked] == ["/api/v1/agent/hello"]


def test_unreachable_server_is_said_by_name(script, surroundings):
    script.close()
    with (
        remote.open_work(script.url, KEY, surroundings) as work,
        pytest.raises(StoreUnavailable, match=rf"{script.url} cannot be reached"),
    ):
        work.goodbye("a" * 32)


def test_key_is_in_no_log_and_no_repr(script, work, caplog):
    caplog.set_level(logging.DEBUG)
    script.answer((200, ORDERS))
    work.hello(REPORT, alive_seconds=60)
    assert KEY not in caplog.text
    assert KEY not in repr(work)


def test_report_that_is_too_large_goes_in_parts(script, work):
    from backapp_core.events import Level, LogLine

    script.answer((204, b""))
    events = [(datetime(2026, 1, 1, tzinfo=UTC), LogLine(Level.INFO, "x" * (1 << 20)))] * 5
    work.report("b" * 32, 1, events)
    sent = [json.loads(body)["events"] for _, _, body in script.asked]
    assert sum(map(len, sent)) == 5
    assert len(sent) > 1


def test_text_that_is_no_unicode_arrives_as_an_escape(script, work):
    from backapp_core.events import Level, LogLine

    script.answer((204, b""))
    work.report("b" * 32, 1, [(datetime(2026, 1, 1, tzinfo=UTC), LogLine(Level.INFO, "a\0\udcff"))])
    ((_, _, body),) = script.asked
    assert json.loads(body)["events"][0][1]["text"] == "a\\x00\\udcff"


def test_what_changes_something_says_under_which_run(script, work):
    granted = {"requests": [], "issued_at": "2026-01-01T00:00:00+00:00"}
    for hold, told in ((Hold("b" * 32, 7), {"run_id": "b" * 32, "fence": 7}), (None, None)):
        issuer = work.grants_for(hold)
        script.asked.clear()
        script.answer((200, granted))
        issuer.grant_writes("a" * 32, [])
        issuer.grant_deletes("a" * 32, [])
        issuer.grant_parts("a" * 32, "data/x", "upload", [], 1)
        script.answer((200, {"upload": "upload"}))
        issuer.begin_upload("a" * 32, "data/x")
        script.answer((200, {"name": "data/x", "size_bytes": 1, "modified_at": None}))
        issuer.complete_upload("a" * 32, "data/x", "upload", [(1, "tag")])
        assert [json.loads(body)["hold"] for _, _, body in script.asked] == [told] * 5


@pytest.mark.parametrize("name", ["", "../x", "a" * 33, "\udcff", "%2e%2e"])
def test_id_that_is_none_gets_into_no_path(script, work, name):
    with pytest.raises(RunNotFound):
        work.renew(name, 1, lease_seconds=10)
    with pytest.raises(RepositoryNotFound):
        work.repository(name)
    with pytest.raises(GrantRefused):
        work.grants_for(None).grant_reads(name, ["config"])
    assert script.asked == []


# --- TLS


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that signs itself; both in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "server.pem"
    path.write_bytes(
        certificate_of(key) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def test_server_is_believed_only_with_a_certificate_that_is_trusted(
    script, surroundings, certificate, monkeypatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    script.speak_tls(context)
    script.answer((200, ORDERS))
    with (
        remote.open_work(script.url, KEY, surroundings) as work,
        pytest.raises(StoreUnavailable, match=r"certificate.*SSL_CERT_FILE"),
    ):
        work.hello(REPORT, alive_seconds=60)
    assert script.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with remote.open_work(script.url, KEY, surroundings) as work:
        assert not work.hello(REPORT, alive_seconds=60).has_work


# --- addresses


@pytest.mark.parametrize(
    ("url", "origin", "folder"),
    [
        ("https://backup.example.org", "https://backup.example.org", ""),
        ("https://backup.example.org:8443/backapp/", "https://backup.example.org:8443", "/backapp"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ""),
        ("http://localhost", "http://localhost", ""),
        ("http://[::1]:80", "http://[::1]:80", ""),
        ("http://nas.lan:8080?insecure=yes", "http://nas.lan:8080", ""),
    ],
)
def test_address_of_a_server_is_understood(url, origin, folder):
    server = parse_server(url)
    assert (server.origin, server.folder) == (origin, folder)


@pytest.mark.parametrize(
    "url",
    [
        *("http://backup.example.org", "http://10.0.0.1", "http://127.0.0.1.example.org"),
        *("https://user:secret@host", "https://", "https://host/#x", "https://host?x=1"),
        *("ftp://host", "https://host:99999", "https://ho st", "http://nas?insecure=no"),
    ],
)
def test_address_that_gives_the_key_away_or_makes_no_sense_is_refused(url):
    with pytest.raises(InvalidAddress) as caught:
        parse_server(url)
    assert "secret" not in caught.value.message


def test_store_of_jobs_is_refused_with_a_way_out(surroundings):
    kind = PluginManager([("remote", "", remote)]).store_for("https")
    with pytest.raises(InputError, match="backapp agent enrol"):
        kind.open("https://backup.example.org", surroundings)


# --- being woken


class Bell:
    """Remembers by what it was woken."""

    def __init__(self):
        self.woken = []
        self._rung = threading.Condition()

    def __call__(self, topic, subject_id):
        with self._rung:
            self.woken.append((topic, subject_id))
            self._rung.notify_all()

    def wait_for(self, *woken):
        with self._rung:
            assert self._rung.wait_for(lambda: set(woken) <= set(self.woken), timeout=20)


@pytest.fixture
def talking():
    """Start a WebSocket server that does with each connection what a function does."""
    running = []

    def start(handler, port=0):
        server = serve(handler, "127.0.0.1", port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()


QUICK = Pauses(first_seconds=0.02, longest_seconds=0.05)


def test_messages_of_the_server_wake(talking, surroundings):
    keys = []

    def handler(connection):
        keys.append(connection.request.headers["Authorization"])
        assert connection.request.path == "/api/v1/agent/socket"
        connection.send('{"topic": "work", "subject_id": ""}')
        connection.send('{"topic": "cancel", "subject_id": "abc"}')
        connection.recv(timeout=20)

    bell = Bell()
    with listening(parse_server(talking(handler)), KEY, surroundings, bell, pauses=QUICK):
        bell.wait_for(("all", ""), ("work", ""), ("cancel", "abc"))
    assert keys == [f"Bearer {KEY}"]


def test_lost_connection_is_made_again_and_tells_that_something_may_be_missed(
    talking, surroundings
):
    count = []

    def handler(connection):
        count.append(1)
        if len(count) < 3:
            return  # hangs up
        connection.send('{"topic": "questions", "subject_id": ""}')
        connection.recv(timeout=20)

    bell = Bell()
    with listening(parse_server(talking(handler)), KEY, surroundings, bell, pauses=QUICK):
        bell.wait_for(("questions", ""))
    assert bell.woken.count(("all", "")) >= 3


@pytest.mark.parametrize(
    "message",
    ["no json", "[" * 60_000, '{"topic": 1}', b"\xff", b'{"topic": "\xff"}', "x" * 100_000],
    ids=range(6),
)
def test_message_that_makes_no_sense_wakes_nobody_and_ends_nothing(talking, surroundings, message):
    def handler(connection):
        connection.send(message)
        connection.send('{"topic": "work", "subject_id": ""}')
        connection.recv(timeout=20)

    def sane(connection):
        connection.send('{"topic": "work", "subject_id": "after"}')
        connection.recv(timeout=20)

    handlers = iter([handler])
    bell = Bell()

    def first_then_sane(connection):
        next(handlers, sane)(connection)

    url = talking(first_then_sane)
    with listening(parse_server(url), KEY, surroundings, bell, pauses=QUICK):
        bell.wait_for(("work", "after") if len(message) == 100_000 else ("work", ""))
    assert {topic for topic, _ in bell.woken} <= {"all", "work"}


def test_listener_without_a_server_ends_when_it_is_left(surroundings, script):
    script.close()
    with listening(parse_server(script.url), KEY, surroundings, Bell(), pauses=QUICK):
        pass
    assert not [one for one in threading.enumerate() if one.name == "backapp-listen"]
    Conversation(parse_server(script.url), KEY, surroundings).close()


def test_connection_lasts_from_one_hello_to_the_next_and_the_server_does_not_end_it_first():
    """What the server ends just when something is sent cannot be told from a lost answer."""
    assert AgentLimits().hello_seconds < conversation._IDLE_SECONDS < serving._IDLE_SECONDS
