"""The whole of it on Ceph's gateway: the real desk signs, a machine without keys backs up."""

import hashlib
import http.client
import os
import random
import shutil
import subprocess
from collections import Counter
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from attrs import evolve

from backapp_core import Keys, RestoreRequest, assemble
from backapp_core.clock import SystemClock
from backapp_core.engine.bucket_witness import BucketWitness
from backapp_core.engine.buckets import Buckets
from backapp_core.engine.grant import Desk
from backapp_core.errors import (
    AccessRefused,
    BackappError,
    GrantRefused,
    ObjectExists,
    ObjectMissing,
    RepositoryExists,
)
from backapp_core.manager import PluginManager
from backapp_core.model.grants import ObjectSeen, WriteWish
from backapp_core.model.jobs import Job
from backapp_core.model.work import Hold
from backapp_core.testing.fakes import make_surroundings, repeatable_random_bytes
from backapp_core.testing.fleet_fixtures import claimed, make_machine, sees_all
from backapp_core.wire import MOST_WISHES
from backapp_plugins.stores.sql import open_fleet
from backapp_plugins.transports.presigned import ManagedAddress
from backapp_plugins.transports.presigned.transport import PresignedTransport
from backapp_plugins.transports.presigned.writing import Sizes

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PASSWORD = "only for trying"
KEYS = Keys(password=lambda: PASSWORD)
ENFORCED = {"create_only": True, "signed_length": True, "content_md5": True}


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load()


@pytest.fixture
def server(gateway, bucket, plugins, tmp_path, monkeypatch):
    """What a server holds: the keys of the bucket, and what it remembers of two machines."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.owner[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.owner[1])
    surroundings = make_surroundings(tmp_path / "server", clock=SystemClock())
    address = f"s3:{gateway.endpoint}/{bucket}/{tmp_path.name}"
    with (
        open_fleet(f"sqlite://{tmp_path / 'fleet.db'}", surroundings) as fleet,
        Buckets(plugins, surroundings, [address]) as buckets,
    ):
        buckets.probe(address)  # its keys are kept from now on
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        yield SimpleNamespace(
            fleet=fleet, buckets=buckets, address=address, plugins=plugins, gateway=gateway
        )


@pytest.fixture
def agent_of(server, tmp_path):
    """Enrol a machine with a repository of an archiver; it asks the desk, over nothing."""
    numbers = iter(range(1, 10))

    def agent_of(archiver="restic", **others):
        number = next(numbers)
        machine = make_machine(server.fleet, number)
        own_id = os.urandom(16).hex()
        added = evolve(
            machine.repository,
            id=own_id,
            name=f"own-{number}",
            address=server.buckets.address_for(server.address, 1, own_id),
            archiver=archiver,
        )
        machine.store.repositories.add(added)
        parts = machine.store, machine.id, server.buckets, server.plugins.archivers
        job = Job(f"job-{number}", f"backapp:{own_id}", (b"/",), agent_id=machine.id)
        machine.store.jobs.add(job)
        machine.run(number, job_name=job.name)
        claim = claimed(machine.store.work(machine.id, sees_all))
        hold = Hold(claim.run.id, claim.fence)
        desk = Desk(*parts, hold=hold, **others)
        surroundings = make_surroundings(tmp_path / f"agent-{number}", clock=SystemClock())
        surroundings = evolve(surroundings, random_bytes=os.urandom, grants=desk)
        return SimpleNamespace(
            machine=machine,
            claim=claim,
            repository=added,
            desk=desk,
            address=f"backapp:{own_id}",
            surroundings=surroundings,
            witness=BucketWitness(machine.store, server.buckets, server.plugins.archivers),
        )

    return agent_of


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    chance = random.Random(1)
    for number in range(30):
        (source / "deep" / f"file-{number}").write_bytes(chance.randbytes(number * 3000))
    (source / "deep" / "er" / "large").write_bytes(chance.randbytes(40 << 20))
    return source


def engine_of(agent, plugins):
    return assemble(surroundings=agent.surroundings, plugins=plugins)


def create(agent, engine):
    options = {"chunker": "rabin"} if agent.repository.archiver == "restic" else {}
    return engine.create_repository(
        agent.address, archiver=agent.repository.archiver, options=options, keys=KEYS
    )


def assert_comes_back(engine, repository, snapshot, source, target):
    outcome = engine.restore(
        engine.plan_restore(repository, snapshot, RestoreRequest(target=target))
    )
    assert outcome.is_complete
    subprocess.run(["diff", "-r", source, f"{target}{source}"], check=True)
    shutil.rmtree(target)


@pytest.mark.parametrize("archiver", ["restic", "targz"])
def test_a_machine_without_keys_backs_up_and_restores(
    agent_of, server, plugins, source, tmp_path, archiver
):
    agent = agent_of(archiver)
    with engine_of(agent, plugins) as engine:
        with create(agent, engine) as repository:
            first = engine.backup(repository, [source])
            agent.witness(agent.repository, [ObjectSeen(*one) for one in first.objects])
        (source / "deep" / "file-7").write_bytes(b"changed")
        (source / "deep" / "file-8").unlink()
        with engine.open_repository(agent.address, keys=KEYS) as repository:
            second = engine.backup(repository, [source])
            agent.witness(agent.repository, [ObjectSeen(*one) for one in second.objects])
            assert sum(size for _, size in second.objects) < 2 << 20
            report = engine.check(repository, read_data=True)
            assert list(report.findings) == []
            assert_comes_back(engine, repository, second.snapshot, source, tmp_path / "restored")
        with pytest.raises(RepositoryExists):
            create(agent, engine)
    assert {name: getattr(enforced(agent), name) for name in ENFORCED} == ENFORCED
    left = [info.name for info in opened(agent).list()]
    assert [name for name in left if name.startswith("locks/")] == []


def enforced(agent):
    return agent.machine.store.repositories.get(agent.repository.id).enforces


def opened(agent, **sizes):
    address = ManagedAddress(agent.repository.id)
    return PresignedTransport(
        address, agent.desk, agent.surroundings, *([Sizes(**sizes)] if sizes else [])
    )


def test_restic_finds_what_was_granted_in_the_bucket(agent_of, server, plugins, source, tmp_path):
    agent = agent_of()
    with engine_of(agent, plugins) as engine, create(agent, engine) as repository:
        engine.backup(repository, [source])
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": server.gateway.owner[0],
        "AWS_SECRET_ACCESS_KEY": server.gateway.owner[1],
        "AWS_DEFAULT_REGION": "us-east-1",
        "RESTIC_PASSWORD": PASSWORD,
    }

    def restic(*arguments):
        command = ["restic", "-r", agent.repository.address, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "no errors were found" in restic("check", "--read-data")
    restic("restore", "latest", "--target", str(tmp_path / "restored"))
    subprocess.run(["diff", "-r", source, f"{tmp_path / 'restored'}{source}"], check=True)
    restic("backup", str(source))
    with (
        engine_of(agent, plugins) as engine,
        engine.open_repository(agent.address, keys=KEYS) as repository,
    ):
        assert len(engine.snapshots(repository)) == 2


def test_grants_of_one_second_are_renewed_and_the_backup_completes(
    agent_of, plugins, source, tmp_path
):
    agent = agent_of(lifetime_seconds=1)
    with engine_of(agent, plugins) as engine:
        with create(agent, engine) as repository:
            result = engine.backup(repository, [source])
        with engine.open_repository(agent.address, keys=KEYS) as repository:
            assert list(engine.check(repository, read_data=True).findings) == []
            assert_comes_back(engine, repository, result.snapshot, source, tmp_path / "restored")


def test_what_expires_on_its_way_is_asked_for_again(agent_of):
    agent = agent_of(lifetime_seconds=1)
    body = b"late"
    late = _Late(agent.desk)
    agent.desk = late
    with opened(agent) as transport:
        transport.put(wish("data", body).name, [body])
        assert transport.read(wish("data", body).name) == body
    assert late.asked["grant_writes"] >= 2
    assert late.asked["grant_reads"] >= 2


class _Late:
    """A desk whose first answer to each question comes when it is worth nothing any more."""

    def __init__(self, desk):
        self._desk = desk
        self.asked = Counter()

    def __getattr__(self, name):
        def ask(*arguments):
            self.asked[name] += 1
            granted = getattr(self._desk, name)(*arguments)
            if self.asked[name] == 1:
                SystemClock().wait(2.5)
            return granted

        return ask


def test_a_stream_in_parts_is_one_object(agent_of):
    agent = agent_of("targz")
    data = repeatable_random_bytes(3)(23 << 20)
    name = "archives/20261125T204500Z-0123456789abcdef-full.tar.gz"
    with opened(agent, whole_bytes=6 << 20, part_bytes=5 << 20) as transport:
        assert transport.put(name, iter([data])) == len(data)
        assert transport.read(name) == data
        with pytest.raises(ObjectExists):
            transport.put(name, iter([data[::-1]]))
        assert transport.read(name, length_bytes=100) == data[:100]
        agent.witness(agent.repository, [ObjectSeen(name, len(data))])


def test_an_object_in_parts_is_what_its_name_says_or_is_not_kept(agent_of):
    agent = agent_of()
    data = repeatable_random_bytes(4)(11 << 20)
    digest = hashlib.sha256(data).hexdigest()
    name = f"data/{digest[:2]}/{digest}"
    with opened(agent, whole_bytes=6 << 20, part_bytes=5 << 20) as transport:
        with pytest.raises(AccessRefused, match="another content"):
            transport.put(name, iter([data[::-1]]))
        with pytest.raises(ObjectMissing):
            transport.stat(name)
        transport.put(name, iter([data]))
        assert transport.read(name) == data


def test_who_lost_the_run_stores_nothing_more_and_its_parts_are_thrown_away(agent_of, server):
    """What was being sent when somebody else took the run over is no object, and costs nothing."""
    agent = agent_of()
    work = agent.machine.store.work(agent.machine.id, sees_all)
    data = repeatable_random_bytes(5)(11 << 20)
    digest = hashlib.sha256(data).hexdigest()

    def stream():
        yield data[: 6 << 20]
        work.hand_back(agent.claim.run.id, agent.claim.fence)
        claimed(work)
        yield data[6 << 20 :]

    with opened(agent, whole_bytes=5 << 20, part_bytes=5 << 20) as transport:
        with pytest.raises(AccessRefused, match="taken over by somebody else"):
            transport.put(f"data/{digest[:2]}/{digest}", stream())
        for name in ("snapshots", "locks", "index"):
            with pytest.raises(AccessRefused, match="taken over by somebody else"):
                transport.put(wish(name, b"late").name, [b"late"])
        assert list(transport.list()) == []
    bucket, _, prefix = server.address.removeprefix(f"s3:{server.gateway.endpoint}/").partition("/")
    uploads = server.gateway.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    assert uploads.get("Uploads", []) == []


# --- what a machine that was taken over could try


def send(request, body=b"", **changes):
    parts = urlsplit(changes.pop("url", request.url))
    headers = {**request.headers, **changes.pop("headers", {})}
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.putrequest(
        changes.pop("method", request.method),
        f"{parts.path}?{parts.query}",
        skip_accept_encoding=True,
    )
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body or None)
    status = connection.getresponse().status
    connection.close()
    return status


def wish(folder, body):
    digest = hashlib.sha256(body).hexdigest()
    start = f"{digest[:2]}/" if folder == "data" else ""
    return WriteWish(f"{folder}/{start}{digest}", len(body), digest, hashlib.md5(body).hexdigest())


@pytest.fixture
def intruder(agent_of):
    """A machine that holds what was signed for it, and a pack that it stored."""
    agent = agent_of()
    body = b"a pack"
    (granted,) = agent.desk.grant_writes(agent.repository.id, [wish("data", body)]).requests
    assert send(granted, body) == 200
    return SimpleNamespace(
        agent=agent, body=body, granted=granted, name=wish("data", body).name, other=agent_of()
    )


def test_what_is_stored_stays_as_it_is(intruder):
    pack = intruder.granted
    key = urlsplit(pack.url).path
    other = f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"
    read = intruder.agent.desk.grant_reads(intruder.agent.repository.id, [intruder.name])
    attempts = {
        "again": send(pack, intruder.body),
        "without the condition": send(pack, intruder.body, headers={"if-none-match": None}),
        "without a hash": send(pack, intruder.body, headers={"content-md5": None}),
        "another body": send(pack, b"A pack"),
        "a longer body": send(pack, b"a pack and", headers={"content-length": "10"}),
        "another key": send(pack, intruder.body, url=pack.url.replace(key, other)),
        "another bucket": send(pack, intruder.body, url=pack.url.replace(key, f"/other{key}")),
        "delete by put": send(pack, method="DELETE"),
        "delete by get": send(read.requests[0], method="DELETE"),
        "write by get": send(
            read.requests[0], b"junk", method="PUT", headers={"content-length": "4"}
        ),
        "a rule": send(pack, intruder.body, headers={"x-amz-acl": "public-read"}),
    }
    assert {what: status for what, status in attempts.items() if status < 400} == {}
    with opened(intruder.agent) as transport:
        assert [info.name for info in transport.list()] == [intruder.name]
        assert transport.read(intruder.name) == intruder.body
        for act in (
            lambda: transport.delete(intruder.name),
            lambda: transport.put(intruder.name, [b"other"], replace=True),
            lambda: transport.put("keys/" + "0" * 64, [b"x"]),
        ):
            with pytest.raises(AccessRefused):
                act()
        with pytest.raises(ObjectExists):
            transport.put(intruder.name, [intruder.body])


def test_a_body_that_was_not_announced_is_refused_for_a_new_name(intruder):
    """Where nothing stands yet, so that nothing but size and hashes can refuse it."""
    (new,) = intruder.agent.desk.grant_writes(
        intruder.agent.repository.id, [wish("data", b"new")]
    ).requests
    assert 400 <= send(new, b"neW") < 500
    assert 400 <= send(new, b"new and more", headers={"content-length": "12"}) < 500
    assert send(new, b"new") == 200


def test_what_expired_is_refused(intruder, server):
    desk = Desk(
        intruder.agent.machine.store,
        intruder.agent.machine.id,
        server.buckets,
        server.plugins.archivers,
        hold=Hold(intruder.agent.claim.run.id, intruder.agent.claim.fence),
        lifetime_seconds=1,
    )
    (granted,) = desk.grant_writes(intruder.agent.repository.id, [wish("data", b"x")]).requests
    clock = SystemClock()
    while clock.now() <= granted.expires_at:
        clock.wait(0.1)
    clock.wait(1)  # the gateway counts in whole seconds
    assert send(granted, b"x") == 403


def test_a_machine_reaches_nothing_of_another(intruder):
    other = intruder.other
    for act in (
        lambda: intruder.agent.desk.grant_reads(other.repository.id, ["config"]),
        lambda: intruder.agent.desk.grant_writes(other.repository.id, [wish("data", b"x")]),
        lambda: intruder.agent.desk.list_objects(other.repository.id, ""),
    ):
        with pytest.raises(BackappError, match="has no repository"):
            act()


def test_a_listing_shows_what_such_a_repository_has_and_nothing_else(intruder, server):
    agent = intruder.agent
    client = server.gateway.client()
    place = urlsplit(intruder.granted.url).path.removesuffix(intruder.name).lstrip("/")
    bucket, _, folder = place.partition("/")
    for name in ("stranger", "data/ab/short", ".hidden", "snapshots/" + "A" * 64):
        client.put_object(Bucket=bucket, Key=f"{folder}{name}", Body=b"x")
    page = agent.desk.list_objects(agent.repository.id, "")
    assert [(one.name, one.size_bytes) for one in page.objects] == [(intruder.name, 6)]
    with pytest.raises(GrantRefused):
        agent.desk.grant_reads(agent.repository.id, ["stranger"])


def test_a_long_listing_comes_in_pages(agent_of, server):
    agent = agent_of()
    client = server.gateway.client()
    bucket, _, folder = urlsplit(agent.repository.address[3:]).path.lstrip("/").partition("/")
    names = sorted(
        f"index/{hashlib.sha256(bytes([n % 256, n // 256])).hexdigest()}" for n in range(1010)
    )
    for name in names:
        client.put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=b"x")
    with opened(agent) as transport:
        assert [info.name for info in transport.list("index/")] == names
        assert [info.name for info in transport.list()] == names
        assert [*transport.list("data/")] == []
    assert len(agent.desk.grant_reads(agent.repository.id, names[:MOST_WISHES]).requests) == 500


def test_what_was_altered_in_the_bucket_gets_no_receipt(agent_of, server):
    """Here the bucket is said to enforce nothing, so that it is read back."""
    agent = agent_of()
    with opened(agent) as transport:
        one = wish("data", b"first")
        transport.put(one.name, [b"first"])
    trusting = evolve(enforcement(server), content_md5=False, sha256_checksum=False)
    doubted = evolve(agent.repository, enforces=trusting)
    seen = [ObjectSeen(one.name, 5)]
    agent.witness(doubted, seen)
    bucket, _, folder = urlsplit(agent.repository.address[3:]).path.lstrip("/").partition("/")
    server.gateway.client().put_object(Bucket=bucket, Key=f"{folder}/{one.name}", Body=b"fIrst")
    agent.witness(agent.repository, seen)
    with pytest.raises(ObjectMissing, match="another content"):
        agent.witness(doubted, seen)


def enforcement(server):
    return server.buckets.probe(server.address)
