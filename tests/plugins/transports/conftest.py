"""A real OpenSSH server on loopback, for as long as the tests of this folder need it."""

import contextlib
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
MaxStartups 100
"""


@frozen
class SshServer:
    port: int
    pid: int
    user: str
    client_key: Path
    known_hosts: Path
    log: Path

    @property
    def options(self):
        return {"known_hosts": self.known_hosts, "identity_file": self.client_key}

    def url(self, folder):
        return f"sftp://{self.user}@127.0.0.1:{self.port}/{folder}"


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sshd")
    with running_sshd(folder) as server:
        yield server


@contextlib.contextmanager
def running_sshd(folder):
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if sshd is None or shutil.which("ssh-keygen") is None:
        pytest.fail("these tests need OpenSSH's server and ssh-keygen: apt install openssh-server")
    for key in ("host_key", "client_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "known_hosts").write_text(
        f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}"
    )
    (folder / "config").write_text(CONFIGURATION.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "config"], stderr=log)
        try:
            _wait_until_it_answers(process, port, folder / "log")
            user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True)
            yield SshServer(
                port=port,
                pid=process.pid,
                user=user.stdout.strip(),
                client_key=folder / "client_key",
                known_hosts=folder / "known_hosts",
                log=folder / "log",
            )
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_it_answers(process, port, log):
    while process.poll() is None:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            continue
        with connection:
            if connection.recv(4) == b"SSH-":
                return
    pytest.fail(f"sshd ended at once: {log.read_text()}")
