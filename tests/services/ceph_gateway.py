"""A real Ceph cluster on loopback, whose gateway speaks S3; for all tests that need a bucket."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from attrs import asdict, frozen
from filelock import FileLock

PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin")
CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = v1:127.0.0.1:{mon_port}
mon_initial_members = one
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
mon_data = {folder}/mon
mon_data_avail_crit = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_data = {folder}/osd
osd_objectstore = memstore
osd_crush_chooseleaf_type = 0
osd_class_update_on_start = false
osd_crush_update_on_start = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
memstore_device_bytes = 4294967296
rgw_data = {folder}/run
rgw_frontends = beast endpoint=127.0.0.1:{port}
run_dir = {folder}/run
admin_socket = {folder}/run/$name.socket
log_file = {folder}/log/$name
pid_file = {folder}/run/$name.pid
"""
"""The storage daemon does not describe itself to the monitor when it starts: it ends if it is quick
enough to do so before it knows which cluster the monitor is of."""
STARTS = 3
"""How often it is tried on other ports, since a port that was free may be taken meanwhile."""


@frozen
class Gateway:
    """Ceph's gateway and those who may use it; ``stranger`` may create no bucket."""

    endpoint: str
    owner: tuple[str, str]
    stranger: tuple[str, str]
    pids: tuple[int, ...]

    def client(self, keys=None):
        import boto3
        from botocore.config import Config

        access_key, secret_key = keys or self.owner
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """One cluster for all processes of a test session; the last one that used it ends it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    state = shared / "ceph.json"
    with FileLock(shared / "ceph.lock"):
        kept = json.loads(state.read_text()) if state.exists() else None
        if kept is None:
            kept = {"users": 0, "gateway": asdict(_start_ceph(shared))}
        kept["users"] += 1
        state.write_text(json.dumps(kept))
    yield Gateway(**{name: _tuples(value) for name, value in kept["gateway"].items()})
    with FileLock(shared / "ceph.lock"):
        kept = json.loads(state.read_text())
        kept["users"] -= 1
        if kept["users"]:
            state.write_text(json.dumps(kept))
        else:
            state.unlink()
            _end_daemons(kept["gateway"]["pids"])


@pytest.fixture(scope="session")
def bucket(gateway):
    """A bucket of this process; tests choose prefixes of their own."""
    name = f"bucket-{os.getpid()}"
    gateway.client().create_bucket(Bucket=name)
    return name


@contextlib.contextmanager
def running_gateway(folder):
    """Have a cluster of one's own for a while; its files are below ``folder``."""
    gateway = _start_ceph(folder)
    try:
        yield gateway
    finally:
        _end_daemons(gateway.pids)


def _tuples(value):
    return tuple(value) if isinstance(value, list) else value


def _start_ceph(shared):
    missing = [one for one in PROGRAMS if shutil.which(one) is None]
    if missing:
        pytest.skip(f"these tests need Ceph ({', '.join(missing)} is missing); see .ci/run")
    trouble = []
    for _ in range(STARTS):
        # Another process may have started and ended one here before.
        cluster = _Cluster(Path(tempfile.mkdtemp(prefix="ceph-", dir=shared)))
        try:
            return cluster.start()
        except (subprocess.SubprocessError, OSError, TimeoutError) as error:
            _end_daemons(cluster.pids)
            trouble.append(f"{error} {getattr(error, 'stderr', b'')!r}")
    pytest.fail(f"Ceph does not start, see {shared}: {trouble}")


class _Cluster:
    """One monitor, one daemon that keeps objects in memory, and one gateway."""

    def __init__(self, folder):
        self.folder = folder
        self.pids = []
        for name in ("mon", "osd", "run", "log"):
            (folder / name).mkdir(parents=True)

    def start(self):
        mon_port, port = _free_ports(2)
        fsid = str(uuid.uuid4())
        configuration = CONFIGURATION.format(
            fsid=fsid, mon_port=mon_port, port=port, folder=self.folder
        )
        (self.folder / "ceph.conf").write_text(configuration)
        self._start_monitor(fsid, mon_port)
        self._start_storage()
        owner, stranger = ("owner-key", uuid.uuid4().hex), ("stranger-key", uuid.uuid4().hex)
        self._make_user("owner", owner)
        self._make_user("stranger", stranger, "--max-buckets=-1")
        self._daemon("client.gateway", "radosgw", "-n", "client.gateway")
        endpoint = f"http://127.0.0.1:{port}"
        _wait_until(lambda: _answers(endpoint), "the gateway")
        return Gateway(endpoint, owner, stranger, tuple(self.pids))

    def _start_monitor(self, fsid, mon_port):
        monitors, keys = self.folder / "monitors", self.folder / "keys"
        address = f"v1:127.0.0.1:{mon_port}"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "one", address, monitors)
        self._run(
            *("ceph-authtool", "--create-keyring", keys, "--gen-key"),
            *("-n", "mon.", "--cap", "mon", "allow *"),
        )
        self._run("ceph-mon", "-i", "one", "--mkfs", "--monmap", monitors, "--keyring", keys)
        self._daemon("mon.one", "ceph-mon", "-i", "one")

    def _start_storage(self):
        known = str(uuid.uuid4())
        self._run("ceph", "osd", "new", known)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", known)
        self._daemon("osd.0", "ceph-osd", "-i", "0")
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here")
        _wait_until(self._is_storage_up, "the storage daemon")

    def _is_storage_up(self):
        status = json.loads(self._run("ceph", "osd", "stat", "--format", "json"))
        return status["num_up_osds"] == 1

    def _make_user(self, name, keys, *options):
        self._run(
            *("radosgw-admin", "user", "create", "--uid", name, "--display-name", name),
            *("--access-key", keys[0], "--secret-key", keys[1], *options),
        )

    def _run(self, program, *arguments):
        return subprocess.run(
            [program, *map(str, arguments), *self._configured(program)],
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout

    def _daemon(self, name, program, *arguments):
        """Start what goes on by itself, so that it outlives the process that needed it first."""
        with (self.folder / "log" / f"{name}.out").open("wb") as output:
            command = [program, *arguments, *self._configured(program)]
            subprocess.run(command, check=True, stdout=output, stderr=output, timeout=60)
        pid_file = self.folder / "run" / f"{name}.pid"
        _wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), name)
        self.pids.append(int(pid_file.read_text()))

    def _configured(self, program):
        alone = program in {"monmaptool", "ceph-authtool"}
        return [] if alone else ["-c", str(self.folder / "ceph.conf")]


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _answers(endpoint):
    try:
        with urllib.request.urlopen(endpoint, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def _wait_until(is_there, what):
    limit = time.monotonic() + 60
    while not is_there():
        if time.monotonic() > limit:
            raise TimeoutError(f"{what} does not come up")
        time.sleep(0.1)


def _end_daemons(pids):
    """End them one after the other, the gateway first; they are of this or of another process."""
    for pid in reversed(pids):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
            with contextlib.suppress(TimeoutError):
                _wait_until(lambda pid=pid: _is_gone(pid), f"process {pid} to end")
                break


def _is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"
