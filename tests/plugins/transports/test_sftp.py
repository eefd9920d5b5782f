"""What only a real SFTP server can show: whom we trust, what breaks, what is full."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.errors import (
    AccessRefused,
    InvalidAddress,
    InvalidSettings,
    ObjectExists,
    StorageFull,
    TransportUnavailable,
)
from backapp_core.ports.line import Line, Pace
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.transports.fsspec_url import FsspecSettings, open_url, parse_address
from backapp_plugins.transports.fsspec_url.sftp_address import SftpAddress, parse_sftp


@pytest.fixture
def opened(ssh_server, tmp_path):
    transports = []

    def opened(url=None, **options):
        settings = FsspecSettings(
            url or ssh_server.url(tmp_path / "repository"), {**ssh_server.options, **options}
        )
        transports.append(open_url(settings, make_surroundings(tmp_path)))
        return transports[-1]

    yield opened
    for transport in transports:
        transport.close()


def test_under_a_limit_files_are_read_and_written_in_pieces(ssh_server, tmp_path):
    line = Line(upload=Pace(1 << 20), download=Pace(1 << 20))
    settings = FsspecSettings(ssh_server.url(tmp_path / "repository"), ssh_server.options)
    with open_url(settings, make_surroundings(tmp_path, line=line)) as transport:
        transport.prepare()

        def body():
            yield b"x" * (1 << 17)
            [draft] = (tmp_path / "repository").iterdir()
            assert draft.stat().st_size == 1 << 17
            yield b"y" * 5

        assert transport.put("object", body()) == (1 << 17) + 5
        assert [*transport.get("object")] == [b"x" * (1 << 17), b"y" * 5]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sftp:me@host:/srv/x", SftpAddress("host", "/srv/x", "me")),
        ("sftp:me:secret@host:/x", SftpAddress("host", "/x", "me", None, "secret")),
        ("sftp:host:x@y", SftpAddress("host", "x@y")),
        ("sftp:host:x/y/", SftpAddress("host", "x/y")),
        ("sftp:host:", SftpAddress("host", "")),
        ("sftp:[::1]:/x", SftpAddress("::1", "/x")),
        ("sftp://me@host:2222//srv/x", SftpAddress("host", "/srv/x", "me", 2222)),
        ("sftp://host/x", SftpAddress("host", "/x")),
        ("sftp://host:22/~/x/", SftpAddress("host", "x", None, 22)),
        ("sftp://host/~", SftpAddress("host", "")),
        ("sftp://host/", SftpAddress("host", "/")),
        ("sftp://host", SftpAddress("host", "")),
        ("sftp://[::1]:22//x%20y", SftpAddress("::1", "/x y", None, 22)),
        ("ssh://me:p%40ss@host//x", SftpAddress("host", "/x", "me", None, "p@ss")),
    ],
)
def test_addresses_say_where_and_are_shown_so_that_they_are_read_alike(address, expected):
    assert parse_sftp(address) == expected
    assert parse_sftp(expected.text) == evolve(expected, password=None)
    assert parse_address(address).url == address


@pytest.mark.parametrize(
    "address", ["sftp:", "sftp:host", "sftp://", "sftp://host:port/x", "sftp:///x", "sftp:h:a\0b"]
)
def test_malformed_addresses_are_refused(address):
    with pytest.raises(InvalidAddress):
        parse_address(address)


def test_passwords_are_not_shown():
    settings = parse_address("sftp://me:hunter2@host//x")
    address = parse_sftp(settings.url)
    for shown in (repr(settings), repr(address), address.text):
        assert "hunter2" not in shown
        assert "host" in shown


def test_an_unknown_host_key_is_refused_with_the_way_out(opened, ssh_server, tmp_path):
    (tmp_path / "nobody").write_text("")
    with pytest.raises(AccessRefused, match=f"ssh-keyscan -p {ssh_server.port} 127.0.0.1"):
        opened(known_hosts=tmp_path / "nobody")
    assert not (tmp_path / "repository").exists()
    assert (tmp_path / "nobody").read_text() == ""


def test_a_changed_host_key_is_refused(opened, ssh_server, tmp_path):
    other = ssh_server.client_key.with_suffix(".pub").read_text()
    (tmp_path / "changed").write_text(f"[127.0.0.1]:{ssh_server.port} {other}")
    with pytest.raises(AccessRefused, match="another host key"):
        opened(known_hosts=tmp_path / "changed")


def test_a_key_that_the_server_does_not_know_is_refused(opened, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with pytest.raises(AccessRefused, match="does not let us in"):
        opened(identity_file=key)


def test_the_users_ssh_configuration_counts(ssh_server, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(
        f"Host backups\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n"
        f"  User {ssh_server.user}\n  IdentityFile {ssh_server.client_key}\n"
    )
    (home / ".ssh" / "known_hosts").write_text(ssh_server.known_hosts.read_text())
    monkeypatch.setenv("HOME", str(home))
    settings = parse_address(f"sftp:backups:{tmp_path}/repository")
    with open_url(settings, make_surroundings(tmp_path)) as transport:
        transport.prepare()
        transport.put("object", [b"x"])
        assert transport.address == f"sftp:backups:{tmp_path}/repository"
    assert (tmp_path / "repository" / "object").read_bytes() == b"x"


def test_nobody_there_is_unavailable(opened, ssh_server, tmp_path):
    with pytest.raises(TransportUnavailable) as raised:
        opened(f"sftp://{ssh_server.user}@127.0.0.1:1/{tmp_path}")
    assert raised.value.is_retryable


def test_options_that_do_not_exist_are_refused(opened):
    with pytest.raises(InvalidSettings, match="colour"):
        opened(colour="blue")


def test_a_lost_connection_is_unavailable_and_the_next_call_connects_again(opened, ssh_server):
    transport = opened()
    transport.prepare()
    transport.put("object", [b"x"])

    def body():
        yield b"x" * (5 << 20)
        _end_connections(ssh_server)
        yield b"y" * (5 << 20)

    with pytest.raises(TransportUnavailable) as raised:
        transport.put("other", body())
    assert raised.value.is_retryable
    assert transport.read("object") == b"x"
    assert [info.name for info in transport.list()] == ["object"]
    _end_connections(ssh_server)
    assert _until_available(lambda: transport.read("object")) == b"x"


def test_what_is_made_is_for_its_owner_alone(opened, tmp_path):
    transport = opened()
    transport.prepare()
    transport.put("data/object", [b"x"])
    folder = tmp_path / "repository"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
    assert (folder / "data" / "object").stat().st_mode & 0o777 == 0o600


def test_a_server_that_is_full_says_so(opened, ssh_server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        transport = opened(ssh_server.url(disk / "repository"))
        transport.prepare()
        with pytest.raises(StorageFull):
            transport.put("large", [b"x" * (1 << 20)] * 9)
        assert [*disk.glob("**/.backapp-*")] == []
        transport.put("small", [b"x"])
        assert [info.name for info in transport.list()] == ["small"]
        transport.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_name_that_is_taken_meanwhile_is_not_replaced(opened, tmp_path):
    transport = opened()
    transport.prepare()

    def body():
        yield b"mine"
        (tmp_path / "repository" / "object").write_bytes(b"theirs")

    with pytest.raises(ObjectExists):
        transport.put("object", body())
    assert transport.read("object") == b"theirs"
    assert [*(tmp_path / "repository").glob(".backapp-*")] == []


def test_a_folder_that_went_away_is_not_made_again_by_storing(opened, tmp_path):
    transport = opened()
    transport.prepare()
    (tmp_path / "repository").rmdir()
    with pytest.raises(TransportUnavailable, match="is gone"):
        transport.put("data/object", [b"x"])
    assert not (tmp_path / "repository").exists()


def test_more_readers_than_a_connection_carries_get_another(opened):
    transport = opened()
    transport.prepare()
    transport.put("object", [b"x" * 100])
    readers = [transport.get("object") for _ in range(21)]
    assert [b"".join(reader) for reader in readers] == [b"x" * 100] * 21


def test_tidying_takes_what_nobody_wrote_to_for_a_day(opened, tmp_path):
    transport = opened()
    transport.prepare()
    now = make_surroundings(tmp_path).clock.now().timestamp()
    for name, age_seconds in (("old", 86_500), ("young", 86_300)):
        path = tmp_path / "repository" / f".backapp-{name}"
        path.write_bytes(b"x")
        os.utime(path, (now - age_seconds, now - age_seconds))
    assert transport.tidy(older_than_seconds=0) == 1
    assert [path.name for path in (tmp_path / "repository").iterdir()] == [".backapp-young"]


def _end_connections(server):
    """Kill the processes that serve connections; the one that listens goes on."""
    listener = str(server.pid)
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if text.rpartition(")")[2].split()[1] == listener:
            os.kill(int(text.split()[0]), signal.SIGKILL)


def _until_available(call):
    """Call again while the end of the connection is not noticed yet, as retrying callers do."""
    for _ in range(100):
        try:
            return call()
        except TransportUnavailable:
            continue
    return call()
