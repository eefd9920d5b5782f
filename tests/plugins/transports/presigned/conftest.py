"""A small S3 that checks what is signed, byte by byte, and an issuer that grants whatever is asked.

What the issuer may grant is the business of the desk and its tests.
"""

import base64
import hashlib
import hmac
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from backapp_core.errors import InvalidName, ObjectExists
from backapp_core.model.grants import Granted, ObjectPage, ObjectSeen
from backapp_core.ports.transports import check_object_name
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_plugins.transports.presigned import ManagedAddress
from backapp_plugins.transports.presigned.transport import PresignedTransport
from backapp_plugins.transports.presigned.writing import Sizes
from backapp_plugins.transports.s3 import open_s3, parse_address

ACCESS_KEY, SECRET_KEY = "fake-key", "fake-secret"
ID = "0f" * 16
PAGE_OBJECTS = 400


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(status, code)
        self.status, self.code = status, code


class FakeS3:
    """Objects by their whole keys; what happened; and what is to go wrong next."""

    def __init__(self, clock):
        self.clock = clock
        self.lock = threading.Lock()
        self.reset()
        handler = type("Handler", (_Handler,), {"s3": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def reset(self):
        self.objects = {}
        self.uploads = {}
        self.requests = []
        self.faults = []

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def fail(self, method, *faults):
        """Let the next requests of a method go wrong, each in its way."""
        self.faults += [(method, fault) for fault in faults]

    def next_fault(self, method):
        with self.lock:
            for at, (wanted, fault) in enumerate(self.faults):
                if wanted == method:
                    del self.faults[at]
                    return fault
        return ""

    def count(self, method, status=None):
        return sum(
            seen == method and status in {None, answered} for seen, _, answered in self.requests
        )

    # --- what only the issuer does

    def complete(self, key, upload, parts):
        with self.lock:
            sent = self.uploads.pop(upload)
            if key in self.objects:
                raise ObjectExists(key)
            assert [sent[number][1] for number, _ in parts] == [tag for _, tag in parts]
            self.store(key, b"".join(sent[number][0] for number, _ in parts), "parts-1")

    def store(self, key, data, etag=None):
        tag = etag or hashlib.md5(data).hexdigest()
        self.objects[key] = (data, tag, datetime.now(UTC).replace(microsecond=0))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        """Every method is answered alike."""
        if name.startswith("do_"):
            return self._receive
        raise AttributeError(name)

    def _receive(self):
        said_bytes = int(self.headers.get("content-length", 0))
        body = self.rfile.read(said_bytes)
        if len(body) == said_bytes:
            self._handle(body)
        else:  # whoever sent it went away
            self._hang_up()

    def _handle(self, body):
        fault = self.s3.next_fault(self.command)
        path, _, query = self.path.partition("?")
        key = unquote(path)
        try:
            if fault == "unreachable":
                self._hang_up()
                return
            self._fail_if(fault)
            parameters = self._check_signature(path, query)
            self._check_body(body)
            with self.s3.lock:
                status, headers, content = self._carry_out(key, parameters, body)
        except Refused as refused:
            status, headers = refused.status, {}
            content = f"<Error><Code>{refused.code}</Code></Error>".encode()
        if fault == "forgotten":  # carried out, and then something broke on the way back
            status, headers, content = 500, {}, b""
        self.s3.requests.append((self.command, key, status))
        if fault == "lost":
            self._hang_up()
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _fail_if(self, fault):
        if isinstance(fault, tuple):
            raise Refused(*fault)

    def _hang_up(self):
        self.close_connection = True

    def _check_signature(self, path, query):
        pairs = query.split("&")
        parameters = {name: unquote(value) for name, _, value in (p.partition("=") for p in pairs)}
        signature = parameters.pop("X-Amz-Signature", "")
        unsigned = sorted(pair for pair in pairs if not pair.startswith("X-Amz-Signature="))
        names = parameters["X-Amz-SignedHeaders"].split(";")
        if any(name.lower().startswith("x-amz-") and name not in names for name in self.headers):
            raise Refused(403, "AccessDenied")
        if not {"host", *names} <= {name.lower() for name in self.headers} | {"host"}:
            raise Refused(403, "AccessDenied")
        payload = self.headers["x-amz-content-sha256"] if "x-amz-content-sha256" in names else None
        canonical = "\n".join(
            [
                *(self.command, path, "&".join(unsigned)),
                *(f"{name}:{(self.headers[name] or '').strip()}" for name in names),
                *("", ";".join(names), payload or "UNSIGNED-PAYLOAD"),
            ]
        )
        access_key, scope = parameters["X-Amz-Credential"].split("/", 1)
        to_sign = "\n".join(
            [
                *("AWS4-HMAC-SHA256", parameters["X-Amz-Date"], scope),
                hashlib.sha256(canonical.encode()).hexdigest(),
            ]
        )
        made = f"AWS4{SECRET_KEY}".encode()
        for part in (*scope.split("/"), to_sign):
            made = hmac.digest(made, part.encode(), "sha256")
        if (access_key, signature) != (ACCESS_KEY, made.hex()):
            raise Refused(403, "SignatureDoesNotMatch")
        signed_at = datetime.strptime(parameters["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(
            tzinfo=UTC
        )
        if self.s3.clock.now() >= signed_at + timedelta(seconds=int(parameters["X-Amz-Expires"])):
            raise Refused(403, "AccessDenied")
        return parameters

    def _check_body(self, body):
        hashes = {
            "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
            "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode(),
        }
        if any(self.headers.get(name, value) != value for name, value in hashes.items()):
            raise Refused(400, "BadDigest")

    def _carry_out(self, key, parameters, body):
        objects = self.s3.objects
        if self.command == "PUT" and "uploadId" in parameters:
            tag = hashlib.md5(body).hexdigest()
            try:
                parts = self.s3.uploads[parameters["uploadId"]]
            except KeyError:
                raise Refused(404, "NoSuchUpload") from None
            parts[int(parameters["partNumber"])] = (body, tag)
            return 200, {"ETag": f'"{tag}"'}, b""
        if self.command == "PUT":
            if key in objects and self.headers["if-none-match"] == "*":
                raise Refused(412, "PreconditionFailed")
            self.s3.store(key, body)
            return 200, {"ETag": f'"{objects[key][1]}"'}, b""
        if self.command == "DELETE":
            objects.pop(key, None)
            return 204, {}, b""
        return self._read(key)

    def _read(self, key):
        if key not in self.s3.objects:
            raise Refused(404, "NoSuchKey")
        data, tag, stored_at = self.s3.objects[key]
        if self.headers.get("if-match", f'"{tag}"') != f'"{tag}"':
            raise Refused(412, "PreconditionFailed")
        headers = {
            "ETag": f'"{tag}"',
            "Last-Modified": stored_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        asked = self.headers.get("range")
        if not asked:
            return 200, headers, data
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data)), len(data) - 1)
        if start >= len(data):
            raise Refused(416, "InvalidRange")
        return (
            206,
            {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"},
            data[start : end + 1],
        )


class OpenIssuer:
    """Grants everything, for a time that tests choose."""

    def __init__(self, s3, signer, clock, folder):
        self.s3, self.signer, self.clock, self.folder = s3, signer, clock, folder
        self.seconds = 300
        self.calls = []
        self.before = lambda _what: None

    def _granted(self, what, wishes, sign):
        self.calls.append((what, tuple(wishes)))
        self.before(what)
        issued_at = self.clock.now()
        return Granted(tuple(sign(wish) for wish in wishes), issued_at)

    def grant_reads(self, _repository, names):
        return self._granted(
            "reads", names, lambda name: self.signer.sign_get(name, lifetime_seconds=self.seconds)
        )

    def grant_writes(self, _repository, wishes):
        return self._granted(
            "writes", wishes, lambda wish: self.signer.sign_put(wish.name, **self._pinned(wish))
        )

    def grant_deletes(self, _repository, names):
        return self._granted(
            "deletes",
            names,
            lambda name: self.signer.sign_delete(name, lifetime_seconds=self.seconds),
        )

    def grant_parts(self, _repository, name, upload, parts, first):
        numbers = iter(range(first, first + len(parts)))
        return self._granted(
            "parts",
            parts,
            lambda part: self.signer.sign_part(name, upload, next(numbers), **self._pinned(part)),
        )

    def list_objects(self, _repository, prefix, after=""):
        self.before("list")
        with self.s3.lock:
            found = sorted(
                (key.removeprefix(self.folder), data, stored_at)
                for key, (data, _, stored_at) in self.s3.objects.items()
                if key.startswith(self.folder + prefix)
            )
        rest = [one for one in found if one[0] > after]
        seen = [
            ObjectSeen(name, len(data), stored_at)
            for name, data, stored_at in rest[:PAGE_OBJECTS]
            if _is_name(name)
        ]
        return ObjectPage(
            tuple(seen), rest[PAGE_OBJECTS - 1][0] if len(rest) > PAGE_OBJECTS else ""
        )

    def begin_upload(self, _repository, name):
        self.before("begin")
        with self.s3.lock:
            upload = f"upload/{name}~{len(self.s3.requests)}-{id(object())}"
            self.s3.uploads[upload] = {}
        return upload

    def complete_upload(self, _repository, name, upload, parts):
        self.before("complete")
        self.s3.complete(self.folder + name, upload, parts)
        return ObjectSeen(name, len(self.s3.objects[self.folder + name][0]))

    def abandon_upload(self, _repository, _name, upload):
        self.before("abandon")
        with self.s3.lock:
            self.s3.uploads.pop(upload, None)

    def _pinned(self, wish):
        return {
            "size_bytes": wish.size_bytes,
            "sha256": bytes.fromhex(wish.sha256),
            "md5": bytes.fromhex(wish.md5),
            "lifetime_seconds": self.seconds,
        }


def _is_name(name):
    try:
        return bool(check_object_name(name))
    except InvalidName:
        return False


@pytest.fixture(scope="session")
def clock():
    return FrozenClock()


@pytest.fixture(scope="session")
def world(clock, tmp_path_factory):
    """One server and one signer for all tests, since a signer takes half a second."""
    s3 = FakeS3(clock)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        settings = parse_address(f"s3:{s3.endpoint}/bucket/folder")
        surroundings = make_surroundings(tmp_path_factory.mktemp("server"), clock=clock)
        with open_s3(settings, surroundings) as signer:
            signer.sign_head("found", lifetime_seconds=1)  # the keys are kept from now on
            yield s3, signer
    s3.close()


@pytest.fixture
def fake_s3(world):
    world[0].reset()
    return world[0]


@pytest.fixture
def issuer(world, fake_s3, clock):
    return OpenIssuer(fake_s3, world[1], clock, "/bucket/folder/")


@pytest.fixture
def make(issuer, clock, tmp_path):
    """Make transports that send small parts."""

    def make(**others):
        surroundings = make_surroundings(tmp_path / "agent", clock=clock, **others)
        sizes = Sizes(whole_bytes=1 << 20, part_bytes=256 << 10)
        return PresignedTransport(ManagedAddress(ID), issuer, surroundings, sizes)

    return make


@pytest.fixture
def reopen(make):
    return make


@pytest.fixture
def transport(make):
    with make() as transport:
        yield transport
