"""The S3 transport and a server that fails as it is told: what passes, and what is said of it."""

import base64
import contextlib
import email.utils
import hashlib
import itertools
import socket
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from attrs import define, evolve, field, frozen
from certificates import certificate_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backapp_core.errors import (
    AccessRefused,
    InputError,
    ObjectExists,
    ObjectMissing,
    PartMissing,
    RunCancelled,
    StorageFull,
    TransferCut,
    TransportUnavailable,
)
from backapp_core.events import LogLine, Recording
from backapp_core.model.enforcements import Enforcement
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_plugins.transports.s3 import S3Options, open_s3, parse_address

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LARGE = [b"x" * (1 << 20)] * 17


@frozen
class Refuse:
    """Answer with a status and a code, and do nothing."""

    status: int
    code: str = ""
    headers: dict = field(factory=dict)


@frozen
class Lose:
    """Do what is asked, if so, and break the connection instead of answering."""

    is_done: bool = True


@frozen
class Cut:
    """Send only so much of the content."""

    after_bytes: int


@frozen
class Say:
    """Answer with a body that somebody else made."""

    body: bytes
    status: int = 200
    headers: dict = field(factory=dict)


@define
class FakeS3:
    """What it holds, what it is to do wrong next, by operation, and what it was asked."""

    objects: dict = field(factory=dict)
    moments: dict = field(factory=dict)
    uploads: dict = field(factory=dict)
    faults: dict = field(factory=dict)
    always: dict = field(factory=dict)
    asked: list = field(factory=list)
    page_keys: int = 1000
    repeats_page: bool = False
    is_strict: bool = True
    """Whether it honours conditions and digests."""
    numbers: object = field(factory=lambda: itertools.count(1))
    lock: object = field(factory=threading.Lock)

    def fail(self, operation, *faults):
        self.faults[operation] = list(faults)

    def next_fault(self, operation):
        waiting = self.faults.get(operation)
        return waiting.pop(0) if waiting else self.always.get(operation)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def handle_any(self):
        parts = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        _, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        operation = self.operation()
        with self.fake.lock:
            self.fake.asked.append((operation, self.key, dict(self.headers)))
            fault = self.fake.next_fault(operation)
            self.is_lost = False
            self.cut_bytes = fault.after_bytes if isinstance(fault, Cut) else None
            if isinstance(fault, Refuse):
                return self.refuse(fault.status, fault.code, fault.headers)
            if isinstance(fault, Say):
                return self.answer(fault.status, fault.body, fault.headers)
            self.is_lost = isinstance(fault, Lose)
            if self.is_lost and not fault.is_done:
                return self.break_off()
            return getattr(self, operation)()

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815  # the server's names

    @property
    def fake(self):
        return self.server.fake

    def operation(self):
        if not self.key:
            if self.command == "PUT":
                return "create_bucket"
            return "list_uploads" if "uploads" in self.query else "list"
        if self.command == "POST":
            return "begin" if "uploads" in self.query else "complete"
        if "uploadId" in self.query:
            return {"PUT": "put_part", "DELETE": "abort", "GET": "list_parts"}[self.command]
        return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}[self.command]

    # --- what is done

    def create_bucket(self):
        self.answer(200)

    def put(self):
        if self.is_taken() or self.is_damaged():
            return None
        self.store(self.body)
        return self.answer(200, headers={"ETag": self.etag(self.body)})

    def store(self, data):
        self.fake.objects[self.key] = data
        self.fake.moments[self.key] = NOW

    def is_taken(self):
        wanted = self.headers.get("if-match")
        is_there = self.key in self.fake.objects
        if wanted is not None and (
            not is_there or self.etag(self.fake.objects[self.key]) != wanted
        ):
            self.refuse(412, "PreconditionFailed")
            return True
        if self.fake.is_strict and self.headers.get("if-none-match") == "*" and is_there:
            self.refuse(412, "PreconditionFailed")
            return True
        return False

    def is_damaged(self):
        said = self.headers.get("content-md5")
        digest = base64.b64encode(hashlib.md5(self.body).digest()).decode()
        if self.fake.is_strict and said != digest:
            self.refuse(400, "BadDigest")
            return True
        return False

    def get(self):
        data = self.fake.objects.get(self.key)
        if data is None:
            return self.refuse(404, "NoSuchKey")
        headers = {"ETag": self.etag(data), "Last-Modified": self.stored_at()}
        if self.headers.get("if-match", headers["ETag"]) != headers["ETag"]:
            return self.refuse(412, "PreconditionFailed")
        wanted = self.headers.get("range")
        if wanted is None:
            return self.answer(200, data, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        if not part:
            return self.refuse(416, "InvalidRange")
        return self.answer(206, part, headers)

    def head(self):
        data = self.fake.objects.get(self.key)
        if data is None:
            return self.answer(404)
        headers = {"ETag": self.etag(data), "Last-Modified": self.stored_at()}
        return self.answer(200, data, headers)

    def delete(self):
        self.fake.objects.pop(self.key, None)
        self.answer(204)

    def list(self):
        after = self.query.get("continuation-token", "")
        keys = sorted(
            key
            for key in self.fake.objects
            if key.startswith(self.query["prefix"]) and (self.fake.repeats_page or key > after)
        )
        page = keys[: self.fake.page_keys]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if page else ""
        is_cut = len(keys) > len(page)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.fake.objects[key])}</Size>"
            f"<ETag>x</ETag><LastModified>2026-01-01T00:00:00.500Z</LastModified></Contents>"
            for key in page
        )
        self.answer(
            200,
            f"<ListBucketResult><IsTruncated>{str(is_cut).lower()}</IsTruncated>"
            f"{more if is_cut else ''}{contents}</ListBucketResult>".encode(),
        )

    def list_uploads(self):
        self.answer(200, b"<ListMultipartUploadsResult></ListMultipartUploadsResult>")

    def begin(self):
        upload_id = f"upload-{next(self.fake.numbers)}"
        self.fake.uploads[upload_id] = {}
        self.answer(200, f"<R><UploadId>{upload_id}</UploadId></R>".encode())

    def put_part(self):
        if not self.is_damaged():
            parts = self.fake.uploads[self.query["uploadId"]]
            parts[int(self.query["partNumber"])] = self.body
            self.answer(200, headers={"ETag": self.etag(self.body)})

    def complete(self):
        parts = self.fake.uploads.get(self.query["uploadId"])
        if parts is None:
            self.refuse(404, "NoSuchUpload")
        elif not self.is_taken():
            del self.fake.uploads[self.query["uploadId"]]
            self.store(b"".join(parts[number] for number in sorted(parts)))
            self.answer(200, b"<CompleteMultipartUploadResult/>")

    def abort(self):
        self.fake.uploads.pop(self.query["uploadId"], None)
        self.answer(204)

    # --- how it is answered

    @staticmethod
    def etag(data):
        return f'"{hashlib.md5(data).hexdigest()}"'

    def stored_at(self):
        return email.utils.format_datetime(self.fake.moments[self.key], usegmt=True)

    def refuse(self, status, code, headers=()):
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode(), dict(headers))

    def answer(self, status, body=b"", headers=()):
        if self.is_lost:
            return self.break_off()
        self.send_response_only(status)
        date = {"Date": email.utils.format_datetime(NOW, usegmt=True)}
        for name, value in {**date, **dict(headers)}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body if self.cut_bytes is None else body[: self.cut_bytes])
        if self.cut_bytes is not None:
            self.break_off()
        return None

    def break_off(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def fake():
    return FakeS3()


@pytest.fixture
def endpoint(fake):
    with serving(fake) as endpoint:
        yield endpoint


@contextlib.contextmanager
def serving(fake, context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.fake = fake
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scheme = "http" if context is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def clock():
    return FrozenClock(NOW)


@pytest.fixture
def recording():
    return Recording()


@pytest.fixture
def cancel():
    return CancelToken()


@pytest.fixture
def opened(tmp_path, clock, cancel, recording, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    transports = []

    def opened(endpoint, **options):
        settings = evolve(
            parse_address(f"s3:{endpoint}/bucket/prefix"), options=S3Options(**options)
        )
        surroundings = make_surroundings(tmp_path, clock=clock, cancel=cancel, events=recording)
        transports.append(open_s3(settings, surroundings))
        return transports[-1]

    yield opened
    for transport in transports:
        transport.close()


@pytest.fixture
def transport(opened, endpoint):
    return opened(endpoint)


# --- what passes

CALLS = {
    "put": lambda transport: transport.put("new", [b"new"]),
    "get": lambda transport: transport.read("object", offset=1),
    "head": lambda transport: transport.stat("object").size_bytes,
    "list": lambda transport: [info.name for info in transport.list()],
    "delete": lambda transport: transport.delete("object"),
    "begin": lambda transport: transport.put("large", LARGE),
    "put_part": lambda transport: transport.put("large", LARGE),
    "complete": lambda transport: transport.put("large", LARGE),
    "list_uploads": lambda transport: transport.tidy(older_than_seconds=0),
}
ANSWERS = {
    "put": 3,
    "get": b"object"[1:],
    "head": 6,
    "list": ["object"],
    "delete": None,
    "list_uploads": 0,
    **dict.fromkeys(("begin", "put_part", "complete"), 17 << 20),
}
PASSING = [
    Refuse(503, "SlowDown"),
    Refuse(500, "InternalError"),
    Refuse(502),
    Refuse(429, "TooManyRequests"),
    Refuse(400, "RequestTimeout"),
    Lose(is_done=False),
]


@pytest.mark.parametrize("operation", CALLS)
def test_what_passes_is_waited_for(fake, transport, clock, operation):
    for fault in PASSING:
        fake.objects = {"prefix/object": b"object"}
        fake.moments = {"prefix/object": NOW}
        fake.fail(operation, fault, fault)
        before_seconds = clock.monotonic_seconds()
        assert CALLS[operation](transport) == ANSWERS[operation], fault
        assert 0 < clock.monotonic_seconds() - before_seconds < 10
        assert fake.faults[operation] == []
        assert fake.uploads == {}
        assert all(not key.startswith("prefix/.") for key in fake.objects)


@pytest.mark.parametrize("operation", CALLS)
def test_what_does_not_pass_ends_after_about_a_minute(fake, transport, clock, operation):
    for fault in (Refuse(503, "SlowDown"), Lose(is_done=False)):
        fake.objects = {"prefix/object": b"object"}
        fake.moments = {"prefix/object": NOW}
        fake.always[operation] = fault
        fake.asked.clear()
        before_seconds = clock.monotonic_seconds()
        with pytest.raises(TransportUnavailable) as raised:
            CALLS[operation](transport)
        assert raised.value.is_retryable
        assert "http://127.0.0.1" in raised.value.message
        assert "canary" not in raised.value.message
        assert [one for one, *_ in fake.asked].count(operation) == 7
        assert 20 < clock.monotonic_seconds() - before_seconds < 90
        assert fake.uploads == {}
        assert [*fake.objects] == ["prefix/object"]


def test_a_server_that_asks_for_time_is_given_it(fake, transport, clock):
    fake.fail("put", Refuse(503, "SlowDown", {"Retry-After": "30"}))
    transport.put("object", [b"x"])
    assert 30 <= clock.monotonic_seconds() < 31


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (Refuse(403, "AccessDenied"), AccessRefused, "s3:PutObject on bucket 'bucket'"),
        (Refuse(403, "InvalidAccessKeyId"), AccessRefused, "does not know the access key"),
        (Refuse(403, "SignatureDoesNotMatch"), AccessRefused, "signature wrong"),
        (Refuse(400, "ExpiredToken"), AccessRefused, "session token"),
        (Refuse(404, "NoSuchBucket"), TransportUnavailable, "there is no bucket 'bucket'"),
        (Refuse(400, "InvalidRequest"), AccessRefused, "InvalidRequest"),
        (Refuse(501, "NotImplemented"), AccessRefused, "NotImplemented"),
        (Refuse(507), StorageFull, "no room"),
        (Refuse(403, "QuotaExceeded"), StorageFull, "no room"),
        (
            Refuse(400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": "eu-west-1"}),
            AccessRefused,
            "it is in 'eu-west-1'",
        ),
    ],
    ids=str,
)
def test_what_asking_again_does_not_help_is_asked_once(fake, transport, fault, expected, words):
    fake.always["put"] = fault
    with pytest.raises(expected) as raised:
        transport.put("object", [b"x"])
    assert words in raised.value.message
    assert "canary" not in raised.value.message
    assert [one for one, *_ in fake.asked].count("put") == 1


def test_a_wrong_clock_is_told_with_both_times(fake, transport, clock):
    clock.set(NOW + timedelta(days=1))
    fake.always["list"] = Refuse(403, "RequestTimeTooSkewed")
    with pytest.raises(AccessRefused) as raised:
        transport.prepare()
    assert "clock is wrong" in raised.value.message
    assert "2026-01-02 00:00 UTC" in raised.value.message
    assert "2026-01-01 00:00 UTC" in raised.value.message


def test_a_wish_to_stop_ends_the_waiting_and_not_what_is_cleaned_up(fake, transport, cancel, clock):
    fake.objects["prefix/lock"], fake.moments["prefix/lock"] = b"lock", NOW
    fake.always["put"] = Refuse(503, "SlowDown")
    cancel.cancel()
    with pytest.raises(RunCancelled):
        transport.put("object", [b"x"])
    assert clock.monotonic_seconds() == 0
    transport.delete("lock")
    assert fake.objects == {}


# --- answers that are lost


@pytest.mark.parametrize("operation", ["put", "complete", "delete", "put_part", "begin", "abort"])
def test_an_answer_that_was_lost_is_no_failure(fake, transport, operation):
    fake.objects["prefix/old"], fake.moments["prefix/old"] = b"old", NOW
    fake.fail(operation, Lose())
    assert transport.put("small", [b"small"]) == 5
    assert transport.put("large", LARGE) == 17 << 20
    transport.delete("old")
    assert fake.objects == {"prefix/small": b"small", "prefix/large": b"".join(LARGE)}


def test_an_object_of_somebody_else_is_not_taken_for_ours(fake, transport):
    def body():
        yield b"mine!"
        fake.objects["prefix/object"], fake.moments["prefix/object"] = b"other", NOW

    fake.fail("put", Refuse(503, "SlowDown"))
    with pytest.raises(ObjectExists):
        transport.put("object", body())
    assert fake.objects == {"prefix/object": b"other"}


def test_an_object_that_was_there_before_is_not_taken_for_ours_though_it_is_equal(fake, transport):
    fake.objects["prefix/object"], fake.moments["prefix/object"] = b"same", NOW
    with pytest.raises(ObjectExists):
        transport.put("object", [b"same"])


def test_a_conflict_is_tried_again(fake, transport):
    fake.fail("put", *[Refuse(409, "ConditionalRequestConflict")] * 3)
    transport.put("object", [b"x"])
    assert fake.objects == {"prefix/object": b"x"}


def test_data_that_arrives_damaged_is_sent_again(fake, transport):
    fake.fail("put", Refuse(400, "BadDigest"))
    transport.put("object", [b"x"])
    fake.always["put"] = Refuse(400, "BadDigest")
    with pytest.raises(TransferCut):
        transport.put("other", [b"x"])
    assert fake.objects == {"prefix/object": b"x"}


def test_every_body_is_sent_with_its_length_and_its_digest(fake, transport):
    transport.put("small", iter([b"sm", b"all"]))
    transport.put("large", LARGE)
    for operation, _, headers in fake.asked:
        if operation in {"put", "put_part"}:
            assert headers["Content-Length"].isdigit()
            assert headers["Content-MD5"]
            assert "Transfer-Encoding" not in headers
            assert "aws-chunked" not in headers.get("Content-Encoding", "")


# --- content that is cut


def test_reading_goes_on_where_it_was_cut(fake, transport):
    data = bytes(range(256)) * 20_000
    fake.objects["prefix/object"], fake.moments["prefix/object"] = data, NOW
    fake.fail("get", Cut(3_000_000), Cut(0), Cut(100_000))
    assert transport.read("object") == data
    fake.fail("get", Cut(1_500_000))
    assert transport.read("object", offset=7, length_bytes=2_000_000) == data[7:2_000_007]
    resumed = [h for one, _, h in fake.asked if one == "get" and "If-Match" in h]
    assert len(resumed) == 4


def test_an_object_that_is_replaced_meanwhile_is_not_mixed(fake, transport):
    fake.objects["prefix/object"], fake.moments["prefix/object"] = b"a" * 3_000_000, NOW
    fake.fail("get", Cut(2_500_000))
    chunks = transport.get("object")
    next(chunks)
    fake.objects["prefix/object"] = b"b" * 3_000_000
    with pytest.raises(TransferCut):
        b"".join(chunks)


def test_content_that_is_always_cut_is_an_error(fake, transport):
    fake.objects["prefix/object"], fake.moments["prefix/object"] = b"x" * 100, NOW
    fake.always["get"] = Cut(0)
    chunks = transport.get("object")
    with pytest.raises(TransferCut, match="'object' came incompletely"):
        next(chunks)
    assert len(fake.asked) == 7


@pytest.mark.parametrize(
    "answer",
    [
        Say(b"<html>please log in</html>"),
        Say(b"x", 200, {"ETag": '"x"'}),
        Say(b"x", 206, {"ETag": '"x"', "Content-Encoding": "gzip"}),
        Say(b"too much", 206, {"ETag": '"x"'}),
    ],
    ids=str,
)
def test_what_something_in_between_answers_is_not_taken_for_the_object(fake, transport, answer):
    fake.always["get"] = answer
    with pytest.raises(TransferCut):
        transport.read("object", offset=1, length_bytes=1)


def test_a_page_instead_of_a_listing_is_an_error(fake, transport):
    fake.always["list"] = Say(b"<html><p>please log in</html>")
    with pytest.raises(TransportUnavailable, match="out of order"):
        [*transport.list()]


# --- listings


def test_a_listing_in_pages_is_complete(fake, transport):
    fake.page_keys = 3
    for number in range(10):
        name = f"prefix/{number}"
        fake.objects[name], fake.moments[name] = b"x", NOW
    assert [info.name for info in transport.list()] == [str(number) for number in range(10)]


def test_a_listing_that_goes_round_in_circles_is_stopped(fake, transport):
    fake.page_keys, fake.repeats_page = 1, True
    for name in ("prefix/a", "prefix/b"):
        fake.objects[name], fake.moments[name] = b"x", NOW
    with pytest.raises(TransportUnavailable, match="does not end"):
        [*transport.list()]


def test_a_page_without_a_name_is_not_the_end(fake, transport):
    """Some servers look through so many keys for one answer, whether or not they find any."""
    for name in ("prefix/a", "prefix/b"):
        fake.objects[name], fake.moments[name] = b"x", NOW
    nothing = Say(
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>0</NextContinuationToken></ListBucketResult>"
    )
    fake.fail("list", nothing, nothing)
    with pytest.raises(TransportUnavailable, match="does not end"):
        transport.list_after("", "", most=1000)
    fake.fail("list", nothing)
    page = transport.list_after("", "", most=1000)
    assert ([info.name for info in page.objects], page.next_after) == (["a", "b"], "")
    fake.fail("list", nothing)
    assert [info.name for info in transport.list()] == ["a", "b"]


def test_a_server_that_tells_no_uploads_is_no_reason_to_fail(fake, transport, recording):
    fake.always["list_uploads"] = Refuse(501, "NotImplemented")
    assert transport.tidy(older_than_seconds=0) == 0
    assert [type(event) for event in recording.events] == [LogLine]


# --- servers that enforce nothing, and writers that died


def test_a_server_that_ignores_conditions_is_found_out_and_what_is_there_stays(fake, transport):
    fake.is_strict = False
    assert transport.probe() == Enforcement(
        create_only=False, signed_length=False, content_md5=False, sha256_checksum=False
    )
    assert fake.objects == {}
    transport.put("object", [b"x"])
    with pytest.raises(ObjectExists):
        transport.put("object", [b"y"])
    assert fake.objects == {"prefix/object": b"x"}


def test_a_probe_that_is_refused_says_so_without_the_signature(fake, transport):
    fake.always["put"] = Refuse(403, "AccessDenied")
    with pytest.raises(AccessRefused) as raised:
        transport.probe()
    assert "Signature" not in raised.value.message
    fake.always["put"] = Lose(is_done=False)
    with pytest.raises(TransportUnavailable) as unavailable:
        transport.probe()
    assert "Signature" not in repr(unavailable.value)
    assert unavailable.value.__cause__ is None


def test_the_claim_of_a_writer_that_died_is_taken_over_after_ten_minutes(fake, transport):
    name = hashlib.sha256(b"prefix/large").hexdigest()[:32]
    claim = f"prefix/.backapp-claims/{name}"
    fake.objects[claim], fake.moments[claim] = b"theirs", NOW - timedelta(seconds=601)
    assert transport.put("large", LARGE) == 17 << 20
    assert [*fake.objects] == ["prefix/large"]


def test_the_claim_of_a_living_writer_is_waited_for(fake, transport, clock):
    name = hashlib.sha256(b"prefix/large").hexdigest()[:32]
    claim = f"prefix/.backapp-claims/{name}"
    fake.objects[claim], fake.moments[claim] = b"theirs", NOW - timedelta(seconds=599)
    with pytest.raises(TransportUnavailable, match="somebody else"):
        transport.put("large", LARGE)
    assert clock.monotonic_seconds() >= 600
    assert fake.objects == {claim: b"theirs"}


# --- nobody there


def test_nobody_listens(opened):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TransportUnavailable, match="nobody listens there"):
        opened(f"http://127.0.0.1:{port}").prepare()


def test_a_name_that_nobody_knows(opened):
    with pytest.raises(TransportUnavailable, match="its name is not known"):
        opened("http://nothing.invalid").prepare()


def test_a_server_that_speaks_no_tls(opened, endpoint):
    with pytest.raises(TransportUnavailable, match="write s3:http://"):
        opened(endpoint.replace("http:", "https:")).prepare()


def test_a_certificate_of_ones_own_is_refused_until_it_is_named(opened, fake, tmp_path, clock):
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(fake, context) as endpoint:
        with pytest.raises(AccessRefused, match="AWS_CA_BUNDLE"):
            opened(endpoint).prepare()
        assert clock.monotonic_seconds() == 0  # asking again would not help
        transport = opened(endpoint, ca_bundle=str(certificate))
        transport.put("object", [b"x"])
        transport.probe()
        transport.close()
    assert fake.objects == {"prefix/object": b"x"}


def test_no_keys_anywhere(opened, endpoint, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    transport = opened(endpoint)
    with pytest.raises(AccessRefused, match="there are no keys"):
        transport.prepare()
    with pytest.raises(AccessRefused, match="there are no keys"):
        transport.sign_head("x", lifetime_seconds=1)


def test_a_secret_file_that_others_may_read_is_refused(opened, endpoint, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary-secret")
    secret.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        opened(endpoint, access_key_id="x", secret_key_file=str(secret))


def test_an_environment_that_names_no_possible_server_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://host:99999")
    with pytest.raises(AccessRefused, match="they name a server that there cannot be"):
        open_s3(parse_address("s3://bucket"), make_surroundings(tmp_path))


def test_a_missing_library_names_the_extra_to_install(opened, endpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(PartMissing, match=r"pip install 'backapp\[s3\]'"):
        opened(endpoint)


def test_absent_objects_are_missed(fake, transport):
    with pytest.raises(ObjectMissing):
        transport.get("object", length_bytes=0)


def _certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "certificate").write_bytes(certificate_of(key))
    (folder / "key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return folder / "certificate", folder / "key"
