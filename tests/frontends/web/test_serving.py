"""The command `backapp serve`, as a process of its own."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import Message
from pathlib import Path

import pytest
from certificates import certificate_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function: arguments of the command to its running process."""
    running: list[subprocess.Popen] = []
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("BACKAPP_")
    }
    for name in ("CACHE", "STATE", "CONFIG"):
        environment[f"XDG_{name}_HOME"] = str(tmp_path / name.lower())

    def begin(*arguments: str) -> subprocess.Popen:
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "backapp_cli", "serve", "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        return running[-1]

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process: subprocess.Popen) -> dict[str, str]:
    """Return what a server says once it serves."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def status_of(url: str, headers: dict[str, str] | None = None) -> int:
    return answered(url, headers)[0]


def answered(url: str, headers: dict[str, str] | None = None) -> tuple[int, Message]:
    try:
        request = urllib.request.Request(url, headers=headers or {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def refused(process: subprocess.Popen) -> tuple[int, str]:
    """Return the exit code and the sentence of a server that did not start."""
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    [line] = errors.splitlines()
    return process.returncode, line


def test_server_says_where_it_is_and_stops_cleanly_when_it_is_told_to(start):
    process = start("--listen", "127.0.0.1:0")
    first = said(process)
    assert status_of(f"{first['url']}/health") == 200
    head = urllib.request.Request(f"{first['url']}/sign-in", method="HEAD")
    with urllib.request.urlopen(head, timeout=20) as answer:
        assert (answer.status, answer.read()) == (200, b"")
        assert int(answer.headers["content-length"])
    assert status_of(first["first_link"]) == 200
    # Figures are for the machine itself, and not for what a proxy on it passes on.
    assert status_of(f"{first['url']}/metrics") == 200
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip"):
        assert status_of(f"{first['url']}/metrics", {name: "198.51.100.7"}) == 401
    key = {"Authorization": f"Bearer {enrolled(first)}"}
    address = first["url"].replace("http:", "ws:") + "/api/v1/agent/socket"
    with connect(address, additional_headers=key) as open_socket:
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as end:
            open_socket.recv(timeout=20)
        assert end.value.rcvd.code in {1001, 1012}
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (0, "", "")


def enrolled(first: dict[str, str]) -> str:
    """Make the first administrator and a machine, as a program does; return the machine's key."""

    def ask(path: str, body: dict, headers: dict[str, str]) -> tuple[dict, str]:
        request = urllib.request.Request(
            first["url"] + path,
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer), answer.headers.get("set-cookie", "").partition(";")[0]

    token = first["first_link"].rpartition("/")[2]
    person = {"token": token, "email": "a@example.org", "name": "A", "password": "a long sentence"}
    me, cookie = ask("/api/v1/join", person, {})
    headers = {"cookie": cookie, "x-csrf-token": me["csrf"]}
    made, _ = ask("/api/v1/enrolments", {"agent_name": "pluto"}, headers)
    key = "backapp_agent_" + "7e" * 32
    ask("/api/v1/enrol", {"token": made["token"], "agent_id": "ab" * 16, "key": key}, {})
    return key


def endless(start: bytes, part: bytes) -> Iterator[bytes]:
    yield start
    for _ in range(64):
        yield part * (64 * 1024 // len(part))


def is_cut(place: tuple[str, int], parts: Iterator[bytes]) -> bool:
    """Say whether the other end closes the connection before it has taken everything."""
    with socket.create_connection(place, timeout=20) as open_socket:
        try:
            for part in parts:
                open_socket.sendall(part)
        except (ConnectionResetError, BrokenPipeError):
            return True
    return False


@pytest.mark.interop
def test_request_without_an_end_is_cut_and_one_with_a_large_body_is_not(start):
    url = said(start("--listen", "127.0.0.1:0"))["url"]
    host, _, port = url.partition("//")[2].rpartition(":")
    head = b"GET /sign-in HTTP/1.1\r\nHost: x\r\n"
    body = b"POST /sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    for first, more in ((head, b"X-Y: z\r\n"), (head + b"X-Y: ", b"z"), (body + b"X-Y: ", b"z")):
        assert is_cut((host, int(port)), endless(first, more))
    form = b"email=" + b"a" * (63 * 1024)
    request = urllib.request.Request(f"{url}/sign-in", data=form)
    with (
        pytest.raises(urllib.error.HTTPError) as refusal,
        urllib.request.urlopen(request, timeout=20),
    ):
        pass
    with refusal.value as answer:
        assert answer.code == 401
    assert status_of(f"{url}/health") == 200
    assert status_of(f"{url}/health", {"x-long": "a" * 30_000}) == 200


@pytest.mark.interop
def test_second_server_on_one_sqlite_and_one_on_a_port_in_use_are_refused(start):
    first = start("--listen", "127.0.0.1:0")
    url = said(first)["url"]
    second, third = start("--listen", "127.0.0.1:0"), start("--listen", url.partition("//")[2])
    code, line = refused(second)
    assert code == 1
    assert "server" in line
    code, line = refused(third)
    assert code == 1
    assert "cannot listen on" in line
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=30) == 0
    # What was held is free again.
    with closing(socket.socket()) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", int(url.rpartition(":")[2])))


@pytest.mark.interop
@pytest.mark.parametrize("is_trusted", [True, False])
def test_word_of_a_proxy_counts_if_it_is_trusted(start, is_trusted):
    proxy = "127.0.0.1" if is_trusted else "192.0.2.1"
    url = said(start("--listen", "127.0.0.1:0", "--trusted-proxy", proxy))["url"]
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.7"}
    status, headers = answered(f"{url}/health", forwarded)
    assert status == 200
    assert ("strict-transport-security" in headers) == is_trusted


@pytest.mark.interop
def test_database_of_a_newer_program_is_refused_in_a_sentence(start, tmp_path):
    first = start("--listen", "127.0.0.1:0")
    said(first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=30) == 0
    [path] = (tmp_path / "state").rglob("*.sqlite")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    code, line = refused(start("--listen", "127.0.0.1:0"))
    assert code == 1
    assert "newer" in line


def call(*arguments: str) -> str:
    """Run the command within this process, where it has to be refused before it serves."""
    from backapp_core.errors import BackappError
    from backapp_core.settings import Settings
    from backapp_web.serving import Listening, serving

    names = ("listen", "tls_cert", "tls_key")
    given = dict(zip(names, arguments, strict=False))
    with pytest.raises(BackappError) as refusal:
        serving(Listening(**given).over(Settings()), lambda url, link: None)
    return refusal.value.message


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("0.0.0.0:8300",), "passwords would travel in the clear"),
        (("[::]:8300",), "passwords would travel in the clear"),
        (("10.1.2.3:8300",), "passwords would travel in the clear"),
        (("8300",), "'8300' is no place to listen"),
        (("127.0.0.1:port",), "is no place to listen"),
        (("127.0.0.1:99999",), "is no place to listen"),
        (("127.0.0.1:0", "cert.pem"), "both a certificate and its key"),
        (("0.0.0.0:0", "/no/cert.pem", "/no/key.pem"), "cannot be used"),
    ],
)
def test_place_that_is_not_safe_or_makes_no_sense_is_refused(arguments, word):
    assert word in call(*arguments)


@pytest.mark.parametrize(
    ("sealing", "word"),
    [
        (BestAvailableEncryption(b"a passphrase"), "sealed with a passphrase"),
        (NoEncryption(), "no certificate and its key"),
    ],
)
def test_tls_key_that_is_sealed_or_alone_is_refused_without_asking_anybody(tmp_path, sealing, word):
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing))
    (tmp_path / "cert.pem").write_bytes(certificate_of(key) if "sealed" in word else b"none")
    assert word in call("0.0.0.0:0", str(tmp_path / "cert.pem"), str(path))


@pytest.mark.parametrize("proxy", ["proxy.example.org", "*", "10.0.0.2/8", "10.0.0", ""])
def test_proxy_that_nobody_could_be_is_refused_and_does_not_open_the_door(proxy):
    from backapp_core.errors import InvalidSettings
    from backapp_core.settings import Settings

    with pytest.raises(InvalidSettings, match=r"trusted_proxies.*10\.0\.0\.0/24"):
        Settings.parse({"server": {"listen": "0.0.0.0:8300", "trusted_proxies": [proxy]}})


def test_trusted_proxy_lets_others_in(tmp_path):
    from backapp_core.settings import ServerSettings
    from backapp_web.addresses import check_place, parse_place

    check_place(parse_place("0.0.0.0:8300"), ServerSettings(trusted_proxies=("10.0.0.2",)))


BAD_BUCKETS = {
    "spelt": "s3:server:99999/bucket",
    "folder": "/srv/backup/",
    "unknown": "nosuch://host/bucket",
    "keys": "s3://key:canary@bucket",
    "empty": "/",
}


def refused_over(folder: Path, buckets: dict[str, str], **others: object) -> str:
    """Return why a server does not start with these buckets in its settings."""
    from backapp_core.errors import InvalidSettings
    from backapp_core.settings import Settings
    from backapp_web.serving import serving

    table = {"listen": "127.0.0.1:0", "buckets": buckets}
    folders = {"state_folder": str(folder / "state"), "cache_folder": str(folder / "cache")}
    settings = Settings.parse({"server": table, **folders, **others})
    with pytest.raises(InvalidSettings) as refusal:
        serving(settings, lambda url, link: pytest.fail(f"it serves at {url}"))
    assert not (folder / "state").exists(), "nothing is made before the settings are known to do"
    return refusal.value.message


def test_bucket_that_no_repository_could_stand_in_is_refused_with_its_setting(tmp_path):
    message = refused_over(tmp_path, {"fine": "s3:http://127.0.0.1:1/bucket", **BAD_BUCKETS})
    assert "server.buckets.fine" not in message, "one that does not answer may be back soon"
    faults = message.partition(": ")[2].split("server.buckets.")[1:]
    assert [one.partition(":")[0] for one in faults] == [*BAD_BUCKETS]
    assert all("take the bucket out of the settings" in one for one in faults)
    assert "port is a number up to 65535" in faults[0]
    assert "nobody can sign requests for it" in faults[1]
    assert "canary" not in message


@pytest.mark.parametrize(
    "endpoint", ["host", "ftp://host", "https://host:99999", "https://host?x", "https://u:p@host"]
)
def test_impossible_endpoint_of_the_buckets_is_refused_with_its_setting(tmp_path, endpoint):
    message = refused_over(
        tmp_path, {"main": "s3://bucket"}, transports={"s3": {"endpoint": endpoint}}
    )
    assert "server.buckets.main: [transports.s3] cannot be used: endpoint: must be" in message
    assert "u:p" not in message
